/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeps on the disk which endpoints are down, in PATH.checks beside the state file: so that after a restart, also one
 * that nobody was told of, they stay out of rotation until a check has proved them well.
 *
 * It is written by a thread of its own, some seconds after a change and not more often than every
 * VERDICTS_WAIT_MS; and now and then while any are down, so that what is read is not older than the daemon was away
 * for.
 */
#ifndef NUNCIO_DAEMON_VERDICT_KEEPER_H
#define NUNCIO_DAEMON_VERDICT_KEEPER_H

#include <stdbool.h>
#include <uv.h>

#include "health/checker.h"

#define VERDICTS_WAIT_MS 2000
#define VERDICTS_REFRESH_MS (10 * 60 * 1000)
/* What is older than this says nothing; and what was read counts for so long only. */
#define VERDICTS_AGE_MAX_MS (30 * 60 * 1000)
#define VERDICTS_COUNT_FOR_MS (60 * 1000)

struct verdict_keeper;
struct ambassador;

/* Reads PATH.checks. A NULL path: nothing is kept, and the keeper is NULL, which is fine everywhere here. */
struct verdict_keeper *verdict_keeper_open(uv_loop_t *loop, const char *path, bool dry_run);

/* What a former process knew of a target: that it was down, and why. */
bool verdict_keeper_find(const struct verdict_keeper *keeper, const char *netns, const struct ip_port *at,
			 const char *probe, struct check_report *ret);

/* To be called once per turn of the loop: has something to be written? Cheap where nothing has changed. */
void verdict_keeper_look(struct verdict_keeper *keeper, struct ambassador *const *ambassadors, size_t count);

/* The end. Takes down what there is to write, if `save`; verdict_keeper_free(), when the loop has ended, writes it. */
void verdict_keeper_close(struct verdict_keeper *keeper, struct ambassador *const *ambassadors, size_t count,
			  bool save);
void verdict_keeper_free(struct verdict_keeper *keeper);

#endif
