/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DNS registry: dns://[SERVER[:PORT][,...]]/, or the servers of /etc/resolv.conf. A service is a name with SRV
 * records, or NAME:PORT where the name has addresses. It is asked for again when the shortest TTL is over.
 *
 *	timeout, SERVFAIL, REFUSED, a malformed answer	error; tried again with a backoff
 *	NXDOMAIN, no records, only the target "."	no endpoints, when DNS_EMPTY_ANSWERS in a row say so
 *	a record is missing from an answer		its endpoint stays for DNS_HOLD_MS (discovery/dns/set.h)
 *	a target's addresses cannot be had		error: those that are known stay; none: skipped
 *	a target without addresses, port 0		skipped
 *	no record can be used				error
 */
#ifndef NUNCIO_DISCOVERY_DNS_DNS_H
#define NUNCIO_DISCOVERY_DNS_DNS_H

#include "discovery/source.h"

/* Answers without records, one after the other, that are believed; and how often they are asked for. Together they take
 * as long as a single record that is missing. */
#define DNS_EMPTY_ANSWERS 3
#define DNS_EMPTY_MS 2500

/* How long an answer is good for: its shortest TTL within these bounds, and up to a tenth more. */
#define DNS_REFRESH_MIN_MS 1000
#define DNS_REFRESH_MAX_MS 60000

extern const struct source_ops dns_source_ops;

#endif
