/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/flows.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/event.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/ambassador-state.h"
#include "daemon/round.h"
#include "kernel/conntrack.h"

/* When to look again: longer than any packet is between a rule and conntrack, shorter than a SYN's retransmission. */
#define AGAIN_MS 100

/* After a listing that failed. */
#define FAILED_MS 1000

/* Draining */

static uint64_t drain_time(const struct link *link)
{
	return link->conf->drain_for_ms * UINT64_C(1000000);
}

static bool is_drained(const struct link *link, const struct leaver *leaver, uint64_t now)
{
	return link->conf->drain_for_ms && now - leaver->since >= drain_time(link);
}

static void on_drained(uv_timer_t *timer);

/* Sees to it that the timer ends no later than the time of the link's first leaver. */
static void drain_until(struct ambassador *ambassador, const struct link *link)
{
	uint64_t passed, left;

	if (!link->leavers.count || !link->conf || !link->conf->drain_for_ms)
		return;
	passed = (uv_hrtime() - link->leavers.items[0].since) / 1000000;
	left = passed < link->conf->drain_for_ms ? link->conf->drain_for_ms - passed : 0;
	if (!uv_is_active((uv_handle_t *)ambassador->drain) || uv_timer_get_due_in(ambassador->drain) > left)
		uv_timer_start(ambassador->drain, on_drained, left + 1, 0);
}

/* Noting */

static void note_look(struct flow_look *look, uint16_t listen_port, uint16_t endpoint_port)
{
	if (!look->due) {
		*look = (struct flow_look){.due = true, .listen_port = listen_port, .endpoint_port = endpoint_port};
		return;
	}
	if (look->listen_port != listen_port)
		look->listen_port = 0;
	if (look->endpoint_port != endpoint_port)
		look->endpoint_port = 0;
}

/* endpoint NULL: wherever they lead. replied: TCP's established connections, too. */
static void note_flows(struct ambassador *ambassador, const struct listen *listen, const struct ip_port *endpoint,
		       bool replied)
{
	enum flow_class class = listen->protocol == IPPROTO_UDP ? FLOWS_UDP : replied ? FLOWS_TCP : FLOWS_UNREPLIED;

	note_look(&ambassador->flows_due.looks[listen->at.addr.family == AF_INET6][class], listen->at.port,
		  endpoint ? endpoint->port : 0);
}

/*
 * TCP's concern is who gets new connections; a UDP flow may stay where it is for as long as the link has that, and it
 * is not down. Connections of what is down are treated as those of what was removed.
 */
static void note_departures(struct ambassador *ambassador, const struct link *link, const struct link_plan *new)
{
	const struct link_plan *old = &link->plan;

	for (uint32_t i = 0; i < old->endpoints->count; i++) {
		const struct ip_port *at = &old->endpoints->items[i].at;
		const struct endpoint *now = endpoints_find_address(new->endpoints, at);
		bool left = old->serving[i] && !plan_serves(new, at);
		bool gone = !now || (old->serving[i] && plan_taken_out(new, at) == VERDICT_DOWN);
		bool reset = gone && link->conf->on_remove == ON_REMOVE_RESET;

		if (old->listen.protocol == IPPROTO_UDP ? gone : left || reset)
			note_flows(ambassador, &old->listen, at, reset);
	}
}

static void note_member(struct ambassador *ambassador, const struct member *member)
{
	struct link *link = member->link;

	if (!member->wanted)
		return; /* see note_gone() */
	if (link->installed) {
		leavers_note(&link->leavers, &link->plan, &member->next, uv_hrtime());
		drain_until(ambassador, link);
	}
	if (!link->installed || (!link->plan.slots.count && member->next.slots.count))
		note_flows(ambassador, &member->next.listen, NULL, false); /* what was sent before that led nowhere */
	else
		note_departures(ambassador, link, &member->next);
}

