/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "daemon/ambassador-state.h"
#include "daemon/overrides.h"
#include "kernel/conntrack.h"
#include "kernel/nft.h"
#include "ruleset/ruleset.h"

#define NETNS_DIRECTORY "/run/netns/"

const char *ambassador_netns(const struct ambassador *ambassador)
{
	return ambassador->netns;
}

const char *ambassador_error(const struct ambassador *ambassador)
{
	return ambassador->error;
}

const struct checker *ambassador_checker(const struct ambassador *ambassador)
{
	return ambassador->checker;
}

bool ambassador_is_ready(const struct ambassador *ambassador)
{
	return ambassador->announced_ready;
}

const struct ambassador_conf *ambassador_conf(const struct ambassador *ambassador)
{
	return ambassador->conf;
}

bool ambassador_is_abandoned(const struct ambassador *ambassador)
{
	return ambassador->abandoned;
}

static const char *short_netns(const char *netns)
{
	return strncmp(netns, NETNS_DIRECTORY, strlen(NETNS_DIRECTORY)) == 0 ? netns + strlen(NETNS_DIRECTORY) : netns;
}

bool ambassador_is_in(const struct ambassador *ambassador, const char *netns)
{
	const struct ambassador_conf *conf = ambassador->conf;

	if (!netns || strcmp(short_netns(ambassador->netns), short_netns(netns)) == 0)
		return true;
	return conf->container && (strcmp(conf->container, netns) == 0 || strcmp(conf->netns, netns) == 0);
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
		totals.remembering_links += link_has_remembered(link);
		if (link->installed) {
			totals.endpoints += link->plan.endpoints->count;
			totals.serving_links += link->plan.slots.count != 0;
		}
	}
	return totals;
}

/* What the kernel tells of an endpoint of a link: by its counters, and by conntrack. */
struct counter {
	uint8_t key[ELEM_KEY_MAX];
	const struct link *link; /* NULL: seen by the counters only */
	struct ip_port at;	 /* where conntrack saw it */
	uint64_t connections, refusals, live;
	UT_hash_handle hh;
};

struct counters {
	struct ambassador *ambassador;
	struct counter *by_key;
	bool live_known;
	const struct counter **departed; /* endpoints with live connections that their link has no more; by link */
	size_t n_departed, departed_capacity;
};

static void make_counter_key(const struct listen *listen, const struct ip_port *endpoint, uint8_t key[ELEM_KEY_MAX])
{
	size_t offset;

	memset(key, 0, ELEM_KEY_MAX);
	offset = key_put_listen(key, listen);
	field_put_addr(key, &offset, &endpoint->addr);
	field_put_port(key, &offset, endpoint->port);
}

static struct counter *find_counter(const struct counters *counters, const struct listen *listen,
				    const struct ip_port *endpoint)
{
	uint8_t key[ELEM_KEY_MAX];
	struct counter *counter;

	if (listen->at.addr.family != endpoint->addr.family)
		return NULL;
	make_counter_key(listen, endpoint, key);
	HASH_FIND(hh, counters->by_key, key, ELEM_KEY_MAX, counter);
	return counter;
}

static struct counter *obtain_counter(struct counters *counters, const struct listen *listen,
				      const struct ip_port *endpoint)
{
	struct counter *counter = find_counter(counters, listen, endpoint);

	if (counter)
		return counter;
	counter = xcalloc(1, sizeof(*counter));
	make_counter_key(listen, endpoint, counter->key);
	HASH_ADD(hh, counters->by_key, key, ELEM_KEY_MAX, counter);
	return counter;
}

static void on_counter(void *context, const struct listen *listen, const struct ip_port *endpoint, uint64_t connections)
{
	obtain_counter(context, listen, endpoint)->connections = connections;
}

static void on_refusals(void *context, const struct listen *listen, const struct ip_port *endpoint, uint64_t refusals)
{
	obtain_counter(context, listen, endpoint)->refusals = refusals;
}

