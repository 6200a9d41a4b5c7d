/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nuncio drain, undrain, weight and wait: what an operator, or a start script, says about links. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/addr.h"
#include "base/mem.h"
#include "catalog/endpoints.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/control-client.h"
#include "config/config.h"
#include "config/keys.h"
#include "daemon/daemon.h"

/* Often enough for a start script, and cheap: the daemon looks at the links that are named and at nothing else. */
#define POLL_MS 100

static cJSON *make_request(const struct options *options, const char *command)
{
	cJSON *request = answer_request(command);

	if (options->netns)
		cJSON_AddStringToObject(request, "netns", options->netns);
	return request;
}

/* Weights by hand */

/* Not one that has gone and still has connections: that one has no slots. */
static const cJSON *find_endpoint(const cJSON *link, const char *id)
{
	const cJSON *endpoint;

	cJSON_ArrayForEach (endpoint, cJSON_GetObjectItemCaseSensitive(link, "endpoints")) {
		if (!cJSON_HasObjectItem(endpoint, "slots"))
			continue;
		if (strcmp(answer_text(endpoint, "id"), id) == 0 || strcmp(answer_text(endpoint, "address"), id) == 0)
			return endpoint;
	}
	return NULL;
}

/* "web: b1 (10.0.0.1:80): weight 5 by hand (registry: 1); it gets 71.4 % of new connections" */
static void show_in_force(const cJSON *answer)
{
	const cJSON *link = cJSON_GetObjectItemCaseSensitive(answer, "link");
	const cJSON *endpoint = find_endpoint(link, answer_text(answer, "endpoint"));
	double slots = answer_number(link, "slots");

	if (endpoint && !(answer_number(endpoint, "slots") > 0))
		printf("%s: %s (%s): %s; it gets no new connections\n", answer_text(link, "name"),
		       answer_text(endpoint, "id"), answer_text(endpoint, "address"), answer_text(endpoint, "reason"));
	else if (endpoint)
		printf("%s: %s (%s): %s; it gets %.1f %% of new connections\n", answer_text(link, "name"),
		       answer_text(endpoint, "id"), answer_text(endpoint, "address"), answer_text(endpoint, "reason"),
		       answer_number(endpoint, "slots") * 100 / slots);
	else
		printf("%s: %s is not there now; this counts when it comes back\n", answer_text(link, "name"),
		       answer_text(answer, "endpoint"));
	if (!(slots > 0))
		printf("%s: %s; %s\n", answer_text(link, "name"), answer_text(link, "reason"), answer_emptiness(link));
	if (*answer_text(answer, "note"))
		printf("%s\n", answer_text(answer, "note"));
}

static int show_override(const char *command, const cJSON *answer)
{
	const char *error = answer_text(answer, "error");
	bool done = cJSON_HasObjectItem(answer, "link");

	if (!*error) {
		show_in_force(answer);
		return EXIT_GOOD;
	}
	fprintf(stderr, "nuncio %s: %s%s\n", command, done ? "noted, but not yet in force (it is tried again): " : "",
		error);
	return cJSON_HasObjectItem(answer, "usage") ? EXIT_USAGE : EXIT_FAILED;
}

/* The weight is consumed. */
static int override(const struct options *options, const char *command, cJSON *weight)
{
	cJSON *request = make_request(options, "override"), *answer;
	int code;

	cJSON_AddStringToObject(request, "link", options->operands[0]);
	cJSON_AddStringToObject(request, "endpoint", options->operands[1]);
	cJSON_AddItemToObject(request, "weight", weight);
	answer = answer_get(options, command, request, &code);
	if (!answer)
		return code;
	code = show_override(command, answer);
	cJSON_Delete(answer);
	return code;
}

int command_drain(const struct options *options)
{
	return override(options, "drain", cJSON_CreateNumber(0));
}

int command_undrain(const struct options *options)
{
	return override(options, "undrain", cJSON_CreateNull());
}

