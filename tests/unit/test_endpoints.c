/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snapshots: order, duplicates, equality, lookup. */
#include "unit.h"

#include "base/mem.h"
#include "catalog/endpoints.h"
#include "plans.h"

static struct endpoint endpoint(const char *id, const char *at)
{
	struct endpoint record = {.id = id, .weight = 1};

	assert_int_equal(ip_port_parse(at, &record.at), 0);
	return record;
}

static int add(struct endpoints_builder *builder, const char *id, const char *at, const char **ret_other)
{
	struct endpoint record = endpoint(id, at);

	return endpoints_builder_add(builder, &record, ret_other);
}

static void records_are_copied_and_ordered_by_id(void **state)
{
	struct endpoints_builder *builder = endpoints_builder_new();
	char id[] = "db-2", zone[] = "eu-1";
	struct endpoint record = endpoint(id, "10.0.0.2:80");
	const struct endpoints *snapshot;
	const char *other;

	(void)state;
	record.zone = zone;
	record.weight = 7;
	record.priority = 3;
	assert_int_equal(endpoints_builder_add(builder, &record, &other), 0);
	id[0] = zone[0] = '?';
	assert_int_equal(add(builder, "db-10", "[fd00::1]:80", &other), 0);
	assert_int_equal(add(builder, "db-1", "10.0.0.1:80", &other), 0);
	snapshot = endpoints_builder_finish(builder);
	assert_int_equal(snapshot->count, 3);
	assert_string_equal(snapshot->items[0].id, "db-1");
	assert_string_equal(snapshot->items[1].id, "db-10");
	assert_string_equal(snapshot->items[2].id, "db-2");
	assert_string_equal(snapshot->items[2].zone, "eu-1");
	assert_int_equal(snapshot->items[2].weight, 7);
	assert_int_equal(snapshot->items[2].priority, 3);
	assert_null(snapshot->items[0].zone);
	assert_ptr_equal(endpoints_find_id(snapshot, "db-10"), &snapshot->items[1]);
	assert_null(endpoints_find_id(snapshot, "db"));
	endpoints_unref(snapshot);
}

static void duplicates_are_refused_by_name(void **state)
{
	struct endpoints_builder *builder = endpoints_builder_new();
	const struct endpoints *snapshot;
	const char *other = NULL;

	(void)state;
	assert_int_equal(add(builder, "a", "10.0.0.1:80", &other), 0);
	assert_int_equal(add(builder, "b", "[fd00::1]:80", &other), 0);
	assert_int_equal(add(builder, "a", "10.0.0.2:80", &other), -EEXIST);
	assert_string_equal(other, "a");
	assert_int_equal(add(builder, "c", "[fd00::1]:80", &other), -EEXIST);
	assert_string_equal(other, "b");
	assert_int_equal(add(builder, "c", "[fd00::1]:81", &other), 0);
	snapshot = endpoints_builder_finish(builder);
	assert_int_equal(snapshot->count, 3);
	endpoints_unref(snapshot);
}

static const struct endpoints *one(const struct endpoint *record)
{
	struct endpoints_builder *builder = endpoints_builder_new();
	const char *other;

	assert_int_equal(endpoints_builder_add(builder, record, &other), 0);
	return endpoints_builder_finish(builder);
}

static void every_field_counts_for_equality(void **state)
{
	struct endpoint record = endpoint("a", "10.0.0.1:80"), others[6];
	const struct endpoints *a = one(&record), *b = one(&record), *none = endpoints_none();

	(void)state;
	assert_true(endpoints_equal(a, a));
	assert_true(endpoints_equal(a, b));
	assert_false(endpoints_equal(a, none));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		others[i] = record;
	others[0].id = "b";
	others[1].zone = "eu-1";
	others[2].at.port = 81;
	others[3].at.addr.bytes[3] = 2;
	others[4].weight = 2;
	others[5].priority = 1;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		const struct endpoints *other = one(&others[i]);

		assert_false(endpoints_equal(a, other));
		assert_false(endpoints_equal(other, a));
		endpoints_unref(other);
	}
	endpoints_unref(a);
	endpoints_unref(b);
	endpoints_unref(none);
}

static void the_last_reference_frees(void **state)
{
	const struct endpoints *none = endpoints_none();

	(void)state;
	assert_int_equal(none->count, 0);
	assert_null(endpoints_find_id(none, "a"));
	assert_ptr_equal(endpoints_ref(none), none);
	endpoints_unref(none);
	assert_int_equal(none->count, 0);
	endpoints_unref(none);
	endpoints_unref(NULL);
	endpoints_builder_free(NULL);
	endpoints_builder_free(endpoints_builder_new());
}

static void only_the_weights_are_others(void **state)
{
	const struct endpoints *before = endpoints_of("a=10.0.0.1:80*2!1 b=10.0.0.2:80 c=[fd00::1]:80*9"), *after,
			       *expected;

	(void)state;
	after = endpoints_reweigh(before, (const uint16_t[]){0, 7, 9});
	expected = endpoints_of("a=10.0.0.1:80*0!1 b=10.0.0.2:80*7 c=[fd00::1]:80*9");
	assert_true(endpoints_equal(after, expected));
	endpoints_unref(before);
	endpoints_unref(after);
	endpoints_unref(expected);
}

static void many_records_stay_apart(void **state)
{
	struct endpoints_builder *builder = endpoints_builder_new();
	const struct endpoints *snapshot;
	const char *other;

	(void)state;
	for (unsigned int i = 0; i < 20000; i++) {
		char id[16], at[IP_PORT_TEXT];

		snprintf(id, sizeof(id), "e%u", i);
		snprintf(at, sizeof(at), "10.0.%u.%u:80", i / 256, i % 256);
		assert_int_equal(add(builder, id, at, &other), 0);
		assert_int_equal(add(builder, "other", at, &other), -EEXIST);
	}
	snapshot = endpoints_builder_finish(builder);
	assert_int_equal(snapshot->count, 20000);
	for (uint32_t i = 1; i < snapshot->count; i++)
		assert_true(strcmp(snapshot->items[i - 1].id, snapshot->items[i].id) < 0);
	endpoints_unref(snapshot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_are_copied_and_ordered_by_id),
		cmocka_unit_test(duplicates_are_refused_by_name),
		cmocka_unit_test(every_field_counts_for_equality),
		cmocka_unit_test(the_last_reference_frees),
		cmocka_unit_test(only_the_weights_are_others),
		cmocka_unit_test(many_records_stay_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
