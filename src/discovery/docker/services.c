/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/docker/services.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "discovery/record.h"

#define KEY_TEXT 48
#define SERVICE_TEXT 300

static bool is_available(const struct docker_container *container)
{
	return container->running && !container->paused && container->healthy;
}

/* Addresses */

static const struct docker_network *find_network(const struct docker_container *container, const char *name)
{
	for (size_t i = 0; i < container->n_networks; i++)
		if (strcmp(container->networks[i].name, name) == 0)
			return &container->networks[i];
	return NULL;
}

static const char *list_networks(const struct docker_container *container, struct arena *arena)
{
	const char *list = "";

	for (size_t i = 0; i < container->n_networks; i++)
		list = arena_printf(arena, "%s%s%s", list, i ? ", " : "", container->networks[i].name);
	return list;
}

/* NULL with a sentence. */
static const struct docker_network *choose_network(const struct docker_view *view,
						   const struct docker_container *container, struct error *err)
{
	const char *list = list_networks(container, &view->records->arena);
	const struct docker_network *network = view->network ? find_network(container, view->network) : NULL;

	if (!container->n_networks)
		fail(err, -EINVAL, "it is on no network");
	else if (view->network && !network)
		fail(err, -EINVAL, "it is not on the network %s (but on %.200s)", view->network, list);
	else if (!view->network && container->n_networks > 1)
		fail(err, -EINVAL, "it is on several networks (%.200s): choose one with ?network=NAME", list);
	else if (!view->network)
		network = &container->networks[0];
	return network;
}

static int find_address(const struct docker_view *view, const struct docker_container *container, struct ip_addr *ret,
			struct error *err)
{
	const struct docker_network *network = choose_network(view, container, err);

	if (!network)
		return -EINVAL;
	*ret = network->v4.family ? network->v4 : network->v6;
	if (!ret->family || !ip_addr_is_unicast(ret))
		return fail(err, -EINVAL, "it has no address on the network %s", network->name);
	return 0;
}

/* Ports */

static int list_ports(const struct docker_container *container, struct arena *arena, struct error *err)
{
	const char *list = "";

	for (size_t i = 0; i < container->n_ports; i++)
		list = arena_printf(arena, "%s%s%u", list, i ? ", " : "", container->ports[i].port);
	if (!*list)
		return fail(err, -EINVAL, "it exposes no port: give it the label nuncio.port");
	return fail(err, -EINVAL, "it exposes several ports (%.200s): choose one by the label nuncio.port", list);
}

static bool has_one_port(const struct docker_container *container)
{
	/* One number for TCP and UDP is one port. */
	return container->n_ports && container->ports[0].port == container->ports[container->n_ports - 1].port;
}

static int choose_port(const struct docker_view *view, const struct docker_container *container, uint16_t *ret,
		       struct error *err)
{
	const char *label = docker_label(container, "nuncio.port");

	if (label)
		return record_number("label nuncio.port", label, 1, UINT16_MAX, ret, err);
	if (!has_one_port(container))
		return list_ports(container, &view->records->arena, err);
	*ret = container->ports[0].port;
	return 0;
}

/* Endpoints */

static void skip(const struct docker_view *view, const struct docker_container *container, const char *reason)
{
	char quoted[RECORD_QUOTE_SIZE];

	records_skip(view->records, "container %s: %s", record_quote(container->name, quoted), reason);
}

static void add(struct docker_view *view, const struct docker_container *container, struct endpoint *endpoint)
{
	char at[IP_PORT_TEXT], other[RECORD_QUOTE_SIZE];
	const char *stays;
	struct error err;

	if (endpoints_builder_add(view->builder, endpoint, &stays) == 0) {
		view->used++;
		return;
	}
	fail(&err, 0, "%s: \"%s\" has this id or address already, each is accepted once",
	     ip_port_text(&endpoint->at, at), record_quote(stays, other));
	skip(view, container, err.text);
}

static void offer(struct docker_view *view, const struct docker_container *container,
		  const struct docker_container *owner, const char *id, uint16_t port)
{
	const char *weight = docker_label(container, "nuncio.weight");
	struct endpoint endpoint = {.weight = 1, .at.port = port};
	struct error err;
	int code = record_name("name", id, &endpoint.id, &err);

	if (!code && weight)
		code = record_number("label nuncio.weight", weight, 0, ENDPOINT_WEIGHT_MAX, &endpoint.weight, &err);
	if (!code)
		code = find_address(view, owner ? owner : container, &endpoint.at.addr, &err);
	if (code)
		skip(view, container, err.text);
	else
		add(view, container, &endpoint);
}

static void offer_by_own_labels(struct docker_view *view, const struct docker_container *container,
				const struct docker_container *owner)
{
	const char *service = docker_label(container, "nuncio.service");
	struct error err;
	uint16_t port = 0;

	if (!service || strcmp(service, view->service) != 0)
		return;
	if (choose_port(view, container, &port, &err))
		skip(view, container, err.text);
	else
		offer(view, container, owner, container->name, port);
}

/* registrator's labels */

/* "SERVICE_80_NAME", else "SERVICE_NAME" */
static const char *registrator_label(const struct docker_container *container, unsigned int port, const char *what,
				     bool *ret_of_port)
{
	char key[KEY_TEXT];
	const char *value;

	snprintf(key, sizeof(key), "SERVICE_%u_%s", port, what);
	value = docker_label(container, key);
	*ret_of_port = value != NULL;
	if (value)
		return value;
	snprintf(key, sizeof(key), "SERVICE_%s", what);
	return docker_label(container, key);
}

static bool offers_port(const struct docker_container *container, unsigned int port, const char *service)
{
	bool of_port;
	const char *ignore = registrator_label(container, port, "IGNORE", &of_port), *name;
	char full[SERVICE_TEXT];

	if (ignore && *ignore)
		return false;
	name = registrator_label(container, port, "NAME", &of_port);
	if (!name || of_port || has_one_port(container))
		return name && strcmp(name, service) == 0;
	return snprintf(full, sizeof(full), "%s-%u", name, port) < (int)sizeof(full) && strcmp(full, service) == 0;
}

static void offer_by_registrators(struct docker_view *view, const struct docker_container *container,
				  const struct docker_container *owner)
{
	uint16_t former = 0;
	uint32_t offered = 0;

	for (size_t i = 0; i < container->n_ports; i++) {
		uint16_t port = container->ports[i].port;
		const char *id = container->name;

		if (port == former || !offers_port(container, port, view->service))
			continue;
		former = port;
		/* The second port of a service needs another id. */
		if (offered++)
			id = arena_printf(&view->records->arena, "%s:%u", container->name, port);
		offer(view, container, owner, id, port);
	}
}

void docker_view_begin(struct docker_view *view, const char *service, const char *network, struct records *ret)
{
	*ret = (struct records){0};
	*view = (struct docker_view){
		.service = service, .network = network, .builder = endpoints_builder_new(), .records = ret};
}

void docker_view_add(struct docker_view *view, const struct docker_container *container,
		     const struct docker_container *owner)
{
	if (!is_available(container))
		return;
	if (docker_label(container, "nuncio.service"))
		offer_by_own_labels(view, container, owner);
	else
		offer_by_registrators(view, container, owner);
}

void docker_view_end(struct docker_view *view)
{
	struct records *records = view->records;

	if (view->used || !records->skipped) {
		records->endpoints = endpoints_builder_finish(view->builder);
		return;
	}
	endpoints_builder_free(view->builder);
	records_refuse(records, "%s; no container of %u can be used", records->reports[0], records->skipped);
}
