/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/ambassador.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/event.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/ambassador-state.h"
#include "daemon/footprint.h"
#include "kernel/conntrack.h"
#include "kernel/net.h"
#include "kernel/netns.h"
#include "kernel/nft.h"
#include "kernel/sockdiag.h"
#include "ruleset/recover.h"

/* How often a named namespace is looked for: nothing tells when it goes, or comes back as another one. */
#define PRESENCE_MS 1000

/* How long changes of the namespace are let run before they are looked at. */
#define SETTLE_MS 100

/* How long a sidecar's namespace is without interfaces before it counts as left behind. */
#define ALONE_MS 1000

/* How often the footprint is looked at without an occasion: the kernel tells nobody that route_localnet was set. */
#define PATROL_MS 10000

static uv_handle_t *new_handle(struct ambassador *ambassador, size_t size)
{
	uv_handle_t *handle = xcalloc(1, size);

	handle->data = ambassador;
	return handle;
}

static uv_timer_t *new_timer(struct ambassador *ambassador)
{
	uv_timer_t *timer = (uv_timer_t *)(void *)new_handle(ambassador, sizeof(*timer));

	uv_timer_init(ambassador->loop, timer);
	return timer;
}

static void on_handle_closed(uv_handle_t *handle)
{
	free(handle);
}

static void close_sockets(struct ambassador *ambassador)
{
	if (ambassador->checker)
		checker_pause(ambassador->checker);
	ambassador_unwatch_failures(ambassador);
	if (ambassador->watch)
		uv_close((uv_handle_t *)ambassador->watch, on_handle_closed);
	if (ambassador->table_watch)
		uv_close((uv_handle_t *)ambassador->table_watch, on_handle_closed);
	ambassador->watch = ambassador->table_watch = NULL;
	nft_close(ambassador->nft);
	net_close(ambassador->net);
	conntrack_close(ambassador->conntrack);
	sockdiag_close(ambassador->sockdiag);
	flows_forget(ambassador);
	reset_close(ambassador);
	ambassador->nft = NULL;
	ambassador->net = NULL;
	ambassador->conntrack = NULL;
	ambassador->sockdiag = NULL;
	if (ambassador->lock >= 0)
		close(ambassador->lock);
	if (ambassador->netns_fd >= 0)
		close(ambassador->netns_fd);
	ambassador->netns_fd = ambassador->lock = -1;
}

/*
 * An application that is restarted has a new namespace. The rules went with the old one; our sockets would keep that
 * alive, and see nothing of the new one.
 */
static void leave_namespace(struct ambassador *ambassador)
{
	/* Of a container, the agent is told as well. */
	ambassador->gone = ambassador->conf->container != NULL;
	event_say(ambassador->gone ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, CAUSE_KERNEL, ambassador->netns, NULL,
		  "its network namespace is gone, or another one has its name; the rules went with it");
	close_sockets(ambassador);
	for (struct link *link = ambassador->links; link; link = link->hh.next) {
		if (link->installed)
			plan_clear(&link->plan);
		link->installed = false;
		leavers_clear(&link->leavers);
	}
	footprint_clear(&ambassador->footprint);
	ambassador->footprint_known = false;
	ambassador->resync = true;
	ambassador->announced_ready = false;
}

/* The loop reconciles after this, and that opens what is not open. */
static void on_presence(uv_timer_t *timer)
{
	struct ambassador *ambassador = timer->data;

	if (!ambassador->nft)
		ambassador->backing_off = false;
	else if (!netns_is_current(ambassador->conf->netns, ambassador->netns_fd))
		leave_namespace(ambassador);
}

static char *title_of(const struct ambassador_conf *conf)
{
	if (conf->container)
		return xasprintf("container:%s", conf->container);
	return xstrdup(conf->netns ? conf->netns : "");
}

void ambassador_take_conf(struct ambassador *ambassador, const struct ambassador_conf *conf)
{
	ambassador->conf = conf;
	free(ambassador->netns);
	ambassador->netns = title_of(conf);
	ambassador->gone = false;
}

static void on_patrol(uv_timer_t *timer)
{
	struct ambassador *ambassador = timer->data;

	ambassador->footprint_dirty |= ambassador->nft && ambassador->footprint.n_interfaces;
	changelog_end_lines(&ambassador->verdict_lines, ambassador->netns, "verdicts of checks changed");
	changelog_end_lines(&ambassador->failure_watch.lines, ambassador->netns, "endpoints were ejected or came back");
}

struct ambassador *ambassador_new(uv_loop_t *loop, struct catalog *catalog, const struct ambassador_conf *conf,
				  struct ambassador_options options)
{
	struct ambassador *ambassador = xcalloc(1, sizeof(*ambassador));

