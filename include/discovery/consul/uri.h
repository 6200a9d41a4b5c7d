/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What "consul://HOST[:PORT]/[?KEY=VALUE[&KEY=VALUE]...]" means, and the questions that follow from it. Pure. Keys:
 *
 *	dc=NAME		another datacenter than the agent's own
 *	tag=TAG		only instances with this tag; again for each one that they need to have
 *	filter=TEXT	Consul's filter expression, beside the tags
 *	stale=yes	any server may answer, also one without a leader
 *	wait=60s	how long Consul may keep a question for news; 1s to 10m
 *
 * Values may be percent-encoded, and '&' has to be.
 */
#ifndef NUNCIO_DISCOVERY_CONSUL_URI_H
#define NUNCIO_DISCOVERY_CONSUL_URI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/mem.h"
#include "discovery/registry.h"

#define CONSUL_URI_FORM "consul://HOST[:PORT]/[?dc=NAME][&tag=TAG]..."
#define CONSUL_WAIT_S 60
#define CONSUL_WAIT_MAX_S 600

struct consul_uri {
	const char *base;	 /* "https://10.0.0.1:8501" */
	const char *more;	 /* "&dc=...&filter=..." of every question, encoded */
	const char *dc;		 /* or NULL */
	const char *const *tags; /* those that instances need to have; NULL at the end */
	bool stale;
	uint32_t wait_s;
	struct arena arena; /* holds the strings */
};

/*
 * Reads the URI and checks the options beside it. Returns 0, or -EINVAL with a sentence; ret is to be cleared by
 * arena_free(&ret->arena) in both cases.
 */
int consul_uri_parse(const struct registry_conf *conf, struct consul_uri *ret, struct error *err);

/* The URL that asks for the instances of a service: at once (index 0), or when there are newer ones. To be freed. */
char *consul_uri_question(const struct consul_uri *uri, const char *service, uint64_t index);

#endif
