/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All that is asked to know a service of the DNS registry once: its SRV records, and the addresses that they lack. */
#ifndef NUNCIO_DISCOVERY_DNS_LOOKUP_H
#define NUNCIO_DISCOVERY_DNS_LOOKUP_H

#include "discovery/dns/client.h"
#include "discovery/dns/names.h"
#include "discovery/dns/set.h"

struct dns_lookup;

struct dns_found {
	enum dns_outcome outcome;
	const char *text;	    /* DNS_FAILED: why */
	struct dns_record *records; /* DNS_GOOD: may be reordered, not kept */
	size_t count;
	struct records reports; /* targets without addresses; the callee's, to be cleared */
	uint32_t ttl;		/* seconds, the least of all that counts */
};

typedef void (*dns_found_fn)(void *context, struct dns_found *found);

/*
 * Begins one; it ends by itself with the call of found, which does not come from within, or by dns_lookup_cancel().
 * name and known are borrowed until then. Where addresses of a target cannot be had, those in known stand in for them.
 */
struct dns_lookup *dns_lookup_begin(struct dns_client *client, const struct dns_name *name, const struct dns_set *known,
				    dns_found_fn found, void *context);
void dns_lookup_cancel(struct dns_lookup *lookup); /* NULL is fine */

#endif
