/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/requests.h"

#include <cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/event.h"
#include "base/mem.h"
#include "daemon/conns.h"
#include "daemon/metrics.h"
#include "daemon/status.h"
#include "daemon/tour.h"

/* Names in a sentence that says what there is; the others are counted. */
#define NAMES_LISTED 8

static const char *text_of(const cJSON *request, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(request, key));
}

static void write_object(FILE *out, cJSON *object)
{
	char *text = cJSON_PrintUnformatted(object);

	fputs(text, out);
	cJSON_free(text);
	cJSON_Delete(object);
}

static void refuse(FILE *out, const struct error *err, bool usage)
{
	cJSON *object = cJSON_CreateObject();

	cJSON_AddStringToObject(object, "error", err->text);
	if (usage)
		cJSON_AddTrueToObject(object, "usage");
	write_object(out, object);
}

/* "a, b and 3 more" */

struct names {
	FILE *out;
	char *text;
	size_t length;
	unsigned int count;
};

static void names_begin(struct names *names)
{
	*names = (struct names){0};
	names->out = open_memstream(&names->text, &names->length);
}

static void names_add(struct names *names, const char *name)
{
	if (names->count < NAMES_LISTED)
		fprintf(names->out, "%s%s", names->count ? ", " : "", name);
	names->count++;
}

/* Returns the text, to be freed. */
static char *names_end(struct names *names)
{
	if (names->count > NAMES_LISTED)
		fprintf(names->out, " and %u more", names->count - NAMES_LISTED);
	else if (!names->count)
		fputs("none", names->out);
	fclose(names->out);
	return names->text;
}

/* Which link? */

static const struct link_conf *find_link(const struct ambassador *ambassador, const char *name)
{
	const struct ambassador_conf *conf = ambassador_conf(ambassador);

	for (size_t i = 0; i < conf->n_links; i++) {
		if (strcmp(conf->links[i].name, name) == 0)
			return &conf->links[i];
	}
	return NULL;
}

static void fail_unknown(const struct realm *realm, const char *netns, const char *name, struct error *err)
{
	struct names names;
	char *list;

	names_begin(&names);
	for (size_t i = 0; i < realm->n_ambassadors; i++) {
		const struct ambassador_conf *conf = ambassador_conf(realm->ambassadors[i]);

		for (size_t j = 0; ambassador_is_in(realm->ambassadors[i], netns) && j < conf->n_links; j++)
			names_add(&names, conf->links[j].name);
	}
	list = names_end(&names);
	fail(err, 0, "there is no link named \"%.64s\"%s%.64s; there are: %s", name, netns ? " in namespace " : "",
	     netns ? netns : "", list);
	free(list);
}

static void fail_ambiguous(const struct realm *realm, const char *name, struct error *err)
{
	struct names names;
	char *list;

	names_begin(&names);
	for (size_t i = 0; i < realm->n_ambassadors; i++) {
		const char *netns = ambassador_netns(realm->ambassadors[i]);

		if (find_link(realm->ambassadors[i], name))
			names_add(&names, *netns ? netns : "'' (its own)");
	}
	list = names_end(&names);
	fail(err, 0, "several namespaces have a link named %s: choose with --netns one of %s", name, list);
	free(list);
}

/* How many ambassadors have a link of that name? *ret is the first. */
static size_t find_ambassadors(const struct realm *realm, const char *netns, const char *link, struct ambassador **ret)
{
	size_t count = 0;

	*ret = NULL;
	for (size_t i = 0; i < realm->n_ambassadors; i++) {
		struct ambassador *ambassador = realm->ambassadors[i];

		if (!ambassador_is_in(ambassador, netns) || !find_link(ambassador, link))
			continue;
		if (!count++)
			*ret = ambassador;
	}
	return count;
}

/* Returns NULL, and a sentence, where there is none or more than one. */
static struct ambassador *choose_ambassador(const struct realm *realm, const char *netns, const char *link,
					    struct error *err)
{
	struct ambassador *found;
	size_t count = find_ambassadors(realm, netns, link, &found);

