/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "base/library.h"
#include "base/mem.h"

/* A peer that vanished is noticed after KEEPALIVE_IDLE_S + KEEPALIVE_COUNT * KEEPALIVE_INTERVAL_S. */
#define KEEPALIVE_IDLE_S 10
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_COUNT 3

/* What one read takes from a socket at most: the events of a burst then come in few pieces. */
#define READ_SIZE (256L << 10)
#define READ_SIZE_BRIEF (4L << 10)

/* libcurl, loaded when somebody speaks HTTP: it brings 30 other libraries along. */
#define FUNCTIONS(DO) \
	DO(global_init) \
	DO(easy_init) \
	DO(easy_setopt) \
	DO(easy_getinfo) \
	DO(easy_header) \
	DO(easy_strerror) \
	DO(easy_cleanup) \
	DO(multi_init) \
	DO(multi_setopt) \
	DO(multi_assign) \
	DO(multi_add_handle) \
	DO(multi_socket_action) \
	DO(multi_info_read) \
	DO(multi_remove_handle) \
	DO(multi_cleanup) \
	DO(slist_append) \
	DO(slist_free_all)

static struct {
#define DECLARE(name) __typeof__(curl_##name) *(name);
	FUNCTIONS(DECLARE)
} curl;

static void load_curl(void)
{
	void *library;

	if (curl.global_init)
		return;
	library = library_load("libcurl.so.4");
#define FIND(name) library_find(library, "curl_" #name, &curl.name);
	FUNCTIONS(FIND)
	curl.global_init(CURL_GLOBAL_DEFAULT);
}

struct http {
	uv_loop_t *loop;
	CURLM *multi;
	uv_timer_t timer;
	unsigned int open_handles; /* of libuv's: the timer and the sockets */
	bool telling;		   /* callbacks are running: requests are freed behind them */
	struct http_request *requests;
};

struct http_socket {
	struct http *http;
	curl_socket_t number;
	uv_poll_t poll;
};

struct http_request {
	struct http *http;
	CURL *easy;
	struct curl_slist *headers, *connect_to;
	int (*make_socket)(void *context, int family);
	void *make_socket_context;
	int socket_error; /* of make_socket(), a negative errno */
	const struct http_events *events;
	void *context;
	bool cancelled, finished;
	CURLcode result;
	char *bytes; /* what has come and was not taken */
	size_t length, capacity, unread_max;
	bool fresh;    /* some of them were not shown yet */
	bool too_much; /* came */
	char reason[CURL_ERROR_SIZE];
	struct http_request *prev, *next;
};

static void free_request(struct http_request *request)
{
	struct http *http = request->http;

	DL_DELETE(http->requests, request);
	curl.multi_remove_handle(http->multi, request->easy);
	curl.easy_cleanup(request->easy);
	curl.slist_free_all(request->headers);
	curl.slist_free_all(request->connect_to);
	free(request->bytes);
	free(request);
}

/* Answers */

/* Why a transfer failed. Without numbers that change from one try to the next: who logs compares sentences. */
static const char *failure_text(const struct http_request *request, int os_error)
{
	switch ((int)request->result) { // NOLINT: libcurl's enum is not ours to list
	case CURLE_COULDNT_RESOLVE_HOST:
		return "its name cannot be resolved";
	case CURLE_COULDNT_CONNECT:
		return os_error ? strerror(os_error) : "cannot be connected to";
	case CURLE_OPERATION_TIMEDOUT:
		return "no answer in time";
	case CURLE_GOT_NOTHING:
		return "the connection was closed without an answer";
	default:
		return *request->reason ? request->reason : curl.easy_strerror(request->result);
	}
}

/* Why there is no connection, as an errno; 0: there is one, or it is not known. */
static int os_error_of(const struct http_request *request)
{
	long os_error = 0;

	if (request->socket_error)
		return -request->socket_error;
	if (request->result == CURLE_COULDNT_CONNECT)
		curl.easy_getinfo(request->easy, CURLINFO_OS_ERRNO, &os_error);
	return (int)os_error;
}

