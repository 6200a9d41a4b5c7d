/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is pure of announcing: options, keys and values, and what is next for a lease. */
#include "unit.h"

#include <sys/socket.h>

#include "announce/conf.h"
#include "announce/lease.h"
#include "announce/value.h"
#include "base/mem.h"

static const struct announce_args minimal = {.service = "web", .endpoint = "10.0.0.5:80"};

static void defaults_are_those_of_the_help(void **state)
{
	struct announce_conf conf;

	(void)state;
	assert_int_equal(announce_conf_parse(&minimal, &conf, NULL), 0);
	assert_string_equal(conf.service, "web");
	assert_int_equal(conf.at.port, 80);
	assert_int_equal(conf.at.addr.family, AF_INET);
	assert_int_equal(conf.weight, 1);
	assert_int_equal(conf.ttl_s, 15);
	assert_int_equal(conf.format, FORMAT_JSON);
	assert_int_equal(conf.check.kind, CHECK_NONE);
	assert_int_equal(conf.check.interval_ms, 2000);
	assert_int_equal(conf.drain_ms, 0);
	assert_null(conf.command);
	announce_conf_clear(&conf);
}

static void everything_can_be_said(void **state)
{
	const char *words[] = {"sh", "-c", "true"};
	const struct announce_args args = {
		.service = "web",
		.endpoint = ":8080",
		.id = "a/b",
		.weight = "0",
		.ttl = "1m",
		.format = "skydns",
		.check = "http:/health",
		.check_interval = "100ms",
		.drain = "5s",
		.command = words,
		.n_command = 3,
	};
	struct announce_conf conf;

	(void)state;
	assert_int_equal(announce_conf_parse(&args, &conf, NULL), 0);
	assert_int_equal(conf.at.addr.family, 0);
	assert_int_equal(conf.at.port, 8080);
	assert_string_equal(conf.id, "a/b");
	assert_int_equal(conf.weight, 0);
	assert_int_equal(conf.ttl_s, 60);
	assert_int_equal(conf.check.kind, CHECK_HTTP);
	assert_string_equal(conf.check.text, "/health");
	assert_int_equal(conf.check.interval_ms, 100);
	assert_int_equal(conf.drain_ms, 5000);
	assert_string_equal(conf.command[2], "true");
	assert_null(conf.command[3]);
	announce_conf_clear(&conf);
}

static void a_command_is_checked_by_its_port(void **state)
{
	const char *words[] = {"server"};
	struct announce_args args = minimal;
	struct announce_conf conf;

	(void)state;
	args.command = words;
	args.n_command = 1;
	assert_int_equal(announce_conf_parse(&args, &conf, NULL), 0);
	assert_int_equal(conf.check.kind, CHECK_TCP);
	announce_conf_clear(&conf);
	args.check = "none";
	assert_int_equal(announce_conf_parse(&args, &conf, NULL), 0);
	assert_int_equal(conf.check.kind, CHECK_NONE);
	announce_conf_clear(&conf);
}

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		struct announce_args args;
		const char *text;
	} cases[] = {
		{{.endpoint = "80"}, "--service"},
		{{.service = "a b", .endpoint = "80"}, "--service \"a b\""},
		{{.service = "/web", .endpoint = "80"}, "--service \"/web\""},
		{{.service = "web"}, "--endpoint"},
		{{.service = "web", .endpoint = "0"}, "--endpoint"},
		{{.service = "web", .endpoint = ":65536"}, "--endpoint"},
		{{.service = "web", .endpoint = "fd00::1:80"}, "--endpoint"},
		{{.service = "web", .endpoint = "db.example:80"}, "host names are not yet supported"},
		{{.service = "web", .endpoint = "80", .id = ""}, "--id"},
		{{.service = "web", .endpoint = "80", .weight = "65536"}, "--weight 65536"},
		{{.service = "web", .endpoint = "80", .weight = "2", .format = "grpc"}, "no weights"},
		{{.service = "web", .endpoint = "80", .weight = "2", .format = "registrator"}, "no weights"},
		{{.service = "web", .endpoint = "80", .ttl = "1500ms"}, "--ttl 1500ms"},
		{{.service = "web", .endpoint = "80", .ttl = "0s"}, "--ttl 0s"},
		{{.service = "web", .endpoint = "80", .ttl = "15"}, "--ttl 15"},
		{{.service = "web", .endpoint = "80", .format = "xml"}, "json, registrator, skydns and grpc"},
		{{.service = "web", .endpoint = "80", .check = "http:health"}, "--check http:health"},
		{{.service = "web", .endpoint = "80", .check = "exec:"}, "--check exec:"},
		{{.service = "web", .endpoint = "80", .check_interval = "99ms"}, "--check-interval 99ms"},
		{{.service = "web", .endpoint = "80", .drain = "5s"}, "there is none"},
	};
	struct announce_conf conf;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(announce_conf_parse(&cases[i].args, &conf, &err), -EINVAL);
		if (!strstr(err.text, cases[i].text))
			fail_msg("case %zu: \"%s\" is not in \"%s\"", i, cases[i].text, err.text);
		announce_conf_clear(&conf);
	}
}