	if (count == 1)
		return found;
	if (count)
		fail_ambiguous(realm, link, err);
	else
		fail_unknown(realm, netns, link, err);
	return NULL;
}

/* Which endpoint? */

struct search {
	const struct overrides *overrides;
	const char *netns;
	const char *wanted; /* an id or ADDR:PORT */
	char *found;	    /* the override's endpoint */
	struct names names;
};

static const struct endpoint *find_endpoint(const struct endpoints *endpoints, const char *wanted)
{
	const struct endpoint *endpoint = endpoints ? endpoints_find_id(endpoints, wanted) : NULL;
	struct ip_port at;

	if (endpoints && !endpoint && ip_port_parse(wanted, &at) == 0)
		endpoint = endpoints_find_address(endpoints, &at);
	return endpoint;
}

/* One that is away now can be named by what was said of it. */
static void search_link(void *context, const struct link_status *status)
{
	const struct endpoints *listed = status->answer ? status->answer : status->endpoints;
	const struct endpoint *endpoint;
	const struct override *override;
	struct search *search = context;
	const char *link = status->conf->name;

	endpoint = find_endpoint(status->answer, search->wanted);
	if (!endpoint)
		endpoint = find_endpoint(status->endpoints, search->wanted);
	override = endpoint ? overrides_of(search->overrides, search->netns, link, endpoint)
			    : overrides_find(search->overrides, search->netns, link, search->wanted);
	if (override)
		search->found = xstrdup(override->endpoint);
	else if (endpoint)
		search->found = xstrdup(endpoint->id);
	for (uint32_t i = 0; i < listed->count; i++)
		names_add(&search->names, listed->items[i].id);
}

/* Returns what an override calls the endpoint, to be freed; or NULL and a sentence. */
static char *choose_endpoint(const struct realm *realm, struct ambassador *ambassador, const char *link,
			     const char *wanted, struct error *err)
{
	struct search search = {
		.overrides = state_overrides(realm->state),
		.netns = ambassador_netns(ambassador),
		.wanted = wanted,
	};
	char *list;

	names_begin(&search.names);
	ambassador_status(ambassador, link, false, search_link, &search);
	list = names_end(&search.names);
	if (!search.found)
		fail(err, 0, "link %s has no endpoint \"%.64s\"; it has: %s", link, wanted, list);
	free(list);
	return search.found;
}

/* A weight by hand */

static void tell_override(const struct override *override, bool remove, uint64_t took_ns)
{
	struct event event = {
		.level = LOG_LEVEL_NOTICE,
		.causes = CAUSE_OPERATOR,
		.netns = override->netns,
		.link = override->link,
		.took_ns = took_ns,
	};
	char *text;

	if (remove)
		text = xasprintf("endpoint %s has its registry's weight again", override->endpoint);
	else if (!override->weight)
		text = xasprintf("endpoint %s is drained by hand", override->endpoint);
	else
		text = xasprintf("endpoint %s has weight %u by hand", override->endpoint, override->weight);
	event.text = text;
	event_tell(&event);
	free(text);
}

static void answer_in_force(struct ambassador *ambassador, const struct override *override, const struct error *note,
			    FILE *out)
{
	cJSON *object = cJSON_CreateObject();
	struct error err;

	if (ambassador_replan(ambassador, &find_link(ambassador, override->link)->listen, &err) < 0)
		cJSON_AddStringToObject(object, "error", err.text);
	cJSON_AddStringToObject(object, "netns", override->netns);
	cJSON_AddStringToObject(object, "endpoint", override->endpoint);
	cJSON_AddItemToObject(object, "link", status_of_link(ambassador, override->link, true));
	if (*note->text)
		cJSON_AddStringToObject(object, "note", note->text);
	write_object(out, object);
}

