/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sockets of a network namespace, whosever they are: looking at them, and ending connections. */
#ifndef NUNCIO_KERNEL_SOCKDIAG_H
#define NUNCIO_KERNEL_SOCKDIAG_H

#include <stdint.h>

#include "base/addr.h"
#include "base/error.h"

struct sockdiag;

/* In the calling thread's network namespace. */
int sockdiag_open(struct sockdiag **ret, struct error *err);
void sockdiag_close(struct sockdiag *sockdiag); /* NULL is fine */

/*
 * Ends a TCP connection of the namespace: whoever waits on its socket gets ECONNABORTED, the peer gets a RST. Returns
 * 0, -ENOENT where no socket here has this connection, -EPERM without CAP_NET_ADMIN, -EOPNOTSUPP where the kernel has
 * no CONFIG_INET_DIAG_DESTROY.
 */
int sockdiag_destroy(struct sockdiag *sockdiag, const struct ip_port *local, const struct ip_port *remote);

struct socket_info {
	struct ip_port local, remote; /* of a UDP socket that is not connected, remote is zero */
	uint64_t inode;		      /* as in /proc/PID/fd: socket:[INODE] */
};

/*
 * Calls each(context, socket) for the sockets of a protocol (IPPROTO_TCP: with a connection; IPPROTO_UDP: all). An IPv4
 * connection of an IPv6 socket is told as what it is.
 */
int sockdiag_list(struct sockdiag *sockdiag, uint8_t protocol,
		  void (*each)(void *context, const struct socket_info *socket), void *context, struct error *err);

#endif
