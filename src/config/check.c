/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "check" of a link: a word, or an object with the keys of check_keys[]. */
#include "config/check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/mem.h"
#include "config/keys.h"

#define STATUS_FORM "a status such as 200, or 200-399"
#define COUNT_MAX 100
#define PATH_MAX_BYTES 1024
#define BODY_MAX_BYTES 256

const struct link_check check_default = {
	.probe = {.timeout_ms = CHECK_TIMEOUT_DEFAULT_MS, .path = "/", .status_first = 200, .status_last = 399},
	.interval_ms = CHECK_INTERVAL_DEFAULT_MS,
	.rise = CHECK_RISE_DEFAULT,
	.fall = CHECK_FALL_DEFAULT,
};

static int refuse(const struct key *key, const char *text, struct error *err)
{
	return fail(err, -EINVAL, VALUE " is not accepted: expected %s", text, key->values);
}

static bool is_visible(const char *text, size_t max)
{
	size_t length = 0;

	for (; text[length]; length++)
		if (length == max || text[length] <= ' ' || text[length] > '~')
			return false;
	return length > 0;
}

/* The whole of "check", where it is a word. */
int check_set_word(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	struct probe_conf *probe = &link->check.probe;

	if (strcmp(text, "off") == 0) {
		probe->kind = PROBE_NONE;
	} else if (strcmp(text, "tcp") == 0) {
		probe->kind = PROBE_TCP;
	} else if (text_begins(text, "http:/") && is_visible(text, PATH_MAX_BYTES)) {
		probe->kind = PROBE_HTTP;
		probe->path = text + strlen("http:");
	} else {
		return refuse(key, text, err);
	}
	return 0;
}

static int set_type(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	if (strcmp(text, "tcp") == 0)
		link->check.probe.kind = PROBE_TCP;
	else if (strcmp(text, "http") == 0)
		link->check.probe.kind = PROBE_HTTP;
	else
		return refuse(key, text, err);
	return 0;
}

static int set_path(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	if (*text != '/' || !is_visible(text, PATH_MAX_BYTES))
		return refuse(key, text, err);
	link->check.probe.path = text;
	link->check.http_key = key->name;
	return 0;
}

static int set_host(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	/* Goes into a URL, and into a header. */
	if (!is_visible(text, SERVICE_NAME_MAX) || strpbrk(text, "/?#@:\\\""))
		return refuse(key, text, err);
	link->check.probe.host = text;
	link->check.http_key = key->name;
	return 0;
}

static int set_status(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	char first[4] = "", *dash = strchr(text, '-');
	size_t length = dash ? (size_t)(dash - text) : strlen(text);
	uint64_t from, to;

	if (length >= sizeof(first))
		return refuse(key, text, err);
	memcpy(first, text, length);
	if (number_parse(first, 100, 599, &from) < 0 || number_parse(dash ? dash + 1 : first, from, 599, &to) < 0)
		return refuse(key, text, err);
	link->check.probe.status_first = (uint16_t)from;
	link->check.probe.status_last = (uint16_t)to;
	link->check.http_key = key->name;
	return 0;
}

static int set_body(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	if (!*text || strlen(text) > BODY_MAX_BYTES)
		return refuse(key, text, err);
	link->check.probe.body = text;
	link->check.http_key = key->name;
	return 0;
}

static int set_truth(const struct key *key, struct link_conf *link, const char *text, bool *ret, struct error *err)
{
	if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
		return refuse(key, text, err);
	*ret = *text == 't';
	link->check.http_key = key->name;
	return 0;
}

static int set_tls(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	return set_truth(key, link, text, &link->check.probe.tls, err);
}

static int set_tls_verify(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	return set_truth(key, link, text, &link->check.probe.tls_verify, err);
}

static int set_port(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	uint64_t port;

	if (number_parse(text, 1, UINT16_MAX, &port) < 0)
		return refuse(key, text, err);
	link->check.probe.port = (uint16_t)port;
	return 0;
}

static int set_duration(const struct key *key, const char *text, uint32_t min, uint32_t *ret, struct error *err)
{
	uint32_t ms;

	if (duration_parse(text, &ms) < 0 || ms < min)
		return refuse(key, text, err);
	*ret = ms;
	return 0;
}

static int set_interval(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	return set_duration(key, text, CHECK_INTERVAL_MIN_MS, &link->check.interval_ms, err);
}

static int set_fast_interval(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	return set_duration(key, text, CHECK_INTERVAL_MIN_MS, &link->check.fast_interval_ms, err);
}

static int set_timeout(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	return set_duration(key, text, 1, &link->check.probe.timeout_ms, err);
}

static int set_count(const struct key *key, const char *text, uint32_t *ret, struct error *err)
{
	uint64_t count;

	if (number_parse(text, 1, COUNT_MAX, &count) < 0)
		return refuse(key, text, err);
	*ret = (uint32_t)count;
	return 0;
}

static int set_rise(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	return set_count(key, text, &link->check.rise, err);
}

static int set_fall(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	return set_count(key, text, &link->check.fall, err);
}

static int set_initial(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	if (strcmp(text, "serve") != 0 && strcmp(text, "wait") != 0)
		return refuse(key, text, err);
	link->check.wait = *text == 'w';
	return 0;
}

#define INTERVAL_FORM "100ms or more, in ms, s, m or h"

const struct key check_keys[] = {
	{"type", "tcp, http", NULL, "a connection is accepted, or a GET is answered", 0, set_type},
	{"interval", INTERVAL_FORM, "2s", "from one check to the next", 0, set_interval},
	{"fast_interval", INTERVAL_FORM, "interval/4", "the same while checks speak against the verdict", 0,
	 set_fast_interval},
	{"timeout", DURATION_FORM, "1s", "how long a check may take", 0, set_timeout},
	{"rise", "1 to 100", "2", "good checks in a row that make it up again; at first, one", KEY_NUMBER, set_rise},
	{"fall", "1 to 100", "3", "failed checks in a row that make it down", KEY_NUMBER, set_fall},
	{"initial", "serve, wait", "serve", "before the first verdict: up, or down", 0, set_initial},
	{"port", "1 to 65535", "the endpoint's", "the port to check", KEY_NUMBER, set_port},
	{"path", "a path such as /health", "/", "http: what to ask for", 0, set_path},
	{"host", "a host name", "the address", "http: the Host header, and the name for TLS", 0, set_host},
	{"status", STATUS_FORM, "200-399", "http: the statuses that are good", KEY_NUMBER, set_status},
	{"body", "1 to 256 bytes", "anything", "http: a text that the answer has to have in it", 0, set_body},
	{"tls", "true, false", "false", "http: over TLS", KEY_TRUTH, set_tls},
	{"tls_verify", "true, false", "false", "http: the certificate has to be good for the host", KEY_TRUTH,
	 set_tls_verify},
	{0},
};

void check_begin_object(struct link_conf *link)
{
	link->check.http_key = NULL;
}

int check_end_object(const struct link_conf *link, struct error *err)
{
	if (link->check.probe.kind == PROBE_TCP && link->check.http_key)
		return fail(err, -EINVAL, "\"%s\" is of no use to a check of type tcp: use type http, or leave it out",
			    link->check.http_key);
	return 0;
}
