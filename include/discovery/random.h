/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NUNCIO_DISCOVERY_RANDOM_H
#define NUNCIO_DISCOVERY_RANDOM_H

#include <stdint.h>

/* For jitter; not for secrets. */
uint32_t random_number(void);

#endif
