/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Plans to rules, purely. Each function appends the objects of one part of the table to a bag:
 *
 *   compile_base()       the table, its hooks and the sets that every link shares; the same for every ambassador
 *   compile_shard()      one slot map
 *   compile_counters()   one set of counters of endpoints, and the rule that counts there
 *   compile_namespace()  what nuncio changed in the namespace besides its table, recorded in the table
 *   compile_link()       a link's chain with its rule, and its elements
 *
 * Slot maps are sharded because the kernel checks a rule that looks a map up against all rules bound to that map:
 * one map for 10,000 links would make loading them quadratic. And a listing of a set begins anew for each 32 KiB of it:
 * one set of all counters would make reading them quadratic. Those sets are larger, since the kernel finds a set by its
 * name by walking all sets of the table.
 */
#ifndef NUNCIO_RULESET_COMPILE_H
#define NUNCIO_RULESET_COMPILE_H

#include "balance/plan.h"
#include "ruleset/ruleset.h"

#define LINKS_PER_SHARD 64
#define SHARDS_PER_COUNTERS 8u
#define LINKS_PER_AFFINITY_MAP \
	1 /* its keys are clients; with a listen address as well they would not fit nft's registers */

/* What nuncio changed outside its table, so that it can be undone by whoever comes after a crash. */
struct footprint {
	char (*interfaces)[16]; /* IFNAMSIZ; route_localnet was switched on */
	size_t n_interfaces;
	struct ip_addr *addresses; /* put on lo */
	size_t n_addresses;
};

void compile_base(bool eject, struct ruleset *out); /* eject: does any link? */
void compile_shard(uint8_t family, uint16_t shard, struct ruleset *out);
uint16_t counters_of(uint16_t shard); /* the number of the set that has the counters of this shard's links */
void compile_counters(uint8_t family, uint16_t number, struct ruleset *out);
void compile_namespace(const struct footprint *footprint, struct ruleset *out);
void compile_link(const struct link_plan *plan, uint32_t group, struct ruleset *out);

#endif
