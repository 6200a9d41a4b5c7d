/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a source said last of a service, so that it says nothing twice. Zeroed to begin. */
#ifndef NUNCIO_DISCOVERY_ANSWERED_H
#define NUNCIO_DISCOVERY_ANSWERED_H

#include <stdbool.h>
#include <stdint.h>

#include "catalog/endpoints.h"

struct answered {
	const struct endpoints *endpoints; /* the last good ones; NULL: none yet */
	char *error;			   /* NULL while the last answer was good */
	uint32_t skipped;
};

/* Each returns whether it is to be said: it differs from what was said last. The caller's reference stays his. */
bool answered_endpoints(struct answered *last, const struct endpoints *endpoints, uint32_t skipped);
bool answered_error(struct answered *last, const char *text);
void answered_clear(struct answered *last);

#endif
