/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/etcd/keys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/hash.h"
#include "base/mem.h"
#include "discovery/etcd/values.h"
#include "discovery/record.h"

enum state {
	KEY_ENDPOINT,
	KEY_NONE, /* its value says that there is none */
	KEY_BAD,  /* its value cannot be used; `bad` says why */
	KEY_GONE, /* deleted while a read is under way, which may still bring it */
};

struct key {
	int64_t revision;
	uint64_t digest; /* of the value */
	uint64_t read;	 /* the number of the last read that had it */
	enum state state;
	struct endpoint endpoint; /* strings are in `strings` */
	const char *host;	  /* or NULL; in `strings` */
	char *bad;
	uint64_t reported; /* digest of what was last reported of it; 0: nothing */
	struct arena strings;
	UT_hash_handle hh;
	char id[]; /* what follows SERVICE/ */
};

struct service {
	struct etcd_service public; /* first */
	char *name;
	struct key *keys;
	bool unknown;	/* no read had it yet */
	bool in_read;	/* the one under way has it */
	bool changed;	/* is in the list of those */
	uint64_t found; /* changes by the read under way */
	struct service *prev, *next;
	UT_hash_handle hh;
};

struct etcd_keys {
	char *prefix;
	size_t prefix_length;
	struct service *services;
	struct service *changed;
	uint64_t read; /* the number of the last one that began */
	bool reading, afresh;
};

struct etcd_keys *etcd_keys_new(const char *prefix)
{
	struct etcd_keys *keys = xcalloc(1, sizeof(*keys));

	keys->prefix = xstrdup(prefix);
	keys->prefix_length = strlen(prefix);
	return keys;
}

static void free_key(struct key *key)
{
	free(key->bad);
	arena_free(&key->strings);
	free(key);
}

static void remove_key(struct service *service, struct key *key)
{
	HASH_DEL(service->keys, key);
	free_key(key);
}

static void mark_changed(struct etcd_keys *keys, struct service *service)
{
	if (service->changed)
		return;
	service->changed = true;
	DL_APPEND(keys->changed, service);
}

static void unmark_changed(struct etcd_keys *keys, struct service *service)
{
	if (!service->changed)
		return;
	service->changed = false;
	DL_DELETE(keys->changed, service);
}

static void free_service(struct etcd_keys *keys, struct service *service)
{
	struct key *key, *next;

	unmark_changed(keys, service);
	HASH_ITER (hh, service->keys, key, next)
		remove_key(service, key);
	answered_clear(&service->public.answered);
	free(service->name);
	free(service);
}

void etcd_keys_free(struct etcd_keys *keys)
{
	struct service *service, *next;

	if (!keys)
		return;
	HASH_ITER (hh, keys->services, service, next) {
		HASH_DEL(keys->services, service);
		free_service(keys, service);
	}
	free(keys->prefix);
	free(keys);
}

struct etcd_service *etcd_keys_watch(struct etcd_keys *keys, const char *name)
{
	struct service *service = xcalloc(1, sizeof(*service));

	service->name = xstrdup(name);
	service->public.name = service->name;
	service->unknown = true;
	HASH_ADD_KEYPTR(hh, keys->services, service->name, strlen(service->name), service);
	return &service->public;
}

void etcd_keys_unwatch(struct etcd_keys *keys, const char *name)
{
	struct service *service;

	HASH_FIND_STR(keys->services, name, service);
	if (!service)
		return;
	HASH_DEL(keys->services, service);
	free_service(keys, service);
}

struct etcd_service *etcd_keys_next(const struct etcd_keys *keys, const struct etcd_service *service)
{
	struct service *next = service ? ((const struct service *)service)->hh.next : keys->services;

	return next ? &next->public : NULL;
}

static size_t common_length(const char *a, const char *b)
{
	size_t length = 0;

	while (a[length] && a[length] == b[length])
		length++;
	return length;
}

char *etcd_keys_prefix(const struct etcd_keys *keys)
{
	char *common = NULL, *prefix;

	for (const struct service *service = keys->services; service; service = service->hh.next) {
		char *own = xasprintf("%s/", service->name);

		if (!common) {
			common = own;
			continue;
		}
		common[common_length(common, own)] = '\0';
		free(own);
	}
	if (!common)
		return NULL;
	prefix = xasprintf("%s%s", keys->prefix, common);
	free(common);
	return prefix;
}

/* Pairs */

/* Where a pair belongs: a service, and its key's id there. */
struct place {
	struct service *service;
	const char *id;
	size_t length;
};

/*
 * The next service that a key is of, for it may be of several: "db/eu/1" is of "db" and of "db/eu". Begins with a
 * zeroed place.
 */
