/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Weights by hand: which endpoints they are about, what they make of a snapshot, and the state file's text. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/overrides.h"
#include "plans.h"

static void set(struct overrides *overrides, const char *netns, const char *link, const char *endpoint, uint16_t weight)
{
	assert_int_equal(overrides_set(overrides, &(struct override){netns, link, endpoint, weight}, NULL), 0);
}

static void check_applied(const struct overrides *overrides, bool drains_only, const char *expected)
{
	const struct endpoints *endpoints = endpoints_of("a=10.0.0.1:80*2 b=10.0.0.2:80!1 c=10.0.0.3:80"), *got, *want;

	got = overrides_apply(overrides, "app", "web", endpoints, drains_only);
	want = endpoints_of(expected);
	assert_true(endpoints_equal(got, want));
	endpoints_unref(endpoints);
	endpoints_unref(got);
	endpoints_unref(want);
}

static void only_what_was_overridden_is_weighed_anew(void **state)
{
	struct overrides overrides = {0};

	(void)state;
	check_applied(NULL, false, "a=10.0.0.1:80*2 b=10.0.0.2:80!1 c=10.0.0.3:80");
	set(&overrides, "app", "web2", "a", 9);
	set(&overrides, "app2", "web", "a", 9);
	set(&overrides, "", "web", "a", 9);
	set(&overrides, "app", "web", "away", 9);
	check_applied(&overrides, false, "a=10.0.0.1:80*2 b=10.0.0.2:80!1 c=10.0.0.3:80");
	set(&overrides, "app", "web", "a", 0);
	set(&overrides, "app", "web", "b", 7);
	check_applied(&overrides, false, "a=10.0.0.1:80*0 b=10.0.0.2:80*7!1 c=10.0.0.3:80");
	check_applied(&overrides, true, "a=10.0.0.1:80*0 b=10.0.0.2:80!1 c=10.0.0.3:80");
	overrides_clear(&overrides);
}

static void an_endpoint_is_known_by_its_id_and_else_by_its_address(void **state)
{
	struct overrides overrides = {0};

	(void)state;
	set(&overrides, "app", "web", "10.0.0.1:80", 5);
	check_applied(&overrides, false, "a=10.0.0.1:80*5 b=10.0.0.2:80!1 c=10.0.0.3:80");
	set(&overrides, "app", "web", "a", 6);
	check_applied(&overrides, false, "a=10.0.0.1:80*6 b=10.0.0.2:80!1 c=10.0.0.3:80");
	overrides_clear(&overrides);
}

static void a_link_without_overrides_costs_no_copy(void **state)
{
	const struct endpoints *endpoints = endpoints_of("a=10.0.0.1:80"), *got;
	struct overrides overrides = {0};

	(void)state;
	set(&overrides, "app", "other", "a", 0);
	got = overrides_apply(&overrides, "app", "web", endpoints, false);
	assert_ptr_equal(got, endpoints);
	endpoints_unref(got);
	endpoints_unref(endpoints);
	overrides_clear(&overrides);
}

static void the_last_word_counts_until_it_is_taken_back(void **state)
{
	struct override a = {"app", "web", "a", 1}, b = {"app", "web", "b", 2};
	struct overrides overrides = {0};

	(void)state;
	assert_false(overrides_remove(&overrides, &a));
	set(&overrides, "app", "web", "b", 2);
	set(&overrides, "app", "web", "a", 1);
	set(&overrides, "app", "web", "a", 3);
	assert_int_equal(overrides.count, 2);
	assert_int_equal(overrides_find(&overrides, "app", "web", "a")->weight, 3);
	assert_null(overrides_find(&overrides, "app", "web", "c"));
	assert_true(overrides_remove(&overrides, &a));
	assert_false(overrides_remove(&overrides, &a));
	assert_null(overrides_find(&overrides, "app", "web", "a"));
	assert_int_equal(overrides_find(&overrides, "app", "web", "b")->weight, 2);
	assert_true(overrides_remove(&overrides, &b));
	assert_int_equal(overrides.count, 0);
	overrides_clear(&overrides);
}

static void their_number_is_bounded(void **state)
{
	struct overrides overrides = {0};
	struct error err;
	char id[16];

	(void)state;
	for (int i = 0; i < OVERRIDES_MAX; i++) {
		snprintf(id, sizeof(id), "%d", i);
		set(&overrides, "", "web", id, 0);
	}
	assert_int_equal(overrides_set(&overrides, &(struct override){"", "web", "more", 0}, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "4096"));
	set(&overrides, "", "web", id, 1);
	assert_int_equal(overrides.count, OVERRIDES_MAX);
	overrides_clear(&overrides);
}

static bool is_web(void *context, const struct override *override)
{
	(void)context;
	return strcmp(override->link, "web") == 0;
}

