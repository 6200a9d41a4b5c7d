/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "exporter/text.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

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

void texts_clear(struct texts *texts)
{
	for (size_t i = 0; i < texts->count; i++)
		text_clear(&texts->items[i]);
	free(texts->items);
	*texts = (struct texts){0};
}
