/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/conntrack.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernel/netlink.h"

/* CTA_FILTER_ORIG_FLAGS: which fields of a tuple a listing must match (net/netfilter/nf_conntrack_netlink.c). */
#define FILTER_PROTO_NUM (1u << 3)
#define FILTER_SRC_PORT (1u << 4)
#define FILTER_DST_PORT (1u << 5)

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

/* A request of conntrack's (IPCTNL_MSG_CT_*), without attributes yet. */
static struct nlmsghdr *put_header(void *buffer, uint8_t type, uint16_t flags, uint8_t family)
{
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *general = mnl_nlmsg_put_extra_header(header, sizeof(*general));

	header->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	header->nlmsg_flags = NLM_F_REQUEST | flags;
	general->nfgen_family = family;
	general->version = NFNETLINK_V0;
	return header;
}

/* Choosing from a listing */

struct listing {
	const struct flow_filter *filter;
	bool (*choose)(void *context, const struct flow *flow);
	void *context;
	struct flows *flows;
};

#define DELETION_ROOM 512

/* The flow's own identity is sent back as it came: tuple, id (so that a successor is left alone) and zone. */
static bool add_deletion(struct flows *flows, const struct nlmsghdr *flow)
{
	const struct nfgenmsg *from = mnl_nlmsg_get_payload(flow);
	const struct nlattr *attr;
	struct nlmsghdr *header;

	if (flows->deletions_capacity - flows->deletions_used < DELETION_ROOM) {
		flows->deletions_capacity = flows->deletions_capacity * 2 + 16 * DELETION_ROOM;
		flows->deletions = xrealloc(flows->deletions, flows->deletions_capacity, 1);
	}
	header = put_header(flows->deletions + flows->deletions_used, IPCTNL_MSG_CT_DELETE, 0, from->nfgen_family);
	mnl_attr_for_each (attr, flow, sizeof(*from)) {
		uint16_t type = mnl_attr_get_type(attr);

		if (type != CTA_TUPLE_ORIG && type != CTA_ID && type != CTA_ZONE)
			continue;
		if (mnl_attr_get_payload_len(attr) > DELETION_ROOM / 2)
			return false; /* not a tuple as we know it */
		mnl_attr_put(header, type == CTA_TUPLE_ORIG ? type | NLA_F_NESTED : type,
			     mnl_attr_get_payload_len(attr), mnl_attr_get_payload(attr));
	}
	flows->deletions_used += header->nlmsg_len;
	return true;
}

static uint8_t read_tcp_state(const struct nlattr *protoinfo)
{
	const struct nlattr *tcp, *attr;

	mnl_attr_for_each_nested (tcp, protoinfo) {
		if (mnl_attr_get_type(tcp) != CTA_PROTOINFO_TCP)
			continue;
		mnl_attr_for_each_nested (attr, tcp) {
			if (mnl_attr_get_type(attr) == CTA_PROTOINFO_TCP_STATE)
				return mnl_attr_get_u8(attr);
		}
	}
	return 0;
}

static uint64_t read_u64(const struct nlattr *nest, uint16_t type)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested (attr, nest) {
		if (mnl_attr_get_type(attr) == type)
			return be64toh(mnl_attr_get_u64(attr));
	}
	return 0;
}

static void read_attribute(const struct nlattr *attr, struct tuple *original, struct tuple *reply, struct flow *flow)
{
	switch (mnl_attr_get_type(attr)) {
	case CTA_TUPLE_ORIG:
		read_tuple(attr, original);
		break;
	case CTA_TUPLE_REPLY:
		read_tuple(attr, reply);
		break;
	case CTA_STATUS:
		flow->replied = ntohl(mnl_attr_get_u32(attr)) & IPS_SEEN_REPLY;
		break;
	case CTA_PROTOINFO:
		flow->tcp_state = read_tcp_state(attr);
		break;
	case CTA_TIMESTAMP:
		flow->started = read_u64(attr, CTA_TIMESTAMP_START);
		break;
	case CTA_COUNTERS_ORIG:
	case CTA_COUNTERS_REPLY:
		flow->bytes += read_u64(attr, CTA_COUNTERS_BYTES);
		flow->bytes_counted = true;
		break;
	}
}

static bool passes(const struct flow_filter *filter, const struct flow *flow)
{
	return flow->listen.protocol == filter->protocol && !(filter->unreplied && flow->replied) &&
	       (!filter->listen_port || flow->listen.at.port == filter->listen_port) &&
	       (!filter->endpoint_port || flow->endpoint.port == filter->endpoint_port);
}

static int on_flow(const struct nlmsghdr *header, void *context)
{
	struct tuple original = {0}, reply = {0};
	struct listing *listing = context;
	struct flows *flows = listing->flows;
	const struct nlattr *attr;
	struct flow flow = {0};

	mnl_attr_for_each (attr, header, sizeof(struct nfgenmsg)) {
		read_attribute(attr, &original, &reply, &flow);
	}
	flow.client = original.source;
	flow.listen = (struct listen){.protocol = original.protocol, .at = original.destination};
	flow.endpoint = reply.source;
	flow.translated = !ip_port_equal(&flow.endpoint, &flow.listen.at);
	if (!passes(listing->filter, &flow) || !listing->choose(listing->context, &flow))
		return MNL_CB_OK;
	if (add_deletion(flows, header)) {
		ARRAY_GROW(flows->items, flows->count, flows->capacity);
		flows->items[flows->count++] = flow;
	}
	return MNL_CB_OK;
}

