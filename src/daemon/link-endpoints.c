/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>
#include <time.h>

#include "base/event.h"
#include "daemon/ambassador-state.h"
#include "daemon/changelog.h"
#include "daemon/overrides.h"

static uint64_t now_ms(void)
{
	return uv_hrtime() / 1000000;
}

/* A registry that lost its data is a line for each link, but not for thousands. */
#define say(link, level, cause, ...) \
	event_say(changelog_level(&(link)->ambassador->loss_lines, level), cause, (link)->ambassador->netns, \
		  (link)->conf->name, __VA_ARGS__)

/* An answer without endpoints, where the link is to keep the last known ones; also when they were drained by hand. */
static bool is_to_keep(struct link *link, const struct endpoints *answer)
{
	bool keep = answer && !answer->count && link->conf->on_empty == ON_EMPTY_KEEP && link->installed &&
		    (link->plan.slots.count || link->keeping);

	if (keep && !link->keeping)
		say(link, LOG_LEVEL_WARNING, CAUSE_REGISTRY,
		    "the registry names no endpoint any more; the last known ones stay (on_empty=keep)");
	if (link->keeping && answer && answer->count)
		say(link, LOG_LEVEL_NOTICE, CAUSE_REGISTRY, "the registry names endpoints again");
	return keep;
}

/*
 * Does what the link has come from the service that it leads to? After a restart only its name tells, which is the
 * service's where none was given.
 */
static bool has_service_before(const struct link *link)
{
	return link->installed && !link->redirected && strcmp(link->plan.name, link->conf->name) == 0;
}

static void tell_loss(const struct link *link, uint64_t left_ms)
{
	time_t until = time(NULL) + (time_t)((left_ms + 999) / 1000);
	char text[32] = "";
	struct tm tm;

	if (gmtime_r(&until, &tm))
		strftime(text, sizeof(text), "%H:%M:%SZ", &tm);
	say(link, LOG_LEVEL_WARNING, CAUSE_REGISTRY,
	    "the registry names %u endpoint%s where there were %u, less than min_healthy=%u percent;"
	    " the %u that it lost stay until %s (loss_hold)",
	    link->loss.left, link->loss.left == 1 ? "" : "s", link->loss.before, link->conf->min_healthy,
	    link->loss.held, text);
}

/* Says once that a loss is held, and once how that ended. */
static void note_loss(const struct link *link, uint32_t held_before, const struct endpoints *answer)
{
	const struct loss *loss = &link->loss;

	if (loss->held) {
		uint64_t left_ms = loss_left_ms(loss, link->conf, now_ms());

		if (!held_before)
			tell_loss(link, left_ms);
		ambassador_hold_for(link->ambassador, left_ms);
	} else if (held_before && loss->held_since_ms) {
		say(link, LOG_LEVEL_WARNING, CAUSE_TIME, "loss_hold is over; the %u endpoints that were held go",
		    held_before);
	} else if (held_before && !answer->count) {
		say(link, LOG_LEVEL_NOTICE, CAUSE_REGISTRY,
		    "the registry names no endpoint any more; the %u that were held go (on_empty)", held_before);
	} else if (held_before) {
		say(link, LOG_LEVEL_NOTICE, CAUSE_REGISTRY,
		    "the registry names enough endpoints again; none is held any more");
	}
}

/*
 * With a reference. Where all went while the registry was watched, somebody meant it, and on_empty says what to do. But
 * where they are not there after an outage or a restore, it may be the registry that lost them.
 */
static const struct endpoints *without_mass_loss(struct link *link, const struct endpoints *answer)
{
	bool applies = (answer->count || service_is_afresh(link->subscription.service)) &&
		       !link->ambassador->options.once && has_service_before(link);
	uint32_t held_before = link->loss.held;
	const struct endpoints *endpoints;

	if (applies) {
		endpoints =
			loss_apply(&link->loss, link->conf, link->plan.endpoints, link->plan.weighed, answer, now_ms());
	} else {
		endpoints = endpoints_ref(answer);
		link->loss = (struct loss){0};
	}
	note_loss(link, held_before, answer);
	return endpoints;
}

/*
 * Before the first answer. What the kernel holds is what came last; where it holds nothing, as after the machine was
 * started anew, what a former process knew. With a reference.
 */
static const struct endpoints *without_answer(const struct link *link)
{
	const struct endpoints *remembered = link_remembered(link);

	if (link->installed)
		return endpoints_ref(link->plan.endpoints);
	return remembered ? endpoints_ref(remembered) : endpoints_none();
}

const struct endpoints *link_endpoints(struct link *link)
{
	const struct endpoints *answer = link_answer(link);

	link->keeping = is_to_keep(link, answer);
	if (answer && !link->keeping)
		return without_mass_loss(link, answer);
	if (!answer)
		return without_answer(link);
	link->loss = (struct loss){0}; /* on_empty decides */
	return endpoints_ref(link->plan.endpoints);
}

/* What was read from the kernel has the weights by hand in it already, as far as it can have them. */
const struct endpoints *link_weighed(const struct link *link, const struct endpoints *endpoints)
{
	const struct ambassador *ambassador = link->ambassador;
	bool unchanged = link->installed && endpoints == link->plan.endpoints;
	const struct endpoints *weighed = overrides_apply(ambassador->options.overrides, ambassador->netns,
							  link->conf->name, endpoints, link->recovered && unchanged);

	if (!unchanged || !endpoints_equal(weighed, link->plan.weighed))
		return weighed;
	endpoints_unref(weighed);
	return endpoints_ref(link->plan.weighed); /* so that plan_next() sees that nothing has changed */
}

const struct endpoints *link_answer(const struct link *link)
{
	return link->subscription.service ? service_endpoints(link->subscription.service) : NULL;
}

const struct endpoints *link_remembered(const struct link *link)
{
	return link->subscription.service ? service_remembered(link->subscription.service) : NULL;
}

bool link_has_remembered(const struct link *link)
{
	const struct endpoints *remembered = link_remembered(link);

	return link->installed && remembered && link->plan.endpoints == remembered;
}

uint32_t link_held_seconds(const struct link *link)
{
	uint64_t left_ms = link->loss.held ? loss_left_ms(&link->loss, link->conf, now_ms()) : 0;

	return (uint32_t)((left_ms + 999) / 1000);
}

void link_endpoints_settled(struct link *link)
{
	if (link_answer(link))
		link->redirected = false;
	loss_settle(&link->loss);
}
