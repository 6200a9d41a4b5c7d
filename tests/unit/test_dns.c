/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pure parts of the DNS registry: names, messages (as a dnsmasq sent them), and the set from answer to answer. */
#include "unit.h"

#include <netinet/in.h>
#include <stdbool.h>

#include "base/mem.h"
#include "discovery/dns/answers.h"
#include "discovery/dns/names.h"
#include "discovery/dns/set.h"

/* Names and URIs */

static void expect_name(const char *service, const char *name, uint16_t port)
{
	struct dns_name read;
	struct error err;

	assert_int_equal(dns_name_parse(service, &read, &err), 0);
	assert_string_equal(read.name, name);
	assert_int_equal(read.port, port);
}

static void refuse_name(const char *service)
{
	struct dns_name read;
	struct error err = {""};

	assert_int_equal(dns_name_parse(service, &read, &err), -EINVAL);
	assert_true(*err.text);
}

static void test_names(void **state)
{
	char label[66], name[256];

	(void)state;
	expect_name("_web._tcp.example.com", "_web._tcp.example.com", 0);
	expect_name("web.example.com.", "web.example.com", 0);
	expect_name("web.example.com:8080", "web.example.com", 8080);
	expect_name("web.example.com.:65535", "web.example.com", 65535);
	expect_name("web", "web", 0);
	refuse_name("");
	refuse_name(".");
	refuse_name(":80");
	refuse_name("web..com");
	refuse_name(".web");
	refuse_name("we\\b");
	refuse_name("web:");
	refuse_name("web:0");
	refuse_name("web:65536");
	refuse_name("web:80:80");
	memset(label, 'a', sizeof(label));
	label[63] = '\0';
	expect_name(label, label, 0);
	label[63] = 'a';
	label[64] = '\0';
	refuse_name(label);
	for (size_t i = 0; i < 255; i++)
		name[i] = i % 50 == 49 ? '.' : 'a';
	name[253] = '\0';
	expect_name(name, name, 0);
	name[253] = 'a';
	name[254] = '\0';
	refuse_name(name);
}

static void expect_servers(const char *uri, const char *expected)
{
	struct registry_conf conf = {.uri = xstrdup(uri)};
	struct error err = {""};
	char *servers = NULL;
	int code = dns_uri_parse(&conf, &servers, &err);

	if (!expected)
		assert_null(servers);
	if (code)
		fail_msg("%s: %s", uri, err.text);
	if (expected)
		assert_string_equal(servers, expected);
	free(servers);
	free(conf.uri);
}

static void refuse_uri(const char *uri, const char *ca)
{
	struct registry_conf conf = {.uri = xstrdup(uri), .ca = ca ? xstrdup(ca) : NULL};
	struct error err = {""};
	char *servers = NULL;

	assert_int_equal(dns_uri_parse(&conf, &servers, &err), -EINVAL);
	assert_true(*err.text);
	assert_null(servers);
	registry_clear(&conf);
}

static void test_uris(void **state)
{
	(void)state;
	expect_servers("dns:///", NULL);
	expect_servers("dns://", NULL);
	expect_servers("dns://10.0.0.1/", "10.0.0.1:53");
	expect_servers("dns://10.0.0.1:5353", "10.0.0.1:5353");
	expect_servers("dns://[fd00::1]/", "[fd00::1]:53");
	expect_servers("dns://[fd00::1]:5353,10.0.0.1/", "[fd00::1]:5353,10.0.0.1:53");
	refuse_uri("dns:", NULL);
	refuse_uri("dns:10.0.0.1", NULL);
	refuse_uri("dns://ns.example.com/", NULL);
	refuse_uri("dns://fd00::1/", NULL);
	refuse_uri("dns://[10.0.0.1]/", NULL);
	refuse_uri("dns://[/", NULL);
	refuse_uri("dns://10.0.0.1:0/", NULL);
	refuse_uri("dns://10.0.0.1,/", NULL);
	refuse_uri("dns://10.0.0.1/web", NULL);
	refuse_uri("dns://10.0.0.1/", "ca.pem");
}

/* Messages */

