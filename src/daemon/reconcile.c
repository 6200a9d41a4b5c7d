/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/event.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/ambassador-state.h"
#include "daemon/changelog.h"
#include "daemon/clients.h"
#include "daemon/footprint.h"
#include "daemon/round.h"
#include "kernel/nft.h"
#include "ruleset/recover.h"

/* Links that are compiled together; bounds the memory of a cold start. */
#define LINKS_PER_ROUND 2048

/* How often the kernel's table is read anew when an update finds it otherwise than expected. */
#define RESYNC_TRIES 5

/* Footprint */

static int plan_footprint(struct ambassador *ambassador, struct footprint *ret, struct error *err)
{
	struct listen *listens = xcalloc(HASH_COUNT(ambassador->links) + 1, sizeof(*listens));
	size_t count = 0;
	int code;

	for (const struct link *link = ambassador->links; link; link = link->hh.next) {
		if (!link->removed)
			listens[count++] = link->conf->listen;
	}
	code = footprint_next(ambassador->net, &ambassador->footprint, listens, count, ret, err);
	free(listens);
	return code;
}

/* An address that cannot be had, say, is that link's trouble: it is said once, tried again, and holds nothing up. */
static void note_footprint(struct ambassador *ambassador, int code, const struct error *err)
{
	const char *text = code < 0 ? err->text : NULL;

	if (text_replace(&ambassador->footprint_error, text) && text)
		event_say(LOG_LEVEL_ERROR, CAUSE_KERNEL, ambassador->netns, NULL, "%s", text);
	if (text)
		ambassador_retry_later(ambassador);
}

/*
 * What comes to an end is undone before its record goes; what begins is recorded before it is done. So a crash at
 * any point leaves a record of everything that there is to undo.
 */
static int carry_out_footprint(struct ambassador *ambassador, struct round *round, struct error *err)
{
	bool apply = !ambassador->options.dry_run;
	struct error reason;
	int code;

	if (apply && footprint_retire(ambassador->net, &ambassador->footprint, &round->footprint, &reason) < 0)
		log_warning("%s; it is left as it is", reason.text);
	code = round_carry_out(ambassador, round, err);
	if (code < 0)
		return code;
	if (apply)
		note_footprint(ambassador, footprint_establish(ambassador->net, &round->footprint, &reason), &reason);
	footprint_clear(&ambassador->footprint);
	ambassador->footprint = round->footprint;
	ambassador->footprint_known = true;
	round->footprint = (struct footprint){0};
	ambassador->footprint_dirty = false;
	return 0;
}

static int reconcile_footprint(struct ambassador *ambassador, struct changelog_sums *sums, struct error *err)
{
	struct round round = {0};
	int code = plan_footprint(ambassador, &round.footprint, err);

	round.have.table = round.want.table = true;
	compile_namespace(&ambassador->footprint, &round.have);
	compile_namespace(&round.footprint, &round.want);
	if (code == 0)
		code = carry_out_footprint(ambassador, &round, err);
	changelog_add_sums(sums, &round.sums);
	round_clear(&round);
	return code;
}

/* Starting from what the kernel holds */

static void adopt_link(struct ambassador *ambassador, struct recovery *recovery, struct link *link)
{
	if (link->installed)
		plan_clear(&link->plan);
	link->installed = link->recovered = recovery_plan(recovery, link->conf, &link->plan);
	if (link->installed && link->plan.slots.count)
		shard_take(shards_of(ambassador, &link->plan.listen), link->plan.shard);
	if (link->installed && link->plan.affinity_s)
		shard_take(affinities_of(ambassador, &link->plan.listen), link->plan.affinity_map);
}

static uint16_t find_place(const struct shards *shards, uint16_t first)
{
	for (uint32_t i = first; first != SHARD_UNKNOWN && i < first + SHARDS_PER_COUNTERS; i++) {
		if (i >= shards->count || shards->used[i] < LINKS_PER_SHARD)
			return (uint16_t)i;
	}
	return shard_find(shards, LINKS_PER_SHARD);
}

/* Links without slots take what room the others leave; where there is some, they count where they did. */
static void place_empty_links(struct ambassador *ambassador)
{
	for (struct link *link = ambassador->links; link; link = link->hh.next) {
		struct shards *shards;

		if (!link->installed || link->plan.slots.count)
			continue;
		shards = shards_of(ambassador, &link->plan.listen);
		link->plan.shard = find_place(shards, link->plan.shard);
		shard_take(shards, link->plan.shard);
	}
}

static void adopt(struct ambassador *ambassador, const struct ruleset *kernel)
{
	struct recovery *recovery = recovery_new(kernel);

	ambassador->shards[0].count = ambassador->shards[1].count = 0;
	ambassador->affinities[0].count = ambassador->affinities[1].count = 0;
	for (struct link *link = ambassador->links, *next; link; link = next) {
		next = link->hh.next;
		if (link->removed)
			link_free(ambassador, link); /* the comparison with the kernel finds what it left */
		else
			adopt_link(ambassador, recovery, link);
	}
	place_empty_links(ambassador);
	if (!ambassador->footprint_known) {
		footprint_clear(&ambassador->footprint);
		ambassador->footprint = recovery_footprint(kernel);
	}
	recovery_free(recovery);
}

static bool are_counters_used(const struct shards *shards, uint16_t number)
{
	for (size_t i = 0; i < shards->count; i++) {
		if (counters_of((uint16_t)i) == number && shards->used[i])
			return true;
	}
	return false;
}

