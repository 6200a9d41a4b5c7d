/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nuncio explain: the status of one link, in sentences for a person who wonders where connections go, and why. */
#include <stdio.h>
#include <string.h>

#include "cli/answer.h"
#include "cli/commands.h"
#include "daemon/daemon.h"

static const char *explain_on_empty(const char *on_empty)
{
	if (strcmp(on_empty, "hold") == 0)
		return "connections wait for one, for hold_for, and are refused then";
	if (strcmp(on_empty, "keep") == 0)
		return "the last known ones stay";
	return "connections are refused at once";
}

static double share_of(const cJSON *endpoint, const cJSON *link)
{
	double slots = answer_number(link, "slots");

	return slots > 0 ? answer_number(endpoint, "slots") * 100 / slots : 0;
}

/* Not the link's any more: only its connections are left. */
static bool is_departed(const cJSON *endpoint)
{
	return !cJSON_HasObjectItem(endpoint, "slots");
}

static void explain_record(const cJSON *endpoint)
{
	printf("weight %.0f%s, priority %.0f", answer_number(endpoint, "weight"),
	       cJSON_HasObjectItem(endpoint, "override") ? " in the registry" : "",
	       answer_number(endpoint, "priority"));
	if (*answer_text(endpoint, "zone"))
		printf(", zone %s", answer_text(endpoint, "zone"));
	printf("; %.0f connections so far", answer_number(endpoint, "connections"));
	if (answer_number(endpoint, "retried") > 0)
		printf(", %.0f that it refused lately went to others", answer_number(endpoint, "retried"));
}

static void explain_endpoint(const cJSON *endpoint, const cJSON *link)
{
	printf("\n  %s at %s gets ", answer_text(endpoint, "id"), answer_text(endpoint, "address"));
	if (answer_number(endpoint, "slots") > 0)
		printf("%.1f %% of new connections (%.0f of %.0f slots)\n", share_of(endpoint, link),
		       answer_number(endpoint, "slots"), answer_number(link, "slots"));
	else
		printf("no new connections\n");
	printf("    %s\n", answer_text(endpoint, "reason"));
	printf("    ");
	if (!is_departed(endpoint))
		explain_record(endpoint);
	if (cJSON_HasObjectItem(endpoint, "live"))
		printf("%s%.0f live connections", is_departed(endpoint) ? "" : ", ", answer_number(endpoint, "live"));
	printf("\n");
	if (cJSON_HasObjectItem(endpoint, "override"))
		printf("    to take it back: nuncio undrain %s %s\n", answer_text(link, "name"),
		       answer_text(endpoint, "id"));
}

static void explain_rotation(const cJSON *link)
{
	const cJSON *endpoints = cJSON_GetObjectItemCaseSensitive(link, "endpoints"), *endpoint;
	int serving = 0, count = 0;

	cJSON_ArrayForEach (endpoint, endpoints) {
		serving += answer_number(endpoint, "slots") > 0;
		count += !is_departed(endpoint);
	}
	if (serving)
		printf("  %d of %d endpoint%s get new connections\n", serving, count, count == 1 ? "" : "s");
	else
		printf("  %s\n", answer_emptiness(link));
}

static void explain_registry(const cJSON *link, const cJSON *registries)
{
	const cJSON *registry;

	cJSON_ArrayForEach (registry, registries) {
		if (strcmp(answer_text(registry, "uri"), answer_text(link, "registry")) == 0)
			answer_print_registry(stdout, registry, "  ");
	}
}

static void explain_link(const cJSON *link, const cJSON *ambassador, const cJSON *registries)
{
	const char *netns = answer_text(ambassador, "netns"), *container = answer_text(ambassador, "container");
	const char *on_empty = answer_text(link, "on_empty");
	const cJSON *endpoint;

	printf("link %s in %s%s: %s\n", answer_text(link, "name"),
	       *container ? "container "
	       : *netns	  ? "namespace "
			  : "nuncio's own namespace",
	       *container ? container : netns, answer_text(link, "state"));
	if (*answer_text(ambassador, "error"))
		printf("  %s\n", answer_text(ambassador, "error"));
	if (*answer_text(link, "reason"))
		printf("  %s\n", answer_text(link, "reason"));
	explain_rotation(link);
	printf("  it listens on %s and leads to the service %s\n", answer_text(link, "listen"),
	       answer_text(link, "service"));
	explain_registry(link, registries);
	printf("  balance %s, masquerade %s, on_empty %s: without endpoints, %s\n", answer_text(link, "balance"),
	       answer_text(link, "masquerade"), on_empty, explain_on_empty(on_empty));
	if (*answer_text(link, "check"))
		printf("  check %s, on_all_down %s: where no endpoint is well, %s\n", answer_text(link, "check"),
		       answer_text(link, "on_all_down"),
		       strcmp(answer_text(link, "on_all_down"), "serve") == 0 ? "all of them serve"
									      : "it is as if there were none");
	cJSON_ArrayForEach (endpoint, cJSON_GetObjectItemCaseSensitive(link, "endpoints"))
		explain_endpoint(endpoint, link);
}

static void explain_links(const cJSON *status)
{
	const cJSON *registries = cJSON_GetObjectItemCaseSensitive(status, "registries");
	const cJSON *ambassador, *link;
	int count = 0;

	cJSON_ArrayForEach (ambassador, cJSON_GetObjectItemCaseSensitive(status, "ambassadors")) {
		cJSON_ArrayForEach (link, cJSON_GetObjectItemCaseSensitive(ambassador, "links")) {
			if (count++)
				printf("\n");
			explain_link(link, ambassador, registries);
		}
	}
}

int command_explain(const struct options *options)
{
	cJSON *request = answer_request("explain"), *status;
	int code = EXIT_GOOD;

	cJSON_AddStringToObject(request, "link", options->operands[0]);
	if (options->netns)
		cJSON_AddStringToObject(request, "netns", options->netns);
	status = answer_get(options, "explain", request, &code);
	if (!status)
		return code;
	if (*answer_text(status, "error")) {
		fprintf(stderr, "nuncio explain: %s\n", answer_text(status, "error"));
		code = cJSON_HasObjectItem(status, "usage") ? EXIT_USAGE : EXIT_FAILED;
	} else if (options->json) {
		char *text = cJSON_PrintUnformatted(status);

		puts(text);
		cJSON_free(text);
	} else {
		explain_links(status);
	}
	cJSON_Delete(status);
	return code;
}
