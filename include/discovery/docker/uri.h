/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a Docker engine is, and which of its networks counts. Pure.
 *
 *	docker:///run/docker.sock	its socket (Podman's compatible one, too)
 *	docker://HOST[:PORT]/		over TCP, without TLS; port 2375
 *	?network=NAME			the network on which endpoints have their address
 */
#ifndef NUNCIO_DISCOVERY_DOCKER_URI_H
#define NUNCIO_DISCOVERY_DOCKER_URI_H

#include "base/error.h"
#include "base/mem.h"

#define DOCKER_URI_FORM "docker:///PATH/TO/SOCKET[?network=NAME]"
#define DOCKER_SOCKET "/var/run/docker.sock"

struct docker_uri {
	const char *socket;  /* path, or NULL: TCP */
	const char *base;    /* "http://docker", "http://10.0.0.1:2375" */
	const char *network; /* NULL: the only one that a container is on */
	struct arena arena;  /* holds the strings */
};

/* Returns 0, or -EINVAL with a sentence; ret is to be cleared by arena_free(&ret->arena) in both cases. */
int docker_uri_parse(const char *uri, struct docker_uri *ret, struct error *err);

/*
 * The URI that is meant by what Docker's own tools accept as DOCKER_HOST: "unix:///run/docker.sock", a path, or
 * "tcp://10.0.0.1:2375"; one that is a URI of ours already stays. In the arena. What it is worth, docker_uri_parse()
 * tells.
 */
char *docker_uri_of_host(struct arena *arena, const char *host);

#endif
