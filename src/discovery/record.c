/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/record.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "catalog/endpoints.h"

#define HOST_NAME_MAX_BYTES 253
#define NO_HOST_NAMES "host names are not yet supported, " RECORD_ADDRESS_ACCEPTED

const char *record_quote(const char *value, char buffer[RECORD_QUOTE_SIZE])
{
	size_t length = strnlen(value, RECORD_QUOTE_MAX);

	for (size_t i = 0; i < length; i++)
		buffer[i] = value[i] >= ' ' && value[i] <= '~' ? value[i] : '?';
	strcpy(buffer + length, value[length] ? "..." : "");
	return buffer;
}

const char *record_quote_json(const cJSON *item, char buffer[RECORD_QUOTE_SIZE])
{
	if (cJSON_IsString(item))
		return record_quote(item->valuestring, buffer);
	if (cJSON_IsNumber(item))
		snprintf(buffer, RECORD_QUOTE_SIZE, "%.15g", item->valuedouble);
	else if (cJSON_IsBool(item))
		strcpy(buffer, cJSON_IsTrue(item) ? "true" : "false");
	else
		strcpy(buffer, cJSON_IsObject(item) ? "{...}" : cJSON_IsArray(item) ? "[...]" : "null");
	return buffer;
}

/* Ids and zones go into logs, terminals and the comments of the kernel's rules. */
int record_name(const char *key, const char *value, const char **ret, struct error *err)
{
	char quoted[RECORD_QUOTE_SIZE];
	size_t length = strlen(value);
	bool printable = true;

	for (size_t i = 0; i < length; i++)
		printable = printable && value[i] >= ' ' && value[i] <= '~';
	if (!length || length > ENDPOINT_ID_MAX || !printable)
		return fail(err, -EINVAL, "%s \"%s\": 1-%d printable ASCII characters are accepted", key,
			    record_quote(value, quoted), ENDPOINT_ID_MAX);
	*ret = value;
	return 0;
}

int record_number(const char *key, const char *value, uint16_t min, uint16_t max, uint16_t *ret, struct error *err)
{
	char quoted[RECORD_QUOTE_SIZE];
	uint64_t number;

	if (number_parse(value, min, max, &number) < 0)
		return fail(err, -EINVAL, "%s %s: %u-%u is accepted", key, record_quote(value, quoted), min, max);
	*ret = (uint16_t)number;
	return 0;
}

bool record_looks_like_name(const char *host, size_t length)
{
	return memchr(host, ':', length) == NULL && strspn(host, "0123456789.") < length;
}

static int check_unicast(const struct ip_addr *addr, struct error *err)
{
	char text[IP_ADDR_TEXT];

	if (!ip_addr_is_unicast(addr))
		return fail(err, -EINVAL,
			    "address %s: nothing can be connected to there, a unicast address is accepted",
			    ip_addr_text(addr, text));
	return 0;
}

int record_host(const char *host, struct ip_addr *ret, struct error *err)
{
	char quoted[RECORD_QUOTE_SIZE];

	if (ip_addr_parse(host, ret) < 0)
		return fail(err, -EINVAL, "host \"%s\": %s", record_quote(host, quoted),
			    record_looks_like_name(host, strlen(host)) ? NO_HOST_NAMES : RECORD_ADDRESS_ACCEPTED);
	return check_unicast(ret, err);
}

static bool is_host_name(const char *text)
{
	size_t length = strlen(text);

	if (!length || length > HOST_NAME_MAX_BYTES || !isalnum((unsigned char)*text))
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr("-._", text[i]))
			return false;
	return true;
}

int record_host_or_name(const char *host, struct ip_addr *ret, struct error *err)
{
	char quoted[RECORD_QUOTE_SIZE];

	if (!record_looks_like_name(host, strlen(host)))
		return record_host(host, ret, err);
	if (!is_host_name(host))
		return fail(err, -EINVAL, "host \"%s\": an address or a name of a-z 0-9 - . _ is accepted",
			    record_quote(host, quoted));
	*ret = (struct ip_addr){0};
	return 0;
}

int record_address(const char *text, struct ip_port *ret, struct error *err)
{
	const char *colon = strchr(text, ':');
	char quoted[RECORD_QUOTE_SIZE];

	if (ip_port_parse(text, ret) == 0)
		return check_unicast(&ret->addr, err);
	if (colon && !strchr(colon + 1, ':') && record_looks_like_name(text, (size_t)(colon - text)))
		return fail(err, -EINVAL, "address \"%s\": " NO_HOST_NAMES, record_quote(text, quoted));
	return fail(err, -EINVAL, "address \"%s\": IPV4:PORT or [IPV6]:PORT with port 1-65535 is accepted",
		    record_quote(text, quoted));
}

int record_wrong_type(const char *key, const cJSON *item, const char *accepted, struct error *err)
{
	char quoted[RECORD_QUOTE_SIZE];

	return fail(err, -EINVAL, "%s %s: %s is accepted", key, record_quote_json(item, quoted), accepted);
}

const cJSON *record_member(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	return cJSON_IsNull(item) ? NULL : item;
}

const char *record_text(const cJSON *object, const char *key)
{
	const char *text = cJSON_GetStringValue(record_member(object, key));

	return text ? text : "";
}

int record_json_name(const cJSON *object, const char *key, const char **ret, struct error *err)
{
	const cJSON *item = record_member(object, key);

	if (!item)
		return 0;
	if (!cJSON_IsString(item))
		return record_wrong_type(key, item, "a string", err);
	return record_name(key, item->valuestring, ret, err);
}

int record_json_number(const cJSON *object, const char *key, uint16_t min, uint16_t max, uint16_t *ret,
		       struct error *err)
{
	const cJSON *item = record_member(object, key);
	char quoted[RECORD_QUOTE_SIZE];

	if (!item)
		return 0;
	if (cJSON_IsString(item))
		return record_number(key, item->valuestring, min, max, ret, err);
	if (!cJSON_IsNumber(item))
		return record_wrong_type(key, item, "an integer", err);
	if (!(item->valuedouble >= min && item->valuedouble <= max && item->valuedouble == item->valueint))
		return fail(err, -EINVAL, "%s %s: %u-%u is accepted", key, record_quote_json(item, quoted), min, max);
	*ret = (uint16_t)item->valueint;
	return 0;
}

int record_json_port(const cJSON *object, const char *key, uint16_t *ret, struct error *err)
{
	uint16_t port = 0;
	int code = record_json_number(object, key, 1, UINT16_MAX, &port, err);

	if (!code && !port)
		code = fail(err, -EINVAL, "no \"%s\": 1-65535 is accepted", key);
	if (!code)
		*ret = port;
	return code;
}
