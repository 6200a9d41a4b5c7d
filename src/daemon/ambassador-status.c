/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "daemon/ambassador-state.h"
#include "kernel/nft.h"
#include "ruleset/ruleset.h"

const char *ambassador_netns(const struct ambassador *ambassador)
{
	return ambassador->netns;
}

const char *ambassador_error(const struct ambassador *ambassador)
{
	return ambassador->error;
}

struct ambassador_totals ambassador_count(const struct ambassador *ambassador)
{
	struct ambassador_totals totals = {0};

	for (const struct link *link = ambassador->links; link; link = link->hh.next) {
		const struct service *service = link->subscription.service;

		if (link->removed)
			continue;
		totals.links++;
		totals.failed_links += link->error != NULL;
		totals.unanswered_links += !service || !service_endpoints(service);
		if (link->installed) {
			totals.endpoints += link->plan.endpoints->count;
			totals.serving_links += link->plan.slots.count != 0;
		}
	}
	return totals;
}

/* Counters by (listen, endpoint), as the kernel's dump brings them. */
struct counter {
	uint8_t key[ELEM_KEY_MAX];
	uint64_t count;
	UT_hash_handle hh;
};

struct counters {
	struct counter *by_key;
};

/* What the kernel counts at endpoints. */
struct counts {
	struct counters connections, refusals;
};

static void make_counter_key(const struct listen *listen, const struct ip_port *endpoint, uint8_t key[ELEM_KEY_MAX])
{
	size_t offset;

	memset(key, 0, ELEM_KEY_MAX);
	offset = key_put_listen(key, listen);
	field_put_addr(key, &offset, &endpoint->addr);
	field_put_port(key, &offset, endpoint->port);
}

static void on_counter(void *context, const struct listen *listen, const struct ip_port *endpoint, uint64_t count)
{
	struct counter *counter = xcalloc(1, sizeof(*counter));
	struct counters *counters = context;

	make_counter_key(listen, endpoint, counter->key);
	counter->count = count;
	HASH_ADD(hh, counters->by_key, key, ELEM_KEY_MAX, counter);
}

static uint64_t find_counter(const struct counters *counters, const struct listen *listen,
			     const struct ip_port *endpoint)
{
	uint8_t key[ELEM_KEY_MAX];
	struct counter *counter;

	if (listen->at.addr.family != endpoint->addr.family)
		return 0;
	make_counter_key(listen, endpoint, key);
	HASH_FIND(hh, counters->by_key, key, ELEM_KEY_MAX, counter);
	return counter ? counter->count : 0;
}

static void clear_counters(struct counters *counters)
{
	struct counter *counter, *next;

	HASH_ITER (hh, counters->by_key, counter, next) {
		HASH_DEL(counters->by_key, counter);
		free(counter);
	}
}

static void describe_link(const struct link *link, const struct counts *counts,
			  void (*each)(void *context, const struct link_status *status), void *context)
{
	const struct service *service = link->subscription.service;
	const struct endpoints *endpoints = link->installed ? endpoints_ref(link->plan.endpoints) : endpoints_none();
	enum standing *standing = xcalloc(endpoints->count + 1, sizeof(*standing));
	uint64_t *connections = xcalloc(endpoints->count + 1, sizeof(*connections));
	uint64_t *refusals = xcalloc(endpoints->count + 1, sizeof(*refusals));
	struct link_status status = {
		.conf = link->conf,
		.endpoints = endpoints,
		.standing = standing,
		.connections = connections,
		.refusals = refusals,
		.installed = link->installed,
		.holding = link->installed && link->plan.hold,
		.keeping = link->keeping,
		.slots = link->installed ? link->plan.slots.count : 0,
		.serving = plan_standing(endpoints, &link->conf->listen, standing),
		.stale = !service || service_error(service) || !service_endpoints(service),
		.error = link->error ? link->error
			 : service   ? service_error(service)
				     : NULL,
	};

	for (uint32_t i = 0; i < endpoints->count; i++) {
		connections[i] = find_counter(&counts->connections, &link->conf->listen, &endpoints->items[i].at);
		refusals[i] = find_counter(&counts->refusals, &link->conf->listen, &endpoints->items[i].at);
	}
	each(context, &status);
	endpoints_unref(endpoints);
	free(standing);
	free(connections);
	free(refusals);
}

static void read_counts(struct ambassador *ambassador, struct counts *ret)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};

	*ret = (struct counts){0};
	for (size_t i = 0; ambassador->nft && i < ARRAY_SIZE(families); i++) {
		nft_read_counters(ambassador->nft, (struct set_id){SET_ENDPOINTS, families[i], 0}, on_counter,
				  &ret->connections);
		nft_read_counters(ambassador->nft, (struct set_id){SET_REFUSALS, families[i], 0}, on_counter,
				  &ret->refusals);
	}
}

void ambassador_status(struct ambassador *ambassador, void (*each)(void *context, const struct link_status *status),
		       void *context)
{
	struct counts counts;

	read_counts(ambassador, &counts);
	for (size_t i = 0; i < ambassador->conf->n_links; i++) {
		const struct link *link = link_find(ambassador, &ambassador->conf->links[i].listen);

		if (link && link->conf)
			describe_link(link, &counts, each, context);
	}
	clear_counters(&counts.connections);
	clear_counters(&counts.refusals);
}