int command_weight(const struct options *options)
{
	uint64_t weight;

	if (number_parse(options->operands[2], 0, ENDPOINT_WEIGHT_MAX, &weight) < 0) {
		fprintf(stderr, "nuncio weight: " VALUE " is not accepted: expected 0 to %d\n", options->operands[2],
			ENDPOINT_WEIGHT_MAX);
		return EXIT_USAGE;
	}
	return override(options, "weight", cJSON_CreateNumber((double)weight));
}

/* Waiting */

static char *wait_request_line(const struct options *options)
{
	cJSON *request = make_request(options, "wait"), *links = cJSON_AddArrayToObject(request, "links");

	for (int i = 0; i < options->n_operands; i++)
		cJSON_AddItemToArray(links, cJSON_CreateString(options->operands[i]));
	return answer_request_line(request);
}

/* "web: the registry names no endpoint; app: db: ..." */
static char *describe_waiting(const cJSON *waiting)
{
	char *text = xstrdup("");
	const cJSON *link;

	cJSON_ArrayForEach (link, waiting) {
		const char *netns = answer_text(link, "netns");
		char *more = xasprintf("%s%s%s%s%s: %s", text, *text ? "; " : "", netns, *netns ? ": " : "",
				       answer_text(link, "name"), answer_text(link, "reason"));

		free(text);
		text = more;
	}
	return text;
}

/* Returns the exit code, EXIT_REGISTRY where there is to be waited; *why says for what, or what is wrong. */
static int judge_answer(const char *text, char **why)
{
	cJSON *answer = cJSON_Parse(text);
	const cJSON *waiting = cJSON_GetObjectItemCaseSensitive(answer, "waiting");
	int code = cJSON_GetArraySize(waiting) ? EXIT_REGISTRY : EXIT_GOOD;

	free(*why);
	*why = describe_waiting(waiting);
	if (!cJSON_IsArray(waiting)) {
		text_replace(why, answer ? answer_text(answer, "error") : "the answer is not JSON");
		code = cJSON_HasObjectItem(answer, "usage") ? EXIT_USAGE : EXIT_FAILED;
	}
	cJSON_Delete(answer);
	return code;
}

/* In a start script, nuncio may come up after us, or be started again while we wait. */
static int look(const char *path, const char *line, char **why)
{
	struct error err;
	char *answer;
	int code = control_ask(path, line, &answer, &err);

	if (code < 0) {
		text_replace(why, err.text);
		return code == -ENOENT || code == -ECONNREFUSED || code == -EPIPE ? EXIT_REGISTRY : EXIT_FAILED;
	}
	code = judge_answer(answer, why);
	free(answer);
	return code;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Until it is over or the time is; looks at least once. */
static int wait_until(uint64_t deadline, const char *path, const char *line, char **why)
{
	for (;;) {
		int code = look(path, line, why);
		uint64_t now = now_ms(), nap;

		if (code != EXIT_REGISTRY || now >= deadline)
			return code;
		nap = deadline - now < POLL_MS ? deadline - now : POLL_MS;
		nanosleep(&(struct timespec){.tv_nsec = (long)nap * 1000000}, NULL);
	}
}

int command_wait(const struct options *options)
{
	uint64_t deadline = UINT64_MAX;
	char *line, *why = NULL;
	uint32_t timeout;
	int code;

	if (options->timeout && duration_parse(options->timeout, &timeout) < 0) {
		fprintf(stderr, "nuncio wait: --timeout " VALUE " is not accepted: expected " DURATION_FORM "\n",
			options->timeout);
		return EXIT_USAGE;
	}
	if (options->timeout)
		deadline = now_ms() + timeout;
	line = wait_request_line(options);
	code = wait_until(deadline, options->control ? options->control : CONTROL_PATH, line, &why);
	if (code == EXIT_REGISTRY)
		fprintf(stderr, "nuncio wait: not within %s: %s\n", options->timeout, why);
	else if (code != EXIT_GOOD)
		fprintf(stderr, "nuncio wait: %s\n", why);
	free(line);
	free(why);
	return code;
}
