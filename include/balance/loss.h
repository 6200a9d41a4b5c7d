/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mass loss. An answer that names few of the endpoints that a link has now is more often the trouble of a registry, or
 * of those who keep their entries there alive, than of all these endpoints at once. So what vanished stays for a while,
 * and what else the answer says is done at once. Pure: time is given.
 *
 * An answer is a mass loss where it names less than min_healthy percent of the number of endpoints that there were
 * before the first loss of the last loss_hold: they may go one by one, as entries do that expire. New endpoints make up
 * for lost ones, so that a service that moves, at once or one by one, is no loss.
 *
 * Endpoints of weight 0, in the registry or by hand, do not count where they go, and are there where they are named:
 * that is the operator's wish. Whether an answer without endpoints is a mass loss is for the caller to know.
 */
#ifndef NUNCIO_BALANCE_LOSS_H
#define NUNCIO_BALANCE_LOSS_H

#include <stdbool.h>
#include <stdint.h>

#include "catalog/endpoints.h"
#include "config/config.h"

/* What a link remembers of its losses; zero to begin, and where they are over. Times in milliseconds, never 0. */
struct loss {
	uint64_t first_ms;	/* the first loss that was not made up for; 0: none */
	uint32_t before;	/* endpoints before that */
	uint64_t held_since_ms; /* the first answer that was a mass loss; 0: none */
	uint32_t held;		/* endpoints that stay although the registry does not name them */
	uint32_t left;		/* endpoints that the answer names; for messages */
};

/*
 * The endpoints that a link is to have, with a reference: the answer's, and while a mass loss is held, those of
 * `current` that it does not name. `current` is what the link has now, held ones included, and `weighed` the same with
 * the weights that count (plan.h).
 * It may be asked again with the same answer. Once the time is over, call loss_settle() when the link has them.
 */
const struct endpoints *loss_apply(struct loss *loss, const struct link_conf *conf, const struct endpoints *current,
				   const struct endpoints *weighed, const struct endpoints *answer, uint64_t now_ms);

/* The link has what loss_apply() returned. */
void loss_settle(struct loss *loss);

/* How long the held endpoints stay, in milliseconds; 0 where none is held or the time is over. */
uint64_t loss_left_ms(const struct loss *loss, const struct link_conf *conf, uint64_t now_ms);

/* Is the endpoint there in the answer, by its id or its place? */
bool loss_is_named(const struct endpoints *answer, const struct endpoint *endpoint);

#endif
