/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void make_path(const char *spec, char path[PATH_MAX])
{
	if (!spec)
		snprintf(path, PATH_MAX, "/proc/self/ns/net");
	else if (strncmp(spec, "pid:", 4) == 0)
		snprintf(path, PATH_MAX, "/proc/%s/ns/net", spec + 4);
	else if (strchr(spec, '/'))
		snprintf(path, PATH_MAX, "%s", spec);
	else
		snprintf(path, PATH_MAX, "/run/netns/%s", spec);
}

int netns_open(const char *spec, struct error *err)
{
	char path[PATH_MAX];
	int fd, code;

	make_path(spec, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	code = -errno;
	if (code != -ENOENT)
		return fail(err, code, "cannot open the network namespace %s: %s", path, strerror(-code));
	if (spec && strncmp(spec, "pid:", 4) == 0)
		return fail(err, code, "there is no process %s whose network namespace could be used", spec + 4);
	return fail(err, code,
		    "there is no network namespace %s: give a name that `ip netns list` shows, a path, or pid:N of a "
		    "process in it",
		    path);
}

uint64_t netns_inode(const char *spec)
{
	char path[PATH_MAX];
	struct stat named, own;

	make_path(spec, path);
	/* A path that a namespace is to be mounted on, or was, is a file of another file system. */
	if (stat(path, &named) < 0 || stat("/proc/self/ns/net", &own) < 0 || named.st_dev != own.st_dev)
		return 0;
	return named.st_ino;
}

uint64_t netns_inode_of(int fd)
{
	struct stat open;

	return fstat(fd, &open) == 0 ? open.st_ino : 0;
}

/* Of the first PID namespace: PID_NS_INIT_INO of linux/nsfs.h, which older headers lack. */
#define FIRST_PID_NAMESPACE 0xEFFFFFFCU

bool netns_in_container(void)
{
	struct stat own;

	return stat("/proc/self/ns/pid", &own) == 0 && own.st_ino != FIRST_PID_NAMESPACE;
}

bool netns_is_current(const char *spec, int fd)
{
	char path[PATH_MAX];
	struct stat named, open;

	make_path(spec, path);
	return stat(path, &named) == 0 && fstat(fd, &open) == 0 && named.st_dev == open.st_dev &&
	       named.st_ino == open.st_ino;
}

/* Abstract Unix sockets belong to their network namespace, and end with their process: a lock that is never left over.
 */
int netns_lock(struct error *err)
{
	static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "\0nuncio"};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), code;

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		code = -errno;
		if (fd >= 0)
			close(fd);
		if (code == -EADDRINUSE)
			return fail(err, code, "another nuncio serves this network namespace: stop it first");
		return fail(err, code, "cannot lock the network namespace: %s", strerror(-code));
	}
	return fd;
}

/* Entering the namespace that one is in already would need CAP_SYS_ADMIN for nothing, which a container lacks. */
static bool same_namespace(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int netns_call(int fd, int (*function)(void *context), void *context, struct error *err)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), code;

	if (home < 0)
		return fail(err, -errno, "cannot open the own network namespace: %s", strerror(errno));
	if (same_namespace(fd, home)) {
		close(home);
		return function(context);
	}
	if (setns(fd, CLONE_NEWNET) < 0) {
		code = -errno;
		close(home);
		if (code == -EPERM)
			return fail(err, code,
				    "not permitted to enter the network namespace: that needs CAP_SYS_ADMIN "
				    "(run nuncio as root, or start it inside the namespace)");
		return fail(err, code, "cannot enter the network namespace: %s", strerror(-code));
	}
	code = function(context);
	if (setns(home, CLONE_NEWNET) < 0)
		abort(); /* nothing that follows would be where it is meant to be */
	close(home);
	return code;
}
