/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "balance/plan.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "balance/leastconn.h"
#include "balance/maglev.h"
#include "base/mem.h"

/* What it would be but for the others, and for who is well. */
static enum standing standing_of(const struct endpoint *endpoint, const struct listen *listen)
{
	if (endpoint->at.addr.family != listen->at.addr.family)
		return STANDING_WRONG_FAMILY;
	if (ip_port_equal(&endpoint->at, &listen->at))
		return STANDING_OWN_ADDRESS;
	return endpoint->weight ? STANDING_SERVING : STANDING_DRAINING;
}

static enum standing standing_by_verdict(enum verdict verdict)
{
	switch (verdict) {
	case VERDICT_NONE:
	case VERDICT_UNKNOWN:
	case VERDICT_UP:
		return STANDING_SERVING;
	case VERDICT_DOWN:
		return STANDING_DOWN;
	case VERDICT_EJECTED:
		return STANDING_EJECTED;
	}
	return STANDING_SERVING;
}

/* Takes out who is not well; unless nobody is, and then all are to serve rather than none. */
static void take_out_unwell(const struct appraisal *appraisals, uint32_t count, enum on_all_down on_all_down,
			    enum standing *standing)
{
	bool any_well = false;

	for (uint32_t i = 0; i < count; i++)
		any_well |= standing[i] == STANDING_SERVING &&
			    standing_by_verdict(appraisals[i].verdict) == STANDING_SERVING;
	if (!any_well && on_all_down == ON_ALL_DOWN_SERVE)
		return;
	for (uint32_t i = 0; i < count; i++) {
		if (standing[i] == STANDING_SERVING)
			standing[i] = standing_by_verdict(appraisals[i].verdict);
	}
}

