/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/records.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "discovery/json.h"
#include "discovery/record.h"

#define NONE_IN_JSON "for no endpoints, write []"
#define NONE_IN_LINES "for no endpoints, write [] or a line with only a # comment"

/* Collects a list. */
struct reader {
	const char *place;
	bool lines; /* records are numbered as lines from 1, else as elements from 0 */
	struct endpoints_builder *builder;
	struct records *records;
	uint32_t used;
};

/* Leaves a record out; what is said about it begins with its place. */
static void skip(struct reader *reader, size_t number, struct error *err)
{
	fail_prefix(err, 0, reader->lines ? "%s: line %zu" : "%s[%zu]", reader->place, number);
	records_skip(reader->records, "%s", err->text);
}

static int add(struct reader *reader, struct endpoint *endpoint, struct error *err)
{
	char default_id[IP_PORT_TEXT], at[IP_PORT_TEXT], id[RECORD_QUOTE_SIZE], other[RECORD_QUOTE_SIZE];
	const char *stays;

	if (!endpoint->id)
		endpoint->id = ip_port_text(&endpoint->at, default_id);
	if (endpoints_builder_add(reader->builder, endpoint, &stays) == 0)
		return 0;
	return fail(err, -EEXIST, "id \"%s\" at %s: \"%s\" has this id or address already, each is accepted once",
		    record_quote(endpoint->id, id), ip_port_text(&endpoint->at, at), record_quote(stays, other));
}

/* The end of a record that was read, if code is 0, or not, and then err says why. */
static void take_record(struct reader *reader, size_t number, int code, struct endpoint *endpoint, struct error *err)
{
	if (!code)
		code = add(reader, endpoint, err);
	if (code)
		skip(reader, number, err);
	else
		reader->used++;
}

static int json_host(const cJSON *object, struct ip_addr *ret, struct error *err)
{
	const cJSON *item = record_member(object, "host");

	if (!item)
		return fail(err, -EINVAL, "no \"host\": " RECORD_ADDRESS_ACCEPTED);
	if (!cJSON_IsString(item))
		return record_wrong_type("host", item, "a string", err);
	return record_host(item->valuestring, ret, err);
}

static int read_object(const cJSON *object, struct endpoint *ret, struct error *err)
{
	int code = json_host(object, &ret->at.addr, err);

	if (!code)
		code = record_json_port(object, "port", &ret->at.port, err);
	if (!code)
		code = record_json_number(object, "weight", 0, ENDPOINT_WEIGHT_MAX, &ret->weight, err);
	if (!code)
		code = record_json_number(object, "priority", 0, ENDPOINT_PRIORITY_MAX, &ret->priority, err);
	if (!code)
		code = record_json_name(object, "id", &ret->id, err);
	if (!code)
		code = record_json_name(object, "zone", &ret->zone, err);
	return code;
}

static int read_json(const cJSON *item, struct endpoint *ret, struct error *err)
{
	char quoted[RECORD_QUOTE_SIZE];

	if (cJSON_IsObject(item))
		return read_object(item, ret, err);
	if (cJSON_IsString(item))
		return record_address(item->valuestring, &ret->at, err);
	return fail(err, -EINVAL, "%s: an object with host and port or a string ADDRESS:PORT is accepted",
		    record_quote_json(item, quoted));
}

static int read_option(char *option, struct endpoint *ret, struct error *err)
{
	char *value = strchr(option, '='), quoted[RECORD_QUOTE_SIZE];

	if (value) {
		*value++ = '\0';
		if (strcmp(option, "weight") == 0)
			return record_number(option, value, 0, ENDPOINT_WEIGHT_MAX, &ret->weight, err);
		if (strcmp(option, "priority") == 0)
			return record_number(option, value, 0, ENDPOINT_PRIORITY_MAX, &ret->priority, err);
		if (strcmp(option, "id") == 0)
			return record_name(option, value, &ret->id, err);
		if (strcmp(option, "zone") == 0)
			return record_name(option, value, &ret->zone, err);
	}
	return fail(err, -EINVAL, "\"%s\": weight=, priority=, id= and zone= are accepted",
		    record_quote(option, quoted));
}

/* Reads a line, which it cuts up. -ENODATA where it holds no record. */
static int read_line(char *line, struct endpoint *ret, struct error *err)
{
	static const char spaces[] = " \t\r\v\f";
	char *rest = NULL, *word = strtok_r(line, spaces, &rest);
	int code;

	if (!word || *word == '#')
		return -ENODATA;
	code = record_address(word, &ret->at, err);
	while (!code && (word = strtok_r(NULL, spaces, &rest)) && *word != '#')
		code = read_option(word, ret, err);
	return code;
}

