/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/dns/client.h"

#include <ares.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "discovery/dns/answers.h"
#include "discovery/file-read.h"

#define RESOLV_CONF "/etc/resolv.conf"

/* A server that is silent for so long is asked again, or the next one is; c-ares doubles it with each round. */
#define TIMEOUT_MS 1000
#define ROUNDS 3

/* What passes everywhere without fragments. */
#define EDNS_SIZE 1232

/* Less than what small servers take at once (dnsmasq: 150). */
#define QUERIES_MAX 64

#define CLASS_IN 1

struct dns_query {
	struct dns_client *client;
	char *name;
	uint16_t type;
	dns_reply_fn reply; /* NULL: it was cancelled */
	void *context;
	struct dns_query *next; /* while it waits */
};

/* One of c-ares' sockets. */
struct dns_socket {
	uv_poll_t poll;
	struct dns_client *client;
	ares_socket_t fd;
	struct dns_socket *next;
};

struct dns_client {
	uv_loop_t *loop;
	const char *servers;
	ares_channel channel;
	bool has_channel;
	int fault;		 /* ARES_..., why there is no channel */
	struct file_stamp stamp; /* of resolv.conf, as the channel read it */
	uv_timer_t timer;
	struct dns_socket *sockets;
	struct dns_query *first, **last; /* those that wait */
	unsigned int asked;		 /* those on the way */
	bool closing;
};

static void kick(struct dns_client *client);

/* Sockets */

static void rearm(struct dns_client *client);

static void on_socket(uv_poll_t *poll, int status, int events)
{
	struct dns_socket *socket = poll->data;
	struct dns_client *client = socket->client;
	bool readable = status || events & UV_READABLE, writable = status || events & UV_WRITABLE;

	ares_process_fd(client->channel, readable ? socket->fd : ARES_SOCKET_BAD,
			writable ? socket->fd : ARES_SOCKET_BAD);
	rearm(client);
}

static void on_socket_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static struct dns_socket *find_socket(struct dns_client *client, ares_socket_t fd)
{
	struct dns_socket *socket = client->sockets;

	while (socket && socket->fd != fd)
		socket = socket->next;
	return socket;
}

static void drop_socket(struct dns_client *client, struct dns_socket *socket)
{
	struct dns_socket **at = &client->sockets;

	while (*at != socket)
		at = &(*at)->next;
	*at = socket->next;
	uv_close((uv_handle_t *)&socket->poll, on_socket_closed);
}

static struct dns_socket *add_socket(struct dns_client *client, ares_socket_t fd)
{
	struct dns_socket *socket = xcalloc(1, sizeof(*socket));

	*socket = (struct dns_socket){.client = client, .fd = fd, .next = client->sockets};
	if (uv_poll_init(client->loop, &socket->poll, fd) != 0) {
		free(socket); /* its questions time out */
		return NULL;
	}
	socket->poll.data = socket;
	client->sockets = socket;
	return socket;
}

/* c-ares wants to know of a socket; or nothing of it any more, and then closes it. */
static void on_interest(void *context, ares_socket_t fd, int readable, int writable)
{
	struct dns_client *client = context;
	struct dns_socket *socket = find_socket(client, fd);

	if (!readable && !writable) {
		if (socket)
			drop_socket(client, socket);
		return;
	}
	if (!socket)
		socket = add_socket(client, fd);
	if (socket)
		uv_poll_start(&socket->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0), on_socket);
}

/* The channel: c-ares' word for servers and the questions to them. */

static int make_channel(struct dns_client *client, ares_channel *ret)
{
	struct ares_options options = {
		.flags = ARES_FLAG_EDNS,
		.ednspsz = EDNS_SIZE,
		.timeout = TIMEOUT_MS,
		.tries = ROUNDS,
		.sock_state_cb = on_interest,
		.sock_state_cb_data = client,
	};
	int status = ares_init_options(ret, &options,
				       ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
					       ARES_OPT_SOCK_STATE_CB);

	if (status || !client->servers)
		return status;
	status = ares_set_servers_ports_csv(*ret, client->servers);
	if (status)
		ares_destroy(*ret);
	return status;
}

/*
 * Makes a channel where there is none, or resolv.conf has changed since. What was on the way in the former one is asked
 * again. A stat() for each batch of questions is all that it takes; as long as none fails, no hurry is needed.
 */
static void freshen_channel(struct dns_client *client)
{
	struct file_stamp stamp = client->servers ? client->stamp : file_stamp(RESOLV_CONF);
	ares_channel former = client->channel, channel;
	bool had = client->has_channel;

	if (had && file_stamp_equal(&stamp, &client->stamp))
		return;
	client->stamp = stamp;
	client->fault = make_channel(client, &channel);
	if (client->fault) {
		log_debug("DNS: %s", ares_strerror(client->fault));
		return;
	}
	if (had)
		log_info(RESOLV_CONF " has changed and is read again");
	client->channel = channel;
	client->has_channel = true;
	if (had)
		ares_destroy(former);
}

