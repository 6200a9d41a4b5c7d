/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "announce/value.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <stdlib.h>

#include "base/mem.h"

char *announce_value(const struct announce_conf *conf, const struct ip_port *at)
{
	char host[IP_ADDR_TEXT], address[IP_PORT_TEXT];

	ip_addr_text(&at->addr, host);
	ip_port_text(at, address);
	switch (conf->format) {
	case FORMAT_JSON:
		break;
	case FORMAT_REGISTRATOR:
		return xstrdup(address);
	case FORMAT_SKYDNS:
		if (conf->weight == 1)
			return xasprintf("{\"host\":\"%s\",\"port\":%u}", host, at->port);
		break;
	case FORMAT_GRPC:
		return xasprintf("{\"Op\":0,\"Addr\":\"%s\",\"Metadata\":null}", address);
	}
	return xasprintf("{\"host\":\"%s\",\"port\":%u,\"weight\":%u}", host, at->port, conf->weight);
}

/* "10.0.0.5:80" to "10-0-0-5-80", "[fd00::1]:80" to "fd00--1-80" */
static void make_label(char *text)
{
	char *to = text;

	for (; *text; text++)
		if (*text != '[' && *text != ']')
			*to++ = isalnum((unsigned char)*text) ? *text : '-';
	*to = '\0';
}

char *announce_key(const struct announce_conf *conf, const struct ip_port *at)
{
	char address[IP_PORT_TEXT];

	ip_port_text(at, address);
	if (conf->format == FORMAT_SKYDNS)
		make_label(address);
	return xasprintf("%s/%s", conf->service, conf->id ? conf->id : address);
}

char *announce_file_id(const struct announce_conf *conf, const struct ip_port *at)
{
	char address[IP_PORT_TEXT];

	return xstrdup(conf->id ? conf->id : ip_port_text(at, address));
}

char *announce_file_text(const struct announce_conf *conf, const struct ip_port *at)
{
	char host[IP_ADDR_TEXT], *id = announce_file_id(conf, at), *json, *text;
	cJSON *record = cJSON_CreateObject();

	cJSON_AddStringToObject(record, "host", ip_addr_text(&at->addr, host));
	cJSON_AddNumberToObject(record, "port", at->port);
	cJSON_AddNumberToObject(record, "weight", conf->weight);
	cJSON_AddStringToObject(record, "id", id);
	json = cJSON_PrintUnformatted(record);
	text = xasprintf("[%s]\n", json);
	cJSON_free(json);
	cJSON_Delete(record);
	free(id);
	return text;
}

char *announce_consul_id(const struct announce_conf *conf, const struct ip_port *at)
{
	char address[IP_PORT_TEXT];

	return conf->id ? xstrdup(conf->id) : xasprintf("%s-%s", conf->service, ip_port_text(at, address));
}

char *announce_consul_body(const struct announce_conf *conf, const struct ip_port *at, const char *const *tags)
{
	cJSON *body = cJSON_CreateObject(), *weights, *check, *list;
	char host[IP_ADDR_TEXT], *id = announce_consul_id(conf, at), *ttl = xasprintf("%us", conf->ttl_s), *text;

	cJSON_AddStringToObject(body, "ID", id);
	cJSON_AddStringToObject(body, "Name", conf->service);
	cJSON_AddStringToObject(body, "Address", ip_addr_text(&at->addr, host));
	cJSON_AddNumberToObject(body, "Port", at->port);
	list = cJSON_AddArrayToObject(body, "Tags");
	for (; *tags; tags++)
		cJSON_AddItemToArray(list, cJSON_CreateString(*tags));
	weights = cJSON_AddObjectToObject(body, "Weights");
	cJSON_AddNumberToObject(weights, "Passing", conf->weight ? conf->weight : 1);
	cJSON_AddNumberToObject(weights, "Warning", conf->weight ? 1 : 0);
	check = cJSON_AddObjectToObject(body, "Check");
	cJSON_AddStringToObject(check, "TTL", ttl);
	cJSON_AddStringToObject(check, "Status", conf->weight ? "passing" : "warning");
	cJSON_AddStringToObject(check, "DeregisterCriticalServiceAfter", CONSUL_DROP_AFTER);
	text = cJSON_PrintUnformatted(body);
	cJSON_Delete(body);
	free(id);
	free(ttl);
	return text;
}
