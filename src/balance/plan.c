/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "balance/plan.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "balance/maglev.h"
#include "base/mem.h"

static enum standing standing_of(const struct endpoint *endpoint, const struct listen *listen)
{
	if (endpoint->at.addr.family != listen->at.addr.family)
		return STANDING_WRONG_FAMILY;
	if (ip_port_equal(&endpoint->at, &listen->at))
		return STANDING_OWN_ADDRESS;
	return endpoint->weight ? STANDING_SERVING : STANDING_DRAINING;
}

uint32_t plan_standing(const struct endpoints *endpoints, const struct listen *listen, enum standing *ret_standing)
{
	uint32_t best = UINT32_MAX, serving = 0;

	for (uint32_t i = 0; i < endpoints->count; i++) {
		const struct endpoint *endpoint = &endpoints->items[i];

		ret_standing[i] = standing_of(endpoint, listen);
		if (ret_standing[i] == STANDING_SERVING && endpoint->priority < best)
			best = endpoint->priority;
	}
	for (uint32_t i = 0; i < endpoints->count; i++) {
		if (ret_standing[i] != STANDING_SERVING)
			continue;
		if (endpoints->items[i].priority != best)
			ret_standing[i] = STANDING_STANDBY;
		else
			serving++;
	}
	return serving;
}

static void weigh(const struct endpoints *endpoints, const struct listen *listen, uint32_t *ret_weights)
{
	enum standing *standing = xcalloc(endpoints->count + 1, sizeof(*standing));

	plan_standing(endpoints, listen, standing);
	for (uint32_t i = 0; i < endpoints->count; i++)
		ret_weights[i] = standing[i] == STANDING_SERVING ? endpoints->items[i].weight : 0;
	free(standing);
}

/* Endpoints that were renamed but live at the same place keep their slots: nothing changes in the kernel's maps. */
static void match_by_address(const struct endpoints *from, const struct endpoints *to, const bool *taken, uint32_t *map)
{
	for (uint32_t i = 0; i < from->count; i++) {
		const struct endpoint *same =
			map[i] == SLOT_FREE ? endpoints_find_address(to, &from->items[i].at) : NULL;

		if (same && !taken[same - to->items])
			map[i] = (uint32_t)(same - to->items);
	}
}

/* map[i] = the index in `to` of what `from` has at i, by id and else by address; SLOT_FREE = gone. */
static uint32_t *map_endpoints(const struct endpoints *from, const struct endpoints *to)
{
	uint32_t *map = xcalloc(from->count + 1, sizeof(*map)), unmatched = 0;
	bool *taken = xcalloc(to->count + 1, sizeof(*taken));

	for (uint32_t i = 0, j = 0; i < from->count; i++) {
		map[i] = SLOT_FREE;
		while (j < to->count && strcmp(to->items[j].id, from->items[i].id) < 0)
			j++;
		if (j < to->count && strcmp(to->items[j].id, from->items[i].id) == 0) {
			map[i] = j;
			taken[j] = true;
		} else {
			unmatched++;
		}
	}
	if (unmatched)
		match_by_address(from, to, taken, map);
	free(taken);
	return map;
}

/* The previous slots with owners that mean the new snapshot's endpoints. */
static struct slots renumber(const struct link_plan *previous, const struct endpoints *endpoints)
{
	struct slots slots = previous->slots;
	uint32_t size = slots.before + slots.count, *map;

	slots.owner = xcalloc(size + 1, sizeof(*slots.owner));
	map = previous->endpoints == endpoints ? NULL : map_endpoints(previous->endpoints, endpoints);
	for (uint32_t i = 0; i < size; i++) {
		uint32_t owner = previous->slots.owner[i];

		slots.owner[i] = owner == SLOT_FREE || !map ? owner : map[owner];
	}
	free(map);
	return slots;
}

static void plan_turns(const struct slots *before, const struct endpoints *endpoints, const uint32_t *weights,
		       struct slots *ret)
{
	uint32_t *shares = xcalloc(endpoints->count + 1, sizeof(*shares));

