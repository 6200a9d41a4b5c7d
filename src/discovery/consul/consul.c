/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/consul/consul.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "discovery/answered.h"
#include "discovery/consul/query.h"
#include "discovery/names.h"

#define INDEX_TEXT 24

struct service {
	struct consul_source *source;
	char *name;
	struct consul_query *query;
	struct consul_list list;
	struct answered answered;
	uint64_t reported; /* digest of the reports that were logged last */
	bool well;	   /* its last question was answered, or only the last one was not */
	bool afresh;	   /* so was the last list */
	bool filtered;	   /* ACLs leave instances out, which was logged */
	char *error;	   /* what is wrong with its questions; NULL while all is well */
	char index[INDEX_TEXT];
	UT_hash_handle hh;
};

struct consul_source {
	struct source base; /* first */
	uv_loop_t *loop;
	source_answer_fn answer;
	void *context;
	const struct registry_conf *conf;
	struct consul_uri uri;
	struct http *http;
	struct names *names;
	struct service *services;
	uint64_t alive;		/* uv_hrtime() of the last thing that Consul said, or knew */
	char index[INDEX_TEXT]; /* of the last answer */
};

/* Answers */

static void give(const struct service *service, struct answer answer)
{
	const struct consul_source *source = service->source;

	answer.service = service->name;
	answer.revision = service->index;
	answer.afresh = service->afresh;
	answer.received = uv_hrtime();
	source->answer(source->context, &answer);
}

static void answer_error(struct service *service, const char *reason)
{
	char *text = xasprintf("registry %s: %s", service->source->conf->uri, reason);

	if (answered_error(&service->answered, text))
		give(service, (struct answer){.text = service->answered.error});
	free(text);
}

static void answer_outage(struct service *service, const char *reason)
{
	char *text = xasprintf("registry %s: %s", service->source->conf->uri, reason);

	if (answered_outage(&service->answered, text))
		give(service, (struct answer){.text = service->answered.error});
	free(text);
}

static void log_reports(struct service *service, const struct consul_view *view)
{
	if (service->reported == view->digest)
		return;
	service->reported = view->digest;
	for (uint32_t i = 0; i < view->skipped && i < CONSUL_REPORTS; i++)
		log_warning("service %s: Consul's %s; skipped", service->name, view->reports[i]);
	if (view->skipped > CONSUL_REPORTS)
		log_warning("service %s: and %u more instances skipped", service->name, view->skipped - CONSUL_REPORTS);
}

static int resolve(void *context, const char *host, struct ip_addr *ret, struct error *err)
{
	struct consul_source *source = context;

	return names_find(source->names, host, ret, err);
}

/* The first answer waits for all names, a later one only where it would have nothing else. */
static void answer_list(struct service *service)
{
	struct consul_view view;

	consul_list_view(&service->list, resolve, service->source, &view);
	log_reports(service, &view);
	if (view.error)
		answer_error(service, view.error);
	else if (view.endpoints && !(view.pending && !service->answered.endpoints) &&
		 answered_endpoints(&service->answered, view.endpoints, view.skipped))
		give(service, (struct answer){.endpoints = view.endpoints, .skipped = view.skipped});
	consul_view_clear(&view);
}

/* Names */

static bool has_host(const struct service *service, const char *host)
{
	for (size_t i = 0; i < service->list.count; i++)
		if (service->list.items[i].host && strcmp(service->list.items[i].host, host) == 0)
			return true;
	return false;
}

static void on_name_changed(void *context, const char *host)
{
	struct consul_source *source = context;

	/* While its questions fail, what is known may be old: it is told with the next answer. */
	for (struct service *service = source->services; service; service = service->hh.next)
		if (service->well && has_host(service, host))
			answer_list(service);
}

static void on_keep_names(void *context)
{
	struct consul_source *source = context;

	for (const struct service *service = source->services; service; service = service->hh.next)
		for (size_t i = 0; i < service->list.count; i++)
			if (service->list.items[i].host)
				names_keep(source->names, service->list.items[i].host);
}

static const struct names_events names_events = {.changed = on_name_changed, .keep = on_keep_names};

/* Queries */

static void note_life(struct service *service, const struct consul_result *result)
{
	struct consul_source *source = service->source;
	uint64_t now = uv_hrtime(), age = result->age_ms * UINT64_C(1000000), heard = age < now ? now - age : 1;

	/* What a server without a leader says is as old as its last contact to one. */
	if (heard > source->alive)
		source->alive = heard;
	snprintf(service->index, sizeof(service->index), "%" PRIu64, result->index);
	memcpy(source->index, service->index, sizeof(source->index));
}

