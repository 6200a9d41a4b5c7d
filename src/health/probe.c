/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "health/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "discovery/http.h"

/* Of an answer that has to have something in it, bytes: what comes later is not looked at. */
#define BODY_MAX (64 << 10)

struct prober {
	uv_loop_t *loop;
	probe_socket_fn make_socket;
	void *context;
	struct http *http; /* NULL until an HTTP probe begins */
};

struct probe {
	struct prober *prober;
	const struct probe_conf *conf;
	probe_done_fn done;
	void *context;
	struct http_request *request; /* HTTP; or: */
	int fd, code;		      /* TCP's, and why it failed at once */
	bool no_socket;		      /* there was none for it */
	uv_poll_t poll;
	uv_timer_t timeout;
	int open_handles;
};

/* Reasons */

#define DURATION_TEXT 24

static const char *duration_text(uint32_t ms, char buffer[DURATION_TEXT])
{
	snprintf(buffer, DURATION_TEXT, ms % 1000 ? "%ums" : "%us", ms % 1000 ? ms : ms / 1000);
	return buffer;
}

static const char *failure_text(int code, const char *otherwise)
{
	switch (-code) {
	case ECONNREFUSED:
		return "refused";
	case EHOSTUNREACH:
		return "no route to host";
	case ENETUNREACH:
		return "no route to its network";
	case ECONNRESET:
		return "reset";
	default:
		return otherwise;
	}
}

/* Of what connect() says, what is our own trouble. */
static enum probe_outcome outcome_of(int code)
{
	switch (-code) {
	case 0:
		return PROBE_GOOD;
	case EADDRNOTAVAIL: /* no port is left */
	case ENOMEM:
	case ENOBUFS:
		return PROBE_NOT_MADE;
	default:
		return PROBE_FAILED;
	}
}

static void put_timeout(const struct probe *probe, bool connected, char reason[PROBE_REASON])
{
	char time[DURATION_TEXT];

	/* Over TLS, libcurl tells of a connection only when the handshake is through. */
	snprintf(reason, PROBE_REASON,
		 connected	    ? "connected, but no answer within %s"
		 : probe->conf->tls ? "no answer within %s"
				    : "timed out after %s",
		 duration_text(probe->conf->timeout_ms, time));
}

/* TCP */

static void on_handle_closed(uv_handle_t *handle)
{
	struct probe *probe = handle->data;

	if (--probe->open_handles == 0)
		free(probe);
}

static void close_tcp(struct probe *probe)
{
	if (probe->fd >= 0)
		uv_close((uv_handle_t *)&probe->poll, on_handle_closed);
	uv_close((uv_handle_t *)&probe->timeout, on_handle_closed);
	if (probe->fd >= 0)
		close(probe->fd);
}

static void end_tcp(struct probe *probe, enum probe_outcome outcome, const char *reason)
{
	close_tcp(probe);
	probe->done(probe->context, outcome, reason);
}

static void end_with_code(struct probe *probe, int code)
{
	end_tcp(probe, probe->no_socket ? PROBE_NOT_MADE : outcome_of(code),
		code ? failure_text(code, strerror(-code)) : "connected");
}

static void on_tcp_time(uv_timer_t *timer)
{
	struct probe *probe = timer->data;
	char reason[PROBE_REASON];

	if (probe->code) {
		end_with_code(probe, probe->code);
		return;
	}
	put_timeout(probe, false, reason);
	end_tcp(probe, PROBE_FAILED, reason);
}

static void on_tcp_event(uv_poll_t *poll, int status, int events)
{
	struct probe *probe = poll->data;
	int code = 0;
	socklen_t size = sizeof(code);

	(void)status, (void)events;
	if (getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0)
		code = errno;
	end_with_code(probe, -code);
}

static int connect_to(int fd, const struct ip_port *at)
{
	char host[IP_ADDR_TEXT];
	struct sockaddr_in6 six;
	struct sockaddr_in four;
	int code;

	ip_addr_text(&at->addr, host);
	if (at->addr.family == AF_INET6) {
		uv_ip6_addr(host, at->port, &six);
		code = connect(fd, (const struct sockaddr *)&six, sizeof(six));
	} else {
		uv_ip4_addr(host, at->port, &four);
		code = connect(fd, (const struct sockaddr *)&four, sizeof(four));
	}
	return code < 0 && errno != EINPROGRESS ? -errno : 0;
}

static int new_socket(void *context, int family)
{
	struct probe *probe = context;
	const struct prober *prober = probe->prober;
	int fd;

	if (prober->make_socket) {
		fd = prober->make_socket(prober->context, family);
	} else {
		fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		fd = fd < 0 ? -errno : fd;
	}
	probe->no_socket = fd < 0;
	return fd;
}

