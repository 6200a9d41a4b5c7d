/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/clients.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "kernel/nft.h"

/* How often the sweep looks again where elements end by themselves under its hands. */
#define SWEEP_TRIES 5

static struct set_id clients_of(const struct link_plan *plan)
{
	return (struct set_id){SET_AFFINITY, plan->listen.at.addr.family, plan->affinity_map};
}

static bool loses_endpoints(const struct link_plan *old, const struct link_plan *new)
{
	for (uint32_t i = 0; i < old->endpoints->count; i++) {
		if (old->serving[i] && !plan_serves(new, &old->endpoints->items[i].at))
			return true;
	}
	return false;
}

/* Takes from the elements of one map, from `first` on, those whose endpoint the plan has in rotation. */
static void leave_stale(struct ruleset *ruleset, size_t first, const struct link_plan *plan, uint32_t group)
{
	size_t kept = first;

	for (size_t i = first; i < ruleset->n_elems; i++) {
		struct elem *elem = &ruleset->elems[i];
		size_t offset = 0;
		struct ip_port endpoint = field_get_ip_port(elem->data, &offset, elem->set.family);

		if (plan_serves(plan, &endpoint))
			continue;
		elem->group = group;
		ruleset->elems[kept++] = *elem;
	}
	ruleset->n_elems = kept;
}

void clients_end(struct ambassador *ambassador, struct round *round)
{
	for (size_t i = 0; i < round->count; i++) {
		struct member *member = &round->members[i];
		size_t first = round->have.n_elems;

		member->loses_clients = member->wanted && member->next.affinity_s && member->link->installed &&
					member->link->plan.affinity_s &&
					loses_endpoints(&member->link->plan, &member->next);
		if (!member->loses_clients || ambassador->just_read)
			continue;
		nft_read_set(ambassador->nft, clients_of(&member->next), &round->have);
		leave_stale(&round->have, first, &member->next, GROUP_BASE + 1 + (uint32_t)i);
	}
}

/* Returns -ENOENT where one of them was not there any more: then none is removed. */
static int remove_clients(struct ambassador *ambassador, const struct ruleset *stale)
{
	struct nft_report *report = xcalloc(1, sizeof(*report));
	struct change *changes = xcalloc(stale->n_elems, sizeof(*changes));
	int code;

	for (size_t i = 0; i < stale->n_elems; i++)
		changes[i] = (struct change){.kind = CHANGE_ELEM, .object = &stale->elems[i]};
	code = nft_commit(ambassador->nft, changes, stale->n_elems, NFT_COMMIT, report);
	free(changes);
	free(report);
	return code;
}

static void sweep_member(struct ambassador *ambassador, const struct member *member)
{
	int code = -ENOENT;

	for (int try = 0; code == -ENOENT && try < SWEEP_TRIES; try++) {
		struct ruleset stale = {0};

		code = nft_read_set(ambassador->nft, clients_of(&member->next), &stale);
		leave_stale(&stale, 0, &member->next, GROUP_BASE);
		if (code == 0 && stale.n_elems)
			code = remove_clients(ambassador, &stale);
		ruleset_clear(&stale);
	}
	if (code < 0)
		log_warning("link %s: clients of a removed endpoint may keep it until their affinity ends: %s",
			    member->next.name, strerror(-code));
}

void clients_sweep(struct ambassador *ambassador, struct round *round)
{
	for (size_t i = 0; i < round->count; i++) {
		if (round->members[i].loses_clients && !round->members[i].refusal)
			sweep_member(ambassador, &round->members[i]);
	}
}

/* The members by the number of their map, of one family; NULL where a number is nobody's. */
static struct member **index_members(struct round *round, uint8_t family)
{
	struct member **index = xcalloc(UINT16_MAX + 1, sizeof(*index));

	for (size_t i = 0; i < round->count; i++) {
		struct member *member = &round->members[i];

		if (member->wanted && member->next.affinity_s && member->next.listen.at.addr.family == family)
			index[member->next.affinity_map] = member;
	}
	return index;
}

static void keep_family(struct round *round, uint8_t family)
{
	struct member **index = index_members(round, family);

	for (size_t i = 0; i < round->have.n_elems; i++) {
		const struct elem *elem = &round->have.elems[i];
		const struct member *member;
		struct ip_port endpoint;
		size_t offset = 0;

		if (elem->set.type != SET_AFFINITY || elem->set.family != family)
			continue;
		endpoint = field_get_ip_port(elem->data, &offset, family);
		member = index[elem->set.shard];
		if (member && plan_serves(&member->next, &endpoint))
			*ruleset_add_elem(&round->want) = *elem;
	}
	free(index);
}

void clients_keep(struct round *round)
{
	keep_family(round, AF_INET);
	keep_family(round, AF_INET6);
}