static void values_are_those_of_other_tools(void **state)
{
	static const struct {
		const char *format, *endpoint, *weight, *id, *key, *value;
	} cases[] = {
		{"json", "10.0.0.5:80", NULL, NULL, "web/10.0.0.5:80",
		 "{\"host\":\"10.0.0.5\",\"port\":80,\"weight\":1}"},
		{"json", "[fd00::1]:80", "0", "x", "web/x", "{\"host\":\"fd00::1\",\"port\":80,\"weight\":0}"},
		{"registrator", "10.0.0.5:80", NULL, "host:web_1:80", "web/host:web_1:80", "10.0.0.5:80"},
		{"registrator", "[fd00::1]:80", NULL, NULL, "web/[fd00::1]:80", "[fd00::1]:80"},
		{"skydns", "10.0.0.5:80", NULL, NULL, "web/10-0-0-5-80", "{\"host\":\"10.0.0.5\",\"port\":80}"},
		{"skydns", "[fd00::1]:80", "2", NULL, "web/fd00--1-80",
		 "{\"host\":\"fd00::1\",\"port\":80,\"weight\":2}"},
		{"grpc", "10.0.0.5:80", NULL, NULL, "web/10.0.0.5:80",
		 "{\"Op\":0,\"Addr\":\"10.0.0.5:80\",\"Metadata\":null}"},
		{"grpc", "[fd00::1]:80", NULL, NULL, "web/[fd00::1]:80",
		 "{\"Op\":0,\"Addr\":\"[fd00::1]:80\",\"Metadata\":null}"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct announce_args args = {
			.service = "web",
			.endpoint = cases[i].endpoint,
			.weight = cases[i].weight,
			.id = cases[i].id,
			.format = cases[i].format,
		};
		struct announce_conf conf;
		char *key, *value;

		assert_int_equal(announce_conf_parse(&args, &conf, NULL), 0);
		key = announce_key(&conf, &conf.at);
		value = announce_value(&conf, &conf.at);
		assert_string_equal(key, cases[i].key);
		assert_string_equal(value, cases[i].value);
		free(key);
		free(value);
		announce_conf_clear(&conf);
	}
}

static void a_file_has_a_list_of_one_record(void **state)
{
	const struct announce_args args = {.service = "web", .endpoint = "[fd00::1]:80", .id = "a\"b", .weight = "3"};
	struct announce_conf conf;
	char *text, *id;

	(void)state;
	assert_int_equal(announce_conf_parse(&args, &conf, NULL), 0);
	text = announce_file_text(&conf, &conf.at);
	assert_string_equal(text, "[{\"host\":\"fd00::1\",\"port\":80,\"weight\":3,\"id\":\"a\\\"b\"}]\n");
	free(text);
	conf.id = NULL;
	id = announce_file_id(&conf, &conf.at);
	assert_string_equal(id, "[fd00::1]:80");
	free(id);
	announce_conf_clear(&conf);
}

static void consul_is_told_in_its_form(void **state)
{
	static const char *const none[] = {NULL}, *const tags[] = {"a", "say \"b\"", NULL};
	static const struct {
		const char *endpoint, *weight, *id;
		const char *const *tags;
		const char *body;
	} cases[] = {
		{"10.0.0.5:80", NULL, NULL, none,
		 "{\"ID\":\"web-10.0.0.5:80\",\"Name\":\"web\",\"Address\":\"10.0.0.5\",\"Port\":80,\"Tags\":[],"
		 "\"Weights\":{\"Passing\":1,\"Warning\":1},"
		 "\"Check\":{\"TTL\":\"15s\",\"Status\":\"passing\",\"DeregisterCriticalServiceAfter\":\"1m\"}}"},
		{"[fd00::1]:80", "7", "x", tags,
		 "{\"ID\":\"x\",\"Name\":\"web\",\"Address\":\"fd00::1\",\"Port\":80,\"Tags\":[\"a\",\"say "
		 "\\\"b\\\"\"],"
		 "\"Weights\":{\"Passing\":7,\"Warning\":1},"
		 "\"Check\":{\"TTL\":\"15s\",\"Status\":\"passing\",\"DeregisterCriticalServiceAfter\":\"1m\"}}"},
		{"10.0.0.5:80", "0", "x", none,
		 "{\"ID\":\"x\",\"Name\":\"web\",\"Address\":\"10.0.0.5\",\"Port\":80,\"Tags\":[],"
		 "\"Weights\":{\"Passing\":1,\"Warning\":0},"
		 "\"Check\":{\"TTL\":\"15s\",\"Status\":\"warning\",\"DeregisterCriticalServiceAfter\":\"1m\"}}"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct announce_args args = {
			.service = "web",
			.endpoint = cases[i].endpoint,
			.weight = cases[i].weight,
			.id = cases[i].id,
		};
		struct announce_conf conf;
		char *body;

		assert_int_equal(announce_conf_parse(&args, &conf, NULL), 0);
		body = announce_consul_body(&conf, &conf.at, cases[i].tags);
		assert_string_equal(body, cases[i].body);
		free(body);
		announce_conf_clear(&conf);
	}
}

/* Asks for the next step, which is to be `expected`, and takes it. */
static void step(struct lease *lease, enum lease_step expected, enum lease_outcome outcome)
{
	assert_int_equal(lease_next(lease), expected);
	if (expected == LEASE_GRANT && outcome == LEASE_DONE)
		lease->id = 7;
	lease_note(lease, expected, outcome);
}

static void announce(struct lease *lease)
{
	lease->wanted = true;
	step(lease, LEASE_GRANT, LEASE_DONE);
	step(lease, LEASE_PUT, LEASE_DONE);
	assert_int_equal(lease_next(lease), LEASE_REST);
}

static void a_lease_is_kept_and_looked_after(void **state)
{
	struct lease lease = {0};

	(void)state;
	assert_int_equal(lease_next(&lease), LEASE_REST);
	announce(&lease);
	lease.keep = true;
	step(&lease, LEASE_KEEP, LEASE_DONE);
	step(&lease, LEASE_LOOK, LEASE_DONE);
	assert_int_equal(lease_next(&lease), LEASE_REST);
	lease.wanted = false;
	step(&lease, LEASE_REVOKE, LEASE_DONE);
	assert_int_equal(lease_next(&lease), LEASE_REST);
	announce(&lease);
}

static void what_is_lost_is_made_again(void **state)
{
	struct lease lease = {0};

	(void)state;
	announce(&lease);
	lease.keep = true;
	step(&lease, LEASE_KEEP, LEASE_GONE);
	step(&lease, LEASE_GRANT, LEASE_DONE);
	step(&lease, LEASE_PUT, LEASE_GONE);
	announce(&lease);
	lease.keep = true;
	step(&lease, LEASE_KEEP, LEASE_DONE);
	step(&lease, LEASE_LOOK, LEASE_DIFFERENT);
	step(&lease, LEASE_PUT, LEASE_DONE);
	lease.wanted = false;
	step(&lease, LEASE_REVOKE, LEASE_GONE);
	assert_int_equal(lease_next(&lease), LEASE_REST);
}

static void what_is_not_wanted_any_more_is_not_put(void **state)
{
	struct lease lease = {.wanted = true};

	(void)state;
	step(&lease, LEASE_GRANT, LEASE_DONE);
	lease.wanted = false;
	step(&lease, LEASE_REVOKE, LEASE_DONE);
	assert_int_equal(lease.id, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_the_help),
		cmocka_unit_test(everything_can_be_said),
		cmocka_unit_test(a_command_is_checked_by_its_port),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(values_are_those_of_other_tools),
		cmocka_unit_test(a_lease_is_kept_and_looked_after),
		cmocka_unit_test(what_is_lost_is_made_again),
		cmocka_unit_test(what_is_not_wanted_any_more_is_not_put),
		cmocka_unit_test(consul_is_told_in_its_form),
		cmocka_unit_test(a_file_has_a_list_of_one_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
