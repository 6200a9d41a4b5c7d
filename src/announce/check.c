/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "announce/check.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "announce/health.h"
#include "base/mem.h"
#include "discovery/http.h"

/* Of an answer that is not wanted, bytes. */
#define ANSWER_MAX (1 << 20)

/* One connection or command; it may outlive its check, or its time. */
struct attempt {
	struct check *check; /* NULL: nobody waits for it any more */
	union {
		uv_handle_t handle;
		uv_tcp_t tcp;
		uv_process_t process;
	};
	uv_connect_t connect;
};

struct check {
	uv_loop_t *loop;
	const struct check_conf *conf;
	struct ip_port at;
	check_changed_fn changed;
	void *context;
	struct health health;
	bool told; /* anything at all */

	struct http *http;
	bool busy; /* a check is under way: one of these two */
	struct http_request *request;
	struct attempt *attempt;
	uv_timer_t interval, timeout;
	int open_timers;
};

static void set_interval(struct check *check);

/* Results */

static void tell(struct check *check, const char *reason)
{
	char address[IP_PORT_TEXT], *text = NULL;

	switch (check->conf->kind) {
	case CHECK_NONE:
	case CHECK_TCP:
		text = xasprintf("check tcp %s: %s", ip_port_text(&check->at, address), reason);
		break;
	case CHECK_HTTP:
		text = xasprintf("check http://%s%s: %s", ip_port_text(&check->at, address), check->conf->text, reason);
		break;
	case CHECK_EXEC:
		text = xasprintf("check \"%s\": %s", check->conf->text, reason);
		break;
	}
	check->told = true;
	check->changed(check->context, check->health.up, text);
	free(text);
}

static void take_result(struct check *check, bool good, const char *reason)
{
	bool started = check->health.was_up;

	check->busy = false;
	uv_timer_stop(&check->timeout);
	if (health_note(&check->health, good) || !check->told) {
		if (!started && check->health.was_up)
			set_interval(check);
		tell(check, reason);
	}
}

/* Attempts */

static struct attempt *new_attempt(struct check *check)
{
	struct attempt *attempt = xcalloc(1, sizeof(*attempt));

	attempt->check = check;
	return attempt;
}

static void free_attempt(uv_handle_t *handle)
{
	free(handle->data);
}

static void close_attempt(struct attempt *attempt)
{
	attempt->handle.data = attempt;
	uv_close(&attempt->handle, free_attempt);
}

/* Nobody waits for it any more. */
static void give_up(struct check *check)
{
	struct attempt *attempt = check->attempt;

	http_cancel(check->request);
	check->request = NULL;
	check->attempt = NULL;
	if (!attempt)
		return;
	attempt->check = NULL;
	if (check->conf->kind == CHECK_EXEC)
		kill(-attempt->process.pid, SIGKILL); /* its whole group; its end is seen later */
	else
		close_attempt(attempt);
}

static void on_timeout(uv_timer_t *timer)
{
	struct check *check = timer->data;

	give_up(check);
	take_result(check, false, "no answer in time");
}

static void on_connected(uv_connect_t *request, int status)
{
	struct attempt *attempt = request->data;
	struct check *check = attempt->check;

	if (!check)
		return;
	check->attempt = NULL;
	close_attempt(attempt);
	take_result(check, status == 0, status ? uv_strerror(status) : "connected");
}

static void start_tcp(struct check *check)
{
	struct attempt *attempt = new_attempt(check);
	char host[IP_ADDR_TEXT];
	struct sockaddr_storage to;
	int code;

	ip_addr_text(&check->at.addr, host);
	if (check->at.addr.family == AF_INET)
		uv_ip4_addr(host, check->at.port, (struct sockaddr_in *)&to);
	else
		uv_ip6_addr(host, check->at.port, (struct sockaddr_in6 *)&to);
	uv_tcp_init(check->loop, &attempt->tcp);
	attempt->connect.data = attempt;
	code = uv_tcp_connect(&attempt->connect, &attempt->tcp, (const struct sockaddr *)&to, on_connected);
	if (code) {
		close_attempt(attempt);
		take_result(check, false, uv_strerror(code));
	} else {
		check->attempt = attempt;
	}
}

