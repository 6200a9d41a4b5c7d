/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/keep-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

void keep_file_set_aside(const char *path, const char *reason, bool dry_run)
{
	char *aside = xasprintf("%s.broken", path);

	if (dry_run)
		log_warning("%s: going on without it", reason);
	else if (rename(path, aside) == 0)
		log_warning("%s: going on without it; it is kept as %s", reason, aside);
	else
		log_warning("%s: going on without it; it cannot be kept as %s (%s)", reason, aside, strerror(errno));
	free(aside);
}

static FILE *create(const char *path)
{
	int fd;

	unlink(path); /* what a crash left, with whatever owner and mode */
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd < 0 ? NULL : fdopen(fd, "w");
}

static int write_new(const char *path, void (*write)(const void *context, FILE *out), const void *context)
{
	FILE *out = create(path);
	int code = 0;

	if (!out)
		return -errno;
	write(context, out);
	if (fflush(out) != 0 || fsync(fileno(out)) < 0)
		code = -errno;
	else if (ferror(out))
		code = -EIO; /* of an earlier part: its errno is gone */
	fclose(out);
	if (code < 0)
		unlink(path);
	return code;
}

/* A rename is on the disk when its directory is. */
static void sync_directory(const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return xstrdup(".");
	return xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
}

int keep_file_replace(const char *path, void (*write)(const void *context, FILE *out), const void *context)
{
	char *directory = directory_of(path), *next = xasprintf("%s.new", path);
	int code;

	mkdir(directory, 0755); /* where this fails, open() tells why */
	code = write_new(next, write, context);
	if (code == 0 && rename(next, path) < 0) {
		code = -errno;
		unlink(next);
	}
	if (code == 0)
		sync_directory(directory);
	free(directory);
	free(next);
	return code;
}
