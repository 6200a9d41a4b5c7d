/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/status.h"

#include <cJSON.h>
#include <stdlib.h>
#include <string.h>

struct writer {
	FILE *out;
	const char *only;   /* a link's name, or NULL for all */
	unsigned int items; /* in the array that is open */
};

/* Object by object, so that thousands of links never stand in memory as one tree. */
static void write_item(struct writer *writer, cJSON *item)
{
	char *text = cJSON_PrintUnformatted(item);

	fprintf(writer->out, "%s%s", writer->items++ ? "," : "", text ? text : "null");
	cJSON_free(text);
	cJSON_Delete(item);
}

static void write_string(FILE *out, const char *text)
{
	cJSON *item = cJSON_CreateString(text);
	char *quoted = cJSON_PrintUnformatted(item);

	fputs(quoted, out);
	cJSON_free(quoted);
	cJSON_Delete(item);
}

static const char *endpoint_state(enum standing standing)
{
	switch (standing) {
	case STANDING_SERVING:
	case STANDING_STANDBY:
		return "up";
	case STANDING_DRAINING:
		return "draining";
	case STANDING_WRONG_FAMILY:
	case STANDING_OWN_ADDRESS:
		return "down";
	}
	return "down";
}

static const char *endpoint_reason(enum standing standing)
{
	switch (standing) {
	case STANDING_SERVING:
		return "serving";
	case STANDING_STANDBY:
		return "standby: endpoints of a better priority serve";
	case STANDING_DRAINING:
		return "its weight is 0";
	case STANDING_WRONG_FAMILY:
		return "not of the listen address's family: NAT cannot cross from IPv4 to IPv6 or back";
	case STANDING_OWN_ADDRESS:
		return "it is the link's own listen address";
	}
	return "";
}

static bool is_held(const struct link_status *status, const struct endpoint *endpoint)
{
	return status->loss->held && status->answer && !loss_is_named(status->answer, endpoint);
}

static void add_held_reason(cJSON *object, uint32_t seconds)
{
	char text[64];

	snprintf(text, sizeof(text), "gone from the registry; held for %u s more", seconds);
	cJSON_AddStringToObject(object, "reason", text);
}

static cJSON *describe_endpoint(const struct link_status *status, uint32_t index)
{
	const struct endpoint *endpoint = &status->endpoints->items[index];
	cJSON *object = cJSON_CreateObject();
	char text[IP_PORT_TEXT];

	cJSON_AddStringToObject(object, "id", endpoint->id);
	cJSON_AddStringToObject(object, "address", ip_port_text(&endpoint->at, text));
	cJSON_AddNumberToObject(object, "weight", endpoint->weight);
	cJSON_AddNumberToObject(object, "priority", endpoint->priority);
	if (endpoint->zone)
		cJSON_AddStringToObject(object, "zone", endpoint->zone);
	cJSON_AddStringToObject(object, "state", endpoint_state(status->standing[index]));
	if (is_held(status, endpoint))
		add_held_reason(object, status->held_seconds);
	else
		cJSON_AddStringToObject(object, "reason", endpoint_reason(status->standing[index]));
	cJSON_AddNumberToObject(object, "connections", (double)status->connections[index]);
	cJSON_AddNumberToObject(object, "retried", (double)status->refusals[index]);
	if (status->live)
		cJSON_AddNumberToObject(object, "live", (double)status->live[index]);
	return object;
}

static cJSON *describe_departed(const struct link_status *status, const struct departed *departed)
{
	cJSON *object = cJSON_CreateObject();
	char text[IP_PORT_TEXT];

	cJSON_AddStringToObject(object, "id", departed->id);
	cJSON_AddStringToObject(object, "address", ip_port_text(&departed->at, text));
	cJSON_AddNumberToObject(object, "weight", 0);
	cJSON_AddStringToObject(object, "state", "draining");
	cJSON_AddStringToObject(object, "reason",
				status->conf->drain_for_ms ? "removed; its connections are reset after drain_for"
							   : "removed; its connections end by themselves");
	cJSON_AddNumberToObject(object, "live", (double)departed->live);
	return object;
}

