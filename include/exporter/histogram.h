/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long things take, in buckets from 100 us to 10 s. */
#ifndef NUNCIO_EXPORTER_HISTOGRAM_H
#define NUNCIO_EXPORTER_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BOUNDS 16

/* Upper bounds in seconds, each of its bucket. */
extern const double histogram_bounds[HISTOGRAM_BOUNDS];

/* Zeroed to begin. */
struct histogram {
	uint64_t
		buckets[HISTOGRAM_BOUNDS + 1]; /* each for itself; the last one is for what is longer than all bounds */
	double sum;
};

void histogram_observe(struct histogram *histogram, double seconds);
uint64_t histogram_count(const struct histogram *histogram);

#endif
