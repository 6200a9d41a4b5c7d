/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "announce/address.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "announce/registrar.h"
#include "base/log.h"
#include "base/mem.h"

struct address_search {
	uv_loop_t *loop;
	struct arena arena;
	const char *const *servers, *const *server; /* NULL at the end, and the one whose turn it is */
	uv_timer_t timer;
	uv_getaddrinfo_t resolver;
	bool resolving, closed, timer_closed, said;
	address_found_fn found;
	void *context;
};

/* Some address that only the default route leads to (RFC 5737, RFC 3849). */
#define ELSEWHERE4 "192.0.2.1"
#define ELSEWHERE6 "2001:db8::1"

/* No route depends on the port. */
#define ANY_PORT "9"

static struct ip_addr to_addr(const struct sockaddr_storage *from)
{
	struct ip_addr addr = {.family = (uint8_t)from->ss_family};

	if (from->ss_family == AF_INET)
		memcpy(addr.bytes, &((const struct sockaddr_in *)from)->sin_addr, 4);
	else
		memcpy(addr.bytes, &((const struct sockaddr_in6 *)from)->sin6_addr, 16);
	return addr;
}

/* Could others connect to it? Not over another link's fe80::. */
static bool is_of_use(const struct ip_addr *addr)
{
	bool link_local = addr->family == AF_INET6 && addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0x80;

	return ip_addr_is_unicast(addr) && !ip_addr_is_loopback(addr) && !link_local;
}

/* A datagram socket's connect() chooses the route and sends nothing. */
static bool source_address(const struct sockaddr *to, socklen_t length, struct ip_addr *ret)
{
	int fd = socket(to->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage own = {0};
	socklen_t own_length = sizeof(own);
	bool found;

	found = fd >= 0 && connect(fd, to, length) == 0 && getsockname(fd, (struct sockaddr *)&own, &own_length) == 0;
	if (fd >= 0)
		close(fd);
	if (!found)
		return false;
	*ret = to_addr(&own);
	return is_of_use(ret);
}

static bool source_of_default_route(struct ip_addr *ret)
{
	struct sockaddr_in to4;
	struct sockaddr_in6 to6;

	uv_ip4_addr(ELSEWHERE4, 9, &to4);
	uv_ip6_addr(ELSEWHERE6, 9, &to6);
	return source_address((const struct sockaddr *)&to4, sizeof(to4), ret) ||
	       source_address((const struct sockaddr *)&to6, sizeof(to6), ret);
}

static bool find(const struct addrinfo *list, struct ip_addr *ret)
{
	for (const struct addrinfo *info = list; info; info = info->ai_next)
		if (source_address(info->ai_addr, info->ai_addrlen, ret))
			return true;
	return list && source_of_default_route(ret);
}

static void free_if_done(struct address_search *search)
{
	if (search->resolving || !search->timer_closed)
		return;
	arena_free(&search->arena);
	free(search);
}

static void search_now(uv_timer_t *timer);

static void not_found(struct address_search *search, const char *reason)
{
	if (!search->said)
		log_warning("no own address: %s; trying again, or give ADDR:PORT with --endpoint", reason);
	search->said = true;
	if (*search->server && !*++search->server)
		search->server = search->servers;
	uv_timer_start(&search->timer, search_now, ADDRESS_RETRY_MS, 0);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
	struct address_search *search = request->data;
	struct ip_addr addr;
	struct error err;
	bool found = status == 0 && find(list, &addr);

	uv_freeaddrinfo(list);
	search->resolving = false;
	if (search->closed) {
		free_if_done(search);
	} else if (found) {
		search->found(search->context, &addr);
	} else {
		fail(&err, -ENOENT, "%s: %s", *search->server,
		     status ? uv_strerror(status) : "no route leads there, or only one that others cannot come back");
		not_found(search, err.text);
	}
}

/* The host of "http://10.0.0.1:2379" or "https://[fd00::1]:2379", to be freed. */
static char *server_host(const char *server)
{
	const char *host = strstr(server, "://") + strlen("://"), *end = strrchr(host, ':');

	return *host == '[' ? xstrndup(host + 1, (size_t)(end - host) - 2) : xstrndup(host, (size_t)(end - host));
}

static void resolve_server(struct address_search *search)
{
	static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	char *host = server_host(*search->server);
	int code;

	search->resolver.data = search;
	code = uv_getaddrinfo(search->loop, &search->resolver, on_resolved, host, ANY_PORT, &hints);
	search->resolving = code == 0;
	free(host);
	if (code)
		not_found(search, uv_strerror(code));
}

static void search_now(uv_timer_t *timer)
{
	struct address_search *search = timer->data;
	struct ip_addr addr;

	if (*search->server)
		resolve_server(search);
	else if (source_of_default_route(&addr))
		search->found(search->context, &addr);
	else
		not_found(search, "there is no default route");
}

struct address_search *address_search_open(uv_loop_t *loop, const struct announce_conf *conf, address_found_fn found,
					   void *context)
{
	struct address_search *search = xcalloc(1, sizeof(*search));

	*search = (struct address_search){.loop = loop, .found = found, .context = context};
	search->server = search->servers = registrar_servers(conf, &search->arena);
	uv_timer_init(loop, &search->timer);
	search->timer.data = search;
	uv_timer_start(&search->timer, search_now, 0, 0);
	return search;
}

static void on_closed(uv_handle_t *handle)
{
	struct address_search *search = handle->data;

	search->timer_closed = true;
	free_if_done(search);
}

void address_search_close(struct address_search *search)
{
	if (!search)
		return;
	search->closed = true;
	if (search->resolving)
		uv_cancel((uv_req_t *)&search->resolver);
	uv_close((uv_handle_t *)&search->timer, on_closed);
}
