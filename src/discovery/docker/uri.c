/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/docker/uri.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/un.h>

#include "base/mem.h"
#include "discovery/uri.h"

#define SCHEME "docker://"
#define DEFAULT_PORT "2375"

static int take_parameter(const char *uri, char *text, struct docker_uri *ret, struct error *err)
{
	const char *key = strsep(&text, "="), *value = text ? uri_decode(&ret->arena, text) : "";

	if (strcmp(key, "network") != 0 || !*value)
		return fail(err, -EINVAL, "registry \"%s\": ?%s: network=NAME is accepted", uri, key);
	ret->network = value;
	return 0;
}

static int take_socket(const char *uri, const char *path, struct docker_uri *ret, struct error *err)
{
	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return fail(err, -EINVAL, "registry \"%.200s\": a socket's path is accepted up to %zu bytes", uri,
			    sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	ret->socket = path;
	ret->base = "http://docker";
	return 0;
}

static int take_host(const char *uri, char *host, struct docker_uri *ret, struct error *err)
{
	size_t length = strlen(host);
	const char *address;

	if (length && host[length - 1] == '/')
		host[length - 1] = '\0';
	address = uri_address(&ret->arena, host, DEFAULT_PORT);
	if (!address)
		return fail(err, -EINVAL, "registry \"%s\": " DOCKER_URI_FORM " or docker://HOST[:PORT]/ is accepted",
			    uri);
	ret->base = arena_printf(&ret->arena, "http://%s", address);
	return 0;
}

int docker_uri_parse(const char *uri, struct docker_uri *ret, struct error *err)
{
	char *query, *where, *parameter;
	int code;

	*ret = (struct docker_uri){0};
	if (!text_begins(uri, SCHEME))
		return fail(err, -EINVAL, "registry \"%s\": " DOCKER_URI_FORM " is accepted", uri);
	query = arena_strdup(&ret->arena, uri + strlen(SCHEME));
	where = strsep(&query, "?");
	if (strcmp(where, "/") == 0)
		where = arena_strdup(&ret->arena, DOCKER_SOCKET);
	code = *where == '/' ? take_socket(uri, where, ret, err) : take_host(uri, where, ret, err);
	while (!code && query && (parameter = strsep(&query, "&")))
		code = *parameter ? take_parameter(uri, parameter, ret, err) : 0;
	return code;
}

char *docker_uri_of_host(struct arena *arena, const char *host)
{
	if (text_begins(host, "unix://"))
		return arena_printf(arena, SCHEME "%s", host + strlen("unix://"));
	if (text_begins(host, "tcp://"))
		return arena_printf(arena, SCHEME "%s%s", host + strlen("tcp://"),
				    host[strlen(host) - 1] == '/' ? "" : "/");
	return arena_printf(arena, "%s%s", strchr(host, ':') ? "" : SCHEME, host);
}
