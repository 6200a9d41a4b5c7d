/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/etcd/messages.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "discovery/json.h"

/* Base64, with padding (RFC 4648, 4). */

static char *encode(const struct etcd_bytes *from)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = xcalloc(from->length / 3 + 1, 4 + 1), *to = text;

	for (size_t i = 0; i < from->length; i += 3) {
		size_t left = from->length - i;
		uint32_t group = (uint32_t)(unsigned char)from->bytes[i] << 16;

		if (left > 1)
			group |= (uint32_t)(unsigned char)from->bytes[i + 1] << 8;
		if (left > 2)
			group |= (unsigned char)from->bytes[i + 2];
		*to++ = digits[group >> 18];
		*to++ = digits[group >> 12 & 63];
		*to++ = left > 1 ? digits[group >> 6 & 63] : '=';
		*to++ = left > 2 ? digits[group & 63] : '=';
	}
	return text;
}

/* The number that a digit stands for, or -1. */
static int digit_value(char digit)
{
	if (digit >= 'A' && digit <= 'Z')
		return digit - 'A';
	if (digit >= 'a' && digit <= 'z')
		return digit - 'a' + 26;
	if (digit >= '0' && digit <= '9')
		return digit - '0' + 52;
	return digit == '+' ? 62 : digit == '/' ? 63 : -1;
}

static int decode(const char *text, struct arena *arena, struct etcd_bytes *ret)
{
	size_t length = strlen(text), used = 0;
	char *bytes = arena_alloc(arena, length / 4 * 3 + 3);
	uint32_t group = 0;
	size_t digits = 0;

	for (; digits < length && text[digits] != '='; digits++) {
		int value = digit_value(text[digits]);

		if (value < 0)
			return -EINVAL;
		group = group << 6 | (uint32_t)value;
		if (digits % 4)
			bytes[used++] = (char)(group >> (6 - digits % 4 * 2));
	}
	/* A last group of 2 or 3 digits makes 1 or 2 bytes, and the padding fills it up. */
	if (length % 4 || digits % 4 == 1 || length - digits > 2 || strspn(text + digits, "=") < length - digits)
		return -EINVAL;
	bytes[used] = '\0';
	*ret = (struct etcd_bytes){.bytes = bytes, .length = used};
	return 0;
}

/* Requests */

static void add_bytes(cJSON *object, const char *key, const struct etcd_bytes *bytes)
{
	char *text = encode(bytes);

	cJSON_AddStringToObject(object, key, text);
	free(text);
}

static void add_number(cJSON *object, const char *key, int64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, number);
	cJSON_AddStringToObject(object, key, text);
}

static char *print(cJSON *object)
{
	char *text = cJSON_PrintUnformatted(object);

	if (!text)
		abort(); /* only without memory, as in base/mem.h */
	cJSON_Delete(object);
	return text;
}

char *etcd_range_request(const struct etcd_range_request *request)
{
	cJSON *object = cJSON_CreateObject();

	add_bytes(object, "key", &request->key);
	if (request->end.length)
		add_bytes(object, "range_end", &request->end);
	if (request->revision)
		add_number(object, "revision", request->revision);
	if (request->limit)
		add_number(object, "limit", request->limit);
	if (request->count_only)
		cJSON_AddTrueToObject(object, "count_only");
	return print(object);
}

char *etcd_watch_request(const struct etcd_bytes *key, const struct etcd_bytes *end, int64_t start_revision)
{
	cJSON *object = cJSON_CreateObject();
	cJSON *create = cJSON_AddObjectToObject(object, "create_request");

	add_bytes(create, "key", key);
	add_bytes(create, "range_end", end);
	add_number(create, "start_revision", start_revision);
	cJSON_AddTrueToObject(create, "progress_notify");
	cJSON_AddTrueToObject(create, "fragment");
	return print(object);
}

char *etcd_authenticate_request(const char *username, const char *password)
{
	cJSON *object = cJSON_CreateObject();

	cJSON_AddStringToObject(object, "name", username);
	cJSON_AddStringToObject(object, "password", password);
	return print(object);
}

