/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/journal.h"

#include <cJSON.h>
#include <math.h>
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

static void add_text(cJSON *object, const char *key, const char *text)
{
	if (text && *text)
		cJSON_AddStringToObject(object, key, text);
}

static char *print_event(uint64_t number, const struct event *event)
{
	cJSON *object = cJSON_CreateObject();
	char time[LOG_TIME_TEXT], causes[CAUSES_TEXT], *json;

	cJSON_AddNumberToObject(object, "number", (double)number);
	cJSON_AddStringToObject(object, "time", log_time(time));
	cJSON_AddStringToObject(object, "level", log_level_name(event->level));
	if (event->netns)
		cJSON_AddStringToObject(object, "netns", event->netns);
	add_text(object, "link", event->link);
	cJSON_AddStringToObject(object, "text", event->text);
	add_text(object, "cause", causes_text(event->causes, causes));
	add_text(object, "state", event->state);
	add_text(object, "revision", event->revision);
	if (event->messages)
		cJSON_AddNumberToObject(object, "messages", (double)event->messages);
	if (event->took_ns)
		cJSON_AddNumberToObject(object, "latency_ms", round((double)event->took_ns / 1e3) / 1e3);
	json = cJSON_PrintUnformatted(object);
	cJSON_Delete(object);
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
