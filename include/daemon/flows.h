/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an update means for the flows that conntrack remembers; all of them are looked at by the same few questions:
 *
 *   flow of a link                            ends, so that its next packet is balanced anew, where it leads to
 *   --------------                            -----------------------------------------------------------------
 *   UDP                                       an endpoint that the link has no more, or nowhere (not translated)
 *   TCP, unreplied: SYNs without an answer    an endpoint that gets no new connections, or nowhere
 *   TCP, replied                              an endpoint that is removed, with on_remove=reset; or one that drains for
 *                                             longer than drain_for. Its client is told, see reset.h
 *
 * An update notes where such flows may be, and so does a resynchronisation: everywhere, as a process that died between
 * a commit and its clean-up leaves no other trace. Then conntrack is listed once, as narrowly as what was noted allows,
 * and once more a moment later: for packets that were between the old rules and their entry in conntrack.
 */
#ifndef NUNCIO_DAEMON_FLOWS_H
#define NUNCIO_DAEMON_FLOWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

struct ambassador;
struct round;

/* What conntrack is listed for. */
enum flow_class { FLOWS_UDP, FLOWS_UNREPLIED, FLOWS_TCP };
#define FLOW_CLASSES (FLOWS_TCP + 1)

/* One listing; a port is 0 where several reasons differ in it. */
struct flow_look {
	bool due;
	uint16_t listen_port, endpoint_port;
};

/* Flows of a link that is there no more, which nothing but this knows. */
struct gone_flows {
	struct listen listen;
	struct ip_port endpoint;
};

struct flow_looks {
	struct flow_look looks[2][FLOW_CLASSES]; /* IPv4, IPv6 */
	struct gone_flows *gone;
	size_t n_gone, gone_capacity;
};

/* Notes what the round changes, of which the kernel holds all but the refused members; before they are settled. */
void flows_note_round(struct ambassador *ambassador, const struct round *round);
/* Notes all flows of all links. */
void flows_note_everything(struct ambassador *ambassador);

/*
 * Is it time to look at what was noted? At once, or, where that was done a moment ago, with the second look: however
 * many updates there are, they cost ten looks a second at most, except where connections are to be reset.
 */
bool flows_are_due(const struct ambassador *ambassador);

/* Looks at it, which takes the kernel milliseconds: conntrack is one table for all namespaces, mostly empty places. */
void flows_tend(struct ambassador *ambassador);

/* Forgets what was noted. */
void flows_forget(struct ambassador *ambassador);

#endif
