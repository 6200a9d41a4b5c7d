/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an ambassador changes in its namespace besides the table: VIPs on lo, and route_localnet, without which the
 * kernel drops translated packets of 127/8. All by rtnetlink, which works in a container whose /proc/sys is read-only.
 */
#ifndef NUNCIO_KERNEL_NET_H
#define NUNCIO_KERNEL_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/error.h"

struct net;

struct net_interface {
	char name[16]; /* IFNAMSIZ */
	uint32_t index;
	bool loopback;
	bool routed; /* an IPv4 route leads out here */
	bool route_localnet;
};

/* In the calling thread's network namespace. */
int net_open(struct net **ret, struct error *err);
void net_close(struct net *net); /* NULL is fine */

/* A file descriptor that becomes readable when interfaces, addresses or IPv4 routes change; owned by `net`. */
int net_watch_fd(const struct net *net);
/* Throws away what made it readable. */
void net_watch_drain(struct net *net);

/* All interfaces of the namespace; *ret is to be freed by the caller. */
int net_read_interfaces(struct net *net, struct net_interface **ret, size_t *ret_count, struct error *err);

int net_set_route_localnet(struct net *net, const struct net_interface *interface, bool on, struct error *err);

/* All addresses of the namespace, of any interface; *ret is to be freed by the caller. */
int net_read_addresses(struct net *net, struct ip_addr **ret, size_t *ret_count, struct error *err);

/*
 * A single address (/32, /128) on lo. Adding returns 1, or 0 where it was there already; removing one that is not there
 * is fine.
 */
int net_add_address(struct net *net, const struct ip_addr *addr, struct error *err);
int net_remove_address(struct net *net, const struct ip_addr *addr, struct error *err);

/*
 * Returns when the namespace takes packets for addresses that were just added, or -ETIMEDOUT after half a second. The
 * kernel acknowledges an address of IPv6 first, and makes its route (the one in the table "local") in a work queue:
 * until then a connection from the address goes out, and its answers are dropped for want of a route.
 */
int net_await_addresses(struct net *net, const struct ip_addr *addresses, size_t count, struct error *err);

#endif
