/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random ambassadors: links on some of a few listen addresses, and what becomes of them. */
#ifndef NUNCIO_TESTS_WORLDS_H
#define NUNCIO_TESTS_WORLDS_H

#include "unit.h"

#include <sys/socket.h>

#include "balance/plan.h"
#include "base/mem.h"
#include "plans.h"
#include "random.h"
#include "ruleset/compile.h"

#define WORLD_LISTENS 6
#define WORLD_SHARDS (SHARDS_PER_COUNTERS + 1)

struct world {
	bool present[WORLD_LISTENS];
	struct link_plan plans[WORLD_LISTENS];
};

static inline struct link_conf random_conf(size_t listen, const char *name)
{
	static const char *const listens[WORLD_LISTENS] = {
		"9000", "9000/udp", "10.96.0.10:80", "[fd00:aa::1]:80", "[fd00:aa::1]:80/udp", "[fd00:aa::2]:9000",
	};
	struct link_conf conf = conf_of(listens[listen], name);

	conf.balance = random_between(0, 1) ? BALANCE_RANDOM : BALANCE_ROUNDROBIN;
	conf.retry_s = random_between(0, 2);
	conf.affinity_s = random_between(0, 2) ? 0 : random_between(1, 2) * 60;
	conf.masquerade = (enum masquerade)random_between(MASQUERADE_AUTO, MASQUERADE_NEVER);
	return conf;
}

/* Some of eight endpoints, of either family, under some of eight names. */
static inline const struct endpoints *random_endpoints(void)
{
	struct endpoints_builder *builder = endpoints_builder_new();
	uint32_t first_name = random_between(0, 7);
	bool six = random_between(0, 1);

	for (uint32_t i = 0; i < 8; i++) {
		char id[8], text[IP_PORT_TEXT];
		struct endpoint endpoint = {.id = id};
		const char *other;

		if (random_between(0, 2) == 0)
			continue;
		snprintf(id, sizeof(id), "e%u", (first_name + i) % 8);
		snprintf(text, sizeof(text), six == (i < 6) ? "[fd00::%u]:80" : "10.0.0.%u:80", i + 1);
		endpoint.at = at(text);
		endpoint.weight = (uint16_t)random_between(0, 3);
		endpoint.priority = (uint16_t)(random_between(0, 4) == 0);
		assert_int_equal(endpoints_builder_add(builder, &endpoint, &other), 0);
	}
	return endpoints_builder_finish(builder);
}

/* What may become of a world. Links keep their shard, as long as they are there, and move their names about. */
static inline void world_next(const struct world *previous, struct world *ret)
{
	uint32_t first_name = random_between(0, 1);

	*ret = (struct world){0};
	for (size_t i = 0; i < WORLD_LISTENS; i++) {
		char name[8];
		struct link_conf conf = random_conf(i, name);
		const struct link_plan *plan = previous && previous->present[i] ? &previous->plans[i] : NULL;
		uint16_t shard = plan ? plan->shard : (uint16_t)random_between(0, WORLD_SHARDS - 1);
		const struct endpoints *endpoints = random_endpoints();

		ret->present[i] = random_between(0, 3) != 0;
		snprintf(name, sizeof(name), "l%zu", (first_name + i) % WORLD_LISTENS);
		if (ret->present[i])
			plan_next(plan, &conf, endpoints, NULL, shard, false, &ret->plans[i]);
		ret->plans[i].affinity_map = (uint16_t)i;
		endpoints_unref(endpoints);
	}
}

static inline void world_compile_shards(const struct world *world, struct ruleset *out)
{
	bool used[2][WORLD_SHARDS] = {0}, counting[2][WORLD_SHARDS] = {0};

	for (size_t i = 0; i < WORLD_LISTENS; i++) {
		bool is6 = world->plans[i].listen.at.addr.family == AF_INET6;

		if (world->present[i]) {
			used[is6][world->plans[i].shard] = true;
			counting[is6][counters_of(world->plans[i].shard)] = true;
		}
	}
	for (uint16_t i = 0; i < WORLD_SHARDS; i++) {
		if (used[0][i])
			compile_shard(AF_INET, i, out);
		if (used[1][i])
			compile_shard(AF_INET6, i, out);
		if (counting[0][i])
			compile_counters(AF_INET, i, out);
		if (counting[1][i])
			compile_counters(AF_INET6, i, out);
	}
}

/* The whole table; a link's group is the place of its listen address. */
static inline void world_compile(const struct world *world, struct ruleset *out)
{
	compile_base(false, out);
	world_compile_shards(world, out);
	for (size_t i = 0; i < WORLD_LISTENS; i++) {
		if (world->present[i])
			compile_link(&world->plans[i], GROUP_BASE + 1 + (uint32_t)i, out);
	}
}

static inline void world_clear(struct world *world)
{
	for (size_t i = 0; i < WORLD_LISTENS; i++)
		plan_clear(&world->plans[i]);
}

/* As nft_read() leaves it: nobody knows which links the objects belong to, and in whatever order. */
static inline void make_kernels(struct ruleset *ruleset)
{
	for (size_t i = 0; i < ruleset->n_chains; i++)
		ruleset->chains[i].group = GROUP_UNKNOWN;
	for (size_t i = 0; i < ruleset->n_elems; i++) {
		size_t other = random_between(0, (uint32_t)ruleset->n_elems - 1);
		struct elem elem = ruleset->elems[i];

		ruleset->elems[i] = ruleset->elems[other];
		ruleset->elems[other] = elem;
	}
	for (size_t i = 0; i < ruleset->n_elems; i++)
		ruleset->elems[i].group = GROUP_UNKNOWN;
}

#endif
