/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/docker/engine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "discovery/backoff.h"
#include "discovery/docker/uri.h"
#include "discovery/http.h"
#include "discovery/random.h"

#define CONNECT_MS 3000

/* So many containers are asked for at a time. */
#define QUESTIONS_MAX 8

/* Events from a moment before the list are told again: the engine may answer the list first. */
#define OVERLAP_S 2

/* A container that could not be described is asked for again with the list, after this time. */
#define AGAIN_MS 5000

#define REVISION_TEXT 32

/* A container that is asked for, or known. */
struct entry {
	struct docker_engine *engine;
	char id[DOCKER_ID_SIZE];
	struct docker_container *container; /* NULL: not yet answered */
	bool shared;			    /* another's network is its own: wanted without a label */
	bool listed;			    /* mark of take_list() */
	bool due;			    /* to be asked for */
	struct http_request *question;
	UT_hash_handle hh;
};

struct docker_engine {
	uv_loop_t *loop;
	struct docker_uri uri;
	struct docker_follower *followers;
	struct http *http;
	uv_timer_t retry;  /* until the next conversation begins */
	uv_timer_t relist; /* until the next list */
	uv_timer_t news;   /* fires at once: one message to the followers for all that one turn brings */
	unsigned int open_handles;
	struct http_request *ping, *events, *list;
	char version[DOCKER_VERSION_TEXT];
	struct entry *entries;
	unsigned int due, questions; /* entries to be asked for, and those that are */
	bool lists;		     /* the list of this conversation is there */
	bool known;
	uint32_t failures;
	char *error;
	uint64_t alive;
	char revision[REVISION_TEXT];
	struct docker_engine *prev, *next;
};

/* Those of the process, so that followers find each other. */
static struct docker_engine *engines;

static void begin(struct docker_engine *engine);
static void ask_for_list(struct docker_engine *engine);

/* News */

/* What one of them does may begin and end others. */
static void on_news(uv_timer_t *timer)
{
	const struct docker_engine *engine = timer->data;
	struct docker_follower *follower;

	DL_FOREACH(engine->followers, follower)
	follower->due = true;
	do {
		DL_SEARCH_SCALAR(engine->followers, follower, due, true);
		if (!follower)
			break;
		follower->due = false;
		follower->changed(follower);
	} while (follower);
}

static void tell(struct docker_engine *engine)
{
	if (!uv_is_active((uv_handle_t *)&engine->news))
		uv_timer_start(&engine->news, on_news, 0, 0);
}

/* Nothing is told of a conversation before it has been through all: a container that was not asked for yet is not gone.
 */
static void tell_what_is_known(struct docker_engine *engine)
{
	if (!engine->lists || (!engine->known && (engine->due || engine->questions)))
		return;
	engine->known = true;
	tell(engine);
}

static void note_life(struct docker_engine *engine)
{
	engine->alive = uv_hrtime();
}

/* Entries */

static struct entry *find_entry(const struct docker_engine *engine, const char *id)
{
	struct entry *entry;

	HASH_FIND_STR(engine->entries, id, entry);
	return entry;
}

static struct entry *get_entry(struct docker_engine *engine, const char *id)
{
	struct entry *entry = find_entry(engine, id);

	if (entry)
		return entry;
	entry = xcalloc(1, sizeof(*entry));
	entry->engine = engine;
	snprintf(entry->id, sizeof(entry->id), "%s", id);
	HASH_ADD_STR(engine->entries, id, entry);
	return entry;
}

static void set_due(struct entry *entry, bool due)
{
	if (entry->due != due)
		entry->engine->due += due ? 1U : -1U;
	entry->due = due;
}

static void end_question(struct entry *entry)
{
	if (entry->question)
		entry->engine->questions--;
	entry->question = NULL;
}

static void free_entry(struct entry *entry)
{
	set_due(entry, false);
	http_cancel(entry->question);
	end_question(entry);
	HASH_DEL(entry->engine->entries, entry); // NOLINT(clang-analyzer-core.NullDereference): it is in the hash
	docker_container_free(entry->container);
	free(entry);
}

/* The end of a conversation, for whatever reason */

static void cancel(struct http_request **request)
{
	http_cancel(*request);
	*request = NULL;
}

static void hang_up(struct docker_engine *engine)
{
	struct entry *entry, *next;

	cancel(&engine->ping);
	cancel(&engine->events);
	cancel(&engine->list);
	uv_timer_stop(&engine->relist);
	HASH_ITER (hh, engine->entries, entry, next) {
		http_cancel(entry->question);
		end_question(entry);
		set_due(entry, false);
		if (!entry->container)
			free_entry(entry);
	}
	engine->lists = engine->known = false;
}

