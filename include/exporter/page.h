/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page for people, src/exporter/page.html, as it is in the program. */
#ifndef NUNCIO_EXPORTER_PAGE_H
#define NUNCIO_EXPORTER_PAGE_H

#include <stddef.h>

extern const char page_html[];
extern const size_t page_html_length;

/* Its Content-Security-Policy: its own style and script, by their hashes, and requests to where it came from. */
extern const char page_policy[];

#endif
