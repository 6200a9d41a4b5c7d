/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/challenge.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define HOPS 64

int challenge_open(int family)
{
	/* IPPROTO_RAW: for sending only, with headers of our own. */
	int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);

	if (fd < 0)
		return -errno;
	return fd;
}

static uint32_t add_words(uint32_t sum, const void *bytes, size_t length)
{
	const uint8_t *at = bytes;

	for (; length >= 2; length -= 2, at += 2)
		sum += (uint32_t)at[0] << 8 | at[1];
	return sum;
}

/* TCP's checksum is over the addresses, too (RFC 9293, 3.1). */
static uint16_t tcp_checksum(const struct ip_addr *from, const struct ip_addr *to, const struct tcphdr *tcp)
{
	uint32_t sum = IPPROTO_TCP + sizeof(*tcp);

	sum = add_words(sum, from->bytes, ip_addr_size(from));
	sum = add_words(sum, to->bytes, ip_addr_size(to));
	sum = add_words(sum, tcp, sizeof(*tcp));
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

/* The kernel fills in IPv4's checksum and identification. */
static size_t put_ip(const struct ip_addr *from, const struct ip_addr *to, uint8_t *packet)
{
	struct ip6_hdr six = {.ip6_flow = htonl(6u << 28),
			      .ip6_plen = htons(sizeof(struct tcphdr)),
			      .ip6_nxt = IPPROTO_TCP,
			      .ip6_hlim = HOPS};
	struct iphdr four = {.version = 4,
			     .ihl = 5,
			     .tot_len = htons(sizeof(four) + sizeof(struct tcphdr)),
			     .ttl = HOPS,
			     .protocol = IPPROTO_TCP};

	if (from->family == AF_INET6) {
		memcpy(&six.ip6_src, from->bytes, sizeof(six.ip6_src));
		memcpy(&six.ip6_dst, to->bytes, sizeof(six.ip6_dst));
		memcpy(packet, &six, sizeof(six));
		return sizeof(six);
	}
	memcpy(&four.saddr, from->bytes, sizeof(four.saddr));
	memcpy(&four.daddr, to->bytes, sizeof(four.daddr));
	memcpy(packet, &four, sizeof(four));
	return sizeof(four);
}

size_t challenge_packet(const struct ip_port *peer, const struct ip_port *client, uint8_t packet[CHALLENGE_MAX])
{
	struct tcphdr tcp = {.source = htons(peer->port),
			     .dest = htons(client->port),
			     .doff = sizeof(tcp) / 4,
			     .syn = 1,
			     .window = htons(1024)};
	size_t length = put_ip(&peer->addr, &client->addr, packet);

	tcp.check = tcp_checksum(&peer->addr, &client->addr, &tcp);
	memcpy(packet + length, &tcp, sizeof(tcp));
	return length + sizeof(tcp);
}

int challenge_send(int fd, const struct ip_port *peer, const struct ip_port *client)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	struct sockaddr_in four = {.sin_family = AF_INET};
	bool is_six = client->addr.family == AF_INET6;
	uint8_t packet[CHALLENGE_MAX];
	size_t length = challenge_packet(peer, client, packet);
	ssize_t sent;

	memcpy(&six.sin6_addr, client->addr.bytes, sizeof(six.sin6_addr));
	memcpy(&four.sin_addr, client->addr.bytes, sizeof(four.sin_addr));
	sent = sendto(fd, packet, length, 0, is_six ? (const struct sockaddr *)&six : (const struct sockaddr *)&four,
		      is_six ? sizeof(six) : sizeof(four));
	return sent < 0 ? -errno : 0;
}