static void those_of_links_that_go_are_dropped(void **state)
{
	struct overrides overrides = {0};

	(void)state;
	set(&overrides, "", "web", "a", 0);
	set(&overrides, "", "db", "a", 0);
	set(&overrides, "app", "web", "a", 0);
	assert_int_equal(overrides_retain(&overrides, is_web, NULL), 1);
	assert_int_equal(overrides_retain(&overrides, is_web, NULL), 0);
	assert_int_equal(overrides.count, 2);
	assert_null(overrides_find(&overrides, "", "db", "a"));
	assert_non_null(overrides_find(&overrides, "app", "web", "a"));
	overrides_clear(&overrides);
}

static void what_is_written_is_read_again(void **state)
{
	struct overrides overrides = {0}, got;
	char *text, *again;

	(void)state;
	set(&overrides, "", "web", "db-1", 0);
	set(&overrides, "/run/netns/a \"b\"", "w.e_b-2", "[fd00::1]:80", 65535);
	set(&overrides, "app", "web", "caf\xc3\xa9 \\ \t", 1);
	text = overrides_print(&overrides);
	assert_int_equal(overrides_parse(text, strlen(text), "state.json", &got, NULL), 0);
	assert_int_equal(got.count, 3);
	assert_int_equal(overrides_find(&got, "", "web", "db-1")->weight, 0);
	assert_int_equal(overrides_find(&got, "/run/netns/a \"b\"", "w.e_b-2", "[fd00::1]:80")->weight, 65535);
	assert_int_equal(overrides_find(&got, "app", "web", "caf\xc3\xa9 \\ \t")->weight, 1);
	again = overrides_print(&got);
	assert_string_equal(again, text);
	overrides_clear(&overrides);
	overrides_clear(&got);
	free(text);
	free(again);
}

#define ONE(netns, link, endpoint, weight) \
	"{\"version\": 1, \"overrides\": [{\"netns\": " netns ", \"link\": " link ", \"endpoint\": " endpoint \
	", \"weight\": " weight "}]}"

static void check_refused(const char *text, const char *about)
{
	struct overrides got = {.capacity = 77};
	struct error err;

	assert_int_equal(overrides_parse(text, strlen(text), "state.json", &got, &err), -EINVAL);
	assert_memory_equal(err.text, "state.json: ", strlen("state.json: "));
	if (!strstr(err.text, about))
		fail_msg("\"%s\" does not speak of \"%s\"", err.text, about);
	assert_int_equal(got.capacity, 77);
}

static void damage_is_told_by_its_place(void **state)
{
	(void)state;
	check_refused("", "JSON");
	check_refused("{\"version\": 1, \"overrides\": [", "JSON");
	check_refused("{\"version\": 1} x", "JSON");
	check_refused("[]", "version");
	check_refused("{}", "version");
	check_refused("{\"version\": 2, \"overrides\": []}", "version: expected 1");
	check_refused("{\"version\": 1, \"overrides\": {}}", "overrides: expected an array");
	check_refused("{\"version\": 1, \"overrides\": [1]}", "overrides[0]: netns");
	check_refused(ONE("null", "\"web\"", "\"a\"", "1"), "overrides[0]: netns");
	check_refused(ONE("\"\"", "\"w b\"", "\"a\"", "1"), "overrides[0]: link");
	check_refused(ONE("\"\"", "\"web\"", "\"\"", "1"), "overrides[0]: endpoint");
	check_refused(ONE("\"\"", "\"web\"", "\"a\"", "-1"), "overrides[0]: weight: expected 0 to 65535");
	check_refused(ONE("\"\"", "\"web\"", "\"a\"", "65536"), "weight");
	check_refused(ONE("\"\"", "\"web\"", "\"a\"", "1.5"), "weight");
	check_refused(ONE("\"\"", "\"web\"", "\"a\"", "\"1\""), "weight");
	check_refused(ONE("\"\"", "\"web\"", "\"a\"", "1e999"), "weight");
}

static void other_keys_are_for_other_versions(void **state)
{
	static const char text[] = "{\"version\": 1, \"endpoints\": {\"web\": []}}";
	struct overrides got;

	(void)state;
	assert_int_equal(overrides_parse(text, strlen(text), "state.json", &got, NULL), 0);
	assert_int_equal(got.count, 0);
	overrides_clear(&got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_was_overridden_is_weighed_anew),
		cmocka_unit_test(an_endpoint_is_known_by_its_id_and_else_by_its_address),
		cmocka_unit_test(a_link_without_overrides_costs_no_copy),
		cmocka_unit_test(the_last_word_counts_until_it_is_taken_back),
		cmocka_unit_test(their_number_is_bounded),
		cmocka_unit_test(those_of_links_that_go_are_dropped),
		cmocka_unit_test(what_is_written_is_read_again),
		cmocka_unit_test(damage_is_told_by_its_place),
		cmocka_unit_test(other_keys_are_for_other_versions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
