/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "announce/registrar.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "discovery/backoff.h"
#include "discovery/random.h"

#define ANSWER_MIN_MS 1000
#define ANSWER_MAX_MS 5000

static const struct registrar_ops *const supported[] = {&registrar_etcd_ops, &registrar_consul_ops,
							&registrar_file_ops};

static bool has_scheme(const char *uri, const struct registrar_ops *ops)
{
	size_t length = strcspn(uri, ":");

	for (const char *const *scheme = ops->schemes; *scheme; scheme++)
		if (strlen(*scheme) == length && strncmp(uri, *scheme, length) == 0)
			return true;
	return false;
}

static const struct registrar_ops *find_ops(const char *uri)
{
	for (size_t i = 0; i < ARRAY_SIZE(supported); i++)
		if (has_scheme(uri, supported[i]))
			return supported[i];
	return NULL;
}

int registrar_check(const struct announce_conf *conf, struct error *err)
{
	const char *uri = conf->registry.uri;
	const struct registrar_ops *ops = find_ops(uri);

	if (!ops)
		return fail(err, -EINVAL, "registry \"%s\": nothing can be announced to %.*s; %s, %s or %s is accepted",
			    uri, (int)strcspn(uri, ":"), uri, registrar_file_ops.form, registrar_etcd_ops.form,
			    registrar_consul_ops.form);
	return ops->check(conf, err);
}

const char *const *registrar_servers(const struct announce_conf *conf, struct arena *arena)
{
	static const char *const none[] = {NULL};
	const struct registrar_ops *ops = find_ops(conf->registry.uri);

	return ops->servers ? ops->servers(conf, arena) : none;
}

uint32_t registrar_interval_ms(const struct registrar *registrar)
{
	return registrar->ttl_s * 1000 / 3;
}

uint32_t registrar_answer_ms(const struct registrar *registrar)
{
	uint32_t ms = registrar_interval_ms(registrar);

	if (!registrar->wanted || ms < ANSWER_MIN_MS)
		return ANSWER_MIN_MS;
	return ms < ANSWER_MAX_MS ? ms : ANSWER_MAX_MS;
}

static void on_time(uv_timer_t *timer)
{
	struct registrar *registrar = timer->data;

	registrar->waiting = false;
	registrar_proceed(registrar);
}

static void wait_for(struct registrar *registrar, uint64_t ms)
{
	uv_update_time(registrar->loop);
	uv_timer_start(&registrar->timer, on_time, ms, 0);
}

void registrar_failed(struct registrar *registrar, size_t servers, const char *reason)
{
	uint32_t n = (uint32_t)servers, wait_ms, interval_ms = registrar_interval_ms(registrar);
	bool all = ++registrar->failures % n == 0;

	log_write(all && !registrar->failing ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, "registry %s: %s; %s",
		  registrar->conf->registry.uri, reason, all ? "trying again" : "asking the next one");
	registrar->failing = registrar->failing || all;
	if (!all) {
		registrar_proceed(registrar);
		return;
	}
	wait_ms = backoff_ms(registrar->failures / n, random_number());
	registrar->waiting = true;
	wait_for(registrar, wait_ms < interval_ms ? wait_ms : interval_ms);
}

void registrar_succeeded(struct registrar *registrar, const char *what)
{
	if (registrar->failing)
		log_notice("registry %s: %s", registrar->conf->registry.uri, what);
	registrar->failing = false;
	registrar->failures = 0;
}

static void rest(struct registrar *registrar)
{
	uint64_t due = registrar->alive + registrar_interval_ms(registrar), now;

	if (registrar->wanted) {
		now = uv_now(registrar->loop);
		wait_for(registrar, due > now ? due - now : 0);
	} else if (!registrar->said_withdrawn) {
		registrar->said_withdrawn = true;
		registrar->events->withdrawn(registrar->context);
	}
}

void registrar_proceed(struct registrar *registrar)
{
	bool due;

	if (registrar->busy || registrar->waiting)
		return;
	uv_update_time(registrar->loop);
	due = uv_now(registrar->loop) - registrar->alive >= registrar_interval_ms(registrar);
	if (!registrar->ops->step(registrar, due))
		rest(registrar);
}

void registrar_want(struct registrar *registrar, bool wanted)
{
	if (wanted && registrar->wanted)
		return;
	registrar->wanted = wanted;
	registrar->said_withdrawn = false;
	registrar->waiting = false;
	uv_timer_stop(&registrar->timer);
	registrar_proceed(registrar);
}

const char *registrar_remains(const struct registrar *registrar)
{
	return registrar->ops->remains;
}

struct registrar *registrar_open(uv_loop_t *loop, const struct announce_conf *conf, const struct ip_port *at,
				 const struct registrar_events *events, void *context)
{
	const struct registrar_ops *ops = find_ops(conf->registry.uri);
	struct registrar *registrar = ops->open(loop, conf, at);

	registrar->ops = ops;
	registrar->loop = loop;
	registrar->conf = conf;
	registrar->events = events;
	registrar->context = context;
	uv_timer_init(loop, &registrar->timer);
	registrar->timer.data = registrar;
	return registrar;
}

static void on_closed(uv_handle_t *handle)
{
	struct registrar *registrar = handle->data;

	registrar->ops->free(registrar);
}

void registrar_close(struct registrar *registrar)
{
	if (!registrar)
		return;
	registrar->ops->stop(registrar);
	uv_close((uv_handle_t *)&registrar->timer, on_closed);
}
