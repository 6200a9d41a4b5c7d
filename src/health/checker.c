/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "health/checker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/age.h"
#include "base/hash.h"
#include "base/mem.h"
#include "discovery/random.h"
#include "health/judge.h"

/* Attempts under way, and how many of them may be with targets whose last one failed: each of those takes its timeout.
 */
#define RUNNING_MAX 512
#define RUNNING_FAILED_MAX 448

/* New targets begin within so many milliseconds times their number, or within their interval. */
#define SPREAD_MS 1

/* Intervals vary by so much of themselves, so that what began together does not stay together. */
#define JITTER_DIVISOR 10

enum target_state { TARGET_IDLE, TARGET_WAITING, TARGET_QUEUED, TARGET_RUNNING };

struct check_target {
	struct ip_port at;
	struct check_method *method;
	struct check_watcher *watchers;
	struct judge judge;
	bool failed; /* the last attempt; says how it is queued, and counted while it runs */
	bool unchecked, remembered;
	enum target_state state;
	uint32_t in_a_row, took_us;
	char *reason, *doubt;
	int64_t since, last_good, checked;
	uint64_t started; /* uv_hrtime() */
	struct probe *probe;
	uv_timer_t timer;
	struct check_target *prev, *next; /* in a queue */
	UT_hash_handle hh;
};

struct check_method {
	char *text, *probe_text; /* all of it; and what an attempt is, without how often */
	struct link_check conf;	 /* its strings are its own */
	struct checker *checker;
	struct check_target *targets; /* by address */
	uint32_t references;	      /* those that were taken, and one for each target */
	UT_hash_handle hh;
};

/* Due, but as many as may be are under way. In turn. */
struct queue {
	struct check_target *targets;
	uint32_t running, max;
};

struct checker {
	uv_loop_t *loop;
	const struct checker_events *events;
	void *context;
	struct prober *prober;
	struct check_method *methods; /* by text */
	struct queue queues[2];	      /* of those whose last attempt was good, and of those whose one failed */
	uint32_t targets;
	uint64_t changes;
	bool active;
};

/* Methods */

static const char *text_or_nothing(const char *text)
{
	return text ? text : "";
}

/* The words come in order, so that no two have the same ones. */
static char *print_probe(const struct probe_conf *probe)
{
	if (probe->kind != PROBE_HTTP)
		return xasprintf("tcp port %u", probe->port);
	return xasprintf("http%s:%s status %u-%u host \"%s\" body \"%s\"%s port %u", probe->tls ? "s" : "", probe->path,
			 probe->status_first, probe->status_last, text_or_nothing(probe->host),
			 text_or_nothing(probe->body), probe->tls && probe->tls_verify ? " verified" : "", probe->port);
}

static char *print_method(const struct link_check *conf, const char *probe)
{
	return xasprintf("%s every %u ms or %u ms, timeout %u ms, rise %u, fall %u", probe, conf->interval_ms,
			 conf->fast_interval_ms, conf->probe.timeout_ms, conf->rise, conf->fall);
}

