/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One instance at an agent of Consul, with a check that passes for the TTL; it is told to pass every third of it. After
 * the TTL the instance is critical, and nobody is led there any more; a while later, the agent drops it. What an agent
 * does not know (any more) is registered again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "announce/registrar.h"
#include "announce/value.h"
#include "base/log.h"
#include "discovery/consul/ask.h"
#include "discovery/consul/uri.h"
#include "discovery/uri.h"

enum consul_step { CONSUL_REGISTER, CONSUL_PASS, CONSUL_DEREGISTER };

struct registrar_consul {
	struct registrar base;
	char *id, *body;
	struct consul_uri uri;
	struct http *http;
	struct http_request *asked; /* one question at a time */
	enum consul_step next;	    /* what it is about */

	bool maybe;	 /* the agent may have it: it has to be told when it is not wanted any more */
	bool registered; /* it was told, and has not said since that it does not know it */
	bool passed;	 /* since then */
};

/* The base is the first member. */
static struct registrar_consul *registrar_consul(struct registrar *base)
{
	return (struct registrar_consul *)base;
}

static const char *agent(const struct registrar_consul *registrar)
{
	return strstr(registrar->uri.base, "://") + strlen("://");
}

/* Answers */

static void failed(struct registrar_consul *registrar, const char *reason)
{
	registrar_failed(&registrar->base, 1, reason);
}

static void succeeded(struct registrar_consul *registrar)
{
	char *text = xasprintf("%s answers", agent(registrar));

	registrar_succeeded(&registrar->base, text);
	free(text);
}

static void say_announced(struct registrar_consul *registrar)
{
	char *how = xasprintf("as %s with a TTL of %u s", registrar->id, registrar->base.ttl_s);

	registrar->base.events->announced(registrar->base.context, how);
	free(how);
}

static void take_good_answer(struct registrar_consul *registrar)
{
	bool news = false;

	succeeded(registrar);
	switch (registrar->next) {
	case CONSUL_REGISTER:
		registrar->maybe = registrar->registered = true;
		registrar->passed = false;
		break;
	case CONSUL_PASS:
		news = !registrar->passed;
		registrar->passed = true;
		registrar->base.alive = uv_now(registrar->base.loop);
		break;
	case CONSUL_DEREGISTER:
		registrar->maybe = registrar->registered = false;
		break;
	}
	if (news)
		say_announced(registrar);
	registrar_proceed(&registrar->base);
}

/* Who has just registered it, and is told that it is not there, must not do so for ever without a pause. */
static void take_loss(struct registrar_consul *registrar, const char *reason)
{
	registrar->registered = false;
	if (!registrar->passed) {
		failed(registrar, reason);
		return;
	}
	succeeded(registrar);
	log_notice("registry %s: the agent has lost %s, registering it again", registrar->base.conf->registry.uri,
		   registrar->id);
	registrar_proceed(&registrar->base);
}

/* Versions before 1.11 said 500, with one of these texts. */
static bool is_unknown(const struct http_answer *answer)
{
	return answer->status == 404 ||
	       (answer->status == 500 &&
		(strstr(answer->body, "does not have associated TTL") || strstr(answer->body, "Unknown ")));
}

static void take_refusal(struct registrar_consul *registrar, const struct http_answer *answer)
{
	char *reason = consul_refusal(answer);

	if (registrar->next == CONSUL_PASS && is_unknown(answer))
		take_loss(registrar, reason);
	else if (registrar->next == CONSUL_DEREGISTER && is_unknown(answer))
		take_good_answer(registrar);
	else
		failed(registrar, reason);
	free(reason);
}

static void on_answer(void *context, const struct http_answer *answer)
{
	struct registrar_consul *registrar = context;

	registrar->asked = NULL;
	registrar->base.busy = false;
	if (answer->code) {
		registrar->maybe |= registrar->next == CONSUL_REGISTER;
		failed(registrar, answer->error);
	} else if (answer->status != 200) {
		take_refusal(registrar, answer);
	} else {
		take_good_answer(registrar);
	}
}

/* Questions */

