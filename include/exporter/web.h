/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small web server in the event loop, over libmicrohttpd: GET and HEAD, nothing else, and nobody is asked who he is.
 * What it costs is bounded: connections, the size of a request, its time, and the answers that wait for slow readers.
 */
#ifndef NUNCIO_EXPORTER_WEB_H
#define NUNCIO_EXPORTER_WEB_H

#include <uv.h>

#include "base/addr.h"
#include "base/error.h"
#include "exporter/text.h"

struct web;
struct web_request;
struct web_body;

/* A request for a path, without what follows a '?'. To be answered, at once or later. */
typedef void (*web_request_fn)(void *context, struct web_request *request, const char *path);

/* Begins to listen; connections wait until the loop runs. Returns 0, or a negative errno with a sentence. */
int web_open(uv_loop_t *loop, const struct ip_port *at, web_request_fn request, void *context, struct web **ret,
	     struct error *err);
/* Requests without an answer get "503". Bodies must have been freed. Handles close over the next turns of the loop. */
void web_close(struct web *web); /* NULL is fine */

/*
 * What is answered, for any number of requests. Takes the text over. NULL: slow readers
 * have too many of them already.
 */
struct web_body *web_body_new(struct web *web, const char *content_type, const char *policy, struct scroll *text);
void web_body_free(struct web_body *body); /* NULL is fine; those who read it go on */

/* Ends the request, and never calls back. Without a body: the status in words. */
void web_answer(struct web_request *request, unsigned int status, struct web_body *body);

#endif
