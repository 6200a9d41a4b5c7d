/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "announce/value.h"

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
