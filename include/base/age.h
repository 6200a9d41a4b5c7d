/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long something lasts or ago it is, for people. */
#ifndef NUNCIO_BASE_AGE_H
#define NUNCIO_BASE_AGE_H

#include <stdint.h>

#define AGE_TEXT 32

/* "45 s", "12 min", "3 h" or "5 days", from seconds; returns the buffer. */
const char *age_text(double seconds, char buffer[AGE_TEXT]);

/* Seconds since a time that is in milliseconds since 1970; at least 0. */
double age_since(int64_t ms);

#endif
