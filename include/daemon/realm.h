/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All that a daemon has to show: what requests, metrics and the page are about. */
#ifndef NUNCIO_DAEMON_REALM_H
#define NUNCIO_DAEMON_REALM_H

#include <stddef.h>
#include <stdint.h>

#include "catalog/catalog.h"
#include "daemon/ambassador.h"
#include "daemon/journal.h"
#include "daemon/state.h"

struct meter;

/* All borrowed. */
struct realm {
	struct ambassador *const *ambassadors;
	size_t n_ambassadors;
	const struct catalog *catalog;
	struct state *state;
	const struct meter *meter;
	const struct journal *journal;
	uint64_t edition;		   /* another one whenever ambassadors or their links are others */
	const char *docker, *docker_error; /* the engine whose containers are followed, and why it does not answer */
};

/* What is missing until the start is over; NULL: the kernel has what the registries said first. */
const char *realm_lacks(const struct realm *realm);

#endif
