/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `nuncio conns`: the connections of links, from conntrack, as one JSON object. A connection of a client in the
 * ambassador's namespace has its socket's inode, by which whoever asks may find the process: that takes a walk
 * through /proc, for which the daemon has no time.
 */
#ifndef NUNCIO_DAEMON_CONNS_H
#define NUNCIO_DAEMON_CONNS_H

#include <stdio.h>

#include "daemon/ambassador.h"

#define CONNS_DEFAULT 1000
#define CONNS_MAX 100000

/* Writes the object; with `link`, only of links of that name; at most `limit` connections, the others are counted. */
void conns_write(FILE *out, struct ambassador *const *ambassadors, size_t count, const char *link, size_t limit);

#endif
