/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registry texts: what becomes of each kind of record, list and file. */
#include "unit.h"

#include "base/mem.h"
#include "discovery/file/services.h"
#include "discovery/records.h"
#include "discovery/source.h"

/* Parses a text from a copy without NUL, so that a sanitizer sees a read beyond its end. */
static void parse(const char *text, size_t length, struct records *ret)
{
	char *copy = xrealloc(NULL, length, 1);

	memcpy(copy, text, length);
	records_parse("reg/web: web", copy, length, ret);
	free(copy);
}

/* One line about a list: "id@address*weight/priority#zone" for each endpoint. */
static const char *summary(const struct records *records)
{
	static char text[4096];
	size_t length = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < records->endpoints->count; i++) {
		const struct endpoint *e = &records->endpoints->items[i];
		char at[IP_PORT_TEXT];

		length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%s@%s*%u/%u%s%s", i ? " " : "",
					   e->id, ip_port_text(&e->at, at), e->weight, e->priority, e->zone ? "#" : "",
					   e->zone ? e->zone : "");
	}
	return text;
}

static void good_lists_are_read(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"[]", ""},
		{" [ ] \n", ""},
		{"# nobody\n", ""},
		{"#", ""},
		{"\n\t# nobody", ""},
		{"[\"10.0.0.6:5432\"]", "10.0.0.6:5432@10.0.0.6:5432*1/0"},
		{"[\"[fd00::1]:80\"]", "[fd00::1]:80@[fd00::1]:80*1/0"},
		{"[{\"host\":\"10.0.0.5\",\"port\":5432}]", "10.0.0.5:5432@10.0.0.5:5432*1/0"},
		{"[{\"host\":\"fd00::1\",\"port\":\"80\",\"weight\":0,\"priority\":65535,\"id\":\"a "
		 "b\",\"zone\":\"z\"}]",
		 "a b@[fd00::1]:80*0/65535#z"},
		{"[{\"host\":\"10.0.0.5\",\"port\":1,\"weight\":65535,\"name\":7,\"labels\":{\"a\":[]},\"id\":null,"
		 "\"zone\":null,\"x\":1}]",
		 "10.0.0.5:1@10.0.0.5:1*65535/0"},
		{"10.0.0.5:80", "10.0.0.5:80@10.0.0.5:80*1/0"},
		{"10.0.0.5:80\r\n\r\n  10.0.0.6:80\tweight=0 priority=2 id=db#1 zone=eu # the big one\n",
		 "10.0.0.5:80@10.0.0.5:80*1/0 db#1@10.0.0.6:80*0/2#eu"},
		{"[fd00::1]:80 id=a\n[fd00::2]:80 id=b", "a@[fd00::1]:80*1/0 b@[fd00::2]:80*1/0"},
		{"[::1]:80", "[::1]:80@[::1]:80*1/0"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct records records;

		parse(cases[i].text, strlen(cases[i].text), &records);
		assert_null(records.error);
		assert_string_equal(summary(&records), cases[i].expected);
		assert_int_equal(records.skipped, 0);
		assert_int_equal(records.digest, 0);
		records_clear(&records);
	}
}

static void texts_that_are_no_list_are_errors(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"", "reg/web: web: the file is empty (for no endpoints, write [] or a line with only a # comment)"},
		{" \n\t\r\n",
		 "reg/web: web: the file is empty (for no endpoints, write [] or a line with only a # comment)"},
		{"{\"web\": []}",
		 "reg/web: web: a JSON object: an array [RECORD, ...] or lines ADDRESS:PORT are accepted"},
		{"[\n \"10.0.0.1:80\",,\n]",
		 "reg/web: web: line 2, column 16: not valid JSON (a value or its end is missing)"},
		{"[\"10.0.0.1:80\"", "reg/web: web: line 1, column 14: not valid JSON (a value or its end is missing)"},
		{"[] x", "reg/web: web: line 1, column 4: not valid JSON (something follows the value)"},
		{"<html>\nnot found\n",
		 "reg/web: web: line 1: address \"<html>\": IPV4:PORT or [IPV6]:PORT with port 1-65535 is accepted; "
		 "no record of 2 can be used (for no endpoints, write [] or a line with only a # comment)"},
		{"[1]", "reg/web: web[0]: 1: an object with host and port or a string ADDRESS:PORT is accepted; "
			"no record of 1 can be used (for no endpoints, write [])"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct records records;

		parse(cases[i].text, strlen(cases[i].text), &records);
		assert_null(records.endpoints);
		assert_string_equal(records.error, cases[i].expected);
		records_clear(&records);
	}
}

