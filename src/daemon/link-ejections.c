/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/link-ejections.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/age.h"
#include "base/event.h"
#include "base/mem.h"
#include "daemon/ambassador-state.h"
#include "daemon/changelog.h"
#include "kernel/failures.h"
#include "kernel/netns.h"
#include "kernel/nft.h"

/* Under a flood, reports are read so often: what does not fit into the socket's buffer meanwhile is lost, and counted.
 */
#define PAUSE_MS 50

/* Refusals are looked at again after so long, and for at most one part in so many of the time. */
#define LOOK_AGAIN_MS 1000
#define LOOK_SHARE 20

static bool ejects(const struct link *link)
{
	return !link->removed && link->conf->eject.failures && link->conf->listen.protocol == IPPROTO_TCP;
}

/* Opinions */

/* Those that could serve, if they are ejected, too. */
static uint32_t count_candidates(const struct link *link, const struct endpoints *weighed,
				 const struct appraisal *appraisals)
{
	enum standing *standing = xcalloc(weighed->count + 1, sizeof(*standing));
	uint32_t candidates = 0;

	plan_standing(weighed, appraisals, link->conf, standing);
	for (uint32_t i = 0; i < weighed->count; i++)
		candidates += standing[i] == STANDING_SERVING || standing[i] == STANDING_STANDBY ||
			      standing[i] == STANDING_EJECTED;
	free(standing);
	return candidates;
}

void link_ejections_appraise(const struct link *link, const struct endpoints *weighed, struct appraisal *appraisals)
{
	const struct ejections *known = &link->ejections.known;
	uint32_t candidates;

	if (!known->count || !ejects(link))
		return;
	candidates = count_candidates(link, weighed, appraisals);
	for (uint32_t i = 0; i < weighed->count; i++) {
		if (appraisals[i].verdict != VERDICT_DOWN &&
		    ejections_hold(known, &link->conf->eject, &weighed->items[i].at, candidates))
			appraisals[i].verdict = VERDICT_EJECTED;
	}
}

void link_ejections_settled(struct link *link)
{
	if (!ejects(link)) {
		link_ejections_clear(link);
		return;
	}
	ejections_keep(&link->ejections.known, link->plan.endpoints);
	link->ejections.candidates = count_candidates(link, link->plan.weighed, link->plan.appraisals);
}

void link_ejections_clear(struct link *link)
{
	ejections_clear(&link->ejections.known);
}

/* The log */

static const char *id_of(const struct link *link, const struct ejection *ejection)
{
	const struct endpoint *endpoint = endpoints_find_address(link->plan.endpoints, &ejection->at);

	return endpoint ? endpoint->id : "an endpoint";
}

static void log_ejection(const struct link *link, const struct ejection *ejection)
{
	struct ambassador *ambassador = link->ambassador;
	char cause[EJECTION_CAUSE], age[AGE_TEXT];

	event_say(changelog_level(&ambassador->failure_watch.lines, LOG_LEVEL_WARNING), CAUSE_EJECTION,
		  ambassador->netns, link->conf->name, "%s is ejected for %s: %s", id_of(link, ejection),
		  age_text((double)(ejection->until_ms - ejection->since_ms) / 1000, age),
		  ejection_cause(ejection, &link->conf->eject, cause));
}

static void on_back(void *context, const struct ejection *ejection)
{
	struct link *link = context;
	struct ambassador *ambassador = link->ambassador;
	char age[AGE_TEXT];

	link_mark_changed(link, CAUSE_EJECTION);
	event_say(changelog_level(&ambassador->failure_watch.lines, LOG_LEVEL_NOTICE), CAUSE_EJECTION,
		  ambassador->netns, link->conf->name,
		  "%s is back after %s, and out again if a connection fails within as long", id_of(link, ejection),
		  age_text((double)(ejection->until_ms - ejection->since_ms) / 1000, age));
}

/* What is over */

static void tend(struct ambassador *ambassador);

static void on_over(uv_timer_t *timer)
{
	tend(timer->data);
}

