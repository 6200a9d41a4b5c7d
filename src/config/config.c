/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads what was said from below, the file first, and settles it: names, registries, and what is left to refuse. */
#include "config/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/draft.h"
#include "config/keys.h"
#include "discovery/docker/uri.h"

/* A configuration with the memory that it lives in. */
struct loaded {
	struct config config;
	struct arena arena;
};

/* A copy in the arena; NULL where the variable is not set, or empty. */
static char *environment(const char *name, struct arena *arena)
{
	const char *value = getenv(name);

	return value && *value ? arena_strdup(arena, value) : NULL;
}

static void read_registry(struct draft *draft, char *registry, const char *origin)
{
	if (!registry)
		return;
	draft->registry = registry;
	draft->registry_origin = origin;
}

static void read_metrics(struct draft *draft, char *metrics, const char *origin)
{
	if (!metrics)
		return;
	draft->metrics = metrics;
	draft->metrics_origin = origin;
}

static int read_environment(struct draft *draft, struct error *err)
{
	char *links = environment("NUNCIO_LINKS", &draft->scratch);
	char *word;
	int r = 0;

	read_registry(draft, environment("NUNCIO_REGISTRY", draft->arena), "NUNCIO_REGISTRY");
	read_metrics(draft, environment("NUNCIO_METRICS", draft->arena), "NUNCIO_METRICS");
	while (r == 0 && (word = strsep(&links, " \t\n")))
		if (*word)
			r = draft_read_link(draft, LEVEL_ENVIRONMENT, "NUNCIO_LINKS", word, err);
	return r;
}

static int read_flags(struct draft *draft, const struct config_args *args, struct error *err)
{
	int r = 0;

	if (args->registry)
		read_registry(draft, arena_strdup(draft->arena, args->registry), "--registry");
	if (args->docker) {
		draft->docker = arena_strdup(draft->arena, args->docker);
		draft->docker_origin = "--docker";
	}
	if (args->metrics)
		read_metrics(draft, arena_strdup(draft->arena, args->metrics), "--metrics");
	for (size_t i = 0; r == 0 && i < args->n_links; i++)
		r = draft_read_link(draft, LEVEL_FLAG, "--link", args->links[i], err);
	return r;
}

static int read_all(struct draft *draft, const struct config_args *args, struct error *err)
{
	int r = args->file ? draft_read_file(draft, args->file, err) : 0;

	if (r == 0)
		r = read_environment(draft, err);
	if (r == 0)
		r = read_flags(draft, args, err);
	return r;
}

static int check_netns(const struct ambassador_draft *ambassador, struct error *err)
{
	const char *netns = ambassador->netns;
	uint64_t pid;

	if (!netns)
		return 0;
	if (!*netns || (strncmp(netns, "pid:", 4) == 0 && number_parse(netns + 4, 1, INT32_MAX, &pid) < 0))
		return fail(err, -EINVAL, "%s: the network namespace " VALUE " is not " NETNS_FORM, ambassador->origin,
			    netns);
	return 0;
}

static int refuse_same_netns(const struct draft *draft, size_t index, struct error *err)
{
	const struct ambassador_draft *second = &draft->ambassadors[index];

	for (const struct ambassador_draft *first = draft->ambassadors; first < second; first++)
		if (first->netns && strcmp(first->netns, second->netns) == 0)
			return fail(err, -EINVAL,
				    "%s: the network namespace " VALUE " is that of %s already: put the links together",
				    second->origin, second->netns, first->origin);
	return 0;
}

/* The first ambassador may stay without links (it is left out then), unless --netns asked for it. */
static int refuse_idle(const struct ambassador_draft *ambassador, struct error *err)
{
	if (ambassador->links || !ambassador->netns)
		return 0;
	return fail(err, -EINVAL,
		    "%s: has no links: give it one, such as {\"listen\": \"5432\", \"service\": \"postgres\"} in the "
		    "configuration file or --link 5432=postgres, or leave the namespace out",
		    ambassador->origin);
}