static bool next_place(const struct etcd_keys *keys, const struct etcd_bytes *bytes, struct place *place)
{
	const char *start = bytes->bytes + keys->prefix_length, *end = bytes->bytes + bytes->length;
	const char *at = place->id ? place->id : start;

	if (bytes->length <= keys->prefix_length || memcmp(bytes->bytes, keys->prefix, keys->prefix_length) != 0)
		return false;
	while ((at = memchr(at, '/', (size_t)(end - at)))) {
		HASH_FIND(hh, keys->services, start, (size_t)(at - start), place->service);
		at++;
		place->id = at;
		place->length = (size_t)(end - at);
		if (place->service)
			return true;
	}
	return false;
}

static struct key *find_key(const struct place *place)
{
	struct key *key;

	HASH_FIND(hh, place->service->keys, place->id, place->length, key);
	return key;
}

static struct key *add_key(const struct place *place)
{
	struct key *key = xcalloc(1, sizeof(*key) + place->length + 1);

	memcpy(key->id, place->id, place->length);
	HASH_ADD_KEYPTR(hh, place->service->keys, key->id, place->length, key);
	return key;
}

/* What has no name of its own is known by its key. */
static int take_id(struct key *key, struct error *err)
{
	if (key->endpoint.id)
		return 0;
	return record_name("its key's end", key->id, &key->endpoint.id, err);
}

static void parse_value(struct key *key, const struct etcd_bytes *bytes)
{
	struct etcd_value value;
	struct error err;
	int code;

	arena_free(&key->strings);
	code = etcd_value_parse(key->id, bytes->bytes, bytes->length, &key->strings, &value, &err);
	key->endpoint = value.endpoint;
	key->host = value.host;
	if (!code && key->hh.keylen != strlen(key->id))
		code = fail(&err, -EINVAL, "a NUL byte in its key");
	if (!code)
		code = take_id(key, &err);
	key->state = code == 0 ? KEY_ENDPOINT : code == -ENOENT ? KEY_NONE : KEY_BAD;
	text_replace(&key->bad, key->state == KEY_BAD ? err.text : NULL);
}

/* Returns the key, which is never older afterwards; NULL where what is known is newer. */
static struct key *put(struct etcd_keys *keys, const struct place *place, const struct etcd_kv *kv)
{
	uint64_t digest = hash_bytes(kv->value.bytes, kv->value.length);
	struct key *key = find_key(place);

	if (key && key->revision > kv->mod_revision)
		return key;
	if (key && key->state != KEY_GONE && key->digest == digest) {
		key->revision = kv->mod_revision;
		return key;
	}
	if (!key)
		key = add_key(place);
	key->revision = kv->mod_revision;
	key->digest = digest;
	parse_value(key, &kv->value);
	place->service->found++;
	mark_changed(keys, place->service);
	return key;
}

static void drop(struct etcd_keys *keys, const struct place *place, int64_t revision)
{
	struct key *key = find_key(place);

	if (key && key->revision > revision)
		return;
	if (key && key->state != KEY_GONE)
		mark_changed(keys, place->service);
	if (keys->reading) {
		if (!key)
			key = add_key(place);
		key->state = KEY_GONE;
		key->revision = revision;
	} else if (key) {
		remove_key(place->service, key);
	}
}

void etcd_keys_apply(struct etcd_keys *keys, const struct etcd_kv *event)
{
	struct place place = {0};

	while (next_place(keys, &event->key, &place)) {
		if (event->deleted)
			drop(keys, &place, event->mod_revision);
		else
			put(keys, &place, event);
	}
}

/* Reads */

void etcd_keys_begin_read(struct etcd_keys *keys, bool afresh)
{
	keys->reading = true;
	keys->afresh = afresh;
	keys->read++;
	for (struct service *service = keys->services; service; service = service->hh.next) {
		service->in_read = true;
		service->found = 0;
		for (struct key *key = service->keys; key && afresh; key = key->hh.next)
			key->revision = 0;
	}
}

void etcd_keys_put_read(struct etcd_keys *keys, const struct etcd_kv *kv)
{
	struct place place = {0};

	while (next_place(keys, &kv->key, &place))
		put(keys, &place, kv)->read = keys->read;
}

/* What the read does not have is gone, and so are the marks of what the watch told to be. */
static void sweep(struct etcd_keys *keys, struct service *service, int64_t revision)
{
	struct key *key, *next;

	HASH_ITER (hh, service->keys, key, next) {
		if (key->state == KEY_GONE) {
			remove_key(service, key);
		} else if (key->read != keys->read && key->revision <= revision) {
			remove_key(service, key);
			service->found++;
			mark_changed(keys, service);
		}
	}
}

size_t etcd_keys_end_read(struct etcd_keys *keys, int64_t revision)
{
	size_t found = 0;

	keys->reading = false;
	for (struct service *service = keys->services; service; service = service->hh.next) {
		sweep(keys, service, revision);
		if (!service->in_read)
			continue;
		service->in_read = false;
		if (!service->unknown)
			found += service->found;
		if (service->unknown || keys->afresh)
			mark_changed(keys, service);
		service->unknown = false;
	}
	return found;
}

/* What the keys of a service say. */