/* Counts, and chooses nothing. */
static bool on_flow(void *context, const struct flow *flow)
{
	struct counters *counters = context;
	const struct link *link;
	struct counter *counter;

	if (!flow_is_live(flow) || flow->endpoint.addr.family != flow->listen.at.addr.family)
		return false;
	link = link_find(counters->ambassador, &flow->listen);
	if (!link || !link->installed)
		return false;
	counter = obtain_counter(counters, &flow->listen, &flow->endpoint);
	counter->link = link;
	counter->at = flow->endpoint;
	counter->live++;
	return false;
}

static bool has_links(const struct ambassador *ambassador, uint8_t family, uint8_t protocol)
{
	for (const struct link *link = ambassador->links; link; link = link->hh.next) {
		if (link->installed && link->plan.listen.protocol == protocol &&
		    link->plan.listen.at.addr.family == family)
			return true;
	}
	return false;
}

static bool count_live(struct counters *counters)
{
	static const struct flow_filter filters[] = {
		{.family = AF_INET, .protocol = IPPROTO_TCP},
		{.family = AF_INET, .protocol = IPPROTO_UDP},
		{.family = AF_INET6, .protocol = IPPROTO_TCP},
		{.family = AF_INET6, .protocol = IPPROTO_UDP},
	};
	struct flows none = {0};
	int code = 0;

	for (size_t i = 0; code == 0 && i < ARRAY_SIZE(filters); i++) {
		if (has_links(counters->ambassador, filters[i].family, filters[i].protocol))
			code = conntrack_list(counters->ambassador->conntrack, &filters[i], on_flow, counters, &none,
					      NULL);
	}
	return code == 0;
}

static int compare_links(const void *a, const void *b)
{
	const struct counter *x = *(const struct counter *const *)a, *y = *(const struct counter *const *)b;

	return x->link < y->link ? -1 : x->link > y->link;
}

static void find_departed(struct counters *counters)
{
	for (const struct counter *counter = counters->by_key; counter; counter = counter->hh.next) {
		if (!counter->live || endpoints_find_address(counter->link->plan.endpoints, &counter->at))
			continue;
		ARRAY_GROW(counters->departed, counters->n_departed, counters->departed_capacity);
		counters->departed[counters->n_departed++] = counter;
	}
	if (counters->n_departed)
		qsort(counters->departed, counters->n_departed, sizeof(struct counter *), compare_links);
}

static void clear_counters(struct counters *counters)
{
	struct counter *counter, *next;

	HASH_ITER (hh, counters->by_key, counter, next) {
		HASH_DEL(counters->by_key, counter);
		free(counter);
	}
	free(counters->departed);
}

/* The link's part of counters->departed, as others may see it; to be freed. */
static struct departed *list_departed(const struct counters *counters, const struct link *link, struct arena *texts,
				      size_t *ret_count)
{
	struct counter probe = {.link = link};
	const struct counter *key = &probe, **found = NULL, **end = counters->departed + counters->n_departed;
	struct departed *list = NULL;
	size_t count = 0, capacity = 0;

	if (counters->n_departed)
		found = bsearch(&key, counters->departed, counters->n_departed, sizeof(key), compare_links);
	while (found && found > counters->departed && found[-1]->link == link)
		found--;
	for (; found && found < end && (*found)->link == link; found++) {
		const struct leaver *leaver = leavers_find(&link->leavers, &(*found)->at);
		char text[IP_PORT_TEXT];

		ARRAY_GROW(list, count, capacity);
		list[count++] = (struct departed){
			.id = leaver ? leaver->id : arena_strdup(texts, ip_port_text(&(*found)->at, text)),
			.at = (*found)->at,
			.live = (*found)->live,
		};
	}
	*ret_count = count;
	return list;
}

static void count_slots(const struct link *link, struct endpoint_detail *details)
{
	const struct slots *slots = &link->plan.slots;

	for (uint32_t i = slots->before; link->installed && i < slots->before + slots->count; i++) {
		if (slots->owner[i] != SLOT_FREE)
			details[slots->owner[i]].slots++;
	}
}

static void find_standing(const struct link *link, const struct endpoints *endpoints, struct endpoint_detail *details)
{
	enum standing *standing = xcalloc(endpoints->count + 1, sizeof(*standing));
	const struct endpoints *weighed = link_weighed(link, endpoints);
	struct appraisal *appraisals = link_appraise(link, weighed);

	plan_standing(weighed, appraisals, link->conf, standing);
	for (uint32_t i = 0; i < endpoints->count; i++) {
		details[i].standing = standing[i];
		details[i].share = appraisals[i].share;
		details[i].slow_start_left_ms = link_starter_left_ms(link, &endpoints->items[i].at);
	}
	free(appraisals);
	endpoints_unref(weighed);
	free(standing);
}

