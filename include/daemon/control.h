/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: a Unix socket that speaks one JSON object per line. A request is {"command": NAME, ...}; the
 * answer is one line, too, and an object with "error" where the request could not be met.
 */
#ifndef NUNCIO_DAEMON_CONTROL_H
#define NUNCIO_DAEMON_CONTROL_H

#include <stdbool.h>
#include <stdio.h>
#include <uv.h>

#include "base/error.h"

struct cJSON;
struct control;

/*
 * Writes the answer to `out`, one JSON object without a newline in it. Returns whether the client is to be told what
 * comes after that, by control_publish(); what it says from then on is not read.
 */
typedef bool (*control_request_fn)(void *context, const struct cJSON *request, FILE *out);

/*
 * Listens at `path` (mode 0660, its directory is made where missing; what a dead process left there is replaced).
 * -EADDRINUSE: a living process listens there.
 */
int control_open(uv_loop_t *loop, const char *path, control_request_fn request, void *context, struct control **ret,
		 struct error *err);
/*
 * Sends a line to the clients that follow, if wants(request, about) says so of what they asked for. One that does not
 * read them in time is told so by an object with "error", and let go.
 */
typedef bool (*control_wants_fn)(const struct cJSON *request, const void *about);
void control_publish(struct control *control, const char *line, control_wants_fn wants, const void *about);

/* Removes the socket; handles close over the next turns of the loop. NULL is fine. */
void control_close(struct control *control);

#endif
