/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The events of late, in memory, for those who look: a ring of JOURNAL_EVENTS and JOURNAL_BYTES at most. An event is
 * kept as the JSON object that is shown:
 *
 *   {"number":12, "time":"2026-01-02T03:04:05.678Z", "level":"info", "netns"?, "link"?, "text":"+b4 -b1",
 *    "cause":"registry", "state"?: "3 endpoints in 3 slots", "revision"?, "messages"?, "latency_ms"?}
 *
 * Numbers begin with 1 and have no gaps; after a restart they begin again. latency_ms is the time from what caused the
 * change to the kernel's acknowledgement.
 */
#ifndef NUNCIO_DAEMON_JOURNAL_H
#define NUNCIO_DAEMON_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JOURNAL_EVENTS 1000
#define JOURNAL_BYTES (512 * 1024)

struct journal;

struct journal_entry {
	uint64_t number;
	char *netns, *link; /* NULL: about none */
	char *json;	    /* one line without its end */
};

/* Collects all events from now on. `added` is called for each, after it is in the ring; or NULL. */
struct journal *journal_open(void (*added)(void *context, const struct journal_entry *entry), void *context);
/* NULL is fine. */
void journal_close(struct journal *journal);

/* Is it about that link, in that namespace? NULL: any. */
bool journal_is_about(const struct journal_entry *entry, const char *netns, const char *link);

/* Writes the last `count` that are about a link (NULL: all) as a JSON array, the oldest first. */
void journal_write(const struct journal *journal, const char *netns, const char *link, size_t count, FILE *out);

#endif
