/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/docker/docker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "discovery/answered.h"
#include "discovery/docker/engine.h"
#include "discovery/docker/services.h"
#include "discovery/docker/uri.h"

struct service {
	char *name;
	struct answered answered;
	uint64_t reported; /* digest of the reports that were logged last */
	UT_hash_handle hh;
};

struct docker_source {
	struct source base; /* first */
	source_answer_fn answer;
	void *context;
	const struct registry_conf *conf;
	struct docker_uri uri;
	struct docker_follower follower;
	struct service *services;
};

/* Answers */

static void give(const struct docker_source *source, const struct service *service, struct answer answer)
{
	answer.service = service->name;
	answer.revision = docker_revision(source->follower.engine);
	answer.received = docker_alive(source->follower.engine);
	source->answer(source->context, &answer);
}

static void answer_error(const struct docker_source *source, struct service *service, const char *reason)
{
	char *text = xasprintf("registry %s: %s", source->conf->uri, reason);

	if (answered_error(&service->answered, text))
		give(source, service, (struct answer){.text = service->answered.error});
	free(text);
}

static void log_reports(struct service *service, const struct records *records)
{
	if (service->reported == records->digest)
		return;
	service->reported = records->digest;
	for (uint32_t i = 0; i < records->skipped && i < RECORDS_REPORTS; i++)
		log_warning("service %s: Docker's %s; skipped", service->name, records->reports[i]);
	if (records->skipped > RECORDS_REPORTS)
		log_warning("service %s: and %u more containers skipped", service->name,
			    records->skipped - RECORDS_REPORTS);
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp((*(const struct docker_container *const *)a)->id,
		      (*(const struct docker_container *const *)b)->id);
}

/* So that of two with one address it is always the same that stays. */
static size_t list_containers(const struct docker_engine *engine, const struct docker_container ***ret)
{
	const struct docker_container *container = NULL;
	size_t count = 0, capacity = 0;

	*ret = NULL;
	while ((container = docker_next(engine, container))) {
		ARRAY_GROW(*ret, count, capacity);
		(*ret)[count++] = container;
	}
	if (count)
		qsort(*ret, count, sizeof(**ret), compare_ids);
	return count;
}

static void read_service(const struct docker_source *source, const struct service *service, struct records *ret)
{
	const struct docker_engine *engine = source->follower.engine;
	const struct docker_container **containers;
	size_t count = list_containers(engine, &containers);
	struct docker_view view;

	docker_view_begin(&view, service->name, source->uri.network, ret);
	for (size_t i = 0; i < count; i++) {
		const char *shares = containers[i]->shares;

		docker_view_add(&view, containers[i], shares ? docker_find(engine, shares) : NULL);
	}
	docker_view_end(&view);
	free(containers);
}

static void answer_service(const struct docker_source *source, struct service *service)
{
	const struct docker_engine *engine = source->follower.engine;
	struct records records;

	if (docker_error(engine))
		answer_error(source, service, docker_error(engine));
	if (docker_error(engine) || !docker_is_known(engine))
		return;
	read_service(source, service, &records);
	log_reports(service, &records);
	if (records.error)
		answer_error(source, service, records.error);
	else if (answered_endpoints(&service->answered, records.endpoints, records.skipped))
		give(source, service, (struct answer){.endpoints = records.endpoints, .skipped = records.skipped});
	records_clear(&records);
}

static void on_changed(struct docker_follower *follower)
{
	struct docker_source *source =
		(struct docker_source *)(void *)((char *)follower - offsetof(struct docker_source, follower));

	for (struct service *service = source->services; service; service = service->hh.next)
		answer_service(source, service);
}

/* The source. */

static int docker_check(const struct registry_conf *conf, struct error *err)
{
	struct docker_uri uri;
	int code = docker_uri_parse(conf->uri, &uri, err);

	arena_free(&uri.arena);
	if (!code && (conf->ca || conf->cert || conf->key || conf->username || conf->password_file || conf->token_file))
		return fail(err, -EINVAL, "registry \"%s\": Docker's socket takes neither certificates nor passwords",
			    conf->uri);
	return code;
}

static int docker_open(uv_loop_t *loop, const struct registry_conf *conf, source_answer_fn answer, void *context,
		       struct source **ret, struct error *err)
{
	struct docker_source *source = xcalloc(1, sizeof(*source));
	int code;

	*source = (struct docker_source){
		.base.ops = &docker_source_ops,
		.answer = answer,
		.context = context,
		.conf = conf,
		.follower.changed = on_changed,
	};
	code = docker_uri_parse(conf->uri, &source->uri, err);
	if (!code)
		code = docker_follow(loop, conf->uri, &source->follower, err);
	if (code) {
		arena_free(&source->uri.arena);
		free(source);
		return code;
	}
	*ret = &source->base;
	return 0;
}

/* The base is the first member. */
static struct docker_source *docker_source(struct source *source)
{
	return (struct docker_source *)source;
}

static void docker_watch(struct source *base, const char *name)
{
	struct docker_source *source = docker_source(base);
	struct service *service = xcalloc(1, sizeof(*service));

	service->name = xstrdup(name);
	HASH_ADD_KEYPTR(hh, source->services, service->name, strlen(service->name), service);
	answer_service(source, service);
}

static void free_service(struct docker_source *source, struct service *service)
{
	HASH_DEL(source->services, service);
	answered_clear(&service->answered);
	free(service->name);
	free(service);
}

static void docker_unwatch(struct source *base, const char *name)
{
	struct docker_source *source = docker_source(base);
	struct service *service;

	HASH_FIND_STR(source->services, name, service);
	if (service)
		free_service(source, service);
}

static void docker_status(const struct source *base, struct source_status *ret)
{
	const struct docker_engine *engine = ((const struct docker_source *)base)->follower.engine;

	ret->connected = docker_is_known(engine);
	ret->error = docker_error(engine);
	ret->revision = docker_revision(engine);
	ret->alive = docker_alive(engine);
}

static void docker_close(struct source *base)
{
	struct docker_source *source = docker_source(base);
	struct service *service, *next;

	HASH_ITER (hh, source->services, service, next)
		free_service(source, service);
	docker_unfollow(&source->follower);
	arena_free(&source->uri.arena);
	free(source);
}

const struct source_ops docker_source_ops = {
	.scheme = "docker",
	.check = docker_check,
	.open = docker_open,
	.watch = docker_watch,
	.unwatch = docker_unwatch,
	.status = docker_status,
	.close = docker_close,
};