/* What fails at once is told a turn of the loop later. */
static void start_tcp(struct probe *probe, const struct ip_port *at)
{
	static const struct linger reset = {.l_onoff = 1};
	uv_loop_t *loop = probe->prober->loop;

	uv_timer_init(loop, &probe->timeout);
	probe->open_handles = 1;
	probe->poll.data = probe->timeout.data = probe;
	probe->fd = new_socket(probe, at->addr.family);
	probe->code = probe->fd < 0 ? probe->fd : connect_to(probe->fd, at);
	if (probe->fd >= 0) {
		setsockopt(probe->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		uv_poll_init(loop, &probe->poll, probe->fd);
		probe->open_handles++;
	}
	if (!probe->code)
		uv_poll_start(&probe->poll, UV_WRITABLE, on_tcp_event);
	/* The loop's time is that of the turn's beginning, which may have been long. */
	uv_update_time(loop);
	uv_timer_start(&probe->timeout, on_tcp_time, probe->code ? 0 : probe->conf->timeout_ms, 0);
}

/* HTTP */

/* What has to be found is kept, up to BODY_MAX; all else is not looked at. */
static size_t on_answer_data(void *context, const char *bytes, size_t length)
{
	const struct probe *probe = context;

	(void)bytes;
	return probe->conf->body ? 0 : length;
}

static enum probe_outcome judge_failure(const struct probe *probe, const struct http_answer *answer,
					char reason[PROBE_REASON])
{
	if (answer->code == -ETIMEDOUT && !answer->os_error)
		put_timeout(probe, answer->connected, reason);
	else
		snprintf(reason, PROBE_REASON, "%s", failure_text(-answer->os_error, answer->error));
	if (probe->no_socket)
		return PROBE_NOT_MADE;
	return answer->os_error ? outcome_of(-answer->os_error) : PROBE_FAILED;
}

static enum probe_outcome judge_answer(const struct probe *probe, const struct http_answer *answer,
				       char reason[PROBE_REASON])
{
	const struct probe_conf *conf = probe->conf;

	/* One that is too large still has its status, and its beginning. */
	if (answer->code && answer->code != -EMSGSIZE)
		return judge_failure(probe, answer, reason);
	snprintf(reason, PROBE_REASON, "HTTP %ld", answer->status);
	if (answer->status < conf->status_first || answer->status > conf->status_last)
		return PROBE_FAILED;
	if (!conf->body || memmem(answer->body, answer->length, conf->body, strlen(conf->body)))
		return PROBE_GOOD;
	snprintf(reason, PROBE_REASON, "HTTP %ld, but its body does not have \"%.80s\"", answer->status, conf->body);
	return PROBE_FAILED;
}

static void on_answer(void *context, const struct http_answer *answer)
{
	struct probe *probe = context;
	char reason[PROBE_REASON];
	enum probe_outcome outcome = judge_answer(probe, answer, reason);

	probe->done(probe->context, outcome, reason);
	free(probe);
}

/*
 * The name is in the URL only where TLS is to have it: then libcurl is told where to connect to instead. The Host
 * header has no port, whatever port is asked: that is how a client's would look, who knows of no backends.
 */
static void start_http(struct probe *probe, const struct ip_port *at)
{
	static const struct http_events events = {.data = on_answer_data, .done = on_answer};
	const struct probe_conf *conf = probe->conf;
	char address[IP_PORT_TEXT], host[300];
	const char *const headers[] = {"Connection: close", "User-Agent: nuncio/" NUNCIO_VERSION,
				       conf->host ? host : NULL, NULL};
	struct http_conf request = {
		.headers = headers,
		.connect_timeout_ms = conf->timeout_ms,
		.timeout_ms = conf->timeout_ms,
		.unread_max = BODY_MAX,
		.brief = true,
		.unverified = !conf->tls_verify,
		.make_socket = new_socket,
		.make_socket_context = probe,
	};
	char *url;

	ip_port_text(at, address);
	snprintf(host, sizeof(host), "Host: %s", conf->host ? conf->host : "");
	if (conf->tls && conf->host) {
		url = xasprintf("https://%s:%u%s", conf->host, at->port, conf->path);
		request.connect_to = address;
	} else {
		url = xasprintf("http%s://%s%s", conf->tls ? "s" : "", address, conf->path);
	}
	request.url = url;
	if (!probe->prober->http)
		probe->prober->http = http_open(probe->prober->loop);
	probe->request = http_start(probe->prober->http, &request, &events, probe);
	free(url);
}

/* Both */

struct probe *probe_start(struct prober *prober, const struct probe_conf *conf, const struct ip_port *at,
			  probe_done_fn done, void *context)
{
	struct probe *probe = xcalloc(1, sizeof(*probe));

	*probe = (struct probe){.prober = prober, .conf = conf, .done = done, .context = context, .fd = -1};
	if (conf->kind == PROBE_HTTP)
		start_http(probe, at);
	else
		start_tcp(probe, at);
	return probe;
}

void probe_cancel(struct probe *probe)
{
	if (!probe)
		return;
	if (probe->conf->kind != PROBE_HTTP) {
		close_tcp(probe);
		return;
	}
	http_cancel(probe->request);
	free(probe);
}

struct prober *prober_open(uv_loop_t *loop, probe_socket_fn make_socket, void *context)
{
	struct prober *prober = xcalloc(1, sizeof(*prober));

	*prober = (struct prober){.loop = loop, .make_socket = make_socket, .context = context};
	return prober;
}

void prober_close(struct prober *prober)
{
	if (!prober)
		return;
	http_close(prober->http);
	free(prober);
}
