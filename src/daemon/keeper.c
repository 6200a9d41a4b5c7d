/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/keeper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/age.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/keep-file.h"
#include "discovery/file-read.h"

struct keeper {
	char *path;
	bool asked;    /* the path was asked for */
	char *trouble; /* why it was not written last, which was logged */
	bool dry_run, loaded;
	struct known known;    /* what was read, until all have begun with it */
	struct known last;     /* for the end */
	uint64_t written;      /* catalog_changes() of what was written last */
	struct file_stamp own; /* of the file as we read or wrote it */

	uv_timer_t timer; /* until it is to be written */
	const struct catalog *catalog;
	uint64_t wait_ms;

	/* What the thread works on; it touches nothing else. */
	uv_work_t work;
	bool working;
	struct known writing;
	struct file_stamp expected;
	int code;
};

/* Another nuncio with the same path would undo what we do, and we what it does. */
#define FOREIGN (-EBUSY)

/* Reading */

static void load(struct keeper *keeper)
{
	struct file_text file;
	struct error err;
	int code = file_read(keeper->path, &file, &err);

	keeper->loaded = true;
	keeper->own = file.stamp;
	if (code == -ENOENT)
		return;
	if (code == 0) {
		code = known_parse(file.text, file.length, keeper->path, &keeper->known, &err);
		free(file.text);
	}
	if (code < 0)
		keep_file_set_aside(keeper->path, err.text, keeper->dry_run);
}

struct keeper *keeper_open(uv_loop_t *loop, const char *path, bool asked, bool dry_run)
{
	struct keeper *keeper;

	if (!path)
		return NULL;
	keeper = xcalloc(1, sizeof(*keeper));
	keeper->path = xasprintf("%s.endpoints", path);
	keeper->asked = asked;
	keeper->dry_run = dry_run;
	keeper->own = file_stamp(keeper->path);
	keeper->wait_ms = KEEPER_WAIT_MS;
	uv_timer_init(loop, &keeper->timer);
	keeper->timer.data = keeper->work.data = keeper;
	return keeper;
}

const struct known *keeper_known(void *context)
{
	struct keeper *keeper = context;

	if (!keeper->loaded)
		load(keeper);
	return &keeper->known;
}

static int64_t oldest(const struct known *known)
{
	int64_t seen = INT64_MAX;

	for (size_t i = 0; i < known->count; i++)
		seen = known->items[i].seen < seen ? known->items[i].seen : seen;
	return seen;
}

void keeper_begun(struct keeper *keeper, uint32_t links)
{
	char age[AGE_TEXT];
	double seconds;

	if (!keeper)
		return;
	if (links) {
		seconds = difftime(time(NULL), (time_t)oldest(&keeper->known));
		log_notice("%u link%s with the endpoints of %s, %s old at most, until the registry answers", links,
			   links == 1 ? " begins" : "s begin", keeper->path, age_text(seconds > 0 ? seconds : 0, age));
	}
	known_clear(&keeper->known);
}

/* Writing */

static void print(const void *known, FILE *out)
{
	known_write(known, out);
}

/* In the thread, or at the end. */
static void write_file(struct keeper *keeper)
{
	struct file_stamp found = file_stamp(keeper->path);
	bool foreign = found.inode && !file_stamp_equal(&found, &keeper->expected);

	keeper->code = foreign ? FOREIGN : keep_file_replace(keeper->path, print, &keeper->writing);
	if (!foreign)
		keeper->expected = file_stamp(keeper->path);
}

static void note_result(struct keeper *keeper)
{
	const char *text = keeper->code == FOREIGN ? "another nuncio writes it: each needs a --state of its own"
			   : keeper->code	   ? strerror(-keeper->code)
						   : NULL;

	keeper->own = keeper->expected;
	known_clear(&keeper->writing);
	if (text_replace(&keeper->trouble, text) && text)
		log_write(keeper->asked || keeper->code == FOREIGN ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
			  "%s: %s; the last known endpoints are not kept for a start without registry", keeper->path,
			  text);
}

static void on_work(uv_work_t *work)
{
	write_file(work->data);
}

static void on_written(uv_work_t *work, int status)
{
	struct keeper *keeper = work->data;

	(void)status;
	keeper->working = false;
	keeper->wait_ms = (uint64_t)keeper->expected.size * 1000 / KEEPER_BYTES_PER_S;
	if (keeper->wait_ms < KEEPER_WAIT_MS)
		keeper->wait_ms = KEEPER_WAIT_MS;
	note_result(keeper);
}

static void on_time(uv_timer_t *timer)
{
	struct keeper *keeper = timer->data;

	catalog_list_known(keeper->catalog, &keeper->writing);
	keeper->written = catalog_changes(keeper->catalog);
	keeper->expected = keeper->own;
	keeper->working = uv_queue_work(timer->loop, &keeper->work, on_work, on_written) == 0;
}

void keeper_look(struct keeper *keeper, const struct catalog *catalog)
{
	if (!keeper || keeper->working || keeper->written == catalog_changes(catalog) ||
	    uv_is_active((uv_handle_t *)&keeper->timer))
		return;
	keeper->catalog = catalog;
	uv_timer_start(&keeper->timer, on_time, keeper->wait_ms, 0);
}

void keeper_close(struct keeper *keeper, const struct catalog *catalog)
{
	if (!keeper)
		return;
	if (catalog)
		catalog_list_known(catalog, &keeper->last);
	uv_close((uv_handle_t *)&keeper->timer, NULL);
}

void keeper_free(struct keeper *keeper)
{
	if (!keeper)
		return;
	if (keeper->last.count) {
		keeper->writing = keeper->last;
		keeper->expected = keeper->own;
		write_file(keeper);
		note_result(keeper);
	}
	known_clear(&keeper->known);
	free(keeper->trouble);
	free(keeper->path);
	free(keeper);
}
