/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>

/* The kernel fills up to 32 KiB per answer of a dump when the reader offers that much. */
#define RECEIVE_BYTES 65536

int netlink_open(int family, struct mnl_socket **ret, struct error *err)
{
	struct mnl_socket *socket = mnl_socket_open2(family, SOCK_CLOEXEC);

	if (!socket)
		return fail(err, -errno, "cannot open a netlink socket: %s", strerror(errno));
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		int code = -errno;

		mnl_socket_close(socket);
		return fail(err, code, "cannot bind a netlink socket: %s", strerror(-code));
	}
	*ret = socket;
	return 0;
}

/* Left-overs of a request that was given up must not be taken for answers of the next. */
static uint32_t next_sequence(void)
{
	static uint32_t sequence;

	return ++sequence;
}

int netlink_request(struct mnl_socket *socket, struct nlmsghdr *request, mnl_cb_t callback, void *context)
{
	uint32_t port = mnl_socket_get_portid(socket);
	_Alignas(struct nlmsghdr) char buffer[RECEIVE_BYTES];
	int result = MNL_CB_OK;

	request->nlmsg_seq = next_sequence();
	if (mnl_socket_sendto(socket, request, request->nlmsg_len) < 0)
		return -errno;
	while (result > MNL_CB_STOP) {
		ssize_t length = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));
		const struct nlmsghdr *first = (const struct nlmsghdr *)(const void *)buffer;

		if (length < 0 && errno == EINTR)
			continue; /* a signal, not the dump */
		if (length < 0)
			return -errno;
		if (first->nlmsg_seq != request->nlmsg_seq)
			continue;
		result = mnl_cb_run(buffer, (size_t)length, request->nlmsg_seq, port, callback, context);
		if (result < 0)
			return errno ? -errno : -EIO;
	}
	return 0;
}
