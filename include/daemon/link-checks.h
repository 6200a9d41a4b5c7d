/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The checks that links ask for. An ambassador has one checker, whose sockets are in its namespace; a link watches its
 * endpoints there, and is planned anew when a verdict changes.
 */
#ifndef NUNCIO_DAEMON_LINK_CHECKS_H
#define NUNCIO_DAEMON_LINK_CHECKS_H

#include <stdbool.h>

#include "balance/plan.h"
#include "health/checker.h"

struct ambassador;
struct link;

/* What a link watches; zeroed: nothing. */
struct link_checks {
	const struct endpoints *endpoints; /* a reference */
	struct check_method *method;
	struct check_watcher *watchers; /* [endpoints->count], in their order */
};

/* Has the link watch these endpoints as its configuration says; those that it watches already go on. */
void link_checks_follow(struct link *link, const struct endpoints *endpoints);
void link_checks_clear(struct link *link);

/* An opinion, see appraise.c. */
void link_checks_appraise(const struct link *link, const struct endpoints *weighed, struct appraisal *appraisals);

/* What is known of the endpoint at this address; false: the link does not have it checked. */
bool link_checks_report(const struct link *link, const struct ip_port *at, struct check_report *ret);

#endif
