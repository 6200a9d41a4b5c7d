/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/file-read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define FRESH_SECONDS 1

static struct file_stamp stamp_of(const struct stat *st)
{
	return (struct file_stamp){
		.device = st->st_dev,
		.inode = st->st_ino,
		.size = st->st_size,
		.mtime = st->st_mtim,
	};
}

struct file_stamp file_stamp(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? stamp_of(&st) : (struct file_stamp){0};
}

bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec;
}

bool file_stamp_is_fresh(const struct file_stamp *stamp)
{
	struct timespec now;
	time_t age;

	clock_gettime(CLOCK_REALTIME, &now);
	age = now.tv_sec - stamp->mtime.tv_sec;
	return stamp->inode && age >= 0 && age <= FRESH_SECONDS;
}

bool file_is_locked(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;

	if (fd >= 0)
		close(fd);
	return locked;
}

const char *file_stamp_text(const struct file_stamp *stamp, char buffer[FILE_REVISION_TEXT])
{
	struct tm tm;
	size_t length;

	if (!stamp->inode || !gmtime_r(&stamp->mtime.tv_sec, &tm))
		return strcpy(buffer, "absent");
	length = strftime(buffer, FILE_REVISION_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buffer + length, FILE_REVISION_TEXT - length, ".%09ldZ", stamp->mtime.tv_nsec);
	return buffer;
}

static int check_readable(const struct stat *st, const char *path, struct error *err)
{
	if (!S_ISREG(st->st_mode))
		return fail(err, -EINVAL, "%s: not a regular file", path);
	if (st->st_size > FILE_SIZE_MAX)
		return fail(err, -EFBIG, "%s: %jd bytes: at most %d are accepted", path, (intmax_t)st->st_size,
			    FILE_SIZE_MAX);
	return 0;
}

/* Reads to the end, which may have moved since the size was known; room for one byte more shows it. */
static int read_all(int fd, struct file_text *file)
{
	size_t capacity = (size_t)file->stamp.size + 1;

	file->text = xrealloc(NULL, capacity, 1);
	for (;;) {
		ssize_t got = read(fd, file->text + file->length, capacity - file->length);

		if (got == 0)
			return 0;
		if (got < 0)
			return -errno;
		file->length += (size_t)got;
		if (file->length > FILE_SIZE_MAX)
			return -EFBIG;
		if (file->length == capacity) {
			capacity *= 2;
			file->text = xrealloc(file->text, capacity, 1);
		}
	}
}

static int read_open(int fd, const char *path, struct file_text *file, struct error *err)
{
	struct stat st;
	int code;

	if (fstat(fd, &st) < 0)
		return fail(err, -errno, "%s: %s", path, strerror(errno));
	file->stamp = stamp_of(&st);
	code = check_readable(&st, path, err);
	if (code)
		return code;
	code = read_all(fd, file);
	if (code) {
		free(file->text);
		fail(err, code, "%s: %s", path, strerror(-code));
	}
	return code;
}

int file_read(const char *path, struct file_text *ret, struct error *err)
{
	/* O_NONBLOCK: opening a FIFO must not wait for its writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct file_text file = {0};
	int code;

	if (fd < 0) {
		bool missing = errno == ENOENT || errno == ENOTDIR;

		code = fail(err, -errno, "%s: %s", path, strerror(errno));
		if (!missing) {
			ret->stamp = file_stamp(path);
			return code;
		}
		ret->stamp = (struct file_stamp){0};
		return -ENOENT;
	}
	code = read_open(fd, path, &file, err);
	close(fd);
	if (code)
		ret->stamp = file.stamp;
	else
		*ret = file;
	return code;
}

char *file_first_line(const char *path, struct error *err)
{
	struct file_text file = {0};
	char *line = NULL;
	size_t length = 0;

	if (file_read(path, &file, err) < 0)
		return NULL;
	/* Three bytes: it ends at a NUL, too. */
	while (length < file.length && !memchr("\r\n", file.text[length], 3))
		length++;
	if (length)
		line = xstrndup(file.text, length);
	else
		fail(err, -EINVAL, "%s: its first line is empty", path);
	free(file.text);
	return line;
}
