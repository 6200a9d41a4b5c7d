/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nuncio announce: an endpoint is in the registry for as long as this process lives and, where there is a check, the
 * endpoint is healthy. With a command, that is the service: it is started, announced once it is healthy, and before it
 * is stopped it is withdrawn.
 */
#ifndef NUNCIO_ANNOUNCE_ANNOUNCE_H
#define NUNCIO_ANNOUNCE_ANNOUNCE_H

#include "announce/conf.h"

/* At the end, the registry gets so long to let the endpoint be withdrawn; then its lease has to do it. */
#define ANNOUNCE_WITHDRAW_MS 4000

/*
 * Until SIGTERM, SIGINT or the end of the command. The registry was checked (announce/registrar.h). Returns 0, or the
 * command's exit code: 128 and the number of a signal that ended it, 127 or 126 where it could not be started.
 */
int announce_run(const struct announce_conf *conf);

#endif
