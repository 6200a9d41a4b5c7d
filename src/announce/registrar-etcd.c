/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One key with a lease, which is kept alive every third of its time, and after which etcd deletes the key if we do not.
 * Whatever is lost (the lease, the key, etcd's data) is made again. The members are asked in turn.
 */
#include <stdlib.h>
#include <string.h>

#include "announce/lease.h"
#include "announce/registrar.h"
#include "announce/value.h"
#include "base/log.h"
#include "discovery/etcd/messages.h"
#include "discovery/etcd/post.h"
#include "discovery/etcd/uri.h"
#include "discovery/random.h"

struct registrar_etcd {
	struct registrar base;
	char *key, *value;

	struct etcd_uri uri;
	struct http *http;
	size_t member;	   /* whose turn it is */
	char *token;	   /* NULL: none is used, or none is had yet */
	bool token_is_new; /* nothing was asked with it yet */

	struct lease lease;
	bool blind; /* we may not read our key */

	struct http_request *asked; /* one question at a time */
	enum lease_step step;	    /* what it is about, or comes after it */
	bool authenticating;	    /* it is for a token */
};

/* The base is the first member. */
static struct registrar_etcd *registrar_etcd(struct registrar *base)
{
	return (struct registrar_etcd *)base;
}

static const struct registry_conf *registry(const struct registrar_etcd *registrar)
{
	return &registrar->base.conf->registry;
}

static const char *member_name(const struct registrar_etcd *registrar)
{
	return etcd_member_name(&registrar->uri, registrar->member);
}

static void failed(struct registrar_etcd *registrar, const char *reason)
{
	size_t members = registrar->uri.n_members;
	char *text = xasprintf("%s: %s", member_name(registrar), reason);

	text_replace(&registrar->token, NULL); /* it may have ended by the time that it is of use again */
	registrar->member = (registrar->member + 1) % members;
	registrar_failed(&registrar->base, members, text);
	free(text);
}

static void succeeded(struct registrar_etcd *registrar)
{
	char *text = xasprintf("%s answers", member_name(registrar));

	registrar_succeeded(&registrar->base, text);
	free(text);
}

/* Answers */

static void take_token(struct registrar_etcd *registrar, const struct etcd_message *message)
{
	if (!message->token) {
		failed(registrar, "its answer has no token");
		return;
	}
	text_replace(&registrar->token, message->token);
	registrar->token_is_new = true;
	registrar_proceed(&registrar->base);
}

/* Is the key there with our value and our lease? */
static bool is_ours(const struct registrar_etcd *registrar, const struct etcd_message *message)
{
	const struct etcd_kv *kv = message->kvs;

	return message->count && kv->lease == registrar->lease.id && kv->value.length == strlen(registrar->value) &&
	       memcmp(kv->value.bytes, registrar->value, kv->value.length) == 0;
}

static enum lease_outcome judge(const struct registrar_etcd *registrar, const struct etcd_message *message)
{
	if (registrar->step == LEASE_KEEP && !message->ttl_s)
		return LEASE_GONE;
	if (registrar->step == LEASE_LOOK && !is_ours(registrar, message))
		return LEASE_DIFFERENT;
	return LEASE_DONE;
}

static void say_loss(const struct registrar_etcd *registrar, enum lease_outcome outcome,
		     const struct etcd_message *message)
{
	if (outcome == LEASE_GONE)
		log_notice("registry %s: the lease of %s is gone, making a new one", registry(registrar)->uri,
			   registrar->key);
	if (outcome == LEASE_DIFFERENT)
		log_warning("registry %s: %s %s, putting it again", registry(registrar)->uri, registrar->key,
			    message->count ? "was put by another, who may have the same --id" : "was deleted");
}

static void say_announced(struct registrar_etcd *registrar)
{
	char *how = xasprintf("as %s with a lease of %u s", registrar->key, registrar->base.ttl_s);

	registrar->base.events->announced(registrar->base.context, how);
	free(how);
}

static void take_good_answer(struct registrar_etcd *registrar, const struct etcd_message *message)
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
		registrar->base.ttl_s = message->ttl_s;
	}
	if (step == LEASE_GRANT || step == LEASE_KEEP)
		registrar->base.alive = uv_now(registrar->base.loop);
	lease_note(&registrar->lease, step, outcome);
	if (registrar->blind)
		registrar->lease.look = false;
	if (step == LEASE_PUT)
		say_announced(registrar);
	registrar_proceed(&registrar->base);
}