	ambassador->loop = loop;
	ambassador->catalog = catalog;
	ambassador_take_conf(ambassador, conf);
	ambassador->options = options;
	ambassador->netns_fd = ambassador->lock = -1;
	ambassador->resync = true;
	ambassador->retry = new_timer(ambassador);
	ambassador->hold = new_timer(ambassador);
	ambassador->look_again = new_timer(ambassador);
	ambassador->drain = new_timer(ambassador);
	ambassador->step = new_timer(ambassador);
	ambassador->count = new_timer(ambassador);
	ambassador->presence = new_timer(ambassador);
	if (conf->netns)
		uv_timer_start(ambassador->presence, on_presence, PRESENCE_MS, PRESENCE_MS);
	ambassador->settle = new_timer(ambassador);
	ambassador->failure_watch.pause = new_timer(ambassador);
	ambassador->failure_watch.look = new_timer(ambassador);
	ambassador->failure_watch.tend = new_timer(ambassador);
	ambassador->patrol = new_timer(ambassador);
	uv_timer_start(ambassador->patrol, on_patrol, PATROL_MS, PATROL_MS);
	return ambassador;
}

void ambassador_free(struct ambassador *ambassador)
{
	uv_timer_t *const timers[] = {
		ambassador->retry,
		ambassador->hold,
		ambassador->look_again,
		ambassador->drain,
		ambassador->presence,
		ambassador->settle,
		ambassador->patrol,
		ambassador->step,
		ambassador->count,
		ambassador->failure_watch.pause,
		ambassador->failure_watch.look,
		ambassador->failure_watch.tend,
	};

	while (ambassador->links)
		link_free(ambassador, ambassador->links);
	close_sockets(ambassador);
	checker_close(ambassador->checker);
	for (size_t i = 0; i < ARRAY_SIZE(timers); i++)
		uv_close((uv_handle_t *)timers[i], on_handle_closed);
	footprint_clear(&ambassador->footprint);
	for (size_t i = 0; i < ARRAY_SIZE(ambassador->shards); i++) {
		free(ambassador->shards[i].used);
		free(ambassador->affinities[i].used);
	}
	free(ambassador->netns);
	free(ambassador->error);
	free(ambassador->footprint_error);
	free(ambassador->flows_error);
	free(ambassador->failure_watch.error);
	free(ambassador);
}

/* Opening */

struct opening {
	struct nft **nft;
	struct net **net;
	struct conntrack **conntrack;
	int *lock; /* NULL: a visitor, who keeps nobody out */
	bool own;
	struct error *err;
};

static int open_sockets(void *context)
{
	struct opening *opening = context;
	int code = nft_open(opening->own, opening->nft, opening->err);

	if (code == 0 && opening->lock)
		code = *opening->lock = netns_lock(opening->err);
	if (code >= 0 && opening->net)
		code = net_open(opening->net, opening->err);
	if (code == 0 && opening->conntrack)
		code = conntrack_open(opening->conntrack, opening->err);
	return code;
}

static bool has_company(const struct ambassador *ambassador)
{
	struct net_interface *interfaces;
	size_t count, others = 0;

	if (net_read_interfaces(ambassador->net, &interfaces, &count, NULL) < 0)
		return true;
	for (size_t i = 0; i < count; i++)
		others += !interfaces[i].loopback;
	free(interfaces);
	return others != 0;
}

static void on_settled(uv_timer_t *timer);

/*
 * The container that a sidecar shares the network of may be started again: it gets a new namespace, and its interfaces
 * leave the old one, where the sidecar stays with nobody to serve. Only the engine can bring it into the new one.
 */
static void look_for_company(struct ambassador *ambassador)
{
	uint64_t now = uv_now(ambassador->loop);

	if (ambassador->conf->netns || !ambassador->nft || !netns_in_container())
		return;
	if (has_company(ambassador)) {
		ambassador->had_company = true;
		ambassador->alone_since = 0;
	} else if (ambassador->had_company) {
		if (!ambassador->alone_since)
			ambassador->alone_since = now;
		ambassador->abandoned = now - ambassador->alone_since >= ALONE_MS;
		uv_timer_start(ambassador->settle, on_settled, ALONE_MS, 0);
	}
}

static void on_settled(uv_timer_t *timer)
{
	struct ambassador *ambassador = timer->data;

	ambassador->footprint_dirty = true;
	look_for_company(ambassador);
}

/* Changes of interfaces and routes come in bursts, and each look at them reads them all. */
static void on_namespace_changed(uv_poll_t *watch, int status, int events)
{
	struct ambassador *ambassador = watch->data;

	(void)events;
	net_watch_drain(ambassador->net);
	if (status == 0 && !uv_is_active((uv_handle_t *)ambassador->settle))
		uv_timer_start(ambassador->settle, on_settled, SETTLE_MS, 0);
}

