/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the log says of errors: one line when a trouble begins and one when it ends, however many services of a registry
 * it is about. Services whose errors read the same have the same trouble. The lines wait a moment, so that they can say
 * how many there are.
 */
#ifndef NUNCIO_CATALOG_TROUBLES_H
#define NUNCIO_CATALOG_TROUBLES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"

/* How long a line may wait, milliseconds. */
#define TROUBLES_WAIT_MS 100

struct trouble {
	char *text;
	char *service;	    /* the first one */
	uint32_t services;  /* that have it now */
	uint32_t most;	    /* that had it at once */
	uint32_t unknown;   /* of all that came, those of which nothing is known but what the kernel holds */
	uint32_t recovered; /* that left because their registry answered */
	uint64_t since;	    /* uv_hrtime() */
	bool told;	    /* its begin is in the log */
	UT_hash_handle hh;
};

/* Those of a registry; zeroed to begin. They are over when no service has one any more. */
struct troubles {
	struct trouble *by_text;
};

/* A service comes to have a trouble, which is returned; `known`: its last endpoints are known. */
struct trouble *troubles_enter(struct troubles *troubles, const char *text, const char *service, bool known);

/* It has it no longer: its registry answered, or it has another one, or is gone. `registry` is what the log calls it.
 */
void troubles_leave(struct troubles *troubles, struct trouble *trouble, bool recovered, const char *registry);

/* Writes the lines that wait. */
void troubles_tell(struct troubles *troubles);

#endif
