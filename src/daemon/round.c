/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/round.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/event.h"
#include "base/mem.h"
#include "daemon/clients.h"
#include "daemon/flows.h"
#include "daemon/footprint.h"
#include "kernel/nft.h"

/*
 * Changes in one transaction, groups kept whole; bounds its size and the kernel's time in it. Not too small either:
 * whenever a rule or a listen address is new, the kernel checks the whole table, which takes it 1.4 us a link.
 */
#define CHANGES_PER_TRANSACTION 65536

/* How often a transaction is tried again without the links that the kernel refused. */
#define REFUSAL_TRIES 8

void round_clear(struct round *round)
{
	for (size_t i = 0; i < round->count; i++)
		plan_clear(&round->members[i].next);
	free(round->members);
	ruleset_clear(&round->have);
	ruleset_clear(&round->want);
	changes_clear(&round->changes);
	footprint_clear(&round->footprint);
	arena_free(&round->refusals);
}

/* What is left of the time in which an empty link may hold connections back, in milliseconds; 0: it is over. */
static uint64_t hold_left(const struct link *link)
{
	uint64_t held = link->empty_since ? (uv_hrtime() - link->empty_since) / 1000000 : 0;

	if (link->conf->on_empty != ON_EMPTY_HOLD || held >= link->conf->hold_for_ms)
		return 0;
	return link->conf->hold_for_ms - held;
}

static void note_emptiness(struct link *link, const struct link_plan *next, uint64_t left)
{
	if (next->slots.count)
		link->empty_since = 0;
	else if (!link->empty_since)
		link->empty_since = uv_hrtime();
	if (next->hold)
		ambassador_hold_for(link->ambassador, left);
}

/* While it is in a round, a link has the number of its present plan and that of its next one, often the same. */
static void take_affinity(struct member *member)
{
	const struct link *link = member->link;
	struct shards *affinities = affinities_of(link->ambassador, &member->next.listen);

	member->next.affinity_map = link->installed && link->plan.affinity_s
					    ? link->plan.affinity_map
					    : shard_find(affinities, LINKS_PER_AFFINITY_MAP);
	shard_take(affinities, member->next.affinity_map);
}

static void drop_affinity(struct ambassador *ambassador, const struct link_plan *plan)
{
	if (plan->affinity_s)
		affinities_of(ambassador, &plan->listen)->used[plan->affinity_map]--;
}

/*
 * A plan has its slots by the weights that operators gave, but its endpoints as the registry names them: what an
 * operator takes back leaves nothing behind.
 */
static void plan_with_overrides(struct member *member, const struct endpoints *endpoints, uint16_t shard, bool hold)
{
	const struct link *link = member->link;
	const struct endpoints *weighed = link_weighed(link, endpoints);
	struct appraisal *appraisals = link_appraise(link, weighed);

	plan_next(link->installed ? &link->plan : NULL, link->conf, weighed, appraisals, shard, hold, &member->next);
	free(appraisals);
	endpoints_unref(weighed);
	endpoints_unref(member->next.endpoints);
	member->next.endpoints = endpoints_ref(endpoints);
}

static void plan_member(struct member *member)
{
	struct link *link = member->link;
	struct ambassador *ambassador = link->ambassador;
	const struct endpoints *endpoints;
	uint16_t shard;
	uint64_t left;

	member->wanted = !link->removed;
	if (!member->wanted)
		return;
	shard = link->installed ? link->plan.shard
				: shard_find(shards_of(ambassador, &link->conf->listen), LINKS_PER_SHARD);
	endpoints = link_endpoints(link);
	left = hold_left(link);
	link_checks_follow(link, endpoints);
	plan_with_overrides(member, endpoints, shard, left > 0);
	note_emptiness(link, &member->next, left);
	endpoints_unref(endpoints);
	if (!link->installed)
		shard_take(shards_of(ambassador, &link->conf->listen), shard);
	if (member->next.affinity_s)
		take_affinity(member);
}

