/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The endpoints of a service of the DNS registry, from one answer to the next. Pure.
 *
 * A record that is missing from a good answer stays for DNS_HOLD_MS: servers leave records out that are there again a
 * moment later (Consul gives a random part, load balancers rotate). It goes when an answer after that lacks it, too.
 */
#ifndef NUNCIO_DISCOVERY_DNS_SET_H
#define NUNCIO_DISCOVERY_DNS_SET_H

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "discovery/records.h"

#define DNS_HOLD_MS 5000

/* One address of one record. */
struct dns_record {
	struct ip_port at;
	uint16_t priority, weight; /* as DNS has them: weight 0 is the least share and no drain */
	const char *target;	   /* the name of the address; borrowed */
};

struct dns_member {
	struct ip_port at;
	uint16_t priority, weight; /* as an endpoint has them */
	char *target;
	uint64_t missing_since; /* 0: it was in the last answer */
};

/* Zeroed to begin; ended by dns_set_clear(). */
struct dns_set {
	struct dns_member *members; /* ordered by address and port */
	size_t count;
};

/*
 * Takes an answer in, of count records, which it reorders. Those that cannot be used are reported in ret, whose
 * endpoints become what is to serve now: the records, and those that stay. Where none can be used, that is an error,
 * and the set stays as it was. now: any clock in milliseconds, but never 0.
 */
void dns_set_update(struct dns_set *set, struct dns_record *records, size_t count, uint64_t now, struct records *ret);

/* In how many milliseconds the first of those that stay may go; UINT64_MAX where nothing is missing. */
uint64_t dns_set_due(const struct dns_set *set, uint64_t now);

void dns_set_clear(struct dns_set *set);

#endif
