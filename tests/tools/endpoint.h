/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the test tools share: an "ADDR:PORT" as the kernel takes it, and a way to give up. */
#ifndef NUNCIO_TESTS_ENDPOINT_H
#define NUNCIO_TESTS_ENDPOINT_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct endpoint {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	socklen_t length;
};

__attribute__((noreturn)) static inline void die(const char *what)
{
	perror(what);
	exit(1);
}

/* "10.0.0.5:80" or "[fd00::1]:80". */
static inline bool endpoint_parse(const char *text, struct endpoint *ret)
{
	char address[INET6_ADDRSTRLEN];
	unsigned short port;

	*ret = (struct endpoint){.length = 0};
	if (sscanf(text, "[%45[0-9a-fA-F:.]]:%hu", address, &port) == 2) {
		ret->v6.sin6_family = AF_INET6;
		ret->v6.sin6_port = htons(port);
		ret->length = sizeof(ret->v6);
		return inet_pton(AF_INET6, address, &ret->v6.sin6_addr) == 1;
	}
	if (sscanf(text, "%15[0-9.]:%hu", address, &port) == 2) {
		ret->v4.sin_family = AF_INET;
		ret->v4.sin_port = htons(port);
		ret->length = sizeof(ret->v4);
		return inet_pton(AF_INET, address, &ret->v4.sin_addr) == 1;
	}
	return false;
}

/* The address without the port. */
static inline const char *endpoint_address(const struct endpoint *at, char text[INET6_ADDRSTRLEN])
{
	const void *address = &at->v4.sin_addr;

	if (at->any.sa_family == AF_INET6)
		address = &at->v6.sin6_addr;
	return inet_ntop(at->any.sa_family, address, text, INET6_ADDRSTRLEN);
}

#endif