static int read_weight(const cJSON *item, uint16_t *ret, struct error *err)
{
	double weight = cJSON_GetNumberValue(item);

	if (cJSON_IsNull(item))
		return 0;
	if (!cJSON_IsNumber(item) || weight < 0 || weight > ENDPOINT_WEIGHT_MAX || weight != (uint16_t)weight)
		return fail(err, -EINVAL, "weight: expected 0 to %d, or null", ENDPOINT_WEIGHT_MAX);
	*ret = (uint16_t)weight;
	return 0;
}

static void answer_change(const struct realm *realm, struct ambassador *ambassador, const struct override *override,
			  bool remove, FILE *out)
{
	struct error err, note;
	uint64_t began = uv_hrtime();
	int code = state_change(realm->state, override, remove, &note, &err);

	if (code < 0)
		refuse(out, &err, false);
	else
		answer_in_force(ambassador, override, &note, out);
	if (code > 0)
		tell_override(override, remove, uv_hrtime() - began);
}

static void answer_override(const struct realm *realm, const cJSON *request, FILE *out)
{
	const char *link = text_of(request, "link"), *wanted = text_of(request, "endpoint");
	const cJSON *weight = cJSON_GetObjectItemCaseSensitive(request, "weight");
	struct ambassador *ambassador = NULL;
	struct override override = {.link = link};
	struct error err;
	char *endpoint = NULL;

	if (!link || !wanted)
		fail(&err, 0, "expected a link and an endpoint");
	else if (read_weight(weight, &override.weight, &err) == 0)
		ambassador = choose_ambassador(realm, text_of(request, "netns"), link, &err);
	if (ambassador)
		endpoint = choose_endpoint(realm, ambassador, link, wanted, &err);
	if (!endpoint) {
		refuse(out, &err, true);
		return;
	}
	override.netns = ambassador_netns(ambassador);
	override.endpoint = endpoint;
	answer_change(realm, ambassador, &override, cJSON_IsNull(weight), out);
	free(endpoint);
}

/* Waiting */

static void add_waiting(struct ambassador *ambassador, const char *link, cJSON *array)
{
	cJSON *status = status_of_link(ambassador, link, false), *object;

	if (cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(status, "slots")) > 0) {
		cJSON_Delete(status);
		return;
	}
	object = cJSON_CreateObject();
	cJSON_AddStringToObject(object, "netns", ambassador_netns(ambassador));
	cJSON_AddStringToObject(object, "name", link);
	if (ambassador_error(ambassador))
		cJSON_AddStringToObject(object, "reason", ambassador_error(ambassador));
	else
		cJSON_AddItemToObject(object, "reason", cJSON_DetachItemFromObjectCaseSensitive(status, "reason"));
	cJSON_AddItemToArray(array, object);
	cJSON_Delete(status);
}

static void add_waiting_of(const struct realm *realm, const char *netns, const char *link, cJSON *array)
{
	for (size_t i = 0; i < realm->n_ambassadors; i++) {
		struct ambassador *ambassador = realm->ambassadors[i];

		if (ambassador_is_in(ambassador, netns) && find_link(ambassador, link))
			add_waiting(ambassador, link, array);
	}
}

static void answer_wait(const struct realm *realm, const cJSON *request, FILE *out)
{
	cJSON *object = cJSON_CreateObject(), *array = cJSON_AddArrayToObject(object, "waiting");
	const char *netns = text_of(request, "netns");
	struct ambassador *first;
	const cJSON *item;

	cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(request, "links")) {
		const char *link = cJSON_IsString(item) ? item->valuestring : "";
		struct error err;

		if (!find_ambassadors(realm, netns, link, &first)) {
			fail_unknown(realm, netns, link, &err);
			refuse(out, &err, true);
			cJSON_Delete(object);
			return;
		}
		add_waiting_of(realm, netns, link, array);
	}
	write_object(out, object);
}

/* The status of the links of one name, which has to be there. */
static void answer_explain(const struct realm *realm, const cJSON *request, FILE *out)
{
	const char *netns = text_of(request, "netns"), *link = text_of(request, "link");
	struct ambassador *first;
	struct error err;

	if (link && find_ambassadors(realm, netns, link, &first)) {
		status_write(out, realm, netns, link);
		return;
	}
	fail_unknown(realm, netns, link ? link : "", &err);
	refuse(out, &err, true);
}