static void on_retry(uv_timer_t *timer)
{
	begin(timer->data);
}

/* One that went well so far is begun again before anything is said: engines are restarted. */
static void fail_conversation(struct docker_engine *engine, const char *reason)
{
	bool was_known = engine->known;

	log_debug("Docker at %s: %s", engine->uri.socket ? engine->uri.socket : engine->uri.base, reason);
	hang_up(engine);
	engine->failures++;
	if (!was_known || engine->error || engine->failures > 1)
		text_replace(&engine->error, reason);
	uv_update_time(engine->loop);
	uv_timer_start(&engine->retry, on_retry, backoff_ms(engine->failures, random_number()), 0);
	if (engine->error)
		tell(engine);
}

static void fail_answer(struct docker_engine *engine, const struct http_answer *answer)
{
	struct arena arena = {0};
	const char *text = answer->code ? answer->error : docker_error_text(answer->body, answer->length, &arena);

	if (!answer->code)
		text = arena_printf(&arena, "%s%sHTTP %ld", text, *text ? ", " : "", answer->status);
	fail_conversation(engine, text);
	arena_free(&arena);
}

static bool is_good(const struct http_answer *answer)
{
	return !answer->code && answer->status == 200;
}

/* Questions */

static struct http_request *ask(struct docker_engine *engine, const char *path, uint32_t timeout_ms, size_t max,
				const struct http_events *events, void *context)
{
	char *url = xasprintf("%s%s%s%s", engine->uri.base, *engine->version ? "/v" : "", engine->version, path);
	const struct http_conf conf = {
		.url = url,
		.socket = engine->uri.socket,
		.connect_timeout_ms = CONNECT_MS,
		.timeout_ms = timeout_ms,
		.fresh = !timeout_ms, /* the stream takes no kept connection away */
		.unread_max = max,
	};
	struct http_request *request = http_start(engine->http, &conf, events, context);

	free(url);
	return request;
}

/* Containers */

static void ask_for_containers(struct docker_engine *engine);

static void want_owner(struct docker_engine *engine, const char *id)
{
	struct entry *entry = get_entry(engine, id);

	entry->shared = true;
	if (!entry->container && !entry->question)
		set_due(entry, true);
}

static void take_container(struct entry *entry, struct docker_container *container)
{
	struct docker_engine *engine = entry->engine;

	docker_container_free(entry->container);
	entry->container = container;
	if (container->running && container->n_labels && container->shares)
		want_owner(engine, container->shares);
	if (!container->running || (!container->n_labels && !entry->shared))
		free_entry(entry);
}

/* NULL with a sentence. */
static struct docker_container *read_container(const struct entry *entry, const struct http_answer *answer,
					       struct error *err)
{
	struct docker_container *container = NULL;

	if (answer->code)
		fail(err, answer->code, "%s", answer->error);
	else if (answer->status != 200)
		fail(err, -EIO, "HTTP %ld", answer->status);
	else
		docker_container_parse(answer->body, answer->length, &container, err);
	if (!container || strcmp(container->id, entry->id) == 0)
		return container;
	docker_container_free(container);
	fail(err, -EINVAL, "its answer is about another one");
	return NULL;
}

static void on_relist(uv_timer_t *timer)
{
	struct docker_engine *engine = timer->data;

	engine->failures = 0; /* it has lasted */
	ask_for_list(engine);
}

static void take_answer(struct entry *entry, const struct http_answer *answer)
{
	struct docker_engine *engine = entry->engine;
	struct docker_container *container;
	struct error err;

	if (answer->status == 404) {
		free_entry(entry);
		return;
	}
	container = read_container(entry, answer, &err);
	if (container) {
		take_container(entry, container);
	} else {
		log_debug("Docker: container %s: %s", entry->id, err.text);
		uv_timer_start(&engine->relist, on_relist, AGAIN_MS, 0);
		if (!entry->container)
			free_entry(entry);
	}
}

static void on_container(void *context, const struct http_answer *answer)
{
	struct entry *entry = context;
	struct docker_engine *engine = entry->engine;

	end_question(entry);
	if (answer->code && answer->code != -EMSGSIZE) {
		fail_answer(engine, answer);
		return;
	}
	note_life(engine);
	if (!entry->due) /* else something has happened to it since */
		take_answer(entry, answer);
	ask_for_containers(engine);
	tell_what_is_known(engine);
}

static void ask_for_container(struct entry *entry)
{
	static const struct http_events events = {.done = on_container};
	struct docker_engine *engine = entry->engine;
	char path[DOCKER_ID_SIZE + 32];

	set_due(entry, false);
	snprintf(path, sizeof(path), "/containers/%s/json", entry->id);
	entry->question = ask(engine, path, DOCKER_ANSWER_MS, DOCKER_CONTAINER_MAX, &events, entry);
	engine->questions++;
}

