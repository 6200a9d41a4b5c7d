/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon: event loop, signals, ambassadors, control socket. */
#ifndef NUNCIO_DAEMON_DAEMON_H
#define NUNCIO_DAEMON_DAEMON_H

#include <stdbool.h>

#include "config/config.h"

/* Exit codes of every command. */
enum exit_code {
	EXIT_GOOD = 0,
	EXIT_FAILED = 1, /* at run time */
	EXIT_USAGE = 2,
	EXIT_CONFIG = 3,
	EXIT_KERNEL = 4,   /* or permission */
	EXIT_REGISTRY = 5, /* --once, check --online and wait only: a registry that is away never ends `run` */
};

#define CONTROL_PATH "/run/nuncio/control.sock"

struct daemon_options {
	struct config_args config; /* read again at SIGHUP */
	const char *control; /* path of the control socket; NULL = CONTROL_PATH, if it can be had; "none" = no socket */
	const char *state;   /* path of the state file; NULL = STATE_PATH, if it can be had; "none" = no file */
	bool once;	     /* end when the kernel is up to date */
	bool dry_run;	     /* with once: ask the kernel, change nothing, print the changes */
	bool cleanup_on_exit;
	bool keep_privileges; /* those that are not needed, too */
	bool share_table;     /* do not own the table, even where the kernel can; repair it instead */
};

/* Runs until a signal ends it. Takes the configuration over. */
enum exit_code daemon_run(struct config *config, const struct daemon_options *options);

#endif
