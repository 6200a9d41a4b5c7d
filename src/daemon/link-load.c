/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "daemon/ambassador-state.h"
#include "kernel/conntrack.h"
#include "kernel/nft.h"

/* How often connections are counted; more seldom where that takes long: at most a 50th of the time. */
#define COUNT_MS 1000
#define COST_FACTOR 50

static bool is_counted(const struct link *link)
{
	return link->load.endpoints != NULL;
}

/* What was counted */

static struct load *load_at(const struct link *link, const struct ip_port *at)
{
	const struct endpoint *endpoint = is_counted(link) ? endpoints_find_address(link->load.endpoints, at) : NULL;

	return endpoint ? &link->load.each[endpoint - link->load.endpoints->items] : NULL;
}

static void on_connections(void *context, const struct listen *listen, const struct ip_port *at, uint64_t connections)
{
	const struct link *link = context;
	struct load *load = load_at(link, at);
	uint64_t *before = load ? &link->load.connections[load - link->load.each] : NULL;

	(void)listen;
	if (!load)
		return;
	/* One that was away counts from nothing again. */
	load->arrived = connections >= *before ? connections - *before : connections;
	*before = connections;
}

static bool on_flow(void *context, const struct flow *flow)
{
	const struct link *link = flow_is_live(flow) ? link_find(context, &flow->listen) : NULL;
	struct load *load = link ? load_at(link, &flow->endpoint) : NULL;

	if (load)
		load->live++;
	return false;
}

/* Is there anything to list, and of which port? One link is no reason to have all flows sent. */
static bool make_filter(const struct ambassador *ambassador, struct flow_filter *filter)
{
	unsigned int links = 0;

	for (const struct link *link = ambassador->links; link; link = link->hh.next) {
		const struct listen *listen = &link->plan.listen;

		if (!is_counted(link) || !link->load.moving || listen->protocol != filter->protocol ||
		    listen->at.addr.family != filter->family)
			continue;
		filter->listen_port = links++ ? 0 : listen->at.port;
	}
	return links != 0;
}

static int list_flows(struct ambassador *ambassador)
{
	static const uint8_t families[] = {AF_INET, AF_INET6}, protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	struct flows none = {0};
	int code = 0;

	for (size_t i = 0; code == 0 && i < ARRAY_SIZE(families) * ARRAY_SIZE(protocols); i++) {
		struct flow_filter filter = {.family = families[i / 2], .protocol = protocols[i % 2]};

		if (make_filter(ambassador, &filter))
			code = conntrack_list(ambassador->conntrack, &filter, on_flow, ambassador, &none, NULL);
	}
	return code;
}

static void read_connections(struct link *link)
{
	for (uint32_t i = 0; i < link->load.endpoints->count; i++)
		link->load.each[i].arrived = 0;
	link_read_connections(link, link->load.endpoints, on_connections, link);
}

/* Where none came and none was there, none is. */
static void begin_count(struct link *link)
{
	bool moving = false;

	for (uint32_t i = 0; i < link->load.endpoints->count; i++) {
		struct load *load = &link->load.each[i];

		moving |= load->live || load->arrived || !link->load.seen;
		load->live = 0;
		if (!link->load.seen)
			load->arrived = 0;
	}
	link->load.seen = true;
	link->load.moving = moving;
}

static bool count(struct ambassador *ambassador)
{
	for (struct link *link = ambassador->links; link; link = link->hh.next) {
		if (!is_counted(link))
			continue;
		read_connections(link);
		begin_count(link);
	}
	return list_flows(ambassador) == 0;
}

/* The time */

static void on_count(uv_timer_t *timer);

static void count_after(struct ambassador *ambassador, uint64_t ms)
{
	uv_timer_start(ambassador->count, on_count, ms, 0);
}

static void on_count(uv_timer_t *timer)
{
	struct ambassador *ambassador = timer->data;
	uint64_t began = uv_hrtime(), cost_ms;
	double seconds = (double)(began - ambassador->counted) / 1e9;
	bool good = ambassador->nft && count(ambassador), any = false;

	for (struct link *link = ambassador->links; link; link = link->hh.next) {
		if (!is_counted(link))
			continue;
		any = true;
		if (good && leastconn_step(&link->load.loads, link->load.each, link->load.endpoints->count, seconds))
			link_mark_changed(link, CAUSE_LOAD);
	}
	ambassador->counted = began;
	cost_ms = (uv_hrtime() - began) / 1000000 * COST_FACTOR;
	if (any)
		count_after(ambassador, cost_ms > COUNT_MS ? cost_ms : COUNT_MS);
}

/* Of a link */

void link_load_clear(struct link *link)
{
	endpoints_unref(link->load.endpoints);
	free(link->load.each);
	free(link->load.connections);
	link->load = (struct link_load){0};
}

/* Those that were there before go on with what is known of them. */
static void take_endpoints(struct link *link, const struct endpoints *endpoints)
{
	struct link_load former = link->load, load = {.loads = former.loads, .seen = former.seen};

	load.endpoints = endpoints_ref(endpoints);
	load.each = xcalloc(endpoints->count + 1, sizeof(*load.each));
	load.connections = xcalloc(endpoints->count + 1, sizeof(*load.connections));
	for (uint32_t i = 0; i < endpoints->count; i++) {
		const struct load *known = load_at(link, &endpoints->items[i].at);

		load.each[i] = known ? *known : (struct load){.share = SHARE_FULL};
		if (known)
			load.connections[i] = former.connections[known - former.each];
	}
	link_load_clear(link);
	link->load = load;
}

void link_load_follow(struct link *link)
{
	struct ambassador *ambassador = link->ambassador;

	if (!link->conf || link->conf->balance != BALANCE_LEASTCONN || !link->installed || ambassador->options.once ||
	    ambassador->options.dry_run) {
		link_load_clear(link);
		return;
	}
	if (link->load.endpoints != link->plan.endpoints)
		take_endpoints(link, link->plan.endpoints);
	for (uint32_t i = 0; i < link->plan.endpoints->count; i++)
		link->load.each[i].weight = link->plan.serving[i] ? link->plan.weighed->items[i].weight : 0;
	if (!uv_is_active((uv_handle_t *)ambassador->count)) {
		ambassador->counted = uv_hrtime();
		count_after(ambassador, COUNT_MS);
	}
}

void link_load_appraise(const struct link *link, const struct endpoints *weighed, struct appraisal *appraisals)
{
	if (!link->conf || link->conf->balance != BALANCE_LEASTCONN)
		return;
	for (uint32_t i = 0; i < weighed->count; i++) {
		const struct load *load = load_at(link, &weighed->items[i].at);

		if (load)
			appraisals[i].share = (uint16_t)((uint32_t)appraisals[i].share * load->share / SHARE_FULL);
	}
}
