/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The endpoints of one service at one moment: an immutable, reference-counted snapshot, shared by every link that
 * leads to the service. A registry never edits a snapshot; it delivers the next one.
 */
#ifndef NUNCIO_CATALOG_ENDPOINTS_H
#define NUNCIO_CATALOG_ENDPOINTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

#define ENDPOINT_WEIGHT_MAX 65535
#define ENDPOINT_PRIORITY_MAX 65535
#define ENDPOINT_ID_MAX 255 /* bytes */

struct endpoint {
	const char *id;	   /* unique in the snapshot; "ADDR:PORT" where the registry gives none */
	const char *zone;  /* or NULL */
	struct ip_port at; /* unique in the snapshot */
	uint16_t weight;   /* 0 = draining: no new connections */
	uint16_t priority; /* the lowest one present serves */
};

struct endpoints {
	uint32_t count;
	const struct endpoint *items; /* ordered by id (strcmp) */
	const uint32_t *by_address;   /* indices into items, ordered by address and port (ip_port_compare) */
};

/*
 * Builds a snapshot record by record. endpoints_builder_add() copies the record; it returns -EEXIST when the id or
 * the address and port is there already (the record is then left out, and *ret_other names the one that stays).
 * endpoints_builder_finish() orders the records, returns the snapshot with one reference, and ends the builder.
 */
struct endpoints_builder;
struct endpoints_builder *endpoints_builder_new(void);
int endpoints_builder_add(struct endpoints_builder *builder, const struct endpoint *record, const char **ret_other);
const struct endpoints *endpoints_builder_finish(struct endpoints_builder *builder);
void endpoints_builder_free(struct endpoints_builder *builder); /* gives up; NULL is fine */

const struct endpoints *endpoints_ref(const struct endpoints *snapshot);
void endpoints_unref(const struct endpoints *snapshot); /* NULL is fine */

/* The snapshot without endpoints, with a reference for the caller. */
const struct endpoints *endpoints_none(void);

/* The same endpoints, in the same order, with other weights; with a reference for the caller. */
const struct endpoints *endpoints_reweigh(const struct endpoints *snapshot, const uint16_t *weights);

/* The same ids, addresses, weights, priorities and zones? */
bool endpoints_equal(const struct endpoints *a, const struct endpoints *b);

/* The endpoint with this id, or at this address and port; NULL where there is none. */
const struct endpoint *endpoints_find_id(const struct endpoints *snapshot, const char *id);
const struct endpoint *endpoints_find_address(const struct endpoints *snapshot, const struct ip_port *at);

#endif
