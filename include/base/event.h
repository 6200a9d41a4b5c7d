/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events: what changed, why, and how long it took. Telling one writes its line to the log, and gives the same event to
 * the one who collects them, if there is one.
 */
#ifndef NUNCIO_BASE_EVENT_H
#define NUNCIO_BASE_EVENT_H

#include <stdint.h>

#include "base/log.h"

/* Why; some may come together. */
enum event_cause {
	CAUSE_REGISTRY = 1,
	CAUSE_CONFIGURATION = 2,
	CAUSE_OPERATOR = 4,
	CAUSE_CHECK = 8,
	CAUSE_EJECTION = 16,
	CAUSE_SLOW_START = 32,
	CAUSE_LOAD = 64,
	CAUSE_TIME = 128,     /* of holding is over */
	CAUSE_ADOPTION = 256, /* of what a former process left in the kernel */
	CAUSE_REPAIR = 512,   /* of what somebody else did in the kernel */
	CAUSE_KERNEL = 1024,  /* it refused something */
	CAUSE_CONTAINER = 2048,
};

/* What is not known, or does not apply, is NULL or 0. All is borrowed. */
struct event {
	enum log_level level;
	unsigned int causes; /* of enum event_cause */
	const char *netns;   /* "" = the daemon's own */
	const char *link;
	const char *text;
	const char *state; /* how it is now: "3 endpoints in 3 slots" */
	const char *revision;
	uint64_t messages; /* to the kernel */
	uint64_t took_ns;  /* from what caused it to the kernel's acknowledgement */
};

/*
 * "NETNS: link LINK: TEXT (CAUSE; STATE; revision REVISION; MESSAGES messages; TOOK ms)". Of causes, the log has those
 * that it does not have anyhow: a registry has a revision.
 */
void event_tell(const struct event *event);

/* Tells one that is only a sentence. */
void event_say(enum log_level level, enum event_cause cause, const char *netns, const char *link, const char *format,
	       ...) __attribute__((format(printf, 5, 6)));

/* Would it be of use to tell one of this level? Saves making a text that is dear. */
bool event_wanted(enum log_level level);

/* "checks, operator"; returns the buffer. */
#define CAUSES_TEXT 128
const char *causes_text(unsigned int causes, char buffer[CAUSES_TEXT]);

/* From now on, events at the info level and above are collected as well, whatever is logged. NULL ends that. */
typedef void (*event_collect_fn)(void *context, const struct event *event);
void event_collect(event_collect_fn collect, void *context);

#endif
