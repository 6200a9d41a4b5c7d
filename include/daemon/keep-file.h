/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that nuncio keeps for itself: replaced as a whole, and set aside where they cannot be used. */
#ifndef NUNCIO_DAEMON_KEEP_FILE_H
#define NUNCIO_DAEMON_KEEP_FILE_H

#include <stdbool.h>
#include <stdio.h>

/*
 * Writes PATH.new (mode 0600), and renames it when it is on the disk; its directory is made where only that is missing.
 * Returns 0 or a negative errno: then PATH is as it was. May be called from any thread.
 */
int keep_file_replace(const char *path, void (*write)(const void *context, FILE *out), const void *context);

/* Renames a file that cannot be used to PATH.broken and logs it, with the reason; or, with `dry_run`, only logs it. */
void keep_file_set_aside(const char *path, const char *reason, bool dry_run);

#endif
