/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/failures.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "kernel/netlink.h"
#include "ruleset/ruleset.h"

/* The kernel gathers so many reports, or waits for so many hundredths of a second, before it sends them. */
#define GATHERED 32
#define GATHERED_FOR 5

/* Datagrams that are read in one go. */
#define READ_AT_ONCE 16

/* Where the headers have what is of interest. */
enum { IP_HEADER = 20, IP_SADDR = 12, IP6_HEADER = 40, IP6_SADDR = 8, TCP_SEQUENCE = 4, TCP_SEQUENCE_END = 8 };

struct failures {
	struct mnl_socket *socket;
	uint32_t next_number; /* of the next report, as the kernel counts them */
	uint64_t lost;
};

static struct nlmsghdr *put_config(void *buffer)
{
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *general = mnl_nlmsg_put_extra_header(header, sizeof(*general));

	header->nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	general->nfgen_family = AF_UNSPEC;
	general->version = NFNETLINK_V0;
	general->res_id = htons(REPORT_GROUP);
	return header;
}

static int bind_group(struct mnl_socket *socket)
{
	const struct nfulnl_msg_config_cmd command = {.command = NFULNL_CFG_CMD_BIND};
	_Alignas(struct nlmsghdr) char buffer[128] = {0};
	struct nlmsghdr *header = put_config(buffer);

	mnl_attr_put(header, NFULA_CFG_CMD, sizeof(command), &command);
	return netlink_request(socket, header, NULL, NULL);
}

/* With a number in each report, by which losses are seen. */
static int configure(struct mnl_socket *socket)
{
	const struct nfulnl_msg_config_mode mode = {
		.copy_mode = NFULNL_COPY_PACKET,
		.copy_range = htonl(REPORT_SNAPLEN),
	};
	_Alignas(struct nlmsghdr) char buffer[128] = {0};
	struct nlmsghdr *header = put_config(buffer);

	mnl_attr_put(header, NFULA_CFG_MODE, sizeof(mode), &mode);
	mnl_attr_put_u32(header, NFULA_CFG_TIMEOUT, htonl(GATHERED_FOR));
	mnl_attr_put_u32(header, NFULA_CFG_QTHRESH, htonl(GATHERED));
	mnl_attr_put_u16(header, NFULA_CFG_FLAGS, htons(NFULNL_CFG_F_SEQ));
	return netlink_request(socket, header, NULL, NULL);
}

int failures_open(struct failures **ret, struct error *err)
{
	struct mnl_socket *socket;
	int code = netlink_open(NETLINK_NETFILTER, &socket, err);

	if (code < 0)
		return code;
	code = bind_group(socket);
	if (code == 0)
		code = configure(socket);
	if (code < 0) {
		mnl_socket_close(socket);
		if (code == -EBUSY || code == -EPERM)
			return fail(err, code, "eject has no effect: another program has group %d of nfnetlink_log",
				    REPORT_GROUP);
		return fail(err, code, "eject has no effect: nfnetlink_log cannot be had: %s", strerror(-code));
	}
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->socket = socket;
	return 0;
}

void failures_close(struct failures *failures)
{
	if (!failures)
		return;
	mnl_socket_close(failures->socket);
	free(failures);
}

int failures_fd(const struct failures *failures)
{
	return mnl_socket_get_fd(failures->socket);
}

uint64_t failures_lost(const struct failures *failures)
{
	return failures->lost;
}

struct report {
	const struct nlattr *packet, *prefix;
};

static void read_report(const struct nlmsghdr *header, struct failures *failures, struct report *report)
{
	const struct nlattr *attr;

	mnl_attr_for_each (attr, header, sizeof(struct nfgenmsg)) {
		uint16_t type = mnl_attr_get_type(attr);

		if (type == NFULA_PAYLOAD)
			report->packet = attr;
		else if (type == NFULA_PREFIX && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
			report->prefix = attr;
		else if (type == NFULA_SEQ && mnl_attr_validate(attr, MNL_TYPE_U32) == 0) {
			uint32_t number = ntohl(mnl_attr_get_u32(attr));

			failures->lost += number - failures->next_number;
			failures->next_number = number + 1;
		}
	}
}

/* Who began the TCP connection, and with which number, out of a SYN that has no headers in between. */
static bool read_attempt(const struct nlattr *packet, struct failure_report *ret)
{
	const uint8_t *bytes = mnl_attr_get_payload(packet);
	size_t length = mnl_attr_get_payload_len(packet), at;
	uint32_t sequence;
	uint16_t port;
	bool is6;

	if (length < IP_HEADER)
		return false;
	is6 = bytes[0] >> 4 == 6;
	at = is6 ? IP6_HEADER : (bytes[0] & 15u) * 4u;
	if (length < at + TCP_SEQUENCE_END)
		return false;
	ret->client.addr.family = is6 ? AF_INET6 : AF_INET;
	memcpy(ret->client.addr.bytes, bytes + (is6 ? IP6_SADDR : IP_SADDR), ip_addr_size(&ret->client.addr));
	memcpy(&port, bytes + at, sizeof(port));
	memcpy(&sequence, bytes + at + TCP_SEQUENCE, sizeof(sequence));
	ret->client.port = ntohs(port);
	ret->sequence = ntohl(sequence);
	return true;
}

struct reading {
	struct failures *failures;
	void (*each)(void *context, const struct failure_report *report);
	void *context;
};

static int on_report(const struct nlmsghdr *header, void *context)
{
	const struct reading *reading = context;
	struct failure_report ready = {0};
	struct report report = {0};

	if (header->nlmsg_type != (NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET))
		return MNL_CB_OK;
	read_report(header, reading->failures, &report);
	/* A rule without a prefix has an empty one. */
	if (report.prefix && *mnl_attr_get_str(report.prefix))
		ready.link = mnl_attr_get_str(report.prefix);
	if (!ready.link || (report.packet && read_attempt(report.packet, &ready)))
		reading->each(reading->context, &ready);
	return MNL_CB_OK;
}

bool failures_read(struct failures *failures, void (*each)(void *context, const struct failure_report *report),
		   void *context)
{
	struct reading reading = {failures, each, context};
	_Alignas(struct nlmsghdr) char buffer[65536];

	for (int i = 0; i < READ_AT_ONCE; i++) {
		ssize_t received = recv(failures_fd(failures), buffer, sizeof(buffer), MSG_DONTWAIT);

		if (received < 0 && (errno == EINTR || errno == ENOBUFS))
			continue; /* what is lost, the numbers tell */
		if (received <= 0)
			return false;
		mnl_cb_run(buffer, (size_t)received, 0, 0, on_report, &reading);
	}
	return true;
}
