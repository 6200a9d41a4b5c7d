/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One question to an agent of Consul: what all questions have in common. */
#ifndef NUNCIO_DISCOVERY_CONSUL_ASK_H
#define NUNCIO_DISCOVERY_CONSUL_ASK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "discovery/http.h"
#include "discovery/registry.h"

/* How long a connection may take. */
#define CONSUL_CONNECT_MS 2000
/* An answer may be so large, bytes. */
#define CONSUL_ANSWER_MAX (64 << 20)

struct consul_ask {
	const char *url;
	const char *body; /* makes it a PUT; or NULL */
	uint32_t timeout_ms;
	bool fresh; /* as in struct http_conf */
};

/* The conf is for TLS and the token, the file of which is read each time. Events as in http_start(). Returns NULL with
 * a sentence where the token cannot be read. */
struct http_request *consul_ask(struct http *http, const struct registry_conf *conf, const struct consul_ask *ask,
				const struct http_events *events, void *context, struct error *err);

/* What an answer other than 200 says, "Permission denied, HTTP 403"; to be freed. */
char *consul_refusal(const struct http_answer *answer);

#endif
