/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The footprint of an ambassador outside its table: route_localnet on the interfaces where translated packets of
 * 127/8 leave, and listen addresses on lo. What nuncio changed is recorded in the table before it is changed, so a
 * process that comes after a crash knows what to undo; what was so before is never touched.
 */
#ifndef NUNCIO_DAEMON_FOOTPRINT_H
#define NUNCIO_DAEMON_FOOTPRINT_H

#include "config/config.h"
#include "kernel/net.h"
#include "ruleset/compile.h"

void footprint_clear(struct footprint *footprint);

/*
 * What the footprint has to be for these listen addresses, given the namespace and what is recorded already.
 * Returns 0 and *ret for footprint_clear(), or a negative errno with a sentence.
 */
int footprint_next(struct net *net, const struct footprint *recorded, const struct listen *listens, size_t n_listens,
		   struct footprint *ret, struct error *err);

/* Undoes what `recorded` says and `next` does not. Goes on after an error, and returns the first. */
int footprint_retire(struct net *net, const struct footprint *recorded, const struct footprint *next,
		     struct error *err);

/* Does all that the footprint says, also what somebody has undone since. Goes on after an error, too. */
int footprint_establish(struct net *net, const struct footprint *footprint, struct error *err);

#endif
