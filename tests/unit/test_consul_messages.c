/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers of Consul's /v1/health/service, the questions that get them, and when the next one is asked. */
#include "unit.h"

#include <errno.h>
#include <inttypes.h>

#include "discovery/consul/messages.h"
#include "discovery/consul/uri.h"

/* Whole, with all that an agent of version 1.20 writes. */
static const char verbatim[] =
	"[\n    {\n        \"Node\": {\n"
	"            \"ID\": \"40e4a748-2192-161a-0510-9bf59fe950b5\", \"Node\": \"t2.320\", \"Address\": "
	"\"10.0.0.5\",\n"
	"            \"Datacenter\": \"dc1\",\n"
	"            \"TaggedAddresses\": {\"lan\": \"10.0.0.5\", \"lan_ipv4\": \"10.0.0.5\", \"wan\": \"10.0.0.5\"},\n"
	"            \"Meta\": {\"consul-network-segment\": \"\", \"consul-version\": \"1.20.1\"},\n"
	"            \"CreateIndex\": 13, \"ModifyIndex\": 17\n        },\n"
	"        \"Service\": {\n"
	"            \"ID\": \"redis-1\", \"Service\": \"redis\", \"Tags\": [\"primary\", \"a \\\"b\\\" ]},\"],\n"
	"            \"Address\": \"10.1.10.12\",\n"
	"            \"TaggedAddresses\": {\"lan\": {\"address\": \"10.1.10.12\", \"port\": 8000},\n"
	"                                \"wan\": {\"address\": \"198.18.1.2\", \"port\": 80}},\n"
	"            \"Meta\": {\"redis_version\": \"4.0\"}, \"Port\": 8000,\n"
	"            \"Weights\": {\"Passing\": 10, \"Warning\": 2}, \"EnableTagOverride\": false,\n"
	"            \"Proxy\": {\"Mode\": \"\", \"MeshGateway\": {}, \"Expose\": {}}, \"Connect\": {},\n"
	"            \"PeerName\": \"\", \"CreateIndex\": 17, \"ModifyIndex\": 17\n        },\n"
	"        \"Checks\": [\n"
	"            {\"Node\": \"t2.320\", \"CheckID\": \"serfHealth\", \"Name\": \"Serf Health Status\",\n"
	"             \"Status\": \"passing\", \"Notes\": \"\", \"Output\": \"Agent alive and reachable\",\n"
	"             \"ServiceID\": \"\", \"ServiceName\": \"\", \"ServiceTags\": [], \"Type\": \"\",\n"
	"             \"Interval\": \"\", \"Timeout\": \"\", \"ExposedPort\": 0, \"Definition\": {},\n"
	"             \"CreateIndex\": 13, \"ModifyIndex\": 13},\n"
	"            {\"Node\": \"t2.320\", \"CheckID\": \"service:redis-1\", \"Name\": \"Service 'redis' check\",\n"
	"             \"Status\": \"warning\", \"Notes\": \"\", \"Output\": \"\", \"ServiceID\": \"redis-1\",\n"
	"             \"ServiceName\": \"redis\", \"ServiceTags\": [\"primary\"], \"Type\": \"ttl\"}\n"
	"        ]\n    }\n]\n";

/* "known" has an address, "later" has none yet, others never will. */
static int resolve(void *context, const char *host, struct ip_addr *ret, struct error *err)
{
	(void)context;
	if (strcmp(host, "known") == 0)
		return ip_addr_parse("10.9.9.9", ret);
	return strcmp(host, "later") == 0 ? -EAGAIN : fail(err, -ENOENT, "host \"%s\": unknown", host);
}

