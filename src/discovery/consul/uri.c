/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/consul/uri.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "discovery/uri.h"

#define KEYS "dc, tag, filter, stale and wait are accepted"

/* A URI while it is read. */
struct reading {
	const struct registry_conf *conf;
	struct consul_uri *uri;
	const char *filter; /* decoded; NULL = none */
	struct error *err;
};

static bool is_tls(const struct registry_conf *conf)
{
	return strncmp(conf->uri, "consuls:", 8) == 0;
}

static int refuse(const struct reading *reading, const char *key, const char *value, const char *accepted)
{
	return fail(reading->err, -EINVAL, "registry \"%s\": %s=%s: %s", reading->conf->uri, key, value, accepted);
}

static void add_parameter(struct consul_uri *uri, const char *key, const char *value)
{
	uri->more = arena_printf(&uri->arena, "%s&%s=%s", uri->more, key, uri_encode(&uri->arena, value));
}

static void add_filter(struct reading *reading, const char *filter)
{
	reading->filter =
		reading->filter ? arena_printf(&reading->uri->arena, "%s and %s", reading->filter, filter) : filter;
}

static void add_tag(struct consul_uri *uri, const char *tag)
{
	size_t count = 0;
	const char **tags;

	while (uri->tags[count])
		count++;
	tags = arena_alloc(&uri->arena, (count + 2) * sizeof(*tags));
	memcpy(tags, uri->tags, count * sizeof(*tags));
	tags[count] = tag;
	uri->tags = tags;
}

/* As a filter: Consul's own parameter for tags is deprecated. */
static int take_tag(struct reading *reading, const char *tag)
{
	if (!*tag || strpbrk(tag, "\"\\`"))
		return refuse(reading, "tag", tag, "a text without quotes and backslashes is accepted");
	add_filter(reading, arena_printf(&reading->uri->arena, "Service.Tags contains \"%s\"", tag));
	add_tag(reading->uri, tag);
	return 0;
}

static int take_wait(struct reading *reading, const char *text)
{
	size_t digits = strspn(text, "0123456789");
	uint64_t unit = strcmp(text + digits, "s") == 0 ? 1 : strcmp(text + digits, "m") == 0 ? 60 : 0, number;

	if (!unit ||
	    number_parse(arena_strndup(&reading->uri->arena, text, digits), 1, CONSUL_WAIT_MAX_S / unit, &number) < 0)
		return refuse(reading, "wait", text, "1s to 10m is accepted");
	reading->uri->wait_s = (uint32_t)(number * unit);
	return 0;
}

static int take_stale(struct reading *reading, const char *text)
{
	reading->uri->stale = strcmp(text, "yes") == 0;
	if (!reading->uri->stale && strcmp(text, "no") != 0)
		return refuse(reading, "stale", text, "yes or no is accepted");
	return 0;
}

static int take_parameter(struct reading *reading, char *text)
{
	const char *key = strsep(&text, "="), *value = text ? uri_decode(&reading->uri->arena, text) : NULL;

	if (!value || !*value)
		return fail(reading->err, -EINVAL, "registry \"%s\": ?%s: KEY=VALUE is accepted", reading->conf->uri,
			    key);
	if (strcmp(key, "tag") == 0)
		return take_tag(reading, value);
	if (strcmp(key, "wait") == 0)
		return take_wait(reading, value);
	if (strcmp(key, "stale") == 0)
		return take_stale(reading, value);
	if (strcmp(key, "filter") == 0)
		add_filter(reading, arena_printf(&reading->uri->arena, "(%s)", value));
	else if (strcmp(key, "dc") == 0)
		reading->uri->dc = value;
	else
		return refuse(reading, key, value, KEYS);
	return 0;
}

static int take_parameters(struct reading *reading, char *query)
{
	char *parameter;
	int code = 0;

	while (!code && (parameter = strsep(&query, "&")))
		code = take_parameter(reading, parameter);
	if (!code && reading->uri->dc)
		add_parameter(reading->uri, "dc", reading->uri->dc);
	if (!code && reading->filter)
		add_parameter(reading->uri, "filter", reading->filter);
	return code;
}

static int take_host(struct reading *reading, const char *text)
{
	const struct registry_conf *conf = reading->conf;
	const char *address = uri_address(&reading->uri->arena, text, is_tls(conf) ? "8501" : "8500");

	if (strchr(text, '@'))
		return fail(reading->err, -EINVAL,
			    "a consul registry's URI with a token: give token_file in \"registries\", or "
			    "CONSUL_HTTP_TOKEN");
	if (!address)
		return fail(reading->err, -EINVAL, "registry \"%s\": \"%s\" is not HOST[:PORT]; %s is accepted",
			    conf->uri, text, CONSUL_URI_FORM);
	reading->uri->base = arena_printf(&reading->uri->arena, "%s://%s", is_tls(conf) ? "https" : "http", address);
	return 0;
}

static int check_options(const struct registry_conf *conf, struct error *err)
{
	if (conf->username || conf->password_file)
		return fail(err, -EINVAL, "registry \"%s\": Consul knows no username, but a token_file", conf->uri);
	if (!is_tls(conf) && (conf->ca || conf->cert || conf->key))
		return fail(err, -EINVAL, "registry \"%s\": ca, cert and key are for TLS, which is consuls://",
			    conf->uri);
	if (!conf->cert != !conf->key)
		return fail(err, -EINVAL, "registry \"%s\": cert and key are accepted together only", conf->uri);
	return 0;
}

int consul_uri_parse(const struct registry_conf *conf, struct consul_uri *ret, struct error *err)
{
	static const char *const no_tags[] = {NULL};
	struct reading reading = {.conf = conf, .uri = ret, .err = err};
	char *rest, *query;
	int code;

	*ret = (struct consul_uri){.more = "", .tags = no_tags, .wait_s = CONSUL_WAIT_S};
	rest = strstr(conf->uri, "://");
	if (!rest)
		return fail(err, -EINVAL, "registry \"%s\": %s is accepted", conf->uri, CONSUL_URI_FORM);
	query = arena_strdup(&ret->arena, rest + strlen("://"));
	rest = strsep(&query, "?");
	if (*rest && rest[strlen(rest) - 1] == '/')
		rest[strlen(rest) - 1] = '\0';
	code = take_host(&reading, rest);
	if (!code && query && *query)
		code = take_parameters(&reading, query);
	return code ? code : check_options(conf, err);
}

char *consul_uri_question(const struct consul_uri *uri, const char *service, uint64_t index)
{
	struct arena arena = {0};
	char *url = xasprintf("%s/v1/health/service/%s?index=%" PRIu64 "&wait=%us%s%s", uri->base,
			      uri_encode(&arena, service), index, uri->wait_s, uri->stale ? "&stale" : "", uri->more);

	arena_free(&arena);
	return url;
}