static void bad_json_records_are_skipped(void **state)
{
	static const struct {
		const char *record, *expected;
	} cases[] = {
		{"{\"host\":\"10.1.0.300\",\"port\":80}", "host \"10.1.0.300\": an IPv4 or IPv6 address is accepted"},
		{"{\"host\":\"db.local\",\"port\":80}",
		 "host \"db.local\": host names are not yet supported, an IPv4 or IPv6 address is accepted"},
		{"{\"host\":\"fd00::x\",\"port\":80}", "host \"fd00::x\": an IPv4 or IPv6 address is accepted"},
		{"{\"host\":\"224.0.0.1\",\"port\":80}",
		 "address 224.0.0.1: nothing can be connected to there, a unicast address is accepted"},
		{"{\"host\":7,\"port\":80}", "host 7: a string is accepted"},
		{"{\"host\":null,\"port\":80}", "no \"host\": an IPv4 or IPv6 address is accepted"},
		{"{\"host\":\"10.0.0.1\"}", "no \"port\": 1-65535 is accepted"},
		{"{\"host\":\"10.0.0.1\",\"port\":0}", "port 0: 1-65535 is accepted"},
		{"{\"host\":\"10.0.0.1\",\"port\":65536}", "port 65536: 1-65535 is accepted"},
		{"{\"host\":\"10.0.0.1\",\"port\":80.5}", "port 80.5: 1-65535 is accepted"},
		{"{\"host\":\"10.0.0.1\",\"port\":1e300}", "port 1e+300: 1-65535 is accepted"},
		{"{\"host\":\"10.0.0.1\",\"port\":\"http\"}", "port http: 1-65535 is accepted"},
		{"{\"host\":\"10.0.0.1\",\"port\":[1]}", "port [...]: an integer is accepted"},
		{"{\"host\":\"10.0.0.1\",\"port\":true}", "port true: an integer is accepted"},
		{"{\"host\":\"10.0.0.1\",\"port\":80,\"weight\":-1}", "weight -1: 0-65535 is accepted"},
		{"{\"host\":\"10.0.0.1\",\"port\":80,\"weight\":65536}", "weight 65536: 0-65535 is accepted"},
		{"{\"host\":\"10.0.0.1\",\"port\":80,\"priority\":65536}", "priority 65536: 0-65535 is accepted"},
		{"{\"host\":\"10.0.0.1\",\"port\":80,\"id\":\"\"}",
		 "id \"\": 1-255 printable ASCII characters are accepted"},
		{"{\"host\":\"10.0.0.1\",\"port\":80,\"id\":\"a\\u001b[2Jb\"}",
		 "id \"a?[2Jb\": 1-255 printable ASCII characters are accepted"},
		{"{\"host\":\"10.0.0.1\",\"port\":80,\"zone\":\"a\\nb\"}",
		 "zone \"a?b\": 1-255 printable ASCII characters are accepted"},
		{"{\"host\":\"10.0.0.1\",\"port\":80,\"id\":{}}", "id {...}: a string is accepted"},
		{"\"10.0.0.1\"", "address \"10.0.0.1\": IPV4:PORT or [IPV6]:PORT with port 1-65535 is accepted"},
		{"\"fd00::1:80\"", "address \"fd00::1:80\": IPV4:PORT or [IPV6]:PORT with port 1-65535 is accepted"},
		{"\"db.local:80\"",
		 "address \"db.local:80\": host names are not yet supported, an IPv4 or IPv6 address is "
		 "accepted"},
		{"null", "null: an object with host and port or a string ADDRESS:PORT is accepted"},
		{"\"10.9.9.9:80\"",
		 "id \"10.9.9.9:80\" at 10.9.9.9:80: \"good\" has this id or address already, each is "
		 "accepted once"},
		{"{\"host\":\"10.0.0.1\",\"port\":80,\"id\":\"good\"}",
		 "id \"good\" at 10.0.0.1:80: \"good\" has this id or address already, each is accepted once"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = xasprintf("[{\"host\":\"10.9.9.9\",\"port\":80,\"id\":\"good\"},%s]", cases[i].record);
		char *expected = xasprintf("reg/web: web[1]: %s", cases[i].expected);
		struct records records;

		parse(text, strlen(text), &records);
		assert_string_equal(summary(&records), "good@10.9.9.9:80*1/0");
		assert_int_equal(records.skipped, 1);
		assert_string_equal(records.reports[0], expected);
		assert_int_not_equal(records.digest, 0);
		records_clear(&records);
		free(text);
		free(expected);
	}
}

static void bad_lines_are_skipped(void **state)
{
	static const struct {
		const char *line, *expected;
	} cases[] = {
		{"10.1.0.300:80", "address \"10.1.0.300:80\": IPV4:PORT or [IPV6]:PORT with port 1-65535 is accepted"},
		{"10.0.0.1:0", "address \"10.0.0.1:0\": IPV4:PORT or [IPV6]:PORT with port 1-65535 is accepted"},
		{"10.0.0.1:65536",
		 "address \"10.0.0.1:65536\": IPV4:PORT or [IPV6]:PORT with port 1-65535 is accepted"},
		{"10.0.0.1:80 weight=-1", "weight -1: 0-65535 is accepted"},
		{"10.0.0.1:80 weight=", "weight : 0-65535 is accepted"},
		{"10.0.0.1:80 weight", "\"weight\": weight=, priority=, id= and zone= are accepted"},
		{"10.0.0.1:80 wieght=1", "\"wieght\": weight=, priority=, id= and zone= are accepted"},
		{"10.0.0.1:80 id=", "id \"\": 1-255 printable ASCII characters are accepted"},
		{"10.0.0.1:80 zone=\xc3\xa4", "zone \"??\": 1-255 printable ASCII characters are accepted"},
		{"10.9.9.9:80", "id \"10.9.9.9:80\" at 10.9.9.9:80: \"good\" has this id or address already, each is "
				"accepted once"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = xasprintf("# a comment\n10.9.9.9:80 id=good\n\n%s\n", cases[i].line);
		char *expected = xasprintf("reg/web: web: line 4: %s", cases[i].expected);
		struct records records;

		parse(text, strlen(text), &records);
		assert_string_equal(summary(&records), "good@10.9.9.9:80*1/0");
		assert_int_equal(records.skipped, 1);
		assert_string_equal(records.reports[0], expected);
		records_clear(&records);
		free(text);
		free(expected);
	}
}

static void a_nul_byte_spoils_its_line_only(void **state)
{
	static const char text[] = "10.0.0.1:80\n10.0.0.2:80\0 weight=0\n10.0.0.3:80 weight=0";
	struct records records;

	(void)state;
	parse(text, sizeof(text) - 1, &records);
	assert_string_equal(summary(&records), "10.0.0.1:80@10.0.0.1:80*1/0 10.0.0.3:80@10.0.0.3:80*0/0");
	assert_string_equal(records.reports[0], "reg/web: web: line 2: a NUL byte: text is accepted");
	records_clear(&records);
}

static void ids_have_a_longest_length(void **state)
{
	char id[ENDPOINT_ID_MAX + 2], *text;
	struct records records;

	(void)state;
	memset(id, 'x', sizeof(id));
	id[ENDPOINT_ID_MAX + 1] = '\0';
	text = xasprintf("10.0.0.1:80 id=%s\n10.0.0.2:80 id=%s\n", id + 1, id);
	parse(text, strlen(text), &records);
	assert_int_equal(records.endpoints->count, 1);
	assert_string_equal(records.endpoints->items[0].id, id + 1);
	assert_int_equal(records.skipped, 1);
	assert_non_null(strstr(records.reports[0], "xxx...\": 1-255"));
	records_clear(&records);
	free(text);
}

static void many_reports_are_counted(void **state)
{
	char text[4096] = "10.0.0.1:80\n";
	struct records records, other;

	(void)state;
	for (int i = 0; i < 25; i++)
		strcat(text, "nonsense\n");
	parse(text, strlen(text), &records);
	assert_int_equal(records.skipped, 25);
	assert_string_equal(records.reports[9], "reg/web: web: line 11: address \"nonsense\": IPV4:PORT or [IPV6]:PORT "
						"with port 1-65535 is accepted");
	parse(text, strlen(text), &other);
	assert_true(records.digest == other.digest);
	records_clear(&other);
	text[strlen(text) - 2] = 'E';
	parse(text, strlen(text), &other);
	assert_true(records.digest != other.digest);
	records_clear(&other);
	records_clear(&records);
}

static int services(struct services **services_, const char *text, struct error *err)
{
	char *copy = xstrdup(text);
	int code = services_parse(services_, "s.json", copy, strlen(text), err);

	free(copy);
	return code;
}

static void a_file_of_services_is_read(void **state)
{
	struct services *all = NULL;
	struct error err;

	(void)state;
	assert_int_equal(services(&all, "{}", &err), 0);
	assert_null(services_find(all, "web"));
	assert_int_equal(services(&all,
				  " {\"web\" : [ \"10.0.0.1:80\" ] ,\n\"d\\u0062\":[{\"host\":\"10.0.0.2\",\"port\":1,"
				  "\"id\":\"]}\\\"\"}], \"none\":[]}\n",
				  &err),
			 0);
	assert_string_equal(summary(services_find(all, "web")), "10.0.0.1:80@10.0.0.1:80*1/0");
	assert_string_equal(summary(services_find(all, "db")), "]}\"@10.0.0.2:1*1/0");
	assert_int_equal(services_find(all, "none")->endpoints->count, 0);
	assert_null(services_find(all, "other"));
	services_free(all);
	assert_null(services_find(NULL, "web"));
	services_free(NULL);
}

static void unchanged_services_keep_their_snapshot(void **state)
{
	const struct endpoints *web, *db;
	struct services *all = NULL;
	struct error err;

	(void)state;
	assert_int_equal(services(&all, "{\"web\": [\"10.0.0.1:80\"], \"db\": [\"10.0.0.2:80\"]}", &err), 0);
	web = endpoints_ref(services_find(all, "web")->endpoints);
	db = services_find(all, "db")->endpoints;
	assert_int_equal(services(&all, "{\"db\": [\"10.0.0.2:80\"],\n\"web\": [\"10.0.0.3:80\"]}", &err), 0);
	assert_ptr_equal(services_find(all, "db")->endpoints, db);
	assert_ptr_not_equal(services_find(all, "web")->endpoints, web);
	assert_int_equal(services(&all, "{\"db\": [\"10.0.0.2:80\"], \"web\": [}", &err), -EINVAL);
	assert_ptr_equal(services_find(all, "db")->endpoints, db);
	assert_int_equal(services(&all, "{\"db\": [\"10.0.0.2:80\"]}", &err), 0);
	assert_ptr_equal(services_find(all, "db")->endpoints, db);
	assert_null(services_find(all, "web"));
	endpoints_unref(web);
	services_free(all);
}

static void faults_of_one_service_stay_there(void **state)
{
	static const char *const text =
		"{\"web\": [\"10.0.0.1:80\"], \"db\": [\"10.0.0.2:80\"], \"web\": [\"10.0.0.1:80\"],"
		"\"obj\": {\"host\": \"10.0.0.1\"}, \"bad\": [\"10.0.0.1:0\"]}";
	struct services *all = NULL;
	struct error err;

	(void)state;
	for (int round = 0; round < 2; round++) {
		assert_int_equal(services(&all, text, &err), 0);
		assert_null(services_find(all, "web")->endpoints);
		assert_string_equal(services_find(all, "web")->error,
				    "s.json: web: the service is there twice, each is accepted once");
		assert_string_equal(services_find(all, "obj")->error,
				    "s.json: obj: {...}: an array of records is accepted (for no endpoints, write [])");
		assert_null(services_find(all, "bad")->endpoints);
		assert_int_equal(services_find(all, "db")->endpoints->count, 1);
	}
	assert_int_equal(services(&all, "{\"web\": [\"10.0.0.1:80\"]}", &err), 0);
	assert_int_equal(services_find(all, "web")->endpoints->count, 1);
	services_free(all);
}

static void broken_files_of_services_are_errors(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"", "s.json: the file is empty (for no services, write {})"},
		{" \n", "s.json: the file is empty (for no services, write {})"},
		{"[]", "s.json: line 1, column 1: not valid JSON (a file of services is an object "
		       "{\"SERVICE\": [RECORD, ...], ...})"},
		{"{", "s.json: line 1, column 2: not valid JSON (a service's name in double quotes is missing)"},
		{"{\"web\"", "s.json: line 1, column 7: not valid JSON (a ':' is missing)"},
		{"{\"web\":", "s.json: line 1, column 8: not valid JSON (a value or its end is missing)"},
		{"{\"web\": [\"10.0.0.1:80\"",
		 "s.json: line 1, column 22: not valid JSON (a value or its end is missing)"},
		{"{\"web\": [],}",
		 "s.json: line 1, column 12: not valid JSON (a service's name in double quotes is missing)"},
		{"{\"web\": []\n \"db\": []}",
		 "s.json: line 2, column 2: not valid JSON (a ',' or the closing '}' is missing)"},
		{"{\"web\": [] } x", "s.json: line 1, column 14: not valid JSON (something follows the closing '}')"},
		{"{\"web\": [\n{\"host\" \"10.0.0.1\"}\n]}",
		 "s.json: line 2, column 9: not valid JSON (a value or its end is missing)"},
		/* Two missing quotes make "db" part of a string; its brackets still pair. */
		{"{\"web\": [\"10.0.0.1:80], \"db\": [10.0.0.2:80\"]}",
		 "s.json: line 1, column 26: not valid JSON (a value or its end is missing)"},
	};
	struct services *all = NULL;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(services(&all, cases[i].text, &err), -EINVAL);
		assert_string_equal(err.text, cases[i].expected);
		assert_null(all);
	}
}

