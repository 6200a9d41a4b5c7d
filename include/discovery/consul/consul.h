/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Consul registry: consul://HOST[:PORT]/[?...] (discovery/consul/uri.h), consuls:// with TLS. One agent, for each
 * watched service one question that waits there (discovery/consul/query.h).
 *
 *	instances, or none				endpoints (discovery/consul/messages.h)
 *	an instance that cannot be used			skipped
 *	no instance can be used				error for this service
 *	one question fails after it was answered	nothing, if the next one is answered
 *	403, 429, 500, no leader, no answer, ...	error for this service; tried again with a backoff
 */
#ifndef NUNCIO_DISCOVERY_CONSUL_CONSUL_H
#define NUNCIO_DISCOVERY_CONSUL_CONSUL_H

#include "discovery/source.h"

extern const struct source_ops consul_source_ops;

#endif
