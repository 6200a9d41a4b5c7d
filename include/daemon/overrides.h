/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an operator said about endpoints: a weight by hand instead of the registry's, 0 to drain. It outlasts the
 * endpoint's absence and the daemon (state.h), and ends with `nuncio undrain` or with its link. Pure.
 */
#ifndef NUNCIO_DAEMON_OVERRIDES_H
#define NUNCIO_DAEMON_OVERRIDES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "catalog/endpoints.h"

/* More than this many are refused. */
#define OVERRIDES_MAX 4096

struct override {
	const char *netns;    /* as configured; "" = the daemon's own */
	const char *link;     /* its name */
	const char *endpoint; /* its id, or ADDR:PORT where that was all that was known of it */
	uint16_t weight;
};

struct overrides {
	struct override *items; /* ordered by netns, link and endpoint; their strings are owned */
	size_t count, capacity;
};

void overrides_clear(struct overrides *overrides);

/* Puts a copy in, or changes the weight of the one that is there. -ENOSPC: there are OVERRIDES_MAX. */
int overrides_set(struct overrides *overrides, const struct override *override, struct error *err);
/* Returns whether it was there; the weight does not matter. */
bool overrides_remove(struct overrides *overrides, const struct override *override);

/* The one with exactly this netns, link and endpoint; or the one about this endpoint, by id or else by address; or
 * NULL. */
const struct override *overrides_find(const struct overrides *overrides, const char *netns, const char *link,
				      const char *endpoint);
const struct override *overrides_of(const struct overrides *overrides, const char *netns, const char *link,
				    const struct endpoint *endpoint);

/*
 * The endpoints with the weights by hand, for planning: the same ids and addresses in the same order. With
 * `drains_only` only weights of 0 count: where the others are not the registry's but shares read from the kernel, a
 * number means nothing beside them. NULL overrides are fine. Returns a reference for the caller.
 */
const struct endpoints *overrides_apply(const struct overrides *overrides, const char *netns, const char *link,
					const struct endpoints *endpoints, bool drains_only);

/* Removes those that keep(context, override) says no to; returns how many. */
size_t overrides_retain(struct overrides *overrides, bool (*keep)(void *context, const struct override *override),
			void *context);

/*
 * The text of the state file: {"version": 1, "overrides": [{"netns", "link", "endpoint", "weight"}, ...]}. Other keys
 * are ignored. overrides_print() returns text to be freed; overrides_parse() 0, or -EINVAL and a sentence that begins
 * with `place`, *ret untouched.
 */
char *overrides_print(const struct overrides *overrides);
int overrides_parse(const char *text, size_t length, const char *place, struct overrides *ret, struct error *err);

#endif