static void on_exit_of_command(uv_process_t *process, int64_t status, int signal)
{
	struct attempt *attempt = process->data;
	struct check *check = attempt->check;
	char reason[40];

	if (check) {
		check->attempt = NULL;
		snprintf(reason, sizeof(reason), signal ? "ended by signal %d" : "exit code %d",
			 signal ? signal : (int)status);
		take_result(check, status == 0 && !signal, reason);
	}
	close_attempt(attempt);
}

static void start_exec(struct check *check)
{
	struct attempt *attempt = new_attempt(check);
	char *args[] = {(char *)"/bin/sh", (char *)"-c", (char *)check->conf->text, NULL};
	const uv_process_options_t options = {
		.file = args[0],
		.args = args,
		.exit_cb = on_exit_of_command,
		.flags = UV_PROCESS_DETACHED, /* a group of its own, to be killed as a whole */
	};
	int code;

	code = uv_spawn(check->loop, &attempt->process, &options);
	attempt->process.data = attempt;
	if (code) {
		close_attempt(attempt);
		take_result(check, false, uv_strerror(code));
	} else {
		check->attempt = attempt;
	}
}

/* What it says beside its status is not looked at. */
static size_t on_answer_data(void *context, const char *bytes, size_t length)
{
	(void)context, (void)bytes;
	return length;
}

static void on_answer(void *context, const struct http_answer *answer)
{
	struct check *check = context;
	char reason[24];

	check->request = NULL;
	if (answer->code) {
		take_result(check, false, answer->error);
		return;
	}
	snprintf(reason, sizeof(reason), "status %ld", answer->status);
	take_result(check, answer->status >= 200 && answer->status < 400, reason);
}

static void start_http(struct check *check)
{
	static const struct http_events events = {.data = on_answer_data, .done = on_answer};
	/* A connection that was kept would say nothing about new ones. */
	static const char *const headers[] = {"Connection: close", "User-Agent: nuncio/" NUNCIO_VERSION, NULL};
	char address[IP_PORT_TEXT];
	char *url = xasprintf("http://%s%s", ip_port_text(&check->at, address), check->conf->text);
	const struct http_conf conf = {
		.url = url,
		.headers = headers,
		.connect_timeout_ms = CHECK_TIMEOUT_MS,
		.timeout_ms = CHECK_TIMEOUT_MS,
		.unread_max = ANSWER_MAX,
	};

	check->request = http_start(check->http, &conf, &events, check);
	free(url);
}

/* Time */

static void on_interval(uv_timer_t *timer)
{
	struct check *check = timer->data;

	if (check->busy)
		return;
	check->busy = true;
	if (check->conf->kind == CHECK_HTTP) {
		start_http(check); /* has a timeout of its own */
		return;
	}
	uv_timer_start(&check->timeout, on_timeout, CHECK_TIMEOUT_MS, 0);
	if (check->conf->kind == CHECK_EXEC)
		start_exec(check);
	else
		start_tcp(check);
}

static void set_interval(struct check *check)
{
	uint32_t interval = check->conf->interval_ms;

	uv_timer_start(&check->interval, on_interval, interval, interval);
}

struct check *check_open(uv_loop_t *loop, const struct check_conf *conf, const struct ip_port *at,
			 check_changed_fn changed, void *context)
{
	struct check *check = xcalloc(1, sizeof(*check));
	uint32_t first = conf->interval_ms < CHECK_START_MS ? conf->interval_ms : CHECK_START_MS;

	*check = (struct check){
		.loop = loop,
		.conf = conf,
		.at = *at,
		.changed = changed,
		.context = context,
		.http = conf->kind == CHECK_HTTP ? http_open(loop) : NULL,
		.open_timers = 2,
	};
	uv_timer_init(loop, &check->interval);
	uv_timer_init(loop, &check->timeout);
	check->interval.data = check->timeout.data = check;
	uv_timer_start(&check->interval, on_interval, 0, first);
	return check;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct check *check = handle->data;

	if (--check->open_timers == 0)
		free(check);
}

void check_close(struct check *check)
{
	if (!check)
		return;
	give_up(check);
	http_close(check->http);
	uv_close((uv_handle_t *)&check->interval, on_timer_closed);
	uv_close((uv_handle_t *)&check->timeout, on_timer_closed);
}
