/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A round: some links with what they had, what they are to have, and what became of it, brought to the kernel
 * together. A link's group in the changes is its place in the round, behind GROUP_BASE.
 */
#ifndef NUNCIO_DAEMON_ROUND_H
#define NUNCIO_DAEMON_ROUND_H

#include "daemon/ambassador-state.h"
#include "daemon/changelog.h"
#include "ruleset/diff.h"

struct member {
	struct link *link;
	struct link_plan next;
	bool wanted;	     /* else it goes */
	bool loses_clients;  /* the next plan lacks endpoints that clients may have by affinity */
	const char *refusal; /* the kernel's reason; in the arena */
};

struct round {
	struct member *members;
	size_t count, capacity;
	struct ruleset have, want;
	struct changes changes;
	struct footprint footprint; /* to be recorded */
	struct arena refusals;
	struct changelog_sums sums;
};

/* Plans a link's next state and makes it a member. */
void round_add(struct round *round, struct link *link);

/* Fills have and want with the members, and the shards that they touch, where it is known what the kernel holds. */
void round_compile(struct ambassador *ambassador, struct round *round);

/*
 * Sends the difference of have and want, and makes the members' next plans those in force. A link that the kernel
 * refuses is left out, noted and tried again later; it harms no other. Returns 0, or a negative errno with a
 * sentence: then nothing has become of the round, and the ambassador is to be resynchronised.
 */
int round_carry_out(struct ambassador *ambassador, struct round *round, struct error *err);

/* Is it a change of a member that the kernel refused? */
bool round_has_refused(const struct round *round, const struct change *change);

/* Errors that say: the kernel does not hold what we believe. */
bool round_is_out_of_sync(int code);

void round_clear(struct round *round);

#endif
