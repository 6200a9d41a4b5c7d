/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "agent/agent.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/event.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/container.h"
#include "discovery/docker/engine.h"
#include "kernel/netns.h"

#define LINK_LABEL "nuncio.link."
#define CONNECT_LABEL "connect."
#define LABELS_ACCEPTED \
	LINK_LABEL "LISTEN=SERVICE[,option=value]..., nuncio.service, nuncio.port and nuncio.weight are accepted"

/* A container that has just ended may still be said to run; where its namespace is not found for longer, it is said. */
#define LOST_S 5

/* A container with labels, and where it is. */
struct member {
	const struct docker_container *container;
	const char *netns;
	uint64_t inode; /* 0: its namespace cannot be looked at */
};

/* A network namespace whose containers have labels, as it was found. */
struct place {
	struct ambassador_conf conf;
	const char *fingerprint; /* all that it was made of */
	uint64_t since;		 /* uv_hrtime() when it was made */
	const char **complaints;
	size_t n_complaints, complaints_capacity;
	struct arena arena; /* holds all but the array of complaints */
};

struct places {
	struct place **items;
	size_t count, capacity;
};

struct agent {
	struct docker_follower follower;
	const struct config *config;
	agent_changed_fn changed;
	void *context;
	char *uri;
	struct places places, former;
	const struct ambassador_conf **ambassadors; /* of places that have links */
	size_t n_ambassadors, ambassadors_capacity;
	bool ready;
	char *error; /* of the engine, as it was logged */
};

/* Places */

static void free_place(struct place *place)
{
	free(place->complaints);
	arena_free(&place->arena);
	free(place);
}

static void add_place(struct places *places, struct place *place)
{
	ARRAY_GROW(places->items, places->count, places->capacity);
	places->items[places->count++] = place;
}

static void drop_places(struct places *places)
{
	for (size_t i = 0; i < places->count; i++)
		if (places->items[i])
			free_place(places->items[i]);
	free(places->items);
	*places = (struct places){0};
}

/* The one of before that is about the same namespace, or was made of the same. */
static struct place **find_place(const struct places *places, uint64_t inode, const char *fingerprint)
{
	for (size_t i = 0; i < places->count; i++) {
		const struct place *place = places->items[i];

		if (place && (inode ? place->conf.netns_inode == inode : strcmp(place->fingerprint, fingerprint) == 0))
			return &places->items[i];
	}
	return NULL;
}

/* Members */

static bool is_link_label(const char *key)
{
	size_t length = strlen(CONNECT_LABEL);

	if (strncmp(key, LINK_LABEL, strlen(LINK_LABEL)) == 0)
		return true;
	/* Others have labels that begin so, too. */
	return strncmp(key, CONNECT_LABEL, length) == 0 && isdigit((unsigned char)key[length]);
}

static bool is_known_label(const char *key)
{
	return is_link_label(key) || strncmp(key, "nuncio.", 7) != 0 || strcmp(key, "nuncio.service") == 0 ||
	       strcmp(key, "nuncio.port") == 0 || strcmp(key, "nuncio.weight") == 0;
}

static bool has_work(const struct docker_container *container)
{
	for (size_t i = 0; i < container->n_labels; i++)
		if (is_link_label(container->labels[i].key) || !is_known_label(container->labels[i].key))
			return container->running;
	return false;
}

static bool take_netns(struct member *member, const char *netns)
{
	uint64_t inode = *netns ? netns_inode(netns) : 0;

	if (!inode)
		return false;
	member->netns = netns;
	member->inode = inode;
	return true;
}

/*
 * The engine's own name for the namespace needs no permission to look into processes. A container that shares another's
 * has none; and the other one may have been started again since, in a new one.
 */
static void locate(struct agent *agent, struct member *member, struct arena *arena)
{
	const struct docker_container *container = member->container, *owner;
	const char *by_pid = arena_printf(arena, "pid:%u", container->pid);

	member->netns = *container->sandbox ? container->sandbox : by_pid;
	if (container->of_host || take_netns(member, container->sandbox) || take_netns(member, by_pid) ||
	    !container->shares)
		return;
	owner = docker_find(agent->follower.engine, container->shares);
	if (owner)
		take_netns(member, owner->sandbox);
}

/* Those in one namespace beside each other, the one that it belongs to first. */
static int compare_members(const void *a, const void *b)
{
	const struct member *left = a, *right = b;

	if (left->inode != right->inode)
		return left->inode < right->inode ? -1 : 1;
	if (!left->container->shares != !right->container->shares)
		return left->container->shares ? 1 : -1;
	return strcmp(left->container->name, right->container->name);
}

