/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory. The daemon ends when memory does: the rules stay in the kernel and its supervisor starts it again, which
 * is a tested path, while hundreds of half-tested "out of memory" branches would not be. So these never return NULL.
 */
#ifndef NUNCIO_BASE_MEM_H
#define NUNCIO_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

void *xcalloc(size_t count, size_t size);
void *xrealloc(void *memory, size_t count, size_t size);
char *xstrdup(const char *text);
char *xstrndup(const char *text, size_t length);
/* Frees *text and makes it a copy of next; either may be NULL. Returns whether they differed. */
bool text_replace(char **text, const char *next);
bool text_begins(const char *text, const char *start);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Makes room for one more item behind `count` items of a growing array (doubling; capacity 0 and NULL to begin). */
#define ARRAY_GROW(items, count, capacity) \
	do { \
		if ((count) == (capacity)) { \
			(capacity) = (capacity) ? (capacity)*2 : 8; \
			(items) = xrealloc((items), (capacity), sizeof(*(items))); \
		} \
	} while (0)

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/*
 * An arena: many small allocations that end together. Zero-initialise to begin; arena_free() gives everything
 * back and leaves it ready for use again. What arena_alloc() returns is zeroed and aligned for any type.
 */
struct arena {
	struct arena_block *blocks;
};

void *arena_alloc(struct arena *arena, size_t size);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t length);
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
void arena_free(struct arena *arena);

#endif
