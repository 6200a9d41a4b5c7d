/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of commands, and the way from argv to one of them. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/control-client.h"
#include "config/config.h"
#include "daemon/daemon.h"

static int command_version(const struct options *options)
{
	(void)options;
	puts("nuncio " NUNCIO_VERSION);
	return EXIT_GOOD;
}

static const struct command {
	const char *name;
	enum command_bit bit;
	const char *operands; /* for the synopsis; "" = none */
	int max_operands;
	const char *summary;
	int (*run)(const struct options *options);
	void (*more_help)(void);
} commands[] = {
	{"run", COMMAND_RUN, "", 0, "keep the kernel's rules equal to what the registry says", command_run,
	 config_print_keys},
	{"check", COMMAND_CHECK, "", 0, "check the configuration; with --online the registry and the kernel, too",
	 command_check, config_print_keys},
	{"status", COMMAND_STATUS, " [LINK]", 1, "links, their endpoints and registries, as a running nuncio sees them",
	 command_status, NULL},
	{"explain", COMMAND_EXPLAIN, " LINK", 1, "why each endpoint of a link gets the connections that it gets",
	 command_explain, NULL},
	{"events", COMMAND_EVENTS, " [LINK]", 1,
	 "what changes, why, and how long it took to the kernel: the last events, and those that come", command_events,
	 NULL},
	{"conns", COMMAND_CONNS, " [LINK]", 1, "live connections of links, with their processes and endpoints",
	 command_conns, NULL},
	{"drain", COMMAND_DRAIN, " LINK ENDPOINT", 2,
	 "no new connections to an endpoint (its id or ADDR:PORT); established ones go on", command_drain, NULL},
	{"undrain", COMMAND_UNDRAIN, " LINK ENDPOINT", 2, "give an endpoint its registry's weight again",
	 command_undrain, NULL},
	{"weight", COMMAND_WEIGHT, " LINK ENDPOINT N", 3,
	 "give an endpoint the weight 0 to 65535 instead of its registry's; undrain takes it back", command_weight,
	 NULL},
	{"wait", COMMAND_WAIT, " LINK...", INT_MAX,
	 "until each of the links has an endpoint; waits for nuncio itself, too", command_wait, NULL},
	{"metrics", COMMAND_METRICS, "", 0, "what a running nuncio measures, in Prometheus' text format",
	 command_metrics, NULL},
	{"env", COMMAND_ENV, " [LINK]...", INT_MAX,
	 "links as Docker's variables: of -c, --link or $NUNCIO_LINKS, else of the running nuncio", command_env, NULL},
	{"cleanup", COMMAND_CLEANUP, "", 0, "remove the table, addresses and settings that nuncio left in a namespace",
	 command_cleanup, NULL},
	{"announce", COMMAND_ANNOUNCE, " [--] [COMMAND...]", INT_MAX,
	 "put an endpoint into the registry while it lives and is healthy; with COMMAND, start and stop it, too",
	 command_announce, NULL},
	{"version", COMMAND_VERSION, "", 0, "print the version", command_version, NULL},
};

static void print_usage(FILE *out)
{
	fprintf(out, "usage: nuncio COMMAND [OPTION]...\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
	fprintf(out, "\nnuncio COMMAND --help tells the options of each.\n");
}

/* What manual pages and completion are made of. */
static void print_tables(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		printf("command\t%s\t%s\t%s\n", commands[i].name, commands[i].operands, commands[i].summary);
		options_print_table(commands[i].bit, commands[i].name);
	}
	config_print_key_tables();
}

/* Somebody waits for a key to do something. */
#define NAMES_WAIT_S 1

static void give_up(int number)
{
	(void)number;
	_exit(EXIT_FAILED);
}

/* For completion: links, or the endpoints of one, a line each; nothing where nobody answers. */
static int print_names(const char *control, const char *link)
{
	cJSON *request = answer_request("names"), *answer;
	const cJSON *name;
	char *line, *text = NULL;

	if (link)
		cJSON_AddStringToObject(request, "link", link);
	line = answer_request_line(request);
	signal(SIGALRM, give_up);
	alarm(NAMES_WAIT_S);
	if (control_ask(*control ? control : CONTROL_PATH, line, &text, NULL) < 0)
		text = xstrdup("{}");
	free(line);
	answer = cJSON_Parse(text);
	free(text);
	cJSON_ArrayForEach (name, cJSON_GetObjectItemCaseSensitive(answer, "names"))
		puts(cJSON_GetStringValue(name));
	cJSON_Delete(answer);
	return EXIT_GOOD;
}

static void print_help(const struct command *command)
{
	printf("usage: nuncio %s [OPTION]...%s\n\n%s\n\n", command->name, command->operands, command->summary);
	options_print(command->bit);
	if (command->more_help) {
		printf("\nKeys of a link:\n");
		command->more_help();
	}
}

/* Those of the synopsis that are not in brackets. */
static int count_required(const char *operands)
{
	int count = 0;

	for (const char *c = operands; *c; c++)
		count += c[0] == ' ' && c[1] != '[';
	return count;
}

static int run_command(const struct command *command, int argc, char **argv)
{
	struct options options;
	struct error err;
	int code = options_parse(argc, argv, command->bit, &options, &err);

	if (code == 0 && options.n_operands > command->max_operands)
		code = fail(&err, -EINVAL, "%s: too many arguments", options.operands[command->max_operands]);
	if (code == 0 && !options.help && options.n_operands < count_required(command->operands))
		code = fail(&err, -EINVAL, "usage: nuncio %s [OPTION]...%s", command->name, command->operands);
	if (code < 0) {
		fprintf(stderr, "nuncio %s: %s\n", command->name, err.text);
		return EXIT_USAGE;
	}
	if (options.help) {
		print_help(command);
		code = EXIT_GOOD;
	} else {
		code = command->run(&options);
	}
	options_clear(&options);
	return code;
}

static int refuse(const char *name)
{
	fprintf(stderr, "nuncio: %s: no such command\n", name);
	print_usage(stderr);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	if (argc >= 4 && strcmp(argv[1], "help") == 0 && strcmp(argv[2], "names") == 0)
		return print_names(argv[3], argv[4]);
	if (argc == 3 && strcmp(argv[1], "help") == 0 && strcmp(argv[2], "tables") == 0) {
		print_tables();
		return EXIT_GOOD;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		print_usage(stdout);
		return EXIT_GOOD;
	}
	if (strcmp(argv[1], "--version") == 0)
		return command_version(NULL);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name) == 0)
			return run_command(&commands[i], argc - 1, argv + 1);
	}
	return refuse(argv[1]);
}
