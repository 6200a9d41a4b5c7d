/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Growing texts. What is long is kept in several of them: to put them together would hold up the event loop. */
#ifndef NUNCIO_EXPORTER_TEXT_H
#define NUNCIO_EXPORTER_TEXT_H

#include <stddef.h>

/* Zeroed to begin, text_clear() ends. */
struct text {
	char *bytes; /* not ended by a NUL */
	size_t length, capacity;
};

void text_clear(struct text *text);
void text_add(struct text *text, const char *bytes, size_t length);
void text_add_string(struct text *text, const char *string);

/* One text in pieces. */
struct texts {
	struct text *items;
	size_t count;
};

void texts_clear(struct texts *texts);

#endif
