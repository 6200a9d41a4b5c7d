/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Affinity: clients have an endpoint until it leaves the rotation of their link. The kernel fills the maps; here is
 * what an update has to take out of them, so that no client is left with an endpoint that is gone.
 */
#ifndef NUNCIO_DAEMON_CLIENTS_H
#define NUNCIO_DAEMON_CLIENTS_H

#include "daemon/round.h"

/* Before a round is compared: reads the clients of endpoints that the members lose, to be removed with them. */
void clients_end(struct ambassador *ambassador, struct round *round);

/* After its commit: removes those that came between that reading and the commit. */
void clients_sweep(struct ambassador *ambassador, struct round *round);

/* Where `have` was read from the kernel: the clients in it whose endpoint stays are wanted, too. */
void clients_keep(struct round *round);

#endif
