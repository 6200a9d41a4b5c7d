/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/net.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/mem.h"
#include "kernel/netlink.h"

/* lo is the first device of every network namespace. */
#define LOOPBACK_INDEX 1

/* How often, at most, it is looked again whether new addresses have their routes: for half a second or so. */
#define NAPS_MAX 2500

struct net {
	struct mnl_socket *socket;
	struct mnl_socket *watch;
};

static int open_watch(struct net *net, struct error *err)
{
	static const int groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE};
	int code = netlink_open(NETLINK_ROUTE, &net->watch, err);

	if (code < 0)
		return code;
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		int group = groups[i];

		if (mnl_socket_setsockopt(net->watch, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
			return fail(err, -errno, "cannot watch the namespace's interfaces: %s", strerror(errno));
	}
	return 0;
}

int net_open(struct net **ret, struct error *err)
{
	struct net *net = xcalloc(1, sizeof(*net));
	int code = netlink_open(NETLINK_ROUTE, &net->socket, err);

	if (code == 0)
		code = open_watch(net, err);
	if (code < 0) {
		net_close(net);
		return code;
	}
	*ret = net;
	return 0;
}

void net_close(struct net *net)
{
	if (!net)
		return;
	if (net->watch)
		mnl_socket_close(net->watch);
	if (net->socket)
		mnl_socket_close(net->socket);
	free(net);
}

int net_watch_fd(const struct net *net)
{
	return mnl_socket_get_fd(net->watch);
}

void net_watch_drain(struct net *net)
{
	char buffer[16384];

	while (recv(net_watch_fd(net), buffer, sizeof(buffer), MSG_DONTWAIT) > 0 || errno == ENOBUFS)
		errno = 0;
}

/* A dump, begun again where the kernel says that it was interrupted. `reset` forgets what came of the last try. */
static int dump(struct net *net, uint16_t type, uint8_t family, mnl_cb_t callback, void (*reset)(void *context),
		void *context)
{
	_Alignas(struct nlmsghdr) char buffer[256] = {0};
	int code = -EINTR;

	for (int try = 0; code == -EINTR && try < NETLINK_DUMP_TRIES; try++) {
		struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
		struct rtgenmsg *general = mnl_nlmsg_put_extra_header(header, sizeof(struct rtmsg));

		header->nlmsg_type = type;
		header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
		general->rtgen_family = family;
		reset(context);
		code = netlink_request(net->socket, header, callback, context);
	}
	return code;
}

/* Interfaces */

struct interfaces {
	struct net_interface *items;
	size_t count, capacity;
};

static void reset_interfaces(void *context)
{
	((struct interfaces *)context)->count = 0;
}

/* IFLA_AF_SPEC { AF_INET { IFLA_INET_CONF = values of IPV4_DEVCONF_*, counted from 1 } } */
static bool read_route_localnet(const struct nlattr *af_spec)
{
	const struct nlattr *family, *attr;

	mnl_attr_for_each_nested (family, af_spec) {
		if (mnl_attr_get_type(family) != AF_INET)
			continue;
		mnl_attr_for_each_nested (attr, family) {
			const int32_t *values = mnl_attr_get_payload(attr);

			if (mnl_attr_get_type(attr) == IFLA_INET_CONF &&
			    mnl_attr_get_payload_len(attr) >= IPV4_DEVCONF_ROUTE_LOCALNET * sizeof(*values))
				return values[IPV4_DEVCONF_ROUTE_LOCALNET - 1] != 0;
		}
	}
	return false;
}

static int on_interface(const struct nlmsghdr *header, void *context)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(header);
	struct interfaces *interfaces = context;
	struct net_interface interface = {
		.index = (uint32_t)info->ifi_index,
		.loopback = info->ifi_flags & IFF_LOOPBACK,
	};
	const struct nlattr *attr;

	mnl_attr_for_each (attr, header, sizeof(*info)) {
		if (mnl_attr_get_type(attr) == IFLA_IFNAME)
			strncpy(interface.name, mnl_attr_get_str(attr), sizeof(interface.name) - 1);
		else if (mnl_attr_get_type(attr) == IFLA_AF_SPEC)
			interface.route_localnet = read_route_localnet(attr);
	}
	ARRAY_GROW(interfaces->items, interfaces->count, interfaces->capacity);
	interfaces->items[interfaces->count++] = interface;
	return MNL_CB_OK;
}

