/* SPDX-License-Identifier: GPL-2.0-or-later */
/* slow_start: an endpoint that comes gets its share little by little, in steps, as each is some changes of slots. */
#ifndef NUNCIO_BALANCE_SLOW_START_H
#define NUNCIO_BALANCE_SLOW_START_H

#include <stdint.h>

/* One more than these makes an even part of SHARE_FULL: small tables of slots. */
#define SLOW_START_STEPS 15

/* The share of its weight, of SHARE_FULL, of one that came `age_ms` ago. */
uint16_t slow_start_share(uint64_t age_ms, uint32_t slow_start_ms);

/* After how many milliseconds that is another one; 0: it is whole, and stays so. */
uint64_t slow_start_next_ms(uint64_t age_ms, uint32_t slow_start_ms);

#endif