/* _web._tcp.test SRV: 1 0 8081 b2.test, 0 10 8080 b1.test; with 10.77.0.11 and fd00:77::11, 10.77.0.12. TTL 30. */
static const uint8_t srv_message[] =
	"\x12\x34\x85\x80\x00\x01\x00\x02\x00\x00\x00\x03\x04\x5f\x77\x65\x62\x04\x5f\x74\x63\x70\x04\x74\x65\x73\x74"
	"\x00\x00\x21\x00\x01\xc0\x0c\x00\x21\x00\x01\x00\x00\x00\x1e\x00\x0f\x00\x01\x00\x00\x1f\x91\x02\x62\x32\x04"
	"\x74\x65\x73\x74\x00\xc0\x0c\x00\x21\x00\x01\x00\x00\x00\x1e\x00\x0f\x00\x00\x00\x0a\x1f\x90\x02\x62\x31\x04"
	"\x74\x65\x73\x74\x00\xc0\x4d\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x4d\x00\x0b\xc0\x4d\x00\x1c\x00\x01"
	"\x00\x00\x00\x1e\x00\x10\xfd\x00\x00\x77\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x11\xc0\x32\x00\x01\x00"
	"\x01\x00\x00\x00\x1e\x00\x04\x0a\x4d\x00\x0c";
#define SRV_LENGTH (sizeof(srv_message) - 1)

/* _no._tcp.test SRV: 0 0 1 "." */
static const uint8_t root_message[] =
	"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00\x03\x5f\x6e\x6f\x04\x5f\x74\x63\x70\x04\x74\x65\x73\x74\x00"
	"\x00\x21\x00\x01\xc0\x0c\x00\x21\x00\x01\x00\x00\x00\x1e\x00\x07\x00\x00\x00\x00\x00\x01\x00";

/* b1.test AAAA: fd00:77::11 */
static const uint8_t aaaa_message[] =
	"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00\x02\x62\x31\x04\x74\x65\x73\x74\x00\x00\x1c\x00\x01\xc0\x0c"
	"\x00\x1c\x00\x01\x00\x00\x00\x1e\x00\x10\xfd\x00\x00\x77\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x11";

static void expect_address(const struct dns_address *address, const char *owner, const char *text)
{
	char buffer[IP_ADDR_TEXT];

	assert_string_equal(address->owner, owner);
	assert_string_equal(ip_addr_text(&address->addr, buffer), text);
	assert_int_equal(address->ttl, 30);
}

static void test_srv_message(void **state)
{
	struct dns_answer answer;
	struct error err;

	(void)state;
	assert_int_equal(dns_answer_parse(srv_message, SRV_LENGTH, &answer, &err), 0);
	assert_int_equal(answer.n_srvs, 2);
	assert_int_equal(answer.srvs[0].priority, 1);
	assert_int_equal(answer.srvs[0].weight, 0);
	assert_int_equal(answer.srvs[0].port, 8081);
	assert_string_equal(answer.srvs[0].target, "b2.test");
	assert_int_equal(answer.srvs[1].weight, 10);
	assert_int_equal(answer.srvs[1].port, 8080);
	assert_string_equal(answer.srvs[1].target, "b1.test");
	assert_int_equal(answer.n_addresses, 0);
	assert_int_equal(answer.n_additional, 3);
	expect_address(&answer.additional[0], "b1.test", "10.77.0.11");
	expect_address(&answer.additional[1], "b1.test", "fd00:77::11");
	expect_address(&answer.additional[2], "b2.test", "10.77.0.12");
	assert_int_equal(answer.ttl, 30);
	dns_answer_clear(&answer);
}

static void test_other_messages(void **state)
{
	struct dns_answer answer;
	struct error err;

	(void)state;
	assert_int_equal(dns_answer_parse(root_message, sizeof(root_message) - 1, &answer, &err), 0);
	assert_int_equal(answer.n_srvs, 1);
	assert_string_equal(answer.srvs[0].target, "");
	dns_answer_clear(&answer);
	assert_int_equal(dns_answer_parse(aaaa_message, sizeof(aaaa_message) - 1, &answer, &err), 0);
	assert_int_equal(answer.n_addresses, 1);
	expect_address(&answer.addresses[0], "b1.test", "fd00:77::11");
	dns_answer_clear(&answer);
}

