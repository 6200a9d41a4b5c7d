/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/event.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Those that a line in the log does not have in another form. */
#define CAUSES_TOLD \
	(CAUSE_OPERATOR | CAUSE_CHECK | CAUSE_EJECTION | CAUSE_SLOW_START | CAUSE_LOAD | CAUSE_TIME | CAUSE_REPAIR)

#define SENTENCE_MAX 2048

static struct {
	event_collect_fn collect;
	void *context;
} collector;

static const char *const cause_names[] = {
	"registry", "configuration", "operator", "checks", "ejection", "slow start",
	"load",	    "time",	     "adoption", "repair", "kernel",   "containers",
};

const char *causes_text(unsigned int causes, char buffer[CAUSES_TEXT])
{
	size_t used = 0;

	buffer[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(cause_names); i++) {
		if (causes & (1u << i))
			used += (size_t)snprintf(buffer + used, CAUSES_TEXT - used, "%s%s", used ? ", " : "",
						 cause_names[i]);
	}
	return buffer;
}

bool event_wanted(enum log_level level)
{
	return log_enabled(level) || (collector.collect && level <= LOG_LEVEL_INFO);
}

static void put_circumstances(FILE *out, const struct event *event)
{
	const char *separator = " (";
	char causes[CAUSES_TEXT];

	if (event->causes & CAUSES_TOLD && event->state) {
		fprintf(out, "%s%s", separator, causes_text(event->causes & CAUSES_TOLD, causes));
		separator = "; ";
	}
	if (event->state) {
		fprintf(out, "%s%s", separator, event->state);
		separator = "; ";
	}
	if (event->revision && *event->revision) {
		fprintf(out, "%srevision %s", separator, event->revision);
		separator = "; ";
	}
	if (event->messages) {
		fprintf(out, "%s%" PRIu64 " messages", separator, event->messages);
		separator = "; ";
	}
	if (event->took_ns) {
		fprintf(out, "%s%.2f ms", separator, (double)event->took_ns / 1e6);
		separator = "; ";
	}
	if (*separator == ';')
		fputc(')', out);
}

static void write_log(const struct event *event)
{
	const char *netns = event->netns ? event->netns : "";
	char *circumstances = NULL;
	size_t length;
	FILE *out = open_memstream(&circumstances, &length);

	put_circumstances(out, event);
	fclose(out);
	log_write(event->level, "%s%s%s%s%s%s%s", netns, *netns ? ": " : "", event->link ? "link " : "",
		  event->link ? event->link : "", event->link ? ": " : "", event->text, circumstances);
	free(circumstances);
}

void event_tell(const struct event *event)
{
	if (log_enabled(event->level))
		write_log(event);
	if (collector.collect && event->level <= LOG_LEVEL_INFO)
		collector.collect(collector.context, event);
}

void event_say(enum log_level level, enum event_cause cause, const char *netns, const char *link, const char *format,
	       ...)
{
	struct event event = {.level = level, .causes = cause, .netns = netns, .link = link};
	char text[SENTENCE_MAX];
	va_list args;

	if (!event_wanted(level))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	event.text = text;
	event_tell(&event);
}

void event_collect(event_collect_fn collect, void *context)
{
	collector.collect = collect;
	collector.context = context;
}
