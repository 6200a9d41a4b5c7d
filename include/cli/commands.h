/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands. Each gets its parsed options and returns an exit code (daemon/daemon.h). */
#ifndef NUNCIO_CLI_COMMANDS_H
#define NUNCIO_CLI_COMMANDS_H

#include "cli/options.h"

int command_run(const struct options *options);
int command_check(const struct options *options);
int command_status(const struct options *options);
int command_conns(const struct options *options);
int command_explain(const struct options *options);
int command_events(const struct options *options);
int command_drain(const struct options *options);
int command_undrain(const struct options *options);
int command_weight(const struct options *options);
int command_wait(const struct options *options);
int command_metrics(const struct options *options);
int command_env(const struct options *options);
int command_cleanup(const struct options *options);
int command_announce(const struct options *options);

/* --log-format and --verbose; returns an exit code. */
int setup_log(const struct options *options);

#endif
