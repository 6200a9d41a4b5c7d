/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keys of the services that are watched, as reads of a whole range and events of a watch bring them, in whatever
 * order the two come. Pure.
 *
 * A read is of one revision, may come in pages, and may run while a watch goes on. So each key has the revision of its
 * last change: what is older never replaces what is newer, and a key that a read does not have is gone only if nothing
 * newer was heard of it.
 */
#ifndef NUNCIO_DISCOVERY_ETCD_KEYS_H
#define NUNCIO_DISCOVERY_ETCD_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "discovery/answered.h"
#include "discovery/etcd/messages.h"

/* So many reports are kept as text at a time; the others are counted. */
#define ETCD_REPORTS 10

struct etcd_keys;

/* A watched service. Its keys are PREFIX NAME/ID. */
struct etcd_service {
	const char *name;
	struct answered answered; /* the caller's */
};

/* The prefix of all keys: empty, or with a '/' at its end. */
struct etcd_keys *etcd_keys_new(const char *prefix);
void etcd_keys_free(struct etcd_keys *keys); /* NULL is fine */

/* A new service is unknown until a read that began after this has ended. */
struct etcd_service *etcd_keys_watch(struct etcd_keys *keys, const char *name);
void etcd_keys_unwatch(struct etcd_keys *keys, const char *name);
/* One after the other, NULL to begin; NULL at the end. */
struct etcd_service *etcd_keys_next(const struct etcd_keys *keys, const struct etcd_service *service);

/*
 * The longest prefix that the keys of all watched services have in common, to be freed; NULL where none is watched.
 * So one service costs its own keys only, and ten thousand cost one read and one watch.
 */
char *etcd_keys_prefix(const struct etcd_keys *keys);

/*
 * A read: begin, each pair of it, end with its revision. Beginning again gives an unfinished one up. Afresh: what is
 * known counts for nothing any more but where it is the same. Returns how many changes it found, of known services.
 */
void etcd_keys_begin_read(struct etcd_keys *keys, bool afresh);
void etcd_keys_put_read(struct etcd_keys *keys, const struct etcd_kv *kv);
size_t etcd_keys_end_read(struct etcd_keys *keys, int64_t revision);

/* An event of a watch. */
void etcd_keys_apply(struct etcd_keys *keys, const struct etcd_kv *event);

/* Turns a name into an address: 0; -EAGAIN: it is being found out; or another negative errno and why not. */
typedef int (*etcd_resolve_fn)(void *context, const char *host, struct ip_addr *ret, struct error *err);

/* What the keys of a service say; ended by etcd_view_clear(). */
struct etcd_view {
	struct etcd_service *service;
	const struct endpoints *endpoints; /* one reference; or NULL */
	const char *error;		   /* why they cannot be used, a sentence; or NULL, also where names are being
					    * resolved that there can be no first answer without */
	uint32_t skipped;
	const char *reports[ETCD_REPORTS]; /* why keys were skipped, where that was not said before */
	uint32_t n_reports;		   /* may be more than there is room for */
	struct arena arena;
};

/* The next service whose keys are known and have changed; false where there is none. */
bool etcd_keys_take_changed(struct etcd_keys *keys, etcd_resolve_fn resolve, void *context, struct etcd_view *ret);
void etcd_view_clear(struct etcd_view *view);

/* Names in values: calls each(context, host); and this one's address has changed, so its services have. */
void etcd_keys_hosts(const struct etcd_keys *keys, void (*each)(void *context, const char *host), void *context);
void etcd_keys_host_changed(struct etcd_keys *keys, const char *host);

#endif
