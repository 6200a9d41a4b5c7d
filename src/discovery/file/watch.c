/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/file/watch.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

#define EVENT_MAX (sizeof(struct inotify_event) + NAME_MAX + 1)

#define SELF_EVENTS (IN_DELETE_SELF | IN_MOVE_SELF)
#define DIRECTORY_EVENTS \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ATTRIB | SELF_EVENTS | IN_ONLYDIR)
#define FILE_EVENTS (IN_CLOSE_WRITE | IN_ATTRIB | SELF_EVENTS)

/* What the kernel says about a watch itself, asked or not. */
#define LOST_EVENTS (SELF_EVENTS | IN_IGNORED | IN_UNMOUNT)

/* A directory besides. */
struct place {
	int number;
	char *path;
	UT_hash_handle hh;
};

struct file_watch {
	const struct file_watch_events *events;
	void *context;
	uv_poll_t poll;
	int inotify;
	int directory_watch, file_watch; /* -1 = none */
	char *directory;
	struct place *places;
	bool out_of_watches; /* was logged */
};

/*
 * A file is created empty and then written, which ends in IN_CLOSE_WRITE; but a link or a directory is complete when
 * it appears.
 */
static bool is_complete(const char *directory, const char *name)
{
	char *path = xasprintf("%s/%s", directory, name);
	struct stat st;
	bool complete = lstat(path, &st) == 0 && (!S_ISREG(st.st_mode) || st.st_nlink > 1);

	free(path);
	return complete;
}

/* The place is NULL for the directory itself. */
static void tell_entry(const struct file_watch *watch, const struct place *place, const struct inotify_event *event)
{
	const char *path = place ? place->path : NULL;

	if (event->mask & IN_ATTRIB)
		watch->events->attributes(watch->context, path, event->name);
	else if (!(event->mask & IN_CREATE) || is_complete(place ? path : watch->directory, event->name))
		watch->events->changed(watch->context, path, event->name);
}

static void forget_place(struct file_watch *watch, struct place *place)
{
	HASH_DEL(watch->places, place);
	free(place->path);
	free(place);
}

static void tell_place(struct file_watch *watch, struct place *place, const struct inotify_event *event)
{
	if (event->mask & LOST_EVENTS)
		watch->events->changed(watch->context, place->path, NULL);
	else if (event->len)
		tell_entry(watch, place, event);
	if (event->mask & IN_IGNORED)
		forget_place(watch, place);
}

static void tell(struct file_watch *watch, const struct inotify_event *event)
{
	bool directory = event->wd == watch->directory_watch, file = event->wd == watch->file_watch;
	struct place *place;

	HASH_FIND_INT(watch->places, &event->wd, place);
	if (event->mask & IN_Q_OVERFLOW || ((directory || file) && event->mask & LOST_EVENTS))
		watch->events->changed(watch->context, NULL, NULL);
	else if (directory && event->len)
		tell_entry(watch, NULL, event);
	else if (file && event->mask & IN_ATTRIB)
		watch->events->attributes(watch->context, NULL, NULL);
	else if (file)
		watch->events->changed(watch->context, NULL, NULL);
	else if (place)
		tell_place(watch, place, event);

	if (event->mask & IN_IGNORED && directory)
		watch->directory_watch = -1;
	if (event->mask & IN_IGNORED && file)
		watch->file_watch = -1;
}

static void on_readable(uv_poll_t *poll, int status, int poll_events)
{
	_Alignas(struct inotify_event) char buffer[16384];
	struct file_watch *watch = poll->data;
	uint64_t first_seen = uv_hrtime();
	ssize_t length;

	(void)status, (void)poll_events;
	do {
		length = read(watch->inotify, buffer, sizeof(buffer));
		for (const char *at = buffer; at < buffer + length;) {
			const struct inotify_event *event = (const void *)at;

			tell(watch, event);
			at += sizeof(*event) + event->len;
		}
	} while (length > (ssize_t)(sizeof(buffer) - EVENT_MAX)); /* else there was room for more */
	watch->events->drained(watch->context, first_seen);
}

