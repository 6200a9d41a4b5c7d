/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `nuncio status --json`: the state of everything as one JSON object. */
#ifndef NUNCIO_DAEMON_STATUS_H
#define NUNCIO_DAEMON_STATUS_H

#include <stdio.h>

#include "catalog/catalog.h"
#include "daemon/ambassador.h"

struct cJSON;

struct realm;

/* Writes the object; with `netns`, only that namespace's, and with `link`, only links of that name. */
void status_write(FILE *out, const struct realm *realm, const char *netns, const char *link);

/* One link's part of it, for cJSON_Delete(). Without `counters` it is cheap, and all connections are 0. */
struct cJSON *status_of_link(struct ambassador *ambassador, const char *link, bool counters);

#endif
