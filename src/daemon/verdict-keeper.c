/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/verdict-keeper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/age.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/ambassador.h"
#include "daemon/keep-file.h"
#include "discovery/file-read.h"
#include "health/remembered.h"

struct verdict_keeper {
	char *path;
	char *trouble; /* why it was not written last */
	struct remembered read;
	uint64_t opened;  /* uv_hrtime() */
	uint64_t written; /* count_changes() of what was written last */
	uint64_t written_at;
	bool any_written; /* there was something in it */

	uv_timer_t timer;
	struct ambassador *const *ambassadors; /* for the timer, of this turn */
	size_t n_ambassadors;

	/* What the thread works on; it touches nothing else. */
	uv_work_t work;
	bool working;
	struct remembered writing;
	int code;
	bool at_end; /* `writing` is for verdict_keeper_free() */
};

/* Reading */

static void load(struct verdict_keeper *keeper, bool dry_run)
{
	struct file_text file;
	struct error err;
	int64_t age;
	int code = file_read(keeper->path, &file, &err);

	if (code == -ENOENT)
		return;
	if (code == 0) {
		code = remembered_parse(file.text, file.length, keeper->path, &keeper->read, &err);
		free(file.text);
	}
	if (code < 0) {
		keep_file_set_aside(keeper->path, err.text, dry_run);
		return;
	}
	age = age_now_ms() - keeper->read.written;
	keeper->any_written = keeper->read.count != 0;
	if (age < 0 || age > VERDICTS_AGE_MAX_MS)
		remembered_clear(&keeper->read);
	else if (keeper->read.count)
		log_notice("%zu endpoint%s down when nuncio ended last, and stay%s out until a check is good",
			   keeper->read.count, keeper->read.count == 1 ? " was" : "s were",
			   keeper->read.count == 1 ? "s" : "");
}

struct verdict_keeper *verdict_keeper_open(uv_loop_t *loop, const char *path, bool dry_run)
{
	struct verdict_keeper *keeper;

	if (!path)
		return NULL;
	keeper = xcalloc(1, sizeof(*keeper));
	keeper->path = xasprintf("%s.checks", path);
	keeper->opened = uv_hrtime();
	uv_timer_init(loop, &keeper->timer);
	keeper->timer.data = keeper->work.data = keeper;
	load(keeper, dry_run);
	return keeper;
}

bool verdict_keeper_find(const struct verdict_keeper *keeper, const char *netns, const struct ip_port *at,
			 const char *probe, struct check_report *ret)
{
	const struct remembered_target *found;

	if (!keeper || (uv_hrtime() - keeper->opened) / 1000000 > VERDICTS_COUNT_FOR_MS)
		return false;
	found = remembered_find(&keeper->read, netns, at, probe);
	if (!found)
		return false;
	*ret = (struct check_report){
		.verdict = VERDICT_DOWN,
		.reason = found->reason,
		.since = found->since,
		.last_good = found->last_good,
	};
	return true;
}

/* Writing */

struct listing {
	struct remembered *remembered;
	const char *netns;
};

static void list_target(void *context, const struct ip_port *at, const char *probe, const struct check_report *report)
{
	const struct listing *listing = context;
	const struct remembered_target target = {
		.netns = listing->netns,
		.at = *at,
		.probe = probe,
		.reason = report->reason,
		.since = report->since,
		.last_good = report->last_good,
	};

	if (report->verdict == VERDICT_DOWN)
		remembered_add(listing->remembered, &target);
}

static void list_all(struct ambassador *const *ambassadors, size_t count, struct remembered *ret)
{
	*ret = (struct remembered){.written = age_now_ms()};
	for (size_t i = 0; i < count; i++) {
		struct listing listing = {ret, ambassador_netns(ambassadors[i])};

		if (ambassador_checker(ambassadors[i]))
			checker_each(ambassador_checker(ambassadors[i]), list_target, &listing);
	}
}

static uint64_t count_changes(struct ambassador *const *ambassadors, size_t count)
{
	uint64_t changes = 0;

	for (size_t i = 0; i < count; i++)
		changes += ambassador_checker(ambassadors[i]) ? checker_changes(ambassador_checker(ambassadors[i])) : 0;
	return changes;
}

static void print(const void *remembered, FILE *out)
{
	remembered_write(remembered, out);
}

/* In the thread, or at the end. */
static void write_file(struct verdict_keeper *keeper)
{
	keeper->code = keep_file_replace(keeper->path, print, &keeper->writing);
}

static void note_result(struct verdict_keeper *keeper)
{
	const char *text = keeper->code ? strerror(-keeper->code) : NULL;

	keeper->any_written = keeper->writing.count != 0;
	remembered_clear(&keeper->writing);
	if (text_replace(&keeper->trouble, text) && text)
		log_info("%s: %s; endpoints that are down serve again after a restart, until their checks have failed",
			 keeper->path, text);
}

static void on_work(uv_work_t *work)
{
	write_file(work->data);
}

static void on_written(uv_work_t *work, int status)
{
	struct verdict_keeper *keeper = work->data;

	(void)status;
	keeper->working = false;
	note_result(keeper);
}

static void on_time(uv_timer_t *timer)
{
	struct verdict_keeper *keeper = timer->data;

	list_all(keeper->ambassadors, keeper->n_ambassadors, &keeper->writing);
	keeper->written = count_changes(keeper->ambassadors, keeper->n_ambassadors);
	keeper->written_at = uv_now(timer->loop);
	if (keeper->writing.count || keeper->any_written)
		keeper->working = uv_queue_work(timer->loop, &keeper->work, on_work, on_written) == 0;
}

void verdict_keeper_look(struct verdict_keeper *keeper, struct ambassador *const *ambassadors, size_t count)
{
	bool changed, stale;

	if (!keeper)
		return;
	keeper->ambassadors = ambassadors;
	keeper->n_ambassadors = count;
	if (keeper->working || uv_is_active((uv_handle_t *)&keeper->timer))
		return;
	changed = count_changes(ambassadors, count) != keeper->written;
	stale = keeper->any_written && uv_now(keeper->timer.loop) - keeper->written_at > VERDICTS_REFRESH_MS;
	if (changed || stale)
		uv_timer_start(&keeper->timer, on_time, VERDICTS_WAIT_MS, 0);
}

void verdict_keeper_close(struct verdict_keeper *keeper, struct ambassador *const *ambassadors, size_t count, bool save)
{
	if (!keeper)
		return;
	keeper->at_end = save;
	uv_close((uv_handle_t *)&keeper->timer, NULL);
	remembered_clear(&keeper->read);
	if (save)
		list_all(ambassadors, count, &keeper->read);
}

void verdict_keeper_free(struct verdict_keeper *keeper)
{
	if (!keeper)
		return;
	if (keeper->at_end && (keeper->read.count || keeper->any_written)) {
		keeper->writing = keeper->read;
		keeper->read = (struct remembered){0};
		write_file(keeper);
		note_result(keeper);
	}
	remembered_clear(&keeper->read);
	free(keeper->trouble);
	free(keeper->path);
	free(keeper);
}
