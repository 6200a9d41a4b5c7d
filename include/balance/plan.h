/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plan of a link: all that decides which rules and elements it has. Configuration and endpoints in, slots out;
 * pure. A plan that the kernel has acknowledged stands for what the kernel holds: compiling it again gives exactly
 * the objects that are there, so the next change is the difference of two compiled plans.
 */
#ifndef NUNCIO_BALANCE_PLAN_H
#define NUNCIO_BALANCE_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "balance/slots.h"
#include "catalog/endpoints.h"
#include "config/config.h"
#include "health/verdict.h"

/* What the ambassador thinks of an endpoint, besides what the registry and operators say. */
struct appraisal {
	enum verdict verdict;
	uint16_t share; /* so much of its weight counts, of SHARE_FULL; with 0, still a little */
};
#define SHARE_FULL 1024

struct link_plan {
	char *name;
	struct listen listen;
	uint16_t shard; /* the slot map that holds its slots; see compile.h */
	enum balance balance;
	enum masquerade masquerade;
	bool hold;	       /* without slots: keep TCP's SYNs back, so that connections wait for endpoints */
	uint32_t retry_s;      /* 0 = no retry */
	bool eject;	       /* failed connections are reported; TCP only */
	uint32_t affinity_s;   /* how long an idle client keeps its endpoint; 0 = it has none */
	uint16_t affinity_map; /* the number of the map with its clients; set by the caller of plan_next() */
	const struct endpoints *endpoints; /* a reference */
	/*
	 * The same endpoints in the same order, with the weights that count: those that operators gave by hand instead
	 * of the registry's. Mostly the same snapshot. A reference.
	 */
	const struct endpoints *weighed;
	struct appraisal *appraisals; /* [endpoints->count], by which the slots were shared out; NULL: of no effect */
	struct slots slots;	      /* the owners are indices into endpoints->items */
	bool *serving;		      /* [endpoints->count], from the slots: who gets new connections */
};

/* Why an endpoint gets new connections, or does not. */
enum standing {
	STANDING_SERVING,
	STANDING_DRAINING,     /* weight 0 */
	STANDING_DOWN,	       /* its checks fail */
	STANDING_EJECTED,      /* connections to it failed */
	STANDING_STANDBY,      /* endpoints of a better priority serve */
	STANDING_WRONG_FAMILY, /* IPv6 behind an IPv4 listen address, or the reverse: NAT cannot cross */
	STANDING_OWN_ADDRESS,  /* the link's own listen address */
};

/*
 * Says for each of the endpoints how it stands with a link; [endpoints->count] entries. `appraisals` has as many, or is
 * NULL. Where none of those that could serve is well, conf->on_all_down decides whether all of them do or none.
 * Returns how many serve.
 */
uint32_t plan_standing(const struct endpoints *endpoints, const struct appraisal *appraisals,
		       const struct link_conf *conf, enum standing *ret_standing);

/*
 * Makes the next plan of a link. `previous` is the one in force, or NULL; its slots are kept as far as possible. `hold`
 * matters where no endpoint serves.
 * `appraisals` are those of `endpoints`, by index, and copied; or NULL.
 * Where weights are given by hand, `endpoints` has them already, and the caller gives ret->endpoints its value then:
 * what is taken back must leave nothing behind.
 * Takes its own references to endpoints. *ret is to be freed by plan_clear().
 */
void plan_next(const struct link_plan *previous, const struct link_conf *conf, const struct endpoints *endpoints,
	       const struct appraisal *appraisals, uint16_t shard, bool hold, struct link_plan *ret);

/* Does the same client always draw the same slot? */
bool plan_is_hashed(const struct link_plan *plan);

/* Finds out who serves, for one who made a plan's slots himself. */
void plan_note_serving(struct link_plan *plan);
/* Does the endpoint at this address get new connections? */
bool plan_serves(const struct link_plan *plan, const struct ip_port *at);
/* For which verdict does it not serve? VERDICT_NONE: it does, or for another reason. */
enum verdict plan_taken_out(const struct link_plan *plan, const struct ip_port *at);
/* Is it on its way out: not among the endpoints any more, or of weight 0? One on standby is not. */
bool plan_drains(const struct link_plan *plan, const struct ip_port *at);

void plan_clear(struct link_plan *plan);

#endif
