/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/link-checks.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/age.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/ambassador-state.h"
#include "daemon/changelog.h"
#include "daemon/verdict-keeper.h"
#include "kernel/netns.h"

/* Sockets */

struct socket_order {
	int family, fd;
};

static int open_socket(void *context)
{
	struct socket_order *order = context;

	order->fd = socket(order->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return order->fd < 0 ? -errno : 0;
}

/* In the namespace of the rules: a connection begins where the application's do. */
static int make_socket(void *context, int family)
{
	struct ambassador *ambassador = context;
	struct socket_order order = {.family = family};
	int code = netns_call(ambassador->netns_fd, open_socket, &order, NULL);

	return code < 0 ? code : order.fd;
}

/*
 * What is sent to a listen address goes where the link leads, and tells nothing of who listens there. Those that the
 * link leads there are not led on: a packet is translated once.
 */
static const char *refuse(void *context, const struct ip_port *at)
{
	struct ambassador *ambassador = context;
	const struct listen listen = {.protocol = IPPROTO_TCP, .at = *at};

	return link_find(ambassador, &listen)
		       ? "it cannot be checked: a link listens on its address, and would lead the check elsewhere"
		       : NULL;
}

/* The log */

static void log_verdict(const struct link *link, const struct endpoint *endpoint, const struct check_report *report,
			int64_t down_since)
{
	struct ambassador *ambassador = link->ambassador;
	const char *netns = ambassador->netns, *name = link->conf->name;
	char age[AGE_TEXT];

	if (report->verdict == VERDICT_DOWN)
		event_say(changelog_level(&ambassador->verdict_lines, LOG_LEVEL_WARNING), CAUSE_CHECK, netns, name,
			  "%s is down: %s (%u check%s in a row)", endpoint->id, report->reason, report->in_a_row,
			  report->in_a_row == 1 ? "" : "s");
	else if (report->verdict == VERDICT_UP && down_since)
		event_say(changelog_level(&ambassador->verdict_lines, LOG_LEVEL_NOTICE), CAUSE_CHECK, netns, name,
			  "%s is up again after %s", endpoint->id,
			  age_text((double)(report->since - down_since) / 1000, age));
	else
		event_say(LOG_LEVEL_DEBUG, CAUSE_CHECK, netns, name, "%s: %s", endpoint->id, report->reason);
}

/* Verdicts */

static void on_changed(void *context, const struct check_watcher *watcher, enum verdict before, int64_t before_since)
{
	struct link *link = watcher->owner;
	struct check_report report = check_report(watcher->target);

	(void)context;
	link_mark_changed(link, CAUSE_CHECK);
	log_verdict(link, &link->checks.endpoints->items[watcher - link->checks.watchers], &report,
		    before == VERDICT_DOWN ? before_since : 0);
}

static bool on_remembered(void *context, const struct ip_port *at, const char *probe, struct check_report *ret)
{
	const struct ambassador *ambassador = context;

	return verdict_keeper_find(ambassador->options.verdicts, ambassador->netns, at, probe, ret);
}

static const struct check_watcher *find_watcher(const struct link *link, const struct ip_port *at)
{
	const struct link_checks *checks = &link->checks;
	const struct endpoint *endpoint = checks->endpoints ? endpoints_find_address(checks->endpoints, at) : NULL;
	const struct check_watcher *watcher = endpoint ? &checks->watchers[endpoint - checks->endpoints->items] : NULL;

	return watcher && watcher->target ? watcher : NULL;
}

bool link_checks_report(const struct link *link, const struct ip_port *at, struct check_report *ret)
{
	const struct check_watcher *watcher = find_watcher(link, at);

	if (watcher)
		*ret = check_report(watcher->target);
	return watcher != NULL;
}

/* One that waits for its first verdict counts as down, but not one that will never have any. */
static enum verdict verdict_for(const struct link *link, const struct check_report *report)
{
	bool waits = report->verdict == VERDICT_UNKNOWN && link->conf->check.wait && !report->unchecked;

	return waits ? VERDICT_DOWN : report->verdict;
}

void link_checks_appraise(const struct link *link, const struct endpoints *weighed, struct appraisal *appraisals)
{
	struct check_report report;

	for (uint32_t i = 0; link->checks.endpoints && i < weighed->count; i++) {
		if (link_checks_report(link, &weighed->items[i].at, &report))
			appraisals[i].verdict = verdict_for(link, &report);
	}
}

/* Watching */

static struct checker *obtain_checker(struct ambassador *ambassador)
{
	static const struct checker_events events = {
		.make_socket = make_socket,
		.refuse = refuse,
		.changed = on_changed,
		.remembered = on_remembered,
	};

	if (ambassador->checker)
		return ambassador->checker;
	ambassador->checker = checker_open(ambassador->loop, &events, ambassador);
	if (ambassador->nft)
		checker_resume(ambassador->checker);
	return ambassador->checker;
}

static void clear(struct link_checks *checks)
{
	for (uint32_t i = 0; checks->endpoints && i < checks->endpoints->count; i++)
		checker_unwatch(&checks->watchers[i]);
	free(checks->watchers);
	endpoints_unref(checks->endpoints);
	check_method_drop(checks->method);
	*checks = (struct link_checks){0};
}

void link_checks_clear(struct link *link)
{
	clear(&link->checks);
}

static bool is_wanted(const struct link *link)
{
	const struct ambassador_options *options = &link->ambassador->options;

	return link->conf->check.probe.kind != PROBE_NONE && !options->once && !options->dry_run;
}

/* Of the other family, or the link itself: it cannot serve, so nobody needs to know. */
static bool is_usable(const struct link *link, const struct ip_port *at)
{
	const struct ip_port *listen = &link->conf->listen.at;

	return at->addr.family == listen->addr.family && !ip_port_equal(at, listen);
}

static struct link_checks watch(struct link *link, struct check_method *method, const struct endpoints *endpoints)
{
	struct link_checks checks = {
		.endpoints = endpoints_ref(endpoints),
		.method = method,
		.watchers = xcalloc(endpoints->count + 1, sizeof(*checks.watchers)),
	};

	for (uint32_t i = 0; i < endpoints->count; i++) {
		checks.watchers[i].owner = link;
		if (is_usable(link, &endpoints->items[i].at))
			checker_watch(method, &endpoints->items[i].at, &checks.watchers[i]);
	}
	return checks;
}

void link_checks_follow(struct link *link, const struct endpoints *endpoints)
{
	struct link_checks former = link->checks;
	struct check_method *method;

	if (!is_wanted(link)) {
		link_checks_clear(link);
		return;
	}
	method = check_method_take(obtain_checker(link->ambassador), &link->conf->check);
	if (former.endpoints == endpoints && former.method == method) {
		check_method_drop(method);
		return;
	}
	/* The new ones first: what both have in common is then never without a watcher, and keeps its verdict. */
	link->checks = watch(link, method, endpoints);
	clear(&former);
}