/* A file whose "links" are an empty list says so on purpose: there are none yet. */
static int refuse_no_links(const struct draft *draft, struct error *err)
{
	if (draft->says_links || draft->docker)
		return 0;
	for (size_t i = 0; i < draft->n_ambassadors; i++)
		if (draft->ambassadors[i].links)
			return 0;
	return fail(err, -EINVAL,
		    "no links, so there is nothing to do: give one, such as --link 5432=postgres, in NUNCIO_LINKS or "
		    "in \"links\" of a configuration file (-c); or --docker, for those of containers' labels");
}

static int check_ambassadors(const struct draft *draft, struct error *err)
{
	int r = refuse_no_links(draft, err);

	for (size_t i = 0; r == 0 && i < draft->n_ambassadors; i++) {
		r = check_netns(&draft->ambassadors[i], err);
		if (r == 0)
			r = refuse_same_netns(draft, i, err);
		if (r == 0)
			r = refuse_idle(&draft->ambassadors[i], err);
	}
	return r;
}

/* A file registry may be a directory, with a file for each service. */
static int check_file_service(const struct link_draft *link, struct error *err)
{
	const char *service = link->conf.service;

	if (strncmp(link->conf.registry, "file:", 5) != 0 || (*service != '.' && !strchr(service, '/')))
		return 0;
	fail(err, -EINVAL, VALUE " is no service of a file registry: such a name has no '/' and no '.' at its start",
	     service);
	return draft_fail_key(link, "service", -EINVAL, err);
}

int draft_settle_registry(const struct draft *draft, struct link_draft *link, const struct registry_conf *fallback,
			  struct error *err)
{
	int r = 0;

	if (!link->conf.registry && !fallback)
		return fail(err, -EINVAL,
			    "%s: has no registry: give one with --registry, such as --registry file:services.json, in "
			    "NUNCIO_REGISTRY, or as \"registry\" in the configuration file",
			    link->conf.origin);
	link->conf.registry_conf = fallback;
	if (link->conf.registry)
		r = draft_resolve_registry(draft, link->conf.registry, &link->conf.registry_conf, err);
	if (r < 0)
		return draft_fail_key(link, "registry", r, err);
	link->conf.registry = link->conf.registry_conf->uri;
	return check_file_service(link, err);
}

static int settle_ambassador(const struct draft *draft, struct ambassador_draft *ambassador,
			     const struct registry_conf *registry, struct error *err)
{
	struct link_draft *link;
	int r;

	for (link = ambassador->links; link; link = link->by_listen.next) {
		r = draft_settle_registry(draft, link, registry, err);
		if (r < 0)
			return r;
	}
	return draft_name_links(draft, ambassador, err);
}

static int settle_docker(const struct draft *draft, struct config *config, struct error *err)
{
	const char *host = draft->docker, *environment = getenv("DOCKER_HOST");
	struct docker_uri uri;
	int r;

	if (!host)
		return 0;
	if (!*host)
		host = environment && *environment ? environment : DOCKER_SOCKET;
	config->docker = docker_uri_of_host(draft->arena, host);
	r = docker_uri_parse(config->docker, &uri, err);
	arena_free(&uri.arena);
	return r < 0 ? fail_prefix(err, r, "%s", draft->docker_origin) : 0;
}

static int settle_metrics(const struct draft *draft, struct config *config, struct error *err)
{
	struct ip_port at;

	config->metrics = draft->metrics;
	if (!draft->metrics || ip_port_parse(draft->metrics, &at) == 0)
		return 0;
	return fail(err, -EINVAL, "%s: " VALUE " is not " METRICS_FORM, draft->metrics_origin, draft->metrics);
}

