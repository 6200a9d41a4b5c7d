/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the log says of changes: one line for each link that changed, nothing for what did not. */
#ifndef NUNCIO_DAEMON_CHANGELOG_H
#define NUNCIO_DAEMON_CHANGELOG_H

#include <stdbool.h>
#include <stdint.h>

#include "balance/plan.h"
#include "base/log.h"
#include "ruleset/diff.h"

/* Lines at the info level in one round: a cold start with thousands of links must not drown the log. */
#define CHANGELOG_LINES 100

/* Lines of one kind: CHANGELOG_LINES are told as they are, the others at the debug level, and counted. */
struct changelog_lines {
	uint32_t told, hidden;
};

/* The level for one more line that is to have this one. */
enum log_level changelog_level(struct changelog_lines *lines, enum log_level level);
/* Says how many were hidden, "and 7 more WHAT: -v has them", if any were; and begins anew. */
void changelog_end_lines(struct changelog_lines *lines, const char *netns, const char *what);

/* What one reconciliation did; starts zeroed, but for `started`. */
struct changelog_sums {
	uint64_t started;      /* uv_hrtime() */
	uint64_t acknowledged; /* the same, when the kernel had carried out the round; 0: not yet */
	bool adopted;	       /* a table was there */
	uint64_t changes;      /* objects added or removed */
	uint64_t messages;     /* sent to the kernel */
	uint32_t lines;	       /* links logged in this round: after many, the others go to the debug level */
};

void changelog_add_sums(struct changelog_sums *sums, const struct changelog_sums *more);

struct changelog_entry {
	const char *netns;	     /* "" = the daemon's own */
	const struct link_plan *old; /* NULL: a new link */
	const struct link_plan *new; /* NULL: the link is gone */
	bool adopted;		     /* `old` was read from the kernel, which knows no weights */
	unsigned int causes;	     /* of enum event_cause */
	const char *revision;	     /* of the registry, or "" */
	uint64_t received;	     /* uv_hrtime() of what caused it; 0: none */
};

/* "link web: +b4 -b1 (3 endpoints in 3 slots; revision ..; 5 messages; 0.3 ms)" */
void changelog_link(const struct changelog_entry *entry, struct changelog_sums *sums);

/* "ready: 2 links with 5 endpoints; ..." */
void changelog_ready(const char *netns, uint32_t links, uint32_t endpoints, const struct changelog_sums *sums);

/* The changes themselves to stdout, a line each, for a dry run. */
void changelog_print_changes(const char *netns, const struct changes *changes);

#endif
