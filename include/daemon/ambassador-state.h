/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of an ambassador, shared by the files that make one up and by nobody else:
 *
 *   ambassador.c         its life: opening the namespace, trying again, cleaning up
 *   ambassador-timers.c  when it looks again
 *   ambassador-sockdiag.c its way to the sockets in its namespace
 *   ambassador-links.c   its links: configuration, subscriptions, shards
 *   appraise.c           what is thought of its endpoints
 *   link-checks.c        which of them are checked, and what came of it
 *   slow-start.c         which of them start slowly
 *   link-load.c          which of them have more connections than others
 *   link-ejections.c     connections that fail, and what came of it
 *   link-endpoints.c     what an answer of the registry means for a link
 *   reconcile.c          what is to be done: adoption, the footprint, rounds of dirty links
 *   round.c              one round: plan, compile, send, settle
 *   flows.c              what it means for conntrack: which flows end
 *   draining.c           endpoints that left, and since when
 *   reset.c              how established connections end
 *   ambassador-status.c  what others may see
 *   survey.c             what the kernel counts
 */
#ifndef NUNCIO_DAEMON_AMBASSADOR_STATE_H
#define NUNCIO_DAEMON_AMBASSADOR_STATE_H

#include "base/event.h"
#include "base/hash.h"
#include "daemon/ambassador.h"
#include "daemon/changelog.h"
#include "daemon/draining.h"
#include "daemon/flows.h"
#include "daemon/link-checks.h"
#include "daemon/link-ejections.h"
#include "daemon/link-pace.h"
#include "daemon/meter.h"
#include "daemon/reset.h"
#include "kernel/nft.h"
#include "ruleset/compile.h"

#define LISTEN_KEY 24

struct link {
	const struct link_conf *conf;
	struct ambassador *ambassador;
	struct subscription subscription;
	uint8_t key[LISTEN_KEY]; /* the listen address, for the hash */
	struct link_plan plan;	 /* what the kernel holds; meaningful when installed */
	bool installed;
	bool recovered; /* the plan was read from the kernel: the weights in it are shares of slots */
	bool removed;	/* no longer configured: to be taken out of the kernel */
	bool dirty;	/* in the ambassador's list of those */
	struct link *dirty_prev, *dirty_next;
	unsigned int causes;  /* of enum event_cause: why it is dirty ... */
	uint64_t dirty_since; /* ... and uv_hrtime() when it became so */
	bool configured;      /* mark of ambassador_configure() */
	uint64_t subscribed;  /* uv_hrtime() when it was configured to lead to its service */
	uint64_t received;    /* uv_hrtime() of the registry's event that was carried out last */
	uint64_t empty_since; /* uv_hrtime(); 0: some endpoint serves */
	bool keeping;	      /* the registry has none, and the last known ones stay */
	struct leavers leavers;
	struct link_checks checks;
	struct starters starters;
	struct link_load load;
	struct link_ejections ejections;
	bool redirected; /* what it has are another service's endpoints */
	struct loss loss;
	char *error; /* why the kernel does not have the last change */
	UT_hash_handle hh;
};

/* Numbered maps, and how many links each of them serves. */
struct shards {
	uint16_t *used; /* [count] */
	size_t count, capacity;
};