static void tend(struct ambassador *ambassador)
{
	uint64_t now = uv_now(ambassador->loop), next = UINT64_MAX;

	for (struct link *link = ambassador->links; link; link = link->hh.next) {
		uint64_t due = link->installed && !link->removed
				       ? ejections_tend(&link->ejections.known, now, on_back, link)
				       : UINT64_MAX;

		next = due < next ? due : next;
	}
	if (next != UINT64_MAX)
		uv_timer_start(ambassador->failure_watch.tend, on_over, next - now, 0);
}

/* What fails */

static void note(struct link *link, const struct ip_port *at, enum failure failure, uint64_t count)
{
	struct ambassador *ambassador = link->ambassador;
	const struct ejection *ejection;

	/* What was on its way when the endpoint left the rotation says nothing new. */
	if (!link->installed || !ejects(link) || !plan_serves(&link->plan, at))
		return;
	ejection = ejections_note(&link->ejections.known, &link->conf->eject, at, failure, count,
				  link->ejections.candidates, uv_now(ambassador->loop));
	if (!ejection)
		return;
	log_ejection(link, ejection);
	link_mark_changed(link, CAUSE_EJECTION);
	tend(ambassador);
}

static struct link *find_by_name(struct ambassador *ambassador, const char *name)
{
	for (struct link *link = ambassador->links; link; link = link->hh.next) {
		if (link->installed && strcmp(link->plan.name, name) == 0)
			return link;
	}
	return NULL;
}

static void note_unanswered(struct ambassador *ambassador, const struct failure_report *report)
{
	struct link *link = find_by_name(ambassador, report->link);
	struct ip_port at;

	if (link && nft_read_attempt(ambassador->nft, &report->client, report->sequence, &at) == 0)
		note(link, &at, FAILURE_UNANSWERED, 1);
}

/* What refusals were counted when they were looked at the last time. */
struct failed_counter {
	uint8_t key[ELEM_KEY_MAX];
	uint64_t count;
	uint32_t look; /* which look it was */
	UT_hash_handle hh;
};

static struct failed_counter *obtain_counter(struct failure_watch *watch, const struct listen *listen,
					     const struct ip_port *at)
{
	struct failed_counter *counter;
	uint8_t key[ELEM_KEY_MAX];

	key_put_endpoint(key, listen, at);
	HASH_FIND(hh, watch->counters, key, ELEM_KEY_MAX, counter);
	if (counter)
		return counter;
	counter = xcalloc(1, sizeof(*counter));
	memcpy(counter->key, key, ELEM_KEY_MAX);
	HASH_ADD(hh, watch->counters, key, ELEM_KEY_MAX, counter);
	return counter;
}

static void on_counter(void *context, const struct listen *listen, const struct ip_port *at, uint64_t count)
{
	struct ambassador *ambassador = context;
	struct failure_watch *watch = &ambassador->failure_watch;
	struct failed_counter *counter = obtain_counter(watch, listen, at);
	/* One that ended and was made anew has counted from nothing. */
	uint64_t more = count >= counter->count ? count - counter->count : count;
	struct link *link = watch->began ? link_find(ambassador, listen) : NULL;

	counter->count = count;
	counter->look = watch->looks;
	watch->changed |= more != 0;
	if (link && more)
		note(link, at, FAILURE_REFUSED, more);
}

static void drop_counters(struct failure_watch *watch, bool all)
{
	struct failed_counter *counter, *next;

	HASH_ITER (hh, watch->counters, counter, next) {
		if (!all && counter->look == watch->looks)
			continue;
		HASH_DEL(watch->counters, counter);
		free(counter);
	}
}

static void look_later(struct ambassador *ambassador, uint64_t ms);

/*
 * Counts what was refused since the last look. The kernel tells of refusals only so often, so that there is another
 * look some time after each that found any.
 */
static void look(struct ambassador *ambassador)
{
	static const struct set_id sets[] = {{SET_FAILED, AF_INET, 0}, {SET_FAILED, AF_INET6, 0}};
	struct failure_watch *watch = &ambassador->failure_watch;
	uint64_t began = uv_hrtime();

	watch->changed = false;
	watch->looks++;
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
		nft_read_counters(ambassador->nft, sets[i], on_counter, ambassador);
	drop_counters(watch, false);
	watch->began = true;
	watch->not_before = uv_now(ambassador->loop) + LOOK_SHARE * (uv_hrtime() - began) / 1000000;
	if (watch->changed)
		look_later(ambassador, LOOK_AGAIN_MS);
}

