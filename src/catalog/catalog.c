/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "catalog/catalog.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalog/troubles.h"
#include "discovery/source.h"

struct registry;

struct service {
	char *name;
	struct registry *registry;
	const struct endpoints *endpoints;  /* of the last good answer */
	const struct endpoints *remembered; /* before the first one: what a former process knew */
	bool afresh;			    /* service_is_afresh() */
	int64_t seen;			    /* service_seen() */
	struct trouble *trouble;	    /* the last answer was an error */
	char *revision;
	uint64_t received;
	uint32_t skipped;
	struct subscription *subscriptions;
	UT_hash_handle hh;
};

struct registry {
	struct catalog *catalog;
	struct registry_conf conf;
	char *identity;
	struct source *source;
	struct service *services;
	const struct service *last; /* the last one answered for; NULL when there is none */
	uint64_t last_success;	    /* uv_hrtime(); 0: never */
	uint64_t errors;	    /* answers so far that were errors */
	struct troubles troubles;
	UT_hash_handle hh;
};

struct catalog {
	uv_loop_t *loop;
	uv_timer_t tell; /* until what is wrong is told */
	struct registry *registries;
	catalog_known_fn known; /* what services begin with */
	void *known_context;
	uint64_t changes;
};

struct catalog *catalog_new(uv_loop_t *loop)
{
	struct catalog *catalog = xcalloc(1, sizeof(*catalog));

	catalog->loop = loop;
	uv_timer_init(loop, &catalog->tell);
	catalog->tell.data = catalog;
	return catalog;
}

static void notify(struct service *service)
{
	struct subscription *subscription, *next;

	DL_FOREACH_SAFE (service->subscriptions, subscription, next)
		subscription->changed(subscription);
}

static void on_tell(uv_timer_t *timer)
{
	const struct catalog *catalog = timer->data;

	for (struct registry *registry = catalog->registries; registry; registry = registry->hh.next)
		troubles_tell(&registry->troubles);
}

static void leave_trouble(struct service *service, bool recovered)
{
	struct registry *registry = service->registry;

	if (service->trouble)
		troubles_leave(&registry->troubles, service->trouble, recovered, registry->conf.uri);
	service->trouble = NULL;
}

/* Before its first good answer, and where that is not there at once. */
static void remember(struct service *service)
{
	const struct registry *registry = service->registry;
	const struct catalog *catalog = registry->catalog;
	const struct known_service *known;

	if (!catalog->known || service->endpoints || service->remembered)
		return;
	known = known_find(catalog->known(catalog->known_context), registry->conf.uri, service->name);
	if (!known)
		return;
	service->remembered = endpoints_ref(known->endpoints);
	service->seen = known->seen;
	text_replace(&service->revision, known->revision);
}

/* For the links, nothing changes. */
static void take_error(struct service *service, const struct answer *answer)
{
	struct registry *registry = service->registry;
	struct trouble *former = service->trouble;

	log_debug("service %s: %s", service->name, answer->text);
	registry->errors++;
	remember(service);
	service->trouble = troubles_enter(&registry->troubles, answer->text, service->name,
					  service->endpoints || service->remembered);
	if (former)
		troubles_leave(&registry->troubles, former, false, registry->conf.uri);
	if (!uv_is_active((uv_handle_t *)&registry->catalog->tell))
		uv_timer_start(&registry->catalog->tell, on_tell, TROUBLES_WAIT_MS, 0);
	if (service->endpoints && !service->seen)
		service->seen = time(NULL);
}

/* Did it change anything for the links? */
static bool take_endpoints(struct service *service, const struct answer *answer)
{
	bool same = service->endpoints && endpoints_equal(service->endpoints, answer->endpoints);

	leave_trouble(service, true);
	text_replace(&service->revision, answer->revision);
	service->skipped = answer->skipped;
	service->seen = 0;
	service->registry->last_success = uv_hrtime();
	if (same)
		return false;
	service->registry->catalog->changes++;
	service->received = answer->received;
	service->afresh = answer->afresh;
	endpoints_unref(service->remembered);
	service->remembered = NULL;
	endpoints_unref(service->endpoints);
	service->endpoints = endpoints_ref(answer->endpoints);
	return true;
}

static void on_answer(void *context, const struct answer *answer)
{
	struct registry *registry = context;
	struct service *service;

	HASH_FIND_STR(registry->services, answer->service, service);
	if (!service)
		return;
	registry->last = service;
	if (!answer->endpoints)
		take_error(service, answer);
	else if (take_endpoints(service, answer))
		notify(service);
}

static void free_registry(struct registry *registry)
{
	source_close(registry->source);
	registry_clear(&registry->conf);
	free(registry->identity);
	free(registry);
}

static int find_registry(struct catalog *catalog, const struct registry_conf *conf, struct registry **ret,
			 struct error *err)
{
	char *identity = registry_identity(conf);
	struct registry *registry;
	int code;

