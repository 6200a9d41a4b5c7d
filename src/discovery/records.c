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

/* How much of a wrong value a sentence quotes. */
#define QUOTE_MAX 60
#define QUOTE_SIZE (QUOTE_MAX + sizeof("..."))

#define ADDRESS_ACCEPTED "an IPv4 or IPv6 address is accepted"
#define NO_HOST_NAMES "host names are not yet supported, " ADDRESS_ACCEPTED
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

/* A wrong value as it may be shown: cut, and printable whatever a peer wrote. */
static const char *quote(const char *value, char buffer[QUOTE_SIZE])
{
	size_t length = strnlen(value, QUOTE_MAX);

	for (size_t i = 0; i < length; i++)
		buffer[i] = value[i] >= ' ' && value[i] <= '~' ? value[i] : '?';
	strcpy(buffer + length, value[length] ? "..." : "");
	return buffer;
}

static const char *quote_json(const cJSON *item, char buffer[QUOTE_SIZE])
{
	if (cJSON_IsString(item))
		return quote(item->valuestring, buffer);
	if (cJSON_IsNumber(item))
		snprintf(buffer, QUOTE_SIZE, "%.15g", item->valuedouble);
	else if (cJSON_IsBool(item))
		strcpy(buffer, cJSON_IsTrue(item) ? "true" : "false");
	else
		strcpy(buffer, cJSON_IsObject(item) ? "{...}" : cJSON_IsArray(item) ? "[...]" : "null");
	return buffer;
}

/* Ids and zones go into logs, terminals and the comments of the kernel's rules. */
static int take_name(const char *key, const char *value, const char **ret, struct error *err)
{
	char quoted[QUOTE_SIZE];
	size_t length = strlen(value);
	bool printable = true;

	for (size_t i = 0; i < length; i++)
		printable = printable && value[i] >= ' ' && value[i] <= '~';
	if (!length || length > ENDPOINT_ID_MAX || !printable)
		return fail(err, -EINVAL, "%s \"%s\": 1-%d printable ASCII characters are accepted", key,
			    quote(value, quoted), ENDPOINT_ID_MAX);
	*ret = value;
	return 0;
}

static int take_number(const char *key, const char *value, uint16_t min, uint16_t max, uint16_t *ret, struct error *err)
{
	char quoted[QUOTE_SIZE];
	uint64_t number;

	if (number_parse(value, min, max, &number) < 0)
		return fail(err, -EINVAL, "%s %s: %u-%u is accepted", key, quote(value, quoted), min, max);
	*ret = (uint16_t)number;
	return 0;
}

/* Something that was meant as a name and not as a mistyped address? */
static bool looks_like_name(const char *host, size_t length)
{
	return memchr(host, ':', length) == NULL && strspn(host, "0123456789.") < length;
}

static int check_unicast(const struct ip_addr *addr, struct error *err)
{
	char text[IP_ADDR_TEXT];

	if (!ip_addr_is_unicast(addr))
		return fail(err, -EINVAL,
			    "address %s: nothing can be connected to there, a unicast address is accepted",
			    ip_addr_text(addr, text));
	return 0;
}

static int take_host(const char *host, struct ip_addr *ret, struct error *err)
{
	char quoted[QUOTE_SIZE];

	if (ip_addr_parse(host, ret) < 0)
		return fail(err, -EINVAL, "host \"%s\": %s", quote(host, quoted),
			    looks_like_name(host, strlen(host)) ? NO_HOST_NAMES : ADDRESS_ACCEPTED);
	return check_unicast(ret, err);
}

static int take_address(const char *text, struct ip_port *ret, struct error *err)
{
	const char *colon = strchr(text, ':');
	char quoted[QUOTE_SIZE];

	if (ip_port_parse(text, ret) == 0)
		return check_unicast(&ret->addr, err);
	if (colon && !strchr(colon + 1, ':') && looks_like_name(text, (size_t)(colon - text)))
		return fail(err, -EINVAL, "address \"%s\": " NO_HOST_NAMES, quote(text, quoted));
	return fail(err, -EINVAL, "address \"%s\": IPV4:PORT or [IPV6]:PORT with port 1-65535 is accepted",
		    quote(text, quoted));
}

/* Leaves a record out; what is said about it begins with its place. */
static void skip(struct reader *reader, size_t number, struct error *err)
{
	struct records *records = reader->records;

	fail_prefix(err, 0, reader->lines ? "%s: line %zu" : "%s[%zu]", reader->place, number);
	if (!records->reports)
		records->reports = arena_alloc(&records->arena, RECORDS_REPORTS * sizeof(*records->reports));
	if (records->skipped < RECORDS_REPORTS)
		records->reports[records->skipped] = arena_strdup(&records->arena, err->text);
	records->skipped++;
	/* Odd, so never 0, which stands for "no reports". */
	records->digest = (records->digest * 31 + hash_bytes(err->text, strlen(err->text))) | 1;
}

