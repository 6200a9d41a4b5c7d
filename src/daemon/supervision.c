/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/supervision.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/service-manager.h"

/* A status is told this much after a change at most, and not more often. */
#define STATUS_MS 1000

/* What is wrong is told of the first few: a status is a line. */
#define TROUBLES_MAX 2

struct supervision {
	struct service_manager *manager;
	uv_timer_t watchdog, patience, pace;
	int open_handles;
	bool ready, overdue; /* the start is over; or has lasted long enough */
	bool reloading;
	bool due; /* the last change has been let rest */
	char *status;
	char *reload_error;
};

static void on_watchdog(uv_timer_t *timer)
{
	struct supervision *supervision = timer->data;

	service_manager_tell(supervision->manager, SERVICE_ALIVE, NULL);
}

static void on_overdue(uv_timer_t *timer)
{
	struct supervision *supervision = timer->data;

	supervision->overdue = true;
}

static void on_pace(uv_timer_t *timer)
{
	struct supervision *supervision = timer->data;

	supervision->due = true;
}

static void open_timer(struct supervision *supervision, uv_loop_t *loop, uv_timer_t *timer)
{
	uv_timer_init(loop, timer);
	timer->data = supervision;
	supervision->open_handles++;
}

struct supervision *supervision_open(uv_loop_t *loop)
{
	struct service_manager *manager = service_manager_open();
	uint64_t watchdog_ms = service_manager_watchdog_ms(manager);
	struct supervision *supervision;

	if (!manager)
		return NULL;
	supervision = xcalloc(1, sizeof(*supervision));
	supervision->manager = manager;
	open_timer(supervision, loop, &supervision->watchdog);
	open_timer(supervision, loop, &supervision->patience);
	open_timer(supervision, loop, &supervision->pace);
	if (watchdog_ms)
		uv_timer_start(&supervision->watchdog, on_watchdog, 0, watchdog_ms);
	uv_timer_start(&supervision->patience, on_overdue, SERVICE_MANAGER_PATIENCE_MS, 0);
	return supervision;
}

static void on_closed(uv_handle_t *handle)
{
	struct supervision *supervision = handle->data;

	if (--supervision->open_handles)
		return;
	service_manager_close(supervision->manager);
	free(supervision->status);
	free(supervision->reload_error);
	free(supervision);
}

void supervision_close(struct supervision *supervision)
{
	if (!supervision)
		return;
	uv_close((uv_handle_t *)&supervision->watchdog, on_closed);
	uv_close((uv_handle_t *)&supervision->patience, on_closed);
	uv_close((uv_handle_t *)&supervision->pace, on_closed);
}

/* The status */

struct line {
	FILE *out;
	unsigned int troubles;
};

static void __attribute__((format(printf, 2, 3))) put_trouble(struct line *line, const char *format, ...)
{
	va_list args;

	if (line->troubles++ >= TROUBLES_MAX)
		return;
	fputs("; ", line->out);
	va_start(args, format);
	vfprintf(line->out, format, args);
	va_end(args);
}

static void put_count(FILE *out, uint32_t count, const char *what)
{
	fprintf(out, "%u %s%s", count, what, count == 1 ? "" : "s");
}

static void put_registry(void *context, const struct registry_status *status)
{
	if (!status->connected)
		put_trouble(context, "%s: %s", status->uri, status->error ? status->error : "no answer yet");
}

static const char *place_of(const struct ambassador *ambassador)
{
	return *ambassador_netns(ambassador) ? ambassador_netns(ambassador) : "own network namespace";
}

static struct ambassador_totals count_all(const struct realm *realm)
{
	struct ambassador_totals sum = {0};

	for (size_t i = 0; i < realm->n_ambassadors; i++) {
		struct ambassador_totals totals = ambassador_count(realm->ambassadors[i]);

		sum.links += totals.links;
		sum.serving_links += totals.serving_links;
		sum.endpoints += totals.endpoints;
		sum.failed_links += totals.failed_links;
	}
	return sum;
}

static void put_totals(struct line *line, const struct realm *realm)
{
	struct ambassador_totals totals = count_all(realm);

	put_count(line->out, totals.links, "link");
	fputs(", ", line->out);
	put_count(line->out, totals.endpoints, "endpoint");
	if (totals.serving_links < totals.links)
		fprintf(line->out, " (%u without)", totals.links - totals.serving_links);
	if (totals.failed_links)
		put_trouble(line, "the kernel refuses a change of %u", totals.failed_links);
}

/* For `systemctl status`: how much there is, and what is wrong. To be freed. */
static char *describe(const struct supervision *supervision, const struct realm *realm)
{
	struct line line = {0};
	char *text = NULL;
	size_t length;

	line.out = open_memstream(&text, &length);
	if (!line.out)
		return NULL;
	put_totals(&line, realm);
	if (supervision->reload_error)
		put_trouble(&line, "reload failed, the old configuration stays: %s", supervision->reload_error);
	for (size_t i = 0; i < realm->n_ambassadors; i++) {
		if (ambassador_error(realm->ambassadors[i]))
			put_trouble(&line, "%s: %s", place_of(realm->ambassadors[i]),
				    ambassador_error(realm->ambassadors[i]));
		else if (!ambassador_is_ready(realm->ambassadors[i]))
			put_trouble(&line, "%s: not yet served", place_of(realm->ambassadors[i]));
	}
	catalog_registries(realm->catalog, put_registry, &line);
	if (line.troubles > TROUBLES_MAX)
		fprintf(line.out, "; and %u more", line.troubles - TROUBLES_MAX);
	fclose(line.out);
	return text;
}

/* What was not taken is told the next time. */
static bool tell_status(struct supervision *supervision, const struct realm *realm, enum service_state state)
{
	char *text = describe(supervision, realm);
	bool told = true;

	if (text && (state != SERVICE_SAME || !supervision->status || strcmp(text, supervision->status) != 0)) {
		told = service_manager_tell(supervision->manager, state, text);
		text_replace(&supervision->status, told ? text : NULL);
	}
	free(text);
	return told;
}

/* The turn */

static bool start_is_over(const struct supervision *supervision, const struct realm *realm)
{
	return supervision->overdue || !realm_lacks(realm);
}

/*
 * Each turn stands for something that happened, but for the one that only says that it has been long enough; so that an
 * idle daemon stays asleep.
 */
static void keep_pace(struct supervision *supervision, const struct realm *realm)
{
	if (supervision->due && tell_status(supervision, realm, SERVICE_SAME))
		supervision->due = false;
	else if (!uv_is_active((uv_handle_t *)&supervision->pace))
		uv_timer_start(&supervision->pace, on_pace, STATUS_MS, 0);
}

void supervision_turn(struct supervision *supervision, const struct realm *realm)
{
	if (!supervision)
		return;
	if (supervision->reloading || (!supervision->ready && start_is_over(supervision, realm))) {
		supervision->ready = tell_status(supervision, realm, SERVICE_READY);
		supervision->reloading = !supervision->ready;
	}
	keep_pace(supervision, realm);
}

void supervision_reloading(struct supervision *supervision)
{
	if (!supervision)
		return;
	service_manager_tell(supervision->manager, SERVICE_RELOADING, NULL);
	supervision->reloading = supervision->ready; /* else the start has to be over first */
	text_replace(&supervision->reload_error, NULL);
}

void supervision_reload_failed(struct supervision *supervision, const char *why)
{
	if (supervision)
		text_replace(&supervision->reload_error, why);
}

void supervision_stopping(struct supervision *supervision)
{
	if (supervision)
		service_manager_tell(supervision->manager, SERVICE_STOPPING, NULL);
}
