/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The etcd registry (v3, through its JSON gateway): etcd://HOST[:PORT][,HOST[:PORT]]...[/PREFIX], etcds:// with TLS.
 * Each key PREFIX/SERVICE/... is one record of SERVICE (discovery/etcd/values.h).
 *
 *	no member answers as it should			error, for all services; tried again with a backoff
 *	a member fails after it had served		nothing, if this or the next one serves at once
 *	no key of a service				no endpoints
 *	a key that cannot be used			skipped
 *	no key of a service can be used			error for this service
 *	another cluster, or an older revision of it	read anew, and what is there is what counts
 */
#ifndef NUNCIO_DISCOVERY_ETCD_ETCD_H
#define NUNCIO_DISCOVERY_ETCD_ETCD_H

#include "discovery/source.h"

extern const struct source_ops etcd_source_ops;

#endif