void round_add(struct round *round, struct link *link)
{
	ARRAY_GROW(round->members, round->count, round->capacity);
	round->members[round->count] = (struct member){.link = link};
	plan_member(&round->members[round->count++]);
}

/* A member that was not installed took a place in a shard when it was planned. */
static void give_up_member(struct ambassador *ambassador, struct member *member)
{
	if (member->wanted && !member->link->installed)
		shards_of(ambassador, &member->next.listen)->used[member->next.shard]--;
	if (member->wanted)
		drop_affinity(ambassador, &member->next);
}

/* Does a link in this shard use the set? One of slots serves a shard, one of counters several. */
static bool serves(struct set_id set, uint16_t shard)
{
	return set.shard == (set.type == SET_ENDPOINTS ? counters_of(shard) : shard);
}

/* How many of the round's members come new to a set, and how many leave it for good? */
static void count_moves(const struct round *round, struct set_id set, uint32_t *ret_new, uint32_t *ret_gone)
{
	*ret_new = *ret_gone = 0;
	for (size_t i = 0; i < round->count; i++) {
		const struct member *member = &round->members[i];
		const struct link_plan *plan = member->wanted ? &member->next : &member->link->plan;

		if (plan->listen.at.addr.family != set.family || !serves(set, plan->shard))
			continue;
		*ret_new += member->wanted && !member->link->installed;
		*ret_gone += !member->wanted;
	}
}

static uint32_t count_users(const struct shards *shards, struct set_id set)
{
	uint32_t used = 0;

	for (size_t i = 0; i < shards->count; i++)
		used += serves(set, (uint16_t)i) ? shards->used[i] : 0;
	return used;
}

static bool has_set(const struct ruleset *ruleset, struct set_id set)
{
	for (size_t i = 0; i < ruleset->n_sets; i++) {
		if (memcmp(&ruleset->sets[i], &set, sizeof(set)) == 0)
			return true;
	}
	return false;
}

static void compile_set(struct set_id set, struct ruleset *out)
{
	if (set.type == SET_SLOTS)
		compile_shard(set.family, set.shard, out);
	else
		compile_counters(set.family, set.shard, out);
}

/* A set that links share is there as long as it serves one. */
static void compile_shared_set(struct ambassador *ambassador, struct round *round, const struct link_plan *plan,
			       struct set_id set)
{
	uint32_t used, new, gone;

	if (has_set(&round->have, set) || has_set(&round->want, set))
		return;
	used = count_users(shards_of(ambassador, &plan->listen), set);
	count_moves(round, set, &new, &gone);
	if (used > new)
		compile_set(set, &round->have);
	if (used > gone)
		compile_set(set, &round->want);
}

static void compile_member_shard(struct ambassador *ambassador, struct round *round, const struct link_plan *plan)
{
	uint8_t family = plan->listen.at.addr.family;

	compile_shared_set(ambassador, round, plan, (struct set_id){SET_SLOTS, family, plan->shard});
	compile_shared_set(ambassador, round, plan, (struct set_id){SET_ENDPOINTS, family, counters_of(plan->shard)});
}

/* Have and want of a round that knows what the kernel holds: only its members and the shards that they touch. */
void round_compile(struct ambassador *ambassador, struct round *round)
{
	round->have.table = round->want.table = true;
	for (size_t i = 0; i < round->count; i++) {
		struct member *member = &round->members[i];
		uint32_t group = GROUP_BASE + 1 + (uint32_t)i;

		if (member->link->installed)
			compile_link(&member->link->plan, group, &round->have);
		if (member->wanted)
			compile_link(&member->next, group, &round->want);
		compile_member_shard(ambassador, round, member->wanted ? &member->next : &member->link->plan);
	}
}

