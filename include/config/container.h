/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Links that the labels of containers ask for, for one network namespace: they start from the defaults of the
 * configuration and use its registries. A label that is wrong is refused by itself; the others stay.
 */
#ifndef NUNCIO_CONFIG_CONTAINER_H
#define NUNCIO_CONFIG_CONTAINER_H

#include <stdint.h>

#include "base/mem.h"
#include "config/config.h"

/* "nuncio.link.5432=postgres,balance=random" of a container */
struct label_conf {
	const char *container; /* its name */
	const char *key;       /* the whole label */
	const char *listen;    /* the part of the key that is LISTEN */
	const char *link;      /* SERVICE[,option=value]... */
};

typedef void (*label_refused_fn)(void *context, const char *sentence);

/*
 * Fills ret->links from the labels, in their order; of two with one listen address the first stays. Everything is in
 * the arena, but what the links have of the configuration (their registries), which has to live as long.
 */
void config_read_labels(const struct config *config, const struct label_conf *labels, size_t count, struct arena *arena,
			struct ambassador_conf *ret, label_refused_fn refused, void *context);

#endif