static size_t list_members(struct agent *agent, struct arena *arena, struct member **ret)
{
	const struct docker_container *container = NULL;
	size_t count = 0, capacity = 0;

	*ret = NULL;
	while ((container = docker_next(agent->follower.engine, container))) {
		if (!has_work(container))
			continue;
		ARRAY_GROW(*ret, count, capacity);
		(*ret)[count] = (struct member){.container = container};
		locate(agent, &(*ret)[count++], arena);
	}
	if (count)
		qsort(*ret, count, sizeof(**ret), compare_members);
	return count;
}

static const char *take_fingerprint(const struct member *members, size_t count, struct arena *arena)
{
	char *text = NULL;
	const char *print;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	for (size_t i = 0; i < count; i++) {
		const struct docker_container *container = members[i].container;

		fprintf(out, "%s %s %s\n", container->id, container->name, members[i].netns);
		for (size_t j = 0; j < container->n_labels; j++)
			fprintf(out, "%s=%s\n", container->labels[j].key, container->labels[j].value);
	}
	fclose(out);
	print = arena_strdup(arena, text);
	free(text);
	return print;
}

/* Making a place of its members */

static void complain(void *context, const char *sentence)
{
	struct place *place = context;

	ARRAY_GROW(place->complaints, place->n_complaints, place->complaints_capacity);
	place->complaints[place->n_complaints++] = arena_strdup(&place->arena, sentence);
}

static bool is_said(const struct place *place, const char *sentence)
{
	for (size_t i = 0; place && i < place->n_complaints; i++)
		if (strcmp(place->complaints[i], sentence) == 0)
			return true;
	return false;
}

static void log_complaints(const struct place *place, const struct place *former)
{
	for (size_t i = 0; i < place->n_complaints; i++)
		if (!is_said(former, place->complaints[i]))
			log_warning("%s; the label is left out", place->complaints[i]);
}

static void take_label(struct place *place, const struct docker_container *container, const struct docker_label *label,
		       struct label_conf *labels, size_t *count)
{
	size_t prefix = strlen(*label->key == 'c' ? CONNECT_LABEL : LINK_LABEL);
	struct error err;

	if (!is_known_label(label->key)) {
		fail(&err, 0, "container %.64s: label %.100s: " LABELS_ACCEPTED, container->name, label->key);
		complain(place, err.text);
	} else if (is_link_label(label->key) && container->of_host) {
		fail(&err, 0,
		     "container %.64s: label %.100s: it shares the host's network, where labels make no links: give "
		     "nuncio itself a --link",
		     container->name, label->key);
		complain(place, err.text);
	} else if (is_link_label(label->key)) {
		labels[(*count)++] = (struct label_conf){
			.container = container->name,
			.key = label->key,
			.listen = label->key + prefix,
			.link = label->value,
		};
	}
}

static void read_labels(const struct agent *agent, struct place *place, const struct member *members, size_t count)
{
	struct label_conf *labels;
	size_t n_labels = 0, most = 0;

	for (size_t i = 0; i < count; i++)
		most += members[i].container->n_labels;
	labels = xcalloc(most, sizeof(*labels));
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < members[i].container->n_labels; j++)
			take_label(place, members[i].container, &members[i].container->labels[j], labels, &n_labels);
	config_read_labels(agent->config, labels, n_labels, &place->arena, &place->conf, complain, place);
	free(labels);
}

static char *join_names(const struct member *members, size_t count, struct arena *arena)
{
	char *names = arena_strdup(arena, members[0].container->name);

	for (size_t i = 1; i < count; i++)
		names = arena_printf(arena, "%s+%s", names, members[i].container->name);
	return names;
}

static struct place *make_place(const struct agent *agent, const struct member *members, size_t count,
				const char *fingerprint)
{
	struct place *place = xcalloc(1, sizeof(*place));

	place->fingerprint = arena_strdup(&place->arena, fingerprint);
	place->conf = (struct ambassador_conf){
		.netns = arena_strdup(&place->arena, members[0].netns),
		.netns_inode = members[0].inode,
		.container = join_names(members, count, &place->arena),
	};
	place->since = uv_hrtime();
	if (members[0].inode || members[0].container->of_host)
		read_labels(agent, place, members, count);
	return place;
}

