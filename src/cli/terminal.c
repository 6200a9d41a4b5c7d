/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool terminal_has_colour(int fd)
{
	const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");

	return isatty(fd) && term && strcmp(term, "dumb") != 0 && !(no_colour && *no_colour);
}

static struct winsize size_of(int fd)
{
	struct winsize size = {0};

	if (!isatty(fd) || ioctl(fd, TIOCGWINSZ, &size) < 0)
		return (struct winsize){0};
	return size;
}

int terminal_columns(int fd, int otherwise)
{
	struct winsize size = size_of(fd);

	return size.ws_col ? size.ws_col : otherwise;
}

int terminal_rows(int fd, int otherwise)
{
	struct winsize size = size_of(fd);

	return size.ws_row ? size.ws_row : otherwise;
}

const char *colour_begin(enum colour colour)
{
	switch (colour) {
	case COLOUR_PLAIN:
		return "";
	case COLOUR_GOOD:
		return "\033[32m";
	case COLOUR_WARNING:
		return "\033[33m";
	case COLOUR_BAD:
		return "\033[1;31m";
	case COLOUR_FAINT:
		return "\033[2m";
	case COLOUR_TITLE:
		return "\033[1m";
	}
	return "";
}

const char *colour_end(enum colour colour)
{
	return colour == COLOUR_PLAIN ? "" : "\033[0m";
}

void terminal_put(FILE *out, const char *text)
{
	for (; *text; text++)
		fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, out);
}
