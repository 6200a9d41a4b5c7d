/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nuncio events: what a running nuncio did of late, and does. */
#include <cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/control-client.h"
#include "cli/terminal.h"
#include "daemon/daemon.h"
#include "daemon/journal.h"

#define EVENTS_DEFAULT 20

/* How long to wait before a nuncio that went away is looked for again, seconds. */
#define RETRY_S 1

struct show {
	const struct options *options;
	bool colour;
	bool begun; /* the first line of an answer is the list of what was */
	int exit_code;
};

/* In the words of the journal: "Jan 02 03:04:05.678", local time. */
#define MOMENT_TEXT 64
static const char *moment_text(const char *time, char buffer[MOMENT_TEXT])
{
	struct tm tm = {0}, local;
	const char *rest = strptime(time, "%Y-%m-%dT%H:%M:%S", &tm);
	time_t seconds = timegm(&tm);
	size_t length;

	if (!rest || !localtime_r(&seconds, &local))
		return time;
	length = strftime(buffer, MOMENT_TEXT, "%b %d %H:%M:%S", &local);
	snprintf(buffer + length, MOMENT_TEXT - length, "%.4s", rest);
	return buffer;
}

static enum colour colour_of(const char *level)
{
	if (strcmp(level, "error") == 0)
		return COLOUR_BAD;
	return strcmp(level, "warning") == 0 ? COLOUR_WARNING : COLOUR_PLAIN;
}

static void print_circumstances(const cJSON *event)
{
	static const char *const keys[] = {"cause", "state", "revision"};
	const char *separator = "  (";

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		if (!*answer_text(event, keys[i]))
			continue;
		fputs(separator, stdout);
		fputs(strcmp(keys[i], "revision") == 0 ? "revision " : "", stdout);
		terminal_put(stdout, answer_text(event, keys[i]));
		separator = "; ";
	}
	if (cJSON_HasObjectItem(event, "latency_ms")) {
		printf("%s%.2f ms", separator, answer_number(event, "latency_ms"));
		separator = "; ";
	}
	if (*separator == ';')
		fputc(')', stdout);
}

static void print_event(const struct show *show, const cJSON *event)
{
	const char *netns = answer_text(event, "netns"), *link = answer_text(event, "link");
	enum colour colour = show->colour ? colour_of(answer_text(event, "level")) : COLOUR_PLAIN;
	char moment[MOMENT_TEXT];

	printf("%s  ", moment_text(answer_text(event, "time"), moment));
	if (*netns)
		printf("%s: ", netns);
	if (*link)
		printf("%s: ", link);
	fputs(colour_begin(colour), stdout);
	terminal_put(stdout, answer_text(event, "text"));
	fputs(colour_end(colour), stdout);
	print_circumstances(event);
	putchar('\n');
}

static void show_event(const struct show *show, const cJSON *event)
{
	char *text;

	if (!show->options->json) {
		print_event(show, event);
		return;
	}
	text = cJSON_PrintUnformatted(event);
	puts(text);
	cJSON_free(text);
}

static bool on_line(void *context, const char *line)
{
	struct show *show = context;
	cJSON *answer = cJSON_Parse(line);
	const char *error = answer_text(answer, "error");
	const cJSON *event;

	if (!answer || *error) {
		fprintf(stderr, "nuncio events: %s\n", answer ? error : "the answer is not JSON");
		show->exit_code = EXIT_FAILED;
	} else if (!show->begun) {
		cJSON_ArrayForEach (event, cJSON_GetObjectItemCaseSensitive(answer, "events"))
			show_event(show, event);
		show->begun = true;
	} else {
		show_event(show, answer);
	}
	cJSON_Delete(answer);
	return fflush(stdout) == 0 && show->exit_code == EXIT_GOOD && !show->options->no_follow;
}

/* Of another process all events are new. */
static char *make_request(const struct options *options, int count)
{
	cJSON *request = answer_request("events");

	cJSON_AddNumberToObject(request, "count", count);
	cJSON_AddBoolToObject(request, "follow", !options->no_follow);
	if (options->n_operands)
		cJSON_AddStringToObject(request, "link", options->operands[0]);
	if (options->netns)
		cJSON_AddStringToObject(request, "netns", options->netns);
	return answer_request_line(request);
}

static int ask(struct show *show, int count, struct error *err)
{
	const char *path = show->options->control ? show->options->control : CONTROL_PATH;
	char *request = make_request(show->options, count);
	int code;

	show->begun = false;
	code = control_follow(path, request, on_line, show, err);
	free(request);
	return code;
}

static int read_lines(const char *text, int *ret)
{
	char *end;
	long lines = text ? strtol(text, &end, 10) : EVENTS_DEFAULT;

	if (text && (*end || end == text || lines < 0 || lines > JOURNAL_EVENTS)) {
		fprintf(stderr, "nuncio events: --lines %s: expected 0 to %d\n", text, JOURNAL_EVENTS);
		return EXIT_USAGE;
	}
	*ret = (int)lines;
	return EXIT_GOOD;
}

int command_events(const struct options *options)
{
	struct show show = {.options = options, .colour = terminal_has_colour(STDOUT_FILENO)};
	struct error err;
	int count, code = read_lines(options->lines, &count);

	if (code)
		return code;
	code = ask(&show, count, &err);
	if (code < 0 && !show.begun) {
		fprintf(stderr, "nuncio events: %s\n", err.text);
		return EXIT_FAILED;
	}
	while (code < 0 && !options->no_follow) {
		if (show.begun)
			fprintf(stderr, "nuncio events: %s; waiting for it\n", err.text);
		show.begun = false;
		sleep(RETRY_S);
		code = ask(&show, JOURNAL_EVENTS, &err);
	}
	return show.exit_code;
}
