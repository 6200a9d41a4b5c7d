/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One service asked for at one agent of Consul, again and again: each question waits there until there is something
 * newer than its index, or its time is up. So each answer, also one that says nothing new, is a whole read and proves
 * that both agent and servers live; one that does not come in time is a failure. After any failure it begins anew,
 * with a question that does not wait, when a backoff is over.
 *
 *	CONSUL_ANSWER_MS	for an answer that does not wait; else beside what Consul may wait
 *	X-Consul-Index		see consul_next_index(); an answer without it is not Consul's
 *	X-Consul-KnownLeader	false is a failure, but with stale=yes
 *	X-Consul-Results-Filtered-By-ACLs	with no instance that can be used: a failure, for there may be some
 */
#ifndef NUNCIO_DISCOVERY_CONSUL_QUERY_H
#define NUNCIO_DISCOVERY_CONSUL_QUERY_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "discovery/consul/messages.h"
#include "discovery/consul/uri.h"
#include "discovery/http.h"

/* How long an answer that does not wait may take. */
#define CONSUL_ANSWER_MS 10000

struct consul_query;

/* A good answer. */
struct consul_result {
	uint64_t index;
	uint64_t age_ms; /* since the server that answered heard of the leader; 0 where that answered itself */
	bool filtered;	 /* ACLs left instances out */
	bool afresh;	 /* it is the first one, or the first after a failure, or its index went back */
	/* What there is; the callee may take it over and leave a zeroed one. NULL: the same as in the last one. */
	struct consul_list *list;
};

/* They must not close the query. */
struct consul_query_events {
	void (*answered)(void *context, const struct consul_result *result);
	/* A try failed, the so manieth in a row. */
	void (*failed)(void *context, uint32_t failures, const char *reason);
};

/* The URI and conf are borrowed, the service's name is copied. The callbacks come from the event loop. */
struct consul_query *consul_query_open(uv_loop_t *loop, struct http *http, const struct consul_uri *uri,
				       const struct registry_conf *conf, const char *service,
				       const struct consul_query_events *events, void *context);
/* The agent can be reached again, as another query found: no need to wait for the next try. */
void consul_query_hurry(struct consul_query *query);
void consul_query_close(struct consul_query *query); /* at once; NULL is fine */

#endif
