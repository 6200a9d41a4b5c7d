/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What "etcd://HOST[:PORT][,HOST[:PORT]]...[/PREFIX][?slash=no]" means. Pure. A service's keys are
 * /PREFIX/SERVICE/ID; with slash=no, as gRPC and Traefik write them, PREFIX/SERVICE/ID.
 */
#ifndef NUNCIO_DISCOVERY_ETCD_URI_H
#define NUNCIO_DISCOVERY_ETCD_URI_H

#include <stddef.h>

#include "base/error.h"
#include "base/mem.h"
#include "discovery/registry.h"

#define ETCD_URI_FORM "etcd://HOST[:PORT][,HOST[:PORT]]...[/PREFIX]"
#define ETCD_MEMBERS_MAX 64

struct etcd_uri {
	const char *members[ETCD_MEMBERS_MAX]; /* "https://10.0.0.1:2379" */
	size_t n_members;
	const char *prefix; /* of all keys: empty, or with a '/' at its end */
	struct arena arena; /* holds the strings */
};

/*
 * Reads the URI and checks the options beside it. Returns 0, or -EINVAL with a sentence; ret is to be cleared by
 * arena_free(&ret->arena) in both cases.
 */
int etcd_uri_parse(const struct registry_conf *conf, struct etcd_uri *ret, struct error *err);

/* "10.0.0.1:2379", for people. */
const char *etcd_member_name(const struct etcd_uri *uri, size_t member);

#endif