/* A path or a process id may lead to another namespace by now: its rules are not to land there. */
static int open_namespace(struct ambassador *ambassador, struct error *err)
{
	const struct ambassador_conf *conf = ambassador->conf;
	int fd = netns_open(conf->netns, err);

	if (!conf->netns_inode || (fd >= 0 && netns_inode_of(fd) == conf->netns_inode))
		return fd;
	if (fd >= 0)
		close(fd);
	ambassador->gone = fd >= 0 || fd == -ENOENT;
	return fd < 0 ? fd : fail(err, -ENOENT, "its network namespace is gone");
}

int ambassador_open(struct ambassador *ambassador, struct error *err)
{
	struct opening opening = {
		.nft = &ambassador->nft,
		.net = &ambassador->net,
		.conntrack = &ambassador->conntrack,
		.lock = ambassador->options.dry_run ? NULL : &ambassador->lock,
		.own = !ambassador->options.share_table,
		.err = err,
	};
	int code;

	if (ambassador->nft)
		return 0;
	code = open_namespace(ambassador, err);
	if (code < 0)
		return code;
	ambassador->netns_fd = code;
	code = netns_call(ambassador->netns_fd, open_sockets, &opening, err);
	if (code < 0) {
		close_sockets(ambassador);
		return code;
	}
	ambassador->watch = (uv_poll_t *)(void *)new_handle(ambassador, sizeof(uv_poll_t));
	uv_poll_init(ambassador->loop, ambassador->watch, net_watch_fd(ambassador->net));
	uv_poll_start(ambassador->watch, UV_READABLE, on_namespace_changed);
	ambassador->resync = true;
	if (ambassador->checker)
		checker_resume(ambassador->checker);
	look_for_company(ambassador);
	return 0;
}

static void on_table_changed(uv_poll_t *watch, int status, int events)
{
	struct ambassador *ambassador = watch->data;
	struct nft_intruder intruder;

	(void)status;
	(void)events;
	if (!nft_watch_drain(ambassador->nft, &intruder))
		return;
	if (intruder.port)
		event_say(LOG_LEVEL_WARNING, CAUSE_REPAIR, ambassador->netns, NULL,
			  "the table inet " TABLE_NAME " was changed by %s (netlink port %u): looking after it",
			  intruder.process, intruder.port);
	ambassador->resync = true;
}

/* What happened before the watch began is found by reading the table once more. */
void ambassador_watch_table(struct ambassador *ambassador)
{
	int fd = ambassador->table_watch || ambassador->options.dry_run ? -1 : nft_watch(ambassador->nft);

	if (fd < 0)
		return;
	ambassador->table_watch = (uv_poll_t *)(void *)new_handle(ambassador, sizeof(uv_poll_t));
	uv_poll_init(ambassador->loop, ambassador->table_watch, fd);
	uv_poll_start(ambassador->table_watch, UV_READABLE, on_table_changed);
	ambassador->resync = true;
}

/* Cleaning up */

/* Undoes what the table records, then removes the table. */
static int clean_namespace(struct nft *nft, struct net *net, struct error *err)
{
	struct ruleset kernel = {0};
	struct footprint recorded, nothing = {0};
	int code = nft_read(nft, &kernel, err);

	if (code < 0)
		return code;
	recorded = recovery_footprint(&kernel);
	if (nft_foreign_owner(nft))
		code = fail(err, -EPERM,
			    "the table inet " TABLE_NAME " is in use by a running nuncio (netlink port %u, usually its "
			    "process id): stop it first",
			    nft_foreign_owner(nft));
	else
		code = footprint_retire(net, &recorded, &nothing, err);
	if (code == 0 && kernel.table)
		code = nft_remove_table(nft, err);
	footprint_clear(&recorded);
	ruleset_clear(&kernel);
	return code;
}

int ambassador_cleanup(struct ambassador *ambassador, struct error *err)
{
	if (!ambassador->nft)
		return 0;
	return clean_namespace(ambassador->nft, ambassador->net, err);
}

int ambassador_cleanup_netns(const char *netns, struct error *err)
{
	struct nft *nft = NULL;
	struct net *net = NULL;
	int fd = netns_open(netns, err), lock = -1, code;
	struct opening opening = {.nft = &nft, .net = &net, .lock = &lock, .err = err};

	if (fd < 0)
		return fd;
	code = netns_call(fd, open_sockets, &opening, err);
	if (code == 0)
		code = clean_namespace(nft, net, err);
	net_close(net);
	nft_close(nft);
	if (lock >= 0)
		close(lock);
	close(fd);
	return code;
}
