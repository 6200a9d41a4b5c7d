/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long to wait before something that failed is tried again. Pure. */
#ifndef NUNCIO_DISCOVERY_BACKOFF_H
#define NUNCIO_DISCOVERY_BACKOFF_H

#include <stdint.h>

#define BACKOFF_FIRST_MS 250
#define BACKOFF_LAST_MS 60000

/*
 * After so many failures in a row (1 or more): BACKOFF_FIRST_MS, doubling, BACKOFF_LAST_MS at most; less up to a half
 * of it, by a random number, so that many who lost the same registry do not return to it at once.
 */
uint32_t backoff_ms(uint32_t failures, uint32_t random);

#endif
