/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/etcd/values.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "discovery/json.h"
#include "discovery/record.h"

#define FORMS "ADDRESS:PORT or an object with host and port, Addr, URL, or IP and PublicPort is accepted"

/* One value while it is read. */
struct reading {
	const char *key; /* behind the service's */
	struct arena *arena;
	struct etcd_value *value;
	struct error *err;
};

/* An address, or a name that is to be resolved. */
static int take_host(struct reading *reading, const char *host)
{
	struct ip_addr *addr = &reading->value->endpoint.at.addr;
	int code = record_host_or_name(host, addr, reading->err);

	if (!code && !addr->family)
		reading->value->host = arena_strdup(reading->arena, host);
	return code;
}

/* "ADDRESS:PORT" or "NAME:PORT" */
static int take_address(struct reading *reading, const char *text)
{
	const char *colon = strchr(text, ':');
	char *host;
	int code;

	if (!colon || strchr(colon + 1, ':'))
		return record_address(text, &reading->value->endpoint.at, reading->err);
	if (!record_looks_like_name(text, (size_t)(colon - text)))
		return record_address(text, &reading->value->endpoint.at, reading->err);
	host = xstrndup(text, (size_t)(colon - text));
	code = take_host(reading, host);
	free(host);
	return code ? code
		    : record_number("port", colon + 1, 1, UINT16_MAX, &reading->value->endpoint.at.port, reading->err);
}

/* "SCHEME://HOST[:PORT][/...]"; http and https have a port of their own. */
static int take_url(struct reading *reading, const char *url)
{
	const char *authority = strstr(url, "://");
	const char *port = strncmp(url, "https:", 6) == 0 ? ":443" : strncmp(url, "http:", 5) == 0 ? ":80" : "";
	char quoted[RECORD_QUOTE_SIZE], *text;
	const char *bracket;
	int code;

	if (!authority)
		return fail(reading->err, -EINVAL, "URL \"%s\": SCHEME://HOST:PORT is accepted",
			    record_quote(url, quoted));
	authority += strlen("://");
	text = xasprintf("%.*s", (int)strcspn(authority, "/?#"), authority);
	bracket = strrchr(text, ']');
	if (!strchr(bracket ? bracket : text, ':')) {
		char *whole = xasprintf("%s%s", text, port);

		free(text);
		text = whole;
	}
	code = take_address(reading, text);
	free(text);
	return code;
}

static int text_member(const cJSON *object, const char *key, const char **ret, struct error *err)
{
	const cJSON *item = record_member(object, key);

	if (!cJSON_IsString(item))
		return item ? record_wrong_type(key, item, "a string", err)
			    : fail(err, -EINVAL, "no \"%s\": " RECORD_ADDRESS_ACCEPTED, key);
	*ret = item->valuestring;
	return 0;
}

static int take_host_and_port(struct reading *reading, const cJSON *object, const char *host_key, const char *port_key)
{
	const char *host = "";
	int code = text_member(object, host_key, &host, reading->err);

	if (!code)
		code = take_host(reading, host);
	if (!code)
		code = record_json_port(object, port_key, &reading->value->endpoint.at.port, reading->err);
	return code;
}

/* What may stand beside the address in any format. */
static int take_extras(struct reading *reading, const cJSON *object)
{
	struct endpoint *endpoint = &reading->value->endpoint;
	int code;

	code = record_json_number(object, "weight", 0, ENDPOINT_WEIGHT_MAX, &endpoint->weight, reading->err);
	if (!code)
		code = record_json_number(object, "priority", 0, ENDPOINT_PRIORITY_MAX, &endpoint->priority,
					  reading->err);
	if (!code)
		code = record_json_name(object, "id", &endpoint->id, reading->err);
	if (!code)
		code = record_json_name(object, "zone", &endpoint->zone, reading->err);
	if (endpoint->id)
		endpoint->id = arena_strdup(reading->arena, endpoint->id);
	if (endpoint->zone)
		endpoint->zone = arena_strdup(reading->arena, endpoint->zone);
	return code;
}

