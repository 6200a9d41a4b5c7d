/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/registry.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static char *copy(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

char *registry_identity(const struct registry_conf *conf)
{
	const char *const parts[] = {conf->uri,		  conf->ca,	  conf->cert,
				     conf->key,		  conf->username, conf->password,
				     conf->password_file, conf->token,	  conf->token_file};
	char *text = xstrdup("");

	/* Each with its length, so that no two lists read the same. */
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		const char *part = parts[i] ? parts[i] : "";
		char *longer = xasprintf("%s%zu%c%s", text, strlen(part), parts[i] ? ':' : '-', part);

		free(text);
		text = longer;
	}
	return text;
}

bool registry_equal(const struct registry_conf *a, const struct registry_conf *b)
{
	char *left, *right;
	bool equal;

	if (a == b || strcmp(a->uri, b->uri) != 0)
		return a == b;
	left = registry_identity(a);
	right = registry_identity(b);
	equal = strcmp(left, right) == 0;
	free(left);
	free(right);
	return equal;
}

struct registry_conf registry_copy(const struct registry_conf *conf)
{
	return (struct registry_conf){
		.uri = copy(conf->uri),
		.ca = copy(conf->ca),
		.cert = copy(conf->cert),
		.key = copy(conf->key),
		.username = copy(conf->username),
		.password = copy(conf->password),
		.password_file = copy(conf->password_file),
		.token = copy(conf->token),
		.token_file = copy(conf->token_file),
	};
}

void registry_clear(struct registry_conf *conf)
{
	free(conf->uri);
	free(conf->ca);
	free(conf->cert);
	free(conf->key);
	free(conf->username);
	free(conf->password);
	free(conf->password_file);
	free(conf->token);
	free(conf->token_file);
	*conf = (struct registry_conf){0};
}
