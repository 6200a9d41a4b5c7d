/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests and dumps over a netlink socket, with the interruptions that dumps know. Thin, over libmnl. */
#ifndef NUNCIO_KERNEL_NETLINK_H
#define NUNCIO_KERNEL_NETLINK_H

#include <libmnl/libmnl.h>
#include <stdint.h>

#include "base/error.h"

/* Opens and binds a socket of a netlink family (NETLINK_*) in the calling thread's network namespace. */
int netlink_open(int family, struct mnl_socket **ret, struct error *err);

/*
 * Sends a request and hands every message of the answer to `callback` (libmnl's convention: MNL_CB_OK goes on).
 * Returns 0; -EINTR where the kernel says that the dump is inconsistent; -ENOBUFS where answers were lost; or the
 * kernel's error. The header's sequence number is set here.
 */
int netlink_request(struct mnl_socket *socket, struct nlmsghdr *request, mnl_cb_t callback, void *context);

/*
 * Sends requests that stand one behind the other, many in a system call, and waits until all are carried out. Returns
 * 0, or the first error other than `ignored`. Sequence numbers and the flag for an answer are set here.
 */
int netlink_send_all(struct mnl_socket *socket, void *requests, size_t length, int ignored);

/* The same for requests that are answered: each answer goes to `callback`, whose result is of no account. */
int netlink_ask_all(struct mnl_socket *socket, void *requests, size_t length, int ignored, mnl_cb_t callback,
		    void *context);

/* How often a dump that was interrupted is begun again. */
#define NETLINK_DUMP_TRIES 10

#endif
