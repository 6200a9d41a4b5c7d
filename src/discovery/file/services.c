/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/file/services.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "discovery/json.h"

/* A key of the object and its value. */
struct member {
	char *name;
	size_t value, end;	  /* where the value is in the text; while reading only */
	uint64_t digest;	  /* of the value's text; 0 = never the same as another */
	struct member *unchanged; /* the member of the text before with the same value; while reading only */
	struct records records;
	UT_hash_handle hh;
};

struct services {
	struct member *members;
};

struct parser {
	struct json_cursor cursor;
	const char *place;
	const struct services *before; /* may be NULL */
	struct services *after;
	struct error *err;
};

static int syntax_error(const struct parser *parser, const char *missing)
{
	return json_fault(&parser->cursor, parser->place, missing, parser->err);
}

static int expect(struct parser *parser, char wanted, const char *missing)
{
	if (json_skip_space(&parser->cursor) != wanted)
		return syntax_error(parser, missing);
	parser->cursor.at++;
	return 0;
}

static struct member *find(const struct services *services, const char *name)
{
	struct member *member = NULL;

	if (services)
		HASH_FIND_STR(services->members, name, member);
	return member;
}

/* Reads the key, the service's name, into *ret, which is the caller's. */
static int parse_name(struct parser *parser, char **ret)
{
	size_t start;
	cJSON *key;

	if (json_skip_space(&parser->cursor) != '"')
		return syntax_error(parser, "a service's name in double quotes is missing");
	start = parser->cursor.at;
	json_skip_value(&parser->cursor);
	key = json_parse(&parser->cursor, start, parser->cursor.at, parser->place, parser->err);
	if (!key)
		return -EINVAL;
	*ret = xstrdup(key->valuestring);
	cJSON_Delete(key);
	return 0;
}

/* Parses a value that is new or has changed. */
static int parse_records(struct parser *parser, struct member *member)
{
	cJSON *array = json_parse(&parser->cursor, member->value, member->end, parser->place, parser->err);
	char *place;

	if (!array)
		return -EINVAL;
	place = xasprintf("%s: %s", parser->place, member->name);
	records_from_json(place, array, &member->records);
	free(place);
	cJSON_Delete(array);
	return 0;
}

/* Looks at the value, which may be the one of the text before. */
static int parse_value(struct parser *parser, struct member *member)
{
	struct member *before = find(parser->before, member->name);

	json_skip_space(&parser->cursor);
	member->value = parser->cursor.at;
	json_skip_value(&parser->cursor);
	member->end = parser->cursor.at;
	member->digest = hash_bytes(parser->cursor.text + member->value, member->end - member->value);
	if (before && before->digest && before->digest == member->digest) {
		member->unchanged = before;
		return 0;
	}
	return parse_records(parser, member);
}

/* A service's name is there again: neither list can be trusted. */
static void refuse_duplicate(const struct parser *parser, struct member *member)
{
	records_clear(&member->records);
	member->unchanged = NULL;
	member->digest = 0;
	records_refuse(&member->records, "%s: %s: the service is there twice, each is accepted once", parser->place,
		       member->name);
}

static void free_member(struct member *member)
{
	records_clear(&member->records);
	free(member->name);
	free(member);
}

static int parse_member(struct parser *parser)
{
	struct member *member = xcalloc(1, sizeof(*member)), *other;
	int code = parse_name(parser, &member->name);

	if (!code)
		code = expect(parser, ':', "a ':' is missing");
	if (!code)
		code = parse_value(parser, member);
	other = code ? NULL : find(parser->after, member->name);
	if (other)
		refuse_duplicate(parser, other);
	if (code || other)
		free_member(member);
	else
		HASH_ADD_KEYPTR(hh, parser->after->members, member->name, strlen(member->name), member);
	return code;
}

static int parse_members(struct parser *parser)
{
	int code;

	if (json_skip_space(&parser->cursor) == '}')
		return 0;
	for (;;) {
		code = parse_member(parser);
		if (code || json_skip_space(&parser->cursor) != ',')
			return code;
		parser->cursor.at++;
	}
}

static int parse_object(struct parser *parser)
{
	char first = json_skip_space(&parser->cursor);
	int code;

	if (parser->cursor.at == parser->cursor.length)
		return fail(parser->err, -EINVAL, "%s: the file is empty (for no services, write {})", parser->place);
	if (first != '{')
		return syntax_error(parser, "a file of services is an object {\"SERVICE\": [RECORD, ...], ...}");
	parser->cursor.at++;
	code = parse_members(parser);
	if (!code)
		code = expect(parser, '}', "a ',' or the closing '}' is missing");
	json_skip_space(&parser->cursor);
	if (!code && parser->cursor.at < parser->cursor.length)
		code = syntax_error(parser, "something follows the closing '}'");
	return code;
}

/* Moves the records of values that have not changed; only once nothing can fail any more. */
static void keep_unchanged(struct services *after)
{
	for (struct member *member = after->members; member; member = member->hh.next) {
		if (!member->unchanged)
			continue;
		member->records = member->unchanged->records;
		member->unchanged->records = (struct records){0};
		member->unchanged = NULL;
	}
}

int services_parse(struct services **services, const char *place, const char *text, size_t length, struct error *err)
{
	struct parser parser = {
		.cursor = {.text = text, .length = length},
		.place = place,
		.before = *services,
		.after = xcalloc(1, sizeof(struct services)),
		.err = err,
	};
	int code = parse_object(&parser);

	if (code) {
		services_free(parser.after);
		return code;
	}
	keep_unchanged(parser.after);
	services_free(*services);
	*services = parser.after;
	return 0;
}

const struct records *services_find(const struct services *services, const char *name)
{
	const struct member *member = find(services, name);

	return member ? &member->records : NULL;
}

void services_free(struct services *services)
{
	struct member *member, *next;

	if (!services)
		return;
	HASH_ITER (hh, services->members, member, next) {
		HASH_DEL(services->members, member);
		free_member(member);
	}
	free(services);
}
