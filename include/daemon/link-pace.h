/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shares that change with time: of endpoints that start slowly (slow_start), and of those that are to have as many
 * connections as the others (balance=leastconn). A link is planned anew when one is another.
 */
#ifndef NUNCIO_DAEMON_LINK_PACE_H
#define NUNCIO_DAEMON_LINK_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "balance/leastconn.h"
#include "balance/plan.h"

struct ambassador;
struct link;

/* An endpoint whose share grows. */
struct starter {
	struct ip_port at;
	uint64_t since_ms; /* uv_now() */
};

/* Those of a link; zeroed: none. */
struct starters {
	struct starter *items;
	size_t count, capacity;
};

/* What is counted of a link's endpoints; zeroed: nothing. */
struct link_load {
	const struct endpoints *endpoints; /* a reference; those of the plan */
	struct load *each;		   /* [endpoints->count] */
	uint64_t *connections;		   /* [endpoints->count], as of the last time */
	struct loads loads;
	bool seen;   /* counted once */
	bool moving; /* connections are there, or come */
};

/* Opinions, see appraise.c; to come after those on who is well. */
void link_starters_appraise(const struct link *link, const struct endpoints *weighed, struct appraisal *appraisals);
void link_load_appraise(const struct link *link, const struct endpoints *weighed, struct appraisal *appraisals);

/* The plan in force is about to give way to `next`: who serves there and did not serve here has come. */
void link_starters_note(struct link *link, const struct link_plan *next);
void link_starters_clear(struct link *link);

/* How long it takes until the endpoint has its whole share, milliseconds; 0: it has. */
uint64_t link_starter_left_ms(const struct link *link, const struct ip_port *at);

/* The link has another plan: counts its endpoints, where its configuration asks for that. */
void link_load_follow(struct link *link);
void link_load_clear(struct link *link);

#endif
