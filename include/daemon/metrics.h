/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nuncio's metrics. Names and units follow Prometheus' conventions, and its peers where they measure the same: states
 * and refusals as HAProxy's exporter, open connections as Traefik, the time until the kernel has a change as
 * kube-proxy.
 *
 * What is gone is not told of any more. A link has no sum of its connections: it would go back whenever an endpoint
 * leaves, and look as if it had begun anew; sum() over the rates of its endpoints is right.
 */
#ifndef NUNCIO_DAEMON_METRICS_H
#define NUNCIO_DAEMON_METRICS_H

#include "daemon/realm.h"
#include "daemon/tour.h"
#include "exporter/exposition.h"

/* What a tour with metrics_visitor has as its context; zeroed, but for the first three. */
struct metrics {
	struct realm (*realm)(void *);
	void *realm_context;
	void (*done)(struct metrics *metrics); /* or NULL */
	struct scroll text;		       /* at its end */
	struct exposition exposition;
	const char *netns;
};

extern const struct visitor metrics_visitor;

/* Ends an exposition whose tour was cancelled, and frees the text. */
void metrics_clear(struct metrics *metrics);

#endif
