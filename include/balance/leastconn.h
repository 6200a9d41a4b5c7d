/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * balance=leastconn. The kernel cannot look for the endpoint with the fewest connections when one begins, but it counts
 * them, and shares of the slots can follow: leastconn_step(), once a second or so, with what was counted.
 *
 * An endpoint is to have as many live connections, per weight, as any other. It keeps those that it has if it gets as
 * many new ones as end, and it comes closer to the others' number within LEASTCONN_HORIZON_S if it gets in addition
 * (or gets less by) that part of the difference. So its share is
 *
 *	arrivals = ends + (level * weight - live) / LEASTCONN_HORIZON_S		nothing, where that is negative
 *
 * with the level at which the sum over all is what arrives. What ends is measured and smoothed, which makes this a loop
 * of first order: it comes near and does not swing, whatever the connections' lengths are.
 *
 * While all are within what chance explains, nothing changes.
 */
#ifndef NUNCIO_BALANCE_LEASTCONN_H
#define NUNCIO_BALANCE_LEASTCONN_H

#include <stdbool.h>
#include <stdint.h>

#define LEASTCONN_HORIZON_S 5

/* The table of slots has so many; more than 32 endpoints have SLOTS_PER_ENDPOINT each. */
#define LEASTCONN_SLOTS 128

/* With no connection for so long, all have their whole weight again, seconds. */
#define LEASTCONN_IDLE_S 10

/* One endpoint; zeroed, but for `share`, when it comes. */
struct load {
	uint32_t weight;  /* 0: it does not serve */
	uint64_t live;	  /* connections now */
	uint64_t arrived; /* connections since the last step */
	uint16_t share;	  /* of its weight, of SHARE_FULL: what comes of it */
	/* Of leastconn_step() alone. */
	bool known;
	uint64_t live_before;
	double ends; /* a second, smoothed */
};

/* What all endpoints of a link have in common; zeroed to begin. */
struct loads {
	bool steering;	 /* they are apart: shares follow */
	double arrivals; /* a second, smoothed */
	double idle_s;
};

/* Some time after the last step, has the shares follow. Returns whether one changed. */
bool leastconn_step(struct loads *loads, struct load *each, uint32_t n, double seconds);

#endif
