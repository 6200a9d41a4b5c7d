/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/dns/dns.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "discovery/answered.h"
#include "discovery/backoff.h"
#include "discovery/dns/client.h"
#include "discovery/dns/lookup.h"
#include "discovery/dns/names.h"
#include "discovery/dns/set.h"
#include "discovery/random.h"

#define REVISION_TEXT 64

struct dns_service {
	struct dns_source *source;
	char *name;
	struct dns_name asked;
	uv_timer_t timer;	   /* until it is asked for again */
	struct dns_lookup *lookup; /* NULL: between two */
	struct dns_set set;
	uint32_t failures, empties; /* in a row */
	char *error;		    /* of the last one, where that failed */
	struct answered answered;
	uint64_t reported; /* records.digest of the reports that were logged last */
	UT_hash_handle hh;
};

struct dns_source {
	struct source base; /* first */
	uv_loop_t *loop;
	source_answer_fn answer;
	void *context;
	const struct registry_conf *conf;
	char *servers; /* NULL: resolv.conf's */
	struct dns_client *client;
	struct dns_service *services;
	uint64_t alive; /* uv_hrtime() of the last answer of a server */
	char revision[REVISION_TEXT];
	uv_timer_t closing; /* never runs: its end is the source's, after the services' */
};

static uint64_t now_ms(void)
{
	return uv_hrtime() / 1000000 + 1;
}

/* Answers */

static void give(const struct dns_service *service, struct answer answer)
{
	const struct dns_source *source = service->source;

	answer.service = service->name;
	answer.revision = source->revision;
	answer.received = uv_hrtime();
	source->answer(source->context, &answer);
}

static void answer_error(struct dns_service *service, const char *text)
{
	if (answered_error(&service->answered, text))
		give(service, (struct answer){.text = service->answered.error});
}

static void answer_endpoints(struct dns_service *service, const struct endpoints *endpoints, uint32_t skipped)
{
	if (answered_endpoints(&service->answered, endpoints, skipped))
		give(service, (struct answer){.endpoints = endpoints, .skipped = skipped});
}

static void log_reports(struct dns_service *service, const struct records *records)
{
	if (service->reported == records->digest)
		return;
	service->reported = records->digest;
	for (uint32_t i = 0; i < records->skipped && i < RECORDS_REPORTS; i++)
		log_warning("service %s: %s; record skipped", service->name, records->reports[i]);
	if (records->skipped > RECORDS_REPORTS)
		log_warning("service %s: and %u more records skipped", service->name,
			    records->skipped - RECORDS_REPORTS);
}

/* What an answer means for a service. Each returns in how many milliseconds it is asked for again. */

/* The same sentence for each service: it is one line in the log. */
static uint64_t take_failure(struct dns_service *service, const char *text)
{
	char *sentence = xasprintf("registry %s: %s", service->source->conf->uri, text);

	service->empties = 0;
	service->failures++;
	free(service->error);
	service->error = sentence;
	if (answered_outage(&service->answered, sentence))
		give(service, (struct answer){.text = service->answered.error});
	return backoff_ms(service->failures, random_number());
}

static uint64_t take_none(struct dns_service *service)
{
	const struct endpoints *none;

	service->failures = 0;
	if (service->empties < DNS_EMPTY_ANSWERS)
		service->empties++;
	if (service->empties < DNS_EMPTY_ANSWERS)
		return DNS_EMPTY_MS;
	dns_set_clear(&service->set);
	snprintf(service->source->revision, REVISION_TEXT, "no records");
	none = endpoints_none();
	answer_endpoints(service, none, 0);
	endpoints_unref(none);
	return DNS_EMPTY_MS;
}

/* Later than the TTL and not earlier: a moment before it is over, a cache would answer with that moment's TTL. */
static uint64_t refresh_ms(uint32_t ttl)
{
	uint64_t wait = (uint64_t)ttl * 1000;

	if (wait < DNS_REFRESH_MIN_MS)
		wait = DNS_REFRESH_MIN_MS;
	if (wait > DNS_REFRESH_MAX_MS)
		wait = DNS_REFRESH_MAX_MS;
	return wait + random_number() % (wait / 10);
}

static uint64_t take_records(struct dns_service *service, struct dns_found *found)
{
	uint64_t wait = refresh_ms(found->ttl), due;

	service->failures = service->empties = 0;
	snprintf(service->source->revision, REVISION_TEXT, "%zu %s, TTL %" PRIu32, found->count,
		 service->asked.port ? "addresses" : "SRV addresses", found->ttl);
	dns_set_update(&service->set, found->records, found->count, now_ms(), &found->reports);
	log_reports(service, &found->reports);
	if (found->reports.error)
		answer_error(service, found->reports.error);
	else
		answer_endpoints(service, found->reports.endpoints, found->reports.skipped);
	due = dns_set_due(&service->set, now_ms());
	return due < wait ? due + 1 : wait;
}

