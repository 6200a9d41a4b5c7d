/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/etcd/etcd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "discovery/backoff.h"
#include "discovery/etcd/keys.h"
#include "discovery/etcd/session.h"
#include "discovery/etcd/uri.h"
#include "discovery/names.h"
#include "discovery/random.h"

#define REVISION_TEXT 24

/* A watch that is lost is begun again at once and without a word; but not more often than that, milliseconds. */
#define FREE_RETRY_MS 5000

struct etcd_source {
	struct source base; /* first */
	uv_loop_t *loop;
	source_answer_fn answer;
	void *context;
	const struct registry_conf *conf;
	struct etcd_uri uri;
	struct http *http;
	struct etcd_keys *keys;
	struct names *names;

	struct etcd_session *session;	/* NULL: between two, or nothing is watched */
	bool watching;			/* it is past its first read and watches */
	uv_timer_t timer;		/* when the next session begins, or services have come */
	size_t member;			/* whose turn it is */
	char *faults[ETCD_MEMBERS_MAX]; /* of each, since it served last */
	uint32_t failures;		/* in a row; after one of each member it is an error */
	char *error;			/* what is wrong with all of them; NULL while all is well */
	uint64_t free_retry;		/* uv_hrtime() of the last one; 0: never */

	uint64_t alive; /* uv_hrtime() of the last thing that etcd said */
	int64_t revision;
	char revision_text[REVISION_TEXT];
};

/* Answers */

static void give(const struct etcd_source *source, const struct etcd_service *service, struct answer answer)
{
	answer.service = service->name;
	answer.revision = source->revision_text;
	answer.afresh = !source->watching;
	answer.received = source->alive ? source->alive : uv_hrtime();
	source->answer(source->context, &answer);
}

static void answer_error(const struct etcd_source *source, struct etcd_service *service, const char *text)
{
	if (answered_error(&service->answered, text))
		give(source, service, (struct answer){.text = service->answered.error});
}

static void answer_outage(const struct etcd_source *source, struct etcd_service *service)
{
	if (answered_outage(&service->answered, source->error))
		give(source, service, (struct answer){.text = service->answered.error});
}

static void log_reports(const struct etcd_view *view)
{
	for (uint32_t i = 0; i < view->n_reports && i < ETCD_REPORTS; i++)
		log_warning("%s; key skipped", view->reports[i]);
	if (view->n_reports > ETCD_REPORTS)
		log_warning("service %s: and %u more keys skipped", view->service->name,
			    view->n_reports - ETCD_REPORTS);
}

static void answer_view(const struct etcd_source *source, const struct etcd_view *view)
{
	struct etcd_service *service = view->service;

	log_reports(view);
	if (view->error)
		answer_error(source, service, view->error);
	else if (view->endpoints && answered_endpoints(&service->answered, view->endpoints, view->skipped))
		give(source, service, (struct answer){.endpoints = view->endpoints, .skipped = view->skipped});
}

static int resolve(void *context, const char *host, struct ip_addr *ret, struct error *err)
{
	struct etcd_source *source = context;

	return names_find(source->names, host, ret, err);
}

static void answer_changes(struct etcd_source *source)
{
	struct etcd_view view;

	while (etcd_keys_take_changed(source->keys, resolve, source, &view)) {
		answer_view(source, &view);
		etcd_view_clear(&view);
	}
}

static void on_name_changed(void *context, const char *host)
{
	struct etcd_source *source = context;

	etcd_keys_host_changed(source->keys, host);
	/* Else what is known may be old: it is told with the next read. */
	if (source->watching)
		answer_changes(source);
}

static void keep_name(void *context, const char *host)
{
	struct etcd_source *source = context;

	names_keep(source->names, host);
}

static void on_keep_names(void *context)
{
	struct etcd_source *source = context;

	etcd_keys_hosts(source->keys, keep_name, source);
}

static const struct names_events names_events = {.changed = on_name_changed, .keep = on_keep_names};

