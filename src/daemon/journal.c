/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/event.h"
#include "base/mem.h"

struct journal {
	struct journal_entry entries[JOURNAL_EVENTS];
	size_t first, count, bytes;
	uint64_t number; /* of the last one */
	void (*added)(void *context, const struct journal_entry *entry);
	void *context;
};

static size_t size_of(const struct journal_entry *entry)
{
	return strlen(entry->json) + 1;
}

static void drop_first(struct journal *journal)
{
	struct journal_entry *entry = &journal->entries[journal->first];

	journal->bytes -= size_of(entry);
	free(entry->netns);
	free(entry->link);
	free(entry->json);
	*entry = (struct journal_entry){0};
	journal->first = (journal->first + 1) % JOURNAL_EVENTS;
	journal->count--;
}

static void put_text(FILE *out, const char *key, const char *text)
{
	fprintf(out, ",\"%s\":\"", key);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fprintf(out, "\\%c", *text);
		else if ((unsigned char)*text < ' ')
			fprintf(out, "\\u%04x", *text);
		else
			fputc(*text, out);
	}
	fputc('"', out);
}

static void put_if_any(FILE *out, const char *key, const char *text)
{
	if (text && *text)
		put_text(out, key, text);
}

/* With each change: a tree of cJSON's would be a third of all that this allocates. */
static char *print_event(uint64_t number, const struct event *event)
{
	char time[LOG_TIME_TEXT], causes[CAUSES_TEXT], *json = NULL;
	size_t length;
	FILE *out = open_memstream(&json, &length);

	fprintf(out, "{\"number\":%" PRIu64, number);
	put_text(out, "time", log_time(time));
	put_text(out, "level", log_level_name(event->level));
	if (event->netns)
		put_text(out, "netns", event->netns);
	put_if_any(out, "link", event->link);
	put_text(out, "text", event->text);
	put_if_any(out, "cause", causes_text(event->causes, causes));
	put_if_any(out, "state", event->state);
	put_if_any(out, "revision", event->revision);
	if (event->messages)
		fprintf(out, ",\"messages\":%" PRIu64, event->messages);
	if (event->took_ns)
		fprintf(out, ",\"latency_ms\":%.3f", (double)event->took_ns / 1e6);
	fputc('}', out);
	fclose(out);
	return json;
}

static void collect(void *context, const struct event *event)
{
	struct journal *journal = context;
	struct journal_entry entry = {
		.number = ++journal->number,
		.netns = event->netns ? xstrdup(event->netns) : NULL,
		.link = event->link ? xstrdup(event->link) : NULL,
		.json = print_event(journal->number, event),
	};
	struct journal_entry *place;

	while (journal->count && (journal->count == JOURNAL_EVENTS || journal->bytes + size_of(&entry) > JOURNAL_BYTES))
		drop_first(journal);
	place = &journal->entries[(journal->first + journal->count++) % JOURNAL_EVENTS];
	*place = entry;
	journal->bytes += size_of(place);
	if (journal->added)
		journal->added(journal->context, place);
}

struct journal *journal_open(void (*added)(void *context, const struct journal_entry *entry), void *context)
{
	struct journal *journal = xcalloc(1, sizeof(*journal));

	journal->added = added;
	journal->context = context;
	event_collect(collect, journal);
	return journal;
}

void journal_close(struct journal *journal)
{
	if (!journal)
		return;
	event_collect(NULL, NULL);
	while (journal->count)
		drop_first(journal);
	free(journal);
}

bool journal_is_about(const struct journal_entry *entry, const char *netns, const char *link)
{
	return (!link || (entry->link && strcmp(entry->link, link) == 0)) &&
	       (!netns || (entry->netns && strcmp(entry->netns, netns) == 0));
}

static const struct journal_entry *entry_at(const struct journal *journal, size_t index)
{
	return &journal->entries[(journal->first + index) % JOURNAL_EVENTS];
}

void journal_write(const struct journal *journal, const char *netns, const char *link, size_t count, FILE *out)
{
	size_t from = journal->count;
	const char *separator = "";

	for (size_t found = 0; from && found < count; from--)
		found += journal_is_about(entry_at(journal, from - 1), netns, link);
	fputc('[', out);
	for (; from < journal->count; from++) {
		const struct journal_entry *entry = entry_at(journal, from);

		if (!journal_is_about(entry, netns, link))
			continue;
		fprintf(out, "%s%s", separator, entry->json);
		separator = ",";
	}
	fputc(']', out);
}
