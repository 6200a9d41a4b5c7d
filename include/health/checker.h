/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checks many endpoints, again and again. Whoever wants to know about an address, checked in a certain way, watches it;
 * however many do, it is checked once. Checks are spread in time with jitter, and only so many are under way at a time,
 * of which those that failed last time never take all: they wait for their timeouts, and no other has to wait for them.
 */
#ifndef NUNCIO_HEALTH_CHECKER_H
#define NUNCIO_HEALTH_CHECKER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/addr.h"
#include "config/check.h"
#include "health/probe.h"
#include "health/verdict.h"

struct checker;
struct check_method; /* a way to check, as a configuration says it */
struct check_target; /* an address with such a way */

/* What is known of a target. Times are milliseconds since 1970; 0: never, or not known. */
struct check_report {
	enum verdict verdict;	  /* VERDICT_UNKNOWN, VERDICT_UP or VERDICT_DOWN */
	bool unchecked;		  /* it cannot be checked, so the verdict stays unknown */
	bool remembered;	  /* of a former process; no check has ended since */
	const char *reason;	  /* what the last attempt that speaks for the verdict said; why it is unknown */
	uint32_t in_a_row;	  /* attempts in a row that did */
	const char *doubt;	  /* what the last attempt said if it speaks against the verdict, else NULL */
	uint32_t against, needed; /* attempts in a row that did, and how many change the verdict */
	int64_t since, last_good, checked;
	uint32_t took_us; /* the last attempt */
};

/* One who wants to know; it is the caller's, and stays where it is. */
struct check_watcher {
	struct check_target *target; /* NULL: it watches nothing */
	void *owner;		     /* the caller's */
	struct check_watcher *prev, *next;
};

/* From the event loop. None of these may watch or unwatch. */
struct checker_events {
	probe_socket_fn make_socket; /* see probe.h */
	/* Why an address must not be checked, for people; NULL: it may. Asked before each attempt. */
	const char *(*refuse)(void *context, const struct ip_port *at);
	/* The verdict is another one than `before`, which held since `before_since`; once for each watcher. */
	void (*changed)(void *context, const struct check_watcher *watcher, enum verdict before, int64_t before_since);
	/*
	 * What a former process knew of an address that it checked like this, which is a text for that; false: nothing.
	 * Only verdict, reason and times are asked for.
	 */
	bool (*remembered)(void *context, const struct ip_port *at, const char *probe, struct check_report *ret);
};

/* The events are borrowed. It checks nothing until checker_resume(). */
struct checker *checker_open(uv_loop_t *loop, const struct checker_events *events, void *context);
/* All watchers must have gone. At once, but not from a callback; the memory goes with a later turn of the loop. */
void checker_close(struct checker *checker);

/* Ends what is under way, and begins nothing more; verdicts stay. And goes on. Both may be called at any time. */
void checker_pause(struct checker *checker);
void checker_resume(struct checker *checker);

/* The method of a configuration (kind not PROBE_NONE), the same one for equal ones; with a reference. */
struct check_method *check_method_take(struct checker *checker, const struct link_check *conf);
void check_method_drop(struct check_method *method); /* NULL is fine */

/* Begins to watch an endpoint; where the method has a port of its own, that one is checked. */
void checker_watch(struct check_method *method, const struct ip_port *endpoint, struct check_watcher *watcher);
void checker_unwatch(struct check_watcher *watcher); /* one that watches nothing is fine */

/* Borrowed until the next turn of the loop. */
struct check_report check_report(const struct check_target *target);

/* Calls each() for the targets; what is checked is the address `at`. And how often verdicts have changed so far. */
void checker_each(const struct checker *checker,
		  void (*each)(void *context, const struct ip_port *at, const char *probe,
			       const struct check_report *report),
		  void *context);
uint64_t checker_changes(const struct checker *checker);

#endif