static void note_gone_flows(struct ambassador *ambassador, const struct gone_flows *gone)
{
	struct flow_looks *due = &ambassador->flows_due;

	ARRAY_GROW(due->gone, due->n_gone, due->gone_capacity);
	due->gone[due->n_gone++] = *gone;
	note_flows(ambassador, &gone->listen, &gone->endpoint, false);
}

/* Links that end, and those that a former process had: the counters of their endpoints are removed from the table. */
static void note_gone(struct ambassador *ambassador, const struct round *round)
{
	for (size_t i = 0; i < round->changes.count; i++) {
		const struct change *change = &round->changes.items[i];
		const struct elem *elem = change->object;
		struct gone_flows gone;
		const struct link *link;
		size_t offset;

		if (change->kind != CHANGE_ELEM || change->add || elem->set.type != SET_ENDPOINTS ||
		    round_has_refused(round, change) || !elem_listen(elem, &gone.listen))
			continue;
		link = link_find(ambassador, &gone.listen);
		if (link && !link->removed)
			continue;
		offset = listen_key_size(elem->set.family);
		gone.endpoint = field_get_ip_port(elem->key, &offset, elem->set.family);
		note_gone_flows(ambassador, &gone);
	}
}

void flows_note_round(struct ambassador *ambassador, const struct round *round)
{
	for (size_t i = 0; i < round->count; i++) {
		if (!round->members[i].refusal)
			note_member(ambassador, &round->members[i]);
	}
	note_gone(ambassador, round);
}

void flows_note_everything(struct ambassador *ambassador)
{
	for (const struct link *link = ambassador->links; link; link = link->hh.next) {
		if (link->installed)
			note_flows(ambassador, &link->plan.listen, NULL,
				   link->conf->on_remove == ON_REMOVE_RESET || link->conf->drain_for_ms);
	}
}

/* Judging */

static int compare_gone(const void *a, const void *b)
{
	const struct gone_flows *x = a, *y = b;
	int order = x->listen.protocol - y->listen.protocol;

	if (!order)
		order = ip_port_compare(&x->listen.at, &y->listen.at);
	return order ? order : ip_port_compare(&x->endpoint, &y->endpoint);
}

static bool is_gone(const struct flow_looks *looks, const struct flow *flow)
{
	struct gone_flows key = {.listen = flow->listen, .endpoint = flow->endpoint};

	return looks->n_gone && bsearch(&key, looks->gone, looks->n_gone, sizeof(key), compare_gone);
}

struct sweep {
	struct ambassador *ambassador;
	struct flow_looks looks;
	struct flows flows;		 /* to be deleted */
	uint32_t udp, unanswered, reset; /* of them */
	uint64_t now;
};

/*
 * Has the flow's endpoint been draining for too long? One that nobody has seen leaving did so before this process
 * began: its time begins now.
 */
static bool has_drained(const struct sweep *sweep, struct link *link, const struct flow *flow)
{
	const struct leaver *leaver;
	char text[IP_PORT_TEXT];

	if (!link->conf->drain_for_ms || !plan_drains(&link->plan, &flow->endpoint))
		return false;
	leaver = leavers_find(&link->leavers, &flow->endpoint);
	if (!leaver) {
		leaver = leavers_add(&link->leavers, &flow->endpoint, ip_port_text(&flow->endpoint, text), sweep->now);
		drain_until(sweep->ambassador, link);
	}
	return is_drained(link, leaver, sweep->now);
}

/* The link does not have it any more, or its checks fail. */
static bool is_left(const struct link *link, const struct ip_port *endpoint)
{
	return !endpoints_find_address(link->plan.endpoints, endpoint) ||
	       plan_taken_out(&link->plan, endpoint) == VERDICT_DOWN;
}

static bool connection_ends(const struct sweep *sweep, struct link *link, const struct flow *flow)
{
	if (!flow_is_live(flow))
		return false;
	if (link->conf->on_remove == ON_REMOVE_RESET && is_left(link, &flow->endpoint))
		return true;
	return has_drained(sweep, link, flow);
}

