/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From single checks to whether something is healthy. Pure. */
#ifndef NUNCIO_ANNOUNCE_HEALTH_H
#define NUNCIO_ANNOUNCE_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

/* So many good checks in a row make it healthy again, so many failed ones make it unhealthy. The very first time, one
 * good check is enough: it never was unhealthy. */
#define HEALTH_RISE 2
#define HEALTH_FALL 3

/* Zeroed: never seen healthy. */
struct health {
	bool up, was_up;
	uint32_t against; /* checks in a row that speak against `up` */
};

/* Takes the result of a check; returns whether `up` changed. */
bool health_note(struct health *health, bool good);

#endif