/* Queries */

static void free_query(struct dns_query *query)
{
	free(query->name);
	free(query);
}

static void enqueue(struct dns_client *client, struct dns_query *query)
{
	query->next = NULL;
	*client->last = query;
	client->last = &query->next;
}

static struct dns_query *dequeue(struct dns_client *client)
{
	struct dns_query *query = client->first;

	client->first = query->next;
	if (!client->first)
		client->last = &client->first;
	return query;
}

static enum dns_outcome outcome_of(int status)
{
	switch (status) {
	case ARES_SUCCESS:
		return DNS_GOOD;
	case ARES_ENODATA:
	case ARES_ENOTFOUND:
		return DNS_NONE;
	default: /* c-ares has some twenty */
		return DNS_FAILED;
	}
}

static const char *text_of(int status)
{
	switch (status) {
	case ARES_SUCCESS:
		return NULL;
	case ARES_ETIMEOUT:
		return "timeout, no DNS server answers";
	case ARES_ECONNREFUSED: /* c-ares 1.18 says so of servers that answer, too */
		return "no DNS server can be reached, or what they answer is an error (SERVFAIL, REFUSED)";
	default:
		return ares_strerror(status);
	}
}

/* The query ends here. */
static void reply(struct dns_query *query, int status, const uint8_t *bytes, size_t length)
{
	struct dns_reply said = {
		.outcome = outcome_of(status),
		.bytes = bytes,
		.length = length,
		.text = text_of(status),
	};

	if (query->reply)
		query->reply(query->context, &said);
	free_query(query);
}

static void on_reply(void *context, int status, int timeouts, unsigned char *bytes, int length)
{
	struct dns_query *query = context;
	struct dns_client *client = query->client;

	(void)timeouts;
	client->asked--;
	if (client->closing || !query->reply)
		free_query(query);
	else if (status == ARES_EDESTRUCTION)
		enqueue(client, query); /* with the channel that replaces this one */
	else
		reply(query, status, bytes, length > 0 ? (size_t)length : 0);
}

static void ask_waiting(struct dns_client *client)
{
	if (client->first && client->asked < QUERIES_MAX)
		freshen_channel(client);
	while (client->first && client->asked < QUERIES_MAX) {
		struct dns_query *query = dequeue(client);

		if (!query->reply) {
			free_query(query);
			continue;
		}
		if (!client->has_channel) {
			reply(query, client->fault, NULL, 0);
			continue;
		}
		client->asked++;
		ares_query(client->channel, query->name, CLASS_IN, query->type, on_reply, query);
	}
}

static void on_time(uv_timer_t *timer)
{
	struct dns_client *client = timer->data;

	if (client->has_channel)
		ares_process_fd(client->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	ask_waiting(client);
	rearm(client);
}

/* Until c-ares has something that times out, or something waits that can go. */
static void rearm(struct dns_client *client)
{
	struct timeval time, *left;

	if (client->first && client->asked < QUERIES_MAX) {
		kick(client);
		return;
	}
	left = client->has_channel ? ares_timeout(client->channel, NULL, &time) : NULL;
	if (left)
		uv_timer_start(&client->timer, on_time,
			       (uint64_t)left->tv_sec * 1000 + (uint64_t)left->tv_usec / 1000 + 1, 0);
	else
		uv_timer_stop(&client->timer);
}

static void kick(struct dns_client *client)
{
	uv_timer_start(&client->timer, on_time, 0, 0);
}

struct dns_query *dns_client_ask(struct dns_client *client, const char *name, uint16_t type, dns_reply_fn reply_fn,
				 void *context)
{
	struct dns_query *query = xcalloc(1, sizeof(*query));

	*query = (struct dns_query){
		.client = client,
		.name = xstrdup(name),
		.type = type,
		.reply = reply_fn,
		.context = context,
	};
	enqueue(client, query);
	kick(client);
	return query;
}

void dns_query_cancel(struct dns_query *query)
{
	if (query)
		query->reply = NULL;
}

struct dns_client *dns_client_open(uv_loop_t *loop, const char *servers)
{
	struct dns_client *client = xcalloc(1, sizeof(*client));

	ares_library_init(ARES_LIB_INIT_ALL);
	*client = (struct dns_client){.loop = loop, .servers = servers};
	client->last = &client->first;
	uv_timer_init(loop, &client->timer);
	client->timer.data = client;
	return client;
}

static void on_client_closed(uv_handle_t *handle)
{
	ares_library_cleanup();
	free(handle->data);
}

void dns_client_close(struct dns_client *client)
{
	client->closing = true;
	while (client->first)
		free_query(dequeue(client));
	if (client->has_channel)
		ares_destroy(client->channel);
	uv_close((uv_handle_t *)&client->timer, on_client_closed);
}
