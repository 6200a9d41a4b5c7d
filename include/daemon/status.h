/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `nuncio status --json`: the state of everything as one JSON object. */
#ifndef NUNCIO_DAEMON_STATUS_H
#define NUNCIO_DAEMON_STATUS_H

#include <stdio.h>

#include "catalog/catalog.h"
#include "daemon/ambassador.h"
#include "exporter/text.h"

struct cJSON;

struct realm;
struct visitor;

/* Writes the object; with `netns`, only that namespace's, and with `link`, only links of that name. */
void status_write(FILE *out, const struct realm *realm, const char *netns, const char *link);

/* What a tour with status_visitor has as its context: the same object, in memory. Zeroed, but for the first three. */
struct status_report {
	struct realm (*realm)(void *);
	void *realm_context;
	void (*done)(struct status_report *report);
	struct scroll text; /* at its end */
	FILE *out;
	unsigned int ambassadors, links; /* so far; links of the present ambassador */
};

extern const struct visitor status_visitor;

/* Also where the tour was cancelled. */
void status_report_clear(struct status_report *report);

/* One link's part of it, for cJSON_Delete(). Without `counters` it is cheap, and all connections are 0. */
struct cJSON *status_of_link(struct ambassador *ambassador, const char *link, bool counters);

#endif
