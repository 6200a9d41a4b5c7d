/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One question to one member of etcd, by its JSON gateway: what all questions have in common. */
#ifndef NUNCIO_DISCOVERY_ETCD_POST_H
#define NUNCIO_DISCOVERY_ETCD_POST_H

#include <stdint.h>

#include "base/error.h"
#include "discovery/http.h"
#include "discovery/registry.h"

/* How long a connection, and a whole answer, may take. */
#define ETCD_CONNECT_MS 2000
#define ETCD_ANSWER_MS 5000
/* An answer, or a message of a watch, may be so large, bytes. */
#define ETCD_MESSAGE_MAX (16 << 20)

struct etcd_post {
	const char *member;  /* as in struct etcd_uri */
	const char *path;    /* "/v3/kv/range" */
	char *body;	     /* taken over, and freed */
	const char *token;   /* of an authentication; or NULL */
	uint32_t timeout_ms; /* 0 = none, for an answer that never ends */
};

/* The conf is for TLS. Events as in http_start(). */
struct http_request *etcd_post(struct http *http, const struct registry_conf *conf, const struct etcd_post *post,
			       const struct http_events *events, void *context);

/* The password as it is now, to be freed; NULL with a sentence where its file cannot be read. */
char *etcd_password(const struct registry_conf *conf, struct error *err);

#endif
