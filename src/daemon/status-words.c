/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/status-words.h"

#include <stdio.h>
#include <time.h>

#include "base/age.h"
#include "daemon/overrides.h"

const char *status_endpoint_state(enum standing standing)
{
	switch (standing) {
	case STANDING_SERVING:
	case STANDING_STANDBY:
		return "up";
	case STANDING_DRAINING:
		return "draining";
	case STANDING_EJECTED:
		return "ejected";
	case STANDING_DOWN:
	case STANDING_WRONG_FAMILY:
	case STANDING_OWN_ADDRESS:
		return "down";
	}
	return "down";
}

/* The priority that serves. */
static unsigned int best_priority(const struct link_status *status)
{
	for (uint32_t i = 0; i < status->endpoints->count; i++) {
		if (status->details[i].standing == STANDING_SERVING)
			return status->endpoints->items[i].priority;
	}
	return 0;
}

static void put_failing_checks(FILE *out, const struct check_report *check)
{
	char age[AGE_TEXT];

	fprintf(out, "its checks fail: %s, since %s", check->reason, age_text(age_since(check->since), age));
	if (check->remembered)
		fprintf(out, "; not checked since nuncio started");
	else if (check->in_a_row)
		fprintf(out, " (%u in a row)", check->in_a_row);
	if (check->last_good)
		fprintf(out, "; last good %s ago", age_text(age_since(check->last_good), age));
	else
		fprintf(out, "; never good");
	if (check->doubt)
		fprintf(out, "; good again: %s (%u of %u)", check->doubt, check->against, check->needed);
}

/* Why it gets another part of the connections than its weight says. */
static void put_share(FILE *out, const struct link_status *status, const struct endpoint_detail *detail)
{
	unsigned int percent = (detail->share * 100u + SHARE_FULL / 2) / SHARE_FULL;

	if (detail->slow_start_left_ms)
		fprintf(out, "; slow start: %u %% of its weight, all of it in %llu s", percent,
			(unsigned long long)(detail->slow_start_left_ms + 999) / 1000);
	if (status->conf->balance == BALANCE_LEASTCONN && detail->slots)
		fprintf(out, "; leastconn: %u of %u slots, %llu live", detail->slots, status->slots,
			(unsigned long long)detail->live);
}

/* One that serves, with what its checks have to say against that. */
static void put_serving(FILE *out, const struct link_status *status, const struct endpoint_detail *detail)
{
	const struct check_report *check = &detail->check;

	fputs("serving", out);
	if (detail->checked && check->verdict == VERDICT_DOWN) {
		fputs(", for no endpoint is well; ", out);
		put_failing_checks(out, check);
	} else if (detail->checked && check->doubt) {
		fprintf(out, "; its last check failed: %s (%u of %u)", check->doubt, check->against, check->needed);
	} else if (detail->checked && check->verdict == VERDICT_UNKNOWN) {
		fprintf(out, "; %s", check->reason);
	}
	put_share(out, status, detail);
}

/* "1st", "2nd", "3rd", "11th" */
static const char *ordinal_suffix(uint32_t number)
{
	uint32_t last = number % 10;

	if (number % 100 >= 11 && number % 100 <= 13)
		return "th";
	return last == 1 ? "st" : last == 2 ? "nd" : last == 3 ? "rd" : "th";
}

static void put_until(FILE *out, double seconds_left)
{
	time_t until = time(NULL) + (time_t)(seconds_left + 0.5);
	char text[32];
	struct tm tm;

	strftime(text, sizeof(text), "%H:%M:%SZ", gmtime_r(&until, &tm));
	fprintf(out, " until %s", text);
}

static void put_ejected(FILE *out, const struct link_status *status, const struct endpoint_detail *detail)
{
	const struct ejection *ejection = detail->ejection;
	char cause[EJECTION_CAUSE], age[AGE_TEXT];

	if (!ejection)
		return;
	fprintf(out, "%s; ejected", ejection_cause(ejection, &status->conf->eject, cause));
	put_until(out, detail->ejection_left);
	fprintf(out, " (for %s", age_text((double)(ejection->until_ms - ejection->since_ms) / 1000, age));
	if (ejection->times > 1)
		fprintf(out, ", the %u%s time", ejection->times, ordinal_suffix(ejection->times));
	fputc(')', out);
}

/* Of one that serves. */
static void put_probation(FILE *out, const struct endpoint_detail *detail)
{
	if (!detail->ejection || detail->ejection->state == EJECTION_NONE)
		return;
	fputs(detail->ejection->state == EJECTION_OUT ? ", for too few others could; ejected" : "; on probation", out);
	put_until(out, detail->ejection_left);
}

static void put_down(FILE *out, const struct endpoint_detail *detail)
{
	if (detail->check.verdict == VERDICT_DOWN)
		put_failing_checks(out, &detail->check);
	else
		fputs("it waits for a check that is good (initial=wait)", out);
}

