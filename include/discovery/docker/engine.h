/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What runs in a Docker engine: the containers with labels of interest, and those whose network such ones share, kept
 * up to date. First the events are asked for, from a moment ago on, and then the list, so that nothing is missed;
 * then each container of interest by itself. What happens to one has it asked for again, so that nothing is concluded
 * from an event. Whatever goes wrong with the conversation ends it: what is known stays, and the next one begins with
 * the list.
 *
 *	DOCKER_ANSWER_MS	for an answer, from the connection to its end
 *	DOCKER_RELIST_MS	everything is asked for again so often: neither events nor their absence are trusted
 *
 * Who follows the same engine in the same loop shares the conversation.
 */
#ifndef NUNCIO_DISCOVERY_DOCKER_ENGINE_H
#define NUNCIO_DISCOVERY_DOCKER_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "discovery/docker/messages.h"

#define DOCKER_ANSWER_MS 10000
#define DOCKER_RELIST_MS 60000

/* Bounds on what an engine says: a list, one container, a line of its events. */
#define DOCKER_LIST_MAX ((size_t)64 << 20)
#define DOCKER_CONTAINER_MAX ((size_t)4 << 20)
#define DOCKER_EVENT_MAX ((size_t)1 << 20)

struct docker_engine;

/* Who wants to know. Embedded by its owner; `changed` comes from the event loop, never from a function below. */
struct docker_follower {
	/* Containers, or the state of the conversation, may be others than before. May not end the following. */
	void (*changed)(struct docker_follower *follower);
	struct docker_engine *engine;
	bool due; /* to be told */
	struct docker_follower *prev, *next;
};

/* `uri` is docker_uri_parse()'s; a network in it does not matter. Returns 0, or -EINVAL with a sentence. */
int docker_follow(uv_loop_t *loop, const char *uri, struct docker_follower *follower, struct error *err);
void docker_unfollow(struct docker_follower *follower); /* one that follows nothing is fine */

/* All containers of interest are known, as of now or, while `docker_error()` is not NULL, as of before. */
bool docker_is_known(const struct docker_engine *engine);
/* Why the engine cannot be asked; NULL: it can, or a second try is under way. */
const char *docker_error(const struct docker_engine *engine);
uint64_t docker_alive(const struct docker_engine *engine);	 /* uv_hrtime() of the last thing it said; 0: never */
const char *docker_revision(const struct docker_engine *engine); /* the time of the last event; "": none yet */

/* The containers, in no order: NULL begins, NULL ends. They live until the loop turns. */
const struct docker_container *docker_next(const struct docker_engine *engine, const struct docker_container *former);
const struct docker_container *docker_find(const struct docker_engine *engine, const char *id);

#endif
