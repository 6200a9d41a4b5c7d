/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connection tracking. Rules decide for the first packet only: the kernel remembers where a flow went, and a UDP flow
 * stays there for as long as packets come, also when the endpoint is gone. So flows are part of every update.
 *
 * Why flows are listed and deleted one by one, although the kernel has had a filtered deletion since 6.12: its filter
 * compares IPv6 addresses the wrong way round (seen on 6.18: all flows but those of the address match), and with
 * another walk through the table for each address it is hardly faster. A listing is filtered by the kernel by what it
 * gets right, and every flow is looked at again here, as kernels before 5.8 send all flows whatever is asked.
 */
#ifndef NUNCIO_KERNEL_CONNTRACK_H
#define NUNCIO_KERNEL_CONNTRACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "config/config.h"

struct conntrack;

/* In the calling thread's network namespace. */
int conntrack_open(struct conntrack **ret, struct error *err);
void conntrack_close(struct conntrack *conntrack); /* NULL is fine */

struct flow {
	struct ip_port client;	 /* who asked */
	struct listen listen;	 /* for what */
	struct ip_port endpoint; /* who was asked, and is to answer; `listen` itself where nobody translated */
	bool replied;		 /* something came back */
	bool translated;
	uint8_t tcp_state;  /* enum tcp_conntrack; 0 for UDP */
	uint64_t started;   /* ns since 1970; 0: not known (net.netfilter.nf_conntrack_timestamp is off) */
	uint64_t bytes;	    /* in both directions */
	bool bytes_counted; /* net.netfilter.nf_conntrack_acct is on */
};

/* Is it translated, and more than a SYN without an answer or what is left of a closed connection? */
bool flow_is_live(const struct flow *flow);

/* Flows that were chosen from a listing, each with what it takes to delete it. Zeroed to begin, flows_clear() ends. */
struct flows {
	struct flow *items;
	size_t count, capacity;
	uint8_t *deletions; /* netlink messages, one for each item */
	size_t deletions_used, deletions_capacity;
};

void flows_clear(struct flows *flows);

/* What to list; ports: 0 = any. */
struct flow_filter {
	uint8_t family;	  /* AF_INET or AF_INET6 */
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	uint16_t listen_port, endpoint_port;
	bool unreplied; /* only flows of which nothing came back */
};

/*
 * Lists flows and adds those that choose(context, flow) wants to *flows. It costs a walk through the whole hash table
 * of the machine (6 ms for its usual 262144 buckets) and about 1 us for each flow that passes the filter.
 */
int conntrack_list(struct conntrack *conntrack, const struct flow_filter *filter,
		   bool (*choose)(void *context, const struct flow *flow), void *context, struct flows *flows,
		   struct error *err);

/* Deletes them; one that has ended since is fine, and a successor with the same addresses is left alone. */
int conntrack_delete(struct conntrack *conntrack, const struct flows *flows, struct error *err);

/* Deletes the one flow that began so, whatever became of it. -ENOENT: there is none. */
int conntrack_forget(struct conntrack *conntrack, uint8_t protocol, const struct ip_port *source,
		     const struct ip_port *destination);

#endif
