/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/conns.h"

#include <cJSON.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/mem.h"
#include "daemon/ambassador-state.h"
#include "kernel/conntrack.h"
#include "kernel/net.h"
#include "kernel/sockdiag.h"

struct conn {
	struct flow flow;
	const struct link *link;
	uint64_t inode; /* 0: not of this namespace */
};

struct conns {
	struct ambassador *ambassador;
	const char *only; /* a link's name, or NULL for all */
	size_t limit;
	struct conn *items;
	size_t count, capacity;
	uint64_t left_out;
	struct conn **by_port; /* those of local clients, ordered by compare_ports() */
	size_t n_local;
	struct ip_addr *addresses; /* of the namespace */
	size_t n_addresses;
};

/* Which there are */

static bool on_flow(void *context, const struct flow *flow)
{
	struct conns *conns = context;
	const struct link *link;

	if (!flow->translated || flow->tcp_state == TCP_CONNTRACK_TIME_WAIT || flow->tcp_state == TCP_CONNTRACK_CLOSE)
		return false;
	link = link_find(conns->ambassador, &flow->listen);
	if (!link || !link->conf || !link->installed || (conns->only && strcmp(conns->only, link->conf->name) != 0))
		return false;
	if (conns->count == conns->limit) {
		conns->left_out++;
		return false;
	}
	ARRAY_GROW(conns->items, conns->count, conns->capacity);
	conns->items[conns->count++] = (struct conn){.flow = *flow, .link = link};
	return false; /* nothing is to be deleted */
}

/* What has to be listed: nothing where no link could have it, and not all where one link is meant. */
static bool has_conns(const struct conns *conns, struct flow_filter *filter)
{
	bool found = false;

	for (const struct link *link = conns->ambassador->links; link; link = link->hh.next) {
		if (!link->conf || link->conf->listen.protocol != filter->protocol ||
		    link->conf->listen.at.addr.family != filter->family ||
		    (conns->only && strcmp(conns->only, link->conf->name) != 0))
			continue;
		filter->listen_port = found ? 0 : link->conf->listen.at.port;
		found = true;
	}
	return found;
}

static void find_conns(struct conns *conns)
{
	static const uint8_t families[] = {AF_INET, AF_INET6}, protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	struct flows none = {0};

	for (size_t i = 0; i < ARRAY_SIZE(families) * ARRAY_SIZE(protocols); i++) {
		struct flow_filter filter = {.family = families[i / 2], .protocol = protocols[i % 2]};

		if (has_conns(conns, &filter))
			conntrack_list(conns->ambassador->conntrack, &filter, on_flow, conns, &none, NULL);
	}
}

static int compare_conns(const void *a, const void *b)
{
	const struct flow *x = &((const struct conn *)a)->flow, *y = &((const struct conn *)b)->flow;
	int order = ip_port_compare(&x->listen.at, &y->listen.at);

	order = order ? order : x->listen.protocol - y->listen.protocol;
	order = order ? order : ip_port_compare(&x->endpoint, &y->endpoint);
	return order ? order : ip_port_compare(&x->client, &y->client);
}

/* Whose they are */

static bool is_local(const struct conns *conns, const struct ip_addr *addr)
{
	for (size_t i = 0; i < conns->n_addresses; i++) {
		if (ip_addr_equal(&conns->addresses[i], addr))
			return true;
	}
	return ip_addr_is_loopback(addr);
}

static int compare_ports(const void *a, const void *b)
{
	const struct flow *x = &(*(struct conn *const *)a)->flow, *y = &(*(struct conn *const *)b)->flow;

	return x->client.port - y->client.port;
}

static bool is_unspecified(const struct ip_addr *addr)
{
	static const uint8_t zero[16];

	return memcmp(addr->bytes, zero, ip_addr_size(addr)) == 0;
}

/* A UDP socket need neither be bound to an address nor connected. */
static bool is_socket_of(const struct socket_info *socket, const struct flow *flow)
{
	bool udp = flow->listen.protocol == IPPROTO_UDP;

	if (socket->local.port != flow->client.port)
		return false;
	if (!ip_addr_equal(&socket->local.addr, &flow->client.addr) && !(udp && is_unspecified(&socket->local.addr)))
		return false;
	return ip_port_equal(&socket->remote, &flow->listen.at) ||
	       (udp && !socket->remote.port && is_unspecified(&socket->remote.addr));
}

struct owner_search {
	struct conns *conns;
	uint8_t protocol;
};

static void on_socket(void *context, const struct socket_info *socket)
{
	const struct owner_search *search = context;
	struct conns *conns = search->conns;
	struct conn probe = {.flow.client.port = socket->local.port}, *key = &probe, **found;

	found = bsearch(&key, conns->by_port, conns->n_local, sizeof(key), compare_ports);
	while (found && found > conns->by_port && found[-1]->flow.client.port == socket->local.port)
		found--;
	for (; found && found < conns->by_port + conns->n_local; found++) {
		if ((*found)->flow.client.port != socket->local.port)
			break;
		if ((*found)->flow.listen.protocol == search->protocol && is_socket_of(socket, &(*found)->flow))
			(*found)->inode = socket->inode;
	}
}

