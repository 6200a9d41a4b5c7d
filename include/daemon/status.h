/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `nuncio status --json`: the state of everything as one JSON object. */
#ifndef NUNCIO_DAEMON_STATUS_H
#define NUNCIO_DAEMON_STATUS_H

#include <stdio.h>

#include "catalog/catalog.h"
#include "daemon/ambassador.h"

/* Writes the object; with `link`, only links of that name. */
void status_write(FILE *out, struct ambassador *const *ambassadors, size_t count, const struct catalog *catalog,
		  const char *link);

#endif
