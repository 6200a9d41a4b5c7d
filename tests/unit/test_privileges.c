/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is left of a process that gave its privileges up. Each in a child: there is no way back. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/privileges.h"

/* A sanitizer needs what the filter refuses, and a filter that is there already stands for ours. */
static void skip_without_filter(void)
{
#ifdef __SANITIZE_ADDRESS__
	skip();
#endif
	if (prctl(PR_GET_SECCOMP) != 0)
		skip();
}

/* Runs it in a child without privileges. Returns what it returns, 0 to 255. */
static int in_child(int (*function)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		privileges_drop();
		_exit(function());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int execute(void)
{
	execl("/bin/true", "true", (char *)NULL);
	return errno;
}

static int trace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 ? errno : 0;
}

static int unshare_mounts(void)
{
	return unshare(CLONE_NEWNS) < 0 ? errno : 0;
}

static int mount_something(void)
{
	return mount("none", "/", "tmpfs", 0, NULL) < 0 ? errno : 0;
}

/* The own one, by which nothing would change. */
static int enter(const char *path, int kind)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 || setns(fd, kind) < 0 ? errno : 0;
}

static int enter_mounts(void)
{
	return enter("/proc/self/ns/mnt", CLONE_NEWNS);
}

static int enter_network(void)
{
	return enter("/proc/self/ns/net", CLONE_NEWNET);
}

static int open_family(int family)
{
	int fd = socket(family, SOCK_DGRAM, 0);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int open_packet(void)
{
	return open_family(AF_PACKET);
}

static int open_crypto(void)
{
	return open_family(AF_ALG);
}

static int open_what_is_used(void)
{
	int code = open_family(AF_UNIX);

	code = code ? code : open_family(AF_INET);
	code = code ? code : open_family(AF_NETLINK);
	return code;
}

static void *return_itself(void *argument)
{
	return argument;
}

/* As libcurl does to resolve a name. */
static int start_thread(void)
{
	pthread_t thread;
	int code = pthread_create(&thread, NULL, return_itself, NULL);

	return code ? code : pthread_join(thread, NULL);
}

static int change_owner(void)
{
	return chown("/", 1, 1) < 0 ? errno : 0;
}

static void what_is_not_needed_is_refused(void **state)
{
	(void)state;
	skip_without_filter();
	assert_int_equal(in_child(execute), EPERM);
	assert_int_equal(in_child(trace), EPERM);
	assert_int_equal(in_child(unshare_mounts), EPERM);
	assert_int_equal(in_child(mount_something), EPERM);
	assert_int_equal(in_child(enter_mounts), EPERM);
	assert_int_equal(in_child(open_packet), EAFNOSUPPORT);
	assert_int_equal(in_child(open_crypto), EAFNOSUPPORT);
	assert_int_equal(in_child(change_owner), EPERM);
}

static void what_is_needed_is_not(void **state)
{
	(void)state;
	assert_int_equal(in_child(start_thread), 0);
	assert_int_equal(in_child(open_what_is_used), 0);
	if (geteuid() == 0)
		assert_int_equal(in_child(enter_network), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_needed_is_refused),
		cmocka_unit_test(what_is_needed_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
