/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Logging to stderr, a line an event: "<N>text" when stderr is systemd's journal, else time, level and text; or a
 * JSON object a line. Control characters in a message are written as '?', so that an event is exactly one line.
 * A library-like function does not log; the one that decides what to do about it does, once.
 */
#ifndef NUNCIO_BASE_LOG_H
#define NUNCIO_BASE_LOG_H

#include <stdbool.h>

enum log_format { LOG_TEXT, LOG_JSON };

/* Numbers as in syslog(3). */
enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/* Sets the form and the least urgent level that is written. Before it is called: text, LOG_LEVEL_INFO. */
void log_setup(enum log_format format, enum log_level threshold);

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Would a message of this level be written? Saves making one that is dear. */
bool log_enabled(enum log_level level);

/* "warning"; and now, as "2026-01-02T03:04:05.678Z", with room for what a broken clock may say. */
const char *log_level_name(enum log_level level);
#define LOG_TIME_TEXT 64
const char *log_time(char buffer[LOG_TIME_TEXT]);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
