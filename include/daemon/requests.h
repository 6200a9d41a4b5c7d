/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the control socket answers. Each request is an object with "command"; those of operators also have "link",
 * "endpoint" (its id or ADDR:PORT), and "netns" where several namespaces have a link of that name.
 *
 *   {"command":"status", "link"?, "netns"?}                      the object of status.h; other links are left out
 *   {"command":"conns", "link"?, "limit"?}                       the object of conns.h
 *   {"command":"explain", "link", "netns"?}                      the same; the link has to be there
 *   {"command":"override", "link", "endpoint", "weight", "netns"?}  a weight by hand; null takes it back
 *                       -> {"netns", "endpoint": ID, "link": as in status, "note"?, "error"?: the kernel's}
 *   {"command":"wait", "links": [NAME...], "netns"?}             those without an endpoint in the kernel, at once
 *                       -> {"waiting": [{"netns", "name", "reason"}...]}
 *   {"command":"events", "count"?, "follow"?, "link"?, "netns"?}  {"events": [...]}, the last ones, of journal.h; with
 *                       "follow": true those that come from then on as well, each as an object on a line of its own
 *   {"command":"metrics"}                                        -> {"text": Prometheus' format, daemon/metrics.h}
 *   {"command":"names", "link"?}                                 {"names": [...]}, of all links, or of its endpoints
 *
 * An answer with "error" alone says why nothing was done; with "usage": true it is the request's own fault.
 */
#ifndef NUNCIO_DAEMON_REQUESTS_H
#define NUNCIO_DAEMON_REQUESTS_H

#include <stdbool.h>
#include <stdio.h>

#include "daemon/realm.h"

struct cJSON;

/* Returns whether the events that requests_follows() says are to follow. */
bool requests_answer(const struct realm *realm, const struct cJSON *request, FILE *out);
/* `about` is a struct journal_entry. */
bool requests_follows(const struct cJSON *request, const void *about);

#endif
