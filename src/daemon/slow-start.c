/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include "balance/slow-start.h"
#include "base/mem.h"
#include "daemon/ambassador-state.h"

static const struct starter *find(const struct link *link, const struct ip_port *at)
{
	for (size_t i = 0; i < link->starters.count; i++) {
		if (ip_port_equal(&link->starters.items[i].at, at))
			return &link->starters.items[i];
	}
	return NULL;
}

static uint64_t age_of(const struct link *link, const struct starter *starter)
{
	return uv_now(link->ambassador->loop) - starter->since_ms;
}

/* Of all that serve now, does one serve in the plan in force? Where all are new, none can start more slowly. */
static bool some_stay(const struct link *link, const struct endpoints *endpoints, const enum standing *standing)
{
	for (uint32_t i = 0; i < endpoints->count; i++) {
		if (standing[i] == STANDING_SERVING && plan_serves(&link->plan, &endpoints->items[i].at))
			return true;
	}
	return false;
}

/* One that serves only because nobody is well is not spared. */
static bool is_spared(const struct appraisal *appraisal)
{
	return appraisal->verdict != VERDICT_DOWN && appraisal->verdict != VERDICT_EJECTED;
}

static void appraise(const struct link *link, const struct endpoints *endpoints, const enum standing *standing,
		     struct appraisal *appraisals)
{
	for (uint32_t i = 0; i < endpoints->count; i++) {
		const struct ip_port *at = &endpoints->items[i].at;
		const struct starter *starter = find(link, at);

		if (standing[i] != STANDING_SERVING || !is_spared(&appraisals[i]))
			continue;
		if (starter)
			appraisals[i].share = slow_start_share(age_of(link, starter), link->conf->slow_start_ms);
		else if (!plan_serves(&link->plan, at))
			appraisals[i].share = slow_start_share(0, link->conf->slow_start_ms);
	}
}

void link_starters_appraise(const struct link *link, const struct endpoints *weighed, struct appraisal *appraisals)
{
	enum standing *standing;

	if (!link->conf->slow_start_ms || !link->installed || !link->plan.slots.count || link->ambassador->options.once)
		return;
	standing = xcalloc(weighed->count + 1, sizeof(*standing));
	plan_standing(weighed, appraisals, link->conf, standing);
	if (some_stay(link, weighed, standing))
		appraise(link, weighed, standing, appraisals);
	free(standing);
}

/* Steps */

static void on_step(uv_timer_t *timer)
{
	struct ambassador *ambassador = timer->data;

	for (struct link *link = ambassador->links; link; link = link->hh.next) {
		if (link->starters.count && !link->removed)
			link_mark_changed(link, CAUSE_SLOW_START);
	}
}

static void step_after(struct ambassador *ambassador, uint64_t ms)
{
	if (!uv_is_active((uv_handle_t *)ambassador->step) || uv_timer_get_due_in(ambassador->step) > ms)
		uv_timer_start(ambassador->step, on_step, ms, 0);
}

static void add(struct starters *starters, const struct ip_port *at, uint64_t since_ms)
{
	ARRAY_GROW(starters->items, starters->count, starters->capacity);
	starters->items[starters->count++] = (struct starter){*at, since_ms};
}

void link_starters_note(struct link *link, const struct link_plan *next)
{
	struct starters former = link->starters, starters = {0};
	uint64_t now = uv_now(link->ambassador->loop);

	for (uint32_t i = 0; next->appraisals && link->conf && link->installed && i < next->endpoints->count; i++) {
		const struct ip_port *at = &next->endpoints->items[i].at;
		const struct starter *starter = find(link, at);
		uint64_t left;

		if (!next->serving[i] || !link->conf->slow_start_ms || (!starter && plan_serves(&link->plan, at)) ||
		    (!starter && next->appraisals[i].share == SHARE_FULL))
			continue;
		left = slow_start_next_ms(starter ? age_of(link, starter) : 0, link->conf->slow_start_ms);
		if (!left)
			continue;
		add(&starters, at, starter ? starter->since_ms : now);
		step_after(link->ambassador, left);
	}
	link->starters = starters;
	free(former.items);
}

void link_starters_clear(struct link *link)
{
	free(link->starters.items);
	link->starters = (struct starters){0};
}

uint64_t link_starter_left_ms(const struct link *link, const struct ip_port *at)
{
	const struct starter *starter = find(link, at);
	uint64_t age = starter ? age_of(link, starter) : 0;

	return starter && age < link->conf->slow_start_ms ? link->conf->slow_start_ms - age : 0;
}
