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
	bool outage;			   /* that says why the registry cannot be asked */
	uint32_t skipped;
};

/*
 * Each returns whether it is to be said: it differs from what was said last. The caller's reference stays his.
 *
 * An error is about what the registry says of the service, and there each new sentence counts: somebody is at work on
 * it. An outage is that the registry cannot be asked, and of that the first reason counts until it is over: refused,
 * unreachable, timed out are what one failure looks like from one moment to the next. The source's status has the
 * latest.
 */
bool answered_endpoints(struct answered *last, const struct endpoints *endpoints, uint32_t skipped);
bool answered_error(struct answered *last, const char *text);
bool answered_outage(struct answered *last, const char *text);
void answered_clear(struct answered *last);

#endif
