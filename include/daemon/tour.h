/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A tour of all links, with what the kernel counts, a little in each turn of the event loop: with many links it takes
 * half a second, and an update must not wait for it. Between two steps anything may change but the configuration,
 * whose change begins the tour anew.
 */
#ifndef NUNCIO_DAEMON_TOUR_H
#define NUNCIO_DAEMON_TOUR_H

#include <uv.h>

#include "daemon/realm.h"

struct tour;

struct visitor {
	void (*begin)(void *context); /* again, too: what came before is void */
	void (*enter)(void *context, struct ambassador *ambassador);
	void (*link)(void *context, const struct link_status *status);
	void (*leave)(void *context);
	void (*end)(void *context); /* the last call; the tour is over */
};

/* `realm` is asked in each turn; everything is borrowed. Calls nothing yet. */
struct tour *tour_begin(uv_loop_t *loop, struct realm (*realm)(void *), void *realm_context,
			const struct visitor *visitor, void *context);
/* Ends it before its time: nothing is called any more. NULL is fine; not one that has ended. */
void tour_cancel(struct tour *tour);

/* All of it at once, for those who wait anyway. */
void tour_make(const struct realm *realm, const struct visitor *visitor, void *context);

#endif
