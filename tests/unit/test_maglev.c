/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of balance=source: even, by weight, the same for everybody, and few clients move when an endpoint goes. */
#include "unit.h"

#include <stdbool.h>
#include <sys/socket.h>

#include "balance/maglev.h"
#include "base/hash.h"
#include "base/mem.h"
#include "plans.h"

#define NOBODY UINT32_MAX

/* Set `salt` of endpoints 10.SALT.x.x, without one of them. Their ids are in the order of addresses, or against it. */
static const struct endpoints *make_set(uint32_t n, uint32_t salt, uint32_t without, bool against)
{
	struct endpoints_builder *builder = endpoints_builder_new();
	const char *other;

	for (uint32_t i = 0; i < n; i++) {
		struct endpoint endpoint = {.weight = 1};
		uint8_t address[4] = {10, (uint8_t)salt, (uint8_t)(i >> 8), (uint8_t)i};
		char id[16];

		snprintf(id, sizeof(id), "e%05u", against ? n - i : i);
		endpoint.id = id;
		endpoint.at = (struct ip_port){.addr.family = AF_INET, .port = 8080};
		memcpy(endpoint.at.addr.bytes, address, sizeof(address));
		if (i != without)
			assert_int_equal(endpoints_builder_add(builder, &endpoint, &other), 0);
	}
	return endpoints_builder_finish(builder);
}

/* The table of a set, of equal weights where none are given; each entry the last two bytes of its owner's address. */
static uint32_t *fill(const struct endpoints *set, const uint32_t *weights, uint32_t size)
{
	uint32_t *equal = xcalloc(set->count + 1, sizeof(*equal)), *table = xcalloc(size, sizeof(*table));

	for (uint32_t i = 0; i < set->count; i++)
		equal[i] = 1;
	maglev_fill(set, weights ? weights : equal, size, table);
	for (uint32_t i = 0; i < size; i++) {
		assert_in_range(table[i], 0, set->count - 1);
		table[i] = (uint32_t)set->items[table[i]].at.addr.bytes[2] << 8 | set->items[table[i]].at.addr.bytes[3];
	}
	free(equal);
	return table;
}

static uint32_t *fill_set(uint32_t n, uint32_t salt, uint32_t without, uint32_t size)
{
	const struct endpoints *set = make_set(n, salt, without, false);
	uint32_t *table = fill(set, NULL, size);

	endpoints_unref(set);
	return table;
}

static uint32_t count_of(const uint32_t *table, uint32_t size, uint32_t owner)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < size; i++)
		count += table[i] == owner;
	return count;
}

static void a_size_stays_while_it_is_enough(void **state)
{
	uint32_t former = 0;

	(void)state;
	assert_int_equal(maglev_size(0, 0), 0);
	assert_int_equal(maglev_size(0, 512), 0);
	for (uint32_t n = 1; n < 3000; n++) {
		uint32_t fresh = maglev_size(n, 0), size = maglev_size(n, former);

		assert_int_equal(fresh & (fresh - 1), 0);
		assert_true(fresh >= 200 * n || fresh == 65536);
		assert_true(size == former || (size == fresh && former / 50 < n));
		former = size;
	}
	assert_int_equal(maglev_size(2, 8192), 8192); /* fewer do not move those who stay */
	assert_int_equal(maglev_size(10, 3), 2048);   /* the slots of another balance */
	assert_int_equal(maglev_size(10, 4096), 2048);
}

/* Equal endpoints take turns, so their numbers of entries differ by one at most. */
static void equals_have_equal_shares(void **state)
{
	static const uint32_t numbers[] = {1, 2, 3, 7, 10, 40, 160, 1000};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		uint32_t n = numbers[i], size = maglev_size(n, 0), *table = fill_set(n, 1, NOBODY, size);

		for (uint32_t owner = 0; owner < n; owner++)
			assert_in_range(count_of(table, size, owner), size / n, size / n + 1);
		free(table);
	}
}

