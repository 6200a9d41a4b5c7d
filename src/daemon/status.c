/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/status.h"

#include <cJSON.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/age.h"
#include "daemon/overrides.h"
#include "daemon/realm.h"
#include "daemon/status-words.h"
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
		cJSON_AddNumberToObject(object, key, age_since(ms));
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
	cJSON_AddStringToObject(object, "reason", status_endpoint_reason(status, index, reason));
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
	const char *reason = status_link_reason(status, buffer);

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
		cJSON_AddNumberToObject(object, "endpoints_age_seconds", age_since(status->seen * 1000));
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
