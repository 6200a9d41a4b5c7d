/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What time it is, how long something lasts or ago it is. */
#ifndef NUNCIO_BASE_AGE_H
#define NUNCIO_BASE_AGE_H

#include <stdint.h>

#define AGE_TEXT 32

/* "45 s", "12 min", "3 h" or "5 days", from seconds; returns the buffer. */
const char *age_text(double seconds, char buffer[AGE_TEXT]);

/* Now, in milliseconds since 1970. */
int64_t age_now_ms(void);

/* Seconds since such a time; at least 0. */
double age_since(int64_t ms);

#endif
