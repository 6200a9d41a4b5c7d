/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One conversation with one member of etcd about a range of keys: authenticate, read it all, watch it from the next
 * revision on; and prove, all the time, that both still hold. The first thing that goes wrong ends it, with a reason;
 * the next session, with this member or another, begins by reading everything.
 *
 *	ETCD_CHECK_MS	without a word of the watch: a read that needs a leader and a majority (of one key, cheap)
 *	ETCD_REREAD_MS	the whole range is read again and compared; what the watch should have told and did not tell
 *			by the next check ends the session, for its watch is dead
 *	hasleader	the member itself ends a watch when it loses its cluster
 *
 * One range and one watch, however many services: the gateway has a connection for each watch, where gRPC has one for
 * many. Who watches one service has the range of its keys, who watches thousands the prefix that they share.
 */
#ifndef NUNCIO_DISCOVERY_ETCD_SESSION_H
#define NUNCIO_DISCOVERY_ETCD_SESSION_H

#include <stdbool.h>
#include <uv.h>

#include "discovery/etcd/messages.h"
#include "discovery/http.h"
#include "discovery/registry.h"

#define ETCD_CHECK_MS 5000
#define ETCD_REREAD_MS 60000

/* Keys in one answer at first; fewer where they are large. */
#define ETCD_PAGE_KEYS 1000

struct etcd_session;

/* All but `ended` leave the session as it is and must not close it. */
struct etcd_session_events {
	/* A read: it begins (again, where it did not end), a page of it, its end with the header of its revision.
	 * Afresh: nothing that was said before counts. Returns how many changes it found. */
	void (*read_begins)(void *context, bool afresh);
	void (*page)(void *context, const struct etcd_message *page);
	size_t (*read_ends)(void *context, const struct etcd_header *header);
	/* The watch stands: what is told from now on is news. */
	void (*watching)(void *context);
	/* Events, and that these are all for the moment. */
	void (*changes)(void *context, const struct etcd_message *message);
	void (*told)(void *context);
	/* Any sign of life, and when it came, uv_hrtime(). */
	void (*alive)(void *context, const struct etcd_header *header, uint64_t received);
	/* The end, and why. The session is to be closed. */
	void (*ended)(void *context, const char *reason);
};

/* The member as in struct etcd_uri; conf is borrowed, prefix copied. The callbacks come from the event loop. */
struct etcd_session *etcd_session_open(uv_loop_t *loop, struct http *http, const char *member,
				       const struct registry_conf *conf, const char *prefix,
				       const struct etcd_session_events *events, void *context);
/* The session's range: its prefix. */
const char *etcd_session_prefix(const struct etcd_session *session);
/* Reads everything again, soon: for services that are new. */
void etcd_session_reread(struct etcd_session *session);
void etcd_session_close(struct etcd_session *session); /* at once; NULL is fine */

#endif