static void refuse_message(const uint8_t *bytes, size_t length)
{
	/* Of exactly that size, for the sanitizer. */
	uint8_t *copy = malloc(length + !length);
	struct dns_answer answer;
	struct error err = {""};

	memcpy(copy, bytes, length);
	assert_int_equal(dns_answer_parse(copy, length, &answer, &err), -EBADMSG);
	assert_true(*err.text);
	dns_answer_clear(&answer);
	free(copy);
}

/* The message with one byte changed. */
static void refuse_changed(size_t at, uint8_t value)
{
	uint8_t bytes[SRV_LENGTH];

	memcpy(bytes, srv_message, SRV_LENGTH);
	assert_int_not_equal(bytes[at], value);
	bytes[at] = value;
	refuse_message(bytes, SRV_LENGTH);
}

static void test_bad_messages(void **state)
{
	(void)state;
	for (size_t length = 0; length < SRV_LENGTH; length++)
		refuse_message(srv_message, length);
	refuse_changed(2, 0x05);	   /* a question */
	refuse_changed(2, 0x87);	   /* truncated */
	refuse_changed(11, 4);		   /* one record more than there are */
	refuse_changed(43, 5);		   /* the SRV record's data is too short for it */
	refuse_changed(50, 0xff);	   /* its target's name is a pointer forward, out of the message */
	refuse_changed(SRV_LENGTH - 5, 3); /* an IPv4 address of three bytes */
}

static void test_ttls(void **state)
{
	uint8_t bytes[SRV_LENGTH];
	struct dns_answer answer;
	struct error err;

	(void)state;
	memcpy(bytes, srv_message, SRV_LENGTH);
	bytes[41] = 29; /* of the first SRV record */
	assert_int_equal(dns_answer_parse(bytes, SRV_LENGTH, &answer, &err), 0);
	assert_int_equal(answer.ttl, 29);
	dns_answer_clear(&answer);
	bytes[38] = 0x80; /* more than there may be is 0 */
	assert_int_equal(dns_answer_parse(bytes, SRV_LENGTH, &answer, &err), 0);
	assert_int_equal(answer.ttl, 0);
	dns_answer_clear(&answer);
}

/* The set */

static struct dns_record record(const char *at, uint16_t priority, uint16_t weight)
{
	struct dns_record made = {.priority = priority, .weight = weight, .target = "t.test"};

	/* Port 0 is for those that are to be refused. */
	if (ip_port_parse(at, &made.at) < 0)
		assert_int_equal(ip_addr_parse(at, &made.at.addr), 0);
	return made;
}

/* "10.0.0.1:80=5/0 10.0.0.2:80=1/3": weight and priority. */
static char *describe(const struct endpoints *endpoints)
{
	char *text = xstrdup("");

	for (uint32_t i = 0; i < endpoints->count; i++) {
		const struct endpoint *endpoint = &endpoints->items[i];
		char *longer = xasprintf("%s%s%s=%u/%u", text, i ? " " : "", endpoint->id, endpoint->weight,
					 endpoint->priority);

		free(text);
		text = longer;
	}
	return text;
}

#define UPDATE(set, now, expected, ...) \
	expect_update((set), (now), (expected), (struct dns_record[]){__VA_ARGS__}, \
		      sizeof((struct dns_record[]){__VA_ARGS__}) / sizeof(struct dns_record))

static uint32_t expect_update(struct dns_set *set, uint64_t now, const char *expected, struct dns_record *records,
			      size_t count)
{
	struct records ret = {0};
	uint32_t skipped;
	char *text;

	dns_set_update(set, records, count, now, &ret);
	text = ret.endpoints ? describe(ret.endpoints) : xstrdup(ret.error);
	assert_string_equal(text, expected);
	skipped = ret.skipped;
	free(text);
	records_clear(&ret);
	return skipped;
}