/* One line about an answer: its endpoints, what was skipped, what is pending; or its error. */
static const char *summary(const char *text)
{
	static char line[2048];
	size_t length = strlen(text), used = 0;
	char *copy = xrealloc(NULL, length + 1, 1), at[IP_PORT_TEXT];
	struct consul_list list;
	struct consul_view view;
	struct error err;

	/* Without a NUL behind it. */
	memcpy(copy, text, length);
	line[0] = '\0';
	if (consul_list_parse(copy, length, &list, &err) < 0) {
		snprintf(line, sizeof(line), "! %s", err.text);
	} else {
		consul_list_view(&list, resolve, NULL, &view);
		for (uint32_t i = 0; view.endpoints && i < view.endpoints->count; i++)
			used += (size_t)snprintf(
				line + used, sizeof(line) - used, "%s=%s*%u ", view.endpoints->items[i].id,
				ip_port_text(&view.endpoints->items[i].at, at), view.endpoints->items[i].weight);
		for (uint32_t i = 0; i < view.skipped && i < CONSUL_REPORTS; i++)
			used += (size_t)snprintf(line + used, sizeof(line) - used, "[%s] ", view.reports[i]);
		assert_true(!view.skipped == !view.digest);
		if (view.pending)
			used += (size_t)snprintf(line + used, sizeof(line) - used, "%u pending ", view.pending);
		snprintf(line + used, sizeof(line) - used, "%s",
			 view.error	  ? "error"
			 : view.endpoints ? "endpoints"
					  : "nothing");
		consul_view_clear(&view);
	}
	consul_list_clear(&list);
	free(copy);
	return line;
}

static void a_whole_answer_is_read(void **state)
{
	(void)state;
	assert_string_equal(summary(verbatim), "t2.320/redis-1=10.1.10.12:8000*2 endpoints");
}

#define NODE(name) "{\"Node\":{\"Node\":\"" name "\",\"Address\":\"10.0.0.1\"},\"Service\":"
#define WEB(more) "{\"ID\":\"web\",\"Service\":\"web\",\"Address\":\"\",\"Port\":80" more "}"
#define CHECK(id, status) "{\"CheckID\":\"" id "\",\"Status\":\"" status "\"}"

