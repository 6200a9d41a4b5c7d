/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LISTEN: where the application connects to. Refused here is all that the kernel's NAT could not serve. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "config/config.h"

#define LISTEN_FORM "[ADDR:]PORT[/tcp|/udp], such as 5432, 10.96.0.10:53/udp or [fd00:aa::1]:80"
#define DEFAULT_ADDR "127.0.0.1"

/* Takes "/tcp" or "/udp" off the end. */
static int cut_protocol(char *text, uint8_t *ret_protocol, struct error *err)
{
	char *slash = strchr(text, '/');

	*ret_protocol = IPPROTO_TCP;
	if (!slash)
		return 0;
	*slash = '\0';
	if (strcmp(slash + 1, "udp") == 0)
		*ret_protocol = IPPROTO_UDP;
	else if (strcmp(slash + 1, "tcp") != 0)
		return fail(err, -EINVAL, "/%s is not a protocol: accepted are /tcp and /udp", slash + 1);
	return 0;
}

/* "[V6]:PORT", behind its first bracket. */
static int split_brackets(char *text, const char **ret_addr, const char **ret_port, struct error *err)
{
	char *end = strstr(text, "]:");

	if (!end)
		return fail(err, -EINVAL, "expected %s", LISTEN_FORM);
	*end = '\0';
	if (!strchr(text, ':'))
		return fail(err, -EINVAL, "brackets are for IPv6 addresses; expected %s", LISTEN_FORM);
	*ret_addr = text;
	*ret_port = end + 2;
	return 0;
}

/* Cuts "[ADDR:]PORT" in two. */
static int split_port(char *text, const char **ret_addr, const char **ret_port, struct error *err)
{
	char *colon = strchr(text, ':');

	if (*text == '[')
		return split_brackets(text + 1, ret_addr, ret_port, err);
	if (!colon) {
		*ret_addr = DEFAULT_ADDR;
		*ret_port = text;
		return 0;
	}
	if (strchr(colon + 1, ':'))
		return fail(err, -EINVAL, "an IPv6 address goes in brackets, such as [fd00:aa::1]:80");
	*colon = '\0';
	*ret_addr = text;
	*ret_port = colon + 1;
	return 0;
}

static int parse_port(const char *text, uint16_t *ret, struct error *err)
{
	uint64_t port;

	if (strchr(text, '-'))
		return fail(err, -EINVAL, "a link has one port and no range: write a link for each");
	if (number_parse(text, 1, UINT16_MAX, &port) < 0)
		return fail(err, -EINVAL, "port \"%s\" is not a number from 1 to 65535; expected %s", text,
			    LISTEN_FORM);
	*ret = (uint16_t)port;
	return 0;
}

static bool is_mapped_ipv4(const struct ip_addr *addr)
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	return addr->family == AF_INET6 && memcmp(addr->bytes, prefix, sizeof(prefix)) == 0;
}

static bool is_link_local6(const struct ip_addr *addr)
{
	return addr->family == AF_INET6 && addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0x80;
}

static int check_addr(const struct ip_addr *addr, struct error *err)
{
	if (addr->family == AF_INET6 && ip_addr_is_loopback(addr))
		return fail(err, -EINVAL,
			    "NAT cannot balance connections to ::1 (the kernel does not route them out); use an IPv6 "
			    "VIP such as [fd00:aa::1]:80, or 127.0.0.1");
	if (is_mapped_ipv4(addr))
		return fail(err, -EINVAL, "connections to an IPv4-mapped address are IPv4: give the IPv4 address");
	if (is_link_local6(addr))
		return fail(err, -EINVAL,
			    "a link-local address means another host on each interface; use an IPv6 VIP such as "
			    "[fd00:aa::1]:80");
	if (!ip_addr_is_unicast(addr))
		return fail(err, -EINVAL,
			    "a link listens on one unicast address, not on an unspecified, multicast or broadcast "
			    "one; without an address it is " DEFAULT_ADDR);
	return 0;
}

static int parse_addr(const char *text, struct ip_addr *ret, struct error *err)
{
	struct ip_addr addr;
	int r;

	if (ip_addr_parse(text, &addr) < 0)
		return fail(err, -EINVAL, "\"%s\" is not an IP address (host names and zones are not accepted)", text);
	r = check_addr(&addr, err);
	if (r < 0)
		return r;
	*ret = addr;
	return 0;
}

/* Works on a copy that it may cut. */
static int parse_copy(char *text, struct listen *ret, struct error *err)
{
	struct listen listen = {0};
	const char *addr = "", *port = "";
	int r;

	r = cut_protocol(text, &listen.protocol, err);
	if (r == 0)
		r = split_port(text, &addr, &port, err);
	if (r == 0)
		r = parse_port(port, &listen.at.port, err);
	if (r == 0)
		r = parse_addr(addr, &listen.at.addr, err);
	if (r < 0)
		return r;
	*ret = listen;
	return 0;
}

int listen_parse(const char *text, struct listen *ret, struct error *err)
{
	char copy[2 * LISTEN_TEXT]; /* room for zeros and the like; what is longer is no address */
	size_t length = strlen(text);
	int r;

	if (length >= sizeof(copy))
		return fail(err, -EINVAL, "\"%.40s...\" is too long: expected %s", text, LISTEN_FORM);
	memcpy(copy, text, length + 1);
	r = parse_copy(copy, ret, err);
	return r < 0 ? fail_prefix(err, r, "\"%s\"", text) : 0;
}

const char *listen_text(const struct listen *listen, char buffer[LISTEN_TEXT])
{
	char at[IP_PORT_TEXT];

	snprintf(buffer, LISTEN_TEXT, "%s/%s", ip_port_text(&listen->at, at),
		 listen->protocol == IPPROTO_UDP ? "udp" : "tcp");
	return buffer;
}

bool listen_equal(const struct listen *a, const struct listen *b)
{
	return a->protocol == b->protocol && ip_port_equal(&a->at, &b->at);
}
