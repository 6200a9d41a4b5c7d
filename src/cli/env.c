/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nuncio env: the links as variables or lines of /etc/hosts, for applications that were written for Docker's links. */
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "config/config.h"
#include "daemon/daemon.h"

#define NETNS_DIRECTORY "/run/netns/"

struct named_listen {
	char *name;
	struct listen listen;
};

struct listing {
	struct named_listen *items; /* in the order of the configuration */
	size_t count, capacity;
};

static void add(struct listing *listing, const char *name, const struct listen *listen)
{
	ARRAY_GROW(listing->items, listing->count, listing->capacity);
	listing->items[listing->count++] = (struct named_listen){.name = xstrdup(name), .listen = *listen};
}

static void listing_clear(struct listing *listing)
{
	for (size_t i = 0; i < listing->count; i++)
		free(listing->items[i].name);
	free(listing->items);
}

/* Where the links are known from */

static bool is_configured_here(const struct options *options)
{
	const char *links = getenv("NUNCIO_LINKS");

	return options->file || options->n_links || (links && *links);
}

static const char *short_netns(const char *netns)
{
	if (!netns)
		return "";
	return strncmp(netns, NETNS_DIRECTORY, strlen(NETNS_DIRECTORY)) == 0 ? netns + strlen(NETNS_DIRECTORY) : netns;
}

static int list_configured(const struct options *options, struct listing *ret)
{
	struct config_args args = {.file = options->file, .links = options->links, .n_links = options->n_links};
	struct config *config;
	struct error err;

	/* No registry is asked, so any will do where none is said. */
	if (!options->file && !getenv("NUNCIO_REGISTRY"))
		args.registry = "file:none";
	if (config_load(&args, &config, &err) < 0) {
		fprintf(stderr, "nuncio env: %s\n", err.text);
		return EXIT_CONFIG;
	}
	for (size_t i = 0; i < config->n_ambassadors; i++) {
		const struct ambassador_conf *ambassador = &config->ambassadors[i];

		if (options->netns && strcmp(short_netns(ambassador->netns), short_netns(options->netns)) != 0)
			continue;
		for (size_t j = 0; j < ambassador->n_links; j++)
			add(ret, ambassador->links[j].name, &ambassador->links[j].listen);
	}
	config_free(config);
	return EXIT_GOOD;
}

static void list_answered(const cJSON *status, struct listing *ret)
{
	const cJSON *ambassador, *link;
	struct listen listen;
	struct error err;

	cJSON_ArrayForEach (ambassador, cJSON_GetObjectItemCaseSensitive(status, "ambassadors")) {
		cJSON_ArrayForEach (link, cJSON_GetObjectItemCaseSensitive(ambassador, "links")) {
			if (listen_parse(answer_text(link, "listen"), &listen, &err) == 0)
				add(ret, answer_text(link, "name"), &listen);
		}
	}
}

static int list_running(const struct options *options, struct listing *ret)
{
	cJSON *request = answer_request("status"), *answer;
	int code = EXIT_GOOD;

	if (options->netns)
		cJSON_AddStringToObject(request, "netns", options->netns);
	answer = answer_get(options, "env", request, &code);
	if (!answer)
		return code;
	list_answered(answer, ret);
	cJSON_Delete(answer);
	return EXIT_GOOD;
}

/* How they are shown */

static void print_host(const struct named_listen *item)
{
	char address[IP_ADDR_TEXT];

	printf("%s %s\n", ip_addr_text(&item->listen.at.addr, address), item->name);
}

/* "my-db" is MY_DB. */
static char *variable_of(const char *name)
{
	char *variable = xasprintf("%s%s", isdigit((unsigned char)*name) ? "_" : "", name);

	for (char *c = variable; *c; c++)
		*c = (char)(isalnum((unsigned char)*c) ? toupper((unsigned char)*c) : '_');
	return variable;
}

/* Docker has NAME_NAME, too, for which an application that knows DB_NAME as its database would not thank us. */
static void print_variables(const struct named_listen *item)
{
	const struct ip_port *at = &item->listen.at;
	const char *protocol = item->listen.protocol == IPPROTO_UDP ? "udp" : "tcp";
	char *variable = variable_of(item->name), *port;
	char address[IP_ADDR_TEXT], both[IP_PORT_TEXT];

	port = xasprintf("%s_PORT_%u_%s", variable, at->port, *protocol == 'u' ? "UDP" : "TCP");
	printf("%s_PORT=%s://%s\n", variable, protocol, ip_port_text(at, both));
	printf("%s=%s://%s\n", port, protocol, both);
	printf("%s_ADDR=%s\n%s_PORT=%u\n%s_PROTO=%s\n", port, ip_addr_text(&at->addr, address), port, at->port, port,
	       protocol);
	free(port);
	free(variable);
}

static bool is_wanted(const struct options *options, const char *name)
{
	for (int i = 0; i < options->n_operands; i++) {
		if (strcmp(options->operands[i], name) == 0)
			return true;
	}
	return options->n_operands == 0;
}

/* Before anything is printed: half of what an application needs is worse than nothing. */
static int check_wanted(const struct options *options, const struct listing *listing)
{
	for (int i = 0; i < options->n_operands; i++) {
		size_t j = 0;

		while (j < listing->count && strcmp(options->operands[i], listing->items[j].name) != 0)
			j++;
		if (j == listing->count) {
			fprintf(stderr, "nuncio env: link %s is not configured\n", options->operands[i]);
			return EXIT_USAGE;
		}
	}
	return EXIT_GOOD;
}

int command_env(const struct options *options)
{
	struct listing listing = {0};
	int code = is_configured_here(options) ? list_configured(options, &listing) : list_running(options, &listing);

	if (code == EXIT_GOOD)
		code = check_wanted(options, &listing);
	for (size_t i = 0; code == EXIT_GOOD && i < listing.count; i++) {
		if (!is_wanted(options, listing.items[i].name))
			continue;
		if (options->hosts)
			print_host(&listing.items[i]);
		else
			print_variables(&listing.items[i]);
	}
	listing_clear(&listing);
	return code;
}