static void put_port_filter(struct nlmsghdr *header, uint16_t tuple, uint16_t type, uint8_t protocol, uint16_t port)
{
	struct nlattr *outer = mnl_attr_nest_start(header, tuple);
	struct nlattr *inner = mnl_attr_nest_start(header, CTA_TUPLE_PROTO);

	mnl_attr_put_u8(header, CTA_PROTO_NUM, protocol);
	if (port)
		mnl_attr_put_u16(header, type, htons(port));
	mnl_attr_nest_end(header, inner);
	mnl_attr_nest_end(header, outer);
}

static void put_filter(struct nlmsghdr *header, const struct flow_filter *filter)
{
	struct nlattr *nest;

	put_port_filter(header, CTA_TUPLE_ORIG, CTA_PROTO_DST_PORT, filter->protocol, filter->listen_port);
	put_port_filter(header, CTA_TUPLE_REPLY, CTA_PROTO_SRC_PORT, filter->protocol, filter->endpoint_port);
	nest = mnl_attr_nest_start(header, CTA_FILTER);
	mnl_attr_put_u32(header, CTA_FILTER_ORIG_FLAGS, FILTER_PROTO_NUM | (filter->listen_port ? FILTER_DST_PORT : 0));
	mnl_attr_put_u32(header, CTA_FILTER_REPLY_FLAGS,
			 filter->endpoint_port ? FILTER_PROTO_NUM | FILTER_SRC_PORT : 0);
	mnl_attr_nest_end(header, nest);
	if (filter->unreplied) {
		mnl_attr_put_u32(header, CTA_STATUS, 0);
		mnl_attr_put_u32(header, CTA_STATUS_MASK, htonl(IPS_SEEN_REPLY));
	}
}

static int request_list(struct conntrack *conntrack, const struct flow_filter *filter, struct listing *listing)
{
	_Alignas(struct nlmsghdr) char buffer[256] = {0};
	struct nlmsghdr *header = put_header(buffer, IPCTNL_MSG_CT_GET, NLM_F_DUMP, filter->family);

	put_filter(header, filter);
	return netlink_request(conntrack->socket, header, on_flow, listing);
}

/* The first kernels with such filters took the fields of the reply tuple for those of the original one. */
int conntrack_list(struct conntrack *conntrack, const struct flow_filter *filter,
		   bool (*choose)(void *context, const struct flow *flow), void *context, struct flows *flows,
		   struct error *err)
{
	struct listing listing = {.filter = filter, .choose = choose, .context = context, .flows = flows};
	struct flow_filter asked = *filter;
	int code = request_list(conntrack, &asked, &listing);

	if (code == -EINVAL && asked.endpoint_port) {
		asked.endpoint_port = 0;
		code = request_list(conntrack, &asked, &listing);
	}
	if (code < 0)
		return fail(err, code, "cannot list the flows of conntrack: %s", strerror(-code));
	return 0;
}

int conntrack_delete(struct conntrack *conntrack, const struct flows *flows, struct error *err)
{
	/* ENOENT: it ended by itself. */
	int code = netlink_send_all(conntrack->socket, flows->deletions, flows->deletions_used, -ENOENT);

	if (code < 0)
		return fail(err, code, "cannot take flows out of conntrack: %s", strerror(-code));
	return 0;
}

static void put_tuple(struct nlmsghdr *header, uint8_t protocol, const struct ip_port *source,
		      const struct ip_port *destination)
{
	bool six = source->addr.family == AF_INET6;
	struct nlattr *outer = mnl_attr_nest_start(header, CTA_TUPLE_ORIG), *inner;

	inner = mnl_attr_nest_start(header, CTA_TUPLE_IP);
	mnl_attr_put(header, six ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, ip_addr_size(&source->addr), source->addr.bytes);
	mnl_attr_put(header, six ? CTA_IP_V6_DST : CTA_IP_V4_DST, ip_addr_size(&destination->addr),
		     destination->addr.bytes);
	mnl_attr_nest_end(header, inner);
	inner = mnl_attr_nest_start(header, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(header, CTA_PROTO_NUM, protocol);
	mnl_attr_put_u16(header, CTA_PROTO_SRC_PORT, htons(source->port));
	mnl_attr_put_u16(header, CTA_PROTO_DST_PORT, htons(destination->port));
	mnl_attr_nest_end(header, inner);
	mnl_attr_nest_end(header, outer);
}

int conntrack_forget(struct conntrack *conntrack, uint8_t protocol, const struct ip_port *source,
		     const struct ip_port *destination)
{
	_Alignas(struct nlmsghdr) char buffer[256] = {0};
	struct nlmsghdr *header = put_header(buffer, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, source->addr.family);

	put_tuple(header, protocol, source, destination);
	return netlink_request(conntrack->socket, header, NULL, NULL);
}

bool flow_is_live(const struct flow *flow)
{
	bool tcp = flow->listen.protocol == IPPROTO_TCP;

	return flow->translated && !(tcp && (!flow->replied || flow->tcp_state == TCP_CONNTRACK_TIME_WAIT ||
					     flow->tcp_state == TCP_CONNTRACK_CLOSE));
}

void flows_clear(struct flows *flows)
{
	free(flows->items);
	free(flows->deletions);
	*flows = (struct flows){0};
}
