/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/dns/names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/mem.h"
#include "discovery/record.h"

#define DEFAULT_PORT 53
#define LABEL_MAX 63

/* An address with or without a port. */
static int parse_server(const char *text, struct ip_port *ret)
{
	size_t length = strlen(text);
	char host[IP_ADDR_TEXT];

	if (ip_port_parse(text, ret) == 0)
		return 0;
	*ret = (struct ip_port){.port = DEFAULT_PORT};
	if (*text != '[')
		return strchr(text, ':') ? -EINVAL : ip_addr_parse(text, &ret->addr);
	if (length - 2 >= sizeof(host) || text[length - 1] != ']')
		return -EINVAL;
	memcpy(host, text + 1, length - 2);
	host[length - 2] = '\0';
	return strchr(host, ':') ? ip_addr_parse(host, &ret->addr) : -EINVAL;
}

static int take_servers(const struct registry_conf *conf, char *list, char **ret, struct error *err)
{
	char *text, *servers = xstrdup(""), buffer[IP_PORT_TEXT];
	struct ip_port server;

	while ((text = strsep(&list, ","))) {
		char *longer;

		if (parse_server(text, &server) < 0) {
			free(servers);
			return fail(err, -EINVAL,
				    "registry \"%s\": \"%s\" is not an address with or without a port; %s is accepted",
				    conf->uri, text, DNS_URI_FORM);
		}
		longer = xasprintf("%s%s%s", servers, *servers ? "," : "", ip_port_text(&server, buffer));
		free(servers);
		servers = longer;
	}
	*ret = servers;
	return 0;
}

int dns_uri_parse(const struct registry_conf *conf, char **ret_servers, struct error *err)
{
	const char *rest = conf->uri + strlen("dns:");
	char *servers, *slash;
	int code = 0;

	if (conf->ca || conf->cert || conf->key || conf->username || conf->password_file)
		return fail(err, -EINVAL,
			    "registry \"%s\": DNS has no use for ca, cert, key, username or password_file", conf->uri);
	if (strncmp(rest, "//", 2) != 0)
		return fail(err, -EINVAL, "registry \"%s\": " DNS_URI_FORM " is accepted", conf->uri);
	servers = xstrdup(rest + 2);
	slash = strchr(servers, '/');
	if (slash && slash[1])
		code = fail(err, -EINVAL, "registry \"%s\": \"%s\" is too much; " DNS_URI_FORM " is accepted",
			    conf->uri, slash + 1);
	if (slash)
		*slash = '\0';
	*ret_servers = NULL;
	if (!code && *servers)
		code = take_servers(conf, servers, ret_servers, err);
	free(servers);
	return code;
}

/* Labels of 1-63 characters. Which ones is the registry's matter, but for those that are an escape or a blank. */
static int check_labels(const char *name)
{
	for (;;) {
		size_t length = strcspn(name, ".");

		if (!length || length > LABEL_MAX || strcspn(name, "\\: ") < length)
			return -EINVAL;
		if (!name[length])
			return 0;
		name += length + 1;
	}
}

int dns_name_parse(const char *service, struct dns_name *ret, struct error *err)
{
	const char *colon = strchr(service, ':');
	size_t length = colon ? (size_t)(colon - service) : strlen(service);
	char quoted[RECORD_QUOTE_SIZE];
	uint64_t port = 0;

	if (length > 1 && service[length - 1] == '.')
		length--;
	if (colon && number_parse(colon + 1, 1, UINT16_MAX, &port) < 0)
		return fail(err, -EINVAL, "\"%s\": the port after the name: 1-65535 is accepted",
			    record_quote(service, quoted));
	*ret = (struct dns_name){.port = (uint16_t)port};
	if (length < sizeof(ret->name))
		memcpy(ret->name, service, length);
	if (length >= sizeof(ret->name) || check_labels(ret->name) < 0)
		return fail(err, -EINVAL,
			    "\"%s\" is not a name in DNS; NAME of SRV records, or NAME:PORT of addresses, is accepted",
			    record_quote(service, quoted));
	return 0;
}
