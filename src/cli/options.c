/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Those that are about a link of a running nuncio. */
#define COMMANDS_OF_LINKS (COMMAND_EXPLAIN | COMMAND_DRAIN | COMMAND_UNDRAIN | COMMAND_WEIGHT | COMMAND_WAIT)

/* OPTION_MAYBE: its argument may be left out, and then is "". */
enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_MAYBE, OPTION_LINK };

static const struct option_spec {
	const char *name;
	char letter;	      /* or 0 */
	const char *argument; /* how --help calls it; NULL: takes none */
	enum option_kind kind;
	size_t offset; /* in struct options */
	unsigned int commands;
	const char *help;
} specs[] = {
	{"config", 'c', "FILE", OPTION_TEXT, offsetof(struct options, file),
	 COMMAND_RUN | COMMAND_CHECK | COMMAND_ANNOUNCE | COMMAND_ENV,
	 "configuration file (JSON, // comments allowed)"},
	{"registry", 0, "URI", OPTION_TEXT, offsetof(struct options, registry), COMMAND_ANNOUNCE,
	 "etcd://HOST[,HOST]/PREFIX, consul://HOST/ (its agent) or file:DIR (or $NUNCIO_REGISTRY)"},
	{"registry", 0, "URI", OPTION_TEXT, offsetof(struct options, registry), COMMAND_RUN | COMMAND_CHECK,
	 "file:PATH, etcd://HOST[,HOST]/PREFIX, consul://HOST/, dns://[SERVER]/ or docker:///SOCKET (or "
	 "$NUNCIO_REGISTRY)"},
	{"link", 0, "LINK", OPTION_LINK, 0, COMMAND_RUN | COMMAND_CHECK | COMMAND_ENV,
	 "[ADDR:]PORT[/udp]=SERVICE[,KEY=VALUE]...; may be repeated (or $NUNCIO_LINKS, space separated)"},
	{"netns", 0, "NS", OPTION_TEXT, offsetof(struct options, netns), COMMAND_RUN | COMMAND_CHECK | COMMAND_CLEANUP,
	 "network namespace: a name under /run/netns, a path, or pid:N (default: the own one)"},
	{"netns", 0, "NS", OPTION_TEXT, offsetof(struct options, netns),
	 COMMANDS_OF_LINKS | COMMAND_ENV | COMMAND_EVENTS,
	 "the link of this namespace, as `nuncio status` calls it ('' is nuncio's own), where several have the name"},
	{"docker", 0, "[SOCKET]", OPTION_MAYBE, offsetof(struct options, docker), COMMAND_RUN | COMMAND_CHECK,
	 "give containers the links of their labels, nuncio.link.LISTEN=SERVICE[,KEY=VALUE]... ($DOCKER_HOST, or "
	 "/var/run/docker.sock)"},
	{"timeout", 0, "T", OPTION_TEXT, offsetof(struct options, timeout), COMMAND_WAIT,
	 "wait at most this long, a number with ms, s, m or h (default: for ever), then end with 5"},
	{"state", 0, "PATH", OPTION_TEXT, offsetof(struct options, state), COMMAND_RUN | COMMAND_CHECK,
	 "file of what operators set by hand, beside it the last known endpoints; or \"none\" (default: "
	 "/var/lib/nuncio/state.json, if it can be had)"},
	{"control", 0, "PATH", OPTION_TEXT, offsetof(struct options, control),
	 COMMAND_RUN | COMMAND_STATUS | COMMAND_CONNS | COMMAND_EVENTS | COMMAND_METRICS | COMMAND_ENV |
		 COMMANDS_OF_LINKS,
	 "control socket (default: /run/nuncio/control.sock; `run` takes \"none\", too)"},
	{"hosts", 0, NULL, OPTION_FLAG, offsetof(struct options, hosts), COMMAND_ENV,
	 "as lines of /etc/hosts, ADDRESS NAME, instead of variables"},
	{"online", 0, NULL, OPTION_FLAG, offsetof(struct options, online), COMMAND_CHECK,
	 "read the registry once and let the kernel check the transaction; print what would be sent"},
	{"once", 0, NULL, OPTION_FLAG, offsetof(struct options, once), COMMAND_RUN,
	 "bring the kernel up to date and end; the rules stay"},
	{"cleanup-on-exit", 0, NULL, OPTION_FLAG, offsetof(struct options, cleanup_on_exit), COMMAND_RUN,
	 "remove the rules at the end (default: they stay and go on working)"},
	{"share-table", 0, NULL, OPTION_FLAG, offsetof(struct options, share_table), COMMAND_RUN,
	 "let others change the table, and repair it (as before Linux 6.9), instead of owning it"},
	{"keep-privileges", 0, NULL, OPTION_FLAG, offsetof(struct options, keep_privileges), COMMAND_RUN,
	 "neither drop capabilities nor refuse system calls that are not needed"},
	{"json", 0, NULL, OPTION_FLAG, offsetof(struct options, json), COMMAND_STATUS | COMMAND_CONNS | COMMAND_EXPLAIN,
	 "as one JSON object"},
	{"json", 0, NULL, OPTION_FLAG, offsetof(struct options, json), COMMAND_EVENTS,
	 "each as a JSON object on a line"},
	{"lines", 'n', "N", OPTION_TEXT, offsetof(struct options, lines), COMMAND_EVENTS,
	 "begin with so many of the last events (default: 20; 1000 are kept)"},
	{"no-follow", 0, NULL, OPTION_FLAG, offsetof(struct options, no_follow), COMMAND_EVENTS,
	 "show those that there are, and end"},
	{"limit", 0, "N", OPTION_TEXT, offsetof(struct options, limit), COMMAND_CONNS,
	 "show so many connections at most, and count the others (default: 1000)"},
	{"log-format", 0, "FORMAT", OPTION_TEXT, offsetof(struct options, log_format),
	 COMMAND_RUN | COMMAND_CHECK | COMMAND_ANNOUNCE, "text or json (default: text)"},
	{"verbose", 'v', NULL, OPTION_FLAG, offsetof(struct options, verbose),
	 COMMAND_RUN | COMMAND_CHECK | COMMAND_ANNOUNCE, "log at the debug level"},
	{"service", 0, "NAME", OPTION_TEXT, offsetof(struct options, service), COMMAND_ANNOUNCE,
	 "the service that the endpoint belongs to"},
	{"endpoint", 0, "[ADDR:]PORT", OPTION_TEXT, offsetof(struct options, endpoint), COMMAND_ANNOUNCE,
	 "the endpoint; without ADDR, the address is that of the route to the registry, else of the default route"},
	{"id", 0, "ID", OPTION_TEXT, offsetof(struct options, id), COMMAND_ANNOUNCE,
	 "its name among the endpoints of the service, unique (default: made of ADDR:PORT)"},
	{"weight", 0, "N", OPTION_TEXT, offsetof(struct options, weight), COMMAND_ANNOUNCE, "0 to 65535 (default: 1)"},
	{"ttl", 0, "TIME", OPTION_TEXT, offsetof(struct options, ttl), COMMAND_ANNOUNCE,
	 "how long the registry keeps the endpoint when this process dies (default: 15s)"},
	{"format", 0, "FORMAT", OPTION_TEXT, offsetof(struct options, format), COMMAND_ANNOUNCE,
	 "what is written to etcd: json, registrator, skydns or grpc (default: json)"},
	{"check", 0, "CHECK", OPTION_TEXT, offsetof(struct options, check), COMMAND_ANNOUNCE,
	 "announce while this is good: tcp, http:/PATH, exec:COMMAND or none (default: none; tcp with COMMAND)"},
	{"check-interval", 0, "TIME", OPTION_TEXT, offsetof(struct options, check_interval), COMMAND_ANNOUNCE,
	 "how often it is checked (default: 2s)"},
	{"drain", 0, "TIME", OPTION_TEXT, offsetof(struct options, drain), COMMAND_ANNOUNCE,
	 "how long COMMAND goes on after it was withdrawn (default: 0s)"},
	{"metrics", 0, "ADDR:PORT", OPTION_TEXT, offsetof(struct options, metrics), COMMAND_RUN | COMMAND_CHECK,
	 "show metrics and a page over HTTP, to everybody who asks (or $NUNCIO_METRICS)"},
	{"watch", 'w', NULL, OPTION_FLAG, offsetof(struct options, watch), COMMAND_STATUS,
	 "on the whole screen, again and again, with rates; q ends it"},
	{"interval", 0, "TIME", OPTION_TEXT, offsetof(struct options, interval), COMMAND_STATUS,
	 "how often --watch looks (default: 1s)"},
	{"help", 'h', NULL, OPTION_FLAG, offsetof(struct options, help), ~0u, "this text"},
};

