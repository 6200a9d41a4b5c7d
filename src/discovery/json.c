/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/json.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static bool is_space(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

char json_skip_space(struct json_cursor *cursor)
{
	while (cursor->at < cursor->length && is_space(cursor->text[cursor->at]))
		cursor->at++;
	return cursor->at < cursor->length ? cursor->text[cursor->at] : 0;
}

/* From the opening quote to behind the closing one. */
static void skip_string(struct json_cursor *cursor)
{
	for (cursor->at++; cursor->at < cursor->length; cursor->at++) {
		if (cursor->text[cursor->at] == '\\')
			cursor->at++;
		else if (cursor->text[cursor->at] == '"')
			break;
	}
	cursor->at = cursor->at < cursor->length ? cursor->at + 1 : cursor->length;
}

void json_skip_value(struct json_cursor *cursor)
{
	size_t depth = 0;

	while (cursor->at < cursor->length) {
		char byte = cursor->text[cursor->at];

		if (byte == '"') {
			skip_string(cursor);
		} else if (byte == '[' || byte == '{') {
			depth++;
			cursor->at++;
		} else if (depth && (byte == ']' || byte == '}')) {
			depth--;
			cursor->at++;
		} else if (!depth && (is_space(byte) || strchr(",:]}", byte))) {
			return;
		} else {
			cursor->at++;
			continue; /* inside a number, true, false or null */
		}
		if (!depth)
			return;
	}
}

int json_fault(const struct json_cursor *cursor, const char *place, const char *missing, struct error *err)
{
	size_t line = 1, line_start = 0;

	for (size_t i = 0; i < cursor->at; i++) {
		if (cursor->text[i] == '\n') {
			line++;
			line_start = i + 1;
		}
	}
	return fail(err, -EINVAL, "%s: line %zu, column %zu: not valid JSON (%s)", place, line,
		    cursor->at - line_start + 1, missing);
}

cJSON *json_parse(const struct json_cursor *cursor, size_t from, size_t to, const char *place, struct error *err)
{
	struct json_cursor here = {.text = cursor->text, .length = to, .at = from};
	const char *end = NULL;
	cJSON *tree = cJSON_ParseWithLengthOpts(here.text + from, to - from, &end, false);

	/* After a fault, cJSON leaves the place there; after a value, its end. */
	if (end)
		here.at = (size_t)(end - here.text);
	if (tree && json_skip_space(&here) == 0 && here.at == to)
		return tree;
	json_fault(&here, place, tree ? "something follows the value" : "a value or its end is missing", err);
	cJSON_Delete(tree);
	return NULL;
}
