/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ending established TCP connections so that their clients notice at once, also one that only waits to read. A client
 * in the ambassador's namespace has a socket there, which the kernel aborts. Any other gets a RST, see
 * kernel/challenge.h.
 */
#ifndef NUNCIO_DAEMON_RESET_H
#define NUNCIO_DAEMON_RESET_H

#include "kernel/conntrack.h"

struct ambassador;

struct resetter {
	int raw[2]; /* IPv4, IPv6 */
	bool opened;
	struct flow *challenged; /* whose challenge has left an entry in conntrack */
	size_t n_challenged, challenged_capacity;
};

/*
 * Resets the connections among the flows (TCP, replied) and deletes all flows from conntrack. It has to be in this
 * order: the RST that the endpoint gets of an aborted socket needs the entry in conntrack, and a challenge must not
 * find it.
 */
int reset_and_delete(struct ambassador *ambassador, const struct flows *flows, struct error *err);

/* Deletes the entries that challenges left: a client would find its port taken while they live. */
void reset_tidy(struct ambassador *ambassador);

void reset_close(struct ambassador *ambassador);

#endif