/* To be freed. */
static struct endpoint_detail *describe_endpoints(const struct counters *counters, const struct link *link,
						  const struct endpoints *endpoints)
{
	struct endpoint_detail *details = xcalloc(endpoints->count + 1, sizeof(*details));
	const struct ambassador *ambassador = link->ambassador;

	find_standing(link, endpoints, details);
	count_slots(link, details);
	for (uint32_t i = 0; i < endpoints->count; i++) {
		const struct endpoint *endpoint = &endpoints->items[i];
		const struct counter *counter = find_counter(counters, &link->conf->listen, &endpoint->at);

		if (counter) {
			details[i].connections = counter->connections;
			details[i].refusals = counter->refusals;
			details[i].live = counter->live;
		}
		details[i].checked = link_checks_report(link, &endpoint->at, &details[i].check);
		if (ambassador->options.overrides)
			details[i].override = overrides_of(ambassador->options.overrides, ambassador->netns,
							   link->conf->name, endpoint);
	}
	return details;
}

/* Without an answer, what the kernel holds is of a time that nobody knows. */
static int64_t seen_at(const struct link *link)
{
	const struct service *service = link->subscription.service;

	return service && (service_endpoints(service) || link_has_remembered(link)) ? service_seen(service) : 0;
}

static void describe_link(const struct link *link, const struct counters *counters,
			  void (*each)(void *context, const struct link_status *status), void *context)
{
	const struct service *service = link->subscription.service;
	const struct endpoints *endpoints = link->installed ? endpoints_ref(link->plan.endpoints) : endpoints_none();
	struct endpoint_detail *details = describe_endpoints(counters, link, endpoints);
	struct arena texts = {0};
	size_t n_departed;
	struct departed *departed = list_departed(counters, link, &texts, &n_departed);
	struct link_status status = {
		.conf = link->conf,
		.endpoints = endpoints,
		.details = details,
		.live_known = counters->live_known,
		.departed = departed,
		.n_departed = n_departed,
		.installed = link->installed,
		.holding = link->installed && link->plan.hold,
		.keeping = link->keeping,
		.recovered = link->recovered,
		.loss = &link->loss,
		.held_seconds = link_held_seconds(link),
		.answer = link_answer(link),
		.slots = link->installed ? link->plan.slots.count : 0,
		.stale = !service || service_error(service) || !service_endpoints(service),
		.remembered = link_has_remembered(link),
		.seen = seen_at(link),
		.error = link->error ? link->error
			 : service   ? service_error(service)
				     : NULL,
	};

	for (uint32_t i = 0; i < endpoints->count; i++)
		status.serving += details[i].slots != 0;
	each(context, &status);
	endpoints_unref(endpoints);
	free(details);
	free(departed);
	arena_free(&texts);
}

static void read_counters(struct nft *nft, struct counters *counters)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		nft_read_counters(nft, (struct set_id){SET_ENDPOINTS, families[i], 0}, on_counter, counters);
		nft_read_counters(nft, (struct set_id){SET_REFUSALS, families[i], 0}, on_refusals, counters);
	}
}

void ambassador_status(struct ambassador *ambassador, const char *link_name, bool with_counters,
		       void (*each)(void *context, const struct link_status *status), void *context)
{
	struct counters counters = {.ambassador = ambassador};

	if (with_counters && ambassador->nft) {
		read_counters(ambassador->nft, &counters);
		counters.live_known = count_live(&counters);
		find_departed(&counters);
	}
	for (size_t i = 0; i < ambassador->conf->n_links; i++) {
		const struct link_conf *conf = &ambassador->conf->links[i];
		bool wanted = !link_name || strcmp(link_name, conf->name) == 0;
		const struct link *link = wanted ? link_find(ambassador, &conf->listen) : NULL;

		if (link && link->conf)
			describe_link(link, &counters, each, context);
	}
	clear_counters(&counters);
}