static void take_error(struct registrar_etcd *registrar, const struct etcd_message *message)
{
	if (registry(registrar)->username && !registrar->token_is_new && !registrar->authenticating &&
	    etcd_message_is_unauthenticated(message)) {
		text_replace(&registrar->token, NULL); /* it has ended; another one is had, and this is asked again */
		registrar_proceed(&registrar->base);
	} else if (message->error_code == ETCD_CODE_NOT_FOUND && registrar->step == LEASE_REVOKE) {
		take_good_answer(registrar, message);
	} else if (message->error_code == ETCD_CODE_PERMISSION_DENIED && registrar->step == LEASE_LOOK) {
		registrar->blind = true;
		registrar->lease.look = false;
		registrar_proceed(&registrar->base);
	} else {
		if (message->error_code == ETCD_CODE_NOT_FOUND)
			lease_note(&registrar->lease, registrar->step, LEASE_GONE);
		failed(registrar, message->error);
	}
}

static void on_answer(void *context, const struct http_answer *answer)
{
	struct registrar_etcd *registrar = context;
	struct etcd_message message = {0};
	bool authenticating = registrar->authenticating;
	struct error err;
	int code = answer->code;

	registrar->asked = NULL;
	registrar->base.busy = false;
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

static void post(struct registrar_etcd *registrar, const char *path, char *body)
{
	static const struct http_events events = {.done = on_answer};
	const struct etcd_post post = {
		.member = registrar->uri.members[registrar->member],
		.path = path,
		.body = body,
		.token = registrar->token,
		.timeout_ms = registrar_answer_ms(&registrar->base),
	};

	registrar->asked = etcd_post(registrar->http, registry(registrar), &post, &events, registrar);
	registrar->base.busy = true;
}

static void authenticate(struct registrar_etcd *registrar)
{
	struct error err;
	char *password = etcd_password(registry(registrar), &err);

	if (!password) {
		failed(registrar, err.text);
		return;
	}
	registrar->authenticating = true;
	post(registrar, "/v3/auth/authenticate", etcd_authenticate_request(registry(registrar)->username, password));
	free(password);
}

static void ask(struct registrar_etcd *registrar)
{
	const struct etcd_bytes key = {registrar->key, strlen(registrar->key)};
	const struct etcd_bytes value = {registrar->value, strlen(registrar->value)};

	registrar->authenticating = false;
	switch (registrar->step) {
	case LEASE_REST:
		break;
	case LEASE_GRANT:
		post(registrar, "/v3/lease/grant", etcd_grant_request(registrar->base.ttl_s));
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

static bool step(struct registrar *base, bool due)
{
	struct registrar_etcd *registrar = registrar_etcd(base);

	registrar->lease.wanted = base->wanted;
	if (registrar->lease.id && due)
		registrar->lease.keep = true;
	registrar->step = lease_next(&registrar->lease);
	if (registrar->step == LEASE_REST)
		return false;
	if (registry(registrar)->username && !registrar->token)
		authenticate(registrar);
	else
		ask(registrar);
	return true;
}

static int check(const struct announce_conf *conf, struct error *err)
{
	struct etcd_uri uri;
	int code = etcd_uri_parse(&conf->registry, &uri, err);

	arena_free(&uri.arena);
	return code;
}

static const char *const *servers(const struct announce_conf *conf, struct arena *arena)
{
	struct etcd_uri uri;
	const char **servers;

	etcd_uri_parse(&conf->registry, &uri, NULL); /* it was checked */
	servers = arena_alloc(arena, (uri.n_members + 1) * sizeof(*servers));
	for (size_t i = 0; i < uri.n_members; i++)
		servers[i] = arena_strdup(arena, uri.members[i]);
	arena_free(&uri.arena);
	return servers;
}

static struct registrar *open_etcd(uv_loop_t *loop, const struct announce_conf *conf, const struct ip_port *at)
{
	struct registrar_etcd *registrar = xcalloc(1, sizeof(*registrar));
	char *key = announce_key(conf, at);

	registrar->base.ttl_s = conf->ttl_s;
	etcd_uri_parse(&conf->registry, &registrar->uri, NULL);
	registrar->key = xasprintf("%s%s", registrar->uri.prefix, key);
	registrar->value = announce_value(conf, at);
	registrar->http = http_open(loop);
	/* Not everybody at the first one. */
	registrar->member = random_number() % registrar->uri.n_members;
	free(key);
	return &registrar->base;
}

static void stop(struct registrar *base)
{
	struct registrar_etcd *registrar = registrar_etcd(base);

	http_cancel(registrar->asked);
	http_close(registrar->http);
}

static void free_etcd(struct registrar *base)
{
	struct registrar_etcd *registrar = registrar_etcd(base);

	arena_free(&registrar->uri.arena);
	free(registrar->key);
	free(registrar->value);
	free(registrar->token);
	free(registrar);
}

static const char *const schemes[] = {"etcd", "etcds", NULL};

const struct registrar_ops registrar_etcd_ops = {
	.schemes = schemes,
	.form = ETCD_URI_FORM,
	.remains = "it goes with its lease",
	.check = check,
	.servers = servers,
	.open = open_etcd,
	.step = step,
	.stop = stop,
	.free = free_etcd,
};