static void on_look(uv_timer_t *timer)
{
	struct ambassador *ambassador = timer->data;

	if (ambassador->failure_watch.failures)
		look(ambassador);
}

/* At most so much later. */
static void look_later(struct ambassador *ambassador, uint64_t ms)
{
	uv_timer_t *timer = ambassador->failure_watch.look;

	if (!uv_is_active((uv_handle_t *)timer) || uv_timer_get_due_in(timer) > ms)
		uv_timer_start(timer, on_look, ms, 0);
}

static void on_report(void *context, const struct failure_report *report)
{
	struct ambassador *ambassador = context;
	uint64_t now = uv_now(ambassador->loop), not_before = ambassador->failure_watch.not_before;

	if (report->link)
		note_unanswered(ambassador, report);
	else
		look_later(ambassador, not_before > now ? not_before - now : 0);
}

static void on_failures(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
	struct ambassador *ambassador = timer->data;

	if (ambassador->failure_watch.poll)
		uv_poll_start(ambassador->failure_watch.poll, UV_READABLE, on_failures);
}

static void on_failures(uv_poll_t *poll, int status, int events)
{
	struct ambassador *ambassador = poll->data;
	struct failure_watch *watch = &ambassador->failure_watch;

	(void)status;
	(void)events;
	if (!failures_read(watch->failures, on_report, ambassador))
		return;
	uv_poll_stop(poll);
	uv_timer_start(watch->pause, on_pause_over, PAUSE_MS, 0);
}

/* The socket */

static int open_failures(void *context)
{
	struct ambassador *ambassador = context;
	struct failure_watch *watch = &ambassador->failure_watch;
	struct error err;
	int code = failures_open(&watch->failures, &err);

	if (text_replace(&watch->error, code < 0 ? err.text : NULL) && code < 0)
		event_say(LOG_LEVEL_ERROR, CAUSE_KERNEL, ambassador->netns, NULL, "%s", err.text);
	return code;
}

static void on_poll_closed(uv_handle_t *handle)
{
	free(handle);
}

void ambassador_unwatch_failures(struct ambassador *ambassador)
{
	struct failure_watch *watch = &ambassador->failure_watch;

	watch->due = ambassador->ejects && !ambassador->options.once && !ambassador->options.dry_run;
	if (!watch->failures)
		return;
	uv_timer_stop(watch->pause);
	uv_timer_stop(watch->look);
	drop_counters(watch, true);
	watch->began = false;
	uv_close((uv_handle_t *)watch->poll, on_poll_closed);
	watch->poll = NULL;
	watch->lost += failures_lost(watch->failures);
	failures_close(watch->failures);
	watch->failures = NULL;
}

void ambassador_watch_failures(struct ambassador *ambassador)
{
	struct failure_watch *watch = &ambassador->failure_watch;
	struct error err;

	if (!watch->due)
		return;
	watch->due = false;
	if (netns_call(ambassador->netns_fd, open_failures, ambassador, &err) < 0) {
		ambassador_retry_later(ambassador);
		return;
	}
	watch->poll = xcalloc(1, sizeof(*watch->poll));
	watch->poll->data = ambassador;
	uv_poll_init(ambassador->loop, watch->poll, failures_fd(watch->failures));
	uv_poll_start(watch->poll, UV_READABLE, on_failures);
	look(ambassador); /* what was counted before is of another time */
}

void ambassador_eject_configured(struct ambassador *ambassador)
{
	bool before = ambassador->ejects;

	ambassador->ejects = false;
	for (const struct link *link = ambassador->links; link; link = link->hh.next)
		ambassador->ejects |= ejects(link);
	if (ambassador->ejects == before)
		return;
	/* What all links have in common changes, and is compiled only there. */
	ambassador->resync = true;
	ambassador_unwatch_failures(ambassador);
}

uint64_t ambassador_failures_lost(const struct ambassador *ambassador)
{
	const struct failure_watch *watch = &ambassador->failure_watch;

	return watch->lost + (watch->failures ? failures_lost(watch->failures) : 0);
}

const char *ambassador_failures_error(const struct ambassador *ambassador)
{
	return ambassador->failure_watch.error;
}
