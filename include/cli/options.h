/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line: one table of options, from which parsing and --help come. */
#ifndef NUNCIO_CLI_OPTIONS_H
#define NUNCIO_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* The commands that take an option, as bits. */
enum command_bit {
	COMMAND_RUN = 1,
	COMMAND_CHECK = 2,
	COMMAND_STATUS = 4,
	COMMAND_CLEANUP = 8,
	COMMAND_VERSION = 16,
	COMMAND_CONNS = 32,
	COMMAND_EXPLAIN = 64,
	COMMAND_DRAIN = 128,
	COMMAND_UNDRAIN = 256,
	COMMAND_WEIGHT = 512,
	COMMAND_WAIT = 1024,
	COMMAND_ANNOUNCE = 2048,
	COMMAND_ENV = 4096,
	COMMAND_EVENTS = 8192,
	COMMAND_METRICS = 16384,
};

struct options {
	const char *file, *registry, *docker, *netns, *control, *log_format, *limit, *state, *timeout, *lines,
		*interval, *metrics;
	const char *service, *endpoint, *id, *weight, *ttl, *format, *check, *check_interval, *drain; /* announce */
	const char **links; /* owned array of borrowed strings */
	size_t n_links, cap_links;
	bool once, cleanup_on_exit, share_table, keep_privileges, hosts, online, no_follow, watch, json, verbose, help;
	const char **operands; /* what follows the options; into argv */
	int n_operands;
};

/*
 * Reads argv (whose first word is the command's name) for one command. Returns 0, or -EINVAL with a sentence.
 */
int options_parse(int argc, char **argv, enum command_bit command, struct options *ret, struct error *err);
void options_clear(struct options *options);

/* The command's options, a line each, to stdout. */
void options_print(enum command_bit command);
/* The same for programs: "option", the command's name, option, letter or nothing, argument or nothing, help; with tabs.
 */
void options_print_table(enum command_bit command, const char *name);

#endif
