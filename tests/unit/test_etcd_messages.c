/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages of etcd's JSON gateway: those of 3.4 as the server sent them, and the other shapes that versions have. */
#include "unit.h"

#include <inttypes.h>

#include "base/mem.h"
#include "discovery/etcd/messages.h"

static struct etcd_bytes bytes(const char *text)
{
	return (struct etcd_bytes){.bytes = text, .length = strlen(text)};
}

static void expect_request(char *text, const char *expected)
{
	assert_string_equal(text, expected);
	free(text);
}

static void requests_are_written(void **state)
{
	const struct etcd_bytes key = bytes("/services/"), end = bytes("/services0"), all = {"", 1};

	(void)state;
	expect_request(etcd_range_request(&(struct etcd_range_request){.key = key, .end = end, .limit = 1000}),
		       "{\"key\":\"L3NlcnZpY2VzLw==\",\"range_end\":\"L3NlcnZpY2VzMA==\",\"limit\":\"1000\"}");
	expect_request(etcd_range_request(&(struct etcd_range_request){.key = {"a\0", 2}, .end = all, .revision = 7}),
		       "{\"key\":\"YQA=\",\"range_end\":\"AA==\",\"revision\":\"7\"}");
	expect_request(etcd_range_request(&(struct etcd_range_request){.key = bytes("abc"), .count_only = true}),
		       "{\"key\":\"YWJj\",\"count_only\":true}");
	expect_request(etcd_watch_request(&key, &end, INT64_MAX),
		       "{\"create_request\":{\"key\":\"L3NlcnZpY2VzLw==\",\"range_end\":\"L3NlcnZpY2VzMA==\","
		       "\"start_revision\":\"9223372036854775807\",\"progress_notify\":true,\"fragment\":true}}");
	expect_request(etcd_authenticate_request("a\"b", "\xc3\xa4"),
		       "{\"name\":\"a\\\"b\",\"password\":\"\xc3\xa4\"}");
	expect_request(etcd_grant_request(15), "{\"TTL\":\"15\"}");
	expect_request(etcd_put_request(&(struct etcd_bytes){"abc", 3}, &(struct etcd_bytes){"ab", 2}, INT64_MAX),
		       "{\"key\":\"YWJj\",\"value\":\"YWI=\",\"lease\":\"9223372036854775807\"}");
	expect_request(etcd_lease_request(7587880401), "{\"ID\":\"7587880401\"}");
}

static void leases_are_read(void **state)
{
	static const char grant[] = "{\"header\":{\"revision\":\"4\"},\"ID\":\"7587880401\",\"TTL\":\"15\"}";
	static const char kept[] = "{\"result\":{\"header\":{},\"ID\":\"7587880401\",\"TTL\":\"14\"}}\n";
	static const char gone[] = "{\"result\":{\"header\":{},\"ID\":\"7587880401\"}}\n";
	static const char held[] = "{\"kvs\":[{\"key\":\"YWJj\",\"lease\":\"7587880401\"}],\"count\":\"1\"}";
	struct etcd_message message;

	(void)state;
	assert_int_equal(etcd_message_parse(grant, strlen(grant), &message, NULL), 0);
	assert_int_equal(message.lease, 7587880401);
	assert_int_equal(message.ttl_s, 15);
	etcd_message_clear(&message);
	assert_int_equal(etcd_watch_parse(kept, strlen(kept), &message, NULL), 0);
	assert_int_equal(message.ttl_s, 14);
	etcd_message_clear(&message);
	assert_int_equal(etcd_watch_parse(gone, strlen(gone), &message, NULL), 0);
	assert_int_equal(message.lease, 7587880401);
	assert_int_equal(message.ttl_s, 0);
	etcd_message_clear(&message);
	assert_int_equal(etcd_message_parse(held, strlen(held), &message, NULL), 0);
	assert_int_equal(message.kvs[0].lease, 7587880401);
	etcd_message_clear(&message);
}

static void a_range_ends_behind_its_prefix(void **state)
{
	static const struct {
		const char *prefix, *end;
		size_t length;
	} cases[] = {
		{"/services/", "/services0", 10},
		{"a", "b", 1},
		{"a\xff\xff", "b", 1},
		{"\xff", "", 1}, /* one NUL byte: to the end of all keys */
		{"", "", 1},
	};
	char end[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(etcd_range_end(cases[i].prefix, strlen(cases[i].prefix), end), cases[i].length);
		assert_memory_equal(end, cases[i].end, cases[i].length);
	}
}

