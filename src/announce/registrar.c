/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "announce/registrar.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "announce/lease.h"
#include "base/log.h"
#include "base/mem.h"
#include "discovery/backoff.h"
#include "discovery/etcd-messages.h"
#include "discovery/etcd-post.h"
#include "discovery/etcd-uri.h"
#include "discovery/random.h"

#define ANSWER_MIN_MS 1000

struct registrar {
	uv_loop_t *loop;
	const struct registry_conf *conf;
	const struct registrar_events *events;
	void *context;
	char *key, *value;
	uint32_t ttl_s; /* as asked for, then as granted */

	struct etcd_uri uri;
	struct http *http;
	size_t member;	   /* whose turn it is */
	uint32_t failures; /* in a row */
	bool failing;	   /* all have failed, and it was said */
	char *token;	   /* NULL: none is used, or none is had yet */
	bool token_is_new; /* nothing was asked with it yet */

	struct lease lease;
	bool said_withdrawn; /* since it is not wanted */
	bool blind;	     /* we may not read our key */
	uint64_t kept;	     /* uv_now() when the lease was granted or kept last */

	struct http_request *asked; /* one question at a time */
	enum lease_step step;	    /* what it is about, or comes after it */
	bool authenticating;	    /* it is for a token */
	uv_timer_t timer;	    /* to the next keepalive, or the next try */
	bool waiting;		    /* for the next try */
};

static void proceed(struct registrar *registrar);

static const char *member_name(const struct registrar *registrar)
{
	return etcd_member_name(&registrar->uri, registrar->member);
}

static uint32_t keepalive_ms(const struct registrar *registrar)
{
	return registrar->ttl_s * 1000 / 3;
}

/*
 * A member that does not answer is given up while there is time to ask another; but not one that is only slow. Who
 * withdraws may have little time.
 */
static uint32_t answer_ms(const struct registrar *registrar)
{
	uint32_t ms = keepalive_ms(registrar) > ANSWER_MIN_MS ? keepalive_ms(registrar) : ANSWER_MIN_MS;

	if (!registrar->lease.wanted)
		return ANSWER_MIN_MS;
	return ms < ETCD_ANSWER_MS ? ms : ETCD_ANSWER_MS;
}

/* Failures */

static void on_time(uv_timer_t *timer)
{
	struct registrar *registrar = timer->data;

	registrar->waiting = false;
	proceed(registrar);
}

static void wait_for(struct registrar *registrar, uint64_t ms)
{
	uv_update_time(registrar->loop);
	uv_timer_start(&registrar->timer, on_time, ms, 0);
}

/* The first reason is said, and then that it is over: an outage is two lines. */
static void failed(struct registrar *registrar, const char *reason)
{
	uint32_t members = (uint32_t)registrar->uri.n_members, wait_ms;
	bool all = ++registrar->failures % members == 0;

	log_write(all && !registrar->failing ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, "registry %s: %s: %s; %s",
		  registrar->conf->uri, member_name(registrar), reason, all ? "trying again" : "asking the next one");
	registrar->failing = registrar->failing || all;
	text_replace(&registrar->token, NULL); /* it may have ended by the time that it is of use again */
	registrar->member = (registrar->member + 1) % members;
	if (!all) {
		proceed(registrar);
		return;
	}
	wait_ms = backoff_ms(registrar->failures / members, random_number());
	registrar->waiting = true;
	wait_for(registrar, wait_ms < keepalive_ms(registrar) ? wait_ms : keepalive_ms(registrar));
}

static void succeeded(struct registrar *registrar)
{
	if (registrar->failing)
		log_notice("registry %s: %s answers", registrar->conf->uri, member_name(registrar));
	registrar->failing = false;
	registrar->failures = 0;
}

/* Answers */

static void take_token(struct registrar *registrar, const struct etcd_message *message)
{
	if (!message->token) {
		failed(registrar, "its answer has no token");
		return;
	}
	text_replace(&registrar->token, message->token);
	registrar->token_is_new = true;
	proceed(registrar);
}

/* Is the key there with our value and our lease? */
static bool is_ours(const struct registrar *registrar, const struct etcd_message *message)
{
	const struct etcd_kv *kv = message->kvs;

	return message->count && kv->lease == registrar->lease.id && kv->value.length == strlen(registrar->value) &&
	       memcmp(kv->value.bytes, registrar->value, kv->value.length) == 0;
}

