/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state file: what has to outlast the daemon and is in neither configuration, registry nor kernel. It is read once,
 * at the start, and replaced as a whole, on the disk before it is in force, when something in it changes.
 */
#ifndef NUNCIO_DAEMON_STATE_H
#define NUNCIO_DAEMON_STATE_H

#include <stdbool.h>

#include "base/error.h"
#include "config/config.h"
#include "daemon/overrides.h"

#define STATE_PATH "/var/lib/nuncio/state.json"

struct state;

/*
 * Reads the file at `path`; NULL: at STATE_PATH, which is a convenience, so that it does not matter much where it
 * cannot be written; "none": there is no file. A file that cannot be used is said in the log and set aside as
 * PATH.broken, or, with `dry_run`, only said.
 */
struct state *state_open(const char *path, bool dry_run);
void state_close(struct state *state); /* NULL is fine */

/* Where it is, NULL: nowhere; and was that path asked for? */
const char *state_path(const struct state *state);
bool state_was_asked(const struct state *state);

/* What holds now; it changes in place, and lives as long as the state. */
const struct overrides *state_overrides(const struct state *state);

/*
 * Takes an override in, or, with `remove`, out. Returns 1; 0 where it was so already; or a negative errno with a
 * sentence: then nothing has changed. The override's strings must be the caller's own. *ret_note says where it will not
 * outlast the daemon, else it is empty.
 */
int state_change(struct state *state, const struct override *override, bool remove, struct error *ret_note,
		 struct error *err);

/* Drops the overrides of links that are not configured, and logs it. With `save`, from the file, too. */
void state_retain(struct state *state, const struct config *config, bool save);

#endif
