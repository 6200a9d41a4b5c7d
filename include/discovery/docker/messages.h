/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a Docker engine, or Podman's compatible service, says of its containers. Pure.
 * https://docs.docker.com/reference/api/engine/
 *
 *	/_ping				the header Api-Version: what it speaks; see docker_version()
 *	/containers/json		those that run: which are of interest, by their labels
 *	/containers/ID/json		one of them
 *	/events				a line for each thing that happened: about which container
 */
#ifndef NUNCIO_DISCOVERY_DOCKER_MESSAGES_H
#define NUNCIO_DISCOVERY_DOCKER_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/error.h"
#include "base/mem.h"

/* The newest version that these messages were read for; an older engine is asked for its own. */
#define DOCKER_API_MAJOR 1
#define DOCKER_API_MINOR 52
#define DOCKER_VERSION_TEXT 16

/* The version to ask with, "1.41", for what the engine says it speaks; NULL: it is none. */
const char *docker_version(const char *spoken, char buffer[DOCKER_VERSION_TEXT]);

struct docker_label {
	const char *key, *value;
};

struct docker_network {
	const char *name;
	struct ip_addr v4, v6; /* family 0: it has none there */
};

struct docker_port {
	uint16_t port;
	bool udp;
};

struct docker_container {
	const char *id, *name;
	bool running;			   /* it has processes, and so a namespace */
	bool paused;			   /* and they are frozen */
	bool healthy;			   /* its HEALTHCHECK says so, or it has none */
	uint32_t pid;			   /* of its first process, as the engine's host sees it; 0: none */
	const char *sandbox;		   /* path of its network namespace; "" where it shares another's */
	const char *shares;		   /* id of the container whose namespace it shares; NULL: its own */
	bool of_host;			   /* it has the host's network */
	const struct docker_label *labels; /* those of interest */
	size_t n_labels;
	const struct docker_network *networks;
	size_t n_networks;
	const struct docker_port *ports; /* exposed, each once, in order */
	size_t n_ports;
	struct arena arena; /* holds all of it, itself too */
};

/* Is it a label that says something to us? "nuncio.", "connect.", "SERVICE_" */
bool docker_label_counts(const char *key);

/* The value of a label; NULL where the container has none. */
const char *docker_label(const struct docker_container *container, const char *key);

/* One container's answer. Returns 0 and a container for docker_container_free(); or -EINVAL with a sentence. */
int docker_container_parse(const char *text, size_t length, struct docker_container **ret, struct error *err);
void docker_container_free(struct docker_container *container); /* NULL is fine */

struct docker_listed {
	const char *id;
	const char *shares; /* id of the container whose namespace it shares; or NULL */
	bool counts;	    /* it has a label of interest */
};

/* Those that run. */
struct docker_list {
	struct docker_listed *items;
	size_t count, capacity;
	struct arena arena; /* holds the strings */
};

/* Returns 0, or -EINVAL with a sentence; ret is to be cleared in both cases. */
int docker_list_parse(const char *text, size_t length, struct docker_list *ret, struct error *err);
void docker_list_clear(struct docker_list *list);

/* The longest id that is taken; the engines' have 64 digits. */
#define DOCKER_ID_SIZE 129

struct docker_event {
	bool counts;			/* a container may be another than it was */
	char container[DOCKER_ID_SIZE]; /* which; "" unless it counts */
	uint64_t nanoseconds;		/* when, since 1970; 0: not said */
};

/* One line of /events. Returns 0, or -EINVAL with a sentence. */
int docker_event_parse(const char *line, size_t length, struct docker_event *ret, struct error *err);

/* What an error's body says, one printable line of it; in the arena. */
const char *docker_error_text(const char *body, size_t length, struct arena *arena);

#endif