char *etcd_grant_request(uint32_t ttl_s)
{
	cJSON *object = cJSON_CreateObject();

	add_number(object, "TTL", ttl_s);
	return print(object);
}

char *etcd_put_request(const struct etcd_bytes *key, const struct etcd_bytes *value, int64_t lease)
{
	cJSON *object = cJSON_CreateObject();

	add_bytes(object, "key", key);
	add_bytes(object, "value", value);
	add_number(object, "lease", lease);
	return print(object);
}

char *etcd_lease_request(int64_t lease)
{
	cJSON *object = cJSON_CreateObject();

	add_number(object, "ID", lease);
	return print(object);
}

size_t etcd_range_end(const char *prefix, size_t length, char *end)
{
	while (length && (unsigned char)prefix[length - 1] == 0xff)
		length--;
	if (!length) {
		*end = '\0';
		return 1;
	}
	memcpy(end, prefix, length);
	end[length - 1]++;
	return length;
}

/* Answers */

static const cJSON *member(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

/* A 64-bit number, as text or (small) as a number; 0 where it is absent or no such number. */
static uint64_t number_member(const cJSON *object, const char *key)
{
	const cJSON *item = member(object, key);

	if (cJSON_IsString(item))
		return strtoull(item->valuestring, NULL, 10);
	/* Beyond 2^53 a double cannot tell the number. */
	if (cJSON_IsNumber(item) && item->valuedouble > 0 && item->valuedouble < 9007199254740992.0)
		return (uint64_t)item->valuedouble;
	return 0;
}

/* A revision, or the number of a lease. */
static int64_t revision_member(const cJSON *object, const char *key)
{
	uint64_t number = number_member(object, key);

	return number > INT64_MAX ? 0 : (int64_t)number;
}

static uint32_t ttl_member(const cJSON *object)
{
	uint64_t seconds = number_member(object, "TTL");

	return seconds > UINT32_MAX / 1000 ? UINT32_MAX / 1000 : (uint32_t)seconds;
}

static const char *text_member(const cJSON *object, const char *key, struct arena *arena)
{
	const char *text = cJSON_GetStringValue(member(object, key));

	return text && *text ? arena_strdup(arena, text) : NULL;
}

static int bytes_member(const cJSON *object, const char *key, struct arena *arena, struct etcd_bytes *ret,
			struct error *err)
{
	const char *text = cJSON_GetStringValue(member(object, key));

	if (decode(text ? text : "", arena, ret) < 0)
		return fail(err, -EINVAL, "its %s is not base64", key);
	return 0;
}

static int read_kv(const cJSON *object, struct arena *arena, struct etcd_kv *ret, struct error *err)
{
	int code = bytes_member(object, "key", arena, &ret->key, err);

	if (!code)
		code = bytes_member(object, "value", arena, &ret->value, err);
	if (!code && !ret->key.length)
		code = fail(err, -EINVAL, "a pair without a key");
	ret->mod_revision = revision_member(object, "mod_revision");
	ret->lease = revision_member(object, "lease");
	return code;
}

static int read_event(const cJSON *object, struct arena *arena, struct etcd_kv *ret, struct error *err)
{
	const cJSON *type = member(object, "type");

	/* An enum's value is written by its name, and may be written by its number. */
	ret->deleted = (cJSON_IsString(type) && strcmp(type->valuestring, "DELETE") == 0) ||
		       (cJSON_IsNumber(type) && type->valuedouble == 1);
	return read_kv(member(object, "kv"), arena, ret, err);
}

static int read_list(const cJSON *list, struct etcd_message *message,
		     int (*read)(const cJSON *, struct arena *, struct etcd_kv *, struct error *), struct error *err)
{
	const cJSON *item;
	int code;

	if (!cJSON_IsArray(list))
		return 0;
	message->kvs = arena_alloc(&message->arena, (size_t)cJSON_GetArraySize(list) * sizeof(*message->kvs) + 1);
	cJSON_ArrayForEach (item, list) {
		code = read(item, &message->arena, &message->kvs[message->count], err);
		if (code)
			return code;
		message->count++;
	}
	return 0;
}

static void read_header(const cJSON *object, struct etcd_header *ret)
{
	const cJSON *header = member(object, "header");

	ret->cluster = number_member(header, "cluster_id");
	ret->member = number_member(header, "member_id");
	ret->revision = revision_member(header, "revision");
}

/*
 * {"error":"TEXT","message":"TEXT","code":N}, {"code":N,"message":"TEXT"}, or in a stream {"error":{"grpc_code":N,
 * "message":"TEXT"}} or {"error":{"code":N,"message":"TEXT"}}. Returns whether it is one.
 */
static bool read_error(const cJSON *object, struct etcd_message *message)
{
	const cJSON *error = member(object, "error");
	const cJSON *where = cJSON_IsObject(error) ? error : object;
	const cJSON *code = member(where, "grpc_code");

	if (!code)
		code = member(where, "code");
	if (!error && !cJSON_IsNumber(code))
		return false;
	message->error_code = cJSON_IsNumber(code) ? code->valueint : -1;
	message->error = text_member(where, "message", &message->arena);
	if (!message->error)
		message->error = text_member(object, "error", &message->arena);
	if (!message->error)
		message->error = "an error without a text";
	return true;
}

static int read_body(const cJSON *object, struct etcd_message *message, struct error *err)
{
	read_header(object, &message->header);
	message->more = cJSON_IsTrue(member(object, "more"));
	message->token = text_member(object, "token", &message->arena);
	message->lease = revision_member(object, "ID");
	message->ttl_s = ttl_member(object);
	message->created = cJSON_IsTrue(member(object, "created"));
	message->cancelled = cJSON_IsTrue(member(object, "canceled"));
	message->fragment = cJSON_IsTrue(member(object, "fragment"));
	message->compact_revision = revision_member(object, "compact_revision");
	message->cancel_reason = text_member(object, "cancel_reason", &message->arena);
	if (member(object, "events"))
		return read_list(member(object, "events"), message, read_event, err);
	return read_list(member(object, "kvs"), message, read_kv, err);
}

/* The tree of a message, which is an object; NULL with a sentence. */
static cJSON *parse(const char *text, size_t length, struct error *err)
{
	const struct json_cursor cursor = {.text = text, .length = length};
	cJSON *tree = json_parse(&cursor, 0, length, "its answer", err);

	if (tree && !cJSON_IsObject(tree)) {
		fail(err, -EINVAL, "its answer is not an object");
		cJSON_Delete(tree);
		tree = NULL;
	}
	return tree;
}

static int parse_message(const char *text, size_t length, bool watch, struct etcd_message *ret, struct error *err)
{
	cJSON *tree;
	int code = 0;

	*ret = (struct etcd_message){0};
	tree = parse(text, length, err);
	if (!tree)
		return -EINVAL;
	if (!read_error(tree, ret)) {
		const cJSON *body = watch ? member(tree, "result") : tree;

		code = cJSON_IsObject(body) ? read_body(body, ret, err)
					    : fail(err, -EINVAL, "its answer has neither result nor error");
	}
	cJSON_Delete(tree);
	return code;
}

int etcd_message_parse(const char *text, size_t length, struct etcd_message *ret, struct error *err)
{
	return parse_message(text, length, false, ret, err);
}

int etcd_watch_parse(const char *text, size_t length, struct etcd_message *ret, struct error *err)
{
	return parse_message(text, length, true, ret, err);
}

void etcd_message_clear(struct etcd_message *message)
{
	arena_free(&message->arena);
	*message = (struct etcd_message){0};
}

bool etcd_message_is_unauthenticated(const struct etcd_message *message)
{
	const char *text = message->error ? message->error : message->cancel_reason;

	if (message->error && message->error_code == ETCD_CODE_UNAUTHENTICATED)
		return true;
	return text && (strstr(text, "invalid auth token") || strstr(text, "auth store is old") ||
			strstr(text, "user name is empty"));
}