/* One line about a message. */
static const char *summary(int (*parse)(const char *, size_t, struct etcd_message *, struct error *), const char *text)
{
	static char line[1024];
	size_t length = strlen(text), used = 0;
	char *copy = xrealloc(NULL, length + 1, 1);
	struct etcd_message message;
	struct error err;

	memcpy(copy, text, length);
	if (parse(copy, length, &message, &err) < 0) {
		snprintf(line, sizeof(line), "! %s", err.text);
	} else if (message.error) {
		snprintf(line, sizeof(line), "error %d %s%s", message.error_code, message.error,
			 etcd_message_is_unauthenticated(&message) ? " (who?)" : "");
	} else {
		used = (size_t)snprintf(line, sizeof(line), "%" PRIu64 ":%" PRId64 "%s%s%s%s", message.header.cluster,
					message.header.revision, message.more ? " more" : "",
					message.created ? " created" : "", message.cancelled ? " cancelled" : "",
					message.fragment ? " fragment" : "");
		if (message.compact_revision)
			used += (size_t)snprintf(line + used, sizeof(line) - used, " compacted %" PRId64,
						 message.compact_revision);
		if (message.cancel_reason)
			used += (size_t)snprintf(line + used, sizeof(line) - used, " because %s%s",
						 message.cancel_reason,
						 etcd_message_is_unauthenticated(&message) ? " (who?)" : "");
		if (message.token)
			used += (size_t)snprintf(line + used, sizeof(line) - used, " token %s", message.token);
		for (size_t i = 0; i < message.count; i++)
			used += (size_t)snprintf(line + used, sizeof(line) - used, " %c%.*s=%.*s@%" PRId64,
						 message.kvs[i].deleted ? '-' : '+', (int)message.kvs[i].key.length,
						 message.kvs[i].key.bytes, (int)message.kvs[i].value.length,
						 message.kvs[i].value.bytes, message.kvs[i].mod_revision);
	}
	etcd_message_clear(&message);
	free(copy);
	return line;
}

static void answers_are_read(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"{\"header\":{\"cluster_id\":\"2037210783374497686\",\"member_id\":\"13195394291058371180\","
		 "\"revision\":\"3\",\"raft_term\":\"2\"},\"kvs\":[{\"key\":\"L3NlcnZpY2VzL3dlYi9h\","
		 "\"create_revision\":\"2\",\"mod_revision\":\"2\",\"version\":\"1\",\"value\":\"MTAuMC4wLjE6ODA=\"}],"
		 "\"more\":true,\"count\":\"2\"}",
		 "2037210783374497686:3 more +/services/web/a=10.0.0.1:80@2"},
		{"{\"header\":{\"revision\":3},\"kvs\":[{\"key\":\"YQ==\",\"mod_revision\":2,\"lease\":\"1\",\"x\":{}}]"
		 "}",
		 "0:3 +a=@2"},
		{"{\"header\":{\"cluster_id\":\"1\",\"revision\":\"18446744073709551615\"}}", "1:0"},
		{"{}", "0:0"},
		{" {\"header\":{},\"token\":\"abc.9\"}\n", "0:0 token abc.9"},
		{"{\"error\":\"etcdserver: mvcc: required revision is a future revision\",\"message\":\"etcdserver: "
		 "mvcc: required revision is a future revision\",\"code\":11}",
		 "error 11 etcdserver: mvcc: required revision is a future revision"},
		{"{\"code\":16,\"message\":\"etcdserver: invalid auth token\",\"details\":[]}",
		 "error 16 etcdserver: invalid auth token (who?)"},
		{"{\"error\":\"only this\"}", "error -1 only this"},
		{"{\"error\":{}}", "error -1 an error without a text"},
		{"{\"kvs\":[{\"key\":\"*\"}]}", "! its key is not base64"},
		{"{\"kvs\":[{\"value\":\"YQ==\"}]}", "! a pair without a key"},
		{"{\"kvs\":[{\"key\":\"YQ\"}]}", "! its key is not base64"},
		{"{\"kvs\":[{\"key\":\"YQ==\",\"value\":\"Y===\"}]}", "! its value is not base64"},
		{"{\"kvs\":[7]}", "! a pair without a key"},
		{"[]", "! its answer is not an object"},
		{"<html>", "! its answer: line 1, column 1: not valid JSON (a value or its end is missing)"},
		{"", "! its answer: line 1, column 1: not valid JSON (a value or its end is missing)"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(summary(etcd_message_parse, cases[i].text), cases[i].expected);
}

