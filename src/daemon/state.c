/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "daemon/keep-file.h"
#include "discovery/file-read.h"

struct state {
	char *path;  /* NULL: nothing is kept */
	bool asked;  /* the path was asked for, so it must be had */
	bool warned; /* that it cannot be written */
	struct overrides overrides;
};

/* Reading */

static void load(struct state *state, bool dry_run)
{
	struct file_text file;
	struct error err;
	int code = file_read(state->path, &file, &err);

	if (code == -ENOENT)
		return;
	if (code == 0) {
		code = overrides_parse(file.text, file.length, state->path, &state->overrides, &err);
		free(file.text);
	}
	if (code < 0)
		keep_file_set_aside(state->path, err.text, dry_run);
	else if (state->overrides.count)
		log_notice("%zu weight%s set by hand hold%s on, from %s", state->overrides.count,
			   state->overrides.count == 1 ? "" : "s", state->overrides.count == 1 ? "s" : "", state->path);
}

struct state *state_open(const char *path, bool dry_run)
{
	struct state *state = xcalloc(1, sizeof(*state));

	state->asked = path != NULL;
	if (path && strcmp(path, "none") == 0)
		return state;
	state->path = xstrdup(path ? path : STATE_PATH);
	load(state, dry_run);
	return state;
}

void state_close(struct state *state)
{
	if (!state)
		return;
	overrides_clear(&state->overrides);
	free(state->path);
	free(state);
}

const char *state_path(const struct state *state)
{
	return state->path;
}

bool state_was_asked(const struct state *state)
{
	return state->asked;
}

const struct overrides *state_overrides(const struct state *state)
{
	return &state->overrides;
}

/* Writing */

static void write_text(const void *text, FILE *out)
{
	fputs(text, out);
}

static int save(const struct state *state, struct error *err)
{
	char *text = overrides_print(&state->overrides);
	int code = keep_file_replace(state->path, write_text, text);

	free(text);
	return code < 0 ? fail(err, code, "state file %s: %s", state->path, strerror(-code)) : 0;
}

/* Saves where something is kept. Returns a negative errno only where the file was asked for. */
static int save_if_kept(struct state *state, struct error *ret_note, struct error *err)
{
	int code;

	if (!state->path) {
		fail(ret_note, 0, "it holds as long as this nuncio runs: that has --state none");
		return 0;
	}
	code = save(state, err);
	if (code == 0 || state->asked)
		return code;
	if (!state->warned)
		log_warning("%s; what is set by hand holds as long as this process", err->text);
	state->warned = true;
	fail(ret_note, 0, "it holds as long as this nuncio runs: %s", err->text);
	return 0;
}

static int change(struct overrides *overrides, const struct override *override, bool remove, struct error *err)
{
	if (!remove)
		return overrides_set(overrides, override, err);
	overrides_remove(overrides, override);
	return 0;
}

int state_change(struct state *state, const struct override *override, bool remove, struct error *ret_note,
		 struct error *err)
{
	const struct override *found =
		overrides_find(&state->overrides, override->netns, override->link, override->endpoint);
	struct override former = *override;
	bool is_new = !found, unchanged = remove ? is_new : found && found->weight == override->weight;
	int code;

	ret_note->text[0] = '\0';
	if (unchanged && !state->warned)
		return 0;
	if (found)
		former.weight = found->weight;
	code = change(&state->overrides, override, remove, err);
	if (code < 0)
		return code;
	code = save_if_kept(state, ret_note, err);
	if (code < 0)
		change(&state->overrides, &former, is_new, NULL);
	return code < 0 ? code : !unchanged;
}

/* Links that go */

static bool is_configured(void *context, const struct override *override)
{
	const struct config *config = context;

	for (size_t i = 0; i < config->n_ambassadors; i++) {
		const struct ambassador_conf *ambassador = &config->ambassadors[i];

		if (strcmp(ambassador->netns ? ambassador->netns : "", override->netns) != 0)
			continue;
		for (size_t j = 0; j < ambassador->n_links; j++) {
			if (strcmp(ambassador->links[j].name, override->link) == 0)
				return true;
		}
	}
	log_notice("link %s is not configured: the weight by hand of its endpoint %s is dropped", override->link,
		   override->endpoint);
	return false;
}

void state_retain(struct state *state, const struct config *config, bool save_it)
{
	size_t dropped = overrides_retain(&state->overrides, is_configured, (void *)config);
	struct error note, err;

	if (dropped && save_it && save_if_kept(state, &note, &err) < 0)
		log_warning("%s", err.text);
}