static void put_standing(FILE *out, const struct link_status *status, uint32_t index)
{
	const struct override *override = status->details[index].override;

	switch (status->details[index].standing) {
	case STANDING_SERVING:
		put_serving(out, status, &status->details[index]);
		put_probation(out, &status->details[index]);
		return;
	case STANDING_STANDBY:
		fprintf(out, "standby: endpoints of priority %u serve", best_priority(status));
		return;
	case STANDING_DRAINING:
		if (override && !override->weight)
			fputs("drained by hand", out);
		else if (status->recovered)
			fputs("it had no share when nuncio started, and the registry has not named it since", out);
		else
			fputs("its weight is 0", out);
		return;
	case STANDING_DOWN:
		put_down(out, &status->details[index]);
		return;
	case STANDING_EJECTED:
		put_ejected(out, status, &status->details[index]);
		return;
	case STANDING_WRONG_FAMILY:
		fputs("not of the listen address's family: NAT cannot cross from IPv4 to IPv6 or back", out);
		return;
	case STANDING_OWN_ADDRESS:
		fputs("it is the link's own listen address", out);
		return;
	}
}

/* A weight by hand, where it is not said yet: in the place of "serving", or behind what there is else to say. */
static void put_override(FILE *out, const struct link_status *status, uint32_t index, bool is_alone)
{
	const struct override *override = status->details[index].override;

	if (!is_alone)
		fputs("; ", out);
	if (!override->weight)
		fputs("drained by hand", out);
	else if (status->recovered)
		fprintf(out, "weight %u by hand, as soon as the registry names it", override->weight);
	else
		fprintf(out, "weight %u by hand (registry: %u)", override->weight,
			status->endpoints->items[index].weight);
}

static bool is_held(const struct link_status *status, const struct endpoint *endpoint)
{
	return status->loss->held && status->answer && !loss_is_named(status->answer, endpoint);
}

const char *status_endpoint_reason(const struct link_status *status, uint32_t index, char buffer[REASON_TEXT])
{
	bool should_serve = status->details[index].standing == STANDING_SERVING;
	bool held = is_held(status, &status->endpoints->items[index]);
	const struct override *override = status->details[index].override;
	bool drained_by_hand = status->details[index].standing == STANDING_DRAINING && override && !override->weight;
	FILE *out = fmemopen(buffer, REASON_TEXT, "w");

	if (held)
		fprintf(out, "gone from the registry; held for %u s more", status->held_seconds);
	else if (!should_serve || !override)
		put_standing(out, status, index);
	if (override && (held || !drained_by_hand))
		put_override(out, status, index, should_serve && !held);
	if (should_serve != (status->details[index].slots != 0))
		fputs("; the kernel does not have this yet", out);
	fclose(out);
	return buffer;
}

/* Whatever the registry says: without endpoints in the kernel a link is empty. */
const char *status_link_state(const struct link_status *status)
{
	if (!status->serving)
		return status->holding ? "holding" : "empty";
	return status->stale || status->keeping || status->loss->held ? "stale" : "serving";
}

static bool all_drained_by_hand(const struct link_status *status)
{
	for (uint32_t i = 0; i < status->endpoints->count; i++) {
		if (!status->details[i].override || status->details[i].override->weight)
			return false;
	}
	return status->endpoints->count != 0;
}

static uint32_t count_down(const struct link_status *status, enum standing standing)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < status->endpoints->count; i++)
		count += status->details[i].standing == standing && status->details[i].checked &&
			 status->details[i].check.verdict == VERDICT_DOWN;
	return count;
}

/* Why no endpoint serves. */
static const char *empty_reason(const struct link_status *status)
{
	if (count_down(status, STANDING_DOWN))
		return "no endpoint is well";
	if (status->endpoints->count)
		return all_drained_by_hand(status) ? "all endpoints are drained by hand"
						   : "none of its endpoints can serve";
	if (!status->answer)
		return "the registry has not answered yet";
	return status->answer->count ? "the kernel does not have its endpoints yet" : "the registry names no endpoint";
}

static const char *loss_reason(const struct link_status *status, char buffer[LINK_REASON_TEXT])
{
	snprintf(buffer, LINK_REASON_TEXT,
		 "the registry names %u endpoint%s where there were %u; the %u that it lost stay for %u s more",
		 status->loss->left, status->loss->left == 1 ? "" : "s", status->loss->before, status->loss->held,
		 status->held_seconds);
	return buffer;
}

static const char *remembered_reason(const struct link_status *status, char buffer[LINK_REASON_TEXT])
{
	char age[AGE_TEXT];

	snprintf(buffer, LINK_REASON_TEXT,
		 "%s; the endpoints are from the state file, as the registry named them %s ago",
		 status->error ? status->error : "the registry has not answered yet",
		 age_text(age_since(status->seen * 1000), age));
	return buffer;
}

/* Why it is empty, stale, or not in the kernel; NULL: there is nothing to explain. */
const char *status_link_reason(const struct link_status *status, char buffer[LINK_REASON_TEXT])
{
	if (status->remembered && status->serving)
		return remembered_reason(status, buffer);
	if (status->error)
		return status->error;
	if (!status->serving)
		return empty_reason(status);
	if (status->keeping)
		return "the registry names no endpoint; the last known ones stay";
	if (status->loss->held)
		return loss_reason(status, buffer);
	return count_down(status, STANDING_SERVING) ? "no endpoint is well, so all of them serve (on_all_down)" : NULL;
}
