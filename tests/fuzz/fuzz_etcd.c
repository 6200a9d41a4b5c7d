/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fuzzes what reads etcd's messages and the values of its keys. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "discovery/etcd/messages.h"
#include "discovery/etcd/values.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_value(const char *text, size_t size)
{
	struct arena arena = {0};
	struct etcd_value value;
	struct error err = {""};
	int code = etcd_value_parse("key", text, size, &arena, &value, &err);

	assert(code == 0 || code == -ENOENT || (code == -EINVAL && *err.text));
	if (!code)
		assert(value.endpoint.at.port && (value.host || value.endpoint.at.addr.family));
	arena_free(&arena);
}

static void check_message(const struct etcd_message *message)
{
	for (size_t i = 0; i < message->count; i++) {
		assert(message->kvs[i].key.length && !message->kvs[i].key.bytes[message->kvs[i].key.length]);
		assert(!message->kvs[i].value.bytes[message->kvs[i].value.length]);
		check_value(message->kvs[i].value.bytes, message->kvs[i].value.length);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct etcd_message message;
	struct error err;

	check_value(text, size);
	if (etcd_message_parse(text, size, &message, &err) == 0)
		check_message(&message);
	etcd_message_clear(&message);
	if (etcd_watch_parse(text, size, &message, &err) == 0)
		check_message(&message);
	etcd_message_clear(&message);
	return 0;
}
