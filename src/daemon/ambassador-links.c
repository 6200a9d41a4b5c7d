/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/ambassador-state.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "base/mem.h"

void link_mark_dirty(struct link *link)
{
	if (!link->dirty) {
		link->dirty = true;
		link->dirty_since = uv_hrtime();
		DL_APPEND2(link->ambassador->dirty, link, dirty_prev, dirty_next);
	}
}

void link_mark_changed(struct link *link, enum event_cause cause)
{
	link->causes |= cause;
	link_mark_dirty(link);
}

void link_mark_clean(struct link *link)
{
	link->causes = 0;
	if (link->dirty) {
		link->dirty = false;
		DL_DELETE2(link->ambassador->dirty, link, dirty_prev, dirty_next);
	}
}

void link_mark_all_dirty(struct ambassador *ambassador)
{
	for (struct link *link = ambassador->links; link; link = link->hh.next)
		link_mark_dirty(link);
}

/* Shards */

struct shards *shards_of(struct ambassador *ambassador, const struct listen *listen)
{
	return &ambassador->shards[listen->at.addr.family == AF_INET6];
}

struct shards *affinities_of(struct ambassador *ambassador, const struct listen *listen)
{
	return &ambassador->affinities[listen->at.addr.family == AF_INET6];
}

void shard_take(struct shards *shards, uint16_t shard)
{
	while (shards->count <= shard) {
		ARRAY_GROW(shards->used, shards->count, shards->capacity);
		shards->used[shards->count++] = 0;
	}
	shards->used[shard]++;
}

uint16_t shard_find(const struct shards *shards, uint16_t limit)
{
	for (size_t i = shards->count; i-- > 0;) { /* the last ones are the likeliest to have room */
		if (shards->used[i] < limit)
			return (uint16_t)i;
	}
	return (uint16_t)shards->count;
}

/* Links */

static void make_key(const struct listen *listen, uint8_t key[LISTEN_KEY])
{
	memset(key, 0, LISTEN_KEY);
	key[0] = listen->at.addr.family;
	key_put_listen(key + 1, listen);
}

static void on_service_changed(struct subscription *subscription)
{
	struct link *link = (struct link *)(void *)((char *)subscription - offsetof(struct link, subscription));

	link_mark_changed(link, CAUSE_REGISTRY);
}

void link_free(struct ambassador *ambassador, struct link *link)
{
	link_mark_clean(link);
	catalog_unsubscribe(ambassador->catalog, &link->subscription);
	HASH_DEL(ambassador->links, link); // NOLINT(clang-analyzer-core.NullDereference): it is in the hash
	if (link->installed)
		plan_clear(&link->plan);
	leavers_clear(&link->leavers);
	link_checks_clear(link);
	link_starters_clear(link);
	link_load_clear(link);
	link_ejections_clear(link);
	free(link->error);
	free(link);
}

struct link *link_find(struct ambassador *ambassador, const struct listen *listen)
{
	uint8_t key[LISTEN_KEY];
	struct link *link;

	make_key(listen, key);
	HASH_FIND(hh, ambassador->links, key, LISTEN_KEY, link);
	return link;
}

static struct link *add_link(struct ambassador *ambassador, const struct listen *listen)
{
	struct link *link = xcalloc(1, sizeof(*link));

	link->ambassador = ambassador;
	link->subscription.changed = on_service_changed;
	make_key(listen, link->key);
	HASH_ADD(hh, ambassador->links, key, LISTEN_KEY, link);
	return link;
}

static bool same_service(const struct link_conf *a, const struct link_conf *b)
{
	return a && strcmp(a->service, b->service) == 0 && registry_equal(a->registry_conf, b->registry_conf);
}

static int configure_link(struct ambassador *ambassador, const struct link_conf *conf, struct error *err)
{
	struct link *link = link_find(ambassador, &conf->listen);
	bool resubscribe;

	if (!link)
		link = add_link(ambassador, &conf->listen);
	resubscribe = link->removed || !same_service(link->conf, conf);
	link->conf = conf;
	link->removed = false;
	link->configured = true;
	link_mark_changed(link, CAUSE_CONFIGURATION);
	if (!resubscribe)
		return 0;
	link->redirected = link->installed;
	link->subscribed = uv_hrtime();
	catalog_unsubscribe(ambassador->catalog, &link->subscription);
	return catalog_subscribe(ambassador->catalog, conf->registry_conf, conf->service, &link->subscription, err);
}

static void remove_link(struct ambassador *ambassador, struct link *link)
{
	link->removed = true;
	link_checks_clear(link);
	link->conf = NULL;
	catalog_unsubscribe(ambassador->catalog, &link->subscription);
	link_mark_changed(link, CAUSE_CONFIGURATION);
}

/* Links that are no longer configured: those that the kernel has go with the next reconciliation. */
static void remove_unconfigured(struct ambassador *ambassador)
{
	struct link *link, *next;

	HASH_ITER (hh, ambassador->links, link, next) {
		if (link->configured)
			continue;
		if (link->installed)
			remove_link(ambassador, link);
		else
			link_free(ambassador, link);
	}
}

int ambassador_configure(struct ambassador *ambassador, const struct ambassador_conf *conf, struct error *err)
{
	int code = 0;

	ambassador_take_conf(ambassador, conf);
	for (struct link *link = ambassador->links; link; link = link->hh.next)
		link->configured = false;
	for (size_t i = 0; i < conf->n_links; i++) {
		struct error reason;
		int one = configure_link(ambassador, &conf->links[i], &reason);

		if (one < 0 && code == 0)
			code = fail(err, one, "%s: %s", conf->links[i].origin, reason.text);
	}
	remove_unconfigured(ambassador);
	ambassador_eject_configured(ambassador);
	ambassador->footprint_dirty = true;
	return code;
}