static struct http_answer make_answer(struct http_request *request)
{
	curl_off_t connect_time = 0;
	struct http_answer answer = {
		.body = request->bytes ? request->bytes : "",
		.length = request->length,
		.os_error = os_error_of(request),
		.request = request,
	};

	curl.easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &answer.status);
	curl.easy_getinfo(request->easy, CURLINFO_CONNECT_TIME_T, &connect_time);
	answer.connected = connect_time > 0;
	if (request->too_much) {
		answer.code = -EMSGSIZE;
		answer.error = "its answer is too large";
	} else if (request->result != CURLE_OK) {
		answer.code = request->result == CURLE_OPERATION_TIMEDOUT ? -ETIMEDOUT : -EIO;
		answer.error = failure_text(request, answer.os_error);
	}
	return answer;
}

const char *http_answer_header(const struct http_answer *answer, const char *name)
{
	struct curl_header *header;

	/* The last one: of a proxy's and the server's own, that which came from nearer by. */
	if (curl.easy_header(answer->request->easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
		return NULL;
	return header->value;
}

static bool is_good(const struct http_request *request)
{
	long status = 0;

	curl.easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
	return status == 200;
}

static void tell_data(struct http_request *request)
{
	size_t taken;

	request->fresh = false;
	taken = request->events->data(request->context, request->bytes, request->length);
	request->length -= taken;
	memmove(request->bytes, request->bytes + taken, request->length + 1);
}

static void tell(struct http_request *request)
{
	struct http_answer answer;

	if (request->fresh && request->events->data && is_good(request))
		tell_data(request);
	if (request->cancelled || !request->finished)
		return;
	answer = make_answer(request);
	request->events->done(request->context, &answer);
	request->cancelled = true; /* told; to be freed */
}

static void note_finished(struct http *http)
{
	struct http_request *request;
	CURLMsg *message;
	int left;

	while ((message = curl.multi_info_read(http->multi, &left))) {
		if (message->msg != CURLMSG_DONE)
			continue;
		curl.easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &request);
		request->finished = true;
		request->result = message->data.result;
	}
}

/*
 * Callbacks are called when libcurl has returned, and not from within its own: there, no request could be started or
 * cancelled. What came in one turn comes in one piece.
 */
static void tell_all(struct http *http)
{
	struct http_request *request, *next;

	note_finished(http);
	http->telling = true;
	DL_FOREACH(http->requests, request)
	if (!request->cancelled)
		tell(request);
	http->telling = false;
	DL_FOREACH_SAFE (http->requests, request, next)
		if (request->cancelled)
			free_request(request);
}

/* libcurl's callbacks */

static size_t on_bytes(char *bytes, size_t size, size_t count, void *context)
{
	struct http_request *request = context;
	size_t length = size * count;

	if (length > request->unread_max - request->length) {
		request->too_much = true;
		return 0;
	}
	while (request->length + length + 1 > request->capacity) {
		request->capacity = request->capacity ? request->capacity * 2 : 4096;
		request->bytes = xrealloc(request->bytes, request->capacity, 1);
	}
	memcpy(request->bytes + request->length, bytes, length);
	request->length += length;
	request->bytes[request->length] = '\0';
	request->fresh = true;
	return length;
}

static int on_socket_made(void *context, curl_socket_t number, curlsocktype purpose)
{
	static const int idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S, count = KEEPALIVE_COUNT, on = 1;
	unsigned int patience_ms = (KEEPALIVE_IDLE_S + KEEPALIVE_INTERVAL_S * KEEPALIVE_COUNT) * 1000;

	(void)context, (void)purpose;
	/* What the kernel does not know is left out: others prove the peer's life, too. */
	setsockopt(number, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(number, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(number, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(number, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(number, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof(patience_ms));
	return CURL_SOCKOPT_OK;
}

/* A reset keeps no TIME_WAIT, and what is kept alive is not this brief. */
static int on_brief_socket_made(void *context, curl_socket_t number, curlsocktype purpose)
{
	static const struct linger reset = {.l_onoff = 1};

	(void)context, (void)purpose;
	setsockopt(number, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	return CURL_SOCKOPT_OK;
}

static curl_socket_t on_socket_needed(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct http_request *request = context;
	int fd = request->make_socket(request->make_socket_context, address->family);

	(void)purpose;
	request->socket_error = fd < 0 ? fd : 0;
	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static void on_readiness(uv_poll_t *poll, int status, int events)
{
	struct http_socket *socket = poll->data;
	struct http *http = socket->http;
	/* Of an error, libuv does not know which; libcurl finds out when it reads and writes. */
	int action = status < 0 ? CURL_CSELECT_IN | CURL_CSELECT_OUT : 0, running;

	if (events & UV_READABLE)
		action |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		action |= CURL_CSELECT_OUT;
	curl.multi_socket_action(http->multi, socket->number, action, &running);
	tell_all(http);
}

static void on_time(uv_timer_t *timer)
{
	struct http *http = timer->data;
	int running;

	curl.multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	tell_all(http);
}

static int on_timer_wanted(CURLM *multi, long timeout_ms, void *context)
{
	struct http *http = context;

	(void)multi;
	if (timeout_ms < 0) {
		uv_timer_stop(&http->timer);
		return 0;
	}
	/* Rather late than early: libcurl does not ask again for a timeout that it has asked for already. */
	uv_update_time(http->loop);
	uv_timer_start(&http->timer, on_time, timeout_ms ? (uint64_t)timeout_ms + 1 : 0, 0);
	return 0;
}

static void on_closed(struct http *http)
{
	if (--http->open_handles == 0)
		free(http);
}

static void on_timer_closed(uv_handle_t *handle)
{
	on_closed(handle->data);
}

static void on_socket_closed(uv_handle_t *handle)
{
	struct http_socket *socket = handle->data;

	on_closed(socket->http);
	free(socket);
}

static struct http_socket *new_socket(struct http *http, curl_socket_t number)
{
	struct http_socket *socket = xcalloc(1, sizeof(*socket));

	*socket = (struct http_socket){.http = http, .number = number};
	if (uv_poll_init_socket(http->loop, &socket->poll, number) != 0) {
		free(socket);
		return NULL;
	}
	socket->poll.data = socket;
	http->open_handles++;
	curl.multi_assign(http->multi, number, socket);
	return socket;
}

static int on_socket_wanted(CURL *easy, curl_socket_t number, int what, void *context, void *assigned)
{
	struct http_socket *socket = assigned;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (socket) {
			uv_poll_stop(&socket->poll);
			uv_close((uv_handle_t *)&socket->poll, on_socket_closed);
		}
		return 0;
	}
	if (!socket)
		socket = new_socket(context, number);
	if (!socket)
		return -1;
	if (what & CURL_POLL_IN)
		events |= UV_READABLE;
	if (what & CURL_POLL_OUT)
		events |= UV_WRITABLE;
	uv_poll_start(&socket->poll, events, on_readiness);
	return 0;
}

/* Requests */

static void set_tls(CURL *easy, const struct http_conf *conf)
{
	if (conf->ca)
		curl.easy_setopt(easy, CURLOPT_CAINFO, conf->ca);
	if (conf->cert)
		curl.easy_setopt(easy, CURLOPT_SSLCERT, conf->cert);
	if (conf->key)
		curl.easy_setopt(easy, CURLOPT_SSLKEY, conf->key);
	if (conf->unverified) {
		curl.easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
		curl.easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	/* A resumed session, or authorities that were kept, would hide that the files were replaced. */
	curl.easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
#if LIBCURL_VERSION_NUM >= 0x075700
	curl.easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
#endif
}

static void set_manners(CURL *easy, bool brief)
{
	curl.easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl.easy_setopt(easy, CURLOPT_PROXY, "");
	curl.easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl.easy_setopt(easy, CURLOPT_BUFFERSIZE, brief ? READ_SIZE_BRIEF : READ_SIZE);
	curl.easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, brief ? on_brief_socket_made : on_socket_made);
#if LIBCURL_VERSION_NUM >= 0x075700
	/* Else, giving up a request would wait for the thread that resolves its name. */
	curl.easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
}

static void set_connection(struct http_request *request, const struct http_conf *conf)
{
	bool fresh = conf->fresh || conf->brief;

	if (conf->socket)
		curl.easy_setopt(request->easy, CURLOPT_UNIX_SOCKET_PATH, conf->socket);
	if (conf->connect_to) {
		char *to = xasprintf("::%s", conf->connect_to);

		request->connect_to = curl.slist_append(NULL, to);
		curl.easy_setopt(request->easy, CURLOPT_CONNECT_TO, request->connect_to);
		free(to);
	}
	/* libcurl looks through all that it keeps, at each request, and keeps addresses too that were no names. */
	if (conf->brief)
		curl.easy_setopt(request->easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
	if (conf->make_socket) {
		request->make_socket = conf->make_socket;
		request->make_socket_context = conf->make_socket_context;
		curl.easy_setopt(request->easy, CURLOPT_OPENSOCKETFUNCTION, on_socket_needed);
		curl.easy_setopt(request->easy, CURLOPT_OPENSOCKETDATA, request);
	}
	curl.easy_setopt(request->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)conf->connect_timeout_ms);
	curl.easy_setopt(request->easy, CURLOPT_TIMEOUT_MS, (long)conf->timeout_ms);
	curl.easy_setopt(request->easy, CURLOPT_FRESH_CONNECT, (long)fresh);
	curl.easy_setopt(request->easy, CURLOPT_FORBID_REUSE, (long)fresh);
}

static void set_body(struct http_request *request, const struct http_conf *conf)
{
	for (const char *const *header = conf->headers; header && *header; header++)
		request->headers = curl.slist_append(request->headers, *header);
	if (conf->method)
		curl.easy_setopt(request->easy, CURLOPT_CUSTOMREQUEST, conf->method);
	if (conf->body) {
		curl.easy_setopt(request->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(conf->body));
		curl.easy_setopt(request->easy, CURLOPT_COPYPOSTFIELDS, conf->body);
		request->headers = curl.slist_append(request->headers, "Expect:");
	}
	curl.easy_setopt(request->easy, CURLOPT_HTTPHEADER, request->headers);
}

struct http_request *http_start(struct http *http, const struct http_conf *conf, const struct http_events *events,
				void *context)
{
	struct http_request *request = xcalloc(1, sizeof(*request));

	*request = (struct http_request){
		.http = http,
		.easy = curl.easy_init(),
		.events = events,
		.context = context,
		.unread_max = conf->unread_max,
	};
	if (!request->easy)
		abort(); /* only without memory, as in base/mem.h */
	set_manners(request->easy, conf->brief);
	set_tls(request->easy, conf);
	set_connection(request, conf);
	set_body(request, conf);
	curl.easy_setopt(request->easy, CURLOPT_URL, conf->url);
	curl.easy_setopt(request->easy, CURLOPT_PRIVATE, request);
	curl.easy_setopt(request->easy, CURLOPT_ERRORBUFFER, request->reason);
	curl.easy_setopt(request->easy, CURLOPT_WRITEFUNCTION, on_bytes);
	curl.easy_setopt(request->easy, CURLOPT_WRITEDATA, request);
	DL_APPEND(http->requests, request);
	curl.multi_add_handle(http->multi, request->easy);
	return request;
}

void http_cancel(struct http_request *request)
{
	if (!request)
		return;
	request->cancelled = true;
	if (!request->http->telling)
		free_request(request);
}

struct http *http_open(uv_loop_t *loop)
{
	struct http *http = xcalloc(1, sizeof(*http));

	load_curl();
	*http = (struct http){.loop = loop, .multi = curl.multi_init(), .open_handles = 1};
	if (!http->multi)
		abort(); /* only without memory */
	uv_timer_init(loop, &http->timer);
	http->timer.data = http;
	curl.multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted);
	curl.multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl.multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
	curl.multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	return http;
}

void http_close(struct http *http)
{
	struct http_request *request, *next;

	if (!http)
		return;
	DL_FOREACH_SAFE (http->requests, request, next)
		free_request(request);
	curl.multi_cleanup(http->multi);
	uv_close((uv_handle_t *)&http->timer, on_timer_closed);
}
