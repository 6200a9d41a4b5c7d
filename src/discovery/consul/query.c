/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/consul/query.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/addr.h"
#include "base/hash.h"
#include "discovery/backoff.h"
#include "discovery/consul/ask.h"
#include "discovery/random.h"

struct consul_query {
	uv_timer_t timer; /* when the next question is due */
	struct http *http;
	const struct consul_uri *uri;
	const struct registry_conf *conf;
	char *service;
	const struct consul_query_events *events;
	void *context;
	struct http_request *request;

	uint64_t index; /* to ask with; 0 = at once */
	bool known;	/* there was a good answer, and no failure since */
	uint64_t digest;
	bool filtered; /* of the last answer */
	uint32_t failures;
	bool unreached; /* the last one failed because the agent could not be reached, and waits */
	struct consul_pace pace;
};

static void on_time(uv_timer_t *timer);

static void ask_later(struct consul_query *query, uint64_t wait_ms)
{
	uv_update_time(query->timer.loop);
	uv_timer_start(&query->timer, on_time, wait_ms, 0);
}

static void fail_query(struct consul_query *query, const char *reason)
{
	query->index = 0;
	query->known = false;
	query->failures++;
	ask_later(query, backoff_ms(query->failures, random_number()));
	query->events->failed(query->context, query->failures, reason);
}

/* Answers */

static bool header_is(const struct http_answer *answer, const char *name, const char *value)
{
	const char *text = http_answer_header(answer, name);

	return text && strcasecmp(text, value) == 0;
}

static bool header_number(const struct http_answer *answer, const char *name, uint64_t *ret)
{
	const char *text = http_answer_header(answer, name);

	return text && number_parse(text, 0, UINT64_MAX, ret) == 0;
}

static void tell(struct consul_query *query, const struct consul_result *result)
{
	uint64_t now;

	query->failures = 0;
	query->unreached = false;
	query->known = true;
	query->filtered = result->filtered;
	query->index = consul_next_index(query->index, result->index);
	uv_update_time(query->timer.loop);
	now = uv_now(query->timer.loop);
	ask_later(query, consul_pace(&query->pace, now));
	query->events->answered(query->context, result);
}

/* Most answers say that nothing has happened: those are not parsed. */
static void take_body(struct consul_query *query, const struct http_answer *answer, struct consul_result result)
{
	uint64_t digest = hash_bytes(answer->body, answer->length);
	struct consul_list list = {0};
	struct error err;

	result.afresh = !query->known || result.index < query->index;
	if (query->known && digest == query->digest && result.filtered == query->filtered) {
		tell(query, &result);
		return;
	}
	result.list = &list;
	if (consul_list_parse(answer->body, answer->length, &list, &err) < 0) {
		fail_query(query, err.text);
	} else if (result.filtered && !list.count) {
		fail_query(query,
			   "its ACLs hide instances from us, and there is no other: our token lacks a permission, "
			   "service:read or node:read");
	} else {
		query->digest = digest;
		tell(query, &result);
	}
	consul_list_clear(&list);
}

static void take_answer(struct consul_query *query, const struct http_answer *answer)
{
	struct consul_result result = {
		.filtered = header_is(answer, "X-Consul-Results-Filtered-By-ACLs", "true"),
	};

	header_number(answer, "X-Consul-LastContact", &result.age_ms);
	if (!header_number(answer, "X-Consul-Index", &result.index))
		fail_query(query, "its answer has no X-Consul-Index, so it is not Consul's");
	else if (!query->uri->stale && header_is(answer, "X-Consul-KnownLeader", "false"))
		fail_query(query, "its cluster has no leader");
	else
		take_body(query, answer, result);
}

static void take_refusal(struct consul_query *query, const struct http_answer *answer)
{
	char *refusal = consul_refusal(answer);

	fail_query(query, refusal);
	free(refusal);
}

static void on_done(void *context, const struct http_answer *answer)
{
	struct consul_query *query = context;

	query->request = NULL;
	query->unreached = answer->code != 0;
	if (answer->code)
		fail_query(query, answer->error);
	else if (answer->status != 200)
		take_refusal(query, answer);
	else
		take_answer(query, answer);
}

/* Questions */

static void on_time(uv_timer_t *timer)
{
	static const struct http_events events = {.done = on_done};
	struct consul_query *query = timer->data;
	uint64_t wait_ms = query->index ? consul_wait_max_ms(query->uri->wait_s) : 0;
	char *url = consul_uri_question(query->uri, query->service, query->index);
	const struct consul_ask ask = {
		.url = url,
		.timeout_ms = (uint32_t)wait_ms + CONSUL_ANSWER_MS,
		/* One that is lost with its connection begins anew, by us: the same index could wait in vain. */
		.fresh = true,
	};
	struct error err;

	query->unreached = false;
	query->request = consul_ask(query->http, query->conf, &ask, &events, query, &err);
	if (!query->request)
		fail_query(query, err.text);
	free(url);
}

struct consul_query *consul_query_open(uv_loop_t *loop, struct http *http, const struct consul_uri *uri,
				       const struct registry_conf *conf, const char *service,
				       const struct consul_query_events *events, void *context)
{
	struct consul_query *query = xcalloc(1, sizeof(*query));

	*query = (struct consul_query){
		.http = http,
		.uri = uri,
		.conf = conf,
		.service = xstrdup(service),
		.events = events,
		.context = context,
	};
	uv_timer_init(loop, &query->timer);
	query->timer.data = query;
	ask_later(query, 0);
	return query;
}

/* Not all in one moment. */
void consul_query_hurry(struct consul_query *query)
{
	if (query->unreached)
		ask_later(query, random_number() % BACKOFF_FIRST_MS);
	query->unreached = false;
}

static void on_closed(uv_handle_t *handle)
{
	struct consul_query *query = handle->data;

	free(query->service);
	free(query);
}

void consul_query_close(struct consul_query *query)
{
	if (!query)
		return;
	http_cancel(query->request);
	uv_close((uv_handle_t *)&query->timer, on_closed);
}
