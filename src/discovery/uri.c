/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/uri.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/addr.h"

static bool is_host(const char *host, size_t length)
{
	char text[IP_ADDR_TEXT];
	struct ip_addr addr;

	if (length > 2 && host[0] == '[' && host[length - 1] == ']' && length - 2 < sizeof(text)) {
		memcpy(text, host + 1, length - 2);
		text[length - 2] = '\0';
		return ip_addr_parse(text, &addr) == 0;
	}
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)host[i]) && !strchr("-._", host[i]))
			return false;
	return length > 0;
}

const char *uri_address(struct arena *arena, const char *text, const char *default_port)
{
	const char *bracket = strrchr(text, ']'), *colon = strchr(bracket ? bracket : text, ':');
	size_t length = colon ? (size_t)(colon - text) : strlen(text);
	uint64_t port;

	if (!is_host(text, length) || (colon && number_parse(colon + 1, 1, UINT16_MAX, &port) < 0))
		return NULL;
	return arena_printf(arena, "%.*s:%s", (int)length, text, colon ? colon + 1 : default_port);
}

char *uri_encode(struct arena *arena, const char *text)
{
	static const char digits[] = "0123456789ABCDEF";
	char *encoded = arena_alloc(arena, strlen(text) * 3 + 1), *to = encoded;

	for (; *text; text++) {
		unsigned char byte = (unsigned char)*text;

		if (isalnum(byte) || strchr("-._~", byte)) {
			*to++ = *text;
			continue;
		}
		*to++ = '%';
		*to++ = digits[byte >> 4];
		*to++ = digits[byte & 15];
	}
	return encoded;
}

static int digit_value(char digit)
{
	if (isdigit((unsigned char)digit))
		return digit - '0';
	return tolower((unsigned char)digit) - 'a' + 10;
}

char *uri_decode(struct arena *arena, const char *text)
{
	char *decoded = arena_strdup(arena, text), *to = decoded;

	while (*text) {
		bool escape = *text == '%' && isxdigit((unsigned char)text[1]) && isxdigit((unsigned char)text[2]);
		int byte = escape ? digit_value(text[1]) << 4 | digit_value(text[2]) : 0;

		*to++ = byte ? (char)byte : *text;
		text += byte ? 3 : 1;
	}
	*to = '\0';
	return decoded;
}