/* Takes from a transaction that the kernel refused the links that it named. Returns whether that leaves less. */
static bool drop_refused(struct round *round, const struct nft_report *report)
{
	bool dropped = false;

	for (uint32_t i = 0; i < report->n_refusals; i++) {
		const struct nft_refusal *refusal = &report->refusals[i];
		struct member *member;

		if (refusal->group == GROUP_BASE || refusal->group > round->count)
			return false;
		member = &round->members[refusal->group - GROUP_BASE - 1];
		if (!member->refusal) {
			member->refusal = arena_strdup(&round->refusals, refusal->text);
			dropped = true;
		}
	}
	return dropped;
}

bool round_has_refused(const struct round *round, const struct change *change)
{
	return change->group != GROUP_BASE && change->group <= round->count &&
	       round->members[change->group - GROUP_BASE - 1].refusal;
}

static size_t keep_accepted(const struct round *round, struct change *changes, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (!round_has_refused(round, &changes[i]))
			changes[kept++] = changes[i];
	}
	return kept;
}

/* Errors that say: the kernel does not hold what we believe. */
bool round_is_out_of_sync(int code)
{
	return code == -ERESTART || code == -ENOBUFS || code == -ENOENT || code == -EEXIST;
}

/* Sends them once, and counts that. */
static int commit(struct ambassador *ambassador, const struct change *changes, size_t count, struct nft_report *report)
{
	enum nft_mode mode = ambassador->options.dry_run ? NFT_DRY_RUN : NFT_COMMIT;
	uint64_t began = uv_hrtime();
	int code = nft_commit(ambassador->nft, changes, count, mode, report);

	meter_transaction(ambassador->options.meter, began, code < 0, report->messages, count);
	return code;
}

static int send_transaction(struct ambassador *ambassador, struct round *round, struct change *changes, size_t count,
			    struct nft_report *report)
{
	int code = commit(ambassador, changes, count, report);

	if (round_is_out_of_sync(code) && !ambassador->just_read)
		return code;
	for (int try = 0; code < 0 && try < REFUSAL_TRIES && drop_refused(round, report); try++) {
		count = keep_accepted(round, changes, count);
		if (!count)
			return 0;
		code = commit(ambassador, changes, count, report);
	}
	if (code == 0)
		round->sums.messages += report->messages;
	return code;
}

/* The end of the transaction that begins at `from`: whole groups, until it is large enough. */
static size_t find_cut(const struct changes *changes, size_t from, size_t limit)
{
	size_t cut = from;

	while (cut < changes->count) {
		size_t next = cut;

		while (next < changes->count && changes->items[next].group == changes->items[cut].group)
			next++;
		if (cut > from && next - from > limit)
			break;
		cut = next;
	}
	return cut;
}

static void explain_failure(const struct ambassador *ambassador, int code, const struct nft_report *report,
			    struct error *err)
{
	uint32_t owner = nft_foreign_owner(ambassador->nft);

	if (owner)
		fail(err, code,
		     "the table inet " TABLE_NAME
		     " of this network namespace is owned by another process (netlink port %u, "
		     "usually its process id): one nuncio serves a namespace, stop the other one first",
		     owner);
	else
		fail(err, code, "the kernel refused an update: %s",
		     report->n_refusals ? report->refusals[0].text : strerror(-code));
}

static int send_changes(struct ambassador *ambassador, struct round *round, struct error *err)
{
	/* What a dry run refers to is never there: it has to be one transaction. */
	size_t limit = ambassador->options.dry_run ? SIZE_MAX : CHANGES_PER_TRANSACTION;
	struct nft_report report;
	int code = 0;

	for (size_t from = 0, cut; code == 0 && from < round->changes.count; from = cut) {
		cut = find_cut(&round->changes, from, limit);
		code = send_transaction(ambassador, round, &round->changes.items[from], cut - from, &report);
	}
	if (code == 0 && !round->changes.count && nft_wants_ownership(ambassador->nft))
		code = send_transaction(ambassador, round, NULL, 0, &report);
	if (code < 0) {
		ambassador->resync = true;
		explain_failure(ambassador, code, &report, err);
	}
	return code;
}