static bool flow_ends(const struct sweep *sweep, const struct flow *flow)
{
	struct link *link = link_find(sweep->ambassador, &flow->listen);
	bool udp = flow->listen.protocol == IPPROTO_UDP, connection = !udp && flow->replied;

	if (!link || !link->installed)
		return !connection && is_gone(&sweep->looks, flow);
	if (connection)
		return connection_ends(sweep, link, flow);
	if (!flow->translated)
		return true;
	if (udp)
		return is_left(link, &flow->endpoint) || has_drained(sweep, link, flow);
	return !plan_serves(&link->plan, &flow->endpoint);
}

static bool on_flow(void *context, const struct flow *flow)
{
	struct sweep *sweep = context;

	if (!flow_ends(sweep, flow))
		return false;
	if (flow->listen.protocol == IPPROTO_UDP)
		sweep->udp++;
	else if (flow->replied)
		sweep->reset++;
	else
		sweep->unanswered++;
	return true;
}

/* Looking */

static bool has_looks(const struct flow_looks *looks)
{
	for (size_t class = 0; class < FLOW_CLASSES; class ++) {
		if (looks->looks[0][class].due || looks->looks[1][class].due)
			return true;
	}
	return false;
}

static void clear_looks(struct flow_looks *looks)
{
	free(looks->gone);
	*looks = (struct flow_looks){0};
}

static void merge_looks(struct flow_looks *into, const struct flow_looks *more)
{
	for (size_t family = 0; family < ARRAY_SIZE(into->looks); family++) {
		for (size_t class = 0; class < FLOW_CLASSES; class ++) {
			const struct flow_look *look = &more->looks[family][class];

			if (look->due)
				note_look(&into->looks[family][class], look->listen_port, look->endpoint_port);
		}
	}
	for (size_t i = 0; i < more->n_gone; i++) {
		ARRAY_GROW(into->gone, into->n_gone, into->gone_capacity);
		into->gone[into->n_gone++] = more->gone[i];
	}
}

static int list_class(struct sweep *sweep, size_t family, size_t class, struct error *err)
{
	const struct flow_look *look = &sweep->looks.looks[family][class];
	struct flow_filter filter = {
		.family = family ? AF_INET6 : AF_INET,
		.protocol = class == FLOWS_UDP ? IPPROTO_UDP : IPPROTO_TCP,
		.listen_port = look->listen_port,
		.endpoint_port = look->endpoint_port,
		.unreplied = class == FLOWS_UNREPLIED,
	};

	return look->due ? conntrack_list(sweep->ambassador->conntrack, &filter, on_flow, sweep, &sweep->flows, err)
			 : 0;
}

/* Where all of a family's TCP is listed, the unreplied flows are among it. */
static void fold_looks(struct flow_look looks[FLOW_CLASSES])
{
	if (!looks[FLOWS_TCP].due || !looks[FLOWS_UNREPLIED].due)
		return;
	note_look(&looks[FLOWS_TCP], looks[FLOWS_UNREPLIED].listen_port, looks[FLOWS_UNREPLIED].endpoint_port);
	looks[FLOWS_UNREPLIED] = (struct flow_look){0};
}

static int look(struct sweep *sweep, struct error *err)
{
	int code = 0;

	reset_tidy(sweep->ambassador);
	if (sweep->looks.n_gone)
		qsort(sweep->looks.gone, sweep->looks.n_gone, sizeof(*sweep->looks.gone), compare_gone);
	for (size_t family = 0; family < ARRAY_SIZE(sweep->looks.looks); family++) {
		fold_looks(sweep->looks.looks[family]);
		for (size_t class = 0; code == 0 && class < FLOW_CLASSES; class ++)
			code = list_class(sweep, family, class, err);
	}
	if (code == 0)
		code = reset_and_delete(sweep->ambassador, &sweep->flows, err);
	return code;
}

