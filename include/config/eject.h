/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When an endpoint whose connections fail is taken out, and for how long: "eject" of a link. Flat and read-only. */
#ifndef NUNCIO_CONFIG_EJECT_H
#define NUNCIO_CONFIG_EJECT_H

#include <stdint.h>

struct link_eject {
	uint32_t failures;  /* so many ... ; 0: nobody is ejected */
	uint32_t within_ms; /* ... in this time */
	uint32_t for_ms;    /* the first ejection; each that follows soon is twice as long as the one before */
	uint8_t max_percent;
};

#define EJECT_FAILURES_DEFAULT 5
#define EJECT_FAILURES_MAX 32
#define EJECT_TIME_MIN_MS 1000
#define EJECT_WITHIN_DEFAULT_MS 10000
#define EJECT_FOR_DEFAULT_MS 10000
#define EJECT_MAX_PERCENT_DEFAULT 50

/* What holds where nothing is said: nobody is ejected, but all else of it. */
extern const struct link_eject eject_default;

#endif
