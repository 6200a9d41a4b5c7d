/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * responder: a backend for tests, that says its name.
 *
 *	responder [--peer] [--echo] NAME ADDR:PORT...
 *
 * Listens on TCP and UDP at each address. A TCP connection gets "NAME\n" and is closed by us, so that TIME_WAIT stays
 * here and the client's ports are free again; a datagram gets "NAME\n" back. Prints "ready" when all sockets listen.
 *
 *	--peer	answers "NAME CLIENT-ADDRESS\n", to see what became of the source address
 *	--echo	says nothing on a TCP connection, but sends back what it reads until the peer closes
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "endpoint.h"

#define BACKLOG 65535 /* the kernel cuts it to net.core.somaxconn */
#define EVENTS 64
#define ANSWER_MAX 128

static const char *name;
static bool with_peer;
static bool echo;
static int epoll_fd;

/* What a socket in the epoll set is, beside its number: packed into epoll_event.data. */
enum role { ROLE_LISTENER, ROLE_DATAGRAMS, ROLE_ECHO };

static void watch(int fd, enum role role)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)role << 32 | (uint32_t)fd};

	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event))
		die("epoll_ctl");
}

static int bound_socket(const struct endpoint *at, int type)
{
	int on = 1;
	int fd = socket(at->any.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)))
		die("SO_REUSEADDR");
	if (bind(fd, &at->any, at->length))
		die("bind");
	return fd;
}

static void open_endpoint(const char *text)
{
	struct endpoint at;
	int tcp, udp;

	if (!endpoint_parse(text, &at)) {
		fprintf(stderr, "responder: '%s' is not ADDR:PORT\n", text);
		exit(2);
	}
	tcp = bound_socket(&at, SOCK_STREAM);
	if (listen(tcp, BACKLOG))
		die("listen");
	watch(tcp, ROLE_LISTENER);
	udp = bound_socket(&at, SOCK_DGRAM);
	watch(udp, ROLE_DATAGRAMS);
}

static size_t make_answer(const struct endpoint *peer, char answer[ANSWER_MAX])
{
	char address[INET6_ADDRSTRLEN] = "";

	if (with_peer)
		endpoint_address(peer, address);
	return (size_t)snprintf(answer, ANSWER_MAX, "%s%s%s\n", name, with_peer ? " " : "", address);
}

/* Takes everything that waits: one wake-up may stand for many connections. */
static void accept_all(int listener)
{
	struct endpoint peer = {.length = sizeof(peer.v6)};
	char answer[ANSWER_MAX];
	int fd;

	while ((fd = accept4(listener, &peer.any, &peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (echo) {
			watch(fd, ROLE_ECHO);
		} else {
			/* A fresh socket's buffer takes an answer whole; where the client is gone already, so be it. */
			(void)!send(fd, answer, make_answer(&peer, answer), MSG_NOSIGNAL);
			close(fd);
		}
		peer.length = sizeof(peer.v6);
	}
}

static void answer_all(int socket)
{
	struct endpoint peer = {.length = sizeof(peer.v6)};
	char data[2048], answer[ANSWER_MAX];

	while (recvfrom(socket, data, sizeof(data), 0, &peer.any, &peer.length) >= 0) {
		sendto(socket, answer, make_answer(&peer, answer), 0, &peer.any, peer.length);
		peer.length = sizeof(peer.v6);
	}
}

static void echo_once(int fd)
{
	char data[4096];
	ssize_t got = recv(fd, data, sizeof(data), 0);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0 || send(fd, data, (size_t)got, MSG_NOSIGNAL) != got)
		close(fd);
}

static void serve(const struct epoll_event *event)
{
	int fd = (int)(uint32_t)event->data.u64;

	switch ((enum role)(event->data.u64 >> 32)) {
	case ROLE_LISTENER:
		accept_all(fd);
		break;
	case ROLE_DATAGRAMS:
		answer_all(fd);
		break;
	case ROLE_ECHO:
		echo_once(fd);
		break;
	}
}

static void usage(void)
{
	fprintf(stderr, "usage: responder [--peer] [--echo] NAME ADDR:PORT...\n");
	exit(2);
}

static void parse_options(int argc, char **argv)
{
	static const struct option options[] = {{"peer", no_argument, NULL, 'p'}, {"echo", no_argument, NULL, 'e'}, {}};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'p')
			with_peer = true;
		else if (option == 'e')
			echo = true;
		else
			usage();
	}
	if (argc - optind < 2)
		usage();
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	int n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	parse_options(argc, argv);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		die("epoll_create1");
	name = argv[optind];
	for (int i = optind + 1; i < argc; i++)
		open_endpoint(argv[i]);
	puts("ready");
	fflush(stdout);

	for (;;) {
		n = epoll_wait(epoll_fd, events, EVENTS, -1);
		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++)
			serve(&events[i]);
	}
}