/* Registries are resolved for links, and for those that labels will ask for. */
static int settle_base(const struct draft *draft, struct config *config, struct error *err)
{
	struct config_base *base = arena_alloc(draft->arena, sizeof(*base));
	struct registry_draft *registries = arena_alloc(draft->arena, (draft->n_registries + 1) * sizeof(*registries));
	int r = 0;

	*base = (struct config_base){
		.defaults = draft->defaults, .registries = registries, .n_registries = draft->n_registries};
	for (size_t i = 0; i < draft->n_registries; i++)
		registries[i] = draft->registries[i];
	if (draft->registry)
		r = draft_resolve_registry(draft, draft->registry, &base->registry, err);
	config->base = base;
	return r < 0 ? fail_prefix(err, r, "%s", draft->registry_origin) : 0;
}

static int settle(struct draft *draft, struct config *config, struct error *err)
{
	int r = check_ambassadors(draft, err);

	if (r == 0)
		r = settle_base(draft, config, err);
	if (r == 0)
		r = settle_docker(draft, config, err);
	if (r == 0)
		r = settle_metrics(draft, config, err);
	for (size_t i = 0; r == 0 && i < draft->n_ambassadors; i++)
		r = settle_ambassador(draft, &draft->ambassadors[i], config->base->registry, err);
	return r;
}

void draft_build_links(const struct ambassador_draft *ambassador, struct arena *arena, struct ambassador_conf *ret)
{
	struct link_draft *link;

	ret->n_links = 0;
	ret->links = arena_alloc(arena, (HASH_CNT(by_listen, ambassador->links) + 1) * sizeof(*ret->links));
	for (link = ambassador->links; link; link = link->by_listen.next)
		ret->links[ret->n_links++] = link->conf;
}

static void build_ambassador(const struct ambassador_draft *draft, struct arena *arena, struct ambassador_conf *ret)
{
	*ret = (struct ambassador_conf){.netns = draft->netns};
	draft_build_links(draft, arena, ret);
}

static void build(const struct draft *draft, struct config *config)
{
	config->ambassadors = arena_alloc(draft->arena, draft->n_ambassadors * sizeof(*config->ambassadors));
	for (size_t i = 0; i < draft->n_ambassadors; i++)
		if (draft->ambassadors[i].links)
			build_ambassador(&draft->ambassadors[i], draft->arena,
					 &config->ambassadors[config->n_ambassadors++]);
}

int config_load(const struct config_args *args, struct config **ret, struct error *err)
{
	struct loaded *loaded = xcalloc(1, sizeof(*loaded));
	struct draft draft;
	int r;

	draft_begin(&draft, &loaded->arena, args->netns);
	r = read_all(&draft, args, err);
	if (r == 0)
		r = settle(&draft, &loaded->config, err);
	if (r == 0)
		build(&draft, &loaded->config);
	draft_end(&draft);
	if (r < 0) {
		config_free(&loaded->config);
		return r;
	}
	*ret = &loaded->config;
	return 0;
}

static int settle_only_registry(const struct draft *draft, struct registry_conf *ret, struct error *err)
{
	const struct registry_conf *conf;
	int r;

	if (!draft->registry)
		return fail(err, -EINVAL,
			    "no registry: give one with --registry, such as --registry etcd://127.0.0.1/services, in "
			    "NUNCIO_REGISTRY, or as \"registry\" in the configuration file");
	r = draft_resolve_registry(draft, draft->registry, &conf, err);
	if (r < 0)
		return fail_prefix(err, r, "%s", draft->registry_origin);
	*ret = registry_copy(conf);
	return 0;
}

int config_load_registry(const struct config_args *args, struct registry_conf *ret, struct error *err)
{
	struct arena arena = {0};
	struct draft draft;
	int r;

	draft_begin(&draft, &arena, NULL);
	r = args->file ? draft_read_file(&draft, args->file, err) : 0;
	read_registry(&draft, environment("NUNCIO_REGISTRY", &arena), "NUNCIO_REGISTRY");
	if (r == 0)
		r = read_flags(&draft, args, err);
	if (r == 0)
		r = settle_only_registry(&draft, ret, err);
	draft_end(&draft);
	arena_free(&arena);
	return r;
}

void config_free(struct config *config)
{
	struct loaded *loaded = (struct loaded *)config; /* its first member */

	if (!loaded)
		return;
	arena_free(&loaded->arena);
	free(loaded);
}
