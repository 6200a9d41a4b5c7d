/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "announce/conf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "catalog/endpoints.h"
#include "discovery/record.h"

#define TTL_DEFAULT_S 15
#define CHECK_INTERVAL_DEFAULT_MS 2000
#define CHECK_INTERVAL_MIN_MS 100
#define NAME_MAX_BYTES 255

static int take_name(const char *option, const char *text, const char **ret, struct error *err)
{
	size_t length = strlen(text);

	for (size_t i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] > '~')
			length = 0;
	if (!length || length > NAME_MAX_BYTES || *text == '/' || text[length - 1] == '/')
		return fail(err, -EINVAL,
			    "--%s \"%.100s\": 1 to %d visible ASCII characters are accepted, no '/' at either end",
			    option, text, NAME_MAX_BYTES);
	*ret = text;
	return 0;
}

static int take_service(const struct announce_args *args, struct announce_conf *conf, struct error *err)
{
	if (!args->service)
		return fail(err, -EINVAL, "no service: give its name with --service");
	return take_name("service", args->service, &conf->service, err);
}

static int take_id(const struct announce_args *args, struct announce_conf *conf, struct error *err)
{
	return args->id ? take_name("id", args->id, &conf->id, err) : 0;
}

/* "ADDR:PORT", or only ":PORT" or "PORT". */
static int take_endpoint(const struct announce_args *args, struct announce_conf *conf, struct error *err)
{
	const char *text = args->endpoint;
	uint64_t port;
	int code;

	if (!text)
		return fail(err, -EINVAL, "no endpoint: give ADDR:PORT, or the port only, with --endpoint");
	if (number_parse(text + (*text == ':'), 1, UINT16_MAX, &port) == 0) {
		conf->at.port = (uint16_t)port;
		return 0;
	}
	code = record_address(text, &conf->at, err);
	return code ? fail_prefix(err, code, "--endpoint") : 0;
}

static int take_weight(const struct announce_args *args, struct announce_conf *conf, struct error *err)
{
	int code;

	conf->weight = 1;
	if (!args->weight)
		return 0;
	code = record_number("--weight", args->weight, 0, ENDPOINT_WEIGHT_MAX, &conf->weight, err);
	if (!code && (conf->format == FORMAT_REGISTRATOR || conf->format == FORMAT_GRPC))
		return fail(err, -EINVAL, "--weight %s: --format %s has no weights", args->weight, args->format);
	return code;
}

static int take_ttl(const struct announce_args *args, struct announce_conf *conf, struct error *err)
{
	uint32_t ms = TTL_DEFAULT_S * 1000;

	if (args->ttl && (duration_parse(args->ttl, &ms) < 0 || !ms || ms % 1000))
		return fail(err, -EINVAL,
			    "--ttl %.100s: whole seconds such as 15s are accepted, or a number with m or h", args->ttl);
	conf->ttl_s = ms / 1000;
	return 0;
}

static int take_format(const struct announce_args *args, struct announce_conf *conf, struct error *err)
{
	static const char *const names[] = {
		[FORMAT_JSON] = "json",
		[FORMAT_REGISTRATOR] = "registrator",
		[FORMAT_SKYDNS] = "skydns",
		[FORMAT_GRPC] = "grpc",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!args->format || strcmp(args->format, names[i]) == 0) {
			conf->format = (enum announce_format)i;
			return 0;
		}
	}
	return fail(err, -EINVAL, "--format %.100s: accepted are json, registrator, skydns and grpc", args->format);
}

/* A command that is started here has a port that can be asked; what runs already, is taken to run. */
static int take_check(const struct announce_args *args, struct announce_conf *conf, struct error *err)
{
	const char *text = args->check ? args->check : args->n_command ? "tcp" : "none";

	if (strcmp(text, "none") == 0) {
		conf->check.kind = CHECK_NONE;
	} else if (strcmp(text, "tcp") == 0) {
		conf->check.kind = CHECK_TCP;
	} else if (strncmp(text, "http:/", 6) == 0) {
		conf->check.kind = CHECK_HTTP;
		conf->check.text = text + strlen("http:");
	} else if (strncmp(text, "exec:", 5) == 0 && text[5]) {
		conf->check.kind = CHECK_EXEC;
		conf->check.text = text + strlen("exec:");
	} else {
		return fail(err, -EINVAL, "--check %.100s: accepted are tcp, http:/PATH, exec:COMMAND and none", text);
	}
	return 0;
}

static int take_check_interval(const struct announce_args *args, struct announce_conf *conf, struct error *err)
{
	conf->check.interval_ms = CHECK_INTERVAL_DEFAULT_MS;
	if (args->check_interval && (duration_parse(args->check_interval, &conf->check.interval_ms) < 0 ||
				     conf->check.interval_ms < CHECK_INTERVAL_MIN_MS))
		return fail(err, -EINVAL,
			    "--check-interval %.100s: a number with ms, s, m or h is accepted, %d ms at least",
			    args->check_interval, CHECK_INTERVAL_MIN_MS);
	return 0;
}

static int take_drain(const struct announce_args *args, struct announce_conf *conf, struct error *err)
{
	if (args->drain && duration_parse(args->drain, &conf->drain_ms) < 0)
		return fail(err, -EINVAL, "--drain %.100s: a number with ms, s, m or h is accepted", args->drain);
	if (args->drain && !args->n_command)
		return fail(err, -EINVAL, "--drain %.100s: it is the time before COMMAND is stopped, and there is none",
			    args->drain);
	return 0;
}

static void take_command(const struct announce_args *args, struct announce_conf *conf)
{
	if (!args->n_command)
		return;
	conf->command = xcalloc((size_t)args->n_command + 1, sizeof(*conf->command));
	memcpy(conf->command, args->command, (size_t)args->n_command * sizeof(*conf->command));
}

int announce_conf_parse(const struct announce_args *args, struct announce_conf *ret, struct error *err)
{
	/* The weight knows the format already. */
	static int (*const takers[])(const struct announce_args *, struct announce_conf *, struct error *) = {
		take_service, take_endpoint,	   take_id,    take_format, take_weight, take_ttl,
		take_check,   take_check_interval, take_drain,
	};

	*ret = (struct announce_conf){0};
	for (size_t i = 0; i < ARRAY_SIZE(takers); i++) {
		int code = takers[i](args, ret, err);

		if (code)
			return code;
	}
	take_command(args, ret);
	return 0;
}

void announce_conf_clear(struct announce_conf *conf)
{
	registry_clear(&conf->registry);
	free(conf->command);
	*conf = (struct announce_conf){0};
}