	HASH_FIND_STR(catalog->registries, identity, registry);
	if (!registry) {
		registry = xcalloc(1, sizeof(*registry));
		registry->catalog = catalog;
		registry->conf = registry_copy(conf);
		registry->identity = identity;
		identity = NULL;
		code = source_open(catalog->loop, &registry->conf, on_answer, registry, &registry->source, err);
		if (code < 0) {
			free_registry(registry);
			return code;
		}
		HASH_ADD_KEYPTR(hh, catalog->registries, registry->identity, strlen(registry->identity), registry);
	}
	free(identity);
	*ret = registry;
	return 0;
}

static struct service *find_service(struct registry *registry, const char *name)
{
	struct service *service;

	HASH_FIND_STR(registry->services, name, service);
	if (service)
		return service;
	service = xcalloc(1, sizeof(*service));
	service->name = xstrdup(name);
	service->registry = registry;
	service->revision = xstrdup("");
	HASH_ADD_KEYPTR(hh, registry->services, service->name, strlen(service->name), service);
	source_watch(registry->source, name);
	remember(service);
	return service;
}

int catalog_subscribe(struct catalog *catalog, const struct registry_conf *registry, const char *service,
		      struct subscription *subscription, struct error *err)
{
	struct registry *home;
	int code = find_registry(catalog, registry, &home, err);

	if (code < 0)
		return code;
	subscription->service = find_service(home, service);
	DL_APPEND(subscription->service->subscriptions, subscription);
	return 0;
}

static void free_service(struct service *service)
{
	leave_trouble(service, false);
	endpoints_unref(service->endpoints);
	endpoints_unref(service->remembered);
	free(service->name);
	free(service->revision);
	free(service);
}

void catalog_unsubscribe(struct catalog *catalog, struct subscription *subscription)
{
	struct service *service = subscription->service;
	struct registry *registry;

	if (!service)
		return;
	registry = service->registry;
	DL_DELETE(service->subscriptions, subscription);
	subscription->service = NULL;
	if (service->subscriptions)
		return;
	catalog->changes++;
	source_unwatch(registry->source, service->name);
	HASH_DEL(registry->services, service);
	if (registry->last == service)
		registry->last = registry->services;
	free_service(service);
	if (!registry->services) {
		HASH_DEL(catalog->registries, registry);
		free_registry(registry);
	}
}

void catalog_begin_with(struct catalog *catalog, catalog_known_fn known, void *context)
{
	catalog->known = known;
	catalog->known_context = context;
}

static void list_service(const struct service *service, struct known *known, int64_t now)
{
	struct known_service one = {
		.registry = service->registry->conf.uri,
		.service = service->name,
		.revision = service->revision,
		.seen = service->seen ? service->seen : now,
		.endpoints = service->endpoints ? service->endpoints : service->remembered,
	};

	if (one.endpoints)
		known_add(known, &one);
}

void catalog_list_known(const struct catalog *catalog, struct known *ret)
{
	int64_t now = time(NULL);

	*ret = (struct known){0};
	for (const struct registry *registry = catalog->registries; registry; registry = registry->hh.next)
		for (const struct service *service = registry->services; service; service = service->hh.next)
			list_service(service, ret, now);
}

uint64_t catalog_changes(const struct catalog *catalog)
{
	return catalog->changes;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void catalog_free(struct catalog *catalog)
{
	uv_close((uv_handle_t *)&catalog->tell, on_closed);
}

const struct endpoints *service_endpoints(const struct service *service)
{
	return service->endpoints;
}

bool service_is_afresh(const struct service *service)
{
	return service->afresh;
}

const struct endpoints *service_remembered(const struct service *service)
{
	return service->remembered;
}

int64_t service_seen(const struct service *service)
{
	return service->seen;
}

const char *service_error(const struct service *service)
{
	return service->trouble ? service->trouble->text : NULL;
}

const char *service_revision(const struct service *service)
{
	return service->revision;
}

uint64_t service_received(const struct service *service)
{
	return service->received;
}

bool catalog_is_waiting(const struct catalog *catalog)
{
	for (const struct registry *registry = catalog->registries; registry; registry = registry->hh.next)
		for (const struct service *service = registry->services; service; service = service->hh.next)
			if (!service->endpoints && !service->trouble)
				return true;
	return false;
}

static struct registry_status describe(const struct registry *registry)
{
	struct registry_status status = {
		.uri = registry->conf.uri,
		.revision = registry->last ? registry->last->revision : "",
		.last_success_seconds = -1,
		.services = HASH_COUNT(registry->services),
		.errors = registry->errors,
	};

	struct source_status source;

	if (registry->last_success)
		status.last_success_seconds = (double)(uv_hrtime() - registry->last_success) / 1e9;
	for (const struct service *service = registry->services; service; service = service->hh.next) {
		status.skipped += service->skipped;
		if (!status.error)
			status.error = service_error(service);
	}
	status.connected = registry->last && !status.error;
	if (source_status(registry->source, &source)) {
		status.connected = source.connected;
		status.revision = source.revision;
		if (source.error)
			status.error = source.error;
		if (source.alive)
			status.last_success_seconds = (double)(uv_hrtime() - source.alive) / 1e9;
	}
	return status;
}

void catalog_registries(const struct catalog *catalog,
			void (*each)(void *context, const struct registry_status *status), void *context)
{
	for (const struct registry *registry = catalog->registries; registry; registry = registry->hh.next) {
		struct registry_status status = describe(registry);

		each(context, &status);
	}
}
