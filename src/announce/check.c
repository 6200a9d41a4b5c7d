/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "announce/check.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "health/judge.h"
#include "health/probe.h"

/* One command; it may outlive its check, or its time. */
struct attempt {
	struct check *check; /* NULL: nobody waits for it any more */
	uv_process_t process;
};

struct check {
	uv_loop_t *loop;
	const struct check_conf *conf;
	struct ip_port at;
	check_changed_fn changed;
	void *context;
	struct judge judge;
	bool was_up; /* once */
	bool told;   /* anything at all */

	struct prober *prober;
	struct probe_conf probe_conf;
	bool busy; /* a check is under way: one of these two */
	struct probe *probe;
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
	check->changed(check->context, check->judge.verdict == VERDICT_UP, text);
	free(text);
}

/* Until it has been up once, it is not down but not there yet, however often it fails. */
static void take_result(struct check *check, bool good, const char *reason)
{
	bool changed = judge_note(&check->judge, good, CHECK_RISE, check->was_up ? CHECK_FALL : UINT32_MAX);

	check->busy = false;
	uv_timer_stop(&check->timeout);
	if (good && !check->was_up) {
		check->was_up = true;
		set_interval(check);
	}
	if (changed || !check->told)
		tell(check, reason);
}

/* Attempts */

static void free_attempt(uv_handle_t *handle)
{
	free(handle->data);
}

static void close_attempt(struct attempt *attempt)
{
	attempt->process.data = attempt;
	uv_close((uv_handle_t *)&attempt->process, free_attempt);
}

/* Nobody waits for it any more. */
static void give_up(struct check *check)
{
	struct attempt *attempt = check->attempt;

	probe_cancel(check->probe);
	check->probe = NULL;
	check->attempt = NULL;
	if (!attempt)
		return;
	attempt->check = NULL;
	kill(-attempt->process.pid, SIGKILL); /* its whole group; its end is seen later */
}

static void on_timeout(uv_timer_t *timer)
{
	struct check *check = timer->data;

	give_up(check);
	take_result(check, false, "no answer in time");
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
	struct attempt *attempt = xcalloc(1, sizeof(*attempt));
	char *args[] = {(char *)"/bin/sh", (char *)"-c", (char *)check->conf->text, NULL};
	const uv_process_options_t options = {
		.file = args[0],
		.args = args,
		.exit_cb = on_exit_of_command,
		.flags = UV_PROCESS_DETACHED, /* a group of its own, to be killed as a whole */
	};
	int code;

	attempt->check = check;
	uv_timer_start(&check->timeout, on_timeout, CHECK_TIMEOUT_MS, 0);
	code = uv_spawn(check->loop, &attempt->process, &options);
	attempt->process.data = attempt;
	if (code) {
		close_attempt(attempt);
		take_result(check, false, uv_strerror(code));
	} else {
		check->attempt = attempt;
	}
}

static void on_probed(void *context, enum probe_outcome outcome, const char *reason)
{
	struct check *check = context;

	check->probe = NULL;
	take_result(check, outcome == PROBE_GOOD, reason);
}

/* Time */

static void on_interval(uv_timer_t *timer)
{
	struct check *check = timer->data;

	if (check->busy)
		return;
	check->busy = true;
	if (check->conf->kind == CHECK_EXEC)
		start_exec(check);
	else /* has a timeout of its own */
		check->probe = probe_start(check->prober, &check->probe_conf, &check->at, on_probed, check);
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
		.judge.verdict = VERDICT_UNKNOWN,
		.prober = prober_open(loop, NULL, NULL),
		.probe_conf = check_default.probe,
		.open_timers = 2,
	};
	check->probe_conf.kind = conf->kind == CHECK_HTTP ? PROBE_HTTP : PROBE_TCP;
	check->probe_conf.path = conf->text;
	check->probe_conf.timeout_ms = CHECK_TIMEOUT_MS;
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
	prober_close(check->prober);
	uv_close((uv_handle_t *)&check->interval, on_timer_closed);
	uv_close((uv_handle_t *)&check->timeout, on_timer_closed);
}
