/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon tells the service manager that started it (base/service-manager.h): that it is ready, a line about
 * its links, that it lives. Where there is none, supervision_open() returns NULL, and the others do nothing with that.
 */
#ifndef NUNCIO_DAEMON_SUPERVISION_H
#define NUNCIO_DAEMON_SUPERVISION_H

#include <uv.h>

#include "daemon/realm.h"

struct supervision;

struct supervision *supervision_open(uv_loop_t *loop);
/* Its handles close over the next turns of the loop. */
void supervision_close(struct supervision *supervision);

/*
 * Once per turn of the loop, when what it brought has been carried out. Ready is who has a table in each namespace and
 * an answer, be it an error, for each service; or who has tried for SERVICE_MANAGER_PATIENCE_MS. The status then says
 * what is missing. It is told when it differs, a second after a change at most.
 */
void supervision_turn(struct supervision *supervision, const struct realm *realm);

/* A reload begins; it is told to be over when the turn of the loop is. */
void supervision_reloading(struct supervision *supervision);
/* Why the last reload came to nothing; NULL: it did not. */
void supervision_reload_failed(struct supervision *supervision, const char *why);

void supervision_stopping(struct supervision *supervision);

#endif
