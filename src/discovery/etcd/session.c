/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/etcd/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "discovery/etcd/post.h"

/* How often it is looked whether something is due. */
#define TICK_MS 1000

/* The question that is open; one at a time, beside the watch. */
enum question { NOTHING, AUTHENTICATE, READ, CHECK };

struct etcd_session {
	uv_timer_t timer;
	struct http *http;
	const struct registry_conf *conf;
	const struct etcd_session_events *events;
	void *context;
	char *member, *prefix, *end;
	size_t prefix_length, end_length;

	char *token;	   /* NULL: none is used, or none is had yet */
	bool token_is_new; /* nothing was asked with it yet */

	enum question question, after_authentication;
	struct http_request *asked;
	int64_t asked_at; /* the latest revision that was known then */

	/* The read under way, or the last one. */
	bool read_once, reread; /* one has ended; another is wanted */
	char *cursor;		/* the key that the next page begins with */
	size_t cursor_length;
	int64_t read_revision; /* of its first page; 0 before */
	uint32_t limit;
	uint64_t read_at; /* when it ended; uv_hrtime() as all times here */

	struct http_request *watch;
	uint64_t watch_began;
	bool watching;
	bool owes; /* a read found what the watch had not told */

	uint64_t heard;	   /* the last sign of life */
	uint64_t received; /* what is being taken in */
	struct etcd_header header;
};

static void ask(struct etcd_session *session, enum question question);

static uint64_t milliseconds_since(uint64_t then)
{
	return (uv_hrtime() - then) / 1000000;
}

