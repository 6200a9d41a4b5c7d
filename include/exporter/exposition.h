/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Prometheus' text format, version 0.0.4. Pure: numbers in, text out.
 *
 * The format wants all samples of a metric in one piece, while who writes them goes from object to object: so each
 * metric has a text of its own, and all of them, one behind the other, are the whole.
 */
#ifndef NUNCIO_EXPORTER_EXPOSITION_H
#define NUNCIO_EXPORTER_EXPOSITION_H

#include <stddef.h>
#include <stdint.h>

#include "exporter/histogram.h"
#include "exporter/text.h"

#define EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
	const char *name; /* with its unit and, for a counter, "_total" */
	enum metric_type type;
	const char *help;
};

/* Labels, written once for many samples: `netns="",link="web"`. Zeroed to begin, text_clear() ends. */
void labels_add(struct text *labels, const char *name, const char *value);

struct exposition {
	const struct metric *metrics; /* borrowed */
	struct scroll *texts;	      /* the samples of each, with their head */
	size_t count;
};

void exposition_begin(struct exposition *exposition, const struct metric *metrics, size_t count);
/* `metric` is the index; labels may be NULL. Not a number is written as NaN. */
void exposition_add(struct exposition *exposition, size_t metric, const struct text *labels, double value);
void exposition_add_count(struct exposition *exposition, size_t metric, const struct text *labels, uint64_t value);
void exposition_add_histogram(struct exposition *exposition, size_t metric, const struct histogram *histogram);

/* Puts all of it, in the order of the metrics, to the end of *ret; those without a sample are left out. */
void exposition_end(struct exposition *exposition, struct scroll *ret);

#endif