static int check_uri(const char *uri, struct error *err)
{
	return source_check(&(struct registry_conf){.uri = (char *)(uintptr_t)uri}, err);
}

static void schemes_are_known(void **state)
{
	struct error err;

	(void)state;
	assert_int_equal(check_uri("file:services.json", &err), 0);
	assert_int_equal(check_uri("file:", &err), -EINVAL);
	assert_string_equal(err.text, "registry \"file:\": file:PATH is accepted");
	assert_int_equal(check_uri("services.json", &err), -EINVAL);
	assert_string_equal(err.text, "registry \"services.json\": no scheme; file:PATH, "
				      "etcd://HOST[:PORT][,HOST[:PORT]]...[/PREFIX], "
				      "consul://HOST[:PORT]/[?dc=NAME][&tag=TAG]..., dns://[SERVER[:PORT][,...]]/ or "
				      "docker:///PATH/TO/SOCKET[?network=NAME] is accepted");
	assert_int_equal(check_uri("dns://10.0.0.1/", &err), 0);
	assert_int_equal(check_uri("dns:10.0.0.1", &err), -EINVAL);
	assert_int_equal(check_uri("ftp://x/", &err), -EINVAL);
	assert_int_equal(check_uri("docker:///run/docker.sock", &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_lists_are_read),
		cmocka_unit_test(texts_that_are_no_list_are_errors),
		cmocka_unit_test(bad_json_records_are_skipped),
		cmocka_unit_test(bad_lines_are_skipped),
		cmocka_unit_test(a_nul_byte_spoils_its_line_only),
		cmocka_unit_test(ids_have_a_longest_length),
		cmocka_unit_test(many_reports_are_counted),
		cmocka_unit_test(a_file_of_services_is_read),
		cmocka_unit_test(unchanged_services_keep_their_snapshot),
		cmocka_unit_test(faults_of_one_service_stay_there),
		cmocka_unit_test(broken_files_of_services_are_errors),
		cmocka_unit_test(schemes_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
