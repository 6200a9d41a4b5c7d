/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Resetting the TCP connection of a client that is not of this namespace. Only a RST with the right sequence number is
 * believed, and we do not know that number; but the client tells it. To a SYN that seems to come from its peer it
 * answers with a "challenge ACK" of its sequence numbers (RFC 5961, 4.2), whatever numbers that SYN has, and which data
 * can never be mistaken for. That ACK comes to our kernel, which has no such connection (its entry in conntrack is
 * gone) and answers as TCP does: with a RST that fits.
 */
#ifndef NUNCIO_KERNEL_CHALLENGE_H
#define NUNCIO_KERNEL_CHALLENGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

/* A raw socket of AF_INET or AF_INET6 in the calling thread's namespace, or a negative errno (-EPERM: CAP_NET_RAW). */
int challenge_open(int family);

/* Sends the client a SYN that seems to come from `peer`, which is an address of the namespace. */
int challenge_send(int fd, const struct ip_port *peer, const struct ip_port *client);

/* The packet, with its IP header; for tests. Returns its length. */
#define CHALLENGE_MAX 60
size_t challenge_packet(const struct ip_port *peer, const struct ip_port *client, uint8_t packet[CHALLENGE_MAX]);

#endif
