/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All registries and services that links need: one source per registry, one watch per service, however many links
 * in however many ambassadors lead to it. And the one place that decides what a registry's answer means:
 *
 *   answer                        what becomes of the service
 *   ------                        ---------------------------
 *   endpoints, perhaps none       they replace the former ones
 *   the same endpoints again      nothing
 *   error                         the former endpoints stay, and the service is stale until the next good answer
 *   none yet                      links go on with what the kernel holds, or else with what a former process knew
 */
#ifndef NUNCIO_CATALOG_CATALOG_H
#define NUNCIO_CATALOG_CATALOG_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "catalog/endpoints.h"
#include "catalog/known.h"
#include "discovery/registry.h"

struct catalog;
struct service;

struct catalog *catalog_new(uv_loop_t *loop);
/* Every subscription must have ended. It and its sources close over the next turns of the loop. */
void catalog_free(struct catalog *catalog);

/*
 * Services that come from now on and have no answer at once begin with what a former process knew, until their first
 * good answer. It is asked for when the first of them needs it; NULL ends that.
 */
typedef const struct known *(*catalog_known_fn)(void *context);
void catalog_begin_with(struct catalog *catalog, catalog_known_fn known, void *context);

/* What is known now, for the next process; and a number that another one is whenever that changed. */
void catalog_list_known(const struct catalog *catalog, struct known *ret);
uint64_t catalog_changes(const struct catalog *catalog);

/*
 * A link's interest in a service, embedded in the link. `changed` is called after each answer that changed the
 * service's endpoints, and never from within catalog_subscribe().
 */
struct subscription {
	void (*changed)(struct subscription *subscription);
	struct service *service;
	struct subscription *prev, *next;
};

/* Returns 0, or a negative errno where the registry's URI is wrong. An answer may be there at once. */
int catalog_subscribe(struct catalog *catalog, const struct registry_conf *registry, const char *service,
		      struct subscription *subscription, struct error *err);
void catalog_unsubscribe(struct catalog *catalog, struct subscription *subscription);

/* What is known of a service. Borrowed; good until the next turn of the loop. */
const struct endpoints *service_endpoints(const struct service *service); /* NULL: no good answer yet */
/* What is missing in them was not seen to go: see struct answer. */
bool service_is_afresh(const struct service *service);
const struct endpoints *service_remembered(const struct service *service); /* NULL: none, or an answer came */
const char *service_error(const struct service *service);		   /* NULL: the last answer was good */
const char *service_revision(const struct service *service);		   /* of the endpoints; "": none yet */
/* When the registry named its endpoints last, remembered ones included, in seconds since 1970; 0: it does now. */
int64_t service_seen(const struct service *service);
uint64_t service_received(const struct service *service); /* uv_hrtime() of the event behind its endpoints */

/* Is there a service of which neither endpoints nor an error has come yet? */
bool catalog_is_waiting(const struct catalog *catalog);

struct registry_status {
	const char *uri;
	bool connected;	   /* the last answers for all services were good */
	const char *error; /* else why not, or NULL before the first answer */
	const char *revision;
	double last_success_seconds; /* ago; negative: never */
	uint32_t services;
	uint64_t errors;  /* answers so far that said why there is none, one for each service */
	uint32_t skipped; /* records that are unusable, as of the last good answers */
};

/* Calls each(context, status) for every registry in use. */
void catalog_registries(const struct catalog *catalog,
			void (*each)(void *context, const struct registry_status *status), void *context);

#endif
