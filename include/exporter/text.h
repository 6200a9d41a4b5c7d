/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Texts in the making: short ones in one piece, and long ones in blocks of a fixed size. A text that doubles when it is
 * full is copied, and given back in one piece: with 70 MB both hold up the event loop for 10 ms.
 */
#ifndef NUNCIO_EXPORTER_TEXT_H
#define NUNCIO_EXPORTER_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Zeroed to begin, text_clear() ends. */
struct text {
	char *bytes; /* not ended by a NUL */
	size_t length, capacity;
};

void text_clear(struct text *text);
void text_add(struct text *text, const char *bytes, size_t length);
void text_add_string(struct text *text, const char *string);

#define BLOCK_SIZE 262144
#define BLOCK_BYTES (BLOCK_SIZE - 2 * sizeof(size_t))

struct block {
	struct block *next;
	size_t length;
	char bytes[BLOCK_BYTES];
};

/* A long text. Zeroed to begin, scroll_clear() ends. */
struct scroll {
	struct block *first, *last;
};

void scroll_clear(struct scroll *scroll);
/* Gives the first block back. Returns whether there was one. */
bool scroll_clear_block(struct scroll *scroll);
void scroll_add(struct scroll *scroll, const char *bytes, size_t length);
void scroll_add_string(struct scroll *scroll, const char *string);
/* Moves all of `more` behind it. */
void scroll_join(struct scroll *scroll, struct scroll *more);
/* What is written goes to its end; fclose() leaves the scroll as it is. */
FILE *scroll_open(struct scroll *scroll);

#endif
