/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses of host names that registries have instead of addresses: the system's resolver (/etc/hosts, DNS), in
 * threads of libuv's. A name has one address here: of several, the one that it had, else the first in order, IPv4
 * before IPv6; and one that cannot be resolved any more keeps its last.
 */
#ifndef NUNCIO_DISCOVERY_NAMES_H
#define NUNCIO_DISCOVERY_NAMES_H

#include <uv.h>

#include "base/addr.h"
#include "base/error.h"

/* How often a name is resolved again, and how soon one that could not be, milliseconds. */
#define NAMES_REFRESH_MS 30000
#define NAMES_RETRY_MS 5000

struct names;

struct names_events {
	/* A name has its first address, another one, or a first reason why it has none. */
	void (*changed)(void *context, const char *host);
	/* Now and then: names_keep() is to be called for each name that is still needed. The others are forgotten. */
	void (*keep)(void *context);
};

struct names *names_open(uv_loop_t *loop, const struct names_events *events, void *context);
/* Returns 0; -EAGAIN: it is being resolved, from now on if need be; -ENOENT: it has no address, and why. */
int names_find(struct names *names, const char *host, struct ip_addr *ret, struct error *err);
void names_keep(struct names *names, const char *host);
/* No callback comes after it; the memory goes when the resolver is done. */
void names_close(struct names *names);

#endif
