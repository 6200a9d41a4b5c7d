/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernel/netlink.h"

/* CTA_FILTER_ORIG_FLAGS: which fields of CTA_TUPLE_ORIG a dump must match (net/netfilter/nf_conntrack_netlink.c). */
#define FILTER_PROTO_NUM (1u << 3)

struct conntrack {
	struct mnl_socket *socket;
};

int conntrack_open(struct conntrack **ret, struct error *err)
{
	struct mnl_socket *socket;
	int code = netlink_open(NETLINK_NETFILTER, &socket, err);

	if (code < 0)
		return code;
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->socket = socket;
	return 0;
}

void conntrack_close(struct conntrack *conntrack)
{
	if (!conntrack)
		return;
	mnl_socket_close(conntrack->socket);
	free(conntrack);
}

struct tuple {
	struct ip_port source, destination;
	uint8_t protocol;
};

static void read_address(const struct nlattr *attr, struct ip_addr *addr)
{
	uint16_t type = mnl_attr_get_type(attr);

	addr->family = type == CTA_IP_V4_SRC || type == CTA_IP_V4_DST ? AF_INET : AF_INET6;
	if (mnl_attr_get_payload_len(attr) >= ip_addr_size(addr))
		memcpy(addr->bytes, mnl_attr_get_payload(attr), ip_addr_size(addr));
}

static void read_tuple_part(const struct nlattr *part, struct tuple *tuple)
{
	bool proto = mnl_attr_get_type(part) == CTA_TUPLE_PROTO;
	const struct nlattr *attr;

	mnl_attr_for_each_nested (attr, part) {
		uint16_t type = mnl_attr_get_type(attr);

		if (proto && type == CTA_PROTO_NUM)
			tuple->protocol = mnl_attr_get_u8(attr);
		else if (proto && type == CTA_PROTO_SRC_PORT)
			tuple->source.port = ntohs(mnl_attr_get_u16(attr));
		else if (proto && type == CTA_PROTO_DST_PORT)
			tuple->destination.port = ntohs(mnl_attr_get_u16(attr));
		else if (!proto && (type == CTA_IP_V4_SRC || type == CTA_IP_V6_SRC))
			read_address(attr, &tuple->source.addr);
		else if (!proto && (type == CTA_IP_V4_DST || type == CTA_IP_V6_DST))
			read_address(attr, &tuple->destination.addr);
	}
}

static void read_tuple(const struct nlattr *attr, struct tuple *tuple)
{
	const struct nlattr *part;

	mnl_attr_for_each_nested (part, attr) {
		uint16_t type = mnl_attr_get_type(part);

		if (type == CTA_TUPLE_IP || type == CTA_TUPLE_PROTO)
			read_tuple_part(part, tuple);
	}
}

/* Deletions collected during a dump: whole messages, sent when the dump is over. */
struct sweep {
	const struct flows *patterns; /* ordered */
	size_t n_patterns;
	uint8_t *messages;
	size_t used, capacity;
	uint32_t count;
};

#define DELETION_ROOM 512

static int compare_flows(const void *a, const void *b)
{
	const struct flows *x = a, *y = b;
	int order = ip_port_compare(&x->listen.at, &y->listen.at);

	return order ? order : ip_port_compare(&x->endpoint, &y->endpoint);
}

/* The flow's own identity is sent back as it came: tuple, id (so that a successor is left alone) and zone. */
static void collect_deletion(struct sweep *sweep, const struct nlmsghdr *flow)
{
	const struct nfgenmsg *from = mnl_nlmsg_get_payload(flow);
	struct nlmsghdr *header;
	struct nfgenmsg *general;
	const struct nlattr *attr;

	if (sweep->capacity - sweep->used < DELETION_ROOM) {
		sweep->capacity = sweep->capacity * 2 + 16 * DELETION_ROOM;
		sweep->messages = xrealloc(sweep->messages, sweep->capacity, 1);
	}
	header = mnl_nlmsg_put_header(sweep->messages + sweep->used);
	header->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	general = mnl_nlmsg_put_extra_header(header, sizeof(*general));
	general->nfgen_family = from->nfgen_family;
	general->version = NFNETLINK_V0;
	mnl_attr_for_each (attr, flow, sizeof(*from)) {
		uint16_t type = mnl_attr_get_type(attr);

		if (type != CTA_TUPLE_ORIG && type != CTA_ID && type != CTA_ZONE)
			continue;
		if (mnl_attr_get_payload_len(attr) > DELETION_ROOM / 2)
			return; /* not a tuple as we know it */
		mnl_attr_put(header, type == CTA_TUPLE_ORIG ? type | NLA_F_NESTED : type,
			     mnl_attr_get_payload_len(attr), mnl_attr_get_payload(attr));
	}
	sweep->used += header->nlmsg_len;
	sweep->count++;
}

