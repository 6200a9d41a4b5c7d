/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/ambassador-state.h"
#include "daemon/overrides.h"
#include "daemon/survey.h"
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

struct counted {
	const struct endpoints *endpoints;
	struct endpoint_detail *details;
};

static void on_connections(void *context, const struct listen *listen, const struct ip_port *at, uint64_t connections)
{
	const struct counted *counted = context;
	const struct endpoint *endpoint = endpoints_find_address(counted->endpoints, at);

	(void)listen;
	if (!endpoint)
		return;
	counted->details[endpoint - counted->endpoints->items].connections = connections;
	counted->details[endpoint - counted->endpoints->items].counted = true;
}

void link_read_connections(const struct link *link, const struct endpoints *endpoints, nft_counter_fn counter,
			   void *context)
{
	const struct listen *listen = &link->plan.listen;
	struct set_id set = {SET_ENDPOINTS, listen->at.addr.family, counters_of(link->plan.shard)};
	struct ip_port *addresses = xcalloc(endpoints->count + 1, sizeof(*addresses));

	for (uint32_t i = 0; i < endpoints->count; i++)
		addresses[i] = endpoints->items[i].at;
	nft_get_counters(link->ambassador->nft, set, listen, addresses, endpoints->count, counter, context);
	free(addresses);
}

/* Until then by uv_now(). */
static double seconds_left(const struct ambassador *ambassador, uint64_t until_ms)
{
	uint64_t now = uv_now(ambassador->loop);

	return until_ms > now ? (double)(until_ms - now) / 1000 : 0;
}

/* Who is not well serves only where nobody is. */
static enum standing standing_by_itself(const struct endpoint_detail *detail)
{
	if (detail->standing != STANDING_SERVING)
		return detail->standing;
	if (detail->checked && detail->check.verdict == VERDICT_DOWN)
		return STANDING_DOWN;
	if (detail->ejection && detail->ejection->state == EJECTION_OUT)
		return STANDING_EJECTED;
	return STANDING_SERVING;
}

/* To be freed. */
static struct endpoint_detail *describe_endpoints(const struct survey *survey, const struct link *link,
						  const struct endpoints *endpoints)
{
	struct endpoint_detail *details = xcalloc(endpoints->count + 1, sizeof(*details));
	struct counted counted = {.endpoints = endpoints, .details = details};
	const struct ambassador *ambassador = link->ambassador;

	find_standing(link, endpoints, details);
	count_slots(link, details);
	if (survey && ambassador->nft)
		link_read_connections(link, endpoints, on_connections, &counted);
	for (uint32_t i = 0; i < endpoints->count; i++) {
		const struct endpoint *endpoint = &endpoints->items[i];

		details[i].checked = link_checks_report(link, &endpoint->at, &details[i].check);
		if (survey)
			survey_find(survey, &link->conf->listen, &endpoint->at, &details[i]);
		details[i].ejection = ejections_find(&link->ejections.known, &endpoint->at);
		if (details[i].ejection)
			details[i].ejection_left = seconds_left(ambassador, details[i].ejection->until_ms);
		details[i].by_itself = standing_by_itself(&details[i]);
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

static void describe_link(const struct link *link, const struct survey *survey,
			  void (*each)(void *context, const struct link_status *status), void *context)
{
	const struct service *service = link->subscription.service;
	const struct endpoints *endpoints = link->installed ? endpoints_ref(link->plan.endpoints) : endpoints_none();
	struct endpoint_detail *details = describe_endpoints(survey, link, endpoints);
	struct arena texts = {0};
	size_t n_departed = 0;
	struct departed *departed = survey ? survey_list_departed(survey, link, &texts, &n_departed) : NULL;
	struct link_status status = {
		.conf = link->conf,
		.endpoints = endpoints,
		.details = details,
		.live_known = survey && survey_has_live(survey),
		.bytes_known = survey && survey_has_bytes(survey),
		.departed = departed,
		.n_departed = n_departed,
		.installed = link->installed,
		.refused = link->error != NULL,
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

void ambassador_describe(struct ambassador *ambassador, const struct survey *survey, size_t index,
			 void (*each)(void *context, const struct link_status *status), void *context)
{
	const struct link *link = link_find(ambassador, &ambassador->conf->links[index].listen);

	if (link && link->conf)
		describe_link(link, survey, each, context);
}

void ambassador_status(struct ambassador *ambassador, const char *link_name, bool with_counters,
		       void (*each)(void *context, const struct link_status *status), void *context)
{
	struct survey *survey = with_counters ? survey_begin(ambassador) : NULL;

	if (survey)
		survey_list_flows(survey);
	for (size_t i = 0; i < ambassador->conf->n_links; i++) {
		if (!link_name || strcmp(link_name, ambassador->conf->links[i].name) == 0)
			ambassador_describe(ambassador, survey, i, each, context);
	}
	survey_free(survey);
}
