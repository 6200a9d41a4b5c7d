/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "announce/announce.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "announce/address.h"
#include "announce/check.h"
#include "announce/command.h"
#include "announce/registrar.h"
#include "announce/supervised.h"
#include "base/log.h"
#include "base/mem.h"

/* As a shell says that a command was not found, or could not be executed. */
#define EXIT_NOT_FOUND 127
#define EXIT_NOT_EXECUTED 126

/* Those that end us, and those that are only handed on. */
static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH};

struct announce {
	uv_loop_t loop;
	const struct announce_conf *conf;
	struct ip_port at;
	struct address_search *search; /* while the address is not known */
	struct registrar *registrar;   /* since it is */
	struct check *check;	       /* NULL: none, or we end */
	struct command *command;
	struct supervised *supervised; /* NULL: nobody's */
	uv_signal_t signals[ARRAY_SIZE(signals)];
	uv_timer_t timer; /* of the withdrawal, then of the drain */

	bool healthy;
	bool announced; /* the registry has it */
	bool ending;	/* the rest is about this: */
	bool withdrawn; /* the registry has it no more, or had its time */
	bool drained;
	int exit_code;
};

static void advance(struct announce *announce);

static void on_withdrawal_overdue(uv_timer_t *timer)
{
	struct announce *announce = timer->data;

	log_warning("service %s: the registry does not take the endpoint back in time, %s", announce->conf->service,
		    registrar_remains(announce->registrar));
	announce->withdrawn = true;
	advance(announce);
}

static void on_drained(uv_timer_t *timer)
{
	struct announce *announce = timer->data;

	announce->drained = true;
	advance(announce);
}

/* The way to the end: withdrawn, drained, stopped. What is done already is passed. */
static void advance(struct announce *announce)
{
	if (!announce->withdrawn)
		return;
	if (!command_runs(announce->command)) {
		uv_stop(&announce->loop);
	} else if (!announce->drained) {
		if (announce->conf->drain_ms)
			log_info("service %s: withdrawn, the command goes on for %u ms", announce->conf->service,
				 announce->conf->drain_ms);
		uv_timer_start(&announce->timer, on_drained, announce->conf->drain_ms, 0);
	} else {
		command_stop(announce->command);
	}
}

static void end(struct announce *announce)
{
	announce->ending = true;
	supervised_stopping(announce->supervised);
	check_close(announce->check);
	announce->check = NULL;
	address_search_close(announce->search);
	announce->search = NULL;
	announce->withdrawn = !announce->registrar;
	if (announce->registrar) {
		uv_timer_start(&announce->timer, on_withdrawal_overdue, ANNOUNCE_WITHDRAW_MS, 0);
		registrar_want(announce->registrar, false);
	} else {
		advance(announce);
	}
}

/* What happens */

static void on_announced(void *context, const char *how)
{
	struct announce *announce = context;
	char address[IP_PORT_TEXT];

	announce->announced = true;
	log_info("service %s: %s is announced, %s", announce->conf->service, ip_port_text(&announce->at, address), how);
	supervised_status(announce->supervised, true, "%s is announced, %s", address, how);
}

static void on_withdrawn(void *context)
{
	struct announce *announce = context;
	char address[IP_PORT_TEXT];

	if (announce->announced)
		log_info("service %s: %s is withdrawn", announce->conf->service, ip_port_text(&announce->at, address));
	if (announce->announced && announce->ending)
		supervised_status(announce->supervised, false, "withdrawn");
	announce->announced = false;
	if (!announce->ending)
		return;
	uv_timer_stop(&announce->timer);
	announce->withdrawn = true;
	advance(announce);
}

static void on_health_changed(void *context, bool healthy, const char *reason)
{
	struct announce *announce = context;

	if (healthy)
		log_info("service %s: healthy: %s", announce->conf->service, reason);
	else
		log_write(announce->healthy ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "service %s: %s: %s",
			  announce->conf->service, announce->healthy ? "unhealthy" : "not yet healthy", reason);
	announce->healthy = healthy;
	if (!healthy)
		supervised_status(announce->supervised, false, "not announced: %s", reason);
	registrar_want(announce->registrar, healthy);
}

static void on_command_ended(void *context, int exit_code)
{
	struct announce *announce = context;

	announce->exit_code = exit_code;
	log_notice("service %s: the command has ended with %d", announce->conf->service, exit_code);
	if (announce->ending)
		advance(announce);
	else
		end(announce);
}

/* Asked a second time, it does not wait for anything but the command's end. */
static void on_end_wanted(struct announce *announce, const char *name)
{
	log_notice("%s: ending", name);
	if (!announce->ending) {
		end(announce);
		return;
	}
	uv_timer_stop(&announce->timer);
	announce->withdrawn = announce->drained = true;
	advance(announce);
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct announce *announce = handle->data;

	if (number == SIGTERM || number == SIGINT)
		on_end_wanted(announce, number == SIGINT ? "SIGINT" : "SIGTERM");
	else if (command_runs(announce->command))
		command_signal(announce->command, number);
	else if (number == SIGHUP)
		on_end_wanted(announce, "SIGHUP");
}

/* The start */

static void on_address_found(void *context, const struct ip_addr *addr)
{
	static const struct registrar_events events = {.announced = on_announced, .withdrawn = on_withdrawn};
	struct announce *announce = context;
	const struct announce_conf *conf = announce->conf;

	announce->at = (struct ip_port){.addr = *addr, .port = conf->at.port};
	announce->registrar = registrar_open(&announce->loop, conf, &announce->at, &events, announce);
	if (conf->check.kind == CHECK_NONE)
		registrar_want(announce->registrar, true);
	else
		announce->check = check_open(&announce->loop, &conf->check, &announce->at, on_health_changed, announce);
	address_search_close(announce->search);
	announce->search = NULL;
}

static void watch_signals(struct announce *announce)
{
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		uv_signal_init(&announce->loop, &announce->signals[i]);
		announce->signals[i].data = announce;
		uv_signal_start(&announce->signals[i], on_signal, signals[i]);
	}
	signal(SIGPIPE, SIG_IGN);
}

/* Returns whether there is something to run for. */
static bool start(struct announce *announce)
{
	const struct announce_conf *conf = announce->conf;
	struct error err;
	int code;

	if (conf->command) {
		code = command_start(&announce->loop, conf->command, on_command_ended, announce, &announce->command,
				     &err);
		if (code) {
			log_error("%s", err.text);
			announce->exit_code = code == -ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTED;
			return false;
		}
	}
	if (conf->at.addr.family)
		on_address_found(announce, &conf->at.addr);
	else
		announce->search = address_search_open(&announce->loop, conf, on_address_found, announce);
	return true;
}

static void close_everything(struct announce *announce)
{
	registrar_close(announce->registrar);
	supervised_close(announce->supervised);
	command_close(announce->command);
	uv_close((uv_handle_t *)&announce->timer, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		uv_close((uv_handle_t *)&announce->signals[i], NULL);
	uv_run(&announce->loop, UV_RUN_DEFAULT); /* the closing callbacks */
	uv_loop_close(&announce->loop);
}

int announce_run(const struct announce_conf *conf)
{
	struct announce announce = {.conf = conf};

	uv_loop_init(&announce.loop);
	uv_timer_init(&announce.loop, &announce.timer);
	announce.timer.data = &announce;
	watch_signals(&announce);
	announce.supervised = supervised_open(&announce.loop); /* before the command gets our environment */
	if (start(&announce))
		uv_run(&announce.loop, UV_RUN_DEFAULT);
	close_everything(&announce);
	return announce.exit_code;
}
