/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/overrides.h"

#include <cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/keys.h"
#include "discovery/json.h"

#define STATE_VERSION 1

static int compare_link(const struct override *a, const char *netns, const char *link)
{
	int order = strcmp(a->netns, netns);

	return order ? order : strcmp(a->link, link);
}

static int compare(const struct override *a, const struct override *b)
{
	int order = compare_link(a, b->netns, b->link);

	return order ? order : strcmp(a->endpoint, b->endpoint);
}

/* Where it is, or where it belongs. */
static size_t place_of(const struct overrides *overrides, const struct override *override)
{
	size_t low = 0, high = overrides->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare(&overrides->items[middle], override) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_at(const struct overrides *overrides, size_t place, const struct override *override)
{
	return place < overrides->count && compare(&overrides->items[place], override) == 0;
}

static void free_strings(const struct override *override)
{
	free((char *) override->netns);
	free((char *) override->link);
	free((char *) override->endpoint);
}

void overrides_clear(struct overrides *overrides)
{
	for (size_t i = 0; i < overrides->count; i++)
		free_strings(&overrides->items[i]);
	free(overrides->items);
	*overrides = (struct overrides){0};
}

int overrides_set(struct overrides *overrides, const struct override *override, struct error *err)
{
	size_t place = place_of(overrides, override);
	struct override *item;

	if (is_at(overrides, place, override)) {
		overrides->items[place].weight = override->weight;
		return 0;
	}
	if (overrides->count == OVERRIDES_MAX)
		return fail(err, -ENOSPC, "there are %d weights by hand already: undrain some that are not needed",
			    OVERRIDES_MAX);
	ARRAY_GROW(overrides->items, overrides->count, overrides->capacity);
	item = &overrides->items[place];
	memmove(item + 1, item, (overrides->count++ - place) * sizeof(*item));
	*item = (struct override){
		.netns = xstrdup(override->netns),
		.link = xstrdup(override->link),
		.endpoint = xstrdup(override->endpoint),
		.weight = override->weight,
	};
	return 0;
}

bool overrides_remove(struct overrides *overrides, const struct override *override)
{
	size_t place = place_of(overrides, override);
	struct override *item;

	if (!is_at(overrides, place, override))
		return false;
	item = &overrides->items[place];
	free_strings(item);
	memmove(item, item + 1, (--overrides->count - place) * sizeof(*item));
	return true;
}

const struct override *overrides_find(const struct overrides *overrides, const char *netns, const char *link,
				      const char *endpoint)
{
	struct override override = {.netns = netns, .link = link, .endpoint = endpoint};
	size_t place = place_of(overrides, &override);

	return is_at(overrides, place, &override) ? &overrides->items[place] : NULL;
}

const struct override *overrides_of(const struct overrides *overrides, const char *netns, const char *link,
				    const struct endpoint *endpoint)
{
	const struct override *override = overrides_find(overrides, netns, link, endpoint->id);
	char address[IP_PORT_TEXT];

	return override ? override : overrides_find(overrides, netns, link, ip_port_text(&endpoint->at, address));
}

/* Hardly a link has any, so that is found out first. */
static bool concern_link(const struct overrides *overrides, const char *netns, const char *link)
{
	struct override first = {.netns = netns, .link = link, .endpoint = ""};
	size_t place = place_of(overrides, &first);

	return place < overrides->count && compare_link(&overrides->items[place], netns, link) == 0;
}

const struct endpoints *overrides_apply(const struct overrides *overrides, const char *netns, const char *link,
					const struct endpoints *endpoints, bool drains_only)
{
	const struct endpoints *weighed;
	uint16_t *weights;

	if (!overrides || !concern_link(overrides, netns, link))
		return endpoints_ref(endpoints);
	weights = xcalloc(endpoints->count + 1, sizeof(*weights));
	for (uint32_t i = 0; i < endpoints->count; i++) {
		const struct override *override = overrides_of(overrides, netns, link, &endpoints->items[i]);
		bool counts = override && (!override->weight || !drains_only);

		weights[i] = counts ? override->weight : endpoints->items[i].weight;
	}
	weighed = endpoints_reweigh(endpoints, weights);
	free(weights);
	return weighed;
}

size_t overrides_retain(struct overrides *overrides, bool (*keep)(void *context, const struct override *override),
			void *context)
{
	size_t kept = 0, removed;

	for (size_t i = 0; i < overrides->count; i++) {
		if (keep(context, &overrides->items[i]))
			overrides->items[kept++] = overrides->items[i];
		else
			free_strings(&overrides->items[i]);
	}
	removed = overrides->count - kept;
	overrides->count = kept;
	return removed;
}

/* As text */

char *overrides_print(const struct overrides *overrides)
{
	cJSON *state = cJSON_CreateObject(), *array;
	char *printed, *text;

	cJSON_AddNumberToObject(state, "version", STATE_VERSION);
	array = cJSON_AddArrayToObject(state, "overrides");
	for (size_t i = 0; i < overrides->count; i++) {
		cJSON *item = cJSON_CreateObject();

		cJSON_AddStringToObject(item, "netns", overrides->items[i].netns);
		cJSON_AddStringToObject(item, "link", overrides->items[i].link);
		cJSON_AddStringToObject(item, "endpoint", overrides->items[i].endpoint);
		cJSON_AddNumberToObject(item, "weight", overrides->items[i].weight);
		cJSON_AddItemToArray(array, item);
	}
	printed = cJSON_Print(state);
	text = xasprintf("%s\n", printed);
	cJSON_free(printed);
	cJSON_Delete(state);
	return text;
}

static const char *string_at(const cJSON *object, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

static bool read_weight(const cJSON *item, uint16_t *ret)
{
	const cJSON *weight = cJSON_GetObjectItemCaseSensitive(item, "weight");

	if (!cJSON_IsNumber(weight) || weight->valuedouble < 0 || weight->valuedouble > ENDPOINT_WEIGHT_MAX)
		return false;
	*ret = (uint16_t)weight->valuedouble;
	return weight->valuedouble == *ret;
}

/* We wrote it ourselves, so anything else than what we write is damage, and not to be read with forbearance. */
static int read_override(const cJSON *item, struct override *ret, struct error *err)
{
	*ret = (struct override){
		.netns = string_at(item, "netns"),
		.link = string_at(item, "link"),
		.endpoint = string_at(item, "endpoint"),
	};
	if (!ret->netns)
		return fail(err, -EINVAL, "netns: expected a string");
	if (!ret->link || !link_name_is_valid(ret->link))
		return fail(err, -EINVAL, "link: expected the name of a link, " NAME_FORM);
	if (!ret->endpoint || !*ret->endpoint || strlen(ret->endpoint) > ENDPOINT_ID_MAX)
		return fail(err, -EINVAL, "endpoint: expected an id of 1 to %d bytes", ENDPOINT_ID_MAX);
	if (!read_weight(item, &ret->weight))
		return fail(err, -EINVAL, "weight: expected 0 to %d", ENDPOINT_WEIGHT_MAX);
	return 0;
}

static int read_overrides(const cJSON *array, const char *place, struct overrides *overrides, struct error *err)
{
	const cJSON *item;
	int index = 0;

	cJSON_ArrayForEach (item, array) {
		struct override override;
		int code = read_override(item, &override, err);

		if (code == 0)
			code = overrides_set(overrides, &override, err);
		if (code < 0)
			return fail_prefix(err, -EINVAL, "%s: overrides[%d]", place, index);
		index++;
	}
	return 0;
}

static int read_state(const cJSON *state, const char *place, struct overrides *overrides, struct error *err)
{
	const cJSON *version = cJSON_GetObjectItemCaseSensitive(state, "version");
	const cJSON *array = cJSON_GetObjectItemCaseSensitive(state, "overrides");

	if (!cJSON_IsNumber(version) || version->valueint != STATE_VERSION)
		return fail(err, -EINVAL, "%s: version: expected %d", place, STATE_VERSION);
	if (array && !cJSON_IsArray(array))
		return fail(err, -EINVAL, "%s: overrides: expected an array", place);
	return read_overrides(array, place, overrides, err);
}

int overrides_parse(const char *text, size_t length, const char *place, struct overrides *ret, struct error *err)
{
	struct json_cursor cursor = {.text = text, .length = length};
	cJSON *state = json_parse(&cursor, 0, length, place, err);
	struct overrides overrides = {0};
	int code;

	if (!state)
		return -EINVAL;
	code = read_state(state, place, &overrides, err);
	if (code == 0)
		*ret = overrides;
	else
		overrides_clear(&overrides);
	cJSON_Delete(state);
	return code;
}