static void health_is_judged(void **state)
{
	static const struct {
		const char *checks, *expected;
	} cases[] = {
		{"", "a/web=10.0.0.1:80*7 endpoints"},
		{CHECK("serfHealth", "passing"), "a/web=10.0.0.1:80*7 endpoints"},
		{CHECK("serfHealth", "passing") "," CHECK("x", "warning"), "a/web=10.0.0.1:80*3 endpoints"},
		{CHECK("serfHealth", "critical") "," CHECK("x", "passing"), "endpoints"},
		{CHECK("x", "warning") "," CHECK("y", "critical"), "endpoints"},
		{CHECK("_node_maintenance", "critical"), "a/web=10.0.0.1:80*0 endpoints"},
		{CHECK("_service_maintenance:web", "critical") "," CHECK("x", "warning"),
		 "a/web=10.0.0.1:80*0 endpoints"},
		{CHECK("_service_maintenance:web", "critical") "," CHECK("x", "critical"), "endpoints"},
		{CHECK("x", "fine"), "[instance a/web: Status fine: passing, warning or critical is accepted] error"},
		{"{}", "[instance a/web: Status null: passing, warning or critical is accepted] error"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = xasprintf("[%s" WEB(",\"Weights\":{\"Passing\":7,\"Warning\":3}") ",\"Checks\":[%s]}]",
				       NODE("a"), cases[i].checks);

		assert_string_equal(summary(text), cases[i].expected);
		free(text);
	}
}

static void instances_are_read_or_skipped(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"[]", "endpoints"},
		{" [ ] ", "endpoints"},
		{"[" NODE("a") WEB("") "}]", "a/web=10.0.0.1:80*1 endpoints"},
		{"[" NODE("a") WEB(",\"Weights\":null") ",\"Checks\":null}]", "a/web=10.0.0.1:80*1 endpoints"},
		{"[" NODE("a") WEB(",\"Weights\":{\"Passing\":65536}") "}]",
		 "[instance a/web: Passing 65536: 0-65535 is accepted] error"},
		/* Two with one address: the first by id stays, in whatever order they come. */
		{"[" NODE("b") WEB("") "}," NODE("a") WEB("") "}]",
		 "a/web=10.0.0.1:80*1 [instance b/web: 10.0.0.1:80: \"a/web\" has this id or address already, each is "
		 "accepted once] endpoints"},
		{"[" NODE("a") "{\"ID\":\"x\",\"Address\":\"fd00::5\",\"Port\":\"81\"}}]",
		 "a/x=[fd00::5]:81*1 endpoints"},
		{"[" NODE("a") "{\"ID\":\"x\",\"Address\":\"known\",\"Port\":81}}]", "a/x=10.9.9.9:81*1 endpoints"},
		{"[" NODE("a") "{\"ID\":\"x\",\"Address\":\"later\",\"Port\":81}}]", "1 pending nothing"},
		{"[" NODE("a") "{\"ID\":\"x\",\"Address\":\"later\",\"Port\":81}}," NODE("b") WEB("") "}]",
		 "b/web=10.0.0.1:80*1 1 pending endpoints"},
		{"[" NODE("a") "{\"ID\":\"x\",\"Address\":\"never\",\"Port\":81}}]",
		 "[instance a/x: host \"never\": unknown] error"},
		{"[" NODE("a") "{\"ID\":\"x\",\"Address\":\"10.0.0.300\",\"Port\":81}}]",
		 "[instance a/x: host \"10.0.0.300\": an IPv4 or IPv6 address is accepted] error"},
		{"[" NODE("a") "{\"ID\":\"x\",\"Port\":0}}]", "[instance a/x: Port 0: 1-65535 is accepted] error"},
		{"[" NODE("a") "{\"ID\":\"x\"}}]", "[instance a/x: no \"Port\": 1-65535 is accepted] error"},
		{"[" NODE("a") "{\"ID\":\"\\u0007\",\"Port\":1}}]",
		 "[instance a/?: id \"a/?\": 1-255 printable ASCII characters are accepted] error"},
		{"[7,{},null]",
		 "[instance /: an instance without a Service] [instance /: an instance without a Service] "
		 "[instance /: an instance without a Service] error"},
		{"", "! its answer is not a list"},
		{"{}", "! its answer is not a list"},
		{"null", "! its answer is not a list"},
		{"[", "! its answer: line 1, column 2: not valid JSON (a value or its end is missing)"},
		{"[{}", "! its answer: line 1, column 4: not valid JSON (',' or ']' is missing)"},
		{"[{},]", "! its answer: line 1, column 5: not valid JSON (a value or its end is missing)"},
		{"[{\"a\":]", "! its answer: line 1, column 7: not valid JSON (a value or its end is missing)"},
		{"[] x", "! its answer: line 1, column 4: not valid JSON (something follows the list)"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(summary(cases[i].text), cases[i].expected);
}

static void errors_are_one_line(void **state)
{
	struct arena arena = {0};

	(void)state;
	assert_string_equal(consul_error_text("No cluster leader", &arena), "No cluster leader");
	assert_string_equal(consul_error_text("one\nlines", &arena), "one");
	assert_string_equal(consul_error_text("a\x1b[1m\xc3", &arena), "a?[1m?");
	assert_string_equal(consul_error_text("", &arena), "");
	arena_free(&arena);
}

static void questions_are_written(void **state)
{
	static const struct {
		const char *uri, *service;
		uint64_t index;
		const char *url;
	} cases[] = {
		{"consul://h", "web", 0, "http://h:8500/v1/health/service/web?index=0&wait=60s"},
		{"consuls://[fd00::1]/?", "web", UINT64_MAX,
		 "https://[fd00::1]:8501/v1/health/service/web?index=18446744073709551615&wait=60s"},
		{"consul://h:1/?stale=yes&wait=5m&dc=eu", "a/b?c&d", 7,
		 "http://h:1/v1/health/service/a%2Fb%3Fc%26d?index=7&wait=300s&stale&dc=eu"},
		{"consul://h?tag=a&tag=b%26c&stale=no", "web", 1,
		 "http://h:8500/v1/health/service/"
		 "web?index=1&wait=60s&filter=Service.Tags%20contains%20%22a%22%20and%20"
		 "Service.Tags%20contains%20%22b%26c%22"},
		{"consul://h/?filter=Service.Meta.v%20==%20\"2\" or x&tag=a", "web", 1,
		 "http://h:8500/v1/health/service/web?index=1&wait=60s&filter=%28Service.Meta.v%20%3D%3D%20%222%22%20or"
		 "%20x%29%20and%20Service.Tags%20contains%20%22a%22"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct registry_conf conf = {.uri = xstrdup(cases[i].uri)};
		struct consul_uri uri;
		struct error err;
		char *url;

		assert_int_equal(consul_uri_parse(&conf, &uri, &err), 0);
		url = consul_uri_question(&uri, cases[i].service, cases[i].index);
		assert_string_equal(url, cases[i].url);
		free(url);
		arena_free(&uri.arena);
		free(conf.uri);
	}
}

static void who_registers_is_told_of_tags_and_datacenter(void **state)
{
	struct registry_conf conf = {.uri = xstrdup("consul://h/?tag=a&dc=x%20y&tag=b%26c")};
	struct consul_uri uri;

	(void)state;
	assert_int_equal(consul_uri_parse(&conf, &uri, NULL), 0);
	assert_string_equal(uri.tags[0], "a");
	assert_string_equal(uri.tags[1], "b&c");
	assert_null(uri.tags[2]);
	assert_string_equal(uri.dc, "x y");
	arena_free(&uri.arena);
	free(conf.uri);
}

static void indices_are_not_trusted(void **state)
{
	(void)state;
	assert_true(consul_next_index(0, 0) == 1);
	assert_true(consul_next_index(0, 5) == 5);
	assert_true(consul_next_index(5, 5) == 5);
	assert_true(consul_next_index(5, UINT64_MAX) == UINT64_MAX);
	assert_true(consul_next_index(5, 4) == 0);
	assert_true(consul_next_index(5, 0) == 0);
	assert_true(consul_next_index(1, 0) == 0);
	/* A sixteenth more. */
	assert_int_equal(consul_wait_max_ms(16), 17000);
	assert_int_equal(consul_wait_max_ms(600), 637500);
}

static void questions_have_a_pace(void **state)
{
	struct consul_pace pace = {0};
	uint64_t now = 1000000;

	(void)state;
	for (int i = 0; i < CONSUL_BURST; i++)
		assert_int_equal(consul_pace(&pace, now), 0);
	assert_int_equal(consul_pace(&pace, now), CONSUL_PACE_MS);
	now += CONSUL_PACE_MS;
	assert_int_equal(consul_pace(&pace, now), CONSUL_PACE_MS);
	now += CONSUL_PACE_MS + CONSUL_PACE_MS / 2;
	assert_int_equal(consul_pace(&pace, now), CONSUL_PACE_MS / 2);
	/* Some time of rest is another burst, and no time is a longer one. */
	for (int rests = 0; rests < 2; rests++) {
		now += CONSUL_LONG_BURST * CONSUL_LONG_PACE_MS;
		for (int i = 0; i < CONSUL_BURST; i++)
			assert_int_equal(consul_pace(&pace, now), 0);
		assert_int_equal(consul_pace(&pace, now), CONSUL_PACE_MS);
	}
}

static void what_never_ends_is_asked_for_slowly(void **state)
{
	struct consul_pace pace = {0};
	uint64_t now = 1000000, began = now;
	int questions = 0;

	(void)state;
	/* Each answer is there at once. */
	for (; now < began + 3600 * 1000; questions++)
		now += consul_pace(&pace, now);
	assert_in_range(questions, 3600 * 1000 / CONSUL_LONG_PACE_MS,
			3600 * 1000 / CONSUL_LONG_PACE_MS + CONSUL_LONG_BURST + 1);
	assert_int_equal(consul_pace(&pace, now), CONSUL_LONG_PACE_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_answer_is_read),
		cmocka_unit_test(health_is_judged),
		cmocka_unit_test(instances_are_read_or_skipped),
		cmocka_unit_test(errors_are_one_line),
		cmocka_unit_test(questions_are_written),
		cmocka_unit_test(indices_are_not_trusted),
		cmocka_unit_test(who_registers_is_told_of_tags_and_datacenter),
		cmocka_unit_test(questions_have_a_pace),
		cmocka_unit_test(what_never_ends_is_asked_for_slowly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
