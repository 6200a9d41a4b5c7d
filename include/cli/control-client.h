/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asking a running nuncio over its control socket. */
#ifndef NUNCIO_CLI_CONTROL_CLIENT_H
#define NUNCIO_CLI_CONTROL_CLIENT_H

#include <stdbool.h>

#include "base/error.h"

/*
 * Sends one request, a JSON object and a newline, to the socket at `path` and waits for the answer. Returns 0 and the
 * answer, a line that the caller frees, or a negative errno with a sentence. The answer may be an object with "error".
 */
int control_ask(const char *path, const char *request_line, char **ret_answer, struct error *err);

/*
 * The same for a request whose answer is followed by more: calls each(context, line) for every line, without its end,
 * until that returns false or the other end goes away. Returns 0 in the former case, and -EPIPE in the latter.
 */
int control_follow(const char *path, const char *request_line, bool (*each)(void *context, const char *line),
		   void *context, struct error *err);

#endif
