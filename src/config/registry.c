/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registries: from a name or a URI to all that is needed to reach one, with what the ecosystem's own variables add. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/draft.h"
#include "config/keys.h"
#include "discovery/docker/uri.h"
#include "discovery/source.h"

void draft_add_registry(struct draft *draft, const char *name, const struct registry_conf *conf)
{
	ARRAY_GROW(draft->registries, draft->n_registries, draft->registries_capacity);
	draft->registries[draft->n_registries++] =
		(struct registry_draft){.name = arena_strdup(draft->arena, name), .conf = *conf};
}

/* Gives *text the variable's value, where it has none and that is not empty. */
static void complete(struct arena *arena, char **text, const char *variable)
{
	const char *value = getenv(variable);

	if (!*text && value && *value)
		*text = arena_strdup(arena, value);
}

/* "etcd:///PREFIX" leaves it to the environment where etcd is, as for etcdctl: "http://10.0.0.1:2379,10.0.0.2:2379" */
static void complete_etcd_hosts(struct arena *arena, struct registry_conf *conf)
{
	const char *rest = strstr(conf->uri, ":///"), *list = getenv("ETCDCTL_ENDPOINTS");
	char *words, *word, *hosts = NULL;

	if (!rest)
		return;
	words = arena_strdup(arena, list && *list ? list : "127.0.0.1:2379");
	while ((word = strsep(&words, ","))) {
		const char *host = strstr(word, "://");

		hosts = arena_printf(arena, "%s%s%s", hosts ? hosts : "", hosts ? "," : "", host ? host + 3 : word);
	}
	conf->uri = arena_printf(arena, "%s://%s%s",
				 text_begins(conf->uri, "etcds:") || (list && text_begins(list, "https:")) ? "etcds"
													   : "etcd",
				 hosts, rest + 3);
}

static void complete_etcd(struct arena *arena, struct registry_conf *conf)
{
	char *user = NULL;

	complete_etcd_hosts(arena, conf);
	if (text_begins(conf->uri, "etcds:")) {
		complete(arena, &conf->ca, "ETCDCTL_CACERT");
		if (!conf->cert && !conf->key) {
			complete(arena, &conf->cert, "ETCDCTL_CERT");
			complete(arena, &conf->key, "ETCDCTL_KEY");
		}
	}
	if (conf->username)
		return;
	complete(arena, &user, "ETCDCTL_USER"); /* "NAME:PASSWORD" or "NAME" */
	conf->username = strsep(&user, ":");
	if (!conf->username || conf->password_file)
		return;
	conf->password = user;
	complete(arena, &conf->password, "ETCDCTL_PASSWORD");
}

/* "10.0.0.1:8500", "http://10.0.0.1:8500", "https://consul:8501" */
static void complete_consul_host(struct arena *arena, struct registry_conf *conf)
{
	const char *rest = strstr(conf->uri, "://"), *address = getenv("CONSUL_HTTP_ADDR"),
		   *ssl = getenv("CONSUL_HTTP_SSL");
	const char *host;
	bool tls;

	if (!rest || !strchr("/?", rest[3]))
		return;
	if (!address || !*address)
		address = "127.0.0.1:8500";
	tls = text_begins(conf->uri, "consuls:") || text_begins(address, "https:") ||
	      (ssl && (strcmp(ssl, "true") == 0 || strcmp(ssl, "1") == 0));
	host = strstr(address, "://");
	conf->uri = arena_printf(arena, "%s://%s%s", tls ? "consuls" : "consul", host ? host + 3 : address, rest + 3);
}

static void complete_consul(struct arena *arena, struct registry_conf *conf)
{
	complete_consul_host(arena, conf);
	if (text_begins(conf->uri, "consuls:")) {
		complete(arena, &conf->ca, "CONSUL_CACERT");
		if (!conf->cert && !conf->key) {
			complete(arena, &conf->cert, "CONSUL_CLIENT_CERT");
			complete(arena, &conf->key, "CONSUL_CLIENT_KEY");
		}
	}
	if (conf->token_file)
		return;
	complete(arena, &conf->token, "CONSUL_HTTP_TOKEN");
	if (!conf->token)
		complete(arena, &conf->token_file, "CONSUL_HTTP_TOKEN_FILE");
}

/* "docker:///" leaves it to the environment where the engine is, as for docker: "docker:///?network=x" */
static void complete_docker(struct arena *arena, struct registry_conf *conf)
{
	const char *rest = strstr(conf->uri, ":///"), *host = getenv("DOCKER_HOST");

	if (!rest || (rest[4] && rest[4] != '?') || !host || !*host)
		return;
	conf->uri = arena_printf(arena, "%s%s", docker_uri_of_host(arena, host), rest + 4);
}

static int settle(const struct draft *draft, const struct registry_conf *said, const struct registry_conf **ret,
		  struct error *err)
{
	struct registry_conf *conf = arena_alloc(draft->arena, sizeof(*conf));
	int r;

	*conf = *said;
	if (text_begins(conf->uri, "etcd:") || text_begins(conf->uri, "etcds:"))
		complete_etcd(draft->arena, conf);
	if (text_begins(conf->uri, "consul:") || text_begins(conf->uri, "consuls:"))
		complete_consul(draft->arena, conf);
	if (text_begins(conf->uri, "docker:"))
		complete_docker(draft->arena, conf);
	r = source_check(conf, err);
	if (r == 0)
		*ret = conf;
	return r;
}

int draft_resolve_registry(const struct draft *draft, char *text, const struct registry_conf **ret, struct error *err)
{
	for (size_t i = 0; i < draft->n_registries; i++)
		if (strcmp(draft->registries[i].name, text) == 0)
			return settle(draft, &draft->registries[i].conf, ret, err);
	if (!strchr(text, ':'))
		return fail(err, -EINVAL,
			    VALUE " is neither a name in \"registries\" nor a URI such as file:services.json", text);
	return settle(draft, &(struct registry_conf){.uri = text}, ret, err);
}
