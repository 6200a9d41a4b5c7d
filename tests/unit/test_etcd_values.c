/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values of etcd's keys, as the tools write them that are in use, and what else may stand there. */
#include "unit.h"

#include "base/mem.h"
#include "discovery/etcd/values.h"

/* "id@address*weight/priority#zone", "name:port..." where there is a name; or why not; or "(none)". */
static const char *summary(const char *key, const char *text, size_t length)
{
	static char line[1024];
	char *copy = xrealloc(NULL, length + 1, 1); /* without a NUL, so that a sanitizer sees a read beyond its end */
	struct arena arena = {0};
	struct etcd_value value;
	struct error err;
	char at[IP_PORT_TEXT];
	int code;

	memcpy(copy, text, length);
	code = etcd_value_parse(key, copy, length, &arena, &value, &err);
	free(copy);
	if (code == -ENOENT) {
		strcpy(line, "(none)");
	} else if (code) {
		assert_int_equal(code, -EINVAL);
		snprintf(line, sizeof(line), "%s", err.text);
	} else {
		const struct endpoint *e = &value.endpoint;

		if (value.host)
			snprintf(at, sizeof(at), "%.30s:%u", value.host, e->at.port);
		else
			ip_port_text(&e->at, at);
		snprintf(line, sizeof(line), "%s@%s*%u/%u%s%s", e->id ? e->id : "", at, e->weight, e->priority,
			 e->zone ? "#" : "", e->zone ? e->zone : "");
	}
	arena_free(&arena);
	return line;
}

struct value_case {
	const char *key, *text, *expected;
};

static void check(const struct value_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_string_equal(summary(cases[i].key, cases[i].text, strlen(cases[i].text)), cases[i].expected);
}

static void what_tools_write_is_read(void **state)
{
	static const struct value_case cases[] = {
		/* registrator, etcd:// */
		{"host1:web_1:80", "10.0.0.5:32768", "@10.0.0.5:32768*1/0"},
		{"host1:dns_1:53:udp", "[fd00::5]:53", "@[fd00::5]:53*1/0"},
		/* registrator, skydns2:// */
		{"host1:web_1:80", "{\"host\":\"10.0.0.5\",\"port\":32768}", "@10.0.0.5:32768*1/0"},
		/* CoreDNS' and SkyDNS' messages */
		{"x1", "{\"host\":\"1.1.1.1\",\"port\":8080,\"priority\":10,\"weight\":20,\"ttl\":60}",
		 "@1.1.1.1:8080*20/10"},
		{"x2", "{\"host\":\"db1.cluster.local\",\"port\":5432,\"text\":\"a\",\"mail\":false,\"group\":\"g1\"}",
		 "@db1.cluster.local:5432*1/0"},
		/* gRPC's naming (client/v3/naming/endpoints) */
		{"10.0.0.5:50051", "{\"Op\":0,\"Addr\":\"10.0.0.5:50051\",\"Metadata\":null}", "@10.0.0.5:50051*1/0"},
		{"x", "{\"Op\":0,\"Addr\":\"[fd00::5]:50051\",\"Metadata\":{\"a\":[1]}}", "@[fd00::5]:50051*1/0"},
		{"x", "{\"Op\":1,\"Addr\":\"10.0.0.5:50051\",\"Metadata\":null}", "(none)"},
		/* vulcand */
		{"servers/srv1", "{\"Id\":\"srv1\",\"URL\":\"http://10.0.0.5:5000\"}", "@10.0.0.5:5000*1/0"},
		{"servers/srv1", "{\"URL\": \"https://backend.example/\"}", "@backend.example:443*1/0"},
		{"servers/srv1", "{\"URL\": \"http://[fd00::5]\"}", "@[fd00::5]:80*1/0"},
		{"backend", "{\"Id\":\"b1\",\"Type\":\"http\",\"Settings\":{\"KeepAlive\":{}}}", "(none)"},
		/* nerve */
		{"i-0abc/0000000001",
		 "{\"host\":\"10.0.0.5\",\"port\":3000,\"name\":\"i-0abc\",\"weight\":7,\"haproxy_server_options\":"
		 "\"\",\"labels\":{\"az\":\"a\"}}",
		 "@10.0.0.5:3000*7/0"},
		/* a CoreOS sidekick unit, and polvi's */
		{"apache1", "{ \"host\": \"core-01\", \"port\": 80, \"version\": \"52c7248a14\" }", "@core-01:80*1/0"},
		{"m1", "{\"port\": \"49153\", \"host\": \"10.0.0.5\"}\n", "@10.0.0.5:49153*1/0"},
		/* registrator's for ZooKeeper, and a server set */
		{"x",
		 "{\"Name\":\"web\",\"IP\":\"10.0.0.5\",\"PublicPort\":32768,\"PrivatePort\":80,\"ContainerID\":\"ab\","
		 "\"Tags\":[],\"Attrs\":{}}",
		 "@10.0.0.5:32768*1/0"},
		{"member_1",
		 "{\"serviceEndpoint\":{\"host\":\"10.0.0.5\",\"port\":1},\"additionalEndpoints\":{},\"status\":"
		 "\"ALIVE\"}",
		 "@10.0.0.5:1*1/0"},
		{"member_1", "{\"serviceEndpoint\":{\"host\":\"10.0.0.5\",\"port\":1},\"status\":\"DEAD\"}", "(none)"},
		/* Traefik */
		{"loadbalancer/servers/0/address", "10.0.0.5:80", "@10.0.0.5:80*1/0"},
		{"loadbalancer/servers/0/url", "http://10.0.0.5:80/path?q#f", "@10.0.0.5:80*1/0"},
		/* ours */
		{"db-1",
		 "{\"host\":\"10.0.0.5\",\"port\":5432,\"weight\":0,\"priority\":3,\"id\":\"one\",\"zone\":\"eu\"}",
		 "one@10.0.0.5:5432*0/3#eu"},
		{"db-1", " \"10.0.0.5:5432\" ", "@10.0.0.5:5432*1/0"},
		{"db-1", "\tdb.example:5432\r\n", "@db.example:5432*1/0"},
		{"dir/", "", "(none)"},
		{"", "", "(none)"},
	};

	(void)state;
	check(cases, sizeof(cases) / sizeof(*cases));
}