static void mark_routed(struct interfaces *interfaces, uint32_t index)
{
	for (size_t i = 0; i < interfaces->count; i++) {
		if (interfaces->items[i].index == index)
			interfaces->items[i].routed = true;
	}
}

static void mark_nexthops(struct interfaces *interfaces, const struct nlattr *attr)
{
	const struct rtnexthop *hop = mnl_attr_get_payload(attr);
	int left = mnl_attr_get_payload_len(attr);

	for (; RTNH_OK(hop, left); left -= (int)NLMSG_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop))
		mark_routed(interfaces, (uint32_t)hop->rtnh_ifindex);
}

static int on_route(const struct nlmsghdr *header, void *context)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(header);
	const struct nlattr *attr;

	if (route->rtm_type != RTN_UNICAST)
		return MNL_CB_OK;
	mnl_attr_for_each (attr, header, sizeof(*route)) {
		if (mnl_attr_get_type(attr) == RTA_OIF)
			mark_routed(context, mnl_attr_get_u32(attr));
		else if (mnl_attr_get_type(attr) == RTA_MULTIPATH)
			mark_nexthops(context, attr);
	}
	return MNL_CB_OK;
}

static void reset_routes(void *context)
{
	(void)context; /* a mark too many does no harm */
}

int net_read_interfaces(struct net *net, struct net_interface **ret, size_t *ret_count, struct error *err)
{
	struct interfaces interfaces = {0};
	int code = dump(net, RTM_GETLINK, AF_UNSPEC, on_interface, reset_interfaces, &interfaces);

	if (code == 0)
		code = dump(net, RTM_GETROUTE, AF_INET, on_route, reset_routes, &interfaces);
	if (code < 0) {
		free(interfaces.items);
		return fail(err, code, "cannot read the namespace's interfaces and routes: %s", strerror(-code));
	}
	*ret = interfaces.items;
	*ret_count = interfaces.count;
	return 0;
}

int net_set_route_localnet(struct net *net, const struct net_interface *interface, bool on, struct error *err)
{
	_Alignas(struct nlmsghdr) char buffer[256] = {0};
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *info;
	struct nlattr *spec, *family, *conf;
	int code;

	header->nlmsg_type = RTM_SETLINK;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	info = mnl_nlmsg_put_extra_header(header, sizeof(*info));
	info->ifi_family = AF_UNSPEC;
	info->ifi_index = (int)interface->index;
	spec = mnl_attr_nest_start(header, IFLA_AF_SPEC);
	family = mnl_attr_nest_start(header, AF_INET);
	conf = mnl_attr_nest_start(header, IFLA_INET_CONF);
	mnl_attr_put_u32(header, IPV4_DEVCONF_ROUTE_LOCALNET, on);
	mnl_attr_nest_end(header, conf);
	mnl_attr_nest_end(header, family);
	mnl_attr_nest_end(header, spec);
	code = netlink_request(net->socket, header, NULL, NULL);
	if (code < 0 && code != -ENODEV)
		return fail(err, code, "cannot set route_localnet of %s: %s", interface->name, strerror(-code));
	return 0;
}

/* Addresses */

struct addresses {
	struct ip_addr *items;
	size_t count, capacity;
};

static void reset_addresses(void *context)
{
	((struct addresses *)context)->count = 0;
}

static int on_address(const struct nlmsghdr *header, void *context)
{
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(header);
	struct ip_addr addr = {.family = info->ifa_family};
	struct addresses *addresses = context;
	const struct nlattr *attr;
	bool local = false;

	if (info->ifa_family != AF_INET && info->ifa_family != AF_INET6)
		return MNL_CB_OK;
	mnl_attr_for_each (attr, header, sizeof(*info)) {
		uint16_t type = mnl_attr_get_type(attr);

		/* IFA_ADDRESS is the peer's on a point-to-point link, where IFA_LOCAL is ours. */
		if (mnl_attr_get_payload_len(attr) < ip_addr_size(&addr) || (type != IFA_LOCAL && type != IFA_ADDRESS))
			continue;
		if (type == IFA_LOCAL || !local)
			memcpy(addr.bytes, mnl_attr_get_payload(attr), ip_addr_size(&addr));
		local |= type == IFA_LOCAL;
	}
	ARRAY_GROW(addresses->items, addresses->count, addresses->capacity);
	addresses->items[addresses->count++] = addr;
	return MNL_CB_OK;
}

