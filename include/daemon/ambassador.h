/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An ambassador: one network namespace, its links, and its table there. Changes of services mark links as dirty;
 * ambassador_reconcile(), once per turn of the loop, brings the kernel up to date with all of them at once.
 */
#ifndef NUNCIO_DAEMON_AMBASSADOR_H
#define NUNCIO_DAEMON_AMBASSADOR_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "balance/loss.h"
#include "balance/plan.h"
#include "base/error.h"
#include "catalog/catalog.h"
#include "config/config.h"
#include "health/checker.h"
#include "health/ejection.h"

struct ambassador;

struct meter;
struct overrides;
struct verdict_keeper;

struct ambassador_options {
	struct meter *meter;		   /* what is done is counted there; borrowed */
	const struct overrides *overrides; /* weights by hand; borrowed; NULL: none */
	struct verdict_keeper *verdicts;   /* what a former process knew of endpoints; borrowed; NULL: nothing */
	bool dry_run;			   /* ask the kernel, change nothing, print what would be sent */
	bool once;			   /* nobody will be there to end what only lasts for a while */
	bool share_table; /* let others change the table, and repair it; as on a kernel that knows no ownership */
};

/* `conf` must live until the next ambassador_configure() or ambassador_free(). Opens nothing yet. */
struct ambassador *ambassador_new(uv_loop_t *loop, struct catalog *catalog, const struct ambassador_conf *conf,
				  struct ambassador_options options);
/* Leaves the rules as they are. Handles close over the next turns of the loop. */
void ambassador_free(struct ambassador *ambassador);

/*
 * Takes another set of links; those that stay keep their state. Returns 0, or the first negative errno of a link whose
 * registry cannot be opened; that link goes on with what the kernel holds.
 */
int ambassador_configure(struct ambassador *ambassador, const struct ambassador_conf *conf, struct error *err);

/* Opens the namespace's sockets, if that has not been done. Tried again by itself, with a back-off, when it fails. */
int ambassador_open(struct ambassador *ambassador, struct error *err);

/* Brings the kernel up to date. Cheap when nothing has changed. Failures are logged and tried again with a back-off. */
void ambassador_reconcile(struct ambassador *ambassador);

/*
 * Plans the link that listens there anew and brings the kernel up to date at once. Returns 0, or -EIO with why the
 * kernel does not have it yet; that is tried again.
 */
int ambassador_replan(struct ambassador *ambassador, const struct listen *listen, struct error *err);

/* Removes the table, addresses and settings that the namespace has of us. */
int ambassador_cleanup(struct ambassador *ambassador, struct error *err);

/* For status; everything is borrowed. */
const char *ambassador_netns(const struct ambassador *ambassador); /* "" = the daemon's own */
const char *ambassador_error(const struct ambassador *ambassador); /* NULL: all is well */
bool ambassador_is_ready(const struct ambassador *ambassador);	   /* its namespace has its table */
const struct ambassador_conf *ambassador_conf(const struct ambassador *ambassador);
/* Has the container whose network a sidecar shares left it behind? */
bool ambassador_is_abandoned(const struct ambassador *ambassador);
/* Is that what the configuration calls its namespace? NULL: any; /run/netns/NAME is NAME. */
bool ambassador_is_in(const struct ambassador *ambassador, const char *netns);

/* An endpoint that the link has no more, and that still has connections. */
struct departed {
	const char *id; /* its address, where a former process knew it */
	struct ip_port at;
	uint64_t live;
};

/* What there is to tell of an endpoint besides what it is. */
struct endpoint_detail {
	enum standing standing;
	enum standing by_itself; /* the same, but down or ejected also where it serves, because nobody is well */
	uint32_t slots;
	bool counted;			 /* the kernel counts its connections ... */
	uint64_t connections;		 /* ... since the endpoint was added */
	uint64_t live;			 /* those of them that are there now, if that is known */
	uint64_t bytes;			 /* of those in both directions, if the kernel counts them */
	uint64_t refusals;		 /* refused connections that were retried, of late */
	const struct override *override; /* what an operator said, or NULL */
	uint16_t share;			 /* so much of its weight counts, of SHARE_FULL ... */
	uint64_t slow_start_left_ms;	 /* ... because it came of late; 0: not for that reason */
	bool checked;			 /* the link has it checked: */
	struct check_report check;	 /* borrowed */
	const struct ejection *ejection; /* borrowed; NULL: no connection to it failed, or the link does not eject */
	double ejection_left;		 /* seconds, until it is over */
};

struct link_status {
	const struct link_conf *conf;
	const struct endpoints *endpoints;     /* those that the kernel has, in order */
	const struct endpoint_detail *details; /* [endpoints->count] */
	bool live_known;		       /* else conntrack cannot tell */
	bool bytes_known;
	const struct departed *departed;
	size_t n_departed;
	uint32_t serving, slots;
	bool installed;			/* the kernel has it ... */
	bool refused;			/* ... and refuses its last change */
	bool holding;			/* it has no endpoints, and keeps TCP's SYNs back */
	bool keeping;			/* the registry has no endpoints, and the last known ones stay */
	bool recovered;			/* weights are shares that were read from the kernel */
	const struct loss *loss;	/* what is held of a mass loss ... */
	uint32_t held_seconds;		/* ... for how long still ... */
	const struct endpoints *answer; /* ... because the registry names these only; NULL: no answer yet */
	bool stale;			/* the registry is silent; the endpoints are the last known ones */
	bool remembered;		/* of a former process, out of the state file */
	int64_t seen; /* when the registry named them last, in seconds since 1970; 0: it does now, or it is not known */
	const char *error; /* why the kernel does not have it, or the registry cannot tell; NULL: all is well */
};

/*
 * Calls each(context, status) for the links, or for the one of a name, in the order of the configuration. Reading the
 * counters and conntrack takes the longer the more there is in them; without, connections and refusals are 0, live ones
 * are not known, and nobody has departed.
 */
void ambassador_status(struct ambassador *ambassador, const char *link_name, bool with_counters,
		       void (*each)(void *context, const struct link_status *status), void *context);

/* The same for the link at one place of the configuration; without a survey (daemon/survey.h), without counters. */
struct survey;
void ambassador_describe(struct ambassador *ambassador, const struct survey *survey, size_t index,
			 void (*each)(void *context, const struct link_status *status), void *context);

/* Reports of failed connections that got lost, and why none come; NULL: all is well. */
uint64_t ambassador_failures_lost(const struct ambassador *ambassador);
const char *ambassador_failures_error(const struct ambassador *ambassador);

/* The checks of the ambassador, NULL: there are none. */
const struct checker *ambassador_checker(const struct ambassador *ambassador);

/* Sums for a line in the log. */
struct ambassador_totals {
	uint32_t links, serving_links, endpoints, failed_links, unanswered_links, remembering_links;
};
struct ambassador_totals ambassador_count(const struct ambassador *ambassador);

/* Frees a namespace of a table that no daemon looks after: `nuncio cleanup`. */
int ambassador_cleanup_netns(const char *netns, struct error *err);

#endif
