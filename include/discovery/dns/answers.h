/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers of DNS servers: bytes to structs (RFC 1035 section 4.1, RFC 2782, RFC 3596). Pure. Not by c-ares, whose
 * parsers in the versions of Debian and Ubuntu drop the TTL of SRV records and the additional section.
 */
#ifndef NUNCIO_DISCOVERY_DNS_ANSWERS_H
#define NUNCIO_DISCOVERY_DNS_ANSWERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/error.h"
#include "base/mem.h"

#define DNS_TYPE_A 1
#define DNS_TYPE_AAAA 28
#define DNS_TYPE_SRV 33

struct dns_srv {
	uint16_t priority, weight, port;
	const char *target; /* lower case, bytes that are no text as \DDD; "" stands for the root: there is none */
};

struct dns_address {
	const char *owner; /* lower case */
	struct ip_addr addr;
	uint32_t ttl;
};

/* Zeroed to begin; ended by dns_answer_clear(). */
struct dns_answer {
	struct dns_srv *srvs;		/* of the answer section, in its order, which means nothing */
	struct dns_address *addresses;	/* of the answer section, */
	struct dns_address *additional; /* and of the additional one */
	size_t n_srvs, n_addresses, n_additional;
	size_t srvs_capacity, addresses_capacity, additional_capacity;
	uint32_t ttl; /* seconds, the least of the answer section; UINT32_MAX where that is empty */
	struct arena arena;
};

/*
 * Who owns the records of the answer section is not looked at: the resolver followed the aliases. Returns 0, or
 * -EBADMSG with a sentence where the message is cut off or contradicts itself; ret is to be cleared in both cases.
 */
int dns_answer_parse(const uint8_t *bytes, size_t length, struct dns_answer *ret, struct error *err);
void dns_answer_clear(struct dns_answer *answer);

#endif
