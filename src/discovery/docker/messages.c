/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/docker/messages.h"

#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "discovery/json.h"
#include "discovery/record.h"

#define SHARES "container:"
#define ERROR_TEXT_MAX 200

const char *docker_version(const char *spoken, char buffer[DOCKER_VERSION_TEXT])
{
	const char *dot = spoken ? strchr(spoken, '.') : NULL;
	uint64_t major, minor;

	if (!dot || (size_t)(dot - spoken) >= DOCKER_VERSION_TEXT)
		return NULL;
	memcpy(buffer, spoken, (size_t)(dot - spoken));
	buffer[dot - spoken] = '\0';
	if (number_parse(buffer, 0, UINT16_MAX, &major) < 0 || number_parse(dot + 1, 0, UINT16_MAX, &minor) < 0)
		return NULL;
	if (major > DOCKER_API_MAJOR || (major == DOCKER_API_MAJOR && minor > DOCKER_API_MINOR)) {
		major = DOCKER_API_MAJOR;
		minor = DOCKER_API_MINOR;
	}
	snprintf(buffer, DOCKER_VERSION_TEXT, "%u.%u", (unsigned int)major, (unsigned int)minor);
	return buffer;
}

bool docker_label_counts(const char *key)
{
	return text_begins(key, "nuncio.") || text_begins(key, "connect.") || text_begins(key, "SERVICE_");
}

const char *docker_label(const struct docker_container *container, const char *key)
{
	for (size_t i = 0; i < container->n_labels; i++)
		if (strcmp(container->labels[i].key, key) == 0)
			return container->labels[i].value;
	return NULL;
}

/* Members */

static bool is_true(const cJSON *object, const char *key)
{
	return cJSON_IsTrue(record_member(object, key));
}

static cJSON *parse(const char *text, size_t length, const char *place, struct error *err)
{
	const struct json_cursor cursor = {.text = text, .length = length};

	return json_parse(&cursor, 0, length, place, err);
}

/* It becomes a part of URLs. */
static int check_id(const char *id, struct error *err)
{
	size_t length = strlen(id);

	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)id[i]))
			length = 0;
	if (!length || length >= DOCKER_ID_SIZE)
		return fail(err, -EINVAL, "its answer has a container without a usable id");
	return 0;
}

static const char *shared_with(const cJSON *host, struct arena *arena)
{
	const char *mode = record_text(host, "NetworkMode");

	return text_begins(mode, SHARES) ? arena_strdup(arena, mode + strlen(SHARES)) : NULL;
}

/* One container */

static size_t count_members(const cJSON *object)
{
	const cJSON *item;
	size_t count = 0;

	cJSON_ArrayForEach (item, object)
		count++;
	return count;
}

static int compare_labels(const void *a, const void *b)
{
	return strcmp(((const struct docker_label *)a)->key, ((const struct docker_label *)b)->key);
}

static void take_labels(const cJSON *object, struct docker_container *container)
{
	struct docker_label *labels = arena_alloc(&container->arena, count_members(object) * sizeof(*labels) + 1);
	const cJSON *item;

	cJSON_ArrayForEach (item, object) {
		if (!item->string || !cJSON_IsString(item) || !docker_label_counts(item->string))
			continue;
		labels[container->n_labels++] = (struct docker_label){
			.key = arena_strdup(&container->arena, item->string),
			.value = arena_strdup(&container->arena, item->valuestring),
		};
	}
	qsort(labels, container->n_labels, sizeof(*labels), compare_labels);
	container->labels = labels;
}

static void take_networks(const cJSON *object, struct docker_container *container)
{
	struct docker_network *networks = arena_alloc(&container->arena, count_members(object) * sizeof(*networks) + 1);
	const cJSON *item;

	cJSON_ArrayForEach (item, object) {
		struct docker_network *network;

		if (!item->string || !cJSON_IsObject(item))
			continue;
		network = &networks[container->n_networks++];
		network->name = arena_strdup(&container->arena, item->string);
		ip_addr_parse(record_text(item, "IPAddress"), &network->v4);
		ip_addr_parse(record_text(item, "GlobalIPv6Address"), &network->v6);
	}
	container->networks = networks;
}

/* "80/tcp" */
static bool read_port(const char *text, struct docker_port *ret)
{
	size_t digits = strspn(text, "0123456789");
	char number[8] = "";
	uint64_t port;

	if (digits >= sizeof(number))
		return false;
	memcpy(number, text, digits);
	if (number_parse(number, 1, UINT16_MAX, &port) < 0)
		return false;
	*ret = (struct docker_port){.port = (uint16_t)port, .udp = strcmp(text + digits, "/udp") == 0};
	return ret->udp || strcmp(text + digits, "/tcp") == 0;
}

static int compare_ports(const void *a, const void *b)
{
	const struct docker_port *left = a, *right = b;

	return left->port != right->port ? left->port - right->port : left->udp - right->udp;
}

/* What the image or `--expose` says; what is published counts as well, in NetworkSettings.Ports it is all together. */
static void take_ports(const cJSON *exposed, const cJSON *all, struct docker_container *container)
{
	const cJSON *const lists[] = {exposed, all};
	struct docker_port *ports =
		arena_alloc(&container->arena, (count_members(exposed) + count_members(all)) * sizeof(*ports) + 1);
	size_t count = 0, used = 0;
	const cJSON *item;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		cJSON_ArrayForEach (item, lists[i])
			if (item->string && read_port(item->string, &ports[count]))
				count++;
	qsort(ports, count, sizeof(*ports), compare_ports);
	for (size_t i = 0; i < count; i++)
		if (!used || compare_ports(&ports[used - 1], &ports[i]) != 0)
			ports[used++] = ports[i];
	container->ports = ports;
	container->n_ports = used;
}

