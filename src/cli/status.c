/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nuncio status: asks a running nuncio over its control socket, and shows the answer to a person. */
#include <cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/mem.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/control-client.h"
#include "cli/status-text.h"
#include "cli/terminal.h"
#include "cli/watch.h"
#include "daemon/daemon.h"

#define INTERVAL_MS 1000
#define INTERVAL_LEAST_MS 100

static char *make_request(const char *link)
{
	cJSON *request = answer_request("status");

	if (link)
		cJSON_AddStringToObject(request, "link", link);
	return answer_request_line(request);
}

static void print_for_people(const cJSON *status)
{
	const struct status_view view = {
		.out = stdout,
		.columns = isatty(STDOUT_FILENO) ? terminal_columns(STDOUT_FILENO, 80) : 0,
		.colour = terminal_has_colour(STDOUT_FILENO),
	};

	status_print(&view, status);
}

static int show(const char *answer, const struct options *options)
{
	const char *link = options->n_operands ? options->operands[0] : NULL;
	cJSON *status = cJSON_Parse(answer);
	int code = EXIT_GOOD;

	if (*answer_text(status, "error")) {
		fprintf(stderr, "nuncio status: %s\n", answer_text(status, "error"));
		code = EXIT_FAILED;
	} else if (link && !status_count_links(status)) {
		fprintf(stderr, "nuncio status: there is no link named %s\n", link);
		code = EXIT_FAILED;
	} else if (options->json) {
		fputs(answer, stdout);
	} else {
		print_for_people(status);
	}
	cJSON_Delete(status);
	return code;
}

/* Returns an exit code. */
static int read_interval(const char *text, uint32_t *ret_ms)
{
	if (!text || (duration_parse(text, ret_ms) == 0 && *ret_ms >= INTERVAL_LEAST_MS))
		return EXIT_GOOD;
	fprintf(stderr, "nuncio status: --interval %s: expected a number with ms, s, m or h, at least 100ms\n", text);
	return EXIT_USAGE;
}

static int ask_once(const struct options *options, const char *path, const char *request)
{
	char *answer = NULL;
	struct error err;
	int code = control_ask(path, request, &answer, &err);

	if (code < 0) {
		fprintf(stderr, "nuncio status: %s\n", err.text);
		return EXIT_FAILED;
	}
	code = show(answer, options);
	free(answer);
	return code;
}

int command_status(const struct options *options)
{
	const char *path = options->control ? options->control : CONTROL_PATH;
	char *request = make_request(options->n_operands ? options->operands[0] : NULL);
	uint32_t interval_ms = INTERVAL_MS;
	int code = read_interval(options->interval, &interval_ms);

	if (code == EXIT_GOOD && options->watch)
		code = watch_status(path, request, (int)interval_ms);
	else if (code == EXIT_GOOD)
		code = ask_once(options, path, request);
	free(request);
	return code;
}
