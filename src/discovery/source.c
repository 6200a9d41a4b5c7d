/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/source.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "discovery/consul/consul.h"
#include "discovery/consul/uri.h"
#include "discovery/dns/dns.h"
#include "discovery/dns/names.h"
#include "discovery/docker/docker.h"
#include "discovery/docker/uri.h"
#include "discovery/etcd/etcd.h"
#include "discovery/etcd/uri.h"
#include "discovery/file/file.h"

static const struct source_ops *const supported[] = {
	&file_source_ops, &etcd_source_ops, &consul_source_ops, &dns_source_ops, &docker_source_ops,
};

#define FORMS FILE_URI_FORM ", " ETCD_URI_FORM ", " CONSUL_URI_FORM ", " DNS_URI_FORM " or " DOCKER_URI_FORM

static bool has_scheme(const char *uri, const char *scheme)
{
	size_t length = strlen(scheme);

	return strncmp(uri, scheme, length) == 0 && uri[length] == ':';
}

static const struct source_ops *find_ops(const char *uri)
{
	for (size_t i = 0; i < ARRAY_SIZE(supported); i++)
		if (has_scheme(uri, supported[i]->scheme) ||
		    (supported[i]->tls_scheme && has_scheme(uri, supported[i]->tls_scheme)))
			return supported[i];
	return NULL;
}

int source_check(const struct registry_conf *conf, struct error *err)
{
	const struct source_ops *ops = find_ops(conf->uri);
	const char *uri = conf->uri;

	if (ops)
		return ops->check(conf, err);
	if (!strchr(uri, ':'))
		return fail(err, -EINVAL, "registry \"%s\": no scheme; " FORMS " is accepted", uri);
	return fail(err, -EINVAL, "registry \"%s\": " FORMS " is accepted", uri);
}

int source_open(uv_loop_t *loop, const struct registry_conf *conf, source_answer_fn answer, void *context,
		struct source **ret, struct error *err)
{
	int code = source_check(conf, err);

	return code ? code : find_ops(conf->uri)->open(loop, conf, answer, context, ret, err);
}

void source_watch(struct source *source, const char *service)
{
	source->ops->watch(source, service);
}

void source_unwatch(struct source *source, const char *service)
{
	source->ops->unwatch(source, service);
}

bool source_status(const struct source *source, struct source_status *ret)
{
	*ret = (struct source_status){.revision = ""};
	if (!source->ops->status)
		return false;
	source->ops->status(source, ret);
	return true;
}

void source_close(struct source *source)
{
	if (source)
		source->ops->close(source);
}
