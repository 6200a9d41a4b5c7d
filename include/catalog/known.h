/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What registries named last, service by service, as it outlasts the daemon: a list, and the text of a file. Pure.
 *
 * The text has a JSON object a line, so that one service at a time is a tree in memory: first {"version": 1,
 * "services": how many lines follow}, then
 * {"registry": URI, "service": NAME, "revision": TEXT, "seen": SECONDS, "endpoints": [RECORD, ...]}, with records as in
 * a registry of files. A URI holds no secrets. Registries that differ in how they are asked only share their entries.
 */
#ifndef NUNCIO_CATALOG_KNOWN_H
#define NUNCIO_CATALOG_KNOWN_H

#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/mem.h"
#include "catalog/endpoints.h"

struct known_service {
	const char *registry, *service; /* the registry's URI */
	const char *revision;
	int64_t seen; /* when the registry named them last, in seconds since 1970 */
	const struct endpoints *endpoints;
};

/* Zeroed to begin. It has copies of all strings and references to all endpoints. */
struct known {
	struct known_service *items;
	size_t count, capacity;
	struct arena arena;
};

void known_add(struct known *known, const struct known_service *service);
void known_clear(struct known *known);

/* Of a list that was read; NULL where it is not there. */
const struct known_service *known_find(const struct known *known, const char *registry, const char *service);

void known_write(const struct known *known, FILE *out);

/*
 * Reads the text. Returns 0, or -EINVAL and a sentence that begins with the place where it is not as known_write() left
 * it; *ret is then empty.
 */
int known_parse(const char *text, size_t length, const char *place, struct known *ret, struct error *err);

#endif
