/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/survey.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "kernel/conntrack.h"
#include "kernel/netns.h"
#include "kernel/nft.h"
#include "ruleset/ruleset.h"

struct counter {
	uint8_t key[ELEM_KEY_MAX];
	struct listen listen;
	struct ip_port at;
	uint64_t refusals, live, bytes;
	UT_hash_handle hh;
};

struct survey {
	struct conntrack *conntrack; /* of its own, which no other thread uses; NULL: it cannot be had */
	struct flow_filter filters[4];
	size_t n_filters;
	struct counter *by_key;
	bool live_known, bytes_known;
	const struct counter **live; /* those with live connections, by listen */
	size_t n_live, live_capacity;
};

static struct counter *find_counter(const struct survey *survey, const struct listen *listen,
				    const struct ip_port *endpoint)
{
	uint8_t key[ELEM_KEY_MAX];
	struct counter *counter;

	if (listen->at.addr.family != endpoint->addr.family)
		return NULL;
	key_put_endpoint(key, listen, endpoint);
	HASH_FIND(hh, survey->by_key, key, ELEM_KEY_MAX, counter);
	return counter;
}

static struct counter *obtain_counter(struct survey *survey, const struct listen *listen,
				      const struct ip_port *endpoint)
{
	struct counter *counter = find_counter(survey, listen, endpoint);

	if (counter)
		return counter;
	counter = xcalloc(1, sizeof(*counter));
	key_put_endpoint(counter->key, listen, endpoint);
	counter->listen = *listen;
	counter->at = *endpoint;
	HASH_ADD(hh, survey->by_key, key, ELEM_KEY_MAX, counter);
	return counter;
}

static void on_refusals(void *context, const struct listen *listen, const struct ip_port *endpoint, uint64_t refusals)
{
	obtain_counter(context, listen, endpoint)->refusals = refusals;
}

/* Counts, and chooses nothing. What others translate is counted, too, and never asked for. */
static bool on_flow(void *context, const struct flow *flow)
{
	struct survey *survey = context;
	struct counter *counter;

	if (!flow_is_live(flow) || flow->endpoint.addr.family != flow->listen.at.addr.family)
		return false;
	counter = obtain_counter(survey, &flow->listen, &flow->endpoint);
	counter->live++;
	counter->bytes += flow->bytes;
	survey->bytes_known |= flow->bytes_counted;
	return false;
}

/* Each kind of flow that there are links for is listed by itself: the kernel leaves out the others. */
static void choose_filters(struct survey *survey, const struct ambassador *ambassador)
{
	bool chosen[2][2] = {{false}};

	for (const struct link *link = ambassador->links; link && survey->n_filters < ARRAY_SIZE(survey->filters);
	     link = link->hh.next) {
		const struct listen *listen = &link->plan.listen;
		bool *known = &chosen[listen->at.addr.family == AF_INET6][listen->protocol == IPPROTO_UDP];

		if (!link->installed || *known)
			continue;
		*known = true;
		survey->filters[survey->n_filters++] =
			(struct flow_filter){.family = listen->at.addr.family, .protocol = listen->protocol};
	}
}

static int open_conntrack(void *context)
{
	struct survey *survey = context;

	return conntrack_open(&survey->conntrack, NULL);
}

struct survey *survey_begin(struct ambassador *ambassador)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	struct survey *survey;

	if (!ambassador->nft)
		return NULL;
	survey = xcalloc(1, sizeof(*survey));
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		nft_read_counters(ambassador->nft, (struct set_id){SET_REFUSALS, families[i], 0}, on_refusals, survey);
	choose_filters(survey, ambassador);
	netns_call(ambassador->netns_fd, open_conntrack, survey, NULL);
	return survey;
}

static int compare_listens(const struct listen *a, const struct listen *b)
{
	if (a->protocol != b->protocol)
		return a->protocol < b->protocol ? -1 : 1;
	return ip_port_compare(&a->at, &b->at);
}

static int compare_counters(const void *a, const void *b)
{
	const struct counter *x = *(const struct counter *const *)a, *y = *(const struct counter *const *)b;

	return compare_listens(&x->listen, &y->listen);
}

static void sort_live(struct survey *survey)
{
	for (const struct counter *counter = survey->by_key; counter; counter = counter->hh.next) {
		if (!counter->live)
			continue;
		ARRAY_GROW(survey->live, survey->n_live, survey->live_capacity);
		survey->live[survey->n_live++] = counter;
	}
	if (survey->n_live)
		qsort(survey->live, survey->n_live, sizeof(*survey->live), compare_counters);
}

void survey_list_flows(struct survey *survey)
{
	struct flows none = {0};
	int code = survey->conntrack ? 0 : -1;

	for (size_t i = 0; code == 0 && i < survey->n_filters; i++)
		code = conntrack_list(survey->conntrack, &survey->filters[i], on_flow, survey, &none, NULL);
	survey->live_known = code == 0;
	sort_live(survey);
}

void survey_free(struct survey *survey)
{
	struct counter *counter, *next;

	if (!survey)
		return;
	HASH_ITER (hh, survey->by_key, counter, next) {
		HASH_DEL(survey->by_key, counter);
		free(counter);
	}
	free(survey->live);
	conntrack_close(survey->conntrack);
	free(survey);
}

bool survey_has_live(const struct survey *survey)
{
	return survey->live_known;
}

bool survey_has_bytes(const struct survey *survey)
{
	return survey->bytes_known;
}

void survey_find(const struct survey *survey, const struct listen *listen, const struct ip_port *at,
		 struct endpoint_detail *ret)
{
	const struct counter *counter = find_counter(survey, listen, at);

	if (!counter)
		return;
	ret->refusals = counter->refusals;
	ret->live = counter->live;
	ret->bytes = counter->bytes;
}

/* The first with live connections at this listen address or behind it. */
static size_t find_live(const struct survey *survey, const struct listen *listen)
{
	size_t low = 0, high = survey->n_live;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_listens(&survey->live[middle]->listen, listen) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct departed *survey_list_departed(const struct survey *survey, const struct link *link, struct arena *texts,
				      size_t *ret_count)
{
	const struct listen *listen = &link->conf->listen;
	struct departed *list = NULL;
	size_t count = 0, capacity = 0;

	for (size_t i = find_live(survey, listen); i < survey->n_live && listen_equal(&survey->live[i]->listen, listen);
	     i++) {
		const struct counter *counter = survey->live[i];
		const struct leaver *leaver = leavers_find(&link->leavers, &counter->at);
		char text[IP_PORT_TEXT];

		if (!link->installed || endpoints_find_address(link->plan.endpoints, &counter->at))
			continue;
		ARRAY_GROW(list, count, capacity);
		list[count++] = (struct departed){
			.id = leaver ? leaver->id : arena_strdup(texts, ip_port_text(&counter->at, text)),
			.at = counter->at,
			.live = counter->live,
		};
	}
	*ret_count = count;
	return list;
}
