/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What Consul says of the instances of a service, and when to ask again. Pure.
 *
 * The answer to /v1/health/service/NAME is an array of
 *	{"Node": {"Node", "Address", ...},
 *	 "Service": {"ID", "Address", "Port", "Weights": {"Passing", "Warning"}, ...},
 *	 "Checks": [{"CheckID", "Status", ...}, ...]}
 * with the instances in every state, for "passing" is not asked for: so those in a warning can be used with their own
 * weight, and those in maintenance be drained. An instance is as bad as the worst of its checks, the node's included:
 *
 *	passing				Weights.Passing (1 where it is absent)
 *	warning				Weights.Warning (1)
 *	maintenance and else not critical	weight 0, draining
 *	critical			as if it were not there
 *
 * The address is the service's, or the node's where that is empty; either may be a host name. An ID is unique on its
 * node only, and by default it is the service's name, so the id of an endpoint is NODE/ID.
 */
#ifndef NUNCIO_DISCOVERY_CONSUL_MESSAGES_H
#define NUNCIO_DISCOVERY_CONSUL_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/mem.h"
#include "catalog/endpoints.h"

/* So many reports are kept as text at a time; the others are counted. */
#define CONSUL_REPORTS 10

struct consul_instance {
	struct endpoint endpoint; /* at.addr is unset where it has a host name */
	const char *host;	  /* or NULL */
	const char *bad;	  /* why it cannot be used: a sentence; or NULL */
};

/* Those that are not critical, and those that cannot be read. Ended by consul_list_clear(). */
struct consul_list {
	struct consul_instance *items;
	size_t count, capacity;
	struct arena arena; /* holds the strings */
};

/* Returns 0, or -EINVAL with a sentence where the text is no such array; ret is to be cleared in both cases. */
int consul_list_parse(const char *text, size_t length, struct consul_list *ret, struct error *err);
void consul_list_clear(struct consul_list *list);

/* Turns a name into an address: 0; -EAGAIN: it is being found out; or another negative errno and why not. */
typedef int (*consul_resolve_fn)(void *context, const char *host, struct ip_addr *ret, struct error *err);

/* What a list comes to; ended by consul_view_clear(). */
struct consul_view {
	const struct endpoints *endpoints; /* one reference; NULL: error says why, or names are being resolved */
	const char *error;		   /* a sentence: of what is listed, nothing can be used; or NULL */
	uint32_t skipped, pending;
	const char *reports[CONSUL_REPORTS]; /* the first of those skipped */
	uint64_t digest;		     /* of all reports; 0 where there are none */
	struct arena arena;
};

/* Endpoints are withheld while none can be used and a name is still being resolved. */
void consul_list_view(const struct consul_list *list, consul_resolve_fn resolve, void *context,
		      struct consul_view *ret);
void consul_view_clear(struct consul_view *view);

/* What an error's body says, one printable line of it; in the arena. */
const char *consul_error_text(const char *body, struct arena *arena);

/*
 * The index to ask with next, after one was asked with and another was got (X-Consul-Index): 0, which is to begin
 * anew, where it went back, as it does when Consul's servers were restored; never 0 because 0 was got, for that does
 * not wait. https://developer.hashicorp.com/consul/api-docs/features/blocking
 */
uint64_t consul_next_index(uint64_t asked, uint64_t got);

/*
 * How long Consul may take over a question that waits for news: what was asked for, and up to a sixteenth of that,
 * which it adds so that not all come back at once.
 */
uint64_t consul_wait_max_ms(uint32_t wait_s);

/*
 * Consul answers at each change of its index, even where nothing that we see has changed, so a service that changes all
 * the time would be asked for all the time. HashiCorp's advice is a burst of 2, then a question each 15 s: that is for
 * clients to which a change is dear. To us it costs less than the question, and it matters when it comes: in an
 * incident endpoints die. So there are CONSUL_BURST questions without a wait, as for a deployment; then one each
 * CONSUL_PACE_MS; and after CONSUL_LONG_BURST, which is more than a minute of it, the advice holds, for what goes on so
 * long is a fault, and then the load on Consul matters.
 * https://developer.hashicorp.com/consul/api-docs/features/blocking
 */
#define CONSUL_BURST 10
#define CONSUL_PACE_MS 1000
#define CONSUL_LONG_BURST 80
#define CONSUL_LONG_PACE_MS 15000

/* Zeroed to begin. Times in milliseconds of any clock that never goes back. */
struct consul_pace {
	uint64_t due, long_due; /* when a question would be due if they came at an even pace */
};

/* Counts a question that is asked now, or as soon as may be; returns how long to wait before, milliseconds. */
uint64_t consul_pace(struct consul_pace *pace, uint64_t now);

#endif
