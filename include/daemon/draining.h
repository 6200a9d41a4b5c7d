/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Endpoints of a link that are on their way out, removed or of weight 0, and may still have connections. Which of them
 * do is in conntrack; this remembers since when, and by which name. A restart forgets it: the time then begins anew,
 * and the address serves as name.
 */
#ifndef NUNCIO_DAEMON_DRAINING_H
#define NUNCIO_DAEMON_DRAINING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "balance/plan.h"

/* Of more the oldest are forgotten. */
#define LEAVERS_MAX 64

struct leaver {
	struct ip_port at;
	char *id;
	uint64_t since; /* uv_hrtime() */
};

/* Oldest first. Zeroed to begin. */
struct leavers {
	struct leaver *items; /* NULL: none */
	size_t count, capacity;
};

void leavers_clear(struct leavers *leavers);

/* Adds those that drain in the new plan and did not in the old one, and drops those that do not any more. */
void leavers_note(struct leavers *leavers, const struct link_plan *old, const struct link_plan *new, uint64_t now);

/* NULL: it is not known as one. */
const struct leaver *leavers_find(const struct leavers *leavers, const struct ip_port *at);
const struct leaver *leavers_add(struct leavers *leavers, const struct ip_port *at, const char *id, uint64_t now);

/* Drops those that have drained for this time (ns). */
void leavers_drop(struct leavers *leavers, uint64_t now, uint64_t time);

#endif
