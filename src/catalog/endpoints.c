/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "catalog/endpoints.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

/* One allocation: this, the items, their order by address, their strings: many services have few endpoints each. */
struct snapshot {
	struct endpoints endpoints; /* the part that others see */
	uint32_t references;
	struct endpoint items[];
};

/* An address and port without padding, so that its bytes can be hashed. */
struct at_key {
	uint8_t bytes[1 + 16 + 2];
};

struct entry {
	struct endpoint record;
	struct at_key at;
	UT_hash_handle by_id, by_at;
};

struct endpoints_builder {
	struct arena arena; /* entries and strings */
	struct entry *by_id, *by_at;
};

struct endpoints_builder *endpoints_builder_new(void)
{
	return xcalloc(1, sizeof(struct endpoints_builder));
}

static struct at_key at_key(const struct ip_port *at)
{
	struct at_key key = {{at->addr.family}};

	memcpy(key.bytes + 1, at->addr.bytes, sizeof(at->addr.bytes));
	key.bytes[17] = (uint8_t)(at->port >> 8);
	key.bytes[18] = (uint8_t)at->port;
	return key;
}

int endpoints_builder_add(struct endpoints_builder *builder, const struct endpoint *record, const char **ret_other)
{
	struct at_key key = at_key(&record->at);
	struct entry *entry;

	HASH_FIND(by_id, builder->by_id, record->id, strlen(record->id), entry);
	if (!entry)
		HASH_FIND(by_at, builder->by_at, &key, sizeof(key), entry);
	if (entry) {
		*ret_other = entry->record.id;
		return -EEXIST;
	}
	entry = arena_alloc(&builder->arena, sizeof(*entry));
	entry->record = *record;
	entry->record.id = arena_strdup(&builder->arena, record->id);
	entry->record.zone = record->zone ? arena_strdup(&builder->arena, record->zone) : NULL;
	entry->at = key;
	HASH_ADD_KEYPTR(by_id, builder->by_id, entry->record.id, strlen(entry->record.id), entry);
	HASH_ADD(by_at, builder->by_at, at, sizeof(entry->at), entry);
	return 0;
}

void endpoints_builder_free(struct endpoints_builder *builder)
{
	if (!builder)
		return;
	HASH_CLEAR(by_id, builder->by_id);
	HASH_CLEAR(by_at, builder->by_at);
	arena_free(&builder->arena);
	free(builder);
}

static struct snapshot *snapshot_new(uint32_t count, size_t strings_size)
{
	size_t item_size = sizeof(struct endpoint) + sizeof(uint32_t);
	struct snapshot *snapshot = xcalloc(1, sizeof(*snapshot) + count * item_size + strings_size);

	snapshot->endpoints.count = count;
	snapshot->endpoints.items = snapshot->items;
	snapshot->endpoints.by_address = (const uint32_t *)(const void *)(snapshot->items + count);
	snapshot->references = 1;
	return snapshot;
}

static int compare_ids(const void *a, const void *b)
{
	const struct endpoint *left = a, *right = b;

	return strcmp(left->id, right->id);
}

static int compare_addresses(const void *a, const void *b, void *items)
{
	const struct endpoint *left = (const struct endpoint *)items + *(const uint32_t *)a;
	const struct endpoint *right = (const struct endpoint *)items + *(const uint32_t *)b;

	return ip_port_compare(&left->at, &right->at);
}

static void order_by_address(struct snapshot *snapshot, uint32_t *order)
{
	for (uint32_t i = 0; i < snapshot->endpoints.count; i++)
		order[i] = i;
	qsort_r(order, snapshot->endpoints.count, sizeof(*order), compare_addresses, snapshot->items);
}

/* Copies text, which may be NULL, to *strings and moves that on. */
static const char *move_string(char **strings, const char *text)
{
	char *copy = *strings;

	if (!text)
		return NULL;
	*strings = stpcpy(copy, text) + 1;
	return copy;
}