static void ask(struct registrar_consul *registrar, const char *path, const char *id, const char *body)
{
	static const struct http_events events = {.done = on_answer};
	struct arena arena = {0};
	const struct consul_ask question = {
		.url = arena_printf(&arena, "%s/v1/agent/%s%s", registrar->uri.base, path, uri_encode(&arena, id)),
		.body = body,
		.timeout_ms = registrar_answer_ms(&registrar->base),
	};
	struct error err;

	registrar->asked =
		consul_ask(registrar->http, &registrar->base.conf->registry, &question, &events, registrar, &err);
	registrar->base.busy = registrar->asked;
	arena_free(&arena);
	if (!registrar->asked)
		failed(registrar, err.text);
}

static void ask_next(struct registrar_consul *registrar)
{
	/* A weight of 0 is a warning: see announce_consul_body(). */
	const char *pass = registrar->base.conf->weight ? "check/pass/service:" : "check/warn/service:";

	switch (registrar->next) {
	case CONSUL_REGISTER:
		ask(registrar, "service/register", "", registrar->body);
		break;
	case CONSUL_PASS:
		ask(registrar, pass, registrar->id, "");
		break;
	case CONSUL_DEREGISTER:
		ask(registrar, "service/deregister/", registrar->id, "");
		break;
	}
}

static bool step(struct registrar *base, bool due)
{
	struct registrar_consul *registrar = registrar_consul(base);

	if (!base->wanted && !registrar->maybe)
		return false;
	if (!base->wanted)
		registrar->next = CONSUL_DEREGISTER;
	else if (!registrar->registered)
		registrar->next = CONSUL_REGISTER;
	else if (due || !registrar->passed) /* a check that was there before keeps its state when it is registered */
		registrar->next = CONSUL_PASS;
	else
		return false;
	ask_next(registrar);
	return true;
}

static int check_options(const struct announce_conf *conf, const struct consul_uri *uri, struct error *err)
{
	if (uri->dc)
		return fail(err, -EINVAL,
			    "registry \"%s\": dc=%s: an agent announces in its own datacenter; leave it away",
			    conf->registry.uri, uri->dc);
	if (conf->format != FORMAT_JSON)
		return fail(err, -EINVAL, "registry \"%s\": Consul has a form of its own; --format is for etcd",
			    conf->registry.uri);
	return 0;
}

static int check(const struct announce_conf *conf, struct error *err)
{
	struct consul_uri uri;
	int code = consul_uri_parse(&conf->registry, &uri, err);

	if (!code)
		code = check_options(conf, &uri, err);
	arena_free(&uri.arena);
	return code;
}

static const char *const *servers(const struct announce_conf *conf, struct arena *arena)
{
	const char **servers = arena_alloc(arena, 2 * sizeof(*servers));
	struct consul_uri uri;

	consul_uri_parse(&conf->registry, &uri, NULL); /* it was checked */
	servers[0] = arena_strdup(arena, uri.base);
	arena_free(&uri.arena);
	return servers;
}

static struct registrar *open_consul(uv_loop_t *loop, const struct announce_conf *conf, const struct ip_port *at)
{
	struct registrar_consul *registrar = xcalloc(1, sizeof(*registrar));

	registrar->base.ttl_s = conf->ttl_s;
	consul_uri_parse(&conf->registry, &registrar->uri, NULL);
	registrar->id = announce_consul_id(conf, at);
	registrar->body = announce_consul_body(conf, at, registrar->uri.tags);
	registrar->http = http_open(loop);
	return &registrar->base;
}

static void stop(struct registrar *base)
{
	struct registrar_consul *registrar = registrar_consul(base);

	http_cancel(registrar->asked);
	http_close(registrar->http);
}

static void free_consul(struct registrar *base)
{
	struct registrar_consul *registrar = registrar_consul(base);

	arena_free(&registrar->uri.arena);
	free(registrar->id);
	free(registrar->body);
	free(registrar);
}

static const char *const schemes[] = {"consul", "consuls", NULL};

const struct registrar_ops registrar_consul_ops = {
	.schemes = schemes,
	.form = CONSUL_URI_FORM,
	.remains = "it is critical when its TTL is over",
	.check = check,
	.servers = servers,
	.open = open_consul,
	.step = step,
	.stop = stop,
	.free = free_consul,
};
