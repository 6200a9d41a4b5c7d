/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A drop-in of the service's in a registry of files, DIR/SERVICE.d/ID.live, which counts while we have it locked
 * (discovery/file/service.h): so it ends with us, however we end. Every third of the TTL we look whether it is there as
 * we wrote it, and else put it again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "announce/registrar.h"
#include "announce/value.h"
#include "base/log.h"
#include "discovery/file/service.h"
#include "discovery/source.h"

#define NAME_MAX_BYTES 255
#define TEMPORARY "XXXXXX" /* which mkostemp() replaces */

struct registrar_file {
	struct registrar base;
	char *directory, *path, *text;
	int fd;			 /* of what we put, with its lock; -1 = none */
	struct file_stamp stamp; /* as we put it */
};

/* The base is the first member. */
static struct registrar_file *registrar_file(struct registrar *base)
{
	return (struct registrar_file *)base;
}

/* Where the registry is. */
static const char *root(const struct announce_conf *conf)
{
	return conf->registry.uri + strlen("file:");
}

static int failure(struct error *err, const char *what)
{
	return fail(err, -errno, "%s: %s", what, strerror(errno));
}

/* Putting */

/* With those that it is in. */
static int make_directory(const char *directory, struct error *err)
{
	char *path = xstrdup(directory), *slash = path;
	int code = 0;

	do {
		slash = strchr(slash + 1, '/');
		if (slash)
			*slash = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			code = failure(err, path);
		if (slash)
			*slash = '/';
	} while (slash && !code);
	free(path);
	return code;
}

/* It counts from the moment on when it has its name: it is complete and locked then. */
static int fill(struct registrar_file *registrar, int fd, const char *temporary, struct error *err)
{
	size_t length = strlen(registrar->text);
	ssize_t written = write(fd, registrar->text, length);

	if (written >= 0 && (size_t)written < length)
		errno = ENOSPC;
	if (written < 0 || (size_t)written < length || fchmod(fd, 0644) < 0)
		return failure(err, temporary);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return fail(err, -errno, "%s: it cannot be locked: %s", temporary, strerror(errno));
	registrar->stamp = file_stamp(temporary);
	return rename(temporary, registrar->path) < 0 ? failure(err, registrar->path) : 0;
}

static int put(struct registrar_file *registrar, struct error *err)
{
	char *temporary = xasprintf("%s/." TEMPORARY, registrar->directory);
	int code = make_directory(registrar->directory, err), fd = -1;

	if (!code) {
		fd = mkostemp(temporary, O_CLOEXEC);
		code = fd < 0 ? failure(err, registrar->directory) : fill(registrar, fd, temporary, err);
	}
	if (code && fd >= 0) {
		unlink(temporary);
		close(fd);
	}
	free(temporary);
	if (!code)
		registrar->fd = fd;
	return code;
}

/* Withdrawing */

static bool is_there(const struct registrar_file *registrar)
{
	struct file_stamp now = file_stamp(registrar->path);

	return registrar->fd >= 0 && file_stamp_equal(&now, &registrar->stamp);
}

/* What is not locked does not count any more, even if it cannot be removed. */
static void give_up(struct registrar_file *registrar)
{
	if (is_there(registrar) && unlink(registrar->path) < 0)
		log_warning("%s: it does not count any more, and cannot be removed: %s", registrar->path,
			    strerror(errno));
	if (registrar->fd >= 0)
		close(registrar->fd);
	registrar->fd = -1;
}

/* Steps */

static void say_announced(struct registrar_file *registrar)
{
	char *how = xasprintf("as %s", registrar->path);

	registrar->base.events->announced(registrar->base.context, how);
	free(how);
}

/* There was one of ours. */
static void say_loss(const struct registrar_file *registrar)
{
	log_warning("registry %s: %s %s, putting it again", registrar->base.conf->registry.uri, registrar->path,
		    access(registrar->path, F_OK) < 0 ? "was deleted"
						      : "was changed, or put by another with the same --id");
}

static bool step(struct registrar *base, bool due)
{
	struct registrar_file *registrar = registrar_file(base);
	bool there = registrar->fd >= 0;
	struct error err;

	if (!base->wanted)
		give_up(registrar);
	if (!base->wanted || (there && !due))
		return false;
	if (there && !is_there(registrar))
		say_loss(registrar);
	if (!is_there(registrar)) {
		give_up(registrar);
		if (put(registrar, &err) < 0) {
			registrar_failed(base, 1, err.text);
			return true;
		}
		say_announced(registrar);
	}
	registrar_succeeded(base, "it can be written again");
	base->alive = uv_now(base->loop);
	return false;
}

/* The start */

static int check_path(const struct announce_conf *conf, struct error *err)
{
	struct stat st;
	bool there = stat(root(conf), &st) == 0;

	if (there ? !S_ISDIR(st.st_mode) : file_name_ends_in(root(conf), ".json"))
		return fail(err, -EINVAL,
			    "registry \"%s\": several cannot write to one file; announce to a directory, file:DIR, "
			    "that has a file for each service",
			    conf->registry.uri);
	return 0;
}

static int check_names(const struct announce_conf *conf, struct error *err)
{
	size_t room = NAME_MAX_BYTES - strlen(FILE_LIVE);

	if (!file_name_is_meant(conf->service) || strlen(conf->service) > NAME_MAX_BYTES - strlen(FILE_DROPINS))
		return fail(err, -EINVAL, "--service \"%s\": no file of this name is read in a directory",
			    conf->service);
	if (conf->id && (*conf->id == '.' || strchr(conf->id, '/') || strlen(conf->id) > room))
		return fail(err, -EINVAL,
			    "--id \"%s\": in a file's name, no '/' is accepted, no '.' at the beginning, and %zu bytes",
			    conf->id, room);
	return 0;
}

static int check(const struct announce_conf *conf, struct error *err)
{
	int code = source_check(&conf->registry, err);

	if (!code && conf->format != FORMAT_JSON)
		code = fail(err, -EINVAL, "registry \"%s\": files have a form of their own; --format is for etcd",
			    conf->registry.uri);
	if (!code)
		code = check_path(conf, err);
	return code ? code : check_names(conf, err);
}

static struct registrar *open_file(uv_loop_t *loop, const struct announce_conf *conf, const struct ip_port *at)
{
	struct registrar_file *registrar = xcalloc(1, sizeof(*registrar));
	char *id = announce_file_id(conf, at);

	(void)loop;
	registrar->base.ttl_s = conf->ttl_s;
	registrar->directory = xasprintf("%s/%s" FILE_DROPINS, root(conf), conf->service);
	registrar->path = xasprintf("%s/%s" FILE_LIVE, registrar->directory, id);
	registrar->text = announce_file_text(conf, at);
	registrar->fd = -1;
	free(id);
	return &registrar->base;
}

static void stop(struct registrar *base)
{
	give_up(registrar_file(base));
}

static void free_file(struct registrar *base)
{
	struct registrar_file *registrar = registrar_file(base);

	free(registrar->directory);
	free(registrar->path);
	free(registrar->text);
	free(registrar);
}

static const char *const schemes[] = {"file", NULL};

const struct registrar_ops registrar_file_ops = {
	.schemes = schemes,
	.form = "file:DIR",
	.remains = "its file does not count any more", /* never: it is withdrawn at once */
	.check = check,
	.open = open_file,
	.step = step,
	.stop = stop,
	.free = free_file,
};
