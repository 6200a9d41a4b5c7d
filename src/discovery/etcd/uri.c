/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/etcd/uri.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "discovery/uri.h"

#define DEFAULT_PORT "2379"

static bool is_tls(const struct registry_conf *conf)
{
	return strncmp(conf->uri, "etcds:", 6) == 0;
}

static int take_member(const struct registry_conf *conf, struct etcd_uri *uri, const char *member, struct error *err)
{
	const char *address = uri_address(&uri->arena, member, DEFAULT_PORT);

	if (!address)
		return fail(err, -EINVAL, "registry \"%s\": \"%s\" is not HOST[:PORT]; %s is accepted", conf->uri,
			    member, ETCD_URI_FORM);
	if (uri->n_members == ETCD_MEMBERS_MAX)
		return fail(err, -EINVAL, "registry \"%s\": more than %d members", conf->uri, ETCD_MEMBERS_MAX);
	uri->members[uri->n_members++] = arena_printf(&uri->arena, "%s://%s", is_tls(conf) ? "https" : "http", address);
	return 0;
}

static int take_members(const struct registry_conf *conf, struct etcd_uri *uri, char *list, struct error *err)
{
	char *member;
	int code = 0;

	while (!code && (member = strsep(&list, ",")))
		code = take_member(conf, uri, member, err);
	return code;
}

/* The path, and "?slash=no", which it cuts off. */
static int take_prefix(const struct registry_conf *conf, struct etcd_uri *uri, char *path, struct error *err)
{
	char *query = strchr(path, '?');
	const char *slash = "/";
	size_t length;

	if (query) {
		*query++ = '\0';
		if (strcmp(query, "slash=no") == 0)
			slash = "";
		else if (strcmp(query, "slash=yes") != 0)
			return fail(err, -EINVAL, "registry \"%s\": ?%s: ?slash=no or ?slash=yes is accepted",
				    conf->uri, query);
	}
	while (*path == '/')
		path++;
	length = strlen(path);
	while (length && path[length - 1] == '/')
		length--;
	uri->prefix = length ? arena_printf(&uri->arena, "%s%.*s/", slash, (int)length, path) : slash;
	return 0;
}

static int check_options(const struct registry_conf *conf, struct error *err)
{
	if (conf->token_file)
		return fail(err, -EINVAL, "registry \"%s\": etcd knows no token_file, but username and password_file",
			    conf->uri);
	if (!is_tls(conf) && (conf->ca || conf->cert || conf->key))
		return fail(err, -EINVAL, "registry \"%s\": ca, cert and key are for TLS, which is etcds://",
			    conf->uri);
	if (!conf->cert != !conf->key)
		return fail(err, -EINVAL, "registry \"%s\": cert and key are accepted together only", conf->uri);
	if (conf->username && !conf->password && !conf->password_file)
		return fail(err, -EINVAL, "registry \"%s\": username needs a password_file", conf->uri);
	if (!conf->username && conf->password_file)
		return fail(err, -EINVAL, "registry \"%s\": password_file needs a username", conf->uri);
	return 0;
}

int etcd_uri_parse(const struct registry_conf *conf, struct etcd_uri *ret, struct error *err)
{
	char *rest, *path;
	size_t length;
	int code;

	*ret = (struct etcd_uri){.prefix = "/"};
	rest = strstr(conf->uri, "://");
	if (!rest)
		return fail(err, -EINVAL, "registry \"%s\": %s is accepted", conf->uri, ETCD_URI_FORM);
	rest = arena_strdup(&ret->arena, rest + strlen("://"));
	length = strcspn(rest, "/?");
	path = arena_strdup(&ret->arena, rest + length);
	rest[length] = '\0';
	if (strchr(rest, '@'))
		return fail(err, -EINVAL,
			    "an etcd registry's URI with a user: give username and password_file in \"registries\", or "
			    "ETCDCTL_USER");
	code = take_members(conf, ret, rest, err);
	if (!code)
		code = take_prefix(conf, ret, path, err);
	return code ? code : check_options(conf, err);
}

const char *etcd_member_name(const struct etcd_uri *uri, size_t member)
{
	return strstr(uri->members[member], "://") + strlen("://");
}