static size_t strings_size(const struct endpoint *endpoint)
{
	return strlen(endpoint->id) + 1 + (endpoint->zone ? strlen(endpoint->zone) + 1 : 0);
}

const struct endpoints *endpoints_builder_finish(struct endpoints_builder *builder)
{
	struct snapshot *snapshot;
	struct endpoint *item;
	size_t size = 0;
	uint32_t *order;
	char *strings;

	for (const struct entry *e = builder->by_id; e; e = e->by_id.next)
		size += strings_size(&e->record);
	snapshot = snapshot_new(HASH_CNT(by_id, builder->by_id), size);
	item = snapshot->items;
	order = (uint32_t *)(void *)(item + snapshot->endpoints.count);
	strings = (char *)(order + snapshot->endpoints.count);
	for (const struct entry *e = builder->by_id; e; e = e->by_id.next, item++) {
		*item = e->record;
		item->id = move_string(&strings, e->record.id);
		item->zone = move_string(&strings, e->record.zone);
	}
	qsort(snapshot->items, snapshot->endpoints.count, sizeof(*item), compare_ids);
	order_by_address(snapshot, order);
	endpoints_builder_free(builder);
	return &snapshot->endpoints;
}

/* Whoever holds a snapshot sees it const; only its reference count is ever written. */
static struct snapshot *owner(const struct endpoints *snapshot)
{
	return (struct snapshot *)((uintptr_t)snapshot - offsetof(struct snapshot, endpoints));
}

const struct endpoints *endpoints_ref(const struct endpoints *snapshot)
{
	owner(snapshot)->references++;
	return snapshot;
}

void endpoints_unref(const struct endpoints *snapshot)
{
	if (snapshot && --owner(snapshot)->references == 0)
		free(owner(snapshot));
}

const struct endpoints *endpoints_none(void)
{
	return &snapshot_new(0, 0)->endpoints;
}

const struct endpoints *endpoints_reweigh(const struct endpoints *snapshot, const uint16_t *weights)
{
	struct snapshot *copy;
	uint32_t *order;
	size_t size = 0;
	char *strings;

	for (uint32_t i = 0; i < snapshot->count; i++)
		size += strings_size(&snapshot->items[i]);
	copy = snapshot_new(snapshot->count, size);
	order = (uint32_t *)(void *)(copy->items + snapshot->count);
	strings = (char *)(order + snapshot->count);
	for (uint32_t i = 0; i < snapshot->count; i++) {
		copy->items[i] = snapshot->items[i];
		copy->items[i].weight = weights[i];
		copy->items[i].id = move_string(&strings, snapshot->items[i].id);
		copy->items[i].zone = move_string(&strings, snapshot->items[i].zone);
		order[i] = snapshot->by_address[i];
	}
	return &copy->endpoints;
}

static bool zone_equal(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	return a->weight == b->weight && a->priority == b->priority && ip_port_equal(&a->at, &b->at) &&
	       strcmp(a->id, b->id) == 0 && zone_equal(a->zone, b->zone);
}

bool endpoints_equal(const struct endpoints *a, const struct endpoints *b)
{
	if (a == b)
		return true;
	if (a->count != b->count)
		return false;
	for (uint32_t i = 0; i < a->count; i++)
		if (!endpoint_equal(&a->items[i], &b->items[i]))
			return false;
	return true;
}

const struct endpoint *endpoints_find_id(const struct endpoints *snapshot, const char *id)
{
	const struct endpoint wanted = {.id = id};

	return bsearch(&wanted, snapshot->items, snapshot->count, sizeof(wanted), compare_ids);
}

const struct endpoint *endpoints_find_address(const struct endpoints *snapshot, const struct ip_port *at)
{
	uint32_t low = 0, high = snapshot->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct endpoint *endpoint = &snapshot->items[snapshot->by_address[middle]];
		int order = ip_port_compare(&endpoint->at, at);

		if (order == 0)
			return endpoint;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}
