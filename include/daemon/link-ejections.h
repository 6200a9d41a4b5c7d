/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ejection: what the kernel reports of failed connections, noted for the endpoints of links that eject. A link is
 * planned anew when an endpoint is ejected or comes back. Where no link ejects there is no socket, and no rule.
 */
#ifndef NUNCIO_DAEMON_LINK_EJECTIONS_H
#define NUNCIO_DAEMON_LINK_EJECTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "balance/plan.h"
#include "daemon/changelog.h"
#include "health/ejection.h"

struct ambassador;
struct failures;
struct link;

/* What a link knows. */
struct link_ejections {
	struct ejections known;
	uint32_t candidates; /* endpoints that could serve, as of the last plan */
};

/* What the links of an ambassador have in common. */
struct failure_watch {
	struct failures *failures; /* NULL: closed */
	uv_poll_t *poll;
	uv_timer_t *pause; /* until more is read */
	uv_timer_t *look;  /* until the counters of refusals are looked at */
	struct failed_counter *counters;
	uint32_t looks;
	bool began;	     /* what there was to begin with is counted */
	bool changed;	     /* the last look found more */
	uint64_t not_before; /* uv_now() of the next look */
	uv_timer_t *tend;    /* until an ejection or a probation is over */
	char *error;	     /* why it cannot be opened */
	bool due;	     /* to be opened */
	uint64_t lost;	     /* reports, before it was opened the last time */
	struct changelog_lines lines;
};

/* An opinion, see appraise.c. */
void link_ejections_appraise(const struct link *link, const struct endpoints *weighed, struct appraisal *appraisals);
/* To be called when the link has a new plan. */
void link_ejections_settled(struct link *link);
void link_ejections_clear(struct link *link);

/* Does any link eject? The rules, and the socket, are to be there then. To be called when links are configured. */
void ambassador_eject_configured(struct ambassador *ambassador);
/* Opens and closes what has to be. */
void ambassador_watch_failures(struct ambassador *ambassador);
void ambassador_unwatch_failures(struct ambassador *ambassador);

#endif
