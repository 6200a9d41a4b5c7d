/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random numbers for tests of properties. The seed is printed; SEED=N in the environment repeats a run. */
#ifndef NUNCIO_TESTS_RANDOM_H
#define NUNCIO_TESTS_RANDOM_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "unit.h"

static inline void random_begin(void)
{
	const char *given = getenv("SEED");
	unsigned int seed = given ? (unsigned int)strtoul(given, NULL, 10) : (unsigned int)time(NULL);

	print_message("SEED=%u\n", seed);
	srandom(seed);
}

/* min..max, both included. */
static inline uint32_t random_between(uint32_t min, uint32_t max)
{
	return min + (uint32_t)random() % (max - min + 1);
}

#endif
