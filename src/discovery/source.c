/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/source.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "discovery/file.h"

static const struct source_ops *const supported[] = {&file_source_ops};

/* What the documentation names and a later version will read. */
static const char *const planned[] = {"etcd", "etcds", "consul", "consuls", "dns", "docker"};

static bool has_scheme(const char *uri, const char *scheme)
{
	size_t length = strlen(scheme);

	return strncmp(uri, scheme, length) == 0 && uri[length] == ':';
}

static const struct source_ops *find_ops(const char *uri)
{
	for (size_t i = 0; i < ARRAY_SIZE(supported); i++)
		if (has_scheme(uri, supported[i]->scheme))
			return supported[i];
	return NULL;
}

int source_check_uri(const char *uri, struct error *err)
{
	const struct source_ops *ops = find_ops(uri);

	if (ops && uri[strlen(ops->scheme) + 1])
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(planned); i++)
		if (has_scheme(uri, planned[i]))
			return fail(err, -ENOTSUP,
				    "registry \"%s\": %s is not yet supported by this version; this one reads %s", uri,
				    planned[i], file_source_ops.form);
	if (!strchr(uri, ':'))
		return fail(err, -EINVAL, "registry \"%s\": no scheme; %s is accepted", uri, file_source_ops.form);
	return fail(err, -EINVAL, "registry \"%s\": %s is accepted", uri, file_source_ops.form);
}

int source_open(uv_loop_t *loop, const char *uri, source_answer_fn answer, void *context, struct source **ret,
		struct error *err)
{
	int code = source_check_uri(uri, err);

	return code ? code : find_ops(uri)->open(loop, uri, answer, context, ret, err);
}

void source_watch(struct source *source, const char *service)
{
	source->ops->watch(source, service);
}

void source_unwatch(struct source *source, const char *service)
{
	source->ops->unwatch(source, service);
}

void source_close(struct source *source)
{
	if (source)
		source->ops->close(source);
}
