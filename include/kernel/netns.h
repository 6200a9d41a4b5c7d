/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network namespaces. The daemon stays in its own: it only visits another one to open sockets there, which keep
 * their namespace, so that registries are reached from the host while rules land in the application's namespace.
 */
#ifndef NUNCIO_KERNEL_NETNS_H
#define NUNCIO_KERNEL_NETNS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Opens the namespace that `spec` names: a name under /run/netns, a path, "pid:N", or NULL for the caller's own.
 * Returns a file descriptor for the caller to close, or a negative errno with a sentence that says what to do.
 */
int netns_open(const char *spec, struct error *err);

/* The inode of the namespace that `spec` names, which tells it from all others that there are now; 0: cannot be had. */
uint64_t netns_inode(const char *spec);
uint64_t netns_inode_of(int fd); /* the same of an open one */

/* Does `spec` (not NULL) still name the namespace that is open as fd? Holding it open keeps its inode from being
 * reused. */
bool netns_is_current(const char *spec, int fd);

/* Is this process in a container, which is to say in another PID namespace than the machine's first process? */
bool netns_in_container(void);

/*
 * Makes the caller the only one that holds the lock of the calling thread's namespace, for as long as the returned file
 * descriptor is open. -EADDRINUSE: somebody else has it.
 */
int netns_lock(struct error *err);

/* Runs function(context) in the namespace and comes back. Returns what the function returned, or a negative errno. */
int netns_call(int fd, int (*function)(void *context), void *context, struct error *err);

#endif