/* All members, each with what is wrong with it; to be freed. */
static char *failure_text(const struct etcd_source *source)
{
	char *text = xasprintf("registry %s:", source->conf->uri);

	for (size_t i = 0; i < source->uri.n_members; i++) {
		char *longer = xasprintf("%s%s %s: %s", text, i ? ";" : "", etcd_member_name(&source->uri, i),
					 source->faults[i] ? source->faults[i] : "not asked");

		free(text);
		text = longer;
	}
	return text;
}

/* The members fall one by one: the first sentence is the services', the status has the latest. */
static void note_failure(struct etcd_source *source)
{
	bool first = !source->error;
	char *text = failure_text(source);

	if (text_replace(&source->error, text) && !first)
		log_debug("%s", source->error);
	free(text);
	for (struct etcd_service *service = NULL; (service = etcd_keys_next(source->keys, service));)
		answer_outage(source, service);
}

/* The session's events */

static void on_read_begins(void *context, bool afresh)
{
	struct etcd_source *source = context;

	etcd_keys_begin_read(source->keys, afresh);
}

static void on_page(void *context, const struct etcd_message *page)
{
	struct etcd_source *source = context;

	for (size_t i = 0; i < page->count; i++)
		etcd_keys_put_read(source->keys, &page->kvs[i]);
}

static void set_revision(struct etcd_source *source, int64_t revision)
{
	source->revision = revision;
	snprintf(source->revision_text, sizeof(source->revision_text), "%" PRId64, revision);
}

static size_t on_read_ends(void *context, const struct etcd_header *header)
{
	struct etcd_source *source = context;

	if (!source->watching)
		set_revision(source, header->revision); /* of other data, it may be less than before */
	return etcd_keys_end_read(source->keys, header->revision);
}

static void on_watching(void *context)
{
	struct etcd_source *source = context;

	source->watching = true;
	text_replace(&source->faults[source->member], NULL);
	log_info("registry %s: watching at %s, from revision %s", source->conf->uri,
		 etcd_member_name(&source->uri, source->member), source->revision_text);
	answer_changes(source); /* names that were resolved since the read */
}

static void on_changes(void *context, const struct etcd_message *message)
{
	struct etcd_source *source = context;

	for (size_t i = 0; i < message->count; i++)
		etcd_keys_apply(source->keys, &message->kvs[i]);
}

static void on_told(void *context)
{
	struct etcd_source *source = context;

	text_replace(&source->error, NULL);
	answer_changes(source);
}

static void on_alive(void *context, const struct etcd_header *header, uint64_t received)
{
	struct etcd_source *source = context;

	source->alive = received;
	if (header->revision > source->revision)
		set_revision(source, header->revision);
}

static void begin_later(struct etcd_source *source, uint32_t wait_ms);

static void close_session(struct etcd_source *source)
{
	etcd_session_close(source->session);
	source->session = NULL;
	source->watching = false;
}

/* Is it one that had served, and was not just lost already? */
static bool is_retry_free(struct etcd_source *source)
{
	uint64_t now = uv_hrtime();

	if (!source->watching || (source->free_retry && now - source->free_retry < FREE_RETRY_MS * UINT64_C(1000000)))
		return false;
	source->free_retry = now;
	return true;
}

/*
 * One that had served and is lost costs nothing but a new start; so does a member that fails while others are left.
 * When all have failed in turn, that is an error, and the next turn waits.
 */
static void on_ended(void *context, const char *reason)
{
	struct etcd_source *source = context;
	uint32_t members = (uint32_t)source->uri.n_members, wait_ms = 0;
	bool free_retry = is_retry_free(source);

	close_session(source);
	text_replace(&source->faults[source->member], reason);
	/* Where there is no other member, it is an outage, which is told of by the service. */
	log_write(free_retry && members > 1 ? LOG_LEVEL_NOTICE : LOG_LEVEL_DEBUG, "registry %s: %s: %s",
		  source->conf->uri, etcd_member_name(&source->uri, source->member), reason);
	source->member = (source->member + 1) % members;
	if (free_retry)
		source->failures = 0;
	else if (++source->failures % members == 0)
		wait_ms = backoff_ms(source->failures / members, random_number());
	if (wait_ms)
		note_failure(source);
	begin_later(source, wait_ms);
}

