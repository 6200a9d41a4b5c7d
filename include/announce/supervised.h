/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an announcer tells the service manager that started it (base/service-manager.h). Ready is who has announced its
 * endpoint, or has tried for SERVICE_MANAGER_PATIENCE_MS: a registry that is away, or a service that is not healthy
 * yet, is no failure of the unit, and its status says so.
 */
#ifndef NUNCIO_ANNOUNCE_SUPERVISED_H
#define NUNCIO_ANNOUNCE_SUPERVISED_H

#include <stdbool.h>
#include <uv.h>

struct supervised;

/* NULL where nobody wants to know; the others do nothing with that. */
struct supervised *supervised_open(uv_loop_t *loop);
/* Its handles close over the next turns of the loop. */
void supervised_close(struct supervised *supervised);

/* A line for people; with `announced`, the start is over. */
void supervised_status(struct supervised *supervised, bool announced, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void supervised_stopping(struct supervised *supervised);

#endif