static void compile_shards(const struct shards *shards, uint8_t family, struct ruleset *out)
{
	for (size_t i = 0; i < shards->count; i++) {
		if (shards->used[i])
			compile_shard(family, (uint16_t)i, out);
		if (i % SHARDS_PER_COUNTERS == 0 && are_counters_used(shards, counters_of((uint16_t)i)))
			compile_counters(family, counters_of((uint16_t)i), out);
	}
}

static void compile_everything(struct ambassador *ambassador, struct round *round)
{
	compile_base(ambassador->ejects, &round->want);
	compile_namespace(&round->footprint, &round->want);
	compile_shards(&ambassador->shards[0], AF_INET, &round->want);
	compile_shards(&ambassador->shards[1], AF_INET6, &round->want);
	for (size_t i = 0; i < round->count; i++) {
		if (round->members[i].wanted)
			compile_link(&round->members[i].next, GROUP_BASE + 1 + (uint32_t)i, &round->want);
	}
}

/* Reads the table, takes over what is there, and sends the difference to what should be. */
static int resynchronise(struct ambassador *ambassador, struct changelog_sums *sums, struct error *err)
{
	struct round round = {0};
	int code = nft_read(ambassador->nft, &round.have, err);

	ambassador->options.meter->resyncs++;
	if (code < 0)
		return code;
	adopt(ambassador, &round.have);
	ambassador->just_read = true;
	sums->adopted = round.have.table;
	/* A cold start goes on in rounds, which bound its memory; all else is one comparison. */
	if (round.have.table || ambassador->options.dry_run) {
		for (struct link *link = ambassador->links; link; link = link->hh.next)
			round_add(&round, link);
	} else {
		link_mark_all_dirty(ambassador);
	}
	code = plan_footprint(ambassador, &round.footprint, err);
	compile_everything(ambassador, &round);
	clients_keep(&round);
	if (code == 0)
		code = carry_out_footprint(ambassador, &round, err);
	if (code == 0) {
		ambassador->resync = false;
		flows_note_everything(ambassador);
	}
	changelog_add_sums(sums, &round.sums);
	round_clear(&round);
	return code;
}

/* A round that is carried out leaves none of its links dirty. */
static int reconcile_links(struct ambassador *ambassador, struct changelog_sums *sums, struct error *err)
{
	int code = 0;

	while (code == 0 && ambassador->dirty) {
		struct link *link = ambassador->dirty;
		struct round round = {0};

		for (; link && round.count < LINKS_PER_ROUND; link = link->dirty_next)
			round_add(&round, link);
		round_compile(ambassador, &round);
		code = round_carry_out(ambassador, &round, err);
		changelog_add_sums(sums, &round.sums);
		round_clear(&round);
	}
	return code;
}

/* All of it */

/* The same trouble is logged once, however often it is tried again. */
static void note_error(struct ambassador *ambassador, const char *text)
{
	if (text_replace(&ambassador->error, text))
		event_say(LOG_LEVEL_ERROR, CAUSE_KERNEL, ambassador->netns, NULL, "%s", text);
	ambassador->backing_off = true;
	ambassador_retry_later(ambassador);
}

static void note_success(struct ambassador *ambassador)
{
	text_replace(&ambassador->error, NULL);
	if (!uv_is_active((uv_handle_t *)ambassador->retry)) /* else some link was refused */
		ambassador->retry_ms = 0;
}

static bool has_work(const struct ambassador *ambassador)
{
	return ambassador->resync || ambassador->dirty || ambassador->footprint_dirty || ambassador->failure_watch.due;
}

static int bring_up_to_date(struct ambassador *ambassador, struct changelog_sums *sums, struct error *err)
{
	int code = 0;

	if (ambassador->resync)
		code = resynchronise(ambassador, sums, err);
	if (code == 0)
		code = reconcile_links(ambassador, sums, err);
	if (code == 0 && ambassador->footprint_dirty)
		code = reconcile_footprint(ambassador, sums, err);
	return code;
}

int ambassador_replan(struct ambassador *ambassador, const struct listen *listen, struct error *err)
{
	struct link *link = link_find(ambassador, listen);
	const char *error;

	link_mark_changed(link, CAUSE_OPERATOR);
	ambassador_reconcile(ambassador);
	error = ambassador->error ? ambassador->error : link->error;
	return error ? fail(err, -EIO, "%s", error) : 0;
}

void ambassador_reconcile(struct ambassador *ambassador)
{
	struct changelog_sums sums = {.started = uv_hrtime()};
	struct error err;
	int code;

	if (!has_work(ambassador) || ambassador->backing_off || ambassador->gone)
		return;
	ambassador->just_read = false;
	code = ambassador_open(ambassador, &err);
	if (ambassador->gone) {
		log_debug("%s: %s", ambassador->netns, err.text);
		return;
	}
	if (code == 0)
		code = bring_up_to_date(ambassador, &sums, &err);
	for (int try = 1; ambassador->nft && round_is_out_of_sync(code) && try < RESYNC_TRIES; try++)
		code = bring_up_to_date(ambassador, &sums, &err);
	changelog_end_lines(&ambassador->loss_lines, ambassador->netns,
			    "lines on links that lose endpoints, keep them or have them again");
	if (code < 0) {
		note_error(ambassador, err.text);
		return;
	}
	note_success(ambassador);
	ambassador_watch_failures(ambassador);
	ambassador_watch_table(ambassador);
	if (!ambassador->announced_ready && !ambassador->options.dry_run) {
		struct ambassador_totals totals = ambassador_count(ambassador);

		changelog_ready(ambassador->netns, totals.links, totals.endpoints, &sums);
		ambassador->announced_ready = true;
	}
}
