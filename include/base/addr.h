/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IP addresses and ports as plain, copyable, comparable data. Nothing here resolves names. */
#ifndef NUNCIO_BASE_ADDR_H
#define NUNCIO_BASE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In network byte order; IPv4 uses the first four bytes and leaves the others zero, so memcmp() compares. */
struct ip_addr {
	uint8_t family; /* AF_INET or AF_INET6 */
	uint8_t bytes[16];
};

struct ip_port {
	struct ip_addr addr;
	uint16_t port; /* host byte order */
};

/* Enough for "[xxxx:...:255.255.255.255]:65535" and its NUL. */
#define IP_PORT_TEXT 56
#define IP_ADDR_TEXT 46

/* The number of address bytes that count: 4 or 16. */
size_t ip_addr_size(const struct ip_addr *addr);

/* "10.0.0.5", "fd00::1". No brackets, zones or leading zeros. Returns 0, or -EINVAL leaving *ret untouched. */
int ip_addr_parse(const char *text, struct ip_addr *ret);

/* "10.0.0.5:80" or "[fd00::1]:80", port 1-65535. Returns 0, or -EINVAL leaving *ret untouched. */
int ip_port_parse(const char *text, struct ip_port *ret);

/* A decimal number without sign or space, min..max. Returns 0, or -EINVAL, or -ERANGE, leaving *ret untouched. */
int number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret);

/* "250ms", "15s", "10m", "2h": a number and its unit, 24h at most. Returns 0, or -EINVAL, leaving *ret_ms untouched. */
int duration_parse(const char *text, uint32_t *ret_ms);

/* Writes the text form and returns buffer; IPv6 in brackets where a port follows. */
const char *ip_addr_text(const struct ip_addr *addr, char buffer[IP_ADDR_TEXT]);
const char *ip_port_text(const struct ip_port *at, char buffer[IP_PORT_TEXT]);

bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b);
bool ip_port_equal(const struct ip_port *a, const struct ip_port *b);
/* Orders by family, then address, then port, as qsort() wants it. */
int ip_port_compare(const struct ip_port *a, const struct ip_port *b);

bool ip_addr_is_loopback(const struct ip_addr *addr); /* 127.0.0.0/8 or ::1 */
/* Neither unspecified (0/8, ::), nor multicast, broadcast, class E or IPv4-mapped (::ffff:1.2.3.4). */
bool ip_addr_is_unicast(const struct ip_addr *addr);

#endif
