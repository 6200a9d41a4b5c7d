/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole registry in one JSON text: {"SERVICE": [RECORD, ...], ...}. Pure.
 *
 * The text may be large and change often in small places. So the services that are byte for byte what they were keep
 * their snapshot unparsed, and of the others only one at a time is a tree in memory.
 */
#ifndef NUNCIO_DISCOVERY_FILE_SERVICES_H
#define NUNCIO_DISCOVERY_FILE_SERVICES_H

#include <stddef.h>

#include "base/error.h"
#include "discovery/records.h"

struct services;

/*
 * Reads the text and replaces *services (NULL to begin) by what it says. The place begins every sentence. Returns 0,
 * or -EINVAL when any part of the text is not valid, with line, column and remedy; *services is then as it was.
 * A fault of one service alone, such as being there twice, is in its records and not an error of the text.
 */
int services_parse(struct services **services, const char *place, const char *text, size_t length, struct error *err);

/* The records of a service, until the next services_parse(); NULL where the text does not name it. */
const struct records *services_find(const struct services *services, const char *name);

void services_free(struct services *services); /* NULL is fine */

#endif
