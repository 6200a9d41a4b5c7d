/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/consul/messages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "discovery/json.h"
#include "discovery/record.h"

#define ERROR_TEXT_MAX 200

/* Of the worst kind that was seen. */
struct health {
	bool maintenance, warning, critical;
};

/* "_node_maintenance", "_service_maintenance:ID" */
static bool is_maintenance(const cJSON *check)
{
	const char *id = cJSON_GetStringValue(record_member(check, "CheckID"));

	return id && (strcmp(id, "_node_maintenance") == 0 || strncmp(id, "_service_maintenance", 20) == 0);
}

static int take_check(const cJSON *check, struct health *health, struct error *err)
{
	const cJSON *item = record_member(check, "Status");
	const char *status = cJSON_GetStringValue(item);

	if (!status)
		return record_wrong_type("Status", item, "passing, warning or critical", err);
	if (strcmp(status, "critical") == 0 && is_maintenance(check))
		health->maintenance = true;
	else if (strcmp(status, "critical") == 0)
		health->critical = true;
	else if (strcmp(status, "warning") == 0)
		health->warning = true;
	else if (strcmp(status, "passing") != 0)
		return record_wrong_type("Status", item, "passing, warning or critical", err);
	return 0;
}

static int take_checks(const cJSON *entry, struct health *health, struct error *err)
{
	const cJSON *check;
	int code = 0;

	cJSON_ArrayForEach (check, record_member(entry, "Checks")) {
		code = take_check(check, health, err);
		if (code)
			break;
	}
	return code;
}

static int take_weight(const cJSON *service, const struct health *health, struct endpoint *endpoint, struct error *err)
{
	const cJSON *weights = record_member(service, "Weights");

	endpoint->weight = 1;
	if (health->maintenance) {
		endpoint->weight = 0;
		return 0;
	}
	return record_json_number(weights, health->warning ? "Warning" : "Passing", 0, ENDPOINT_WEIGHT_MAX,
				  &endpoint->weight, err);
}

static int take_address(const cJSON *node, const cJSON *service, struct arena *arena, struct consul_instance *instance,
			struct error *err)
{
	const char *host = record_text(service, "Address");
	int code;

	if (!*host)
		host = record_text(node, "Address");
	code = record_host_or_name(host, &instance->endpoint.at.addr, err);
	if (!code && !instance->endpoint.at.addr.family)
		instance->host = arena_strdup(arena, host);
	return code ? code : record_json_port(service, "Port", &instance->endpoint.at.port, err);
}

static int take_id(const cJSON *node, const cJSON *service, struct arena *arena, struct endpoint *endpoint,
		   struct error *err)
{
	const char *id = record_text(service, "ID");

	if (!*id)
		id = record_text(service, "Service");
	return record_name("id", arena_printf(arena, "%s/%s", record_text(node, "Node"), id), &endpoint->id, err);
}

/* Returns 0; -ENOENT where it is as if it were not there; or -EINVAL with a sentence. */
static int take_entry(const cJSON *entry, struct arena *arena, struct consul_instance *instance, struct error *err)
{
	const cJSON *node = record_member(entry, "Node"), *service = record_member(entry, "Service");
	struct health health = {0};
	int code;

	if (!cJSON_IsObject(service))
		return fail(err, -EINVAL, "an instance without a Service");
	code = take_checks(entry, &health, err);
	if (!code && health.critical)
		code = -ENOENT;
	if (!code)
		code = take_id(node, service, arena, &instance->endpoint, err);
	if (!code)
		code = take_weight(service, &health, &instance->endpoint, err);
	if (!code)
		code = take_address(node, service, arena, instance, err);
	return code;
}

/* Which one cannot be read: "NODE/ID" */
static const char *name_entry(const cJSON *entry, struct arena *arena)
{
	char node[RECORD_QUOTE_SIZE], id[RECORD_QUOTE_SIZE];

	record_quote(record_text(record_member(entry, "Node"), "Node"), node);
	record_quote(record_text(record_member(entry, "Service"), "ID"), id);
	return arena_printf(arena, "%s/%s", node, id);
}

static void add_entry(struct consul_list *list, const cJSON *entry)
{
	struct consul_instance instance = {0};
	struct error err;
	int code = take_entry(entry, &list->arena, &instance, &err);

	if (code == -ENOENT)
		return;
	if (code)
		instance.bad = arena_printf(&list->arena, "instance %s: %s", name_entry(entry, &list->arena), err.text);
	ARRAY_GROW(list->items, list->count, list->capacity);
	list->items[list->count++] = instance;
}

/* One instance is a tree at a time, for there may be thousands, each with the output of its checks. */
static int take_element(struct json_cursor *cursor, struct consul_list *list, struct error *err)
{
	size_t from = cursor->at;
	cJSON *entry;

	json_skip_value(cursor);
	entry = json_parse(cursor, from, cursor->at, "its answer", err);
	if (!entry)
		return -EINVAL;
	add_entry(list, entry);
	cJSON_Delete(entry);
	return 0;
}

/* Behind the '['. */
static int take_elements(struct json_cursor *cursor, struct consul_list *list, struct error *err)
{
	bool first = true;

	for (;;) {
		char next = json_skip_space(cursor);
		int code;

		if (next == ']' && first)
			break;
		code = take_element(cursor, list, err);
		if (code)
			return code;
		first = false;
		next = json_skip_space(cursor);
		if (next == ']')
			break;
		if (next != ',')
			return json_fault(cursor, "its answer", "',' or ']' is missing", err);
		cursor->at++;
	}
	cursor->at++;
	return 0;
}

