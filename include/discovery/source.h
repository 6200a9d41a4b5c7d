/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A source of endpoints: one connection to one registry. It is told which services to watch and answers for each
 * with whole snapshots, at once where it can and then at every change. What an answer means for the links (keep,
 * empty, hold) is decided elsewhere: a source only says truthfully which of two things happened.
 */
#ifndef NUNCIO_DISCOVERY_SOURCE_H
#define NUNCIO_DISCOVERY_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "catalog/endpoints.h"
#include "discovery/registry.h"

struct answer {
	const char *service;
	/* The endpoints, possibly none; NULL = the registry could not be read, and `text` says why. Borrowed: take a
	 * reference to keep it. */
	const struct endpoints *endpoints;
	const char *text;     /* one sentence with place and remedy for an error; else NULL */
	const char *revision; /* the registry's own name for this state, for people; never NULL */
	uint32_t skipped;     /* records that were left out as unusable; each was logged by the source, once */
	/* What is missing in these endpoints was not seen to go: they come of a first read, after a failure, or of
	 * other data than before, as after a restore. */
	bool afresh;
	uint64_t received; /* uv_hrtime() when the event behind this answer was first seen */
};

/* Called from the event loop, or from source_watch() itself. Must not call back into the source. */
typedef void (*source_answer_fn)(void *context, const struct answer *answer);

struct source;

/* A connection to a registry, whether or not something was answered over it. Strings are the source's. */
struct source_status {
	bool connected;
	const char *error;    /* why not; NULL: it is, or was not yet tried */
	const char *revision; /* of the registry as a whole */
	uint64_t alive;	      /* uv_hrtime() of the last thing that it said; 0: never */
};

struct source_ops {
	const char *scheme;	/* "file" for file:PATH */
	const char *tls_scheme; /* the same with TLS, "etcds"; NULL: there is none */
	/* Looks at what the configuration says, and at nothing else. Errors: a wrong form, an option that has no use.
	 */
	int (*check)(const struct registry_conf *conf, struct error *err);
	/* Opens the source; the registry being away is not an error but an answer. The conf was checked, is borrowed
	 * until close(). */
	int (*open)(uv_loop_t *loop, const struct registry_conf *conf, source_answer_fn answer, void *context,
		    struct source **ret, struct error *err);
	void (*watch)(struct source *source, const char *service);
	void (*unwatch)(struct source *source, const char *service);
	/* How its connection is. NULL: nothing to tell but the answers. */
	void (*status)(const struct source *source, struct source_status *ret);
	/* Stops at once: no answer comes after it. The memory goes with a later turn of the loop. */
	void (*close)(struct source *source);
};

/* Embedded as the first member by each source. */
struct source {
	const struct source_ops *ops;
};

/* Picks the source by the URI's scheme. A known scheme that this version lacks is refused by name (-ENOTSUP). */
int source_open(uv_loop_t *loop, const struct registry_conf *conf, source_answer_fn answer, void *context,
		struct source **ret, struct error *err);
/* Only looks at the form; for checking a configuration. Returns 0, -EINVAL or -ENOTSUP. */
int source_check(const struct registry_conf *conf, struct error *err);
void source_watch(struct source *source, const char *service);
void source_unwatch(struct source *source, const char *service);
/* Returns whether the source has anything to tell. */
bool source_status(const struct source *source, struct source_status *ret);
void source_close(struct source *source); /* NULL is fine */

#endif
