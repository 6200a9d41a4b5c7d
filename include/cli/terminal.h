/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is shown to people on a terminal: colours where it has them, and nothing that commands it. */
#ifndef NUNCIO_CLI_TERMINAL_H
#define NUNCIO_CLI_TERMINAL_H

#include <stdbool.h>
#include <stdio.h>

enum colour { COLOUR_PLAIN, COLOUR_GOOD, COLOUR_WARNING, COLOUR_BAD, COLOUR_FAINT, COLOUR_TITLE };

/* Is it one that shows colours, and does nobody mind? ($NO_COLOR, TERM=dumb) */
bool terminal_has_colour(int fd);
/* In characters; `otherwise` where it is no terminal. */
int terminal_columns(int fd, int otherwise);
int terminal_rows(int fd, int otherwise);

/* What switches a colour on and off; "" for COLOUR_PLAIN. */
const char *colour_begin(enum colour colour);
const char *colour_end(enum colour colour);

/* Writes a text with '?' for control characters. */
void terminal_put(FILE *out, const char *text);

#endif
