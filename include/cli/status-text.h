/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The status of a nuncio, for people: a summary, and a table for each link. */
#ifndef NUNCIO_CLI_STATUS_TEXT_H
#define NUNCIO_CLI_STATUS_TEXT_H

#include <cJSON.h>
#include <stdbool.h>
#include <stdio.h>

struct status_view {
	FILE *out;
	int columns; /* 0: no terminal; the order is that of the configuration, and lines are as long as they are */
	bool colour;
	bool cut;	     /* what does not fit, instead of going on in the next line */
	const cJSON *before; /* NULL, or the status some time ago: there are rates */
	double seconds;	     /* so long ago */
};

void status_print(const struct status_view *view, const cJSON *status);

/* How many links there are in it. */
size_t status_count_links(const cJSON *status);

#endif
