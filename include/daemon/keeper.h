/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeps the last known endpoints on the disk, in PATH.endpoints beside the state file: for a start without kernel table
 * and registry, as after a power cut. Not in the state file itself, for that is written at each command of an operator,
 * before it is in force, and this may be 10 MB.
 *
 * It is written some seconds after a change and no faster than KEEPER_BYTES_PER_S on average, by a thread of its own,
 * so that no change waits for it on its way to the kernel; and at the end.
 */
#ifndef NUNCIO_DAEMON_KEEPER_H
#define NUNCIO_DAEMON_KEEPER_H

#include <stdbool.h>
#include <uv.h>

#include "catalog/catalog.h"
#include "catalog/known.h"

#define KEEPER_WAIT_MS 5000
#define KEEPER_BYTES_PER_S 100000

struct keeper;

/* `asked`: it matters where it cannot be written. A NULL path: nothing is kept, and the keeper is NULL. */
struct keeper *keeper_open(uv_loop_t *loop, const char *path, bool asked, bool dry_run);

/*
 * What the file says, as a catalog_known_fn with the keeper as its context; it is read when it is asked for first. One
 * that cannot be used is said in the log and set aside as PATH.endpoints.broken, or, with `dry_run`, only said. It is
 * there until keeper_begun(), which tells how many links began with it, where any did.
 */
const struct known *keeper_known(void *context);
void keeper_begun(struct keeper *keeper, uint32_t links);

/* To be called once per turn of the loop: has something to be written? Cheap where nothing has changed. */
void keeper_look(struct keeper *keeper, const struct catalog *catalog);

/* The end. Takes down what is known now, unless NULL; when the loop has ended, keeper_free() writes it. */
void keeper_close(struct keeper *keeper, const struct catalog *catalog);
void keeper_free(struct keeper *keeper); /* NULL is fine, as everywhere here */

#endif