int net_read_addresses(struct net *net, struct ip_addr **ret, size_t *ret_count, struct error *err)
{
	struct addresses addresses = {0};
	int code = dump(net, RTM_GETADDR, AF_UNSPEC, on_address, reset_addresses, &addresses);

	if (code < 0) {
		free(addresses.items);
		return fail(err, code, "cannot read the namespace's addresses: %s", strerror(-code));
	}
	*ret = addresses.items;
	*ret_count = addresses.count;
	return 0;
}

static int change_address(struct net *net, const struct ip_addr *addr, uint16_t type, uint16_t flags)
{
	_Alignas(struct nlmsghdr) char buffer[256] = {0};
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct ifaddrmsg *info;

	header->nlmsg_type = type;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	info = mnl_nlmsg_put_extra_header(header, sizeof(*info));
	info->ifa_family = addr->family;
	info->ifa_prefixlen = (uint8_t)(8 * ip_addr_size(addr));
	info->ifa_index = LOOPBACK_INDEX;
	mnl_attr_put(header, IFA_LOCAL, ip_addr_size(addr), addr->bytes);
	mnl_attr_put(header, IFA_ADDRESS, ip_addr_size(addr), addr->bytes);
	if (addr->family == AF_INET6)
		mnl_attr_put_u32(header, IFA_FLAGS, IFA_F_NODAD);
	return netlink_request(net->socket, header, NULL, NULL);
}

int net_add_address(struct net *net, const struct ip_addr *addr, struct error *err)
{
	int code = change_address(net, addr, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
	char text[IP_ADDR_TEXT];

	if (code == -EACCES && addr->family == AF_INET6)
		return fail(err, code,
			    "cannot put %s on lo: IPv6 is switched off there (net.ipv6.conf.lo.disable_ipv6)",
			    ip_addr_text(addr, text));
	if (code < 0 && code != -EEXIST)
		return fail(err, code, "cannot put %s on lo: %s", ip_addr_text(addr, text), strerror(-code));
	return code == 0;
}

static int on_type(const struct nlmsghdr *header, void *context)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(header);

	*(bool *)context = route->rtm_type == RTN_LOCAL;
	return MNL_CB_STOP;
}

static bool is_routed_here(struct net *net, const struct ip_addr *addr)
{
	_Alignas(struct nlmsghdr) char buffer[256] = {0};
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct rtmsg *route = mnl_nlmsg_put_extra_header(header, sizeof(*route));
	bool here = false;

	header->nlmsg_type = RTM_GETROUTE;
	header->nlmsg_flags = NLM_F_REQUEST;
	route->rtm_family = addr->family;
	route->rtm_dst_len = (uint8_t)(8 * ip_addr_size(addr));
	route->rtm_flags = RTM_F_FIB_MATCH; /* otherwise the kernel looks through all addresses for the best source */
	mnl_attr_put(header, RTA_DST, ip_addr_size(addr), addr->bytes);
	return netlink_request(net->socket, header, on_type, &here) == 0 && here;
}

int net_await_addresses(struct net *net, const struct ip_addr *addresses, size_t count, struct error *err)
{
	static const struct timespec nap = {.tv_nsec = 100 * 1000};
	char text[IP_ADDR_TEXT];
	int naps = 0;

	for (size_t i = 0; i < count; i++) {
		while (!is_routed_here(net, &addresses[i])) {
			if (++naps > NAPS_MAX)
				return fail(err, -ETIMEDOUT, "%s is on lo, but the kernel has made no route to it yet",
					    ip_addr_text(&addresses[i], text));
			nanosleep(&nap, NULL);
		}
	}
	return 0;
}

int net_remove_address(struct net *net, const struct ip_addr *addr, struct error *err)
{
	int code = change_address(net, addr, RTM_DELADDR, 0);
	char text[IP_ADDR_TEXT];

	if (code < 0 && code != -EADDRNOTAVAIL)
		return fail(err, code, "cannot remove %s from lo: %s", ip_addr_text(addr, text), strerror(-code));
	return 0;
}