static void ask_for_containers(struct docker_engine *engine)
{
	struct entry *entry, *next;

	if (!engine->due)
		return;
	HASH_ITER (hh, engine->entries, entry, next) {
		if (engine->questions >= QUESTIONS_MAX)
			break;
		if (entry->due && !entry->question)
			ask_for_container(entry);
	}
}

/* The list */

/* Podman's list does not say who shares another's network; what it said of the container itself does. */
static void mark_shared(struct docker_engine *engine, const struct docker_list *list)
{
	struct entry *entry, *owner;

	for (entry = engine->entries; entry; entry = entry->hh.next)
		entry->listed = entry->shared = false;
	for (entry = engine->entries; entry; entry = entry->hh.next) {
		const struct docker_container *container = entry->container;

		owner = container && container->n_labels && container->shares ? find_entry(engine, container->shares)
									      : NULL;
		if (owner)
			owner->shared = true;
	}
	for (size_t i = 0; i < list->count; i++) {
		const struct docker_listed *item = &list->items[i];

		if (item->counts && item->shares)
			get_entry(engine, item->shares)->shared = true;
	}
}

static void take_list(struct docker_engine *engine, const struct docker_list *list)
{
	struct entry *entry, *next;

	mark_shared(engine, list);
	for (size_t i = 0; i < list->count; i++) {
		const struct docker_listed *item = &list->items[i];

		entry = item->counts ? get_entry(engine, item->id) : find_entry(engine, item->id);
		if (entry && (item->counts || entry->shared))
			entry->listed = true;
	}
	/* What is not in the list may have begun since: one that an event told of is asked for all the same. */
	HASH_ITER (hh, engine->entries, entry, next) {
		if (entry->listed)
			set_due(entry, true);
		else if (!entry->due && !entry->question)
			free_entry(entry);
	}
}

static void on_list(void *context, const struct http_answer *answer)
{
	struct docker_engine *engine = context;
	struct docker_list list;
	struct error err;

	engine->list = NULL;
	if (!is_good(answer)) {
		fail_answer(engine, answer);
		return;
	}
	if (docker_list_parse(answer->body, answer->length, &list, &err) < 0) {
		fail_conversation(engine, err.text);
	} else {
		note_life(engine);
		engine->lists = true;
		text_replace(&engine->error, NULL);
		uv_timer_start(&engine->relist, on_relist, DOCKER_RELIST_MS, 0);
		take_list(engine, &list);
		ask_for_containers(engine);
		tell_what_is_known(engine);
	}
	docker_list_clear(&list);
}

static void ask_for_list(struct docker_engine *engine)
{
	static const struct http_events events = {.done = on_list};

	if (!engine->list)
		engine->list = ask(engine, "/containers/json", DOCKER_ANSWER_MS, DOCKER_LIST_MAX, &events, engine);
}

/* Events */

static void take_event(struct docker_engine *engine, const struct docker_event *event)
{
	if (event->nanoseconds)
		snprintf(engine->revision, sizeof(engine->revision), "%" PRIu64 ".%06" PRIu64,
			 event->nanoseconds / UINT64_C(1000000000), event->nanoseconds % UINT64_C(1000000000) / 1000);
	if (event->counts)
		set_due(get_entry(engine, event->container), true);
}

static size_t on_event_bytes(void *context, const char *bytes, size_t length)
{
	struct docker_engine *engine = context;
	struct docker_event event;
	struct error err;
	size_t taken = 0;
	const char *end;

	note_life(engine);
	while ((end = memchr(bytes + taken, '\n', length - taken))) {
		size_t size = (size_t)(end - bytes) - taken;

		/* Podman says an empty line at the start. */
		if (size && docker_event_parse(bytes + taken, size, &event, &err) < 0) {
			fail_conversation(engine, err.text);
			return length;
		}
		if (size)
			take_event(engine, &event);
		taken += size + 1;
	}
	ask_for_containers(engine);
	return taken;
}

static void on_events_end(void *context, const struct http_answer *answer)
{
	struct docker_engine *engine = context;

	engine->events = NULL;
	if (is_good(answer))
		fail_conversation(engine, "it ended its events");
	else
		fail_answer(engine, answer);
}

/* Filtered by type only: with health_status among the events, Docker takes all filters for beginnings. */
static void ask_for_events(struct docker_engine *engine)
{
	static const struct http_events events = {.data = on_event_bytes, .done = on_events_end};
	char path[200];

	snprintf(path, sizeof(path),
		 "/events?since=%" PRId64
		 "&filters=%%7B%%22type%%22%%3A%%5B%%22container%%22%%2C%%22network%%22%%5D%%7D",
		 (int64_t)time(NULL) - OVERLAP_S);
	engine->events = ask(engine, path, 0, DOCKER_EVENT_MAX, &events, engine);
}