/* getopt_long() returns this plus the index into specs[]. */
#define LONG_BASE 256

static int argument_of(const struct option_spec *spec)
{
	if (spec->kind == OPTION_MAYBE)
		return optional_argument;
	return spec->argument ? required_argument : no_argument;
}

static void make_tables(enum command_bit command, struct option *longs, char *letters)
{
	size_t used = 0;

	if (command == COMMAND_ANNOUNCE)
		*letters++ = '+'; /* the first operand is a command, and what follows it is the command's */
	*letters++ = ':'; /* getopt() leaves the messages to us, and tells a missing argument from a wrong option */
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		if (!(specs[i].commands & command))
			continue;
		longs[used++] = (struct option){specs[i].name, argument_of(&specs[i]), NULL, LONG_BASE + (int)i};
		if (specs[i].letter)
			*letters++ = specs[i].letter;
		if (specs[i].letter && specs[i].argument)
			*letters++ = ':';
	}
	longs[used] = (struct option){0};
	*letters = '\0';
}

static const struct option_spec *find_spec(int found)
{
	if (found >= LONG_BASE)
		return &specs[found - LONG_BASE];
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		if (specs[i].letter == found)
			return &specs[i];
	}
	return NULL;
}

static void apply_option(const struct option_spec *spec, const char *value, struct options *options)
{
	void *field = (char *)options + spec->offset;

	switch (spec->kind) {
	case OPTION_FLAG:
		*(bool *)field = true;
		return;
	case OPTION_TEXT:
		*(const char **)field = value;
		return;
	case OPTION_MAYBE:
		*(const char **)field = value ? value : "";
		return;
	case OPTION_LINK:
		ARRAY_GROW(options->links, options->n_links, options->cap_links);
		options->links[options->n_links++] = value;
		return;
	}
}

