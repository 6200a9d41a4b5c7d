/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "exporter/exposition.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define NUMBER_TEXT 32

/* Bytes of the UTF-8 character that begins there; 0: there is none. RFC 3629, section 4. */
static size_t character_size(const unsigned char *at)
{
	size_t size = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < size; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf0 && at[1] < 0x90) ||
	    (at[0] == 0xf4 && at[1] > 0x8f))
		return 0;
	return size;
}

/* Names come from registries: what is no UTF-8 would make Prometheus refuse all of it. */
static void add_escaped(struct text *text, const char *value, bool quotes)
{
	const unsigned char *at = (const unsigned char *)value;

	while (*at) {
		size_t size = character_size(at);

		if (*at == '\\')
			text_add_string(text, "\\\\");
		else if (*at == '\n')
			text_add_string(text, "\\n");
		else if (*at == '"' && quotes)
			text_add_string(text, "\\\"");
		else if (size)
			text_add(text, (const char *)at, size);
		else
			text_add_string(text, "\xef\xbf\xbd"); /* the replacement character */
		at += size ? size : 1;
	}
}

void labels_add(struct text *labels, const char *name, const char *value)
{
	if (labels->length)
		text_add_string(labels, ",");
	text_add_string(labels, name);
	text_add_string(labels, "=\"");
	add_escaped(labels, value, true);
	text_add_string(labels, "\"");
}

void exposition_begin(struct exposition *exposition, const struct metric *metrics, size_t count)
{
	*exposition = (struct exposition){
		.metrics = metrics,
		.texts = xcalloc(count, sizeof(struct scroll)),
		.count = count,
	};
}

static const char *type_name(enum metric_type type)
{
	switch (type) {
	case METRIC_COUNTER:
		return "counter";
	case METRIC_GAUGE:
		return "gauge";
	case METRIC_HISTOGRAM:
		return "histogram";
	}
	return "untyped";
}

static void add_header(struct scroll *text, const struct metric *metric)
{
	struct text help = {0};

	add_escaped(&help, metric->help, false);
	scroll_add_string(text, "# HELP ");
	scroll_add_string(text, metric->name);
	scroll_add_string(text, " ");
	scroll_add(text, help.bytes, help.length);
	scroll_add_string(text, "\n# TYPE ");
	scroll_add_string(text, metric->name);
	scroll_add_string(text, " ");
	scroll_add_string(text, type_name(metric->type));
	scroll_add_string(text, "\n");
	text_clear(&help);
}

/* Where the samples of a metric go. */
static struct scroll *samples_of(struct exposition *exposition, size_t metric)
{
	struct scroll *text = &exposition->texts[metric];

	if (!text->first)
		add_header(text, &exposition->metrics[metric]);
	return text;
}

static void add_sample(struct scroll *text, const char *name, const char *suffix, const struct text *labels,
		       const char *value)
{
	scroll_add_string(text, name);
	scroll_add_string(text, suffix);
	if (labels && labels->length) {
		scroll_add_string(text, "{");
		scroll_add(text, labels->bytes, labels->length);
		scroll_add_string(text, "}");
	}
	scroll_add_string(text, " ");
	scroll_add_string(text, value);
	scroll_add_string(text, "\n");
}

static const char *number_text(double value, char buffer[NUMBER_TEXT])
{
	if (isnan(value))
		return "NaN";
	if (isinf(value))
		return value > 0 ? "+Inf" : "-Inf";
	snprintf(buffer, NUMBER_TEXT, "%.15g", value);
	return buffer;
}

/* There are a million of these where there are many endpoints; printf() would take twice as long. */
static const char *count_text(uint64_t value, char buffer[NUMBER_TEXT])
{
	size_t at = NUMBER_TEXT - 1;

	buffer[at] = '\0';
	do {
		buffer[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	return &buffer[at];
}

void exposition_add(struct exposition *exposition, size_t metric, const struct text *labels, double value)
{
	char buffer[NUMBER_TEXT];

	add_sample(samples_of(exposition, metric), exposition->metrics[metric].name, "", labels,
		   number_text(value, buffer));
}

void exposition_add_count(struct exposition *exposition, size_t metric, const struct text *labels, uint64_t value)
{
	char buffer[NUMBER_TEXT];

	add_sample(samples_of(exposition, metric), exposition->metrics[metric].name, "", labels,
		   count_text(value, buffer));
}

static void add_bucket(struct scroll *text, const char *name, const char *bound, uint64_t count)
{
	struct text labels = {0};
	char buffer[NUMBER_TEXT];

	labels_add(&labels, "le", bound);
	add_sample(text, name, "_bucket", &labels, count_text(count, buffer));
	text_clear(&labels);
}

void exposition_add_histogram(struct exposition *exposition, size_t metric, const struct histogram *histogram)
{
	struct scroll *text = samples_of(exposition, metric);
	const char *name = exposition->metrics[metric].name;
	char buffer[NUMBER_TEXT];
	uint64_t count = 0;

	for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
		count += histogram->buckets[i];
		add_bucket(text, name, number_text(histogram_bounds[i], buffer), count);
	}
	count += histogram->buckets[HISTOGRAM_BOUNDS];
	add_bucket(text, name, "+Inf", count);
	add_sample(text, name, "_sum", NULL, number_text(histogram->sum, buffer));
	add_sample(text, name, "_count", NULL, count_text(count, buffer));
}

void exposition_end(struct exposition *exposition, struct scroll *ret)
{
	for (size_t i = 0; i < exposition->count; i++)
		scroll_join(ret, &exposition->texts[i]);
	free(exposition->texts);
	*exposition = (struct exposition){0};
}