static void note_outcome(struct ambassador *ambassador, const struct sweep *sweep, const char *failure)
{
	if (text_replace(&ambassador->flows_error, failure) && failure)
		event_say(LOG_LEVEL_ERROR, CAUSE_KERNEL, ambassador->netns, NULL,
			  "%s: clients may stay on endpoints that are gone", failure);
	if (!failure && sweep->flows.count)
		event_say(LOG_LEVEL_INFO, 0, ambassador->netns, NULL,
			  "endpoints that left: UDP flows ended: %u, unanswered connects balanced anew: %u, "
			  "connections reset: %u",
			  sweep->udp, sweep->unanswered, sweep->reset);
}

/* The loop wakes up, and finds them due. */
static void on_again(uv_timer_t *timer)
{
	(void)timer;
}

/*
 * What is due is looked at now, and then again. What waits to be looked at again goes on waiting, if it is too early: a
 * packet may still be on its way. What is looked at meanwhile waits for the timer's next time, so that neither a packet
 * is missed nor the timer put off for as long as something is due.
 */
static bool look_at_all(struct ambassador *ambassador)
{
	bool early = uv_is_active((uv_handle_t *)ambassador->look_again);
	struct flow_looks *again = early ? &ambassador->flows_later : &ambassador->flows_again;
	struct sweep sweep = {.ambassador = ambassador, .now = uv_hrtime()};
	struct error err;
	int code;

	if (!early) {
		sweep.looks = ambassador->flows_again;
		ambassador->flows_again = ambassador->flows_later;
		ambassador->flows_later = (struct flow_looks){0};
	}
	merge_looks(&sweep.looks, &ambassador->flows_due);
	code = look(&sweep, &err);
	note_outcome(ambassador, &sweep, code < 0 ? err.text : NULL);
	flows_clear(&sweep.flows);
	merge_looks(again, code < 0 ? &sweep.looks : &ambassador->flows_due);
	clear_looks(&sweep.looks);
	clear_looks(&ambassador->flows_due);
	if (!early && (has_looks(again) || ambassador->resetter.n_challenged)) {
		uv_update_time(ambassador->look_again->loop); /* the turn may have been a long one */
		uv_timer_start(ambassador->look_again, on_again, code < 0 ? FAILED_MS : AGAIN_MS, 0);
	}
	return code == 0;
}

/* Forgotten are those whose connections are gone; where conntrack could not be looked at, they are tried again. */
static void on_drained(uv_timer_t *timer)
{
	struct ambassador *ambassador = timer->data;
	uint64_t now = uv_hrtime();

	for (struct link *link = ambassador->links; link; link = link->hh.next) {
		for (size_t i = 0; link->installed && link->conf && i < link->leavers.count; i++) {
			if (is_drained(link, &link->leavers.items[i], now))
				note_flows(ambassador, &link->plan.listen, &link->leavers.items[i].at, true);
		}
	}
	if (!ambassador->conntrack)
		return;
	if (!look_at_all(ambassador)) {
		uv_timer_start(timer, on_drained, FAILED_MS, 0);
		return;
	}
	for (struct link *link = ambassador->links; link; link = link->hh.next) {
		if (link->conf && link->conf->drain_for_ms)
			leavers_drop(&link->leavers, now, drain_time(link));
		drain_until(ambassador, link);
	}
}

bool flows_are_due(const struct ambassador *ambassador)
{
	const struct flow_looks *due = &ambassador->flows_due;
	bool urgent = due->looks[0][FLOWS_TCP].due || due->looks[1][FLOWS_TCP].due;

	if (!ambassador->conntrack || ambassador->options.dry_run)
		return false;
	if (uv_is_active((uv_handle_t *)ambassador->look_again))
		return urgent;
	return has_looks(due) || has_looks(&ambassador->flows_again) || has_looks(&ambassador->flows_later) ||
	       ambassador->resetter.n_challenged;
}

void flows_tend(struct ambassador *ambassador)
{
	look_at_all(ambassador);
}

void flows_forget(struct ambassador *ambassador)
{
	uv_timer_stop(ambassador->look_again);
	uv_timer_stop(ambassador->drain);
	clear_looks(&ambassador->flows_due);
	clear_looks(&ambassador->flows_again);
	clear_looks(&ambassador->flows_later);
}