static void shares_are_in_proportion_to_weights(void **state)
{
	static const uint32_t cases[][4] = {
		{2, 1, 1, 1}, {3, 2, 1, 0}, {100, 100, 100, 1}, {65535, 65534, 1, 0}, {65535, 1, 1, 1}, {5, 0, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct endpoints *set = make_set(4, 1, NOBODY, false);
		uint32_t size = maglev_size(4, 0), *table = fill(set, cases[i], size);
		double sum = cases[i][0] + cases[i][1] + cases[i][2] + cases[i][3];

		for (uint32_t owner = 0; owner < 4; owner++) {
			double exact = size * cases[i][owner] / sum, got = count_of(table, size, owner);

			assert_true((got > 0) == (cases[i][owner] > 0));
			assert_true(got - exact < 3 && exact - got < 3);
		}
		free(table);
		endpoints_unref(set);
	}
}

static void the_order_in_which_endpoints_are_known_does_not_matter(void **state)
{
	const struct endpoints *one = make_set(10, 1, NOBODY, false), *other = make_set(10, 1, NOBODY, true);
	uint32_t *a = fill(one, NULL, 2048), *b = fill(other, NULL, 2048);

	(void)state;
	assert_memory_equal(a, b, 2048 * sizeof(*a));
	free(a);
	free(b);
	endpoints_unref(one);
	endpoints_unref(other);
}

/* Ambassadors of different versions have to agree: a change of this moves every client. */
static void the_table_is_the_same_in_every_version(void **state)
{
	static const uint32_t first[] = {4, 1, 5, 8, 2, 6, 9, 2, 4, 5, 3, 5, 8, 1, 2, 6, 9, 8, 2, 1, 5, 0, 2, 5};
	uint32_t *table = fill_set(10, 1, NOBODY, 2048);

	(void)state;
	assert_memory_equal(table, first, sizeof(first));
	free(table);
}

/* Of all entries, how many moved that the one who left did not own? */
static double disruption(uint32_t n, uint32_t salt, uint32_t leaver, uint32_t size)
{
	uint32_t *before = fill_set(n, salt, NOBODY, size), *after = fill_set(n, salt, leaver, size), moved = 0;

	for (uint32_t i = 0; i < size; i++)
		moved += before[i] != leaver && before[i] != after[i];
	free(before);
	free(after);
	return (double)moved / size;
}

static void few_move_whose_endpoint_stays(void **state)
{
	static const struct {
		uint32_t n;
		double mean, worst;
	} cases[] = {{2, 0, 0}, {3, 0.01, 0.02}, {10, 0.02, 0.03}, {40, 0.02, 0.02}, {100, 0.015, 0.015}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t n = cases[i].n;
		double sum = 0;

		for (uint32_t salt = 0; salt < 20; salt++) {
			double moved = disruption(n, salt, salt * 7 % n, maglev_size(n, 0));

			assert_true(moved <= cases[i].worst);
			sum += moved / 20;
		}
		print_message("%u endpoints, one goes: ideal %.2f %% of clients move, and %.2f %% more\n", n, 100.0 / n,
			      100 * sum);
		assert_true(sum <= cases[i].mean);
	}
}

/* As the kernel does it: a hash of 32 bits, scaled to the table. */
static uint32_t entry_of(uint32_t client, uint32_t size)
{
	return (uint32_t)((hash_bytes(&client, sizeof(client)) >> 32) * size >> 32);
}

static void ten_thousand_clients_and_one_of_ten_endpoints_removed(void **state)
{
	enum { CLIENTS = 10000, LEAVER = 3 };
	uint32_t size = maglev_size(10, 0), had = 0, moved = 0;
	uint32_t *before = fill_set(10, 1, NOBODY, size), *after = fill_set(10, 1, LEAVER, size);

	(void)state;
	for (uint32_t client = 0; client < CLIENTS; client++) {
		uint32_t entry = entry_of(0x0a4e0000 + client, size);

		had += before[entry] == LEAVER;
		moved += before[entry] != after[entry];
		assert_int_not_equal(after[entry], LEAVER);
	}
	print_message(
		"%u clients, one of ten endpoints removed: %.2f %% move; ideal %.2f %%, its own clients are %.2f %%\n",
		CLIENTS, 100.0 * moved / CLIENTS, 10.0, 100.0 * had / CLIENTS);
	assert_in_range(had, 900, 1100);
	assert_in_range(moved - had, 0, 300);
	free(before);
	free(after);
}

/* Plans */

static struct link_conf source_conf(void)
{
	struct link_conf conf = conf_of("9000", "web");

	conf.balance = BALANCE_SOURCE;
	return conf;
}

static struct link_plan plan_set(const struct link_plan *previous, const struct link_conf *conf, uint32_t n)
{
	const struct endpoints *set = make_set(n, 1, NOBODY, false);
	struct link_plan plan;

	plan_next(previous, conf, set, NULL, 0, false, &plan);
	endpoints_unref(set);
	return plan;
}

/*
 * A packet that draws by the rule of `before`, and looks its number up after the update, finds an endpoint that serves.
 */
static void check_step(const struct link_plan *before, const struct link_plan *after)
{
	const struct slots *old = &before->slots, *new = &after->slots;

	assert_true(old->base >= new->base - new->before);
	assert_true(old->base + old->count <= new->base + new->count);
	for (uint32_t i = 0; i < new->before + new->count; i++)
		assert_true(after->endpoints->items[new->owner[i]].weight);
}

static void every_number_of_the_former_window_keeps_a_meaning(void **state)
{
	static const struct {
		enum balance balance;
		uint32_t n, count;
	} steps[] = {
		{BALANCE_ROUNDROBIN, 3, 3},  {BALANCE_SOURCE, 3, 2048},	 {BALANCE_SOURCE, 40, 2048},
		{BALANCE_SOURCE, 41, 32768}, {BALANCE_SOURCE, 2, 32768}, {BALANCE_RANDOM, 600, 600},
		{BALANCE_SOURCE, 2, 512},    {BALANCE_SOURCE, 2, 512},	 {BALANCE_ROUNDROBIN, 2, 2},
	};
	struct link_conf conf = conf_of("9000", "web");
	struct link_plan plan = plan_set(NULL, &conf, 5);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct link_plan next;

		conf.balance = steps[i].balance;
		next = plan_set(&plan, &conf, steps[i].n);
		assert_int_equal(next.slots.count, steps[i].count);
		check_step(&plan, &next);
		plan_clear(&plan);
		plan = next;
	}
	plan_clear(&plan);
}

