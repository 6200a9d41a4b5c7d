/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/etcd/post.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "discovery/file-read.h"

struct http_request *etcd_post(struct http *http, const struct registry_conf *conf, const struct etcd_post *post,
			       const struct http_events *events, void *context)
{
	char *url = xasprintf("%s%s", post->member, post->path);
	char *authorization = post->token ? xasprintf("Authorization: %s", post->token) : NULL;
	/* "Grpc-Metadata-": what the gateway hands on. A member without a leader then refuses instead of hanging. */
	const char *const headers[] = {"Content-Type: application/json", "Grpc-Metadata-hasleader: true", authorization,
				       NULL};
	const struct http_conf request = {
		.url = url,
		.body = post->body,
		.headers = headers,
		.ca = conf->ca,
		.cert = conf->cert,
		.key = conf->key,
		.connect_timeout_ms = ETCD_CONNECT_MS,
		.timeout_ms = post->timeout_ms,
		.unread_max = ETCD_MESSAGE_MAX,
	};
	struct http_request *started = http_start(http, &request, events, context);

	free(authorization);
	free(post->body);
	free(url);
	return started;
}

char *etcd_password(const struct registry_conf *conf, struct error *err)
{
	return conf->password_file ? file_first_line(conf->password_file, err) : xstrdup(conf->password);
}