static const struct etcd_session_events session_events = {
	.read_begins = on_read_begins,
	.page = on_page,
	.read_ends = on_read_ends,
	.watching = on_watching,
	.changes = on_changes,
	.told = on_told,
	.alive = on_alive,
	.ended = on_ended,
};

/* Sessions */

static void open_session(struct etcd_source *source, const char *prefix)
{
	source->session = etcd_session_open(source->loop, source->http, source->uri.members[source->member],
					    source->conf, prefix, &session_events, source);
}

/* Something is due: a session, or services that came since one began. */
static void on_time(uv_timer_t *timer)
{
	struct etcd_source *source = timer->data;
	char *prefix = etcd_keys_prefix(source->keys);
	bool wider;

	if (!prefix) {
		close_session(source);
		return;
	}
	/* A narrower range is not worth a new start. */
	wider = source->session && strncmp(prefix, etcd_session_prefix(source->session),
					   strlen(etcd_session_prefix(source->session))) != 0;
	if (wider)
		close_session(source);
	if (source->session)
		etcd_session_reread(source->session);
	else
		open_session(source, prefix);
	free(prefix);
}

static void begin_later(struct etcd_source *source, uint32_t wait_ms)
{
	uv_update_time(source->loop);
	uv_timer_start(&source->timer, on_time, wait_ms, 0);
}

/* The source. */

static int etcd_check(const struct registry_conf *conf, struct error *err)
{
	struct etcd_uri uri;
	int code = etcd_uri_parse(conf, &uri, err);

	arena_free(&uri.arena);
	return code;
}

static int etcd_open(uv_loop_t *loop, const struct registry_conf *conf, source_answer_fn answer, void *context,
		     struct source **ret, struct error *err)
{
	struct etcd_source *source = xcalloc(1, sizeof(*source));
	int code;

	*source = (struct etcd_source){
		.base.ops = &etcd_source_ops,
		.loop = loop,
		.answer = answer,
		.context = context,
		.conf = conf,
	};
	code = etcd_uri_parse(conf, &source->uri, err);
	if (code) {
		arena_free(&source->uri.arena);
		free(source);
		return code;
	}
	source->http = http_open(loop);
	source->keys = etcd_keys_new(source->uri.prefix);
	source->names = names_open(loop, &names_events, source);
	/* Not everybody at the first one. */
	source->member = random_number() % source->uri.n_members;
	uv_timer_init(loop, &source->timer);
	source->timer.data = source;
	*ret = &source->base;
	return 0;
}

/* The base is the first member. */
static struct etcd_source *etcd_source(struct source *source)
{
	return (struct etcd_source *)source;
}

static void etcd_watch(struct source *base, const char *name)
{
	struct etcd_source *source = etcd_source(base);
	struct etcd_service *service = etcd_keys_watch(source->keys, name);

	if (source->error)
		answer_outage(source, service);
	/* Many services come in one turn of the loop; and while a failure is waited out they are with the next try. */
	if (!uv_is_active((uv_handle_t *)&source->timer))
		begin_later(source, 0);
}

static void etcd_unwatch(struct source *base, const char *name)
{
	etcd_keys_unwatch(etcd_source(base)->keys, name);
}

static void etcd_status(const struct source *base, struct source_status *ret)
{
	const struct etcd_source *source = (const struct etcd_source *)base;

	ret->connected = source->watching;
	ret->error = source->error;
	ret->revision = source->revision_text;
	ret->alive = source->alive;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct etcd_source *source = handle->data;

	for (size_t i = 0; i < ETCD_MEMBERS_MAX; i++)
		free(source->faults[i]);
	free(source->error);
	arena_free(&source->uri.arena);
	free(source);
}

static void etcd_close(struct source *base)
{
	struct etcd_source *source = etcd_source(base);

	close_session(source);
	http_close(source->http);
	names_close(source->names);
	etcd_keys_free(source->keys);
	uv_close((uv_handle_t *)&source->timer, on_timer_closed);
}

const struct source_ops etcd_source_ops = {
	.scheme = "etcd",
	.tls_scheme = "etcds",
	.check = etcd_check,
	.open = etcd_open,
	.watch = etcd_watch,
	.unwatch = etcd_unwatch,
	.status = etcd_status,
	.close = etcd_close,
};