static void only_entries_with_another_owner_change(void **state)
{
	struct link_conf conf = source_conf();
	struct link_plan ten = plan_set(NULL, &conf, 10), nine = plan_set(&ten, &conf, 9), again;
	uint32_t changed = 0;

	(void)state;
	assert_int_equal(nine.slots.base, ten.slots.base);
	assert_int_equal(nine.slots.count, ten.slots.count);
	assert_int_equal(nine.slots.before, 0);
	for (uint32_t i = 0; i < ten.slots.count; i++)
		changed += ten.slots.owner[i] != nine.slots.owner[i];
	assert_in_range(changed, 2048 / 10, 2048 / 10 + 2048 * 3 / 100);
	again = plan_set(&nine, &conf, 9);
	assert_memory_equal(again.slots.owner, nine.slots.owner, again.slots.count * sizeof(uint32_t));
	plan_clear(&ten);
	plan_clear(&nine);
	plan_clear(&again);
}

static void those_who_do_not_serve_have_no_entries(void **state)
{
	struct link_conf conf = source_conf();
	struct link_plan plan = plan_after(NULL, &conf, "a=10.0.0.1:80 b=10.0.0.2:80*0 c=10.0.0.3:80!1 d=[fd00::1]:80");

	(void)state;
	assert_int_equal(plan.slots.count, 512);
	for (uint32_t i = 0; i < 512; i++)
		assert_int_equal(plan.slots.owner[i], 0);
	plan_clear(&plan);
	plan = plan_after(NULL, &conf, "b=10.0.0.2:80*0");
	assert_int_equal(plan.slots.count, 0);
	plan_clear(&plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_size_stays_while_it_is_enough),
		cmocka_unit_test(equals_have_equal_shares),
		cmocka_unit_test(shares_are_in_proportion_to_weights),
		cmocka_unit_test(the_order_in_which_endpoints_are_known_does_not_matter),
		cmocka_unit_test(the_table_is_the_same_in_every_version),
		cmocka_unit_test(few_move_whose_endpoint_stays),
		cmocka_unit_test(ten_thousand_clients_and_one_of_ten_endpoints_removed),
		cmocka_unit_test(every_number_of_the_former_window_keeps_a_meaning),
		cmocka_unit_test(only_entries_with_another_owner_change),
		cmocka_unit_test(those_who_do_not_serve_have_no_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
