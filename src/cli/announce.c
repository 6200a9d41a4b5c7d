/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nuncio announce: from options to announce/. */
#include "announce/announce.h"

#include <stdio.h>

#include "announce/registrar.h"
#include "cli/commands.h"
#include "config/config.h"
#include "daemon/daemon.h"

static struct announce_args announce_args(const struct options *options)
{
	return (struct announce_args){
		.service = options->service,
		.endpoint = options->endpoint,
		.id = options->id,
		.weight = options->weight,
		.ttl = options->ttl,
		.format = options->format,
		.check = options->check,
		.check_interval = options->check_interval,
		.drain = options->drain,
		.command = options->operands,
		.n_command = options->n_operands,
	};
}

/* Returns an exit code. */
static int load(const struct options *options, struct announce_conf *conf)
{
	const struct config_args config = {.file = options->file, .registry = options->registry};
	const struct announce_args args = announce_args(options);
	struct error err;
	int code = setup_log(options);

	if (code != EXIT_GOOD)
		return code;
	if (announce_conf_parse(&args, conf, &err) < 0)
		code = EXIT_USAGE;
	else if (config_load_registry(&config, &conf->registry, &err) < 0 || registrar_check(conf, &err) < 0)
		code = EXIT_CONFIG;
	if (code != EXIT_GOOD)
		fprintf(stderr, "nuncio announce: %s\n", err.text);
	return code;
}

int command_announce(const struct options *options)
{
	struct announce_conf conf = {0};
	int code = load(options, &conf);

	if (code == EXIT_GOOD)
		code = announce_run(&conf);
	announce_conf_clear(&conf);
	return code;
}