static void test_weights(void **state)
{
	struct dns_set set = {0};

	(void)state;
	UPDATE(&set, 1, "10.0.0.1:80=30/0 10.0.0.2:80=10/0 10.0.0.3:80=7/5", record("10.0.0.2:80", 0, 10),
	       record("10.0.0.1:80", 0, 30), record("10.0.0.3:80", 5, 7));
	/* All 0: evenly. Some 0: at most a hundredth of what the others have, and never none. */
	UPDATE(&set, 1, "10.0.0.1:80=1/0 10.0.0.2:80=1/0 10.0.0.3:80=7/5", record("10.0.0.1:80", 0, 0),
	       record("10.0.0.2:80", 0, 0), record("10.0.0.3:80", 5, 7));
	UPDATE(&set, 1, "10.0.0.1:80=102/0 10.0.0.2:80=1/0 10.0.0.3:80=7/5", record("10.0.0.1:80", 0, 3),
	       record("10.0.0.2:80", 0, 0), record("10.0.0.3:80", 5, 7));
	UPDATE(&set, 1, "10.0.0.1:80=65535/0 10.0.0.2:80=1/0 10.0.0.3:80=65535/0", record("10.0.0.1:80", 0, 65535),
	       record("10.0.0.2:80", 0, 0), record("10.0.0.3:80", 0, 65535));
	dns_set_clear(&set);
}

static void test_hold(void **state)
{
	const char *both = "10.0.0.1:80=1/0 10.0.0.2:80=1/0";
	struct dns_set set = {0};

	(void)state;
	UPDATE(&set, 1000, both, record("10.0.0.1:80", 0, 1), record("10.0.0.2:80", 0, 1));
	assert_true(dns_set_due(&set, 1000) == UINT64_MAX);
	UPDATE(&set, 2000, both, record("10.0.0.2:80", 0, 1));
	assert_int_equal(dns_set_due(&set, 2000), DNS_HOLD_MS);
	UPDATE(&set, 2000 + DNS_HOLD_MS - 1, both, record("10.0.0.2:80", 0, 1));
	assert_int_equal(dns_set_due(&set, 2000 + DNS_HOLD_MS - 1), 1);
	/* It is back, and its time begins anew. */
	UPDATE(&set, 7500, both, record("10.0.0.1:80", 0, 1), record("10.0.0.2:80", 0, 1));
	assert_true(dns_set_due(&set, 7500) == UINT64_MAX);
	UPDATE(&set, 8000, both, record("10.0.0.2:80", 0, 1));
	UPDATE(&set, 8000 + DNS_HOLD_MS, "10.0.0.2:80=1/0", record("10.0.0.2:80", 0, 1));
	assert_true(dns_set_due(&set, 20000) == UINT64_MAX);
	/* Others come and change at once, on either side of one that is held. */
	UPDATE(&set, 20000, "10.0.0.1:80=1/0 10.0.0.2:80=1/0 10.0.0.3:80=4/0", record("10.0.0.3:80", 0, 4),
	       record("10.0.0.1:80", 0, 1));
	dns_set_clear(&set);
}

static void test_bad_records(void **state)
{
	struct dns_set set = {0};

	(void)state;
	assert_int_equal(UPDATE(&set, 1, "10.0.0.1:80=9/0", record("10.0.0.1:80", 1, 5), record("10.0.0.9", 0, 1),
				record("10.0.0.1:80", 0, 9), record("224.0.0.1:80", 0, 1), record("10.0.0.1:80", 0, 2)),
			 4);
	/* None that can be used is an error, and the set is as before. */
	UPDATE(&set, 2, "target t.test: port 0: 1-65535 is accepted; no record of 1 can be used",
	       record("10.0.0.9", 0, 1));
	assert_int_equal(set.count, 1);
	assert_true(dns_set_due(&set, 2) == UINT64_MAX);
	dns_set_clear(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),	     cmocka_unit_test(test_uris),
		cmocka_unit_test(test_srv_message),  cmocka_unit_test(test_other_messages),
		cmocka_unit_test(test_bad_messages), cmocka_unit_test(test_ttls),
		cmocka_unit_test(test_weights),	     cmocka_unit_test(test_hold),
		cmocka_unit_test(test_bad_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