static const char *copy_text(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

static struct check_method *new_method(struct checker *checker, const struct link_check *conf)
{
	struct check_method *method = xcalloc(1, sizeof(*method));

	method->checker = checker;
	method->conf = *conf;
	method->conf.probe.path = copy_text(conf->probe.path);
	method->conf.probe.host = copy_text(conf->probe.host);
	method->conf.probe.body = copy_text(conf->probe.body);
	if (!method->conf.fast_interval_ms)
		method->conf.fast_interval_ms = conf->interval_ms / CHECK_FAST_DIVISOR;
	return method;
}

struct check_method *check_method_take(struct checker *checker, const struct link_check *conf)
{
	char *probe = print_probe(&conf->probe), *text = print_method(conf, probe);
	struct check_method *method;

	HASH_FIND(hh, checker->methods, text, strlen(text), method);
	if (method) {
		free(text);
		free(probe);
	} else {
		method = new_method(checker, conf);
		method->text = text;
		method->probe_text = probe;
		HASH_ADD_KEYPTR(hh, checker->methods, method->text, strlen(method->text), method);
	}
	method->references++;
	return method;
}

void check_method_drop(struct check_method *method)
{
	if (!method || --method->references)
		return;
	HASH_DEL(method->checker->methods, method); // NOLINT(clang-analyzer-core.NullDereference): it is in the hash
	free((char *)(uintptr_t)method->conf.probe.path);
	free((char *)(uintptr_t)method->conf.probe.host);
	free((char *)(uintptr_t)method->conf.probe.body);
	free(method->text);
	free(method->probe_text);
	free(method);
}

/* Time */

static void on_due(uv_timer_t *timer);

static void wait_for(struct check_target *target, uint64_t ms)
{
	target->state = TARGET_WAITING;
	uv_timer_start(&target->timer, on_due, ms, 0);
}

/* One that begins: soon, but not with all the others that do. */
static void schedule_first(struct check_target *target)
{
	const struct checker *checker = target->method->checker;
	uint64_t spread = (uint64_t)checker->targets * SPREAD_MS;

	if (spread > target->method->conf.interval_ms)
		spread = target->method->conf.interval_ms;
	uv_update_time(checker->loop);
	wait_for(target, spread ? random_number() % spread : 0);
}

/* Counted from when the last one began, as far as that is still to come. */
static void schedule_next(struct check_target *target)
{
	const struct link_check *conf = &target->method->conf;
	uint64_t interval = judge_doubts(&target->judge) ? conf->fast_interval_ms : conf->interval_ms;
	uint64_t passed = (uv_hrtime() - target->started) / 1000000, jitter = interval / JITTER_DIVISOR;

	interval = interval - jitter + (jitter ? random_number() % (2 * jitter) : 0);
	uv_update_time(target->method->checker->loop);
	wait_for(target, passed < interval ? interval - passed : 0);
}

/* Verdicts */

static void tell(struct check_target *target, enum verdict before, int64_t before_since)
{
	struct checker *checker = target->method->checker;
	struct check_watcher *watcher;

	checker->changes++;
	DL_FOREACH(target->watchers, watcher)
	checker->events->changed(checker->context, watcher, before, before_since);
}

static void note_unchecked(struct check_target *target, const char *reason)
{
	enum verdict before = target->judge.verdict;
	int64_t before_since = target->since;

	target->unchecked = true;
	target->failed = target->remembered = false;
	target->in_a_row = 0;
	text_replace(&target->reason, reason);
	text_replace(&target->doubt, NULL);
	target->judge = (struct judge){.verdict = VERDICT_UNKNOWN};
	if (before == VERDICT_UNKNOWN)
		return;
	target->since = age_now_ms();
	tell(target, before, before_since);
}

/* An attempt that speaks for the verdict, which it may have made. */
static void note_agreement(struct check_target *target, const char *reason)
{
	text_replace(&target->reason, reason);
	text_replace(&target->doubt, NULL);
	target->in_a_row++;
}

static void note_outcome(struct check_target *target, bool good, const char *reason)
{
	const struct link_check *conf = &target->method->conf;
	enum verdict before = target->judge.verdict;
	int64_t before_since = target->since;
	uint32_t against = target->judge.against;

	target->unchecked = target->remembered = false;
	target->failed = !good;
	target->checked = age_now_ms();
	if (good)
		target->last_good = target->checked;
	if (judge_note(&target->judge, good, conf->rise, conf->fall)) {
		target->in_a_row = against;
		target->since = target->checked;
		note_agreement(target, reason);
		tell(target, before, before_since);
	} else if (target->judge.against) {
		text_replace(&target->doubt, reason);
	} else {
		note_agreement(target, reason);
	}
}

/* Attempts */

static void run_queued(struct checker *checker);

static void end_attempt(struct check_target *target)
{
	target->method->checker->queues[target->failed].running--;
	target->probe = NULL;
	target->took_us = (uint32_t)((uv_hrtime() - target->started) / 1000);
}

static void on_probed(void *context, enum probe_outcome outcome, const char *reason)
{
	struct check_target *target = context;

	end_attempt(target);
	if (outcome != PROBE_NOT_MADE)
		note_outcome(target, outcome == PROBE_GOOD, reason);
	else if (target->judge.verdict == VERDICT_UNKNOWN)
		text_replace(&target->reason, reason);
	schedule_next(target);
	run_queued(target->method->checker);
}

static void run(struct check_target *target)
{
	struct checker *checker = target->method->checker;

	target->started = uv_hrtime();
	target->state = TARGET_RUNNING;
	checker->queues[target->failed].running++;
	target->probe = probe_start(checker->prober, &target->method->conf.probe, &target->at, on_probed, target);
}

static bool has_room(const struct checker *checker, bool failed)
{
	return checker->queues[0].running + checker->queues[1].running < RUNNING_MAX &&
	       checker->queues[failed].running < checker->queues[failed].max;
}

static void run_queued(struct checker *checker)
{
	for (size_t i = 0; i < ARRAY_SIZE(checker->queues); i++) {
		struct queue *queue = &checker->queues[i];

		while (queue->targets && has_room(checker, i)) {
			struct check_target *target = queue->targets;

			DL_DELETE(queue->targets, target);
			run(target);
		}
	}
}

static void on_due(uv_timer_t *timer)
{
	struct check_target *target = timer->data;
	struct checker *checker = target->method->checker;
	const char *refusal = checker->events->refuse(checker->context, &target->at);

	if (refusal) {
		target->started = uv_hrtime();
		note_unchecked(target, refusal);
		schedule_next(target);
		return;
	}
	if (!checker->queues[target->failed].targets && has_room(checker, target->failed)) {
		run(target);
		return;
	}
	target->state = TARGET_QUEUED;
	DL_APPEND(checker->queues[target->failed].targets, target);
}

static void stop(struct check_target *target)
{
	struct checker *checker = target->method->checker;

	if (target->state == TARGET_QUEUED)
		DL_DELETE(checker->queues[target->failed].targets, target);
	if (target->state == TARGET_RUNNING) {
		probe_cancel(target->probe);
		end_attempt(target);
	}
	uv_timer_stop(&target->timer);
	target->state = TARGET_IDLE;
}

/* Targets */

/* The same attempts at another pace: what they said so far holds. */
static const struct check_target *find_similar(const struct check_target *target)
{
	const struct check_method *methods = target->method->checker->methods;
	struct check_target *similar = NULL;

	for (const struct check_method *method = methods; method && !similar; method = method->hh.next) {
		if (method != target->method && strcmp(method->probe_text, target->method->probe_text) == 0)
			HASH_FIND(hh, method->targets, &target->at, sizeof(target->at), similar);
	}
	return similar;
}

static void remember(struct check_target *target)
{
	struct checker *checker = target->method->checker;
	const struct check_target *similar = find_similar(target);
	struct check_report report = {0};

	if (similar)
		report = check_report(similar);
	else if (!checker->events->remembered(checker->context, &target->at, target->method->probe_text, &report))
		return;
	target->remembered = !similar || similar->remembered;
	target->failed = report.verdict == VERDICT_DOWN;
	target->judge.verdict = report.verdict;
	target->since = report.since;
	target->last_good = report.last_good;
	text_replace(&target->reason, report.reason);
}

static struct check_target *new_target(struct check_method *method, const struct ip_port *at)
{
	struct checker *checker = method->checker;
	struct check_target *target = xcalloc(1, sizeof(*target));

	target->at = *at;
	target->method = method;
	target->judge.verdict = VERDICT_UNKNOWN;
	target->since = age_now_ms();
	text_replace(&target->reason, "not checked yet");
	method->references++;
	checker->targets++;
	HASH_ADD(hh, method->targets, at, sizeof(target->at), target);
	remember(target);
	uv_timer_init(checker->loop, &target->timer);
	target->timer.data = target;
	if (checker->active)
		schedule_first(target);
	return target;
}

static void on_target_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void free_target(struct check_target *target)
{
	struct check_method *method = target->method;

	stop(target);
	HASH_DEL(method->targets, target); // NOLINT(clang-analyzer-core.NullDereference): it is in the hash
	method->checker->targets--;
	run_queued(method->checker);
	free(target->reason);
	free(target->doubt);
	uv_close((uv_handle_t *)&target->timer, on_target_closed);
	check_method_drop(method);
}

void checker_watch(struct check_method *method, const struct ip_port *endpoint, struct check_watcher *watcher)
{
	struct check_target *target;
	struct ip_port at = {0}; /* without what padding may have in it: it is a key */

	at.addr.family = endpoint->addr.family;
	memcpy(at.addr.bytes, endpoint->addr.bytes, sizeof(at.addr.bytes));
	at.port = method->conf.probe.port ? method->conf.probe.port : endpoint->port;
	HASH_FIND(hh, method->targets, &at, sizeof(at), target);
	if (!target)
		target = new_target(method, &at);
	watcher->target = target;
	DL_APPEND(target->watchers, watcher);
}

void checker_unwatch(struct check_watcher *watcher)
{
	struct check_target *target = watcher->target;

	if (!target)
		return;
	watcher->target = NULL;
	DL_DELETE(target->watchers, watcher);
	if (!target->watchers)
		free_target(target);
}

struct check_report check_report(const struct check_target *target)
{
	const struct link_check *conf = &target->method->conf;

	return (struct check_report){
		.verdict = target->judge.verdict,
		.unchecked = target->unchecked,
		.remembered = target->remembered,
		.reason = target->reason,
		.in_a_row = target->in_a_row,
		.doubt = target->doubt,
		.against = target->judge.against,
		.needed = target->judge.verdict == VERDICT_DOWN ? conf->rise : conf->fall,
		.since = target->since,
		.last_good = target->last_good,
		.checked = target->checked,
		.took_us = target->took_us,
	};
}

/* All of them */

static void for_all(const struct checker *checker, void (*each)(struct check_target *target))
{
	for (const struct check_method *method = checker->methods; method; method = method->hh.next) {
		for (struct check_target *target = method->targets; target; target = target->hh.next)
			each(target);
	}
}

struct checker *checker_open(uv_loop_t *loop, const struct checker_events *events, void *context)
{
	struct checker *checker = xcalloc(1, sizeof(*checker));

	*checker = (struct checker){.loop = loop, .events = events, .context = context};
	checker->prober = prober_open(loop, events->make_socket, context);
	checker->queues[false].max = RUNNING_MAX;
	checker->queues[true].max = RUNNING_FAILED_MAX;
	return checker;
}

void checker_close(struct checker *checker)
{
	if (!checker)
		return;
	prober_close(checker->prober);
	free(checker);
}

void checker_pause(struct checker *checker)
{
	checker->active = false;
	for_all(checker, stop);
}

void checker_resume(struct checker *checker)
{
	if (checker->active)
		return;
	checker->active = true;
	for_all(checker, schedule_first);
}

void checker_each(const struct checker *checker,
		  void (*each)(void *context, const struct ip_port *at, const char *probe,
			       const struct check_report *report),
		  void *context)
{
	for (const struct check_method *method = checker->methods; method; method = method->hh.next) {
		for (const struct check_target *target = method->targets; target; target = target->hh.next) {
			struct check_report report = check_report(target);

			each(context, &target->at, method->probe_text, &report);
		}
	}
}

uint64_t checker_changes(const struct checker *checker)
{
	return checker->changes;
}