static enum lease_outcome judge(const struct registrar *registrar, const struct etcd_message *message)
{
	if (registrar->step == LEASE_KEEP && !message->ttl_s)
		return LEASE_GONE;
	if (registrar->step == LEASE_LOOK && !is_ours(registrar, message))
		return LEASE_DIFFERENT;
	return LEASE_DONE;
}

static void say_loss(const struct registrar *registrar, enum lease_outcome outcome, const struct etcd_message *message)
{
	if (outcome == LEASE_GONE)
		log_notice("registry %s: the lease of %s is gone, making a new one", registrar->conf->uri,
			   registrar->key);
	if (outcome == LEASE_DIFFERENT)
		log_warning("registry %s: %s %s, putting it again", registrar->conf->uri, registrar->key,
			    message->count ? "was put by another, who may have the same --id" : "was deleted");
}

static void take_good_answer(struct registrar *registrar, const struct etcd_message *message)
{
	enum lease_outcome outcome = judge(registrar, message);
	enum lease_step step = registrar->step;

	if (step == LEASE_GRANT && (!message->lease || !message->ttl_s)) {
		failed(registrar, "its answer has no lease");
		return;
	}
	succeeded(registrar);
	say_loss(registrar, outcome, message);
	if (step == LEASE_GRANT) {
		registrar->lease.id = message->lease;
		registrar->ttl_s = message->ttl_s;
	}
	if (step == LEASE_GRANT || step == LEASE_KEEP)
		registrar->kept = uv_now(registrar->loop);
	lease_note(&registrar->lease, step, outcome);
	if (registrar->blind)
		registrar->lease.look = false;
	if (step == LEASE_PUT)
		registrar->events->announced(registrar->context, registrar->key, registrar->ttl_s);
	proceed(registrar);
}

static void take_error(struct registrar *registrar, const struct etcd_message *message)
{
	if (registrar->conf->username && !registrar->token_is_new && !registrar->authenticating &&
	    etcd_message_is_unauthenticated(message)) {
		text_replace(&registrar->token, NULL); /* it has ended; another one is had, and this is asked again */
		proceed(registrar);
	} else if (message->error_code == ETCD_CODE_NOT_FOUND && registrar->step == LEASE_REVOKE) {
		take_good_answer(registrar, message);
	} else if (message->error_code == ETCD_CODE_PERMISSION_DENIED && registrar->step == LEASE_LOOK) {
		registrar->blind = true;
		registrar->lease.look = false;
		proceed(registrar);
	} else {
		if (message->error_code == ETCD_CODE_NOT_FOUND)
			lease_note(&registrar->lease, registrar->step, LEASE_GONE);
		failed(registrar, message->error);
	}
}

static void on_answer(void *context, const struct http_answer *answer)
{
	struct registrar *registrar = context;
	struct etcd_message message = {0};
	bool authenticating = registrar->authenticating;
	struct error err;
	int code = answer->code;

	registrar->asked = NULL;
	if (code)
		fail(&err, code, "%s", answer->error);
	else if (registrar->step == LEASE_KEEP && !authenticating)
		code = etcd_watch_parse(answer->body, answer->length, &message, &err);
	else
		code = etcd_message_parse(answer->body, answer->length, &message, &err);
	if (code && !answer->code && answer->status != 200)
		fail(&err, code, "HTTP %ld", answer->status);
	if (!code && message.error) {
		take_error(registrar, &message);
	} else if (code) {
		failed(registrar, err.text);
	} else if (authenticating) {
		take_token(registrar, &message);
	} else {
		registrar->token_is_new = false;
		take_good_answer(registrar, &message);
	}
	etcd_message_clear(&message);
}

/* Questions */

static void post(struct registrar *registrar, const char *path, char *body)
{
	static const struct http_events events = {.done = on_answer};
	const struct etcd_post post = {
		.member = registrar->uri.members[registrar->member],
		.path = path,
		.body = body,
		.token = registrar->token,
		.timeout_ms = answer_ms(registrar),
	};

	registrar->asked = etcd_post(registrar->http, registrar->conf, &post, &events, registrar);
}

static void authenticate(struct registrar *registrar)
{
	struct error err;
	char *password = etcd_password(registrar->conf, &err);

	if (!password) {
		failed(registrar, err.text);
		return;
	}
	registrar->authenticating = true;
	post(registrar, "/v3/auth/authenticate", etcd_authenticate_request(registrar->conf->username, password));
	free(password);
}

