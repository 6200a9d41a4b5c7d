/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way back: from the table that a former process left in the kernel to plans and footprint, so that a new
 * process goes on where the old one stopped. Pure.
 */
#ifndef NUNCIO_RULESET_RECOVER_H
#define NUNCIO_RULESET_RECOVER_H

#include "ruleset/compile.h"

/* An index over a ruleset read from the kernel; the ruleset must stay as it is while the index lives. */
struct recovery;
struct recovery *recovery_new(const struct ruleset *kernel);
void recovery_free(struct recovery *recovery); /* NULL is fine */

/* The shard of a plan whose link has nothing in the kernel that would tell it. */
#define SHARD_UNKNOWN UINT16_MAX

/*
 * The plan that the kernel's objects for this link amount to: name, balance, shard, slots, and endpoints with the ids
 * that their comments give and weights in proportion to their slots. Without
 * slots, its shard is the first of those that count where it does, or SHARD_UNKNOWN. The rest is the configuration's.
 * Returns false where the kernel has nothing for its listen address. *ret is to be freed by plan_clear().
 */
bool recovery_plan(struct recovery *recovery, const struct link_conf *conf, struct link_plan *ret);

/* The recorded footprint; its arrays are to be freed by the caller. */
struct footprint recovery_footprint(const struct ruleset *kernel);

#endif
