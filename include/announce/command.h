/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The service's own process, in a session and process group of its own: no signal reaches it but those sent here. */
#ifndef NUNCIO_ANNOUNCE_COMMAND_H
#define NUNCIO_ANNOUNCE_COMMAND_H

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"

/* From SIGTERM to SIGKILL. */
#define COMMAND_PATIENCE_MS 10000

struct command;

/* It has ended: its exit code, or 128 and the number of the signal that ended it. */
typedef void (*command_ended_fn)(void *context, int exit_code);

/* Returns 0, or a negative errno with a sentence. The words are NULL-terminated, and needed only here. */
int command_start(uv_loop_t *loop, char **words, command_ended_fn ended, void *context, struct command **ret,
		  struct error *err);
bool command_runs(const struct command *command); /* NULL does not */
/* To its whole group. */
void command_signal(const struct command *command, int number);
/* SIGTERM, and SIGKILL if that does not help; said once, however often it is called. */
void command_stop(struct command *command);
/* NULL is fine. It is to have ended. */
void command_close(struct command *command);

#endif
