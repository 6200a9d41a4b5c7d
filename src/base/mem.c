/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An arena's blocks double from the first size to the last, so that small arenas stay small and big ones cheap. */
#define ARENA_FIRST_BLOCK 64
#define ARENA_LAST_BLOCK 65536

struct arena_block {
	struct arena_block *next;
	size_t size, used;
	_Alignas(max_align_t) unsigned char bytes[];
};

/* Not exit(): its handlers might want memory too. */
static _Noreturn void out_of_memory(void)
{
	static const char said[] = "nuncio: out of memory; the rules in the kernel stay as they are\n";

	if (write(STDERR_FILENO, said, sizeof(said) - 1) < 0)
		_exit(EXIT_FAILURE);
	_exit(EXIT_FAILURE);
}

static void *must(void *memory)
{
	if (!memory)
		out_of_memory();
	return memory;
}

void *xcalloc(size_t count, size_t size)
{
	/* calloc(0) may return NULL, which would not mean that memory is out. */
	return must(count && size ? calloc(count, size) : calloc(1, 1));
}

void *xrealloc(void *memory, size_t count, size_t size)
{
	return must(count && size ? reallocarray(memory, count, size) : realloc(memory, 1));
}

char *xstrdup(const char *text)
{
	return must(strdup(text));
}

char *xstrndup(const char *text, size_t length)
{
	return must(strndup(text, length));
}

bool text_replace(char **text, const char *next)
{
	bool differs = *text && next ? strcmp(*text, next) != 0 : *text != next;
	char *copy = next ? xstrdup(next) : NULL;

	free(*text);
	*text = copy;
	return differs;
}

bool text_begins(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

char *xasprintf(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		out_of_memory();
	va_end(args);
	return text;
}

static struct arena_block *arena_add_block(struct arena *arena, size_t at_least)
{
	size_t size = arena->blocks ? arena->blocks->size * 2 : ARENA_FIRST_BLOCK;
	struct arena_block *block;

	if (size > ARENA_LAST_BLOCK)
		size = ARENA_LAST_BLOCK;
	if (size < at_least)
		size = at_least;
	if (size > SIZE_MAX - sizeof(*block))
		out_of_memory();
	block = xcalloc(1, sizeof(*block) + size);
	block->size = size;
	block->next = arena->blocks;
	arena->blocks = block;
	return block;
}

static void *arena_take(struct arena *arena, size_t size, size_t alignment)
{
	struct arena_block *block = arena->blocks;
	size_t start = 0;

	if (block)
		start = (block->used + alignment - 1) & ~(alignment - 1);
	if (!block || start > block->size || size > block->size - start) {
		block = arena_add_block(arena, size);
		start = 0;
	}
	block->used = start + size;
	return block->bytes + start;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	return arena_take(arena, size, _Alignof(max_align_t));
}

char *arena_strdup(struct arena *arena, const char *text)
{
	return arena_strndup(arena, text, strlen(text));
}

char *arena_strndup(struct arena *arena, const char *text, size_t length)
{
	size_t size = strnlen(text, length);
	char *copy = arena_take(arena, size + 1, 1);

	memcpy(copy, text, size); /* The NUL is there: blocks are zeroed. */
	return copy;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	va_list args;
	char *text;
	int length;

	va_start(args, format);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0)
		out_of_memory();
	text = arena_take(arena, (size_t)length + 1, 1);
	va_start(args, format);
	vsnprintf(text, (size_t)length + 1, format, args);
	va_end(args);
	return text;
}

void arena_free(struct arena *arena)
{
	while (arena->blocks) {
		struct arena_block *next = arena->blocks->next;

		free(arena->blocks);
		arena->blocks = next;
	}
}