static struct realm same_realm(void *realm)
{
	return *(const struct realm *)realm;
}

static void answer_metrics(const struct realm *realm, FILE *out)
{
	struct realm borrowed = *realm;
	struct metrics metrics = {.realm = same_realm, .realm_context = &borrowed};
	struct text whole = {0};

	tour_make(realm, &metrics_visitor, &metrics);
	for (const struct block *block = metrics.text.first; block; block = block->next)
		text_add(&whole, block->bytes, block->length);
	metrics_clear(&metrics);
	text_add(&whole, "", 1);
	fputs("{\"text\":", out);
	write_object(out, cJSON_CreateStringReference(whole.bytes));
	fputs("}", out);
	text_clear(&whole);
}

static size_t conns_limit(const cJSON *request)
{
	const cJSON *limit = cJSON_GetObjectItemCaseSensitive(request, "limit");
	double value = cJSON_IsNumber(limit) ? limit->valuedouble : CONNS_DEFAULT;

	return value < 0 ? 0 : value > CONNS_MAX ? CONNS_MAX : (size_t)value;
}

static void add_endpoint_names(void *context, const struct link_status *status)
{
	for (uint32_t i = 0; i < status->endpoints->count; i++)
		cJSON_AddItemToArray(context, cJSON_CreateString(status->endpoints->items[i].id));
}

/* For completion: without a look at the kernel. */
static void answer_names(const struct realm *realm, const cJSON *request, FILE *out)
{
	cJSON *object = cJSON_CreateObject(), *names = cJSON_AddArrayToObject(object, "names");
	const char *link = text_of(request, "link");

	for (size_t i = 0; i < realm->n_ambassadors; i++) {
		const struct ambassador_conf *conf = ambassador_conf(realm->ambassadors[i]);

		for (size_t j = 0; !link && j < conf->n_links; j++)
			cJSON_AddItemToArray(names, cJSON_CreateString(conf->links[j].name));
		if (link)
			ambassador_status(realm->ambassadors[i], link, false, add_endpoint_names, names);
	}
	write_object(out, object);
}

static bool answer_events(const struct realm *realm, const cJSON *request, FILE *out)
{
	const cJSON *count = cJSON_GetObjectItemCaseSensitive(request, "count");
	double most = cJSON_IsNumber(count) ? count->valuedouble : JOURNAL_EVENTS;

	fputs("{\"events\":", out);
	journal_write(realm->journal, text_of(request, "netns"), text_of(request, "link"),
		      most < 0 ? 0 : (size_t)(most < JOURNAL_EVENTS ? most : JOURNAL_EVENTS), out);
	fputc('}', out);
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(request, "follow"));
}

bool requests_follows(const cJSON *request, const void *about)
{
	return journal_is_about(about, text_of(request, "netns"), text_of(request, "link"));
}

bool requests_answer(const struct realm *realm, const cJSON *request, FILE *out)
{
	const char *command = text_of(request, "command");

	if (command && strcmp(command, "status") == 0)
		status_write(out, realm, text_of(request, "netns"), text_of(request, "link"));
	else if (command && strcmp(command, "conns") == 0)
		conns_write(out, realm->ambassadors, realm->n_ambassadors, text_of(request, "link"),
			    conns_limit(request));
	else if (command && strcmp(command, "explain") == 0)
		answer_explain(realm, request, out);
	else if (command && strcmp(command, "override") == 0)
		answer_override(realm, request, out);
	else if (command && strcmp(command, "wait") == 0)
		answer_wait(realm, request, out);
	else if (command && strcmp(command, "metrics") == 0)
		answer_metrics(realm, out);
	else if (command && strcmp(command, "names") == 0)
		answer_names(realm, request, out);
	else if (command && strcmp(command, "events") == 0)
		return answer_events(realm, request, out);
	else
		fprintf(out,
			"{\"error\":\"unknown command; this version knows: status, conns, explain, override, wait, "
			"metrics, events\"}");
	return false;
}
