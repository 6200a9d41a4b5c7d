/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "exporter/web.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "base/library.h"
#include "base/mem.h"

#define CONNECTIONS_MAX 64u
#define TIMEOUT_S 15u	 /* without a byte in either direction */
#define MEMORY_MAX 16384 /* of a connection: bounds a request's line and headers */

/* Old answers that slow readers still have: each may be large. */
#define BODIES_MAX 8

/* libmicrohttpd, loaded when somebody is to be served: it brings GnuTLS along. */
#define FUNCTIONS(DO) \
	DO(start_daemon) \
	DO(get_daemon_info) \
	DO(get_timeout) \
	DO(run) \
	DO(stop_daemon) \
	DO(suspend_connection) \
	DO(resume_connection) \
	DO(create_response_from_buffer) \
	DO(create_response_from_iovec) \
	DO(add_response_header) \
	DO(queue_response) \
	DO(destroy_response) \
	DO(get_reason_phrase_for)

static struct {
#define DECLARE(name) __typeof__(MHD_##name) *(name);
	FUNCTIONS(DECLARE)
} mhd;

static void load_mhd(void)
{
	void *library;

	if (mhd.start_daemon)
		return;
	library = library_load("libmicrohttpd.so.12");
#define FIND(name) library_find(library, "MHD_" #name, &mhd.name);
	FUNCTIONS(FIND)
}

struct web {
	struct MHD_Daemon *daemon;
	uv_poll_t poll;
	uv_timer_t timer;
	uv_idle_t clearing;
	struct scroll rubbish; /* what nobody reads any more */
	web_request_fn request;
	void *context;
	struct web_request *waiting; /* for an answer */
	unsigned int bodies;
	int open_handles;
};

struct web_request {
	struct web *web;
	struct MHD_Connection *connection;
	struct web_body *body; /* the answer, a reference */
	unsigned int status;
	bool seen; /* the headers */
	bool suspended;
	struct web_request *prev, *next; /* where it waits */
};

struct web_body {
	struct MHD_Response *response;
	unsigned int references;
};

/* In the loop */

static void on_timer(uv_timer_t *timer);