struct ambassador {
	uv_loop_t *loop;
	struct catalog *catalog;
	const struct ambassador_conf *conf;
	struct ambassador_options options;
	char *netns; /* what people call it: "" = the daemon's own, "container:NAME" */
	int netns_fd;
	bool had_company;     /* its own namespace has had interfaces besides lo ... */
	uint64_t alone_since; /* ... and has none since then, by uv_now(); 0: it has */
	bool abandoned;	      /* and will have none any more */
	bool gone;	      /* the container's namespace is, and nothing is to be done until the next configuration */
	int lock;	      /* keeps a second nuncio out, also where the table cannot be owned; -1: none */
	struct nft *nft;
	struct net *net;
	struct conntrack *conntrack;
	struct checker *checker; /* NULL until a link has its endpoints checked */
	struct changelog_lines verdict_lines;
	bool ejects; /* some link does, so the rules that it takes are there */
	struct failure_watch failure_watch;
	struct sockdiag *sockdiag; /* NULL until it is needed, see ambassador_sockdiag() */
	struct link *links;	   /* by listen */
	struct link *dirty;	   /* those whose plan may differ from what the kernel holds */
	struct shards shards[2];   /* of slots; IPv4, IPv6 */
	struct shards affinities[2];
	struct footprint footprint; /* recorded in the table */
	bool resync;		    /* what the kernel holds is not known: read it */
	bool footprint_known;	    /* by what this process did; before that, by the record of a former one */
	bool footprint_dirty;
	char *footprint_error; /* why it is not as recorded */
	bool announced_ready;
	/* Looks at conntrack: at once, when look_again ends, and at its end after that. */
	struct flow_looks flows_due, flows_again, flows_later;
	char *flows_error; /* why conntrack could not be looked at */
	struct resetter resetter;
	struct changelog_lines loss_lines; /* in this reconciliation, of links that lose endpoints or keep them */
	bool just_read;			   /* what the kernel holds was read in this very reconciliation */
	bool backing_off;		   /* wait for the timer before anything is tried again */
	char *error;
	uint64_t retry_ms;
	uv_timer_t *retry;
	uv_timer_t *hold;	/* until the first link's time of holding is over */
	uv_timer_t *look_again; /* flows_again */
	uv_timer_t *step;	/* until the first endpoint that starts slowly has a larger share */
	uv_timer_t *count;	/* connections, for balance=leastconn ... */
	uint64_t counted;	/* ... the last time, uv_hrtime() */
	uv_timer_t *drain;	/* until the first endpoint's drain_for is over */
	uv_timer_t *presence;	/* is the namespace still there? */
	uv_timer_t *settle;	/* the namespace has changed, and may go on changing */
	uv_timer_t *patrol;	/* what the kernel tells nobody of */
	uv_poll_t *watch;	/* interfaces, addresses and routes */
	uv_poll_t *table_watch; /* where the table is not owned: what others do to it */
};

/* Takes the configuration's name of the namespace; the links are for ambassador_configure(). */
void ambassador_take_conf(struct ambassador *ambassador, const struct ambassador_conf *conf);

/* Links. A dirty link is one whose plan may differ from what the kernel holds. */
void link_mark_dirty(struct link *link);
void link_mark_changed(struct link *link, enum event_cause cause); /* the same, and says why */
void link_mark_clean(struct link *link);
void link_mark_all_dirty(struct ambassador *ambassador);
struct link *link_find(struct ambassador *ambassador, const struct listen *listen);
/* Takes it out of the ambassador and frees it; the kernel is not touched. */
void link_free(struct ambassador *ambassador, struct link *link);

/*
 * The endpoints that a link is to have, with a reference: what the answer of its registry means for it. Where there is
 * no answer yet, and where the link is to keep what it has when the registry names none, they are those that the kernel
 * holds; and while a mass loss is held, some of those. Where there is no answer yet and the kernel holds nothing, they
 * are what a former process knew. To be followed by link_endpoints_settled() when it has them.
 */
const struct endpoints *link_endpoints(struct link *link);
void link_endpoints_settled(struct link *link);

/* The same with the weights that operators gave by hand, with a reference. */
const struct endpoints *link_weighed(const struct link *link, const struct endpoints *endpoints);

/* What the ambassador thinks of them, by index, to be freed; NULL: nothing. */
struct appraisal *link_appraise(const struct link *link, const struct endpoints *weighed);

/* How long endpoints that the registry lost stay; 0: none do. */
uint32_t link_held_seconds(const struct link *link);

/* Asks the kernel how many connections it led to these endpoints of an installed link: one by one, for in a large set
 * the kernel begins each part of a listing from the start. */
void link_read_connections(const struct link *link, const struct endpoints *endpoints, nft_counter_fn counter,
			   void *context);

/* What the registry said last; borrowed, NULL before the first answer. */
const struct endpoints *link_answer(const struct link *link);
/* What a former process knew; borrowed, NULL after the first answer. And is that what the link has now? */
const struct endpoints *link_remembered(const struct link *link);
bool link_has_remembered(const struct link *link);

/* Shards: which slot map serves how many links; affinities: which numbers of affinity maps are taken. */
struct shards *shards_of(struct ambassador *ambassador, const struct listen *listen);
struct shards *affinities_of(struct ambassador *ambassador, const struct listen *listen);
void shard_take(struct shards *shards, uint16_t shard);
/* The map for one more link, where one serves at most `limit` links. */
uint16_t shard_find(const struct shards *shards, uint16_t limit);

/* Looks at links that hold again after this time. */
void ambassador_hold_for(struct ambassador *ambassador, uint64_t ms);

/* The sockets of the namespace; opened when first asked for. NULL: that fails, which has been logged. */
struct sockdiag *ambassador_sockdiag(struct ambassador *ambassador);

/* Where the table is not owned, begins to watch what others do to it. */
void ambassador_watch_table(struct ambassador *ambassador);

/* Has what failed tried again, later each time. */
void ambassador_retry_later(struct ambassador *ambassador);

#endif