static void watches_are_read(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"{\"result\":{\"header\":{\"cluster_id\":\"5\",\"member_id\":\"1\",\"revision\":\"3\",\"raft_term\":"
		 "\"2\"},\"created\":true}}",
		 "5:3 created"},
		{"{\"result\":{\"header\":{\"cluster_id\":\"5\",\"revision\":\"4\"},\"events\":[{\"kv\":{\"key\":\"YQ=="
		 "\","
		 "\"create_revision\":\"3\",\"mod_revision\":\"3\",\"version\":\"1\",\"value\":\"eA==\"}},{\"type\":"
		 "\"DELETE\",\"kv\":{\"key\":\"Yg==\",\"mod_revision\":\"4\"}}]}}\n",
		 "5:4 +a=x@3 -b=@4"},
		{"{\"result\":{\"header\":{\"revision\":\"4\"},\"fragment\":true,\"events\":[{\"type\":\"PUT\",\"kv\":"
		 "{\"key\":\"YQ==\",\"mod_revision\":\"4\"}}]}}",
		 "0:4 fragment +a=@4"},
		{"{\"result\":{\"header\":{\"revision\":\"9\"}}}", "0:9"},
		{"{\"result\":{\"header\":{\"cluster_id\":\"5\",\"raft_term\":\"2\"},\"canceled\":true,"
		 "\"compact_revision\":\"3\"}}",
		 "5:0 cancelled compacted 3"},
		{"{\"result\":{\"header\":{\"revision\":\"4\"},\"watch_id\":\"-1\",\"created\":true,\"canceled\":true,"
		 "\"cancel_reason\":\"rpc error: code = PermissionDenied desc = etcdserver: permission denied\"}}",
		 "0:4 created cancelled because rpc error: code = PermissionDenied desc = etcdserver: permission "
		 "denied"},
		{"{\"result\":{\"canceled\":true,\"cancel_reason\":\"etcdserver: invalid auth token\"}}",
		 "0:0 cancelled because etcdserver: invalid auth token (who?)"},
		{"{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\",\"http_status\":"
		 "\"Service Unavailable\"}}",
		 "error 14 etcdserver: no leader"},
		{"{\"error\":{\"code\":14,\"message\":\"etcdserver: no leader\"}}\n", "error 14 etcdserver: no leader"},
		{"{\"header\":{}}", "! its answer has neither result nor error"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(summary(etcd_watch_parse, cases[i].text), cases[i].expected);
}

/* What goes out as base64 comes back the same, whatever its bytes and length. */
static void base64_goes_both_ways(void **state)
{
	char data[64], text[256], *request, *end;
	struct etcd_message message;
	struct error err;

	(void)state;
	for (size_t length = 1; length < sizeof(data); length++) {
		for (size_t i = 0; i < length; i++)
			data[i] = (char)(i * 37 + length * 101);
		request = etcd_range_request(&(struct etcd_range_request){.key = {data, length}});
		end = strchr(request + strlen("{\"key\":\""), '"');
		snprintf(text, sizeof(text), "{\"kvs\":[{\"key\":\"%.*s\"}]}", (int)(end - request - 8), request + 8);
		assert_int_equal(etcd_message_parse(text, strlen(text), &message, &err), 0);
		assert_int_equal(message.kvs[0].key.length, length);
		assert_memory_equal(message.kvs[0].key.bytes, data, length);
		etcd_message_clear(&message);
		free(request);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_written),
		cmocka_unit_test(leases_are_read),
		cmocka_unit_test(a_range_ends_behind_its_prefix),
		cmocka_unit_test(answers_are_read),
		cmocka_unit_test(watches_are_read),
		cmocka_unit_test(base64_goes_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
