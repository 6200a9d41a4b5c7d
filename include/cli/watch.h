/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The status on the whole screen, again and again, until somebody presses q. */
#ifndef NUNCIO_CLI_WATCH_H
#define NUNCIO_CLI_WATCH_H

/* Asks the nuncio at `path` with the line `request`. Returns an exit code. */
int watch_status(const char *path, const char *request, int interval_ms);

#endif
