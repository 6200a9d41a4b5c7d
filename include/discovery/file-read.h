/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file of a registry, read whole and with care: it is written by others, at any moment. */
#ifndef NUNCIO_DISCOVERY_FILE_READ_H
#define NUNCIO_DISCOVERY_FILE_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/error.h"

/* Larger files are refused, bytes. */
#define FILE_SIZE_MAX (256 << 20)

/* What tells one state of a file from another without reading it. Zeroed = no file. */
struct file_stamp {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec mtime;
};

struct file_text {
	char *text; /* to be freed; not NUL-terminated */
	size_t length;
	struct file_stamp stamp;
};

/*
 * Reads a regular file. Returns 0; -ENOENT where there is none (a link that leads nowhere and a path through something
 * that is no directory are the same); or another negative errno; the sentence names path and reason. After a failure
 * only ret->stamp is set, as far as it could be seen.
 */
int file_read(const char *path, struct file_text *ret, struct error *err);

/* The first line of a file, such as a password's, to be freed; NULL with a sentence, also where it is empty. */
char *file_first_line(const char *path, struct error *err);

/* The stamp of what is at the path now, links followed; zeroed where nothing can be seen. */
struct file_stamp file_stamp(const char *path);
bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b);

/* Was it written so lately that it may still be being written? */
bool file_stamp_is_fresh(const struct file_stamp *stamp);

/* Has somebody locked the file, by flock() and not to share it? So has not where we may not read it. */
bool file_is_locked(const char *path);

/* "2026-01-02T03:04:05.678901234Z", the time of the last write, for people; or "absent". */
#define FILE_REVISION_TEXT 64
const char *file_stamp_text(const struct file_stamp *stamp, char buffer[FILE_REVISION_TEXT]);

#endif