static void what_is_no_endpoint_is_refused(void **state)
{
#define FORMS "ADDRESS:PORT or an object with host and port, Addr, URL, or IP and PublicPort is accepted"
	static const struct value_case cases[] = {
		{"a", "", "its value is empty: " FORMS},
		{"a", " \n", "its value is empty: " FORMS},
		{"a", "hello", "address \"hello\": IPV4:PORT or [IPV6]:PORT with port 1-65535 is accepted"},
		{"a", "10.0.0.300:80",
		 "address \"10.0.0.300:80\": IPV4:PORT or [IPV6]:PORT with port 1-65535 is accepted"},
		{"a", "10.0.0.5:0", "address \"10.0.0.5:0\": IPV4:PORT or [IPV6]:PORT with port 1-65535 is accepted"},
		{"a", "db:65536", "port 65536: 1-65535 is accepted"},
		{"a", "-db:1", "host \"-db\": an address or a name of a-z 0-9 - . _ is accepted"},
		{"a", "224.0.0.1:80",
		 "address 224.0.0.1: nothing can be connected to there, a unicast address is accepted"},
		{"a", "{}", "an object without a host: " FORMS},
		{"backend", "{\"Id\":\"b1\"}", "an object without a host: " FORMS},
		{"a", "{\"host\":\"10.0.0.5\"}", "no \"port\": 1-65535 is accepted"},
		{"a", "{\"host\":\"10.0.0.5\",\"port\":0}", "port 0: 1-65535 is accepted"},
		{"a", "{\"host\":5,\"port\":80}", "host 5: a string is accepted"},
		{"a", "{\"host\":\"a b\",\"port\":80}",
		 "host \"a b\": an address or a name of a-z 0-9 - . _ is accepted"},
		{"a", "{\"host\":\"10.0.0.5\",\"port\":80,\"weight\":-1}", "weight -1: 0-65535 is accepted"},
		{"a", "{\"Addr\":[]}", "Addr [...]: a string is accepted"},
		{"a", "{\"URL\":\"10.0.0.5:80\"}", "URL \"10.0.0.5:80\": SCHEME://HOST:PORT is accepted"},
		{"a", "{\"URL\":\"tcp://10.0.0.5\"}",
		 "address \"10.0.0.5\": IPV4:PORT or [IPV6]:PORT with port 1-65535 is accepted"},
		{"a", "{\"serviceEndpoint\":7}", "no \"host\": an IPv4 or IPv6 address is accepted"},
		{"a", "{\"host\":\"10.0.0.5\",\"port\":80",
		 "its value: line 1, column 28: not valid JSON (a value or its end is missing)"},
		{"a", "\"\\u0000\"", "address \"\": IPV4:PORT or [IPV6]:PORT with port 1-65535 is accepted"},
		{"a", "[]", "address \"[]\": IPV4:PORT or [IPV6]:PORT with port 1-65535 is accepted"},
	};
	static char large[ETCD_VALUE_MAX + 1];

	(void)state;
	check(cases, sizeof(cases) / sizeof(*cases));
	assert_string_equal(summary("a", "10.0.0.5:80\0x", 13), "a NUL byte in its value: " FORMS);
	memset(large, ' ', sizeof(large));
	assert_string_equal(summary("a", large, sizeof(large)), "a value of 65537 bytes: " FORMS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_tools_write_is_read),
		cmocka_unit_test(what_is_no_endpoint_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
