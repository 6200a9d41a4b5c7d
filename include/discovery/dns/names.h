/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What "dns://[SERVER[:PORT][,...]]/" and the names of services in such a registry mean. Pure. */
#ifndef NUNCIO_DISCOVERY_DNS_NAMES_H
#define NUNCIO_DISCOVERY_DNS_NAMES_H

#include <stdint.h>

#include "base/error.h"
#include "discovery/registry.h"

#define DNS_URI_FORM "dns://[SERVER[:PORT][,...]]/"

/* A name in its text form, without the last dot; and its end. */
#define DNS_NAME_SIZE 254

/* What is asked for a service. */
struct dns_name {
	char name[DNS_NAME_SIZE];
	uint16_t port; /* of the addresses that the name has; 0: it has SRV records */
};

/*
 * Reads the URI and refuses options that have no use. *ret_servers becomes "10.0.0.1:53,[fd00::1]:5353", to be freed,
 * or NULL where the URI names none. Returns 0, or -EINVAL with a sentence.
 */
int dns_uri_parse(const struct registry_conf *conf, char **ret_servers, struct error *err);

/* "_web._tcp.example.com" or "web.example.com:8080". Returns 0, or -EINVAL with a sentence. */
int dns_name_parse(const char *service, struct dns_name *ret, struct error *err);

#endif
