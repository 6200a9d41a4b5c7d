/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One record, field by field: what is accepted as an address, a port, a name, in whatever format it is said. Pure. */
#ifndef NUNCIO_DISCOVERY_RECORD_H
#define NUNCIO_DISCOVERY_RECORD_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/error.h"

#define RECORD_ADDRESS_ACCEPTED "an IPv4 or IPv6 address is accepted"

/* A wrong value as it may be shown: cut, and printable whatever a peer wrote. */
#define RECORD_QUOTE_MAX 60
#define RECORD_QUOTE_SIZE (RECORD_QUOTE_MAX + sizeof("..."))
const char *record_quote(const char *value, char buffer[RECORD_QUOTE_SIZE]);
const char *record_quote_json(const cJSON *item, char buffer[RECORD_QUOTE_SIZE]);

/*
 * Each reads the text of a field into *ret, which it leaves alone on failure: -EINVAL, with the value and what is
 * accepted. Names are borrowed: they live as long as the text.
 */
int record_name(const char *key, const char *value, const char **ret, struct error *err);
int record_number(const char *key, const char *value, uint16_t min, uint16_t max, uint16_t *ret, struct error *err);
int record_host(const char *host, struct ip_addr *ret, struct error *err);
int record_address(const char *text, struct ip_port *ret, struct error *err); /* "10.0.0.5:80", "[fd00::1]:80" */

/* An address, or a name that is to be resolved: then ret->family is 0. */
int record_host_or_name(const char *host, struct ip_addr *ret, struct error *err);

/* The value of a key; NULL where it is absent or null. */
const cJSON *record_member(const cJSON *object, const char *key);
/* Its text; "" where it is absent or no string. */
const char *record_text(const cJSON *object, const char *key);
/* The same fields as members of an object. An absent one leaves *ret alone and is no failure; numbers may be strings.
 */
int record_json_name(const cJSON *object, const char *key, const char **ret, struct error *err);
int record_json_number(const cJSON *object, const char *key, uint16_t min, uint16_t max, uint16_t *ret,
		       struct error *err);
/* A port, which has to be there. */
int record_json_port(const cJSON *object, const char *key, uint16_t *ret, struct error *err);
int record_wrong_type(const char *key, const cJSON *item, const char *accepted, struct error *err);

/* Was it meant as a name and not as a mistyped address? */
bool record_looks_like_name(const char *host, size_t length);

#endif
