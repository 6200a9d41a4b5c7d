/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/status.h"

#include <cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/age.h"
#include "daemon/overrides.h"
#include "daemon/requests.h"
#include "daemon/tour.h"

struct writer {
	FILE *out;
	unsigned int items; /* in the array that is open */
};

/* Object by object, so that thousands of links never stand in memory as one tree. */
static void write_item(struct writer *writer, cJSON *item)
{
	char *text = cJSON_PrintUnformatted(item);

	fprintf(writer->out, "%s%s", writer->items++ ? "," : "", text ? text : "null");
	cJSON_free(text);
	cJSON_Delete(item);
}

static void write_string(FILE *out, const char *text)
{
	cJSON *item = cJSON_CreateString(text);
	char *quoted = cJSON_PrintUnformatted(item);

	fputs(quoted, out);
	cJSON_free(quoted);
	cJSON_Delete(item);
}

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

#define REASON_TEXT 512
#define LINK_REASON_TEXT 768

/* The priority that serves. */
static unsigned int best_priority(const struct link_status *status)
{
	for (uint32_t i = 0; i < status->endpoints->count; i++) {
		if (status->details[i].standing == STANDING_SERVING)
			return status->endpoints->items[i].priority;
	}
	return 0;
}

static double seconds_since(int64_t ms)
{
	struct timespec now;
	double seconds;

	clock_gettime(CLOCK_REALTIME, &now);
	seconds = (double)now.tv_sec + (double)now.tv_nsec / 1e9 - (double)ms / 1e3;
	return seconds > 0 ? seconds : 0;
}