int file_watch_open(uv_loop_t *loop, const struct file_watch_events *events, void *context, struct file_watch **ret,
		    struct error *err)
{
	int inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), code;
	struct file_watch *watch;

	if (inotify < 0)
		return fail(err, -errno, "inotify: %s (sysctl fs.inotify.max_user_instances may be raised)",
			    strerror(errno));
	watch = xcalloc(1, sizeof(*watch));
	*watch = (struct file_watch){
		.events = events,
		.context = context,
		.inotify = inotify,
		.directory_watch = -1,
		.file_watch = -1,
	};
	code = uv_poll_init(loop, &watch->poll, inotify);
	if (code) {
		close(inotify);
		free(watch);
		return fail(err, code, "inotify: %s", uv_strerror(code));
	}
	watch->poll.data = watch;
	uv_poll_start(&watch->poll, UV_READABLE, on_readable);
	*ret = watch;
	return 0;
}

static void warn_out_of_watches(struct file_watch *watch, const char *path)
{
	if (watch->out_of_watches)
		return;
	watch->out_of_watches = true;
	log_warning("%s: changes are noticed late: no inotify watch is left (sysctl fs.inotify.max_user_watches)",
		    path);
}

/* Points a watch to what is at the path now. The kernel gives the same number again for the same inode. */
static void point(struct file_watch *watch, int *number, const char *path, uint32_t mask)
{
	int before = *number;

	*number = path ? inotify_add_watch(watch->inotify, path, mask) : -1;
	if (path && *number < 0 && errno == ENOSPC)
		warn_out_of_watches(watch, path);
	if (before >= 0 && before != *number)
		inotify_rm_watch(watch->inotify, before);
}

bool file_watch_set(struct file_watch *watch, const char *directory, const char *file)
{
	if (!watch->directory || strcmp(watch->directory, directory) != 0) {
		free(watch->directory);
		watch->directory = xstrdup(directory);
	}
	point(watch, &watch->directory_watch, directory, DIRECTORY_EVENTS);
	point(watch, &watch->file_watch, file, FILE_EVENTS);
	return watch->directory_watch >= 0;
}

static void end_place(struct file_watch *watch, int number)
{
	struct place *place;

	HASH_FIND_INT(watch->places, &number, place);
	if (!place)
		return;
	inotify_rm_watch(watch->inotify, number);
	forget_place(watch, place);
}

/* Returns the number, or -1 where the watch is somebody else's: the kernel has one for each inode. */
static int add_place(struct file_watch *watch, int number, const char *path)
{
	struct place *place;

	HASH_FIND_INT(watch->places, &number, place);
	if (number < 0 || number == watch->directory_watch || number == watch->file_watch)
		return -1;
	if (place)
		return strcmp(place->path, path) == 0 ? number : -1;
	place = xcalloc(1, sizeof(*place));
	place->number = number;
	place->path = xstrdup(path);
	HASH_ADD_INT(watch->places, number, place);
	return number;
}

void file_watch_besides(struct file_watch *watch, int *number, const char *directory)
{
	int before = *number, now = directory ? inotify_add_watch(watch->inotify, directory, DIRECTORY_EVENTS) : -1;

	if (directory && now < 0 && errno == ENOSPC)
		warn_out_of_watches(watch, directory);
	*number = add_place(watch, now, directory);
	if (before >= 0 && before != *number)
		end_place(watch, before);
}

static void on_closed(uv_handle_t *handle)
{
	struct file_watch *watch = handle->data;
	struct place *place, *next;

	HASH_ITER (hh, watch->places, place, next)
		forget_place(watch, place);

	close(watch->inotify);
	free(watch->directory);
	free(watch);
}

void file_watch_close(struct file_watch *watch)
{
	if (watch)
		uv_close((uv_handle_t *)&watch->poll, on_closed);
}
