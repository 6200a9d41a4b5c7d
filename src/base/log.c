/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"

#include <cJSON.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_MAX 2048

static struct {
	enum log_format format;
	enum log_level threshold;
	bool journal;
} settings = {.format = LOG_TEXT, .threshold = LOG_LEVEL_INFO};

const char *log_level_name(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "error";
	case LOG_LEVEL_WARNING:
		return "warning";
	case LOG_LEVEL_NOTICE:
		return "notice";
	case LOG_LEVEL_INFO:
		return "info";
	case LOG_LEVEL_DEBUG:
		return "debug";
	}
	return "unknown";
}

/* systemd names the stream that it made for us in the environment; stderr may have been redirected since. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char own[64];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(stream, own) == 0;
}

void log_setup(enum log_format format, enum log_level threshold)
{
	settings.format = format;
	settings.threshold = threshold;
	settings.journal = stderr_is_journal();
}

bool log_enabled(enum log_level level)
{
	return level <= settings.threshold;
}

const char *log_time(char buffer[LOG_TIME_TEXT])
{
	struct timespec now;
	struct tm tm;
	size_t length;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	length = strftime(buffer, LOG_TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buffer + length, LOG_TIME_TEXT - length, ".%03dZ", (int)(now.tv_nsec / 1000000));
	return buffer;
}

/* One event, one line: whatever a message quotes must not start a new line or command the terminal. */
static void mask_controls(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

static void write_json(enum log_level level, const char *time, const char *message)
{
	cJSON *line = cJSON_CreateObject();
	char *text;

	cJSON_AddStringToObject(line, "time", time);
	cJSON_AddStringToObject(line, "level", log_level_name(level));
	cJSON_AddStringToObject(line, "message", message);
	text = cJSON_PrintUnformatted(line);
	if (text)
		dprintf(STDERR_FILENO, "%s\n", text);
	cJSON_free(text);
	cJSON_Delete(line);
}

/* Not dprintf(), which asks what kind of file it is, and where in it we are, for each line. */
static void __attribute__((format(printf, 1, 2))) write_line(const char *format, ...)
{
	char line[MESSAGE_MAX + LOG_TIME_TEXT + 16];
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (write(STDERR_FILENO, line, (size_t)length) < 0)
		return; /* there is nobody left to be told */
}

void log_write(enum log_level level, const char *format, ...)
{
	char message[MESSAGE_MAX], time[LOG_TIME_TEXT];
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	mask_controls(message);
	if (settings.format == LOG_JSON)
		write_json(level, log_time(time), message);
	else if (settings.journal)
		write_line("<%d>%s\n", (int)level, message);
	else
		write_line("%s %s  %s\n", log_time(time), log_level_name(level), message);
}
