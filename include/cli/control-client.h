/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asking a running nuncio over its control socket. */
#ifndef NUNCIO_CLI_CONTROL_CLIENT_H
#define NUNCIO_CLI_CONTROL_CLIENT_H

#include "base/error.h"

/*
 * Sends one request, a JSON object and a newline, to the socket at `path` and waits for the answer. Returns 0 and the
 * answer, a line that the caller frees, or a negative errno with a sentence. The answer may be an object with "error".
 */
int control_ask(const char *path, const char *request_line, char **ret_answer, struct error *err);

#endif
