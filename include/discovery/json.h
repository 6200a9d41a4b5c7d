/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON from a registry, piece by piece: a big document is cut first, so that only a piece at a time becomes a tree. */
#ifndef NUNCIO_DISCOVERY_JSON_H
#define NUNCIO_DISCOVERY_JSON_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "base/error.h"

/* Where a reader is in a text; the text needs no NUL at its end. */
struct json_cursor {
	const char *text;
	size_t length, at;
};

/* Moves over white space; returns the byte that follows (not moving over it), or 0 at the end. */
char json_skip_space(struct json_cursor *cursor);

/*
 * Moves over one value, looking only for its end: strings and brackets are paired, nothing else is checked, so what
 * was passed over is to be parsed by json_parse(). At the text's end it stops, whatever is still open.
 */
void json_skip_value(struct json_cursor *cursor);

/*
 * Parses the bytes from..to of the cursor's text as exactly one value, white space around it allowed. Returns the
 * tree, to be freed by cJSON_Delete(), or NULL and a sentence that begins with place and names line and column.
 */
cJSON *json_parse(const struct json_cursor *cursor, size_t from, size_t to, const char *place, struct error *err);

/* The sentence for a syntax error at the cursor: "PLACE: line L, column C: not valid JSON (MISSING)"; -EINVAL. */
int json_fault(const struct json_cursor *cursor, const char *place, const char *missing, struct error *err);

#endif