/* getopt() finds one that may be left out only behind "="; people also write it as the next word. */
static const char *argument(const struct option_spec *spec, char **argv)
{
	if (!spec || spec->kind != OPTION_MAYBE || optarg || !argv[optind] || *argv[optind] == '-')
		return optarg;
	return argv[optind++];
}

int options_parse(int argc, char **argv, enum command_bit command, struct options *ret, struct error *err)
{
	struct option longs[ARRAY_SIZE(specs) + 1];
	char letters[2 * ARRAY_SIZE(specs) + 3];
	int found, code = 0;

	*ret = (struct options){0};
	make_tables(command, longs, letters);
	optind = 1;
	opterr = 0;
	while (code == 0 && (found = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		if (found == ':')
			code = fail(err, -EINVAL, "%s: it needs a value", argv[optind - 1]);
		else if (found == '?')
			code = fail(err, -EINVAL, "%s: no such option, or it takes no value", argv[optind - 1]);
		else
			apply_option(find_spec(found), argument(find_spec(found), argv), ret);
	}
	ret->operands = (const char **)(argv + optind);
	ret->n_operands = argc - optind;
	if (code < 0)
		options_clear(ret);
	return code;
}

void options_clear(struct options *options)
{
	free(options->links);
	*options = (struct options){0};
}

void options_print(enum command_bit command)
{
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		const struct option_spec *spec = &specs[i];
		char name[64];

		if (!(spec->commands & command))
			continue;
		snprintf(name, sizeof(name), "--%s%s%s", spec->name, spec->argument ? " " : "",
			 spec->argument ? spec->argument : "");
		printf("  %c%c%c %-22s %s\n", spec->letter ? '-' : ' ', spec->letter ? spec->letter : ' ',
		       spec->letter ? ',' : ' ', name, spec->help);
	}
}

void options_print_table(enum command_bit command, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		const struct option_spec *spec = &specs[i];
		const char letter[] = {spec->letter, '\0'};

		if ((spec->commands & command))
			printf("option\t%s\t%s\t%s\t%s\t%s\n", name, spec->name, letter,
			       spec->argument ? spec->argument : "", spec->help);
	}
}