static void find_owners(struct conns *conns)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	struct sockdiag *sockdiag = ambassador_sockdiag(conns->ambassador);

	if (!sockdiag || net_read_addresses(conns->ambassador->net, &conns->addresses, &conns->n_addresses, NULL) < 0)
		return;
	conns->by_port = xcalloc(conns->count + 1, sizeof(*conns->by_port));
	for (size_t i = 0; i < conns->count; i++) {
		if (is_local(conns, &conns->items[i].flow.client.addr))
			conns->by_port[conns->n_local++] = &conns->items[i];
	}
	if (!conns->n_local)
		return;
	qsort(conns->by_port, conns->n_local, sizeof(*conns->by_port), compare_ports);
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
		struct owner_search search = {.conns = conns, .protocol = protocols[i]};

		sockdiag_list(sockdiag, protocols[i], on_socket, &search, NULL);
	}
}

/* Writing */

static const char *state_name(const struct flow *flow)
{
	static const char *const names[] = {
		[TCP_CONNTRACK_SYN_SENT] = "syn_sent",	     [TCP_CONNTRACK_SYN_RECV] = "syn_recv",
		[TCP_CONNTRACK_ESTABLISHED] = "established", [TCP_CONNTRACK_FIN_WAIT] = "fin_wait",
		[TCP_CONNTRACK_CLOSE_WAIT] = "close_wait",   [TCP_CONNTRACK_LAST_ACK] = "last_ack",
	};

	if (flow->listen.protocol == IPPROTO_UDP)
		return flow->replied ? "replied" : "unreplied";
	return flow->tcp_state < ARRAY_SIZE(names) && names[flow->tcp_state] ? names[flow->tcp_state] : "other";
}

static const char *endpoint_id(const struct conn *conn, char buffer[IP_PORT_TEXT])
{
	const struct endpoint *endpoint = endpoints_find_address(conn->link->plan.endpoints, &conn->flow.endpoint);
	const struct leaver *leaver = endpoint ? NULL : leavers_find(&conn->link->leavers, &conn->flow.endpoint);

	if (endpoint)
		return endpoint->id;
	return leaver ? leaver->id : ip_port_text(&conn->flow.endpoint, buffer);
}

static double age_seconds(const struct flow *flow)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9 - (double)flow->started / 1e9;
}

static cJSON *describe_conn(const struct conns *conns, const struct conn *conn)
{
	const struct flow *flow = &conn->flow;
	cJSON *object = cJSON_CreateObject();
	char text[IP_PORT_TEXT], listen[LISTEN_TEXT];

	cJSON_AddStringToObject(object, "netns", conns->ambassador->netns);
	cJSON_AddStringToObject(object, "link", conn->link->conf->name);
	cJSON_AddStringToObject(object, "listen", listen_text(&flow->listen, listen));
	cJSON_AddStringToObject(object, "client", ip_port_text(&flow->client, text));
	cJSON_AddStringToObject(object, "endpoint", endpoint_id(conn, text));
	cJSON_AddStringToObject(object, "address", ip_port_text(&flow->endpoint, text));
	cJSON_AddStringToObject(object, "state", state_name(flow));
	if (conn->inode)
		cJSON_AddNumberToObject(object, "inode", (double)conn->inode);
	if (flow->started)
		cJSON_AddNumberToObject(object, "age_seconds", age_seconds(flow));
	if (flow->bytes_counted)
		cJSON_AddNumberToObject(object, "bytes", (double)flow->bytes);
	return object;
}

static void write_ambassador(FILE *out, struct conns *conns, bool *first)
{
	find_conns(conns);
	if (conns->count) {
		qsort(conns->items, conns->count, sizeof(*conns->items), compare_conns);
		find_owners(conns);
	}
	for (size_t i = 0; i < conns->count; i++) {
		cJSON *object = describe_conn(conns, &conns->items[i]);
		char *text = cJSON_PrintUnformatted(object);

		fprintf(out, "%s%s", *first ? "" : ",", text);
		*first = false;
		cJSON_free(text);
		cJSON_Delete(object);
	}
	free(conns->items);
	free(conns->by_port);
	free(conns->addresses);
}

static bool has_link(const struct ambassador *ambassador, const char *name)
{
	for (size_t i = 0; i < ambassador->conf->n_links; i++) {
		if (strcmp(ambassador->conf->links[i].name, name) == 0)
			return true;
	}
	return false;
}

/* Says so where no ambassador has the link. */
static bool refuse_link(FILE *out, struct ambassador *const *ambassadors, size_t count, const char *link)
{
	cJSON *object;
	char *sentence, *text;

	for (size_t i = 0; i < count; i++) {
		if (has_link(ambassadors[i], link))
			return false;
	}
	object = cJSON_CreateObject();
	sentence = xasprintf("there is no link named %s", link);
	cJSON_AddStringToObject(object, "error", sentence);
	text = cJSON_PrintUnformatted(object);
	fputs(text, out);
	cJSON_free(text);
	cJSON_Delete(object);
	free(sentence);
	return true;
}

void conns_write(FILE *out, struct ambassador *const *ambassadors, size_t count, const char *link, size_t limit)
{
	uint64_t left_out = 0;
	bool first = true;

	if (link && refuse_link(out, ambassadors, count, link))
		return;
	fputs("{\"connections\":[", out);
	for (size_t i = 0; i < count; i++) {
		struct conns conns = {.ambassador = ambassadors[i], .only = link, .limit = limit};

		if (!conns.ambassador->conntrack)
			continue;
		write_ambassador(out, &conns, &first);
		limit -= conns.count;
		left_out += conns.left_out;
	}
	fprintf(out, "],\"left_out\":%llu}", (unsigned long long)left_out);
}
