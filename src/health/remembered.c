/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "health/remembered.h"

#include <cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define REMEMBERED_VERSION 1

void remembered_add(struct remembered *remembered, const struct remembered_target *target)
{
	ARRAY_GROW(remembered->items, remembered->count, remembered->capacity);
	remembered->items[remembered->count++] = (struct remembered_target){
		.netns = arena_strdup(&remembered->arena, target->netns),
		.at = target->at,
		.probe = arena_strdup(&remembered->arena, target->probe),
		.reason = arena_strdup(&remembered->arena, target->reason),
		.since = target->since,
		.last_good = target->last_good,
	};
}

void remembered_clear(struct remembered *remembered)
{
	free(remembered->items);
	arena_free(&remembered->arena);
	*remembered = (struct remembered){0};
}

static int compare(const void *a, const void *b)
{
	const struct remembered_target *x = a, *y = b;
	int order = ip_port_compare(&x->at, &y->at);

	if (!order)
		order = strcmp(x->netns, y->netns);
	return order ? order : strcmp(x->probe, y->probe);
}

void remembered_sort(struct remembered *remembered)
{
	if (remembered->count)
		qsort(remembered->items, remembered->count, sizeof(*remembered->items), compare);
}

const struct remembered_target *remembered_find(const struct remembered *remembered, const char *netns,
						const struct ip_port *at, const char *probe)
{
	const struct remembered_target wanted = {.netns = netns, .at = *at, .probe = probe};

	return remembered->count ? bsearch(&wanted, remembered->items, remembered->count, sizeof(wanted), compare)
				 : NULL;
}

/* Writing */

static void write_target(const struct remembered_target *target, FILE *out)
{
	cJSON *object = cJSON_CreateObject();
	char address[IP_PORT_TEXT], *text;

	cJSON_AddStringToObject(object, "netns", target->netns);
	cJSON_AddStringToObject(object, "address", ip_port_text(&target->at, address));
	cJSON_AddStringToObject(object, "probe", target->probe);
	cJSON_AddStringToObject(object, "reason", target->reason);
	cJSON_AddNumberToObject(object, "since", (double)target->since);
	cJSON_AddNumberToObject(object, "last_good", (double)target->last_good);
	text = cJSON_PrintUnformatted(object);
	fputs(text, out);
	cJSON_free(text);
	cJSON_Delete(object);
}

void remembered_write(const struct remembered *remembered, FILE *out)
{
	fprintf(out, "{\"version\":%d,\"written\":%lld,\"down\":[", REMEMBERED_VERSION, (long long)remembered->written);
	for (size_t i = 0; i < remembered->count; i++) {
		fputs(i ? ",\n" : "\n", out);
		write_target(&remembered->items[i], out);
	}
	fputs("]}\n", out);
}

/* Reading. We wrote it ourselves: anything else is damage. */

static bool time_at(const cJSON *object, const char *key, int64_t *ret)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > 1e15)
		return false;
	*ret = (int64_t)item->valuedouble;
	return true;
}

static const char *text_at(const cJSON *object, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

static bool take_target(const cJSON *object, struct remembered *remembered)
{
	struct remembered_target target = {
		.netns = text_at(object, "netns"),
		.probe = text_at(object, "probe"),
		.reason = text_at(object, "reason"),
	};
	const char *address = text_at(object, "address");

	if (!target.netns || !target.probe || !target.reason || !address || ip_port_parse(address, &target.at) < 0 ||
	    !time_at(object, "since", &target.since) || !time_at(object, "last_good", &target.last_good))
		return false;
	remembered_add(remembered, &target);
	return true;
}

static bool take_all(const cJSON *root, struct remembered *remembered)
{
	const cJSON *version = cJSON_GetObjectItemCaseSensitive(root, "version");
	const cJSON *down = cJSON_GetObjectItemCaseSensitive(root, "down"), *item;

	if (!cJSON_IsNumber(version) || version->valueint != REMEMBERED_VERSION || !cJSON_IsArray(down) ||
	    !time_at(root, "written", &remembered->written))
		return false;
	cJSON_ArrayForEach (item, down) {
		if (!take_target(item, remembered))
			return false;
	}
	return true;
}

int remembered_parse(const char *text, size_t length, const char *place, struct remembered *ret, struct error *err)
{
	cJSON *root = cJSON_ParseWithLength(text, length);
	bool good;

	*ret = (struct remembered){0};
	good = root && take_all(root, ret);
	cJSON_Delete(root);
	if (!good) {
		remembered_clear(ret);
		return fail(err, -EINVAL, "%s: it is not as nuncio writes it", place);
	}
	remembered_sort(ret);
	return 0;
}
