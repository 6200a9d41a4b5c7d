/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTP requests that run beside each other in the event loop: libcurl's multi interface on libuv. Nothing waits here,
 * names are resolved in threads of libcurl's. HTTP/1.1, no redirects, no proxies, nothing taken from the environment.
 *
 * Connections are kept and used again; one that is idle longer than the kernel's keepalive allows is dropped. Files of
 * certificates are read anew for each new connection, so they can be replaced while it runs.
 */
#ifndef NUNCIO_DISCOVERY_HTTP_H
#define NUNCIO_DISCOVERY_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct http;
struct http_request;

/* What to ask for. Everything is copied. */
struct http_conf {
	const char *url;
	const char *socket;	     /* path of a Unix socket to connect to, whatever host the URL names; NULL = TCP */
	const char *body;	     /* makes it a POST; NULL = GET */
	const char *method;	     /* instead of these; or NULL */
	const char *const *headers;  /* "Name: value" each, NULL at the end; or NULL */
	const char *ca, *cert, *key; /* PEM files, for https; NULL = the system's trust, no certificate of ours */
	uint32_t connect_timeout_ms; /* name, TCP and TLS together */
	uint32_t timeout_ms;	     /* everything; 0 = none, for an answer that never ends */
	/* On a connection of its own. Else libcurl asks again, by itself, where a kept one turns out to be lost. */
	bool fresh;
	bool brief;		/* the same, for one small answer: it ends with a reset, and needs little memory */
	bool unverified;	/* https: whatever certificate the peer has */
	const char *connect_to; /* "ADDR:PORT" instead of where the URL leads; or NULL */
	/* Makes the socket, not blocking, or fails with a negative errno; NULL = libcurl does. */
	int (*make_socket)(void *context, int family);
	void *make_socket_context;
	size_t unread_max; /* bytes of an answer that may have come and not been taken */
};

struct http_answer {
	int code;	   /* 0 = the peer answered, else a negative errno: -EMSGSIZE = more than unread_max */
	const char *error; /* why not, for people, without the peer's name; NULL if code is 0 */
	int os_error;	   /* the errno behind it, if one was seen, else 0 */
	bool connected;	   /* there was a connection */
	long status;	   /* HTTP's */
	const char *body;  /* what was not taken by `data`; NUL-terminated */
	size_t length;
	struct http_request *request; /* for http_answer_header() */
};

struct http_events {
	/* More of an answer of status 200 has come. Returns how many bytes, from the first, are done with; the others
	 * come again with the next ones. NULL = the whole goes to `done`. */
	size_t (*data)(void *context, const char *bytes, size_t length);
	/* The end, unless it was cancelled. The request is gone afterwards, and the answer with it. */
	void (*done)(void *context, const struct http_answer *answer);
};

struct http *http_open(uv_loop_t *loop);
/* Cancels everything, at once, but not from a callback; the memory goes with a later turn of the loop. NULL is fine. */
void http_close(struct http *http);

/* The callbacks come from the event loop, never from here, and may start and cancel requests. */
struct http_request *http_start(struct http *http, const struct http_conf *conf, const struct http_events *events,
				void *context);
void http_cancel(struct http_request *request); /* no callback comes after it; NULL is fine */

/* The value of a header, its name in any case; NULL where the answer has none. It lives as long as the answer. */
const char *http_answer_header(const struct http_answer *answer, const char *name);

#endif
