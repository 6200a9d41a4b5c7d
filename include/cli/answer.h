/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the daemon answers (daemon/requests.h), for the commands that show it. */
#ifndef NUNCIO_CLI_ANSWER_H
#define NUNCIO_CLI_ANSWER_H

#include <cJSON.h>
#include <stdio.h>

#include "cli/options.h"

/* Begins a request; and makes it a line, to be freed, and ends it. */
cJSON *answer_request(const char *command);
char *answer_request_line(cJSON *request);

/*
 * Asks the nuncio at --control, ends the request, and returns the answer for cJSON_Delete(); or NULL, with the exit
 * code, when it has told on stderr that there is none.
 */
cJSON *answer_get(const struct options *options, const char *command, cJSON *request, int *ret_exit_code);

/* "" and 0 where there is no such text or number. */
const char *answer_text(const cJSON *object, const char *key);
double answer_number(const cJSON *object, const char *key);

/* A registry of the status object, as a line, and its error as another. */
void answer_print_registry(FILE *out, const cJSON *registry, const char *indent);

/* What an application sees that connects to this link, which has no endpoint that serves. */
const char *answer_emptiness(const cJSON *link);

#endif