static unsigned int count_connections(const struct web *web)
{
	return mhd.get_daemon_info(web->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections;
}

/*
 * At CONNECTIONS_MAX libmicrohttpd takes the listening socket out of its epoll set, and looks whether there is room
 * again at the beginning of a run only: after one in which connections ended there has to be another one.
 */
static void run(struct web *web)
{
	unsigned int before = count_connections(web);
	MHD_UNSIGNED_LONG_LONG timeout;

	mhd.run(web->daemon);
	if (count_connections(web) < before)
		uv_timer_start(&web->timer, on_timer, 0, 0);
	else if (mhd.get_timeout(web->daemon, &timeout) == MHD_YES)
		uv_timer_start(&web->timer, on_timer, timeout, 0);
	else
		uv_timer_stop(&web->timer);
}

static void on_timer(uv_timer_t *timer)
{
	run(timer->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	run(poll->data);
}

/* Blocks given back in a turn of the loop; each takes 30 us. */
#define CLEARED_PER_TURN 16

static void on_clearing(uv_idle_t *idle)
{
	struct web *web = idle->data;

	for (unsigned int i = 0; i < CLEARED_PER_TURN; i++) {
		if (!scroll_clear_block(&web->rubbish))
			uv_idle_stop(idle);
	}
}

/* Answers */

static void put_headers(struct MHD_Response *response, const char *content_type, const char *policy)
{
	mhd.add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
	mhd.add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	mhd.add_response_header(response, "Content-Security-Policy", policy);
	mhd.add_response_header(response, "X-Content-Type-Options", "nosniff");
	mhd.add_response_header(response, "Referrer-Policy", "no-referrer");
	mhd.add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
}

/* What a response in use needs; freed with the last one who reads it. */
struct held {
	struct web *web;
	struct scroll text;
};

static void on_unused(void *context)
{
	struct held *held = context;

	struct web *web = held->web;

	web->bodies--;
	scroll_join(&web->rubbish, &held->text);
	uv_idle_start(&web->clearing, on_clearing);
	free(held);
}

static struct MHD_Response *make_response(struct held *held)
{
	struct MHD_Response *response;
	struct MHD_IoVec *pieces = NULL;
	size_t count = 0, capacity = 0;

	for (const struct block *block = held->text.first; block; block = block->next) {
		ARRAY_GROW(pieces, count, capacity);
		pieces[count++] = (struct MHD_IoVec){block->bytes, block->length};
	}
	response = mhd.create_response_from_iovec(pieces, (unsigned int)count, on_unused, held);
	free(pieces);
	return response;
}

struct web_body *web_body_new(struct web *web, const char *content_type, const char *policy, struct scroll *text)
{
	struct held *held = xcalloc(1, sizeof(*held));
	struct web_body *body = xcalloc(1, sizeof(*body));

	held->web = web;
	scroll_join(&held->text, text);
	web->bodies++;
	if (web->bodies <= BODIES_MAX)
		body->response = make_response(held);
	if (!body->response) {
		on_unused(held);
		free(body);
		return NULL;
	}
	body->references = 1;
	put_headers(body->response, content_type, policy);
	return body;
}

void web_body_free(struct web_body *body)
{
	if (!body || --body->references)
		return;
	mhd.destroy_response(body->response);
	free(body);
}

static struct web_body *words_of(unsigned int status)
{
	const char *words = mhd.get_reason_phrase_for(status);
	char *text = xasprintf("%u %s\n", status, words ? words : "");
	struct web_body *body = xcalloc(1, sizeof(*body));

	body->references = 1;
	body->response = mhd.create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	put_headers(body->response, "text/plain; charset=utf-8", "default-src 'none'");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		mhd.add_response_header(body->response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	return body;
}

void web_answer(struct web_request *request, unsigned int status, struct web_body *body)
{
	struct web *web = request->web;

	request->status = status;
	request->body = body ? body : words_of(status);
	if (body)
		body->references++;
	if (!request->suspended)
		return;
	request->suspended = false;
	DL_DELETE(web->waiting, request);
	mhd.resume_connection(request->connection);
	/* Not from here: it may free the request. */
	uv_timer_start(&web->timer, on_timer, 0, 0);
}

/* Requests */

static enum MHD_Result queue(struct web_request *request)
{
	enum MHD_Result result = mhd.queue_response(request->connection, request->status, request->body->response);

	web_body_free(request->body);
	request->body = NULL;
	return result;
}

static void suspend(struct web_request *request)
{
	request->suspended = true;
	DL_APPEND(request->web->waiting, request);
	mhd.suspend_connection(request->connection);
}

/* Called with the headers, and again at the end of the request; again, too, when one that waited has its answer. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *path,
				  const char *method, const char *version, const char *data, size_t *size,
				  void **ret_request)
{
	struct web *web = context;
	struct web_request *request = *ret_request;
	bool reads = strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;

	(void)version;
	(void)data;
	if (!request) {
		request = *ret_request = xcalloc(1, sizeof(*request));
		request->web = web;
		request->connection = connection;
		if (reads)
			return MHD_YES;
	}
	if (*size) { /* what a reader sends along is of no interest */
		*size = 0;
		return MHD_YES;
	}
	if (!reads && !request->body)
		web_answer(request, MHD_HTTP_METHOD_NOT_ALLOWED, NULL);
	if (!request->seen && !request->body) {
		request->seen = true;
		web->request(web->context, request, path);
	}
	if (request->body)
		return queue(request);
	suspend(request);
	return MHD_YES;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **of_request,
			 enum MHD_RequestTerminationCode code)
{
	struct web_request *request = *of_request;

	(void)context;
	(void)connection;
	(void)code;
	if (request)
		web_body_free(request->body);
	free(request);
	*of_request = NULL;
}

/* Opening and closing */

static int listen_at(const struct ip_port *at)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(at->port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(at->port)};
	bool is_six = at->addr.family == AF_INET6;
	int fd = socket(at->addr.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, code = 0;

	memcpy(&six.sin6_addr, at->addr.bytes, sizeof(six.sin6_addr));
	memcpy(&four.sin_addr, at->addr.bytes, sizeof(four.sin_addr));
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, is_six ? (const struct sockaddr *)&six : (const struct sockaddr *)&four,
		 is_six ? sizeof(six) : sizeof(four)) < 0 ||
	    listen(fd, (int)CONNECTIONS_MAX) < 0) {
		code = -errno;
		close(fd);
	}
	return code < 0 ? code : fd;
}

static struct MHD_Daemon *start(struct web *web, int fd)
{
	return mhd.start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, web,
				MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
				MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S,
				MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_MAX, MHD_OPTION_END);
}

static void open_handles(struct web *web, uv_loop_t *loop)
{
	int fd = mhd.get_daemon_info(web->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;

	uv_timer_init(loop, &web->timer);
	uv_poll_init(loop, &web->poll, fd);
	uv_idle_init(loop, &web->clearing);
	web->timer.data = web->poll.data = web->clearing.data = web;
	web->open_handles = 3;
	uv_poll_start(&web->poll, UV_READABLE, on_readable);
}

int web_open(uv_loop_t *loop, const struct ip_port *at, web_request_fn request, void *context, struct web **ret,
	     struct error *err)
{
	int fd = listen_at(at);
	char text[IP_PORT_TEXT];
	struct web *web;

	if (fd < 0)
		return fail(err, fd, "cannot listen on %s: %s", ip_port_text(at, text), strerror(-fd));
	web = xcalloc(1, sizeof(*web));
	web->request = request;
	web->context = context;
	load_mhd();
	web->daemon = start(web, fd);
	if (!web->daemon) {
		close(fd);
		free(web);
		return fail(err, -EIO, "cannot serve HTTP on %s", ip_port_text(at, text));
	}
	open_handles(web, loop);
	*ret = web;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct web *web = handle->data;

	if (!--web->open_handles)
		free(web);
}

void web_close(struct web *web)
{
	if (!web)
		return;
	while (web->waiting)
		web_answer(web->waiting, MHD_HTTP_SERVICE_UNAVAILABLE, NULL);
	mhd.run(web->daemon);
	uv_poll_stop(&web->poll);
	mhd.stop_daemon(web->daemon);
	uv_close((uv_handle_t *)&web->poll, on_closed);
	uv_close((uv_handle_t *)&web->timer, on_closed);
	uv_close((uv_handle_t *)&web->clearing, on_closed);
	scroll_clear(&web->rubbish);
}
