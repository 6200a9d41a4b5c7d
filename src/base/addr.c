/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define DURATION_MAX_MS (24 * 3600 * 1000)

size_t ip_addr_size(const struct ip_addr *addr)
{
	return addr->family == AF_INET ? 4 : 16;
}

int ip_addr_parse(const char *text, struct ip_addr *ret)
{
	struct ip_addr addr = {.family = strchr(text, ':') ? AF_INET6 : AF_INET};

	if (inet_pton(addr.family, text, addr.bytes) != 1)
		return -EINVAL;
	*ret = addr;
	return 0;
}

/* Splits "HOST:PORT" or "[HOST]:PORT" and parses the host; returns the port's text, or NULL. */
static const char *parse_host(const char *text, struct ip_addr *ret)
{
	bool bracketed = *text == '[';
	const char *host = text + bracketed;
	const char *end = bracketed ? strstr(host, "]:") : strchr(host, ':');
	char copy[IP_ADDR_TEXT];

	if (!end || (size_t)(end - host) >= sizeof(copy))
		return NULL;
	memcpy(copy, host, (size_t)(end - host));
	copy[end - host] = '\0';
	if (ip_addr_parse(copy, ret) < 0 || (ret->family == AF_INET6) != bracketed)
		return NULL;
	return end + (bracketed ? 2 : 1);
}

int ip_port_parse(const char *text, struct ip_port *ret)
{
	struct ip_addr addr;
	const char *port_text = parse_host(text, &addr);
	uint64_t port;

	if (!port_text || number_parse(port_text, 1, UINT16_MAX, &port) < 0)
		return -EINVAL;
	*ret = (struct ip_port){.addr = addr, .port = (uint16_t)port};
	return 0;
}

int number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;
	bool too_big = false;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		uint64_t digit = (uint64_t)(*text - '0');

		if (*text < '0' || *text > '9')
			return -EINVAL;
		too_big |= __builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, digit, &value);
	}
	if (too_big || value < min || value > max)
		return -ERANGE;
	*ret = value;
	return 0;
}

int duration_parse(const char *text, uint32_t *ret_ms)
{
	static const struct {
		const char *name;
		uint32_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
	size_t digits = strspn(text, "0123456789");
	char number[16];
	uint64_t value;

	if (digits >= sizeof(number))
		return -EINVAL;
	memcpy(number, text, digits);
	number[digits] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(text + digits, units[i].name) != 0)
			continue;
		if (number_parse(number, 0, DURATION_MAX_MS / units[i].ms, &value) < 0)
			return -EINVAL;
		*ret_ms = (uint32_t)value * units[i].ms;
		return 0;
	}
	return -EINVAL;
}

/* Returns the end of the text, which it does not terminate. */
static char *put_number(char *at, unsigned int value)
{
	char digits[10];
	size_t first = sizeof(digits);

	do
		digits[--first] = (char)('0' + value % 10);
	while (value /= 10);
	return mempcpy(at, digits + first, sizeof(digits) - first);
}

/* By hand, as is the port below: a start writes one for each endpoint, and printf() and inet_ntop() take their time. */
static char *put_ipv4(char *at, const uint8_t bytes[4])
{
	for (int i = 0; i < 4; i++) {
		if (i)
			*at++ = '.';
		at = put_number(at, bytes[i]);
	}
	return at;
}

const char *ip_addr_text(const struct ip_addr *addr, char buffer[IP_ADDR_TEXT])
{
	if (addr->family != AF_INET)
		return inet_ntop(addr->family, addr->bytes, buffer, IP_ADDR_TEXT);
	*put_ipv4(buffer, addr->bytes) = '\0';
	return buffer;
}

const char *ip_port_text(const struct ip_port *at, char buffer[IP_PORT_TEXT])
{
	char addr[IP_ADDR_TEXT], *end;

	if (at->addr.family != AF_INET) {
		snprintf(buffer, IP_PORT_TEXT, "[%s]:%u", ip_addr_text(&at->addr, addr), at->port);
		return buffer;
	}
	end = put_ipv4(buffer, at->addr.bytes);
	*end++ = ':';
	*put_number(end, at->port) = '\0';
	return buffer;
}

bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool ip_port_equal(const struct ip_port *a, const struct ip_port *b)
{
	return a->port == b->port && ip_addr_equal(&a->addr, &b->addr);
}

int ip_port_compare(const struct ip_port *a, const struct ip_port *b)
{
	int order = (a->addr.family > b->addr.family) - (a->addr.family < b->addr.family);

	if (!order)
		order = memcmp(a->addr.bytes, b->addr.bytes, sizeof(a->addr.bytes));
	if (!order)
		order = (a->port > b->port) - (a->port < b->port);
	return order;
}

bool ip_addr_is_loopback(const struct ip_addr *addr)
{
	static const uint8_t loopback6[16] = {[15] = 1};

	if (addr->family == AF_INET)
		return addr->bytes[0] == 127;
	return memcmp(addr->bytes, loopback6, sizeof(loopback6)) == 0;
}

bool ip_addr_is_unicast(const struct ip_addr *addr)
{
	static const uint8_t unspecified6[16];
	static const uint8_t mapped4[12] = {[10] = 0xff, [11] = 0xff};

	if (addr->family == AF_INET)
		return addr->bytes[0] > 0 && addr->bytes[0] < 224;
	return addr->bytes[0] != 0xff && memcmp(addr->bytes, unspecified6, sizeof(unspecified6)) != 0 &&
	       memcmp(addr->bytes, mapped4, sizeof(mapped4)) != 0;
}
