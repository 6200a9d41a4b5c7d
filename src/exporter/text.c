/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "exporter/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

_Static_assert(sizeof(struct block) == BLOCK_SIZE, "a block is whole pages");

void text_clear(struct text *text)
{
	free(text->bytes);
	*text = (struct text){0};
}

static void make_room(struct text *text, size_t length)
{
	if (text->capacity - text->length >= length)
		return;
	while (text->capacity - text->length < length)
		text->capacity = text->capacity ? text->capacity * 2 : 256;
	text->bytes = xrealloc(text->bytes, text->capacity, 1);
}

void text_add(struct text *text, const char *bytes, size_t length)
{
	if (!length)
		return;
	make_room(text, length);
	memcpy(text->bytes + text->length, bytes, length);
	text->length += length;
}

void text_add_string(struct text *text, const char *string)
{
	text_add(text, string, strlen(string));
}

/* Not malloc(), which would keep them until the last is freed, and then give all of them back at once. */
static struct block *new_block(void)
{
	// cppcheck-suppress invalidFunctionArg; it is no file
	void *block = mmap(NULL, BLOCK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (block == MAP_FAILED)
		abort(); /* as base/mem.h: the supervisor starts us again */
	return block;
}

bool scroll_clear_block(struct scroll *scroll)
{
	struct block *block = scroll->first;

	if (!block)
		return false;
	scroll->first = block->next;
	if (!scroll->first)
		scroll->last = NULL;
	munmap(block, BLOCK_SIZE);
	return true;
}

void scroll_clear(struct scroll *scroll)
{
	while (scroll_clear_block(scroll))
		;
}

static void append(struct scroll *scroll, struct block *first, struct block *last)
{
	if (scroll->last)
		scroll->last->next = first;
	else
		scroll->first = first;
	scroll->last = last;
}

void scroll_add(struct scroll *scroll, const char *bytes, size_t length)
{
	while (length) {
		struct block *block = scroll->last;
		size_t part;

		if (!block || block->length == BLOCK_BYTES) {
			block = new_block();
			append(scroll, block, block);
		}
		part = length < BLOCK_BYTES - block->length ? length : BLOCK_BYTES - block->length;
		memcpy(block->bytes + block->length, bytes, part);
		block->length += part;
		bytes += part;
		length -= part;
	}
}

void scroll_add_string(struct scroll *scroll, const char *string)
{
	scroll_add(scroll, string, strlen(string));
}

void scroll_join(struct scroll *scroll, struct scroll *more)
{
	if (more->first)
		append(scroll, more->first, more->last);
	*more = (struct scroll){0};
}

static ssize_t on_write(void *scroll, const char *bytes, size_t length)
{
	scroll_add(scroll, bytes, length);
	return (ssize_t)length;
}

FILE *scroll_open(struct scroll *scroll)
{
	return fopencookie(scroll, "w", (cookie_io_functions_t){.write = on_write});
}
