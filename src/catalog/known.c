/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "catalog/known.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "discovery/json.h"
#include "discovery/records.h"

#define KNOWN_VERSION 1

void known_add(struct known *known, const struct known_service *service)
{
	ARRAY_GROW(known->items, known->count, known->capacity);
	known->items[known->count++] = (struct known_service){
		.registry = arena_strdup(&known->arena, service->registry),
		.service = arena_strdup(&known->arena, service->service),
		.revision = arena_strdup(&known->arena, service->revision),
		.seen = service->seen,
		.endpoints = endpoints_ref(service->endpoints),
	};
}

void known_clear(struct known *known)
{
	for (size_t i = 0; i < known->count; i++)
		endpoints_unref(known->items[i].endpoints);
	free(known->items);
	arena_free(&known->arena);
	*known = (struct known){0};
}

static int compare(const void *a, const void *b)
{
	const struct known_service *left = a, *right = b;
	int order = strcmp(left->registry, right->registry);

	return order ? order : strcmp(left->service, right->service);
}

const struct known_service *known_find(const struct known *known, const char *registry, const char *service)
{
	const struct known_service wanted = {.registry = registry, .service = service};

	return known->count ? bsearch(&wanted, known->items, known->count, sizeof(wanted), compare) : NULL;
}

/* Writing */

static cJSON *print_endpoint(const struct endpoint *endpoint)
{
	cJSON *record = cJSON_CreateObject();
	char host[IP_ADDR_TEXT];

	cJSON_AddStringToObject(record, "id", endpoint->id);
	cJSON_AddStringToObject(record, "host", ip_addr_text(&endpoint->at.addr, host));
	cJSON_AddNumberToObject(record, "port", endpoint->at.port);
	if (endpoint->weight != 1)
		cJSON_AddNumberToObject(record, "weight", endpoint->weight);
	if (endpoint->priority)
		cJSON_AddNumberToObject(record, "priority", endpoint->priority);
	if (endpoint->zone)
		cJSON_AddStringToObject(record, "zone", endpoint->zone);
	return record;
}

static void write_line(FILE *out, cJSON *object)
{
	char *text = cJSON_PrintUnformatted(object);

	fprintf(out, "%s\n", text);
	cJSON_free(text);
	cJSON_Delete(object);
}

static void write_service(FILE *out, const struct known_service *service)
{
	cJSON *object = cJSON_CreateObject(), *array;

	cJSON_AddStringToObject(object, "registry", service->registry);
	cJSON_AddStringToObject(object, "service", service->service);
	cJSON_AddStringToObject(object, "revision", service->revision);
	cJSON_AddNumberToObject(object, "seen", (double)service->seen);
	array = cJSON_AddArrayToObject(object, "endpoints");
	for (uint32_t i = 0; i < service->endpoints->count; i++)
		cJSON_AddItemToArray(array, print_endpoint(&service->endpoints->items[i]));
	write_line(out, object);
}

void known_write(const struct known *known, FILE *out)
{
	cJSON *head = cJSON_CreateObject();

	cJSON_AddNumberToObject(head, "version", KNOWN_VERSION);
	cJSON_AddNumberToObject(head, "services", (double)known->count);
	write_line(out, head);
	for (size_t i = 0; i < known->count; i++)
		write_service(out, &known->items[i]);
}

/* Reading. We wrote it ourselves, so anything else than what we write is damage, and not to be read with forbearance.
 */

struct reader {
	struct json_cursor cursor;
	const char *place;
	struct error *err;
};

/* The next line as a tree; NULL with a sentence. */
static cJSON *next_line(struct reader *reader)
{
	size_t from = reader->cursor.at;
	const char *end = memchr(reader->cursor.text + from, '\n', reader->cursor.length - from);

	if (!end) {
		fail(reader->err, -EINVAL, "%s: it ends too early", reader->place);
		return NULL;
	}
	reader->cursor.at = (size_t)(end - reader->cursor.text) + 1;
	return json_parse(&reader->cursor, from, reader->cursor.at, reader->place, reader->err);
}

static bool number_at(const cJSON *object, const char *key, double *ret)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > 1e15)
		return false;
	*ret = item->valuedouble;
	return true;
}

static const char *string_at(const cJSON *object, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

static int read_head(struct reader *reader, size_t *ret_services)
{
	cJSON *head = next_line(reader);
	double version = 0, services = 0;
	int code = 0;

	if (!head)
		return -EINVAL;
	if (!number_at(head, "version", &version) || version != KNOWN_VERSION)
		code = fail(reader->err, -EINVAL, "%s: version: expected %d", reader->place, KNOWN_VERSION);
	else if (!number_at(head, "services", &services))
		code = fail(reader->err, -EINVAL, "%s: services: expected a number", reader->place);
	*ret_services = (size_t)services;
	cJSON_Delete(head);
	return code;
}

static int take_service(struct reader *reader, const cJSON *line, struct known *known)
{
	struct known_service service = {
		.registry = string_at(line, "registry"),
		.service = string_at(line, "service"),
		.revision = string_at(line, "revision"),
	};
	struct records records = {0};
	double seen;
	int code = 0;

	if (!service.registry || !service.service || !service.revision || !number_at(line, "seen", &seen))
		return fail(reader->err, -EINVAL, "%s: expected registry, service, revision and seen", reader->place);
	service.seen = (int64_t)seen;
	records_from_json(service.service, cJSON_GetObjectItemCaseSensitive(line, "endpoints"), &records);
	if (records.endpoints && !records.skipped) {
		service.endpoints = records.endpoints;
		known_add(known, &service);
	} else {
		code = fail(reader->err, -EINVAL, "%s: %s", reader->place,
			    records.error ? records.error : records.reports[0]);
	}
	records_clear(&records);
	return code;
}

static int read_services(struct reader *reader, struct known *known)
{
	size_t services = 0;
	int code = read_head(reader, &services);

	for (size_t i = 0; code == 0 && i < services; i++) {
		cJSON *line = next_line(reader);

		code = line ? take_service(reader, line, known) : -EINVAL;
		cJSON_Delete(line);
	}
	if (code == 0 && reader->cursor.at < reader->cursor.length)
		code = fail(reader->err, -EINVAL, "%s: something follows its %zu services", reader->place, services);
	return code;
}

int known_parse(const char *text, size_t length, const char *place, struct known *ret, struct error *err)
{
	struct reader reader = {.cursor = {.text = text, .length = length}, .place = place, .err = err};
	int code;

	*ret = (struct known){0};
	code = read_services(&reader, ret);
	if (code < 0)
		known_clear(ret);
	else if (ret->count)
		qsort(ret->items, ret->count, sizeof(*ret->items), compare);
	return code;
}
