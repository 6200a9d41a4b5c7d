/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What --metrics shows over HTTP, to read and not to change:
 *
 *   /             the page for people, which asks for the next two
 *   /status.json  as `nuncio status --json`
 *   /events.json  the last events, as `nuncio events --json` has them
 *   /metrics      for Prometheus, see metrics.h
 *   /healthz      200 while the event loop turns
 *   /readyz       200 when the kernel has what the registries said first; before that 503 with what is missing
 *
 * The JSON and the metrics are made anew for those who ask, but not twice in SITE_FRESH_MS.
 */
#ifndef NUNCIO_DAEMON_SITE_H
#define NUNCIO_DAEMON_SITE_H

#include <uv.h>

#include "daemon/realm.h"

#define SITE_FRESH_MS 500

struct site;

/* Listens at ADDR:PORT. Returns 0, or a negative errno with a sentence. */
int site_open(uv_loop_t *loop, const char *address, struct realm (*realm)(void *), void *context, struct site **ret,
	      struct error *err);
/* Handles close over the next turns of the loop. NULL is fine. */
void site_close(struct site *site);

#endif
