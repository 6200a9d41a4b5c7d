/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nuncio status --watch: the status on the whole screen, again and again. */
#include "cli/watch.h"

#include <cJSON.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "cli/answer.h"
#include "cli/control-client.h"
#include "cli/status-text.h"
#include "cli/terminal.h"
#include "daemon/daemon.h"

/* The other screen, no cursor, and lines that are too long end at the edge; and back. */
#define SCREEN_BEGIN "\033[?1049h\033[?25l\033[?7l"
#define SCREEN_END "\033[?7h\033[?25h\033[?1049l"

/* Over what was drawn before, without a flicker: each line is cleared behind its end, and what is below the last. */
#define SCREEN_HOME "\033[H"
#define LINE_END "\033[K\r\n"
#define SCREEN_REST "\033[J"

#define NS_PER_S 1000000000.0

struct watch {
	const char *path;
	const char *request; /* a line */
	int interval_ms;
	bool colour;
	cJSON *status, *before; /* the last two; NULL: none */
	double at, before_at;	/* when, seconds */
	struct error error;	/* why there is no newer one; "" */
	struct termios former;
};

static volatile sig_atomic_t leaving;

static void on_leave(int number)
{
	(void)number;
	leaving = 1;
}

/* It only ends the wait. */
static void on_resize(int number)
{
	(void)number;
}

static void catch_signal(int number, void (*handler)(int number))
{
	struct sigaction action = {.sa_handler = handler};

	sigaction(number, &action, NULL);
}

static void begin(struct watch *watch)
{
	struct termios raw;

	tcgetattr(STDIN_FILENO, &watch->former);
	raw = watch->former;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VSUSP] = _POSIX_VDISABLE; /* a shell's prompt does not belong on this screen */
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	catch_signal(SIGINT, on_leave);
	catch_signal(SIGTERM, on_leave);
	catch_signal(SIGHUP, on_leave);
	catch_signal(SIGWINCH, on_resize);
	fputs(SCREEN_BEGIN, stdout);
}

static void end(const struct watch *watch)
{
	fputs(SCREEN_END, stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &watch->former);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / NS_PER_S;
}

static void take_status(struct watch *watch, cJSON *status)
{
	cJSON_Delete(watch->before);
	watch->before = watch->status;
	watch->before_at = watch->at;
	watch->status = status;
	watch->at = now();
	watch->error.text[0] = '\0';
}

static void look(struct watch *watch)
{
	char *answer = NULL;
	cJSON *status;

	if (control_ask(watch->path, watch->request, &answer, &watch->error) < 0)
		return;
	status = cJSON_Parse(answer);
	free(answer);
	if (!status || *answer_text(status, "error"))
		fail(&watch->error, 0, "%s", status ? answer_text(status, "error") : "the answer is not JSON");
	if (*answer_text(status, "error"))
		cJSON_Delete(status);
	else if (status)
		take_status(watch, status);
}

static void put_title(const struct watch *watch, FILE *out)
{
	enum colour title = watch->colour ? COLOUR_TITLE : COLOUR_PLAIN;
	enum colour bad = watch->colour ? COLOUR_BAD : COLOUR_PLAIN;
	time_t seconds = time(NULL);
	char clock[16] = "";
	struct tm tm;

	if (localtime_r(&seconds, &tm))
		strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	fprintf(out, "%snuncio %s%s  %s  every %g s, q ends\n", colour_begin(title),
		answer_text(watch->status, "version"), colour_end(title), clock, watch->interval_ms / 1e3);
	if (*watch->error.text)
		fprintf(out, "%s%s; trying again%s\n", colour_begin(bad), watch->error.text, colour_end(bad));
}

static char *render(const struct watch *watch, int columns)
{
	struct status_view view = {
		.columns = columns,
		.colour = watch->colour,
		.cut = true,
		.before = watch->before,
		.seconds = watch->at - watch->before_at,
	};
	char *text = NULL;
	size_t length;

	view.out = open_memstream(&text, &length);
	put_title(watch, view.out);
	if (watch->status)
		status_print(&view, watch->status);
	fclose(view.out);
	return text;
}

static int count_lines(const char *text)
{
	int lines = 0;

	for (; (text = strchr(text, '\n')) != NULL; text++)
		lines++;
	return lines;
}

/* The last line of the screen stays free, or says how much there is below. */
static void draw(const struct watch *watch)
{
	int rows = terminal_rows(STDOUT_FILENO, 24), columns = terminal_columns(STDOUT_FILENO, 80);
	char *text = render(watch, columns), *line = text;
	int lines = count_lines(text), shown = 0;

	fputs(SCREEN_HOME, stdout);
	for (char *next; shown < rows - 1 && (next = strchr(line, '\n')) != NULL; line = next + 1, shown++) {
		*next = '\0';
		printf("%s" LINE_END, line);
	}
	fputs(SCREEN_REST, stdout);
	if (shown < lines)
		printf("(%d more lines)", lines - shown);
	fflush(stdout);
	free(text);
}

/* Until the time is over, or the window has another size. Returns whether it is over. */
static bool wait_until(double due)
{
	while (!leaving) {
		struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
		double left = due - now();
		int ready = left > 0 ? poll(&input, 1, (int)(left * 1000) + 1) : 0;
		char key = 0;

		if (ready == 0)
			return true;
		if (ready < 0)
			return false;
		if (read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 'Q')
			leaving = 1;
	}
	return false;
}

int watch_status(const char *path, const char *request, int interval_ms)
{
	struct watch watch = {
		.path = path,
		.request = request,
		.interval_ms = interval_ms,
		.colour = terminal_has_colour(STDOUT_FILENO),
	};

	if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO)) {
		fprintf(stderr, "nuncio status: --watch needs a terminal\n");
		return EXIT_USAGE;
	}
	begin(&watch);
	while (!leaving) {
		double due;

		look(&watch);
		due = now() + interval_ms / 1e3;
		if (!leaving)
			draw(&watch);
		while (!leaving && !wait_until(due))
			draw(&watch);
	}
	end(&watch);
	cJSON_Delete(watch.status);
	cJSON_Delete(watch.before);
	return EXIT_GOOD;
}