uint32_t plan_standing(const struct endpoints *endpoints, const struct appraisal *appraisals,
		       const struct link_conf *conf, enum standing *ret_standing)
{
	uint32_t best = UINT32_MAX, serving = 0;

	for (uint32_t i = 0; i < endpoints->count; i++)
		ret_standing[i] = standing_of(&endpoints->items[i], &conf->listen);
	if (appraisals)
		take_out_unwell(appraisals, endpoints->count, conf->on_all_down, ret_standing);
	for (uint32_t i = 0; i < endpoints->count; i++) {
		if (ret_standing[i] == STANDING_SERVING && endpoints->items[i].priority < best)
			best = endpoints->items[i].priority;
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

/* A share of its weight, but never nothing: that would be a drain. */
static uint32_t weigh_one(uint16_t weight, const struct appraisal *appraisal)
{
	if (!appraisal)
		return weight;
	return appraisal->share ? (uint32_t)weight * appraisal->share : 1;
}

static void weigh(const struct endpoints *endpoints, const struct appraisal *appraisals, const struct link_conf *conf,
		  uint32_t *ret_weights)
{
	enum standing *standing = xcalloc(endpoints->count + 1, sizeof(*standing));

	plan_standing(endpoints, appraisals, conf, standing);
	for (uint32_t i = 0; i < endpoints->count; i++)
		ret_weights[i] = standing[i] == STANDING_SERVING
					 ? weigh_one(endpoints->items[i].weight, appraisals ? &appraisals[i] : NULL)
					 : 0;
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

/* Fine enough for shares that differ by much, and for as many as there are. */
static uint32_t leastconn_slots(const uint32_t *weights, uint32_t n)
{
	uint32_t users = 0;

	for (uint32_t i = 0; i < n; i++)
		users += weights[i] != 0;
	return users * SLOTS_PER_ENDPOINT > LEASTCONN_SLOTS ? users * SLOTS_PER_ENDPOINT : LEASTCONN_SLOTS;
}

static void plan_turns(const struct slots *before, const struct endpoints *endpoints, const uint32_t *weights,
		       enum balance balance, struct slots *ret)
{
	uint32_t *shares = xcalloc(endpoints->count + 1, sizeof(*shares)), count = endpoints->count;

	if (balance == BALANCE_LEASTCONN)
		slots_share_of(leastconn_slots(weights, count), weights, count, shares);
	else
		slots_share(weights, count, shares);
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

/* The same as none: nobody is taken out, and every weight counts in full. */
static bool says_nothing(const struct appraisal *appraisals, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (standing_by_verdict(appraisals[i].verdict) != STANDING_SERVING || appraisals[i].share != SHARE_FULL)
			return false;
	}
	return true;
}

static bool same_appraisals(const struct link_plan *a, const struct link_plan *b)
{
	if (!a->appraisals || !b->appraisals)
		return a->appraisals == b->appraisals;
	for (uint32_t i = 0; i < b->weighed->count; i++) {
		if (a->appraisals[i].verdict != b->appraisals[i].verdict ||
		    a->appraisals[i].share != b->appraisals[i].share)
			return false;
	}
	return true;
}

/*
 * Are the slots those of the very same endpoints? They stay: nothing would change, and where they come from the kernel,
 * they say more than what could be recovered of the endpoints. One that nobody owns was damaged.
 */
static bool is_settled(const struct link_plan *previous, const struct link_plan *next)
{
	if (!previous || previous->weighed != next->weighed || previous->balance != next->balance ||
	    !same_appraisals(previous, next))
		return false;
	for (uint32_t i = 0; i < previous->slots.count; i++) {
		if (previous->slots.owner[previous->slots.before + i] == SLOT_FREE)
			return false;
	}
	return previous->slots.count > 0;
}

static void plan_slots(const struct link_plan *previous, const struct link_conf *conf, struct link_plan *next)
{
	const struct endpoints *endpoints = next->weighed;
	uint32_t *weights = xcalloc(endpoints->count + 1, sizeof(*weights));
	struct slots before = {0};

	if (previous)
		before = renumber(previous, endpoints);
	weigh(endpoints, next->appraisals, conf, weights);
	if (is_settled(previous, next))
		slots_replace(&before, before.owner + before.before, before.count, weights, &next->slots);
	else if (next->balance == BALANCE_SOURCE)
		plan_hashes(&before, endpoints, weights, &next->slots);
	else
		plan_turns(&before, endpoints, weights, conf->balance, &next->slots);
	slots_clear(&before);
	free(weights);
}

void plan_next(const struct link_plan *previous, const struct link_conf *conf, const struct endpoints *endpoints,
	       const struct appraisal *appraisals, uint16_t shard, bool hold, struct link_plan *ret)
{
	struct link_plan plan = {
		.name = xstrdup(conf->name),
		.listen = conf->listen,
		.balance = conf->balance == BALANCE_LEASTCONN ? BALANCE_ROUNDROBIN : conf->balance,
		.masquerade = conf->masquerade,
		.retry_s = conf->retry_s,
		.eject = conf->eject.failures && conf->listen.protocol == IPPROTO_TCP,
		.affinity_s = conf->affinity_s,
		.shard = shard,
		.endpoints = endpoints_ref(endpoints),
		.weighed = endpoints_ref(endpoints),
	};

	if (appraisals && !says_nothing(appraisals, endpoints->count)) {
		plan.appraisals = xcalloc(endpoints->count, sizeof(*appraisals));
		memcpy(plan.appraisals, appraisals, endpoints->count * sizeof(*appraisals));
	}
	plan_slots(previous, conf, &plan);
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

enum verdict plan_taken_out(const struct link_plan *plan, const struct ip_port *at)
{
	const struct endpoint *endpoint = endpoints_find_address(plan->endpoints, at);
	uint32_t index = endpoint ? (uint32_t)(endpoint - plan->endpoints->items) : 0;

	if (!endpoint || !plan->appraisals || plan->serving[index] ||
	    standing_by_verdict(plan->appraisals[index].verdict) == STANDING_SERVING)
		return VERDICT_NONE;
	return plan->appraisals[index].verdict;
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
	free(plan->appraisals);
	slots_clear(&plan->slots);
	free(plan->serving);
	*plan = (struct link_plan){0};
}