/* Whatever the registry says: without endpoints in the kernel a link is empty. */
static const char *link_state(const struct link_status *status)
{
	if (!status->serving)
		return status->holding ? "holding" : "empty";
	return status->stale || status->keeping || status->loss->held ? "stale" : "serving";
}

/* Why it is stale, or not in the kernel. */
static void add_link_reason(cJSON *object, const struct link_status *status)
{
	char text[160];

	if (status->error) {
		cJSON_AddStringToObject(object, "reason", status->error);
	} else if (status->keeping) {
		cJSON_AddStringToObject(object, "reason", "the registry names no endpoint; the last known ones stay");
	} else if (status->loss->held) {
		snprintf(text, sizeof(text),
			 "the registry names %u endpoint%s where there were %u; the %u that it lost stay for %u s more",
			 status->loss->left, status->loss->left == 1 ? "" : "s", status->loss->before,
			 status->loss->held, status->held_seconds);
		cJSON_AddStringToObject(object, "reason", text);
	}
}

static void write_link(void *context, const struct link_status *status)
{
	struct writer *writer = context;
	cJSON *object, *endpoints;
	char text[LISTEN_TEXT];

	if (writer->only && strcmp(writer->only, status->conf->name) != 0)
		return;
	object = cJSON_CreateObject();
	cJSON_AddStringToObject(object, "name", status->conf->name);
	cJSON_AddStringToObject(object, "listen", listen_text(&status->conf->listen, text));
	cJSON_AddStringToObject(object, "service", status->conf->service);
	cJSON_AddStringToObject(object, "registry", status->conf->registry);
	cJSON_AddStringToObject(object, "balance", balance_name(status->conf->balance));
	cJSON_AddStringToObject(object, "state", link_state(status));
	add_link_reason(object, status);
	cJSON_AddBoolToObject(object, "installed", status->installed);
	cJSON_AddNumberToObject(object, "slots", status->slots);
	endpoints = cJSON_AddArrayToObject(object, "endpoints");
	for (uint32_t i = 0; i < status->endpoints->count; i++)
		cJSON_AddItemToArray(endpoints, describe_endpoint(status, i));
	for (size_t i = 0; i < status->n_departed; i++)
		cJSON_AddItemToArray(endpoints, describe_departed(status, &status->departed[i]));
	write_item(writer, object);
}

static void write_ambassador(struct writer *writer, struct ambassador *ambassador)
{
	fputs("{\"netns\":", writer->out);
	write_string(writer->out, ambassador_netns(ambassador));
	if (ambassador_error(ambassador)) {
		fputs(",\"error\":", writer->out);
		write_string(writer->out, ambassador_error(ambassador));
	}
	fputs(",\"links\":[", writer->out);
	writer->items = 0;
	ambassador_status(ambassador, write_link, writer);
	fputs("]}", writer->out);
}

static void write_registry(void *context, const struct registry_status *status)
{
	cJSON *object = cJSON_CreateObject();

	cJSON_AddStringToObject(object, "uri", status->uri);
	cJSON_AddBoolToObject(object, "connected", status->connected);
	if (status->error)
		cJSON_AddStringToObject(object, "error", status->error);
	cJSON_AddStringToObject(object, "revision", status->revision);
	if (status->last_success_seconds >= 0)
		cJSON_AddNumberToObject(object, "last_success_seconds", status->last_success_seconds);
	else
		cJSON_AddNullToObject(object, "last_success_seconds");
	cJSON_AddNumberToObject(object, "services", status->services);
	cJSON_AddNumberToObject(object, "skipped_records", status->skipped);
	write_item(context, object);
}

void status_write(FILE *out, struct ambassador *const *ambassadors, size_t count, const struct catalog *catalog,
		  const char *link)
{
	struct writer writer = {.out = out, .only = link};

	fputs("{\"version\":\"" NUNCIO_VERSION "\",\"ambassadors\":[", out);
	for (size_t i = 0; i < count; i++) {
		if (i)
			fputc(',', out);
		write_ambassador(&writer, ambassadors[i]);
	}
	fputs("],\"registries\":[", out);
	writer.items = 0;
	catalog_registries(catalog, write_registry, &writer);
	fputs("]}", out);
}
