/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Our own address, as others reach us: the source address of the route to the registry. Where the registry is on this
 * very machine (127.0.0.1, a file), that of the default route. No packet is sent but to resolve the registry's name.
 */
#ifndef NUNCIO_ANNOUNCE_ADDRESS_H
#define NUNCIO_ANNOUNCE_ADDRESS_H

#include <uv.h>

#include "announce/conf.h"
#include "base/addr.h"

/* How soon it is tried again, milliseconds. */
#define ADDRESS_RETRY_MS 1000

struct address_search;

typedef void (*address_found_fn)(void *context, const struct ip_addr *addr);

/* Tries until it finds one, and logs when the first try fails. The callback comes from the event loop, once. The conf
 * was checked (announce/registrar.h). */
struct address_search *address_search_open(uv_loop_t *loop, const struct announce_conf *conf, address_found_fn found,
					   void *context);
void address_search_close(struct address_search *search); /* NULL is fine */

#endif