static int add(struct reader *reader, struct endpoint *endpoint, struct error *err)
{
	char default_id[IP_PORT_TEXT], at[IP_PORT_TEXT], id[QUOTE_SIZE], other[QUOTE_SIZE];
	const char *stays;

	if (!endpoint->id)
		endpoint->id = ip_port_text(&endpoint->at, default_id);
	if (endpoints_builder_add(reader->builder, endpoint, &stays) == 0)
		return 0;
	return fail(err, -EEXIST, "id \"%s\" at %s: \"%s\" has this id or address already, each is accepted once",
		    quote(endpoint->id, id), ip_port_text(&endpoint->at, at), quote(stays, other));
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

static int wrong_type(const char *key, const cJSON *item, const char *accepted, struct error *err)
{
	char quoted[QUOTE_SIZE];

	return fail(err, -EINVAL, "%s %s: %s is accepted", key, quote_json(item, quoted), accepted);
}

/* The value of a key; NULL where it is absent or null. */
static const cJSON *find(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsNull(item) ? NULL : item;
}

static int json_name(const cJSON *object, const char *key, const char **ret, struct error *err)
{
	const cJSON *item = find(object, key);

	if (!item)
		return 0;
	if (!cJSON_IsString(item))
		return wrong_type(key, item, "a string", err);
	return take_name(key, item->valuestring, ret, err);
}

static int json_number(const cJSON *object, const char *key, uint16_t min, uint16_t max, uint16_t *ret,
		       struct error *err)
{
	const cJSON *item = find(object, key);
	char quoted[QUOTE_SIZE];

	if (!item)
		return 0;
	if (cJSON_IsString(item))
		return take_number(key, item->valuestring, min, max, ret, err);
	if (!cJSON_IsNumber(item))
		return wrong_type(key, item, "an integer", err);
	if (!(item->valuedouble >= min && item->valuedouble <= max && item->valuedouble == item->valueint))
		return fail(err, -EINVAL, "%s %s: %u-%u is accepted", key, quote_json(item, quoted), min, max);
	*ret = (uint16_t)item->valueint;
	return 0;
}

static int json_host(const cJSON *object, struct ip_addr *ret, struct error *err)
{
	const cJSON *item = find(object, "host");

	if (!item)
		return fail(err, -EINVAL, "no \"host\": " ADDRESS_ACCEPTED);
	if (!cJSON_IsString(item))
		return wrong_type("host", item, "a string", err);
	return take_host(item->valuestring, ret, err);
}

static int read_object(const cJSON *object, struct endpoint *ret, struct error *err)
{
	int code = json_host(object, &ret->at.addr, err);

	if (!code)
		code = json_number(object, "port", 1, UINT16_MAX, &ret->at.port, err);
	if (!code && !ret->at.port)
		code = fail(err, -EINVAL, "no \"port\": 1-65535 is accepted");
	if (!code)
		code = json_number(object, "weight", 0, ENDPOINT_WEIGHT_MAX, &ret->weight, err);
	if (!code)
		code = json_number(object, "priority", 0, ENDPOINT_PRIORITY_MAX, &ret->priority, err);
	if (!code)
		code = json_name(object, "id", &ret->id, err);
	if (!code)
		code = json_name(object, "zone", &ret->zone, err);
	return code;
}

static int read_json(const cJSON *item, struct endpoint *ret, struct error *err)
{
	char quoted[QUOTE_SIZE];

	if (cJSON_IsObject(item))
		return read_object(item, ret, err);
	if (cJSON_IsString(item))
		return take_address(item->valuestring, &ret->at, err);
	return fail(err, -EINVAL, "%s: an object with host and port or a string ADDRESS:PORT is accepted",
		    quote_json(item, quoted));
}

static int read_option(char *option, struct endpoint *ret, struct error *err)
{
	char *value = strchr(option, '='), quoted[QUOTE_SIZE];

	if (value) {
		*value++ = '\0';
		if (strcmp(option, "weight") == 0)
			return take_number(option, value, 0, ENDPOINT_WEIGHT_MAX, &ret->weight, err);
		if (strcmp(option, "priority") == 0)
			return take_number(option, value, 0, ENDPOINT_PRIORITY_MAX, &ret->priority, err);
		if (strcmp(option, "id") == 0)
			return take_name(option, value, &ret->id, err);
		if (strcmp(option, "zone") == 0)
			return take_name(option, value, &ret->zone, err);
	}
	return fail(err, -EINVAL, "\"%s\": weight=, priority=, id= and zone= are accepted", quote(option, quoted));
}

/* Reads a line, which it cuts up. -ENODATA where it holds no record. */
static int read_line(char *line, struct endpoint *ret, struct error *err)
{
	static const char spaces[] = " \t\r\v\f";
	char *rest = NULL, *word = strtok_r(line, spaces, &rest);
	int code;

	if (!word || *word == '#')
		return -ENODATA;
	code = take_address(word, &ret->at, err);
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
	char quoted[QUOTE_SIZE];
	struct reader reader;
	const cJSON *item;
	size_t index = 0;

	if (!cJSON_IsArray(array)) {
		*ret = (struct records){0};
		records_refuse(ret, "%s: %s: an array of records is accepted (" NONE_IN_JSON ")", place,
			       quote_json(array, quoted));
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
