/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors that a person reads.
 *
 * A function that can fail returns 0 or a negative errno. Where the reason deserves words, it also takes a
 * `struct error` and leaves one sentence there: the place, the value, and what is accepted. The function that
 * finds the fault writes the sentence; only the outermost caller prints or logs it. Who does not want the words
passes NULL.
 */
#ifndef NUNCIO_BASE_ERROR_H
#define NUNCIO_BASE_ERROR_H

#include <stdarg.h>

struct error {
	char text[512];
};

/* Writes the sentence (cut at the buffer's end) and returns code, so that a caller can `return fail(...)`. */
int fail(struct error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts "PREFIX: " before a sentence that is already there, and returns code. */
int fail_prefix(struct error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