static int on_flow(const struct nlmsghdr *header, void *context)
{
	struct tuple original = {0}, reply = {0};
	struct sweep *sweep = context;
	const struct nlattr *attr;
	struct flows flow = {0};

	mnl_attr_for_each (attr, header, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) == CTA_TUPLE_ORIG)
			read_tuple(attr, &original);
		else if (mnl_attr_get_type(attr) == CTA_TUPLE_REPLY)
			read_tuple(attr, &reply);
	}
	flow.listen.at = original.destination;
	flow.endpoint = reply.source;
	if (original.protocol == IPPROTO_UDP &&
	    bsearch(&flow, sweep->patterns, sweep->n_patterns, sizeof(flow), compare_flows))
		collect_deletion(sweep, header);
	return MNL_CB_OK;
}

/* All UDP flows of a family. A kernel before 5.8 ignores the filter and sends all flows: on_flow() looks again. */
static int dump_flows(struct conntrack *conntrack, uint8_t family, struct sweep *sweep)
{
	_Alignas(struct nlmsghdr) char buffer[256] = {0};
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *general;
	struct nlattr *outer, *inner;

	header->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	general = mnl_nlmsg_put_extra_header(header, sizeof(*general));
	general->nfgen_family = family;
	general->version = NFNETLINK_V0;
	outer = mnl_attr_nest_start(header, CTA_TUPLE_ORIG);
	inner = mnl_attr_nest_start(header, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(header, CTA_PROTO_NUM, IPPROTO_UDP);
	mnl_attr_nest_end(header, inner);
	mnl_attr_nest_end(header, outer);
	outer = mnl_attr_nest_start(header, CTA_FILTER);
	mnl_attr_put_u32(header, CTA_FILTER_ORIG_FLAGS, FILTER_PROTO_NUM);
	mnl_attr_put_u32(header, CTA_FILTER_REPLY_FLAGS, 0);
	mnl_attr_nest_end(header, outer);
	return netlink_request(conntrack->socket, header, on_flow, sweep);
}

static int send_deletions(struct conntrack *conntrack, struct sweep *sweep, uint32_t *ret_deleted)
{
	for (size_t at = 0; at < sweep->used;) {
		struct nlmsghdr *header = (struct nlmsghdr *)(void *)(sweep->messages + at);
		int code;

		at += header->nlmsg_len;
		code = netlink_request(conntrack->socket, header, NULL, NULL);
		if (code == 0)
			++*ret_deleted;
		else if (code != -ENOENT) /* it ended by itself */
			return code;
	}
	return 0;
}

int conntrack_delete(struct conntrack *conntrack, const struct flows *patterns, size_t count, uint32_t *ret_deleted,
		     struct error *err)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	struct flows *ordered = xcalloc(count + 1, sizeof(*ordered));
	struct sweep sweep = {.patterns = ordered, .n_patterns = count};
	bool present[ARRAY_SIZE(families)] = {false};
	int code = 0;

	for (size_t i = 0; i < count; i++) {
		ordered[i] = patterns[i];
		present[patterns[i].listen.at.addr.family == AF_INET6] = true;
	}
	qsort(ordered, count, sizeof(*ordered), compare_flows);
	*ret_deleted = 0;
	for (size_t i = 0; code == 0 && i < ARRAY_SIZE(families); i++) {
		if (present[i])
			code = dump_flows(conntrack, families[i], &sweep);
	}
	if (code == 0)
		code = send_deletions(conntrack, &sweep, ret_deleted);
	free(sweep.messages);
	free(ordered);
	if (code < 0)
		return fail(err, code, "cannot take flows out of conntrack: %s", strerror(-code));
	return 0;
}
