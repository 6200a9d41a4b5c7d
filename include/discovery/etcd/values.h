/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the value of one key of etcd says of an endpoint, in the formats that are in use. Pure. Told apart by what the
 * value is, key by key, so that several may stand beside each other:
 *
 *	{"host":"10.0.0.5","port":80,"weight":2,...}		ours, SkyDNS and CoreDNS, nerve, CoreOS' sidekick units
 *	{"Op":0,"Addr":"10.0.0.5:80","Metadata":...}		gRPC's naming; Op 1 says that it is gone
 *	{"URL":"http://10.0.0.5:80"}				vulcand, at .../servers/ID
 *	{"IP":"10.0.0.5","PublicPort":80,...}			registrator's, as it writes it to ZooKeeper
 *	{"serviceEndpoint":{"host":...,"port":...},"status":"ALIVE"}	Finagle's server sets; others are not alive
 *	10.0.0.5:80, [fd00::1]:80, db.example:80		registrator; Traefik's .../address
 *	http://10.0.0.5:80					Traefik's .../url
 *
 * Everywhere, an object may have weight, priority, id and zone; numbers may be strings; other members are ignored.
 */
#ifndef NUNCIO_DISCOVERY_ETCD_VALUES_H
#define NUNCIO_DISCOVERY_ETCD_VALUES_H

#include <stddef.h>

#include "base/error.h"
#include "base/mem.h"
#include "catalog/endpoints.h"

/* Longer values are no endpoints', bytes. */
#define ETCD_VALUE_MAX 65536

struct etcd_value {
	struct endpoint endpoint; /* id: NULL where the value has none */
	const char *host;	  /* a name to be resolved, and endpoint.at has the port only; else NULL */
};

/*
 * Reads a value; the key is what follows SERVICE/ in etcd's key. Strings go into the arena. Returns 0; -ENOENT where
 * it says that there is no endpoint; or -EINVAL, with the value and what is accepted.
 */
int etcd_value_parse(const char *key, const char *text, size_t length, struct arena *arena, struct etcd_value *ret,
		     struct error *err);

#endif