static void put_failing_checks(FILE *out, const struct check_report *check)
{
	char age[AGE_TEXT];

	fprintf(out, "its checks fail: %s, since %s", check->reason, age_text(seconds_since(check->since), age));
	if (check->remembered)
		fprintf(out, "; not checked since nuncio started");
	else if (check->in_a_row)
		fprintf(out, " (%u in a row)", check->in_a_row);
	if (check->last_good)
		fprintf(out, "; last good %s ago", age_text(seconds_since(check->last_good), age));
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

static char *endpoint_reason(const struct link_status *status, uint32_t index, char buffer[REASON_TEXT])
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

static cJSON *describe_record(const struct endpoint *endpoint)
{
	cJSON *object = cJSON_CreateObject();
	char text[IP_PORT_TEXT];

	cJSON_AddStringToObject(object, "id", endpoint->id);
	cJSON_AddStringToObject(object, "address", ip_port_text(&endpoint->at, text));
	cJSON_AddNumberToObject(object, "weight", endpoint->weight);
	cJSON_AddNumberToObject(object, "priority", endpoint->priority);
	if (endpoint->zone)
		cJSON_AddStringToObject(object, "zone", endpoint->zone);
	return object;
}

static const char *verdict_name(enum verdict verdict)
{
	switch (verdict) {
	case VERDICT_NONE:
	case VERDICT_UNKNOWN:
		return "unknown";
	case VERDICT_UP:
		return "up";
	case VERDICT_DOWN:
		return "down";
	case VERDICT_EJECTED:
		return "ejected";
	}
	return "unknown";
}

/* A time as what has passed since, or null. */
static void add_age(cJSON *object, const char *key, int64_t ms)
{
	if (ms)
		cJSON_AddNumberToObject(object, key, seconds_since(ms));
	else
		cJSON_AddNullToObject(object, key);
}

static cJSON *describe_check(const struct check_report *check)
{
	cJSON *object = cJSON_CreateObject();

	cJSON_AddStringToObject(object, "verdict", verdict_name(check->verdict));
	cJSON_AddStringToObject(object, "reason", check->reason);
	cJSON_AddNumberToObject(object, "in_a_row", check->in_a_row);
	add_age(object, "since_seconds", check->since);
	add_age(object, "last_good_seconds", check->last_good);
	add_age(object, "checked_seconds", check->checked);
	cJSON_AddNumberToObject(object, "took_ms", check->took_us / 1e3);
	if (check->doubt) {
		cJSON_AddStringToObject(object, "doubt", check->doubt);
		cJSON_AddNumberToObject(object, "against", check->against);
		cJSON_AddNumberToObject(object, "needed", check->needed);
	}
	if (check->remembered)
		cJSON_AddTrueToObject(object, "remembered");
	return object;
}

static cJSON *describe_ejection(const struct endpoint_detail *detail)
{
	static const char *const states[] = {
		[EJECTION_NONE] = "none",
		[EJECTION_OUT] = "ejected",
		[EJECTION_PROBATION] = "probation",
	};
	static const struct ejection never;
	const struct ejection *ejection = detail->ejection ? detail->ejection : &never;
	cJSON *object = cJSON_CreateObject();

	cJSON_AddStringToObject(object, "state", states[ejection->state]);
	cJSON_AddNumberToObject(object, "failures", (double)ejection->failures);
	cJSON_AddNumberToObject(object, "ejections", (double)ejection->ejections);
	cJSON_AddNumberToObject(object, "times", ejection->times);
	if (ejection->state != EJECTION_NONE)
		cJSON_AddNumberToObject(object, "left_seconds", detail->ejection_left);
	return object;
}

static cJSON *describe_endpoint(const struct link_status *status, uint32_t index)
{
	cJSON *object = describe_record(&status->endpoints->items[index]);
	char reason[REASON_TEXT];

	if (status->details[index].override)
		cJSON_AddNumberToObject(object, "override", status->details[index].override->weight);
	cJSON_AddStringToObject(object, "state", status_endpoint_state(status->details[index].by_itself));
	cJSON_AddStringToObject(object, "reason", endpoint_reason(status, index, reason));
	if (status->details[index].checked)
		cJSON_AddItemToObject(object, "check", describe_check(&status->details[index].check));
	if (status->conf->eject.failures)
		cJSON_AddItemToObject(object, "ejection", describe_ejection(&status->details[index]));
	cJSON_AddNumberToObject(object, "slots", status->details[index].slots);
	if (status->details[index].share != SHARE_FULL)
		cJSON_AddNumberToObject(object, "share", (double)status->details[index].share / SHARE_FULL);
	cJSON_AddNumberToObject(object, "connections", (double)status->details[index].connections);
	cJSON_AddNumberToObject(object, "retried", (double)status->details[index].refusals);
	if (status->live_known)
		cJSON_AddNumberToObject(object, "live", (double)status->details[index].live);
	return object;
}

static cJSON *describe_departed(const struct link_status *status, const struct departed *departed)
{
	cJSON *object = cJSON_CreateObject();
	char text[IP_PORT_TEXT];

	cJSON_AddStringToObject(object, "id", departed->id);
	cJSON_AddStringToObject(object, "address", ip_port_text(&departed->at, text));
	cJSON_AddNumberToObject(object, "weight", 0);
	cJSON_AddStringToObject(object, "state", "draining");
	cJSON_AddStringToObject(object, "reason",
				status->conf->drain_for_ms ? "removed; its connections are reset after drain_for"
							   : "removed; its connections end by themselves");
	cJSON_AddNumberToObject(object, "live", (double)departed->live);
	return object;
}

/* Named by the registry, but not in the kernel: it refused them, or it could not be reached. */
static void describe_missing(const struct link_status *status, cJSON *array)
{
	for (uint32_t i = 0; status->answer && status->answer != status->endpoints && i < status->answer->count; i++) {
		cJSON *object;

		if (endpoints_find_id(status->endpoints, status->answer->items[i].id))
			continue;
		object = describe_record(&status->answer->items[i]);
		cJSON_AddStringToObject(object, "state", "down");
		cJSON_AddStringToObject(object, "reason",
					status->error ? status->error : "the kernel does not have it yet");
		cJSON_AddNumberToObject(object, "slots", 0);
		cJSON_AddNumberToObject(object, "connections", 0);
		cJSON_AddItemToArray(array, object);
	}
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

/* How long ago the registry named the endpoints, seconds; the clock may have been set since. */
static double age_of(const struct link_status *status)
{
	double age = difftime(time(NULL), (time_t)status->seen);

	return age > 0 ? age : 0;
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
		 status->error ? status->error : "the registry has not answered yet", age_text(age_of(status), age));
	return buffer;
}

/* Why it is empty, stale, or not in the kernel; NULL: there is nothing to explain. */
static const char *link_reason(const struct link_status *status, char buffer[LINK_REASON_TEXT])
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

#define CHECK_NAME 128

/* As one could write it. */
static const char *check_name(const struct probe_conf *probe, char buffer[CHECK_NAME])
{
	if (probe->kind == PROBE_HTTP)
		snprintf(buffer, CHECK_NAME, "http%s:%s", probe->tls ? "s" : "", probe->path);
	else
		snprintf(buffer, CHECK_NAME, "tcp");
	return buffer;
}

static cJSON *describe_link(const struct link_status *status)
{
	cJSON *object = cJSON_CreateObject(), *endpoints;
	char text[LISTEN_TEXT], buffer[LINK_REASON_TEXT], name[CHECK_NAME];
	const char *reason = link_reason(status, buffer);

	cJSON_AddStringToObject(object, "name", status->conf->name);
	cJSON_AddStringToObject(object, "listen", listen_text(&status->conf->listen, text));
	cJSON_AddStringToObject(object, "service", status->conf->service);
	cJSON_AddStringToObject(object, "registry", status->conf->registry);
	cJSON_AddStringToObject(object, "balance", balance_name(status->conf->balance));
	cJSON_AddStringToObject(object, "on_empty", on_empty_name(status->conf->on_empty));
	cJSON_AddStringToObject(object, "masquerade", masquerade_name(status->conf->masquerade));
	if (status->conf->check.probe.kind != PROBE_NONE) {
		cJSON_AddStringToObject(object, "check", check_name(&status->conf->check.probe, name));
		cJSON_AddStringToObject(object, "on_all_down", on_all_down_name(status->conf->on_all_down));
	}
	cJSON_AddStringToObject(object, "state", status_link_state(status));
	if (reason)
		cJSON_AddStringToObject(object, "reason", reason);
	if (status->seen)
		cJSON_AddNumberToObject(object, "endpoints_age_seconds", age_of(status));
	cJSON_AddBoolToObject(object, "installed", status->installed);
	cJSON_AddNumberToObject(object, "slots", status->slots);
	endpoints = cJSON_AddArrayToObject(object, "endpoints");
	for (uint32_t i = 0; i < status->endpoints->count; i++)
		cJSON_AddItemToArray(endpoints, describe_endpoint(status, i));
	for (size_t i = 0; i < status->n_departed; i++)
		cJSON_AddItemToArray(endpoints, describe_departed(status, &status->departed[i]));
	describe_missing(status, endpoints);
	return object;
}

static void write_link(void *context, const struct link_status *status)
{
	write_item(context, describe_link(status));
}

static void keep_link(void *context, const struct link_status *status)
{
	*(cJSON **)context = describe_link(status);
}

cJSON *status_of_link(struct ambassador *ambassador, const char *link, bool counters)
{
	cJSON *object = NULL;

	ambassador_status(ambassador, link, counters, keep_link, &object);
	return object;
}

static void write_ambassador_head(FILE *out, const struct ambassador *ambassador)
{
	const struct ambassador_conf *conf = ambassador_conf(ambassador);

	fputs("{\"netns\":", out);
	write_string(out, conf->netns ? conf->netns : "");
	if (conf->container) {
		fputs(",\"container\":", out);
		write_string(out, conf->container);
	}
	if (ambassador_error(ambassador)) {
		fputs(",\"error\":", out);
		write_string(out, ambassador_error(ambassador));
	}
	if (ambassador_failures_error(ambassador)) {
		fputs(",\"eject_error\":", out);
		write_string(out, ambassador_failures_error(ambassador));
	}
	if (ambassador_failures_lost(ambassador))
		fprintf(out, ",\"lost_failures\":%" PRIu64, ambassador_failures_lost(ambassador));
	fputs(",\"links\":[", out);
}

static void write_ambassador(struct writer *writer, struct ambassador *ambassador, const char *link)
{
	write_ambassador_head(writer->out, ambassador);
	writer->items = 0;
	ambassador_status(ambassador, link, true, write_link, writer);
	fputs("]}", writer->out);
}

static void write_registry(void *context, const struct registry_status *status)
{
	cJSON *object = cJSON_CreateObject();

	cJSON_AddStringToObject(object, "uri", status->uri);
	cJSON_AddBoolToObject(object, "connected", status->connected);
	if (status->error)
		cJSON_AddStringToObject(object, "error", status->error);
	cJSON_AddStringToObject(object, "revision", status->revision);
	if (status->last_success_seconds >= 0)
		cJSON_AddNumberToObject(object, "last_success_seconds", status->last_success_seconds);
	else
		cJSON_AddNullToObject(object, "last_success_seconds");
	cJSON_AddNumberToObject(object, "services", status->services);
	cJSON_AddNumberToObject(object, "skipped_records", status->skipped);
	write_item(context, object);
}

static void write_docker(FILE *out, const struct realm *realm)
{
	if (!realm->docker)
		return;
	fputs("\"docker\":{\"uri\":", out);
	write_string(out, realm->docker);
	if (realm->docker_error) {
		fputs(",\"error\":", out);
		write_string(out, realm->docker_error);
	}
	fputs("},", out);
}

static void write_head(FILE *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	fprintf(out, "{\"version\":\"" NUNCIO_VERSION "\",\"time\":%lld.%03ld,\"ambassadors\":[", (long long)now.tv_sec,
		now.tv_nsec / 1000000);
}

static void write_tail(FILE *out, const struct realm *realm)
{
	struct writer writer = {.out = out};

	fputs("],", out);
	write_docker(out, realm);
	fputs("\"registries\":[", out);
	catalog_registries(realm->catalog, write_registry, &writer);
	fputs("]}", out);
}

void status_write(FILE *out, const struct realm *realm, const char *netns, const char *link)
{
	struct writer writer = {.out = out};
	unsigned int written = 0;

	write_head(out);
	for (size_t i = 0; i < realm->n_ambassadors; i++) {
		if (!ambassador_is_in(realm->ambassadors[i], netns))
			continue;
		if (written++)
			fputc(',', out);
		write_ambassador(&writer, realm->ambassadors[i], link);
	}
	write_tail(out, realm);
}

/* The same on a tour */

static void on_begin(void *context)
{
	struct status_report *report = context;

	status_report_clear(report);
	report->out = scroll_open(&report->text);
	report->ambassadors = 0;
	write_head(report->out);
}

static void on_enter(void *context, struct ambassador *ambassador)
{
	struct status_report *report = context;

	if (report->ambassadors++)
		fputc(',', report->out);
	write_ambassador_head(report->out, ambassador);
	report->links = 0;
}

static void on_link(void *context, const struct link_status *status)
{
	struct status_report *report = context;
	struct writer writer = {.out = report->out, .items = report->links++};

	write_link(&writer, status);
}

static void on_leave(void *context)
{
	struct status_report *report = context;

	fputs("]}", report->out);
}

static void on_end(void *context)
{
	struct status_report *report = context;
	struct realm realm = report->realm(report->realm_context);

	write_tail(report->out, &realm);
	fclose(report->out);
	report->out = NULL;
	report->done(report);
}

const struct visitor status_visitor = {
	.begin = on_begin,
	.enter = on_enter,
	.link = on_link,
	.leave = on_leave,
	.end = on_end,
};

void status_report_clear(struct status_report *report)
{
	if (report->out)
		fclose(report->out);
	report->out = NULL;
	scroll_clear(&report->text);
}
