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

/* Left-overs of a request that was given up must not be taken for answers of the next. Atomic: a listing may have a
 * thread of its own. */
static uint32_t next_sequence(void)
{
	static _Atomic uint32_t sequence;

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

/* Requests in one system call: the answers to all of them fit into the socket's receive buffer. */
#define REQUESTS_PER_SEND 64

/* Requests on their way, and who wants their answers; NULL: nobody. */
struct exchange {
	struct mnl_socket *socket;
	int ignored; /* an error that is none */
	mnl_cb_t callback;
	void *context;
};

static int take_error(const struct exchange *exchange, const struct nlmsghdr *header)
{
	const struct nlmsgerr *answer = mnl_nlmsg_get_payload(header);

	return answer->error == exchange->ignored ? 0 : answer->error;
}

/* What is in the way to the answer with this sequence number, which ends it. Returns the first error. */
static int await_answer(const struct exchange *exchange, uint32_t sequence)
{
	_Alignas(struct nlmsghdr) char buffer[RECEIVE_BYTES];
	int code = 0;

	for (;;) {
		int length = (int)mnl_socket_recvfrom(exchange->socket, buffer, sizeof(buffer));
		const struct nlmsghdr *header = (const struct nlmsghdr *)(const void *)buffer;

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return -errno;
		for (; mnl_nlmsg_ok(header, length); header = mnl_nlmsg_next(header, &length)) {
			if (header->nlmsg_type != NLMSG_ERROR) {
				if (exchange->callback)
					exchange->callback(header, exchange->context);
				continue;
			}
			if (code == 0)
				code = take_error(exchange, header);
			if (header->nlmsg_seq == sequence)
				return code;
		}
	}
}

static int exchange_all(const struct exchange *exchange, void *requests, size_t length)
{
	char *at = requests, *end = at + length;
	int code = 0;

	while (code == 0 && at < end) {
		char *first = at;
		struct nlmsghdr *last = NULL;

		for (unsigned int count = 0; count < REQUESTS_PER_SEND && at < end; count++) {
			last = (struct nlmsghdr *)(void *)at;
			last->nlmsg_flags &= (uint16_t)~NLM_F_ACK;
			last->nlmsg_seq = next_sequence();
			at += last->nlmsg_len;
		}
		last->nlmsg_flags |= NLM_F_ACK;
		if (mnl_socket_sendto(exchange->socket, first, (size_t)(at - first)) < 0)
			return -errno;
		code = await_answer(exchange, last->nlmsg_seq);
	}
	return code;
}

int netlink_send_all(struct mnl_socket *socket, void *requests, size_t length, int ignored)
{
	const struct exchange exchange = {.socket = socket, .ignored = ignored};

	return exchange_all(&exchange, requests, length);
}

int netlink_ask_all(struct mnl_socket *socket, void *requests, size_t length, int ignored, mnl_cb_t callback,
		    void *context)
{
	const struct exchange exchange = {
		.socket = socket, .ignored = ignored, .callback = callback, .context = context};

	return exchange_all(&exchange, requests, length);
}