static int take_grpc(struct reading *reading, const cJSON *object)
{
	const cJSON *operation = record_member(object, "Op");
	const char *address = "";
	int code;

	if (cJSON_IsNumber(operation) && operation->valuedouble == 1)
		return -ENOENT;
	code = text_member(object, "Addr", &address, reading->err);
	return code ? code : take_address(reading, address);
}

static int take_vulcand(struct reading *reading, const cJSON *object, const char *member)
{
	const char *url = "";
	int code = text_member(object, member, &url, reading->err);

	return code ? code : take_url(reading, url);
}

static int take_server_set(struct reading *reading, const cJSON *object)
{
	const char *status = cJSON_GetStringValue(record_member(object, "status"));

	if (status && strcmp(status, "ALIVE") != 0)
		return -ENOENT;
	return take_host_and_port(reading, record_member(object, "serviceEndpoint"), "host", "port");
}

/* What vulcand says of a backend beside its servers. */
static bool is_vulcand_backend(const struct reading *reading, const cJSON *object)
{
	return strcmp(reading->key, "backend") == 0 && record_member(object, "Type");
}

static int take_object(struct reading *reading, const cJSON *object)
{
	int code;

	if (record_member(object, "host"))
		code = take_host_and_port(reading, object, "host", "port");
	else if (record_member(object, "Addr"))
		code = take_grpc(reading, object);
	else if (record_member(object, "URL"))
		code = take_vulcand(reading, object, "URL");
	else if (record_member(object, "url"))
		code = take_vulcand(reading, object, "url");
	else if (record_member(object, "IP"))
		code = take_host_and_port(reading, object, "IP", "PublicPort");
	else if (record_member(object, "serviceEndpoint"))
		code = take_server_set(reading, object);
	else if (is_vulcand_backend(reading, object))
		code = -ENOENT;
	else
		code = fail(reading->err, -EINVAL, "an object without a host: " FORMS);
	return code ? code : take_extras(reading, object);
}

static int take_text(struct reading *reading, const char *text)
{
	return strstr(text, "://") ? take_url(reading, text) : take_address(reading, text);
}

static int take_json(struct reading *reading, const struct json_cursor *cursor)
{
	cJSON *tree = json_parse(cursor, cursor->at, cursor->length, "its value", reading->err);
	char quoted[RECORD_QUOTE_SIZE];
	int code;

	if (!tree)
		return -EINVAL;
	if (cJSON_IsObject(tree))
		code = take_object(reading, tree);
	else if (cJSON_IsString(tree))
		code = take_text(reading, tree->valuestring);
	else
		code = fail(reading->err, -EINVAL, "%s: " FORMS, record_quote_json(tree, quoted));
	cJSON_Delete(tree);
	return code;
}

/* Not JSON: the whole, without white space around it. */
static int take_plain(struct reading *reading, const struct json_cursor *cursor)
{
	size_t end = cursor->length;
	char *text;
	int code;

	while (end > cursor->at && isspace((unsigned char)cursor->text[end - 1]))
		end--;
	text = xstrndup(cursor->text + cursor->at, end - cursor->at);
	if (strlen(text) < end - cursor->at)
		code = fail(reading->err, -EINVAL, "a NUL byte in its value: " FORMS);
	else
		code = take_text(reading, text);
	free(text);
	return code;
}

int etcd_value_parse(const char *key, const char *text, size_t length, struct arena *arena, struct etcd_value *ret,
		     struct error *err)
{
	struct reading reading = {.key = key, .arena = arena, .value = ret, .err = err};
	struct json_cursor cursor = {.text = text, .length = length};
	size_t key_length = strlen(key);
	char first;

	*ret = (struct etcd_value){.endpoint.weight = 1};
	if (length > ETCD_VALUE_MAX)
		return fail(err, -EINVAL, "a value of %zu bytes: " FORMS, length);
	first = json_skip_space(&cursor);
	if (cursor.at == length) {
		/* The mark of a directory, which some tools write. */
		if (!key_length || key[key_length - 1] == '/')
			return -ENOENT;
		return fail(err, -EINVAL, "its value is empty: " FORMS);
	}
	return first == '{' || first == '"' ? take_json(&reading, &cursor) : take_plain(&reading, &cursor);
}