static void take_state(const cJSON *state, struct docker_container *container)
{
	const cJSON *pid = record_member(state, "Pid");
	const char *health = record_text(record_member(state, "Health"), "Status");

	if (cJSON_IsNumber(pid) && pid->valuedouble > 0 && pid->valuedouble <= INT32_MAX)
		container->pid = (uint32_t)pid->valuedouble;
	container->running = is_true(state, "Running") && !is_true(state, "Restarting") && container->pid;
	container->paused = is_true(state, "Paused");
	/* Podman says "" where there is no check. */
	container->healthy = !*health || strcmp(health, "none") == 0 || strcmp(health, "healthy") == 0;
}

static void take_container(const cJSON *root, struct docker_container *container)
{
	const cJSON *config = record_member(root, "Config"), *host = record_member(root, "HostConfig");
	const cJSON *settings = record_member(root, "NetworkSettings");
	const char *name = record_text(root, "Name");

	container->id = arena_strdup(&container->arena, record_text(root, "Id"));
	container->name = arena_strdup(&container->arena, *name == '/' ? name + 1 : name);
	container->sandbox = arena_strdup(&container->arena, record_text(settings, "SandboxKey"));
	container->shares = shared_with(host, &container->arena);
	container->of_host = strcmp(record_text(host, "NetworkMode"), "host") == 0;
	take_state(record_member(root, "State"), container);
	take_labels(record_member(config, "Labels"), container);
	take_networks(record_member(settings, "Networks"), container);
	take_ports(record_member(config, "ExposedPorts"), record_member(settings, "Ports"), container);
}

int docker_container_parse(const char *text, size_t length, struct docker_container **ret, struct error *err)
{
	struct docker_container *container;
	struct arena arena = {0};
	cJSON *root = parse(text, length, "its answer", err);
	int code;

	if (!root)
		return -EINVAL;
	code = check_id(record_text(root, "Id"), err);
	if (!code) {
		container = arena_alloc(&arena, sizeof(*container));
		container->arena = arena;
		take_container(root, container);
		*ret = container;
	}
	cJSON_Delete(root);
	return code;
}

void docker_container_free(struct docker_container *container)
{
	struct arena arena;

	if (!container)
		return;
	arena = container->arena; /* which holds the container */
	arena_free(&arena);
}

/* The list */

static bool has_label_of_interest(const cJSON *labels)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, labels)
		if (item->string && docker_label_counts(item->string))
			return true;
	return false;
}

static int take_listed(const cJSON *entry, struct docker_list *list, struct error *err)
{
	const char *id = record_text(entry, "Id");
	int code = check_id(id, err);

	if (code)
		return code;
	ARRAY_GROW(list->items, list->count, list->capacity);
	list->items[list->count++] = (struct docker_listed){
		.id = arena_strdup(&list->arena, id),
		.shares = shared_with(record_member(entry, "HostConfig"), &list->arena),
		.counts = has_label_of_interest(record_member(entry, "Labels")),
	};
	return 0;
}

int docker_list_parse(const char *text, size_t length, struct docker_list *ret, struct error *err)
{
	cJSON *root = parse(text, length, "its answer", err), *entry;
	int code = 0;

	*ret = (struct docker_list){0};
	if (!root)
		return -EINVAL;
	if (!cJSON_IsArray(root))
		code = fail(err, -EINVAL, "its answer is not a list");
	cJSON_ArrayForEach (entry, root) {
		if (!code)
			code = take_listed(entry, ret, err);
	}
	cJSON_Delete(root);
	return code;
}

void docker_list_clear(struct docker_list *list)
{
	free(list->items);
	arena_free(&list->arena);
	*list = (struct docker_list){0};
}

/* Events */

/* Checks of health alone make three others each time. */
static bool action_counts(const char *action)
{
	static const char *const actions[] = {
		"start", "die", "died", "stop", "pause", "unpause", "rename", "destroy", "remove", "update",
	};

	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		if (strcmp(action, actions[i]) == 0)
			return true;
	return text_begins(action, "health_status");
}

/* Which container it is about; "" where nothing follows from it. */
static const char *container_of(const cJSON *root)
{
	const char *type = record_text(root, "Type"), *action = record_text(root, "Action");
	const cJSON *actor = record_member(root, "Actor");

	if (strcmp(type, "container") == 0)
		return action_counts(action) ? record_text(actor, "ID") : "";
	if (strcmp(type, "network") == 0 && (strcmp(action, "connect") == 0 || strcmp(action, "disconnect") == 0))
		return record_text(record_member(actor, "Attributes"), "container");
	return "";
}

int docker_event_parse(const char *line, size_t length, struct docker_event *ret, struct error *err)
{
	cJSON *root = parse(line, length, "an event of its", err);
	const cJSON *when;
	const char *id;
	int code = 0;

	*ret = (struct docker_event){0};
	if (!root)
		return -EINVAL;
	id = container_of(root);
	if (*id)
		code = check_id(id, err);
	if (!code && *id) {
		ret->counts = true;
		memcpy(ret->container, id, strlen(id) + 1);
	}
	when = record_member(root, "timeNano");
	if (cJSON_IsNumber(when) && when->valuedouble > 0 && when->valuedouble < 1e19)
		ret->nanoseconds = (uint64_t)when->valuedouble;
	cJSON_Delete(root);
	return code;
}

/* {"message": "No such container: web"} */
const char *docker_error_text(const char *body, size_t length, struct arena *arena)
{
	cJSON *root = parse(body, length, "its answer", NULL);
	const char *message = record_text(root, "message");
	char *text = arena_strndup(arena, *message ? message : body, ERROR_TEXT_MAX);

	text[strcspn(text, "\r\n")] = '\0';
	for (char *at = text; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	cJSON_Delete(root);
	return text;
}
