/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From failed connections to endpoints that are taken out for a while. Pure: what happened comes in with its time, in
 * milliseconds of any clock that only goes forward.
 *
 * An endpoint is ejected for conf->for_ms when conf->failures connections to it failed within conf->within_ms. When
 * that is over it is on probation for as long again: one failure ejects it anew, for twice as long, up to
 * EJECTION_GROWTH_MAX times conf->for_ms. One that passes its probation begins from nothing.
 */
#ifndef NUNCIO_HEALTH_EJECTION_H
#define NUNCIO_HEALTH_EJECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "catalog/endpoints.h"
#include "config/config.h"

#define EJECTION_GROWTH_MAX 16

enum failure {
	FAILURE_REFUSED,
	FAILURE_UNANSWERED,
};

enum ejection_state {
	EJECTION_NONE,
	EJECTION_OUT,
	EJECTION_PROBATION, /* back, and one failure is enough */
};

/* What is known of an endpoint of a link to which connections failed. */
struct ejection {
	struct ip_port at;
	enum ejection_state state;
	uint64_t since_ms, until_ms;  /* of that state */
	uint32_t times;		      /* ejections in a row */
	uint32_t refused, failed;     /* the connections behind the last one, and how many of them were refused */
	uint64_t failures, ejections; /* since the endpoint is known */
	struct {
		uint64_t at_ms;
		enum failure kind;
	} last[EJECT_FAILURES_MAX]; /* a ring ... */
	uint32_t newest, n_last;    /* ... and how many of it count */
};

/* Of one link. Zeroed to begin, ejections_clear() ends. */
struct ejections {
	struct ejection *items;
	size_t count, capacity;
};

void ejections_clear(struct ejections *ejections);

#define EJECTION_CAUSE 96
/* Why it was ejected the last time: "5 connections refused within 10 s". */
const char *ejection_cause(const struct ejection *ejection, const struct link_eject *conf, char buffer[EJECTION_CAUSE]);

/* NULL: no connection to it has failed. Good until one does, or endpoints go. */
const struct ejection *ejections_find(const struct ejections *ejections, const struct ip_port *at);

/* How many of so many endpoints may be out at once: conf->max_percent of them, but one at least, and never all. */
uint32_t ejections_allowed(const struct link_eject *conf, uint32_t candidates);

/*
 * So many connections to an endpoint failed. `candidates` is how many endpoints could serve, the ejected ones among
 * them. Returns its record where that ejects it, else NULL.
 */
const struct ejection *ejections_note(struct ejections *ejections, const struct link_eject *conf,
				      const struct ip_port *at, enum failure failure, uint64_t count,
				      uint32_t candidates, uint64_t now_ms);

/*
 * Ends what is over by now. Calls back(context, ejection) for each endpoint that comes back, and returns when to look
 * again; UINT64_MAX: not before the next failure.
 */
uint64_t ejections_tend(struct ejections *ejections, uint64_t now_ms,
			void (*back)(void *context, const struct ejection *ejection), void *context);

/* Forgets endpoints that are not among these. */
void ejections_keep(struct ejections *ejections, const struct endpoints *endpoints);

/*
 * Is this one to be out? Where fewer may be out than are, since candidates went, those stay out that were ejected
 * first.
 */
bool ejections_hold(const struct ejections *ejections, const struct link_eject *conf, const struct ip_port *at,
		    uint32_t candidates);

#endif
