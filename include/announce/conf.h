/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is to be announced, and how: the options of `nuncio announce` as data. Pure. */
#ifndef NUNCIO_ANNOUNCE_CONF_H
#define NUNCIO_ANNOUNCE_CONF_H

#include <stdint.h>

#include "base/addr.h"
#include "base/error.h"
#include "discovery/registry.h"

/* What the key of an endpoint says (announce/value.h). */
enum announce_format { FORMAT_JSON, FORMAT_REGISTRATOR, FORMAT_SKYDNS, FORMAT_GRPC };

enum check_kind { CHECK_NONE, CHECK_TCP, CHECK_HTTP, CHECK_EXEC };

struct check_conf {
	enum check_kind kind;
	const char *text; /* http: the path; exec: what the shell is to run */
	uint32_t interval_ms;
};

/* The options as they were said; NULL where one was not. */
struct announce_args {
	const char *service, *endpoint, *id, *weight, *ttl, *format, *check, *check_interval, *drain;
	const char **command; /* its words; not ended by NULL */
	int n_command;
};

/* Strings are borrowed from the args. */
struct announce_conf {
	struct registry_conf registry; /* not from the args */
	const char *service;
	struct ip_port at; /* family 0: the address is still to be found */
	const char *id;	   /* NULL: made of the address */
	uint16_t weight;
	uint32_t ttl_s;
	enum announce_format format;
	struct check_conf check;
	uint32_t drain_ms;
	char **command; /* NULL-terminated, to be freed; NULL: none */
};

/* Returns 0, or -EINVAL with the option, the value and what is accepted. End it with announce_conf_clear(). */
int announce_conf_parse(const struct announce_args *args, struct announce_conf *ret, struct error *err);
void announce_conf_clear(struct announce_conf *conf);

#endif
