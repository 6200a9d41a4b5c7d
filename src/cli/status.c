/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nuncio status: asks a running nuncio over its control socket, and shows the answer to a person. */
#include <cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/control-client.h"
#include "daemon/daemon.h"

static char *make_request(const char *link)
{
	cJSON *request = answer_request("status");

	if (link)
		cJSON_AddStringToObject(request, "link", link);
	return answer_request_line(request);
}

/* For people */

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
		int width = (int)strlen(answer_text(item, key));

		least = width > least ? width : least;
	}
	return least;
}

static void print_endpoints(const cJSON *link)
{
	const cJSON *endpoints = cJSON_GetObjectItemCaseSensitive(link, "endpoints");
	int id_width = width_of(endpoints, "id", 2), address_width = width_of(endpoints, "address", 7);
	const cJSON *endpoint;

	if (!answer_number(link, "slots"))
		printf("    %s\n", answer_emptiness(link));
	if (!cJSON_GetArraySize(endpoints))
		return;
	printf("    %-*s  %-*s  %6s  %-8s  %11s  %4s\n", id_width, "ID", address_width, "ADDRESS", "WEIGHT", "STATE",
	       "CONNECTIONS", "LIVE");
	cJSON_ArrayForEach (endpoint, endpoints) {
		const char *reason = answer_text(endpoint, "reason");
		bool by_hand = cJSON_HasObjectItem(endpoint, "override");
		char connections[COUNT_TEXT], live[COUNT_TEXT];

		printf("    %-*s  %-*s  %6.0f  %-8s  %11s  %4s%s%s\n", id_width, answer_text(endpoint, "id"),
		       address_width, answer_text(endpoint, "address"),
		       answer_number(endpoint, by_hand ? "override" : "weight"), answer_text(endpoint, "state"),
		       count_of(endpoint, "connections", connections), count_of(endpoint, "live", live),
		       strcmp(reason, "serving") == 0 ? "" : "  ", strcmp(reason, "serving") == 0 ? "" : reason);
	}
}

static void print_links(const cJSON *links)
{
	const cJSON *link;

	cJSON_ArrayForEach (link, links) {
		printf("  %s  %s -> %s  %s\n", answer_text(link, "name"), answer_text(link, "listen"),
		       answer_text(link, "service"), answer_text(link, "state"));
		if (*answer_text(link, "reason"))
			printf("    %s\n", answer_text(link, "reason"));
		print_endpoints(link);
	}
}

static void print_place(const cJSON *ambassador)
{
	const char *netns = answer_text(ambassador, "netns"), *container = answer_text(ambassador, "container");

	if (*container)
		printf("container %s (%s)\n", container, netns);
	else
		printf("namespace %s\n", *netns ? netns : "(its own)");
}

static void print_docker(const cJSON *docker)
{
	const char *error = answer_text(docker, "error");

	if (docker)
		printf("containers of %s  %s\n", answer_text(docker, "uri"), *error ? error : "good");
}

static size_t count_links(const cJSON *status)
{
	const cJSON *ambassador;
	size_t links = 0;

	cJSON_ArrayForEach (ambassador, cJSON_GetObjectItemCaseSensitive(status, "ambassadors"))
		links += (size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(ambassador, "links"));
	return links;
}

static void print_status(const cJSON *status)
{
	const cJSON *item;

	if (!count_links(status))
		puts("no links");
	cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(status, "ambassadors")) {
		const cJSON *links = cJSON_GetObjectItemCaseSensitive(item, "links");

		if (!cJSON_GetArraySize(links) && !*answer_text(item, "error"))
			continue;
		print_place(item);
		if (*answer_text(item, "error"))
			printf("  %s\n", answer_text(item, "error"));
		print_links(links);
	}
	print_docker(cJSON_GetObjectItemCaseSensitive(status, "docker"));
	cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(status, "registries"))
		answer_print_registry(item, "");
}

static int show(const char *answer, const struct options *options)
{
	const char *link = options->n_operands ? options->operands[0] : NULL;
	cJSON *status = cJSON_Parse(answer);
	int code = EXIT_GOOD;

	if (*answer_text(status, "error")) {
		fprintf(stderr, "nuncio status: %s\n", answer_text(status, "error"));
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