static void note_filter(struct service *service, bool filtered)
{
	if (filtered && !service->filtered)
		log_warning("service %s: registry %s: its ACLs hide some of the instances from us: our token lacks a "
			    "permission, service:read or node:read",
			    service->name, service->source->conf->uri);
	service->filtered = filtered;
}

/* Where one is answered again, the others need not wait longer. */
static void hurry_others(const struct consul_source *source)
{
	for (struct service *service = source->services; service; service = service->hh.next)
		consul_query_hurry(service->query);
}

static void on_answered(void *context, const struct consul_result *result)
{
	struct service *service = context;

	if (!service->well)
		hurry_others(service->source);
	service->well = true;
	text_replace(&service->error, NULL);
	note_life(service, result);
	note_filter(service, result->filtered);
	if (!result->list)
		return;
	consul_list_clear(&service->list);
	service->list = *result->list;
	*result->list = (struct consul_list){0};
	service->afresh = result->afresh;
	answer_list(service);
}

/*
 * One that was answered and then is lost, as when the agent is restarted, is asked again before anything is said.
 */
static void on_failed(void *context, uint32_t failures, const char *reason)
{
	struct service *service = context;

	log_debug("service %s: registry %s: %s", service->name, service->source->conf->uri, reason);
	if (service->well && failures == 1)
		return;
	service->well = false;
	answer_outage(service, reason);
	text_replace(&service->error, reason);
}

static const struct consul_query_events query_events = {.answered = on_answered, .failed = on_failed};

/* The source. */

static int consul_check(const struct registry_conf *conf, struct error *err)
{
	struct consul_uri uri;
	int code = consul_uri_parse(conf, &uri, err);

	arena_free(&uri.arena);
	return code;
}

static int consul_open(uv_loop_t *loop, const struct registry_conf *conf, source_answer_fn answer, void *context,
		       struct source **ret, struct error *err)
{
	struct consul_source *source = xcalloc(1, sizeof(*source));
	int code;

	*source = (struct consul_source){
		.base.ops = &consul_source_ops,
		.loop = loop,
		.answer = answer,
		.context = context,
		.conf = conf,
	};
	code = consul_uri_parse(conf, &source->uri, err);
	if (code) {
		arena_free(&source->uri.arena);
		free(source);
		return code;
	}
	source->http = http_open(loop);
	source->names = names_open(loop, &names_events, source);
	*ret = &source->base;
	return 0;
}

/* The base is the first member. */
static struct consul_source *consul_source(struct source *source)
{
	return (struct consul_source *)source;
}

static void consul_watch(struct source *base, const char *name)
{
	struct consul_source *source = consul_source(base);
	struct service *service = xcalloc(1, sizeof(*service));

	service->source = source;
	service->name = xstrdup(name);
	service->query =
		consul_query_open(source->loop, source->http, &source->uri, source->conf, name, &query_events, service);
	HASH_ADD_KEYPTR(hh, source->services, service->name, strlen(service->name), service);
}

static void free_service(struct service *service)
{
	HASH_DEL(service->source->services, service);
	consul_query_close(service->query);
	consul_list_clear(&service->list);
	answered_clear(&service->answered);
	free(service->error);
	free(service->name);
	free(service);
}

static void consul_unwatch(struct source *base, const char *name)
{
	struct service *service;

	HASH_FIND_STR(consul_source(base)->services, name, service);
	if (service)
		free_service(service);
}

/* Connected: Consul answers for one at least. An error may be of one that our token does not reach. */
static void consul_status(const struct source *base, struct source_status *ret)
{
	const struct consul_source *source = (const struct consul_source *)base;

	for (const struct service *service = source->services; service; service = service->hh.next) {
		ret->connected = ret->connected || service->well;
		if (!ret->error)
			ret->error = service->error;
	}
	ret->revision = source->index;
	ret->alive = source->alive;
}

static void consul_close(struct source *base)
{
	struct consul_source *source = consul_source(base);
	struct service *service, *next;

	HASH_ITER (hh, source->services, service, next)
		free_service(service);
	http_close(source->http);
	names_close(source->names);
	arena_free(&source->uri.arena);
	free(source);
}

const struct source_ops consul_source_ops = {
	.scheme = "consul",
	.tls_scheme = "consuls",
	.check = consul_check,
	.open = consul_open,
	.watch = consul_watch,
	.unwatch = consul_unwatch,
	.status = consul_status,
	.close = consul_close,
};
