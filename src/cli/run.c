/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nuncio run, check and cleanup: from options to the daemon. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cli/commands.h"
#include "config/config.h"
#include "daemon/ambassador.h"
#include "daemon/daemon.h"

int setup_log(const struct options *options)
{
	enum log_level threshold = options->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;

	if (!options->log_format || strcmp(options->log_format, "text") == 0) {
		log_setup(LOG_TEXT, threshold);
	} else if (strcmp(options->log_format, "json") == 0) {
		log_setup(LOG_JSON, threshold);
	} else {
		fprintf(stderr, "nuncio: --log-format %s: accepted are text and json\n", options->log_format);
		return EXIT_USAGE;
	}
	return EXIT_GOOD;
}

static struct config_args config_args(const struct options *options)
{
	return (struct config_args){
		.file = options->file,
		.registry = options->registry,
		.netns = options->netns,
		.docker = options->docker,
		.metrics = options->metrics,
		.links = options->links,
		.n_links = options->n_links,
	};
}

static int load(const struct options *options, struct daemon_options *daemon, struct config **ret)
{
	struct error err;
	int code = setup_log(options);

	if (code != EXIT_GOOD)
		return code;
	daemon->config = config_args(options);
	if (config_load(&daemon->config, ret, &err) < 0) {
		fprintf(stderr, "nuncio: %s\n", err.text);
		return EXIT_CONFIG;
	}
	return EXIT_GOOD;
}

int command_run(const struct options *options)
{
	struct daemon_options daemon = {
		.control = options->control,
		.state = options->state,
		.once = options->once,
		.cleanup_on_exit = options->cleanup_on_exit,
		.share_table = options->share_table,
		.keep_privileges = options->keep_privileges,
	};
	struct config *config;
	int code = load(options, &daemon, &config);

	if (code != EXIT_GOOD)
		return code;
	if (options->once && config->docker) {
		fprintf(stderr, "nuncio run: --once does nothing for containers, which come and go: leave --docker and "
				"\"docker\" out\n");
		config_free(config);
		return EXIT_USAGE;
	}
	return (int)daemon_run(config, &daemon);
}

static size_t count_links(const struct config *config)
{
	size_t links = 0;

	for (size_t i = 0; i < config->n_ambassadors; i++)
		links += config->ambassadors[i].n_links;
	return links;
}

int command_check(const struct options *options)
{
	struct daemon_options daemon = {.state = options->state, .once = true, .dry_run = true};
	struct config *config;
	int code = load(options, &daemon, &config);

	if (code != EXIT_GOOD)
		return code;
	if (!options->online) {
		printf("The configuration is good: %zu link%s in %zu namespace%s.\n", count_links(config),
		       count_links(config) == 1 ? "" : "s", config->n_ambassadors,
		       config->n_ambassadors == 1 ? "" : "s");
		config_free(config);
		return EXIT_GOOD;
	}
	code = (int)daemon_run(config, &daemon);
	if (code == EXIT_GOOD)
		printf("The kernel accepts this; nothing was changed.\n");
	return code;
}

int command_cleanup(const struct options *options)
{
	struct error err;

	if (ambassador_cleanup_netns(options->netns, &err) < 0) {
		fprintf(stderr, "nuncio cleanup: %s\n", err.text);
		return EXIT_KERNEL;
	}
	return EXIT_GOOD;
}