static void end_session(struct etcd_session *session, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Tells the end; afterwards there is no session any more. */
static void end_session(struct etcd_session *session, const char *format, ...)
{
	struct error reason;
	va_list args;

	va_start(args, format);
	vsnprintf(reason.text, sizeof(reason.text), format, args);
	va_end(args);
	session->events->ended(session->context, reason.text);
}

/*
 * A sign of life. False where it says that etcd's data are not those of before, as after a restore or a loss: the
 * session is over.
 */
static bool note_alive(struct etcd_session *session, const struct etcd_header *header, int64_t at_least)
{
	bool other = session->header.cluster && header->cluster && header->cluster != session->header.cluster;

	if (other || (header->revision && header->revision < at_least)) {
		end_session(session, other ? "another cluster answers" : "its data went back to an older revision");
		return false;
	}
	session->heard = session->received;
	if (header->cluster)
		session->header.cluster = header->cluster;
	session->header.member = header->member;
	if (header->revision > session->header.revision)
		session->header.revision = header->revision;
	session->events->alive(session->context, &session->header, session->received);
	return true;
}

/* Requests */

static struct http_request *start(struct etcd_session *session, const char *path, char *body, uint32_t timeout_ms,
				  const struct http_events *events)
{
	const struct etcd_post post = {
		.member = session->member,
		.path = path,
		.body = body,
		.token = session->token,
		.timeout_ms = timeout_ms,
	};

	return etcd_post(session->http, session->conf, &post, events, session);
}

/* The watch */

/* Handles one message; false where the session is over. */
static bool take_watch_message(struct etcd_session *session, const char *text, size_t length, bool *ret_open)
{
	struct etcd_message message;
	struct error err;
	bool goes_on = false;

	if (etcd_watch_parse(text, length, &message, &err) < 0)
		end_session(session, "its watch: %s", err.text);
	else if (message.error)
		end_session(session, "%s", message.error);
	else if (message.cancelled)
		end_session(session, "%s",
			    message.cancel_reason      ? message.cancel_reason
			    : message.compact_revision ? "what its watch was to tell is compacted"
						       : "it cancelled the watch");
	else
		goes_on = note_alive(session, &message.header, 0);
	if (goes_on && message.created && !session->watching) {
		session->watching = true;
		session->events->watching(session->context);
	}
	if (goes_on && message.count) {
		session->owes = false;
		session->events->changes(session->context, &message);
	}
	*ret_open = message.fragment;
	etcd_message_clear(&message);
	return goes_on;
}

/* A message is a line; chunks end anywhere. */
static size_t on_watch_data(void *context, const char *bytes, size_t length)
{
	struct etcd_session *session = context;
	const char *at = bytes, *newline;
	bool open = false;

	session->received = uv_hrtime();
	while ((newline = memchr(at, '\n', (size_t)(bytes + length - at)))) {
		if (newline > at && !take_watch_message(session, at, (size_t)(newline - at), &open))
			return length;
		at = newline + 1;
	}
	if (at > bytes && !open)
		session->events->told(session->context);
	return (size_t)(at - bytes);
}

static void on_watch_done(void *context, const struct http_answer *answer)
{
	struct etcd_session *session = context;
	struct etcd_message message;
	bool open;

	session->received = uv_hrtime();
	session->watch = NULL;
	if (answer->code) {
		end_session(session, "its watch: %s", answer->error);
	} else if (answer->status != 200) {
		etcd_message_parse(answer->body, answer->length, &message, NULL);
		end_session(session, "its watch: %s (HTTP %ld)", message.error ? message.error : "refused",
			    answer->status);
		etcd_message_clear(&message);
	} else if (!answer->length || take_watch_message(session, answer->body, answer->length, &open)) {
		/* An error at the end of a stream has no newline: that was one, else nothing was said. */
		end_session(session, "it ended the watch");
	}
}

static const struct http_events watch_events = {.data = on_watch_data, .done = on_watch_done};

static void start_watch(struct etcd_session *session)
{
	const struct etcd_bytes key = {session->prefix, session->prefix_length};
	const struct etcd_bytes end = {session->end, session->end_length};

	session->watch_began = uv_hrtime();
	session->watch = start(session, "/v3/watch", etcd_watch_request(&key, &end, session->read_revision + 1), 0,
			       &watch_events);
}

/* Questions */

/* An empty range would be of the empty key, which etcd does not have: the first one that there can be. */
static void begin_cursor(struct etcd_session *session)
{
	session->cursor_length = session->prefix_length ? session->prefix_length : 1;
	session->cursor = xrealloc(session->cursor, session->cursor_length + 1, 1);
	memcpy(session->cursor, session->prefix, session->prefix_length + 1);
}

static void begin_read(struct etcd_session *session)
{
	session->reread = false;
	session->read_revision = 0;
	begin_cursor(session);
	session->events->read_begins(session->context, !session->read_once);
	if (session->conf->username && !session->token) {
		session->after_authentication = READ;
		ask(session, AUTHENTICATE);
	} else {
		ask(session, READ);
	}
}

static void end_read(struct etcd_session *session, const struct etcd_header *header)
{
	size_t found = session->events->read_ends(session->context, header);

	session->read_at = uv_hrtime();
	if (session->read_once && found)
		session->owes = true;
	session->read_once = true;
	if (!session->watch)
		start_watch(session);
	session->events->told(session->context);
}

static void take_page(struct etcd_session *session, const struct etcd_message *message)
{
	const struct etcd_bytes *last;

	if (!message->header.revision) {
		end_session(session, "its answer has no revision");
		return;
	}
	if (!session->read_revision)
		session->read_revision = message->header.revision;
	session->events->page(session->context, message);
	if (!message->more || !message->count) {
		struct etcd_header header = message->header;

		header.revision = session->read_revision;
		end_read(session, &header);
		return;
	}
	/* The key that follows the last one directly: the same with a NUL byte. */
	last = &message->kvs[message->count - 1].key;
	session->cursor = xrealloc(session->cursor, last->length + 1, 1);
	memcpy(session->cursor, last->bytes, last->length + 1);
	session->cursor_length = last->length + 1;
	ask(session, READ);
}

static void take_token(struct etcd_session *session, const struct etcd_message *message)
{
	if (!message->token) {
		end_session(session, "its answer has no token");
		return;
	}
	text_replace(&session->token, message->token);
	session->token_is_new = true;
	ask(session, session->after_authentication);
}

static void take_good_answer(struct etcd_session *session, enum question question, const struct etcd_message *message)
{
	session->token_is_new = question == AUTHENTICATE;
	if (!note_alive(session, &message->header, question == AUTHENTICATE ? 0 : session->asked_at))
		return;
	switch (question) {
	case AUTHENTICATE:
		take_token(session, message);
		break;
	case READ:
		take_page(session, message);
		break;
	case CHECK:
	case NOTHING:
		break;
	}
}

/* A token that is not, or no longer, good, is replaced once; the watch goes on with the old one. */
static bool authenticate_again(struct etcd_session *session, enum question question, const struct etcd_message *message)
{
	if (!session->conf->username || session->token_is_new || question == AUTHENTICATE ||
	    !etcd_message_is_unauthenticated(message))
		return false;
	session->after_authentication = question;
	ask(session, AUTHENTICATE);
	return true;
}

static void take_answer(struct etcd_session *session, enum question question, const struct http_answer *answer)
{
	struct etcd_message message;
	struct error err;
	int code = etcd_message_parse(answer->body, answer->length, &message, &err);

	if (code && answer->status != 200)
		end_session(session, "HTTP %ld", answer->status);
	else if (code)
		end_session(session, "%s", err.text);
	else if (!message.error)
		take_good_answer(session, question, &message);
	else if (!authenticate_again(session, question, &message))
		end_session(session, "%s", message.error);
	etcd_message_clear(&message);
}

static void on_answer(void *context, const struct http_answer *answer)
{
	struct etcd_session *session = context;
	enum question question = session->question;

	session->received = uv_hrtime();
	session->asked = NULL;
	session->question = NOTHING;
	if (answer->code == -EMSGSIZE && question == READ && session->limit > 1) {
		session->limit /= 2;
		ask(session, READ);
	} else if (answer->code) {
		end_session(session, "%s", answer->error);
	} else {
		take_answer(session, question, answer);
	}
}

static const struct http_events answer_events = {.done = on_answer};

static struct http_request *start_authentication(struct etcd_session *session)
{
	const struct registry_conf *conf = session->conf;
	struct error err;
	struct http_request *request;
	char *password = etcd_password(conf, &err);

	if (!password) {
		end_session(session, "%s", err.text);
		return NULL;
	}
	text_replace(&session->token, NULL);
	request = start(session, "/v3/auth/authenticate", etcd_authenticate_request(conf->username, password),
			ETCD_ANSWER_MS, &answer_events);
	free(password);
	return request;
}

static struct http_request *start_read(struct etcd_session *session)
{
	const struct etcd_range_request request = {
		.key = {session->cursor, session->cursor_length},
		.end = {session->end, session->end_length},
		.revision = session->read_revision,
		.limit = session->limit,
	};

	return start(session, "/v3/kv/range", etcd_range_request(&request), ETCD_ANSWER_MS, &answer_events);
}

static struct http_request *start_check(struct etcd_session *session)
{
	struct etcd_range_request request = {.count_only = true};

	begin_cursor(session);
	request.key = (struct etcd_bytes){session->cursor, session->cursor_length};
	return start(session, "/v3/kv/range", etcd_range_request(&request), ETCD_ANSWER_MS, &answer_events);
}

static void ask(struct etcd_session *session, enum question question)
{
	session->question = question;
	session->asked_at = session->header.revision;
	switch (question) {
	case AUTHENTICATE:
		session->asked = start_authentication(session);
		break;
	case READ:
		session->asked = start_read(session);
		break;
	case CHECK:
		session->asked = start_check(session);
		break;
	case NOTHING:
		break;
	}
}

/* Life */

static void on_tick(uv_timer_t *timer)
{
	struct etcd_session *session = timer->data;

	if (session->question != NOTHING)
		return;
	if (!session->watch) {
		begin_read(session);
		return;
	}
	if (!session->watching) {
		if (milliseconds_since(session->watch_began) >= ETCD_ANSWER_MS)
			end_session(session, "its watch does not begin");
		return;
	}
	if (session->reread || milliseconds_since(session->read_at) >= ETCD_REREAD_MS) {
		begin_read(session);
		return;
	}
	if (session->owes && milliseconds_since(session->read_at) >= ETCD_CHECK_MS)
		end_session(session, "its watch is dead: a read found changes that it did not tell");
	else if (milliseconds_since(session->heard) >= ETCD_CHECK_MS)
		ask(session, CHECK);
}

struct etcd_session *etcd_session_open(uv_loop_t *loop, struct http *http, const char *member,
				       const struct registry_conf *conf, const char *prefix,
				       const struct etcd_session_events *events, void *context)
{
	struct etcd_session *session = xcalloc(1, sizeof(*session));

	*session = (struct etcd_session){
		.http = http,
		.conf = conf,
		.events = events,
		.context = context,
		.member = xstrdup(member),
		.prefix = xstrdup(prefix),
		.prefix_length = strlen(prefix),
		.limit = ETCD_PAGE_KEYS,
		.reread = true,
		.heard = uv_hrtime(),
	};
	session->end = xcalloc(1, session->prefix_length + 1);
	session->end_length = etcd_range_end(session->prefix, session->prefix_length, session->end);
	uv_timer_init(loop, &session->timer);
	session->timer.data = session;
	uv_update_time(loop);
	uv_timer_start(&session->timer, on_tick, 0, TICK_MS);
	return session;
}

const char *etcd_session_prefix(const struct etcd_session *session)
{
	return session->prefix;
}

void etcd_session_reread(struct etcd_session *session)
{
	session->reread = true;
	if (session->question == READ) {
		http_cancel(session->asked);
		begin_read(session);
	} else {
		uv_timer_start(&session->timer, on_tick, 0, TICK_MS);
	}
}

static void on_closed(uv_handle_t *handle)
{
	struct etcd_session *session = handle->data;

	free(session->member);
	free(session->prefix);
	free(session->end);
	free(session->cursor);
	free(session->token);
	free(session);
}

void etcd_session_close(struct etcd_session *session)
{
	if (!session)
		return;
	http_cancel(session->asked);
	http_cancel(session->watch);
	uv_close((uv_handle_t *)&session->timer, on_closed);
}