/* The beginning */

static void on_ping(void *context, const struct http_answer *answer)
{
	struct docker_engine *engine = context;

	engine->ping = NULL;
	if (!is_good(answer)) {
		fail_answer(engine, answer);
		return;
	}
	if (!docker_version(http_answer_header(answer, "Api-Version"), engine->version)) {
		fail_conversation(engine, "its answer has no Api-Version, so it is no Docker engine's");
		return;
	}
	note_life(engine);
	ask_for_events(engine);
	ask_for_list(engine);
}

static void begin(struct docker_engine *engine)
{
	static const struct http_events events = {.done = on_ping};

	engine->version[0] = '\0';
	engine->ping = ask(engine, "/_ping", DOCKER_ANSWER_MS, DOCKER_EVENT_MAX, &events, engine);
}

/* Followers */

static bool is_same(const struct docker_uri *a, const struct docker_uri *b)
{
	if (a->socket && b->socket)
		return strcmp(a->socket, b->socket) == 0;
	return !a->socket && !b->socket && strcmp(a->base, b->base) == 0;
}

static struct docker_engine *find_engine(const uv_loop_t *loop, const struct docker_uri *uri)
{
	struct docker_engine *engine;

	DL_FOREACH(engines, engine)
	if (engine->loop == loop && is_same(&engine->uri, uri))
		return engine;
	return NULL;
}

static void init_timer(struct docker_engine *engine, uv_timer_t *timer)
{
	uv_timer_init(engine->loop, timer);
	timer->data = engine;
	engine->open_handles++;
}

/* Takes the URI over. */
static struct docker_engine *new_engine(uv_loop_t *loop, const struct docker_uri *uri)
{
	struct docker_engine *engine = xcalloc(1, sizeof(*engine));

	engine->uri = *uri;
	engine->loop = loop;
	engine->http = http_open(loop);
	init_timer(engine, &engine->retry);
	init_timer(engine, &engine->relist);
	init_timer(engine, &engine->news);
	DL_APPEND(engines, engine);
	begin(engine);
	return engine;
}

int docker_follow(uv_loop_t *loop, const char *uri, struct docker_follower *follower, struct error *err)
{
	struct docker_engine *engine;
	struct docker_uri parsed;
	int code = docker_uri_parse(uri, &parsed, err);

	engine = code ? NULL : find_engine(loop, &parsed);
	if (code || engine)
		arena_free(&parsed.arena);
	if (code)
		return code;
	if (!engine)
		engine = new_engine(loop, &parsed);
	follower->engine = engine;
	DL_APPEND(engine->followers, follower);
	if (engine->known || engine->error)
		tell(engine);
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct docker_engine *engine = handle->data;

	if (--engine->open_handles)
		return;
	arena_free(&engine->uri.arena);
	free(engine->error);
	free(engine);
}

static void end_engine(struct docker_engine *engine)
{
	struct entry *entry, *next;

	hang_up(engine);
	HASH_ITER (hh, engine->entries, entry, next)
		free_entry(entry);
	http_close(engine->http);
	DL_DELETE(engines, engine);
	uv_close((uv_handle_t *)&engine->retry, on_closed);
	uv_close((uv_handle_t *)&engine->relist, on_closed);
	uv_close((uv_handle_t *)&engine->news, on_closed);
}

void docker_unfollow(struct docker_follower *follower)
{
	struct docker_engine *engine = follower->engine;

	if (!engine)
		return;
	DL_DELETE(engine->followers, follower);
	follower->engine = NULL;
	if (!engine->followers)
		end_engine(engine);
}

/* What is known */

bool docker_is_known(const struct docker_engine *engine)
{
	return engine->known;
}

const char *docker_error(const struct docker_engine *engine)
{
	return engine->error;
}

uint64_t docker_alive(const struct docker_engine *engine)
{
	return engine->alive;
}

const char *docker_revision(const struct docker_engine *engine)
{
	return engine->revision;
}

const struct docker_container *docker_find(const struct docker_engine *engine, const char *id)
{
	const struct entry *entry = find_entry(engine, id);

	return entry ? entry->container : NULL;
}

const struct docker_container *docker_next(const struct docker_engine *engine, const struct docker_container *former)
{
	const struct entry *entry = former ? find_entry(engine, former->id)->hh.next : engine->entries;

	while (entry && !entry->container)
		entry = entry->hh.next;
	return entry ? entry->container : NULL;
}
