/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pieces of the URIs of registries. Pure. */
#ifndef NUNCIO_DISCOVERY_URI_H
#define NUNCIO_DISCOVERY_URI_H

#include "base/mem.h"

/*
 * "HOST:PORT" of "HOST[:PORT]", in the arena; HOST is a name, an IPv4 address or an IPv6 one in brackets. NULL where it
 * is something else.
 */
const char *uri_address(struct arena *arena, const char *text, const char *default_port);

/* The text with %XX for all but letters, digits and "-._~"; and back again, where "%" without two digits, and %00,
 * stay what they are. */
char *uri_encode(struct arena *arena, const char *text);
char *uri_decode(struct arena *arena, const char *text);

#endif
