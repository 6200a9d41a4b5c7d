/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From single attempts to a verdict: rise and fall. Pure. */
#ifndef NUNCIO_HEALTH_JUDGE_H
#define NUNCIO_HEALTH_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "health/verdict.h"

struct judge {
	enum verdict verdict; /* VERDICT_UNKNOWN to begin with, then VERDICT_UP or VERDICT_DOWN */
	uint32_t against;     /* attempts in a row that speak against it */
};

/*
 * Takes the outcome of an attempt; returns whether the verdict changed. `rise` good ones in a row bring up what is
 * down, `fall` failed ones take down what is not. What is unknown comes up with the first good one.
 */
bool judge_note(struct judge *judge, bool good, uint32_t rise, uint32_t fall);

/* Does the last attempt speak against the verdict, or is there none? */
bool judge_doubts(const struct judge *judge);

#endif
