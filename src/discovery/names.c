/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/names.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

struct name {
	struct names *names; /* NULL: forgotten, and to be freed when the resolver is done with it */
	char *host;
	bool resolving, known, kept;
	struct ip_addr addr; /* if known */
	char *error;	     /* why not, if not; NULL: not tried yet */
	uint64_t due;	     /* when it is resolved again, uv_now() */
	uv_getaddrinfo_t request;
	UT_hash_handle hh;
};

struct names {
	uv_loop_t *loop;
	const struct names_events *events;
	void *context;
	uv_timer_t timer;
	struct name *all;
};

static void free_name(struct name *name)
{
	free(name->host);
	free(name->error);
	free(name);
}

static void forget(struct names *names, struct name *name)
{
	HASH_DEL(names->all, name);
	name->names = NULL;
	if (name->resolving)
		uv_cancel((uv_req_t *)&name->request);
	else
		free_name(name);
}

static bool take_address(const struct addrinfo *info, struct ip_addr *ret)
{
	*ret = (struct ip_addr){.family = (uint8_t)info->ai_family};
	if (info->ai_family == AF_INET)
		memcpy(ret->bytes, &((const struct sockaddr_in *)(const void *)info->ai_addr)->sin_addr, 4);
	else if (info->ai_family == AF_INET6)
		memcpy(ret->bytes, &((const struct sockaddr_in6 *)(const void *)info->ai_addr)->sin6_addr, 16);
	else
		return false;
	return ip_addr_is_unicast(ret);
}

/* The address that it had, if it still has it, else the first in order. Resolvers turn theirs around each time. */
static bool choose(const struct name *name, const struct addrinfo *list, struct ip_addr *ret)
{
	struct ip_port best = {.port = 1}, one = {.port = 1};
	bool found = false;

	for (; list; list = list->ai_next) {
		if (!take_address(list, &one.addr))
			continue;
		if (name->known && ip_addr_equal(&one.addr, &name->addr)) {
			*ret = one.addr;
			return true;
		}
		if (!found || ip_port_compare(&one, &best) < 0)
			best = one;
		found = true;
	}
	*ret = best.addr;
	return found;
}

/* Returns whether that is news. */
static bool take_result(struct name *name, int status, const struct addrinfo *list)
{
	struct ip_addr addr;
	bool news;

	name->due = uv_now(name->names->loop) + NAMES_RETRY_MS;
	if (status || !choose(name, list, &addr)) {
		news = !name->known && !name->error;
		text_replace(&name->error, status ? uv_strerror(status) : "no address that can be connected to");
		return news;
	}
	name->due += NAMES_REFRESH_MS - NAMES_RETRY_MS;
	news = !name->known || !ip_addr_equal(&addr, &name->addr);
	name->known = true;
	name->addr = addr;
	return news;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
	struct name *name = request->data;
	struct names *names = name->names;
	bool news = names && take_result(name, status, list);

	uv_freeaddrinfo(list);
	name->resolving = false;
	if (news)
		names->events->changed(names->context, name->host);
	if (!names)
		free_name(name);
}

static void resolve(struct name *name)
{
	static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	int code;

	name->request.data = name;
	code = uv_getaddrinfo(name->names->loop, &name->request, on_resolved, name->host, NULL, &hints);
	name->resolving = code == 0;
	if (code)
		take_result(name, code, NULL);
}

static void on_time(uv_timer_t *timer)
{
	struct names *names = timer->data;
	struct name *name, *next;

	for (name = names->all; name; name = name->hh.next)
		name->kept = false;
	names->events->keep(names->context);
	HASH_ITER (hh, names->all, name, next) {
		if (!name->kept)
			forget(names, name);
		else if (!name->resolving && uv_now(names->loop) >= name->due)
			resolve(name);
	}
	if (!names->all)
		uv_timer_stop(&names->timer);
}

struct names *names_open(uv_loop_t *loop, const struct names_events *events, void *context)
{
	struct names *names = xcalloc(1, sizeof(*names));

	*names = (struct names){.loop = loop, .events = events, .context = context};
	uv_timer_init(loop, &names->timer);
	names->timer.data = names;
	return names;
}

static struct name *find(struct names *names, const char *host)
{
	struct name *name;

	HASH_FIND_STR(names->all, host, name);
	return name;
}

int names_find(struct names *names, const char *host, struct ip_addr *ret, struct error *err)
{
	struct name *name = find(names, host);

	if (!name) {
		name = xcalloc(1, sizeof(*name));
		name->names = names;
		name->host = xstrdup(host);
		HASH_ADD_KEYPTR(hh, names->all, name->host, strlen(name->host), name);
		resolve(name);
		if (!uv_is_active((uv_handle_t *)&names->timer))
			uv_timer_start(&names->timer, on_time, NAMES_RETRY_MS, NAMES_RETRY_MS);
	}
	if (name->known)
		*ret = name->addr;
	else if (name->error)
		return fail(err, -ENOENT, "host \"%s\": %s", host, name->error);
	return name->known ? 0 : -EAGAIN;
}

void names_keep(struct names *names, const char *host)
{
	struct name *name = find(names, host);

	if (name)
		name->kept = true;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void names_close(struct names *names)
{
	struct name *name, *next;

	HASH_ITER (hh, names->all, name, next)
		forget(names, name);
	uv_close((uv_handle_t *)&names->timer, on_closed);
}
