/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "health/ejection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/age.h"
#include "base/mem.h"

void ejections_clear(struct ejections *ejections)
{
	free(ejections->items);
	*ejections = (struct ejections){0};
}

static struct ejection *find(const struct ejections *ejections, const struct ip_port *at)
{
	for (size_t i = 0; i < ejections->count; i++) {
		if (ip_port_equal(&ejections->items[i].at, at))
			return &ejections->items[i];
	}
	return NULL;
}

const struct ejection *ejections_find(const struct ejections *ejections, const struct ip_port *at)
{
	return find(ejections, at);
}

static struct ejection *obtain(struct ejections *ejections, const struct ip_port *at)
{
	struct ejection *ejection = find(ejections, at);

	if (ejection)
		return ejection;
	ARRAY_GROW(ejections->items, ejections->count, ejections->capacity);
	ejection = &ejections->items[ejections->count++];
	*ejection = (struct ejection){.at = *at};
	return ejection;
}

const char *ejection_cause(const struct ejection *ejection, const struct link_eject *conf, char buffer[EJECTION_CAUSE])
{
	uint32_t failed = ejection->failed, refused = ejection->refused;
	const char *what = refused == failed ? "refused" : refused ? "refused or not answered" : "not answered";
	char time[AGE_TEXT];

	if (ejection->times > 1)
		snprintf(buffer, EJECTION_CAUSE, "a connection was %s soon after it was back", what);
	else
		snprintf(buffer, EJECTION_CAUSE, "%u connection%s %s within %s", failed, failed == 1 ? "" : "s", what,
			 age_text(conf->within_ms / 1000.0, time));
	return buffer;
}

uint32_t ejections_allowed(const struct link_eject *conf, uint32_t candidates)
{
	uint32_t allowed = (uint32_t)((uint64_t)candidates * conf->max_percent / 100);

	if (!conf->failures || !conf->max_percent || candidates < 2)
		return 0;
	if (!allowed)
		return 1;
	return allowed < candidates ? allowed : candidates - 1;
}

static uint32_t count_out(const struct ejections *ejections)
{
	uint32_t out = 0;

	for (size_t i = 0; i < ejections->count; i++)
		out += ejections->items[i].state == EJECTION_OUT;
	return out;
}

static void remember(struct ejection *ejection, enum failure failure, uint64_t now_ms)
{
	ejection->newest = (ejection->newest + 1) % EJECT_FAILURES_MAX;
	ejection->last[ejection->newest].at_ms = now_ms;
	ejection->last[ejection->newest].kind = failure;
	if (ejection->n_last < EJECT_FAILURES_MAX)
		ejection->n_last++;
}

/* Counts what failed within the time, at most so many, and says how many of them were refused. */
static uint32_t count_failed(const struct ejection *ejection, const struct link_eject *conf, uint64_t now_ms,
			     uint32_t *ret_refused)
{
	uint32_t failed = 0;

	*ret_refused = 0;
	while (failed < ejection->n_last && failed < conf->failures) {
		uint32_t at = (ejection->newest + EJECT_FAILURES_MAX - failed) % EJECT_FAILURES_MAX;

		if (now_ms - ejection->last[at].at_ms > conf->within_ms)
			break;
		*ret_refused += ejection->last[at].kind == FAILURE_REFUSED;
		failed++;
	}
	return failed;
}

/* Each ejection in a row is twice as long as the one before. */
static uint64_t ejected_for(const struct link_eject *conf, uint32_t times)
{
	uint64_t factor = 1;

	while (--times && factor < EJECTION_GROWTH_MAX)
		factor *= 2;
	return factor * conf->for_ms;
}

static void eject(struct ejection *ejection, const struct link_eject *conf, uint64_t now_ms)
{
	ejection->failed = count_failed(ejection, conf, now_ms, &ejection->refused);
	ejection->times = ejection->state == EJECTION_PROBATION ? ejection->times + 1 : 1;
	ejection->state = EJECTION_OUT;
	ejection->since_ms = now_ms;
	ejection->until_ms = now_ms + ejected_for(conf, ejection->times);
	ejection->n_last = 0;
	ejection->ejections++;
}

const struct ejection *ejections_note(struct ejections *ejections, const struct link_eject *conf,
				      const struct ip_port *at, enum failure failure, uint64_t count,
				      uint32_t candidates, uint64_t now_ms)
{
	struct ejection *ejection = obtain(ejections, at);
	bool probation = ejection->state == EJECTION_PROBATION;
	uint32_t refused;

	/* What was on its way when the endpoint was ejected says nothing new. */
	if (ejection->state == EJECTION_OUT)
		return NULL;
	for (uint64_t i = 0; i < count && i < EJECT_FAILURES_MAX; i++)
		remember(ejection, failure, now_ms);
	ejection->failures += count;
	if (!probation && count_failed(ejection, conf, now_ms, &refused) < conf->failures)
		return NULL;
	if (count_out(ejections) < ejections_allowed(conf, candidates)) {
		eject(ejection, conf, now_ms);
		return ejection;
	}
	/* It stays, since too many are out, but that is no good behaviour. */
	if (probation) {
		ejection->until_ms += now_ms - ejection->since_ms;
		ejection->since_ms = now_ms;
	}
	return NULL;
}

static void end_ejection(struct ejection *ejection)
{
	uint64_t length = ejection->until_ms - ejection->since_ms;

	ejection->state = EJECTION_PROBATION;
	ejection->since_ms = ejection->until_ms;
	ejection->until_ms += length;
}

static void end_probation(struct ejection *ejection)
{
	ejection->state = EJECTION_NONE;
	ejection->times = 0;
	ejection->n_last = 0;
}

uint64_t ejections_tend(struct ejections *ejections, uint64_t now_ms,
			void (*back)(void *context, const struct ejection *ejection), void *context)
{
	uint64_t next_ms = UINT64_MAX;

	for (size_t i = 0; i < ejections->count; i++) {
		struct ejection *ejection = &ejections->items[i];

		if (ejection->state == EJECTION_OUT && ejection->until_ms <= now_ms) {
			end_ejection(ejection);
			back(context, ejection);
		}
		if (ejection->state == EJECTION_PROBATION && ejection->until_ms <= now_ms)
			end_probation(ejection);
		if (ejection->state != EJECTION_NONE && ejection->until_ms < next_ms)
			next_ms = ejection->until_ms;
	}
	return next_ms;
}

void ejections_keep(struct ejections *ejections, const struct endpoints *endpoints)
{
	size_t kept = 0;

	for (size_t i = 0; i < ejections->count; i++) {
		if (endpoints_find_address(endpoints, &ejections->items[i].at))
			ejections->items[kept++] = ejections->items[i];
	}
	ejections->count = kept;
}

bool ejections_hold(const struct ejections *ejections, const struct link_eject *conf, const struct ip_port *at,
		    uint32_t candidates)
{
	const struct ejection *one = find(ejections, at);
	uint32_t allowed = ejections_allowed(conf, candidates), before = 0;

	if (!one || one->state != EJECTION_OUT)
		return false;
	for (size_t i = 0; i < ejections->count; i++) {
		const struct ejection *other = &ejections->items[i];

		if (other->state == EJECTION_OUT &&
		    (other->since_ms < one->since_ms || (other->since_ms == one->since_ms && other < one)))
			before++;
	}
	return before < allowed;
}
