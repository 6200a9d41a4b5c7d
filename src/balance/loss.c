/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "balance/loss.h"

#include <stdlib.h>

#include "balance/plan.h"
#include "base/mem.h"

bool loss_is_named(const struct endpoints *answer, const struct endpoint *endpoint)
{
	return endpoints_find_id(answer, endpoint->id) || endpoints_find_address(answer, &endpoint->at);
}

/* Of the endpoints that a link has and can use, so many are there, and so many does an answer name. */
struct tally {
	uint32_t there, named;
	uint32_t answered; /* and so many does the answer name that the link can use, old and new ones */
};

static struct tally count(const struct link_conf *conf, const struct endpoints *current, const struct endpoints *answer)
{
	uint32_t most = current->count > answer->count ? current->count : answer->count;
	enum standing *standing = xcalloc(most + 1, sizeof(*standing));
	struct tally tally = {0};

	plan_standing(current, NULL, conf, standing);
	for (uint32_t i = 0; i < current->count; i++) {
		if (standing[i] != STANDING_SERVING && standing[i] != STANDING_STANDBY)
			continue;
		tally.there++;
		tally.named += loss_is_named(answer, &current->items[i]);
	}
	plan_standing(answer, NULL, conf, standing);
	for (uint32_t i = 0; i < answer->count; i++)
		tally.answered += standing[i] != STANDING_WRONG_FAMILY && standing[i] != STANDING_OWN_ADDRESS;
	free(standing);
	return tally;
}

/* A new endpoint never has the id or the place of one that is kept: that one would be named. */
static const struct endpoints *keep_unnamed(struct loss *loss, const struct endpoints *current,
					    const struct endpoints *answer)
{
	struct endpoints_builder *builder = endpoints_builder_new();
	const struct endpoints *merged;
	const char *other;

	loss->held = 0;
	for (uint32_t i = 0; i < answer->count; i++)
		endpoints_builder_add(builder, &answer->items[i], &other);
	for (uint32_t i = 0; i < current->count; i++) {
		if (loss_is_named(answer, &current->items[i]))
			continue;
		endpoints_builder_add(builder, &current->items[i], &other);
		loss->held++;
	}
	merged = endpoints_builder_finish(builder);
	if (!endpoints_equal(merged, current))
		return merged;
	endpoints_unref(merged);
	return endpoints_ref(current);
}

/* Notes that endpoints went, and says whether it is a mass loss. */
static bool is_mass_loss(struct loss *loss, const struct link_conf *conf, const struct tally *tally, uint64_t now_ms)
{
	if (!loss->held && now_ms - loss->first_ms >= conf->loss_hold_ms)
		loss->first_ms = 0;
	if (!loss->first_ms) {
		loss->first_ms = now_ms;
		loss->before = 0;
	}
	if (!loss->held && loss->before < tally->there)
		loss->before = tally->there;
	loss->left = tally->answered;
	return (uint64_t)tally->answered * 100 < (uint64_t)loss->before * conf->min_healthy;
}

const struct endpoints *loss_apply(struct loss *loss, const struct link_conf *conf, const struct endpoints *current,
				   const struct endpoints *weighed, const struct endpoints *answer, uint64_t now_ms)
{
	struct tally tally = count(conf, weighed, answer);
	bool over = loss->held_since_ms && !loss_left_ms(loss, conf, now_ms);

	if (!over && conf->min_healthy && conf->loss_hold_ms && tally.named < tally.there &&
	    is_mass_loss(loss, conf, &tally, now_ms)) {
		if (!loss->held_since_ms)
			loss->held_since_ms = now_ms;
		return keep_unnamed(loss, current, answer);
	}
	loss->held = 0;
	if (!over)
		loss->held_since_ms = 0;
	if (tally.answered >= loss->before)
		loss->first_ms = 0;
	return endpoints_ref(answer);
}

void loss_settle(struct loss *loss)
{
	if (loss->held_since_ms && !loss->held)
		*loss = (struct loss){0};
}

uint64_t loss_left_ms(const struct loss *loss, const struct link_conf *conf, uint64_t now_ms)
{
	uint64_t passed = loss->held_since_ms ? now_ms - loss->held_since_ms : conf->loss_hold_ms;

	return passed < conf->loss_hold_ms ? conf->loss_hold_ms - passed : 0;
}