static void note_lost(struct place *place, const struct member *member)
{
	struct error err;

	if (member->inode || place->conf.netns_inode || place->n_complaints ||
	    uv_hrtime() - place->since < LOST_S * UINT64_C(1000000000))
		return;
	fail(&err, 0,
	     "container %.64s: its network namespace is neither at \"%.100s\" nor that of the process %u: nuncio needs "
	     "to see the host's files and processes",
	     member->container->name, member->container->sandbox, member->container->pid);
	complain(place, err.text);
	log_warning("%s", err.text);
}

static void take_group(struct agent *agent, const struct member *members, size_t count, bool anew)
{
	struct arena scratch = {0};
	const char *fingerprint = take_fingerprint(members, count, &scratch);
	struct place **found = find_place(&agent->former, members[0].inode, fingerprint), *place;

	if (found && !anew && strcmp((*found)->fingerprint, fingerprint) == 0) {
		note_lost(*found, &members[0]);
		add_place(&agent->places, *found);
		*found = NULL;
	} else {
		place = make_place(agent, members, count, fingerprint);
		log_complaints(place, found ? *found : NULL);
		add_place(&agent->places, place);
	}
	arena_free(&scratch);
}

static size_t group_length(const struct member *members, size_t count)
{
	size_t length = 1;

	while (members[0].inode && length < count && members[length].inode == members[0].inode)
		length++;
	return length;
}

/* All of it */

static void list_ambassadors(struct agent *agent)
{
	agent->n_ambassadors = 0;
	for (size_t i = 0; i < agent->places.count; i++) {
		if (!agent->places.items[i]->conf.n_links)
			continue;
		ARRAY_GROW(agent->ambassadors, agent->n_ambassadors, agent->ambassadors_capacity);
		agent->ambassadors[agent->n_ambassadors++] = &agent->places.items[i]->conf;
	}
}

static void read_containers(struct agent *agent, bool anew)
{
	struct arena arena = {0};
	struct member *members;
	size_t count = list_members(agent, &arena, &members), length;

	agent->former = agent->places;
	agent->places = (struct places){0};
	for (size_t i = 0; i < count; i += length) {
		length = group_length(members + i, count - i);
		take_group(agent, members + i, length, anew);
	}
	list_ambassadors(agent);
	free(members);
	arena_free(&arena);
}

static void note_error(struct agent *agent, const char *error)
{
	if (!text_replace(&agent->error, error))
		return;
	if (error)
		event_say(LOG_LEVEL_WARNING, CAUSE_CONTAINER, NULL, NULL,
			  "%s: %s; the links of containers stay as they are", agent->uri, error);
	else
		event_say(LOG_LEVEL_NOTICE, CAUSE_CONTAINER, NULL, NULL, "%s: it answers again", agent->uri);
}

static void on_changed(struct docker_follower *follower)
{
	struct agent *agent = (struct agent *)(void *)((char *)follower - offsetof(struct agent, follower));

	note_error(agent, docker_error(follower->engine));
	if (!docker_is_known(follower->engine))
		return;
	agent->ready = true;
	read_containers(agent, false);
	agent->changed(agent->context);
}

int agent_open(uv_loop_t *loop, const struct config *config, agent_changed_fn changed, void *context,
	       struct agent **ret, struct error *err)
{
	struct agent *agent = xcalloc(1, sizeof(*agent));
	int code;

	agent->follower.changed = on_changed;
	agent->config = config;
	agent->changed = changed;
	agent->context = context;
	agent->uri = xstrdup(config->docker);
	code = docker_follow(loop, agent->uri, &agent->follower, err);
	if (code)
		agent_close(agent);
	else
		*ret = agent;
	return code;
}

void agent_close(struct agent *agent)
{
	if (!agent)
		return;
	docker_unfollow(&agent->follower);
	drop_places(&agent->former);
	drop_places(&agent->places);
	free(agent->ambassadors);
	free(agent->error);
	free(agent->uri);
	free(agent);
}

void agent_configure(struct agent *agent, const struct config *config)
{
	agent->config = config;
	read_containers(agent, true);
}

const struct ambassador_conf *const *agent_ambassadors(const struct agent *agent, size_t *ret_count)
{
	*ret_count = agent->n_ambassadors;
	return agent->ambassadors;
}

void agent_settle(struct agent *agent)
{
	drop_places(&agent->former);
}

bool agent_is_ready(const struct agent *agent)
{
	return agent->ready;
}

const char *agent_uri(const struct agent *agent)
{
	return agent->uri;
}

const char *agent_error(const struct agent *agent)
{
	return agent->error;
}