static int compare_instances(const void *a, const void *b)
{
	const struct consul_instance *left = a, *right = b;

	return strcmp(left->bad ? left->bad : left->endpoint.id, right->bad ? right->bad : right->endpoint.id);
}

int consul_list_parse(const char *text, size_t length, struct consul_list *ret, struct error *err)
{
	struct json_cursor cursor = {.text = text, .length = length};
	int code;

	*ret = (struct consul_list){0};
	if (json_skip_space(&cursor) != '[')
		return fail(err, -EINVAL, "its answer is not a list");
	cursor.at++;
	code = take_elements(&cursor, ret, err);
	if (!code && (json_skip_space(&cursor) || cursor.at < length))
		code = json_fault(&cursor, "its answer", "something follows the list", err);
	/* So that of two with one address it is always the same that stays. */
	if (ret->count)
		qsort(ret->items, ret->count, sizeof(*ret->items), compare_instances);
	return code;
}

void consul_list_clear(struct consul_list *list)
{
	free(list->items);
	arena_free(&list->arena);
	*list = (struct consul_list){0};
}

/* What a list comes to */

struct building {
	consul_resolve_fn resolve;
	void *context;
	struct endpoints_builder *builder;
	struct consul_view *view;
	uint32_t used;
};

static void skip(struct building *building, const char *why)
{
	struct consul_view *view = building->view;

	if (view->skipped < CONSUL_REPORTS)
		view->reports[view->skipped] = arena_strdup(&view->arena, why);
	view->digest = (view->digest * 31 + hash_bytes(why, strlen(why))) | 1;
	view->skipped++;
}

static void add(struct building *building, const struct endpoint *endpoint)
{
	char at[IP_PORT_TEXT], own[RECORD_QUOTE_SIZE], other[RECORD_QUOTE_SIZE];
	struct error err;
	const char *stays;

	if (endpoints_builder_add(building->builder, endpoint, &stays) == 0) {
		building->used++;
		return;
	}
	fail(&err, 0, "instance %s: %s: \"%s\" has this id or address already, each is accepted once",
	     record_quote(endpoint->id, own), ip_port_text(&endpoint->at, at), record_quote(stays, other));
	skip(building, err.text);
}

static void take_instance(struct building *building, const struct consul_instance *instance)
{
	struct endpoint endpoint = instance->endpoint;
	char quoted[RECORD_QUOTE_SIZE];
	struct error err;
	int code = 0;

	if (instance->bad) {
		skip(building, instance->bad);
		return;
	}
	if (instance->host)
		code = building->resolve(building->context, instance->host, &endpoint.at.addr, &err);
	if (code == -EAGAIN) {
		building->view->pending++;
	} else if (code) {
		fail_prefix(&err, code, "instance %s", record_quote(endpoint.id, quoted));
		skip(building, err.text);
	} else {
		add(building, &endpoint);
	}
}

void consul_list_view(const struct consul_list *list, consul_resolve_fn resolve, void *context, struct consul_view *ret)
{
	struct building building = {
		.resolve = resolve, .context = context, .builder = endpoints_builder_new(), .view = ret};

	*ret = (struct consul_view){0};
	for (size_t i = 0; i < list->count; i++)
		take_instance(&building, &list->items[i]);
	if (building.used || (!ret->skipped && !ret->pending)) {
		ret->endpoints = endpoints_builder_finish(building.builder);
		return;
	}
	endpoints_builder_free(building.builder);
	if (!ret->pending)
		ret->error =
			arena_printf(&ret->arena, "%s; no instance of %u can be used", ret->reports[0], ret->skipped);
}

void consul_view_clear(struct consul_view *view)
{
	endpoints_unref(view->endpoints);
	arena_free(&view->arena);
	*view = (struct consul_view){0};
}

const char *consul_error_text(const char *body, struct arena *arena)
{
	char *text = arena_strndup(arena, body, strnlen(body, ERROR_TEXT_MAX));

	text[strcspn(text, "\r\n")] = '\0';
	for (char *at = text; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	return text;
}

/* When to ask again */

uint64_t consul_next_index(uint64_t asked, uint64_t got)
{
	if (got < asked)
		return 0;
	return got ? got : 1;
}

uint64_t consul_wait_max_ms(uint32_t wait_s)
{
	return (uint64_t)wait_s * 1000 * 17 / 16;
}

/* Counts a question; returns how long it is to wait. */
static uint64_t wait_for_pace(uint64_t *due, uint64_t burst, uint64_t pace_ms, uint64_t now)
{
	uint64_t wait, may_be_ahead = (burst - 1) * pace_ms;

	if (*due < now)
		*due = now;
	/* Ahead of the even pace by so much; a burst may be ahead by a little less than its length. */
	wait = *due - now;
	*due += pace_ms;
	return wait > may_be_ahead ? wait - may_be_ahead : 0;
}

uint64_t consul_pace(struct consul_pace *pace, uint64_t now)
{
	uint64_t wait = wait_for_pace(&pace->due, CONSUL_BURST, CONSUL_PACE_MS, now);
	uint64_t long_wait = wait_for_pace(&pace->long_due, CONSUL_LONG_BURST, CONSUL_LONG_PACE_MS, now);

	return wait > long_wait ? wait : long_wait;
}
