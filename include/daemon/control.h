/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: a Unix socket that speaks one JSON object per line. A request is {"command": NAME, ...}; the
 * answer is one line, too, and an object with "error" where the request could not be met.
 */
#ifndef NUNCIO_DAEMON_CONTROL_H
#define NUNCIO_DAEMON_CONTROL_H

#include <stdio.h>
#include <uv.h>

#include "base/error.h"

struct cJSON;
struct control;

/* Writes the answer to `out`, one JSON object without a newline in it. */
typedef void (*control_request_fn)(void *context, const struct cJSON *request, FILE *out);

/*
 * Listens at `path` (mode 0660, its directory is made where missing; what a dead process left there is replaced).
 * -EADDRINUSE: a living process listens there.
 */
int control_open(uv_loop_t *loop, const char *path, control_request_fn request, void *context, struct control **ret,
		 struct error *err);
/* Removes the socket; handles close over the next turns of the loop. NULL is fine. */
void control_close(struct control *control);

#endif
