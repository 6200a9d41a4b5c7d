/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connection tracking. Rules decide for the first packet only; a UDP flow stays on its endpoint for as long as
 * packets come, also when the endpoint is gone. So flows to a removed endpoint are taken out of the table, and the
 * next datagram is balanced anew.
 */
#ifndef NUNCIO_KERNEL_CONNTRACK_H
#define NUNCIO_KERNEL_CONNTRACK_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "config/config.h"

struct conntrack;

/* In the calling thread's network namespace. */
int conntrack_open(struct conntrack **ret, struct error *err);
void conntrack_close(struct conntrack *conntrack); /* NULL is fine */

/* Flows of clients that asked for `listen` and were sent to `endpoint`. */
struct flows {
	struct listen listen; /* UDP */
	struct ip_port endpoint;
};

/* Deletes all flows that match one of the patterns. Returns 0 and how many went, or a negative errno with a sentence.
 */
int conntrack_delete(struct conntrack *conntrack, const struct flows *patterns, size_t count, uint32_t *ret_deleted,
		     struct error *err);

#endif
