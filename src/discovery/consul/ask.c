/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/consul/ask.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "discovery/consul/messages.h"
#include "discovery/file-read.h"

/* "X-Consul-Token: ...", or "" where we have none; to be freed. NULL with a sentence. */
static char *token_header(const struct registry_conf *conf, struct error *err)
{
	char *token, *header;

	if (!conf->token && !conf->token_file)
		return xstrdup("");
	token = conf->token_file ? file_first_line(conf->token_file, err) : xstrdup(conf->token);
	header = token ? xasprintf("X-Consul-Token: %s", token) : NULL;
	free(token);
	return header;
}

struct http_request *consul_ask(struct http *http, const struct registry_conf *conf, const struct consul_ask *ask,
				const struct http_events *events, void *context, struct error *err)
{
	/* Each time anew: the file may have been replaced. */
	char *header = token_header(conf, err);
	const char *const headers[] = {header && *header ? header : NULL, NULL};
	const struct http_conf request = {
		.url = ask->url,
		.method = ask->body ? "PUT" : NULL,
		.body = ask->body,
		.headers = headers,
		.ca = conf->ca,
		.cert = conf->cert,
		.key = conf->key,
		.connect_timeout_ms = CONSUL_CONNECT_MS,
		.timeout_ms = ask->timeout_ms,
		.fresh = ask->fresh,
		.unread_max = CONSUL_ANSWER_MAX,
	};
	struct http_request *started = header ? http_start(http, &request, events, context) : NULL;

	free(header);
	return started;
}

char *consul_refusal(const struct http_answer *answer)
{
	struct arena arena = {0};
	const char *text = consul_error_text(answer->body, &arena);
	char *refusal = xasprintf("%s%sHTTP %ld", text, *text ? ", " : "", answer->status);

	arena_free(&arena);
	return refusal;
}