static struct reader begin(const char *place, bool lines, struct records *ret)
{
	*ret = (struct records){0};
	return (struct reader){.place = place, .lines = lines, .builder = endpoints_builder_new(), .records = ret};
}

static void finish(struct reader *reader)
{
	struct records *records = reader->records;

	if (reader->used || !records->skipped) {
		records->endpoints = endpoints_builder_finish(reader->builder);
		return;
	}
	endpoints_builder_free(reader->builder);
	records_refuse(records, "%s; no record of %u can be used (%s)", records->reports[0], records->skipped,
		       reader->lines ? NONE_IN_LINES : NONE_IN_JSON);
}

void records_from_json(const char *place, const cJSON *array, struct records *ret)
{
	char quoted[RECORD_QUOTE_SIZE];
	struct reader reader;
	const cJSON *item;
	size_t index = 0;

	if (!cJSON_IsArray(array)) {
		*ret = (struct records){0};
		records_refuse(ret, "%s: %s: an array of records is accepted (" NONE_IN_JSON ")", place,
			       record_quote_json(array, quoted));
		return;
	}
	reader = begin(place, false, ret);
	for (item = array->child; item; item = item->next) {
		struct endpoint endpoint = {.weight = 1};
		struct error err;
		int code = read_json(item, &endpoint, &err);

		take_record(&reader, index++, code, &endpoint, &err);
	}
	finish(&reader);
}

static void parse_line(struct reader *reader, const char *text, size_t length, size_t number)
{
	struct endpoint endpoint = {.weight = 1};
	char *line = xstrndup(text, length);
	struct error err;
	int code;

	if (strlen(line) < length)
		code = fail(&err, -EINVAL, "a NUL byte: text is accepted");
	else
		code = read_line(line, &endpoint, &err);
	if (code != -ENODATA)
		take_record(reader, number, code, &endpoint, &err);
	free(line);
}

static void parse_lines(const char *place, const char *text, size_t length, struct records *ret)
{
	struct reader reader = begin(place, true, ret);
	const char *end = text + length;

	for (size_t number = 1; text < end; number++) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t line_length = (size_t)((newline ? newline : end) - text);

		parse_line(&reader, text, line_length, number);
		text += line_length + !!newline;
	}
	finish(&reader);
}

static void parse_array(const char *place, const struct json_cursor *cursor, struct records *ret)
{
	struct error err;
	cJSON *array = json_parse(cursor, 0, cursor->length, place, &err);

	if (array)
		records_from_json(place, array, ret);
	else
		records_refuse(ret, "%s", err.text);
	cJSON_Delete(array);
}

/* At a '[': does an IPv6 address follow, as in "[fd00::1]:80", and not a JSON array? */
static bool at_ipv6(const struct json_cursor *cursor)
{
	const char *next = cursor->text + cursor->at + 1;
	size_t length = cursor->length - cursor->at - 1;
	const char *newline = memchr(next, '\n', length);

	if (newline)
		length = (size_t)(newline - next);
	return length && (*next == ':' || isxdigit((unsigned char)*next)) && memmem(next, length, "]:", 2);
}

void records_parse(const char *place, const char *text, size_t length, struct records *ret)
{
	struct json_cursor cursor = {.text = text, .length = length};
	char first = json_skip_space(&cursor);

	*ret = (struct records){0};
	if (cursor.at == length)
		records_refuse(ret, "%s: the file is empty (%s)", place, NONE_IN_LINES);
	else if (first == '{')
		records_refuse(ret, "%s: a JSON object: an array [RECORD, ...] or lines ADDRESS:PORT are accepted",
			       place);
	else if (first == '[' && !at_ipv6(&cursor))
		parse_array(place, &cursor, ret);
	else
		parse_lines(place, text, length, ret);
}

void records_skip(struct records *records, const char *format, ...)
{
	struct error err;
	va_list args;

	va_start(args, format);
	vsnprintf(err.text, sizeof(err.text), format, args);
	va_end(args);
	if (!records->reports)
		records->reports = arena_alloc(&records->arena, RECORDS_REPORTS * sizeof(*records->reports));
	if (records->skipped < RECORDS_REPORTS)
		records->reports[records->skipped] = arena_strdup(&records->arena, err.text);
	records->skipped++;
	/* Odd, so never 0, which stands for "no reports". */
	records->digest = (records->digest * 31 + hash_bytes(err.text, strlen(err.text))) | 1;
}

void records_refuse(struct records *ret, const char *format, ...)
{
	struct error err;
	va_list args;

	va_start(args, format);
	vsnprintf(err.text, sizeof(err.text), format, args);
	va_end(args);
	ret->error = arena_strdup(&ret->arena, err.text);
}

void records_clear(struct records *records)
{
	endpoints_unref(records->endpoints);
	arena_free(&records->arena);
	*records = (struct records){0};
}