/* Makes a member's next plan the one in force, or notes why it is not. */
static void settle_member(struct ambassador *ambassador, struct member *member)
{
	struct link *link = member->link;
	bool still_recovered = link->recovered && member->next.endpoints == link->plan.endpoints;

	link_mark_clean(link);
	if (member->refusal) {
		if (text_replace(&link->error, member->refusal))
			event_say(LOG_LEVEL_ERROR, CAUSE_KERNEL, ambassador->netns,
				  member->wanted ? member->next.name : link->plan.name, "%s", member->refusal);
		give_up_member(ambassador, member);
		ambassador_retry_later(ambassador);
		return;
	}
	text_replace(&link->error, NULL);
	if (member->wanted)
		link_starters_note(link, &member->next);
	if (link->installed) {
		if (!member->wanted)
			shards_of(ambassador, &link->plan.listen)->used[link->plan.shard]--;
		drop_affinity(ambassador, &link->plan);
		plan_clear(&link->plan);
	}
	link->installed = member->wanted;
	link->recovered = still_recovered;
	link->plan = member->next;
	member->next = (struct link_plan){0};
	link_endpoints_settled(link);
	link_load_follow(link);
	link_ejections_settled(link);
	if (!member->wanted)
		link_free(ambassador, link);
}

/* Of an adopted link nobody said that it is to be looked at. */
static unsigned int causes_of(const struct ambassador *ambassador, const struct link *link)
{
	unsigned int read = ambassador->announced_ready ? CAUSE_REPAIR : CAUSE_ADOPTION;

	return link->causes | (ambassador->just_read ? read : 0);
}

static void log_members(struct ambassador *ambassador, struct round *round)
{
	for (size_t i = 0; i < round->count; i++) {
		const struct member *member = &round->members[i];
		const struct service *service = member->link->subscription.service;
		struct changelog_entry entry = {
			.netns = ambassador->netns,
			.old = member->link->installed ? &member->link->plan : NULL,
			.new = member->wanted ? &member->next : NULL,
			.adopted = ambassador->just_read || member->link->recovered,
			.causes = causes_of(ambassador, member->link),
			.received = member->link->dirty ? member->link->dirty_since : 0,
			.revision = service ? service_revision(service) : "",
		};

		if (member->refusal)
			continue;
		if (service && service_received(service) != member->link->received) {
			entry.received = member->link->received = service_received(service);
			/* An answer may have been there long before the link. */
			if (entry.received < member->link->subscribed)
				entry.received = member->link->subscribed;
		}
		/* Of what came while nuncio was away, or before the link, it is not known since when. */
		if (entry.old && !ambassador->just_read && entry.received && round->sums.acknowledged > entry.received)
			histogram_observe(&ambassador->options.meter->programming,
					  (double)(round->sums.acknowledged - entry.received) / 1e9);
		changelog_link(&entry, &round->sums);
	}
}

/* Sends what was compiled, and makes it the state of things. */
int round_carry_out(struct ambassador *ambassador, struct round *round, struct error *err)
{
	int code;

	clients_end(ambassador, round);
	ruleset_diff(&round->have, &round->want, &round->changes);
	round->sums.changes += round->changes.count;
	if (ambassador->options.dry_run)
		changelog_print_changes(ambassador->netns, &round->changes);
	code = send_changes(ambassador, round, err);
	if (code < 0) {
		for (size_t i = 0; i < round->count; i++)
			give_up_member(ambassador, &round->members[i]);
		return code;
	}
	round->sums.acknowledged = uv_hrtime();
	if (!ambassador->options.dry_run) {
		clients_sweep(ambassador, round);
		flows_note_round(ambassador, round);
		log_members(ambassador, round);
	}
	for (size_t i = 0; i < round->count; i++)
		settle_member(ambassador, &round->members[i]);
	return 0;
}
