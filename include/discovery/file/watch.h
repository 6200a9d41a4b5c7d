/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tells when a file in a directory, or one of several, is complete: written and closed, renamed, linked or deleted.
 *
 * This is inotify itself and not libuv's uv_fs_event_t, which reports each write and has no IN_CLOSE_WRITE: half of a
 * file of lines is a valid, shorter list of endpoints, so a file must not be read while it is being written.
 */
#ifndef NUNCIO_DISCOVERY_FILE_WATCH_H
#define NUNCIO_DISCOVERY_FILE_WATCH_H

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"

struct file_watch;

struct file_watch_events {
	/*
	 * Something in the directory, by its name there, is complete or gone. NULL = anything may have changed. The
	 * directory is NULL, or one of those besides, by its path.
	 */
	void (*changed)(void *context, const char *directory, const char *name);
	/* Only its attributes changed: it may have become readable. NULL = the extra file. */
	void (*attributes)(void *context, const char *directory, const char *name);
	/* All events that were queued have been told; first_seen is uv_hrtime() of the first. Time to read, once. */
	void (*drained)(void *context, uint64_t first_seen);
};

/* Returns 0, or a negative errno where the system's limit of inotify instances is reached. */
int file_watch_open(uv_loop_t *loop, const struct file_watch_events *events, void *context, struct file_watch **ret,
		    struct error *err);

/*
 * What to watch from now on: a directory, and a file or NULL. The file is for one in that directory that may be a
 * mount, the events of which the directory does not get; they are told as "anything". Cheap if nothing has changed.
 * Returns whether the directory is watched.
 */
bool file_watch_set(struct file_watch *watch, const char *directory, const char *file);

/*
 * Another directory besides, or NULL for none. *number is where its watch is kept, -1 to begin. Cheap if nothing has
 * changed. One that is watched by another path already is not watched a second time.
 */
void file_watch_besides(struct file_watch *watch, int *number, const char *directory);

/* Stops at once; the memory goes with a later turn of the loop. NULL is fine. */
void file_watch_close(struct file_watch *watch);

#endif