struct building {
	const struct etcd_keys *keys;
	struct service *service;
	etcd_resolve_fn resolve;
	void *context;
	struct endpoints_builder *builder;
	struct etcd_view *view;
	uint32_t used, pending;
	const char *first; /* report, made before or not */
};

/* Leaves a key out, and reports it where that was not done before. */
static void skip(struct building *building, struct key *key, const char *why)
{
	struct etcd_view *view = building->view;
	uint64_t digest = hash_bytes(why, strlen(why)) | 1;
	char quoted[RECORD_QUOTE_SIZE], *text;

	text = arena_printf(&view->arena, "etcd's key %s%s/%s: %s", building->keys->prefix, building->service->name,
			    record_quote(key->id, quoted), why);
	if (!building->first)
		building->first = text;
	view->skipped++;
	if (key->reported == digest)
		return;
	key->reported = digest;
	if (view->n_reports < ETCD_REPORTS)
		view->reports[view->n_reports] = text;
	view->n_reports++;
}

static void add(struct building *building, struct key *key, struct endpoint *endpoint)
{
	char at[IP_PORT_TEXT], other[RECORD_QUOTE_SIZE];
	struct error err;
	const char *stays;

	if (endpoints_builder_add(building->builder, endpoint, &stays) == 0) {
		building->used++;
		key->reported = 0;
		return;
	}
	fail(&err, 0, "%s: \"%s\" has this id or address already, each is accepted once",
	     ip_port_text(&endpoint->at, at), record_quote(stays, other));
	skip(building, key, err.text);
}

static void take_key(struct building *building, struct key *key)
{
	struct endpoint endpoint = key->endpoint;
	struct error err;
	int code = 0;

	if (key->state == KEY_BAD)
		skip(building, key, key->bad);
	if (key->state != KEY_ENDPOINT)
		return;
	if (key->host)
		code = building->resolve(building->context, key->host, &endpoint.at.addr, &err);
	if (code == -EAGAIN)
		building->pending++;
	else if (code)
		skip(building, key, err.text);
	else
		add(building, key, &endpoint);
}

static int compare_keys(const void *a, const void *b)
{
	const struct key *const *left = a, *const *right = b;

	return strcmp((*left)->id, (*right)->id);
}

/* In the order of their ids, so that of two with one address it is always the same that stays. */
static void take_keys(struct building *building)
{
	size_t count = 0;
	struct key **order = xcalloc(HASH_COUNT(building->service->keys) + 1, sizeof(struct key *));

	for (struct key *key = building->service->keys; key; key = key->hh.next)
		order[count++] = key;
	qsort(order, count, sizeof(*order), compare_keys);
	for (size_t i = 0; i < count; i++)
		take_key(building, order[i]);
	free(order);
}

static void finish(struct building *building)
{
	const struct service *service = building->service;
	struct etcd_view *view = building->view;
	bool first = !service->public.answered.endpoints;

	if (building->pending && (first || !building->used)) {
		endpoints_builder_free(building->builder);
		return;
	}
	if (building->used || !view->skipped) {
		view->endpoints = endpoints_builder_finish(building->builder);
		return;
	}
	endpoints_builder_free(building->builder);
	view->error = arena_printf(&view->arena, "%s; no key of %u can be used (for no endpoints, delete them)",
				   building->first, view->skipped);
}

/* The next one that is known. */
static struct service *next_changed(struct etcd_keys *keys)
{
	struct service *service, *next;

	DL_FOREACH_SAFE (keys->changed, service, next)
		if (!service->unknown)
			return service;
	return NULL;
}

bool etcd_keys_take_changed(struct etcd_keys *keys, etcd_resolve_fn resolve, void *context, struct etcd_view *ret)
{
	struct service *service = next_changed(keys);
	struct building building = {
		.keys = keys,
		.service = service,
		.resolve = resolve,
		.context = context,
		.view = ret,
	};

	*ret = (struct etcd_view){0};
	if (!service)
		return false;
	unmark_changed(keys, service);
	ret->service = &service->public;
	building.builder = endpoints_builder_new();
	take_keys(&building);
	finish(&building);
	return true;
}

void etcd_view_clear(struct etcd_view *view)
{
	endpoints_unref(view->endpoints);
	arena_free(&view->arena);
	*view = (struct etcd_view){0};
}

/* Names */

void etcd_keys_hosts(const struct etcd_keys *keys, void (*each)(void *context, const char *host), void *context)
{
	for (const struct service *service = keys->services; service; service = service->hh.next)
		for (const struct key *key = service->keys; key; key = key->hh.next)
			if (key->state == KEY_ENDPOINT && key->host)
				each(context, key->host);
}

void etcd_keys_host_changed(struct etcd_keys *keys, const char *host)
{
	for (struct service *service = keys->services; service; service = service->hh.next)
		for (const struct key *key = service->keys; key; key = key->hh.next)
			if (key->host && strcmp(key->host, host) == 0)
				mark_changed(keys, service);
}
