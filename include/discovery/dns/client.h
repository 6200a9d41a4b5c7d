/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions to DNS servers, in the event loop: c-ares with UDP and EDNS0, then TCP where an answer is truncated, and
 * the next server where one does not answer. Names are absolute, search lists do not apply.
 */
#ifndef NUNCIO_DISCOVERY_DNS_CLIENT_H
#define NUNCIO_DISCOVERY_DNS_CLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct dns_client;
struct dns_query;

enum dns_outcome {
	DNS_GOOD,   /* there are bytes with an answer section that is not empty */
	DNS_NONE,   /* NXDOMAIN, or a name without records of that type */
	DNS_FAILED, /* no answer, or one that says nothing about the name (SERVFAIL, REFUSED ...); text says why */
};

struct dns_reply {
	enum dns_outcome outcome;
	const uint8_t *bytes; /* borrowed */
	size_t length;
	const char *text;
};

/* Never called from within dns_client_ask(). The query is gone with it. */
typedef void (*dns_reply_fn)(void *context, const struct dns_reply *reply);

/*
 * servers: "10.0.0.1:53,[fd00::1]:53", borrowed until the end; NULL: those of /etc/resolv.conf, which is read again
 * when it has changed. Cannot fail: what is wrong is said in the replies.
 */
struct dns_client *dns_client_open(uv_loop_t *loop, const char *servers);

/* Asks for records of a type. Only so many questions are on the way at once, the others wait for their turn. */
struct dns_query *dns_client_ask(struct dns_client *client, const char *name, uint16_t type, dns_reply_fn reply,
				 void *context);
void dns_query_cancel(struct dns_query *query); /* there will be no reply; NULL is fine */

/* Ends all queries without a reply. The memory goes with a later turn of the loop. */
void dns_client_close(struct dns_client *client);

#endif
