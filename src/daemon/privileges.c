/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/mem.h"

/* AddressSanitizer looks for leaks with ptrace(), and asks another program for the lines. */
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED true
#else
#define SANITIZED false
#endif

/* A reload may bring other namespaces and registries, so what was needed once is needed for ever. */
static const unsigned int needed[] = {
	CAP_NET_ADMIN,	     /* nftables, conntrack, addresses, ending connections */
	CAP_NET_RAW,	     /* ending connections of clients outside the namespace: kernel/challenge.c */
	CAP_SYS_ADMIN,	     /* setns() */
	CAP_SYS_PTRACE,	     /* /proc/PID/ns/net of another user's process, or of one with other capabilities */
	CAP_DAC_READ_SEARCH, /* configuration, tokens and keys that belong to others */
};

static bool is_needed(unsigned int capability)
{
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		if (needed[i] == capability)
			return true;
	}
	return false;
}

/* What a process that was not given much cannot give up, it need not: a service manager may forbid even to try. */
static bool takes_away(void)
{
	bool more = false;

	for (unsigned int capability = 0; capability <= CAP_LAST_CAP; capability++) {
		if (is_needed(capability) || !capng_have_capability(CAPNG_PERMITTED, capability))
			continue;
		capng_updatev(CAPNG_DROP, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE, capability, -1);
		more = true;
	}
	return more;
}

static void drop_capabilities(void)
{
	if (capng_get_caps_process() < 0 || !takes_away())
		return;
	if (capng_apply(CAPNG_SELECT_CAPS) < 0)
		log_warning("capabilities that are not needed cannot be dropped: %s", strerror(errno));
}

/*
 * A list of what is refused, and not of what is allowed: which harmless calls libc, a resolver's modules or libcurl
 * make changes with their versions, and a registry that cannot be reached after an upgrade would be worse than the rest
 * of the list. Refused is what changes the machine, other processes or the kernel, and to become another program.
 */
static const char *const refused[] = {
	/* another program, other processes */
	"execve",
	"execveat",
	"ptrace",
	"process_vm_readv",
	"process_vm_writev",
	"process_madvise",
	"pidfd_getfd",
	"kcmp",
	/* other privileges, other views of the machine */
	"setuid",
	"setgid",
	"setreuid",
	"setregid",
	"setresuid",
	"setresgid",
	"setfsuid",
	"setfsgid",
	"setgroups",
	"unshare",
	"chroot",
	"pivot_root",
	"personality",
	"mount",
	"umount",
	"umount2",
	"mount_setattr",
	"move_mount",
	"open_tree",
	"fsopen",
	"fsconfig",
	"fsmount",
	"fspick",
	/* the machine */
	"reboot",
	"kexec_load",
	"kexec_file_load",
	"init_module",
	"finit_module",
	"delete_module",
	"create_module",
	"swapon",
	"swapoff",
	"iopl",
	"ioperm",
	"settimeofday",
	"clock_settime",
	"clock_settime64",
	"adjtimex",
	"clock_adjtime",
	"clock_adjtime64",
	"stime",
	"sethostname",
	"setdomainname",
	"acct",
	"quotactl",
	"quotactl_fd",
	"syslog",
	"vhangup",
	"nfsservctl",
	"_sysctl",
	"uselib",
	"ustat",
	"sysfs",
	"modify_ldt",
	"mknod",
	"mknodat",
	"chown",
	"fchown",
	"lchown",
	"fchownat",
	/* much of the kernel for little */
	"bpf",
	"perf_event_open",
	"userfaultfd",
	"lookup_dcookie",
	"open_by_handle_at",
	"fanotify_init",
	"add_key",
	"keyctl",
	"request_key",
	"io_uring_setup",
	"io_uring_enter",
	"io_uring_register",
	"mbind",
	"migrate_pages",
	"move_pages",
	"set_mempolicy",
};

static int refuse_calls(scmp_filter_ctx filter)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		int call = seccomp_syscall_resolve_name(refused[i]), code;

		/* Not known to this library, or no call of this architecture. */
		if (call == __NR_SCMP_ERROR)
			continue;
		code = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 0);
		if (code < 0 && code != -EDOM)
			return code;
	}
	/* Into network namespaces only. */
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(setns), 1,
				SCMP_A1(SCMP_CMP_NE, CLONE_NEWNET, 0));
}

/* Sockets: local ones, IP and netlink. */
static int refuse_families(scmp_filter_ctx filter)
{
	static const unsigned int used[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
	unsigned int family = 0;
	int code = 0;

	for (size_t i = 0; i < ARRAY_SIZE(used); i++, family++) {
		for (; code == 0 && family < used[i]; family++)
			code = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
						SCMP_A0(SCMP_CMP_EQ, family, 0));
	}
	if (code == 0)
		code = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
					SCMP_A0(SCMP_CMP_GE, family, 0));
	return code;
}

static int load_filter(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int code;

	if (!filter)
		return -ENOMEM;
	code = refuse_calls(filter);
	if (code == 0)
		code = refuse_families(filter);
	if (code == 0)
		code = seccomp_load(filter);
	seccomp_release(filter);
	return code;
}

/* systemd's filter, or a container's, is there already, and refuses more than this one: each costs every call a little.
 */
static bool is_filtered(void)
{
	return prctl(PR_GET_SECCOMP) == 2;
}

static void filter_calls(void)
{
	int code = is_filtered() ? 0 : load_filter();

	if (code < 0)
		log_warning("system calls cannot be filtered: %s", strerror(-code));
}

void privileges_drop(void)
{
	drop_capabilities();
	if (!SANITIZED)
		filter_calls();
}