static void ask(struct dns_service *service);

static void on_time(uv_timer_t *timer)
{
	ask(timer->data);
}

static void on_found(void *context, struct dns_found *found)
{
	struct dns_service *service = context;
	uint64_t wait = 0;

	service->lookup = NULL;
	if (found->outcome != DNS_FAILED)
		service->source->alive = uv_hrtime();
	switch (found->outcome) {
	case DNS_GOOD:
		wait = take_records(service, found);
		break;
	case DNS_NONE:
		wait = take_none(service);
		break;
	case DNS_FAILED:
		wait = take_failure(service, found->text);
		break;
	}
	records_clear(&found->reports);
	uv_timer_start(&service->timer, on_time, wait, 0);
}

static void ask(struct dns_service *service)
{
	service->lookup = dns_lookup_begin(service->source->client, &service->asked, &service->set, on_found, service);
}

/* The source. */

static int dns_check(const struct registry_conf *conf, struct error *err)
{
	char *servers = NULL;
	int code = dns_uri_parse(conf, &servers, err);

	free(servers);
	return code;
}

static int dns_open(uv_loop_t *loop, const struct registry_conf *conf, source_answer_fn answer, void *context,
		    struct source **ret, struct error *err)
{
	struct dns_source *source;
	char *servers = NULL;
	int code = dns_uri_parse(conf, &servers, err);

	if (code)
		return code;
	source = xcalloc(1, sizeof(*source));
	*source = (struct dns_source){
		.base.ops = &dns_source_ops,
		.loop = loop,
		.answer = answer,
		.context = context,
		.conf = conf,
		.servers = servers,
	};
	source->client = dns_client_open(loop, servers);
	uv_timer_init(loop, &source->closing);
	source->closing.data = source;
	*ret = &source->base;
	return 0;
}

/* The base is the first member. */
static struct dns_source *dns_source(struct source *source)
{
	return (struct dns_source *)source;
}

static void dns_watch(struct source *base, const char *name)
{
	struct dns_source *source = dns_source(base);
	struct dns_service *service = xcalloc(1, sizeof(*service));
	struct error err;

	service->source = source;
	service->name = xstrdup(name);
	uv_timer_init(source->loop, &service->timer);
	service->timer.data = service;
	HASH_ADD_KEYPTR(hh, source->services, service->name, strlen(service->name), service);
	if (dns_name_parse(name, &service->asked, &err) < 0)
		answer_error(service, err.text);
	else
		ask(service);
}

static void on_service_closed(uv_handle_t *handle)
{
	struct dns_service *service = handle->data;

	free(service->name);
	free(service);
}

static void drop(struct dns_source *source, struct dns_service *service)
{
	HASH_DEL(source->services, service);
	dns_lookup_cancel(service->lookup);
	dns_set_clear(&service->set);
	answered_clear(&service->answered);
	free(service->error);
	uv_close((uv_handle_t *)&service->timer, on_service_closed);
}

static void dns_unwatch(struct source *base, const char *name)
{
	struct dns_source *source = dns_source(base);
	struct dns_service *service;

	HASH_FIND_STR(source->services, name, service);
	if (service)
		drop(source, service);
}

static void dns_status(const struct source *base, struct source_status *ret)
{
	const struct dns_source *source = (const struct dns_source *)base;

	ret->connected = source->alive != 0;
	for (const struct dns_service *service = source->services; service; service = service->hh.next)
		if (service->failures) {
			ret->connected = false;
			ret->error = service->error;
		}
	ret->revision = source->revision;
	ret->alive = source->alive;
}

static void on_closed(uv_handle_t *handle)
{
	struct dns_source *source = handle->data;

	free(source->servers);
	free(source);
}

static void dns_close(struct source *base)
{
	struct dns_source *source = dns_source(base);
	struct dns_service *service, *next;

	HASH_ITER (hh, source->services, service, next)
		drop(source, service);
	dns_client_close(source->client);
	uv_close((uv_handle_t *)&source->closing, on_closed);
}

const struct source_ops dns_source_ops = {
	.scheme = "dns",
	.check = dns_check,
	.open = dns_open,
	.watch = dns_watch,
	.unwatch = dns_unwatch,
	.status = dns_status,
	.close = dns_close,
};
