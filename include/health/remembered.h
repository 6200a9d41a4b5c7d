/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which endpoints were down, as it outlasts the daemon: a list, and the text of a file. Pure. Those that were up need
 * no memory: what is not known serves, too.
 *
 * {"version": 1, "written": MS, "down": [{"netns": TEXT, "address": ADDR:PORT, "probe": TEXT, "reason": TEXT,
 * "since": MS, "last_good": MS}, ...]}, times since 1970.
 */
#ifndef NUNCIO_HEALTH_REMEMBERED_H
#define NUNCIO_HEALTH_REMEMBERED_H

#include <stdint.h>
#include <stdio.h>

#include "base/addr.h"
#include "base/error.h"
#include "base/mem.h"

struct remembered_target {
	const char *netns; /* what people call it; "" = the daemon's own */
	struct ip_port at;
	const char *probe; /* how it was checked: another way knows nothing of this one */
	const char *reason;
	int64_t since, last_good; /* ms since 1970 */
};

/* Zeroed to begin. It has copies of all strings. */
struct remembered {
	struct remembered_target *items;
	size_t count, capacity;
	int64_t written; /* ms since 1970 */
	struct arena arena;
};

void remembered_add(struct remembered *remembered, const struct remembered_target *target);
void remembered_clear(struct remembered *remembered);

/* To be found, they are to be in order first. NULL: it is not there. */
void remembered_sort(struct remembered *remembered);
const struct remembered_target *remembered_find(const struct remembered *remembered, const char *netns,
						const struct ip_port *at, const char *probe);

void remembered_write(const struct remembered *remembered, FILE *out);
/* Sorted. Returns 0, or -EINVAL with a sentence that begins with the place, and *ret empty. */
int remembered_parse(const char *text, size_t length, const char *place, struct remembered *ret, struct error *err);

#endif