	slots_share(weights, endpoints->count, shares);
	slots_update(before, shares, endpoints->count, ret);
	free(shares);
}

static void plan_hashes(const struct slots *before, const struct endpoints *endpoints, const uint32_t *weights,
			struct slots *ret)
{
	uint32_t serving = 0, size, *owners;

	for (uint32_t i = 0; i < endpoints->count; i++)
		serving += weights[i] != 0;
	size = maglev_size(serving, before->count);
	owners = xcalloc(size + 1, sizeof(*owners));
	if (size)
		maglev_fill(endpoints, weights, size, owners);
	slots_replace(before, owners, size, weights, ret);
	free(owners);
}

/*
 * Are the slots those of the very same endpoints? They stay: nothing would change, and where they come from the kernel,
 * they say more than what could be recovered of the endpoints. One that nobody owns was damaged.
 */
static bool is_settled(const struct link_plan *previous, enum balance balance, const struct endpoints *endpoints)
{
	if (!previous || previous->weighed != endpoints || previous->balance != balance)
		return false;
	for (uint32_t i = 0; i < previous->slots.count; i++) {
		if (previous->slots.owner[previous->slots.before + i] == SLOT_FREE)
			return false;
	}
	return previous->slots.count > 0;
}

static void plan_slots(const struct link_plan *previous, enum balance balance, const struct listen *listen,
		       const struct endpoints *endpoints, struct slots *ret)
{
	uint32_t *weights = xcalloc(endpoints->count + 1, sizeof(*weights));
	struct slots before = {0};

	if (previous)
		before = renumber(previous, endpoints);
	weigh(endpoints, listen, weights);
	if (is_settled(previous, balance, endpoints))
		slots_replace(&before, before.owner + before.before, before.count, weights, ret);
	else if (balance == BALANCE_SOURCE)
		plan_hashes(&before, endpoints, weights, ret);
	else
		plan_turns(&before, endpoints, weights, ret);
	slots_clear(&before);
	free(weights);
}

void plan_next(const struct link_plan *previous, const struct link_conf *conf, const struct endpoints *endpoints,
	       uint16_t shard, bool hold, struct link_plan *ret)
{
	struct link_plan plan = {
		.name = xstrdup(conf->name),
		.listen = conf->listen,
		.balance = conf->balance,
		.masquerade = conf->masquerade,
		.retry_s = conf->retry_s,
		.affinity_s = conf->affinity_s,
		.shard = shard,
		.endpoints = endpoints_ref(endpoints),
		.weighed = endpoints_ref(endpoints),
	};

	plan_slots(previous, conf->balance, &conf->listen, endpoints, &plan.slots);
	plan_note_serving(&plan);
	plan.hold = hold && !plan.slots.count && conf->listen.protocol == IPPROTO_TCP;
	*ret = plan;
}

bool plan_is_hashed(const struct link_plan *plan)
{
	return plan->balance == BALANCE_SOURCE;
}

void plan_note_serving(struct link_plan *plan)
{
	plan->serving = xcalloc(plan->endpoints->count + 1, sizeof(*plan->serving));
	for (uint32_t i = 0; i < plan->slots.count; i++) {
		uint32_t owner = plan->slots.owner[plan->slots.before + i];

		if (owner != SLOT_FREE)
			plan->serving[owner] = true;
	}
}

bool plan_serves(const struct link_plan *plan, const struct ip_port *at)
{
	const struct endpoint *endpoint = endpoints_find_address(plan->endpoints, at);

	return endpoint && plan->serving[endpoint - plan->endpoints->items];
}

bool plan_drains(const struct link_plan *plan, const struct ip_port *at)
{
	const struct endpoint *endpoint = endpoints_find_address(plan->weighed, at);

	return !endpoint || !endpoint->weight;
}

void plan_clear(struct link_plan *plan)
{
	free(plan->name);
	endpoints_unref(plan->endpoints);
	endpoints_unref(plan->weighed);
	slots_clear(&plan->slots);
	free(plan->serving);
	*plan = (struct link_plan){0};
}
