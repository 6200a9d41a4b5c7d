/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nuncio status: asks a running nuncio over its control socket, and shows the answer to a person. */
#include <cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/control-client.h"
#include "daemon/daemon.h"

static char *make_request(const char *link)
{
	cJSON *request = cJSON_CreateObject();
	char *text, *line;

	cJSON_AddStringToObject(request, "command", "status");
	if (link)
		cJSON_AddStringToObject(request, "link", link);
	text = cJSON_PrintUnformatted(request);
	line = xasprintf("%s\n", text);
	cJSON_free(text);
	cJSON_Delete(request);
	return line;
}

/* For people */

static const char *text_of(const cJSON *object, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));

	return text ? text : "";
}

static double number_of(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

/* A number, or "-" where it is not known. */
#define COUNT_TEXT 32
static const char *count_of(const cJSON *object, const char *key, char buffer[COUNT_TEXT])
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	if (cJSON_IsNumber(item))
		snprintf(buffer, COUNT_TEXT, "%.0f", item->valuedouble);
	else
		snprintf(buffer, COUNT_TEXT, "-");
	return buffer;
}

/* The widest of some texts decides the width of a column. */
static int width_of(const cJSON *array, const char *key, int least)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, array) {
		int width = (int)strlen(text_of(item, key));

		least = width > least ? width : least;
	}
	return least;
}

static bool is_empty(const cJSON *link)
{
	return strcmp(text_of(link, "state"), "empty") == 0 || strcmp(text_of(link, "state"), "holding") == 0;
}

static const char *emptiness(const cJSON *link)
{
	if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(link, "installed")))
		return "the kernel does not have this link";
	if (strcmp(text_of(link, "state"), "holding") == 0)
		return "no endpoints: connections wait for some, for a while";
	return "no endpoints: new connections are refused at once";
}

static void print_endpoints(const cJSON *link)
{
	const cJSON *endpoints = cJSON_GetObjectItemCaseSensitive(link, "endpoints");
	int id_width = width_of(endpoints, "id", 2), address_width = width_of(endpoints, "address", 7);
	const cJSON *endpoint;

	if (is_empty(link))
		printf("    %s\n", emptiness(link));
	if (!cJSON_GetArraySize(endpoints))
		return;
	printf("    %-*s  %-*s  %6s  %-8s  %11s  %4s\n", id_width, "ID", address_width, "ADDRESS", "WEIGHT", "STATE",
	       "CONNECTIONS", "LIVE");
	cJSON_ArrayForEach (endpoint, endpoints) {
		const char *reason = text_of(endpoint, "reason");
		char connections[COUNT_TEXT], live[COUNT_TEXT];

		printf("    %-*s  %-*s  %6.0f  %-8s  %11s  %4s%s%s\n", id_width, text_of(endpoint, "id"), address_width,
		       text_of(endpoint, "address"), number_of(endpoint, "weight"), text_of(endpoint, "state"),
		       count_of(endpoint, "connections", connections), count_of(endpoint, "live", live),
		       strcmp(reason, "serving") == 0 ? "" : "  ", strcmp(reason, "serving") == 0 ? "" : reason);
	}
}

static void print_links(const cJSON *links)
{
	const cJSON *link;

	cJSON_ArrayForEach (link, links) {
		printf("  %s  %s -> %s  %s\n", text_of(link, "name"), text_of(link, "listen"), text_of(link, "service"),
		       text_of(link, "state"));
		if (*text_of(link, "reason"))
			printf("    %s\n", text_of(link, "reason"));
		print_endpoints(link);
	}
}

static void print_registry(const cJSON *registry)
{
	const cJSON *age = cJSON_GetObjectItemCaseSensitive(registry, "last_success_seconds");

	printf("registry %s  %s", text_of(registry, "uri"),
	       cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(registry, "connected")) ? "good" : "NOT GOOD");
	if (*text_of(registry, "revision"))
		printf(", revision %s", text_of(registry, "revision"));
	if (cJSON_IsNumber(age))
		printf(", last good answer %.0f s ago", age->valuedouble);
	if (number_of(registry, "skipped_records") > 0)
		printf(", %.0f unusable records", number_of(registry, "skipped_records"));
	printf("\n");
	if (*text_of(registry, "error"))
		printf("  %s\n", text_of(registry, "error"));
}

static void print_status(const cJSON *status)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(status, "ambassadors")) {
		const cJSON *links = cJSON_GetObjectItemCaseSensitive(item, "links");

		if (!cJSON_GetArraySize(links) && !*text_of(item, "error"))
			continue;
		printf("namespace %s\n", *text_of(item, "netns") ? text_of(item, "netns") : "(its own)");
		if (*text_of(item, "error"))
			printf("  %s\n", text_of(item, "error"));
		print_links(links);
	}
	cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(status, "registries"))
		print_registry(item);
}

static size_t count_links(const cJSON *status)
{
	const cJSON *ambassador;
	size_t links = 0;

	cJSON_ArrayForEach (ambassador, cJSON_GetObjectItemCaseSensitive(status, "ambassadors"))
		links += (size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(ambassador, "links"));
	return links;
}

static int show(const char *answer, const struct options *options)
{
	const char *link = options->n_operands ? options->operands[0] : NULL;
	cJSON *status = cJSON_Parse(answer);
	int code = EXIT_GOOD;

	if (*text_of(status, "error")) {
		fprintf(stderr, "nuncio status: %s\n", text_of(status, "error"));
		code = EXIT_FAILED;
	} else if (link && !count_links(status)) {
		fprintf(stderr, "nuncio status: there is no link named %s\n", link);
		code = EXIT_FAILED;
	} else if (options->json) {
		fputs(answer, stdout);
	} else {
		print_status(status);
	}
	cJSON_Delete(status);
	return code;
}

int command_status(const struct options *options)
{
	const char *link = options->n_operands ? options->operands[0] : NULL;
	char *request = make_request(link), *answer = NULL;
	struct error err;
	int code = control_ask(options->control ? options->control : CONTROL_PATH, request, &answer, &err);

	free(request);
	if (code < 0) {
		fprintf(stderr, "nuncio status: %s\n", err.text);
		return EXIT_FAILED;
	}
	code = show(answer, options);
	free(answer);
	return code;
}