static void ask(struct registrar *registrar)
{
	const struct etcd_bytes key = {registrar->key, strlen(registrar->key)};
	const struct etcd_bytes value = {registrar->value, strlen(registrar->value)};

	registrar->authenticating = false;
	switch (registrar->step) {
	case LEASE_REST:
		break;
	case LEASE_GRANT:
		post(registrar, "/v3/lease/grant", etcd_grant_request(registrar->ttl_s));
		break;
	case LEASE_PUT:
		post(registrar, "/v3/kv/put", etcd_put_request(&key, &value, registrar->lease.id));
		break;
	case LEASE_KEEP:
		post(registrar, "/v3/lease/keepalive", etcd_lease_request(registrar->lease.id));
		break;
	case LEASE_LOOK:
		post(registrar, "/v3/kv/range", etcd_range_request(&(struct etcd_range_request){.key = key}));
		break;
	case LEASE_REVOKE:
		post(registrar, "/v3/lease/revoke", etcd_lease_request(registrar->lease.id));
		break;
	}
}

static void rest(struct registrar *registrar)
{
	uint64_t due = registrar->kept + keepalive_ms(registrar), now;

	if (registrar->lease.wanted) {
		now = uv_now(registrar->loop);
		wait_for(registrar, due > now ? due - now : 0);
	} else if (!registrar->said_withdrawn) {
		registrar->said_withdrawn = true;
		registrar->events->withdrawn(registrar->context);
	}
}

/* The next step, if it is time for one. */
static void proceed(struct registrar *registrar)
{
	if (registrar->asked || registrar->waiting)
		return;
	uv_update_time(registrar->loop);
	if (registrar->lease.id && uv_now(registrar->loop) - registrar->kept >= keepalive_ms(registrar))
		registrar->lease.keep = true;
	registrar->step = lease_next(&registrar->lease);
	if (registrar->step == LEASE_REST)
		rest(registrar);
	else if (registrar->conf->username && !registrar->token)
		authenticate(registrar);
	else
		ask(registrar);
}

void registrar_want(struct registrar *registrar, bool wanted)
{
	if (wanted && registrar->lease.wanted)
		return;
	registrar->lease.wanted = wanted;
	registrar->said_withdrawn = false;
	registrar->waiting = false;
	uv_timer_stop(&registrar->timer);
	proceed(registrar);
}

int registrar_check(const struct registry_conf *conf, struct error *err)
{
	struct etcd_uri uri;
	int code;

	if (strncmp(conf->uri, "etcd:", 5) != 0 && strncmp(conf->uri, "etcds:", 6) != 0)
		return fail(err, -ENOTSUP,
			    "registry \"%s\": announcing to %.*s is not yet supported by this version; %s is accepted",
			    conf->uri, (int)strcspn(conf->uri, ":"), conf->uri, ETCD_URI_FORM);
	code = etcd_uri_parse(conf, &uri, err);
	arena_free(&uri.arena);
	return code;
}

struct registrar *registrar_open(uv_loop_t *loop, const struct registrar_conf *conf,
				 const struct registrar_events *events, void *context)
{
	struct registrar *registrar = xcalloc(1, sizeof(*registrar));

	*registrar = (struct registrar){
		.loop = loop,
		.conf = conf->registry,
		.events = events,
		.context = context,
		.value = xstrdup(conf->value),
		.ttl_s = conf->ttl_s,
		.http = http_open(loop),
	};
	etcd_uri_parse(conf->registry, &registrar->uri, NULL); /* it was checked */
	registrar->key = xasprintf("%s%s", registrar->uri.prefix, conf->key);
	/* Not everybody at the first one. */
	registrar->member = random_number() % registrar->uri.n_members;
	uv_timer_init(loop, &registrar->timer);
	registrar->timer.data = registrar;
	return registrar;
}

static void on_closed(uv_handle_t *handle)
{
	struct registrar *registrar = handle->data;

	arena_free(&registrar->uri.arena);
	free(registrar->key);
	free(registrar->value);
	free(registrar->token);
	free(registrar);
}

void registrar_close(struct registrar *registrar)
{
	if (!registrar)
		return;
	http_cancel(registrar->asked);
	http_close(registrar->http);
	uv_close((uv_handle_t *)&registrar->timer, on_closed);
}
