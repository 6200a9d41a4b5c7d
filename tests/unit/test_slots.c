/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Weights to shares, and shares to slot tables: exact, evenly spread, few changes, fair under churn. */
#include "unit.h"

#include <stdbool.h>
#include <time.h>

#include "balance/slots.h"
#include "base/mem.h"
#include "random.h"

#define OWNERS_MAX 512

/* Shares */

static void shares_are_weights_divided_by_their_divisor(void **state)
{
	static const struct {
		uint32_t weights[3], shares[3], sum;
	} cases[] = {
		{{0, 0, 0}, {0, 0, 0}, 0},	   {{7, 0, 0}, {1, 0, 0}, 1},	    {{100, 100, 100}, {1, 1, 1}, 3},
		{{2, 1, 1}, {2, 1, 1}, 4},	   {{6, 4, 0}, {3, 2, 0}, 5},	    {{0, 10, 15}, {0, 2, 3}, 5},
		{{65535, 0, 65535}, {1, 0, 1}, 2}, {{254, 1, 1}, {254, 1, 1}, 256}, {{253, 2, 1}, {253, 2, 1}, 256},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t shares[3] = {9, 9, 9};

		assert_int_equal(slots_share(cases[i].weights, 0, shares), 0);
		assert_int_equal(slots_share(cases[i].weights, 3, shares), cases[i].sum);
		assert_memory_equal(shares, cases[i].shares, sizeof(shares));
	}
}

static void too_many_slots_are_shared_out_by_largest_remainder(void **state)
{
	static const struct {
		uint32_t weights[3], shares[3];
	} cases[] = {
		{{65535, 65534, 0}, {128, 128, 0}}, /* the remainders .001 and .999 */
		{{255, 1, 1}, {254, 1, 1}},	    /* .99 of a slot is one slot */
		{{65535, 1, 1}, {254, 1, 1}},
		{{60000, 30000, 10001}, {153, 77, 26}}, /* 153.598, 76.799, 25.602: two slots are left for three */
		{{1000, 0, 1}, {255, 0, 1}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t shares[3];

		assert_int_equal(slots_share(cases[i].weights, 3, shares), SLOTS_MIN_LIMIT);
		assert_memory_equal(shares, cases[i].shares, sizeof(shares));
	}
}

static uint32_t divisor(uint32_t a, uint32_t b)
{
	return b ? divisor(b, a % b) : a;
}

/* Every sum is within the bound, so nothing needs to be rounded. */
static void small_weights_are_met_exactly(void **state)
{
	const uint32_t max = SLOTS_MIN_LIMIT / 3;

	(void)state;
	for (uint32_t a = 1; a <= max; a++) {
		for (uint32_t b = 0; b <= max; b++) {
			for (uint32_t c = 0; c <= max; c++) {
				const uint32_t weights[] = {a, b, c};
				uint32_t shares[3], sum = slots_share(weights, 3, shares);

				if (sum != shares[0] + shares[1] + shares[2] || shares[1] * a != shares[0] * b ||
				    shares[2] * a != shares[0] * c ||
				    divisor(divisor(shares[0], shares[1]), shares[2]) != 1)
					fail_msg("%u:%u:%u became %u:%u:%u", a, b, c, shares[0], shares[1], shares[2]);
			}
		}
	}
}

/* Weights that differ so little that none has less than one slot to claim. */
static void large_weights_are_met_within_one_slot(void **state)
{
	(void)state;
	random_begin();
	for (int round = 0; round < 20000; round++) {
		uint32_t n = random_between(2, 8), weights[8], shares[8], given = 0;
		uint64_t total = 0;

		for (uint32_t i = 0; i < n; i++)
			total += weights[i] = random_between(4096, 65535);
		if (slots_share(weights, n, shares) < SLOTS_MIN_LIMIT)
			continue; /* a common divisor made it exact */
		for (uint32_t i = 0; i < n; i++) {
			uint64_t got = shares[i] * total, due = (uint64_t)weights[i] * SLOTS_MIN_LIMIT;

			given += shares[i];
			if ((got > due ? got - due : due - got) >= total)
				fail_msg("weight %u of %u has %u slots", weights[i], (unsigned int)total, shares[i]);
		}
		assert_int_equal(given, SLOTS_MIN_LIMIT);
	}
}

static uint32_t bound(uint32_t users)
{
	return users * SLOTS_PER_ENDPOINT > SLOTS_MIN_LIMIT ? users * SLOTS_PER_ENDPOINT : SLOTS_MIN_LIMIT;
}

static void check_order(const uint32_t *weights, const uint32_t *shares, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t j = 0; j < n; j++) {
			if (weights[i] > weights[j] && shares[i] < shares[j])
				fail_msg("weights %u, %u have %u, %u slots", weights[i], weights[j], shares[i],
					 shares[j]);
		}
	}
}

/* Weights of all magnitudes: most have less than one slot to claim. */
static void every_weight_has_a_slot_and_more_weight_has_no_fewer(void **state)
{
	(void)state;
	random_begin();
	for (int round = 0; round < 300; round++) {
		uint32_t n = random_between(1, 200), weights[200], shares[200], users = 0, given = 0, sum;

		for (uint32_t i = 0; i < n; i++)
			users += (weights[i] = random_between(0, 65535) >> random_between(0, 16)) > 0;
		sum = slots_share(weights, n, shares);
		for (uint32_t i = 0; i < n; i++) {
			given += shares[i];
			assert_int_equal(shares[i] > 0, weights[i] > 0);
		}
		assert_int_equal(given, sum);
		assert_true(sum <= bound(users));
		check_order(weights, shares, n);
	}
}

/* The one slot that everybody has must not be taken from those who have more in proportion to nothing. */
static void half_of_all_weight_is_half_of_the_slots(void **state)
{
	uint32_t weights[64], shares[64];

	(void)state;
	for (size_t i = 1; i < 64; i++)
		weights[i] = 1000;
	weights[0] = 63001;
	assert_int_equal(slots_share(weights, 64, shares), 256);
	assert_int_equal(shares[0], 128);
}

static void the_bound_grows_with_the_endpoints(void **state)
{
	uint32_t weights[1000], shares[1000];

	(void)state;
	for (uint32_t i = 0; i < 1000; i++)
		weights[i] = 1000 + i % 2;
	assert_int_equal(slots_share(weights, 1000, shares), 1000 * SLOTS_PER_ENDPOINT);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(shares[i], SLOTS_PER_ENDPOINT);
}

/* Tables */

static struct slots update(const struct slots *previous, const uint32_t *shares, uint32_t n)
{
	static const struct slots none;
	struct slots next;

	slots_update(previous ? previous : &none, shares, n, &next);
	return next;
}

static uint32_t drawn(const struct slots *slots, uint32_t i)
{
	return slots->owner[slots->before + i % slots->count];
}

/* Everybody has exactly his slots in the window, and what the last window left behind leads to somebody who serves. */
static void check_table(const struct slots *slots, const uint32_t *shares, uint32_t n)
{
	uint32_t counts[OWNERS_MAX] = {0}, sum = 0;

	for (uint32_t i = 0; i < slots->before + slots->count; i++) {
		if (slots->owner[i] >= n || !shares[slots->owner[i]])
			fail_msg("slot %u of %u belongs to nobody", i, slots->before + slots->count);
		counts[slots->owner[i]] += i >= slots->before;
	}
	for (uint32_t i = 0; i < n; i++) {
		sum += shares[i];
		if (counts[i] != shares[i])
			fail_msg("owner %u has %u slots, not %u", i, counts[i], shares[i]);
	}
	assert_int_equal(slots->count, sum);
}

#define FOURS 625 /* (0..4)^4 */

static void fours(uint32_t number, uint32_t ret_weights[4])
{
	for (int i = 0; i < 4; i++, number /= 5)
		ret_weights[i] = number % 5;
}

static void check_transition(const struct slots *from, const uint32_t *shares, bool same)
{
	struct slots to = update(from, shares, 4);

	check_table(&to, shares, 4);
	if (same) {
		assert_int_equal(to.base, from->base);
		assert_int_equal(to.before, from->before);
		assert_memory_equal(to.owner, from->owner, (from->before + from->count) * sizeof(*to.owner));
	} else if (from->count && to.count) {
		assert_int_equal(to.base - to.before, from->base);
		assert_true(to.base + to.count >= from->base + from->count);
	}
	slots_clear(&to);
}

static void counts_are_exact_after_every_transition(void **state)
{
	struct slots tables[FOURS];
	uint32_t shares[FOURS][4];

	(void)state;
	for (uint32_t i = 0; i < FOURS; i++) {
		uint32_t weights[4];

		fours(i, weights);
		slots_share(weights, 4, shares[i]);
		tables[i] = update(NULL, shares[i], 4);
	}
	for (uint32_t from = 0; from < FOURS; from++) {
		for (uint32_t to = 0; to < FOURS; to++)
			check_transition(&tables[from], shares[to],
					 memcmp(shares[from], shares[to], sizeof(shares[to])) == 0);
	}
	for (uint32_t i = 0; i < FOURS; i++)
		slots_clear(&tables[i]);
}

static void a_long_walk_keeps_counts_exact(void **state)
{
	struct slots slots = update(NULL, NULL, 0);
	uint32_t shares[20] = {0};

	(void)state;
	random_begin();
	for (int step = 0; step < 5000; step++) {
		struct slots next;

		shares[random_between(0, 19)] = random_between(0, 6);
		for (uint32_t i = 0; i < slots.before + slots.count; i++) {
			if (random_between(0, 99) == 0)
				slots.owner[i] = SLOT_FREE;
		}
		next = update(&slots, shares, 20);
		check_table(&next, shares, 20);
		slots_clear(&slots);
		slots = next;
	}
	slots_clear(&slots);
}

static void large_shares_are_interleaved(void **state)
{
	static const struct {
		uint32_t shares[3];
		const char *order;
	} cases[] = {
		{{2, 1, 1}, "abac"},  {{1, 2, 1}, "babc"},    {{1, 1, 2}, "cacb"}, {{3, 3, 0}, "ababab"},
		{{3, 2, 0}, "abaab"}, {{5, 1, 1}, "aaabaac"}, {{1, 1, 1}, "abc"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct slots slots = update(NULL, cases[i].shares, 3);
		char order[8] = "";

		for (uint32_t k = 0; k < slots.count; k++)
			order[k] = (char)('a' + slots.owner[k]);
		assert_string_equal(order, cases[i].order);
		slots_clear(&slots);
	}
}

/* The longest way, in slots and around the end, from a slot of the owner to its next one. */
static uint32_t longest_gap(const struct slots *slots, uint32_t owner)
{
	uint32_t last = UINT32_MAX, longest = 0;

	for (uint32_t i = 0; i < 2 * slots->count; i++) {
		if (drawn(slots, i) != owner)
			continue;
		if (last != UINT32_MAX && i - last > longest)
			longest = i - last;
		last = i;
	}
	return longest;
}

/* At most twice the way that exactly even slots would make, rounded up. */
static void check_spread(const uint32_t *shares, uint32_t n)
{
	struct slots slots = update(NULL, shares, n);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t gap = longest_gap(&slots, i);

		if (shares[i] && gap * shares[i] >= 2 * slots.count + shares[i])
			fail_msg("owner %u with %u of %u slots waits for %u", i, shares[i], slots.count, gap);
	}
	slots_clear(&slots);
}

static void nobody_waits_long_for_its_turn(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < FOURS; i++) {
		uint32_t shares[4];

		fours(i, shares);
		check_spread(shares, 4);
	}
	random_begin();
	for (int round = 0; round < 2000; round++) {
		uint32_t n = random_between(2, 20), shares[20];

		for (uint32_t i = 0; i < n; i++)
			shares[i] = random_between(1, 12);
		check_spread(shares, n);
	}
}

/* How many elements of the kernel's map change: numbers that come, go or mean somebody else. */
static uint32_t count_moves(const struct slots *from, const struct slots *to)
{
	uint32_t from_first = from->base - from->before, from_size = from->before + from->count;
	uint32_t to_first = to->base - to->before, to_size = to->before + to->count, same = 0;

	for (uint32_t i = 0; i < to_size; i++) {
		uint32_t at = to_first + i - from_first;

		same += at < from_size && from->owner[at] == to->owner[i];
	}
	return from_size + to_size - 2 * same;
}

static void set_all(uint32_t *shares, uint32_t n, uint32_t share)
{
	for (uint32_t i = 0; i < n; i++)
		shares[i] = share;
}

/* Endpoints that come and go, one by one, anywhere in a table of any age. */
static void one_of_many_equals_moves_a_few_slots(void **state)
{
	uint32_t shares[101];
	struct slots slots;

	(void)state;
	random_begin();
	set_all(shares, 101, 1);
	shares[100] = 0;
	slots = update(NULL, shares, 101);
	for (uint32_t step = 0, absent = 100; step < 1000; step++) {
		bool leaves = step % 2;
		struct slots next;

		if (leaves)
			absent = random_between(0, 100);
		shares[absent] = !leaves;
		next = update(&slots, shares, 101);
		check_table(&next, shares, 101);
		assert_true(count_moves(&slots, &next) <= 6);
		slots_clear(&slots);
		slots = next;
	}
	slots_clear(&slots);
}

static void a_successor_takes_the_slots_of_its_predecessor(void **state)
{
	uint32_t before[100], after[100];
	struct slots from, to;

	(void)state;
	set_all(before, 100, 1);
	set_all(after, 100, 1);
	before[7] = after[70] = 0;
	from = update(NULL, before, 100);
	for (uint32_t i = 0; i < from.count; i++)
		from.owner[i] = from.owner[i] == 70 ? SLOT_FREE : from.owner[i];
	to = update(&from, after, 100);
	check_table(&to, after, 100);
	assert_int_equal(count_moves(&from, &to), 2); /* one element deleted, and added with another endpoint */
	assert_int_equal(to.base, from.base);	      /* the same rule: the kernel counts on */
	slots_clear(&from);
	slots_clear(&to);
}

/* Owner n comes and goes; between changes the kernel draws, each time beginning with the window's first slot. */
static void check_fairness(uint32_t n, uint32_t connections)
{
	uint32_t shares[OWNERS_MAX], got[OWNERS_MAX] = {0};
	struct slots slots;
	double due = 0;

	set_all(shares, n, 1);
	shares[n] = 0;
	slots = update(NULL, shares, n + 1);
	for (uint32_t change = 0; change < 120 * n; change++) {
		struct slots next;

		shares[n] = !shares[n];
		next = update(&slots, shares, n + 1);
		slots_clear(&slots);
		slots = next;
		for (uint32_t i = 0; i < connections; i++)
			got[drawn(&slots, i)]++;
		due += (double)connections / slots.count;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (got[i] < due * (1 - 0.5 / n) || got[i] > due * (1 + 0.5 / n))
			fail_msg("owner %u of %u has %u connections, not %.1f", i, n, got[i], due);
	}
	slots_clear(&slots);
}

static void churn_starves_nobody(void **state)
{
	(void)state;
	for (uint32_t n = 2; n <= 9; n++) {
		for (uint32_t connections = 1; connections <= 13; connections++)
			check_fairness(n, connections);
	}
}

static void the_window_begins_again_before_numbers_run_out(void **state)
{
	static const uint32_t two[] = {1, 1, 0}, three[] = {1, 1, 1};
	struct slots slots = update(NULL, two, 3), next;
	const uint32_t last = (UINT32_C(1) << 30) - 1;

	(void)state;
	slots.base = last - 1;
	next = update(&slots, three, 3);
	assert_int_equal(next.base, last);
	check_table(&next, three, 3);
	slots_clear(&slots);
	slots = update(&next, two, 3);
	assert_int_equal(slots.base, 0);
	assert_int_equal(slots.before, 0);
	check_table(&slots, two, 3);
	slots_clear(&slots);
	slots_clear(&next);
}

static void an_empty_link_leaves_nothing_behind(void **state)
{
	static const uint32_t none[] = {0, 0}, both[] = {1, 1};
	struct slots full = update(NULL, both, 2), empty = update(&full, none, 2), again = update(&empty, both, 2);

	(void)state;
	assert_int_equal(empty.count, 0);
	assert_int_equal(empty.before, 0);
	assert_int_equal(again.base, empty.base);
	check_table(&again, both, 2);
	slots_clear(&full);
	slots_clear(&empty);
	slots_clear(&again);
}

/* Far from quadratic: that would take minutes. */
static void ten_thousand_owners_are_no_trouble(void **state)
{
	enum { N = 10000 };
	uint32_t *weights = xcalloc(N, sizeof(*weights)), *shares = xcalloc(N, sizeof(*shares));
	struct slots slots = update(NULL, NULL, 0);
	clock_t begin = clock();

	(void)state;
	random_begin();
	for (uint32_t i = 0; i < N; i++)
		weights[i] = random_between(0, 65535);
	for (int round = 0; round < 10; round++) {
		struct slots next;

		weights[random_between(0, N - 1)] = random_between(0, 65535);
		slots_share(weights, N, shares);
		next = update(&slots, shares, N);
		slots_clear(&slots);
		slots = next;
	}
	assert_true(slots.count > N);
	assert_true(clock() - begin < 5 * CLOCKS_PER_SEC);
	slots_clear(&slots);
	free(weights);
	free(shares);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_are_weights_divided_by_their_divisor),
		cmocka_unit_test(too_many_slots_are_shared_out_by_largest_remainder),
		cmocka_unit_test(small_weights_are_met_exactly),
		cmocka_unit_test(large_weights_are_met_within_one_slot),
		cmocka_unit_test(every_weight_has_a_slot_and_more_weight_has_no_fewer),
		cmocka_unit_test(half_of_all_weight_is_half_of_the_slots),
		cmocka_unit_test(the_bound_grows_with_the_endpoints),
		cmocka_unit_test(counts_are_exact_after_every_transition),
		cmocka_unit_test(a_long_walk_keeps_counts_exact),
		cmocka_unit_test(large_shares_are_interleaved),
		cmocka_unit_test(nobody_waits_long_for_its_turn),
		cmocka_unit_test(one_of_many_equals_moves_a_few_slots),
		cmocka_unit_test(a_successor_takes_the_slots_of_its_predecessor),
		cmocka_unit_test(churn_starves_nobody),
		cmocka_unit_test(the_window_begins_again_before_numbers_run_out),
		cmocka_unit_test(an_empty_link_leaves_nothing_behind),
		cmocka_unit_test(ten_thousand_owners_are_no_trouble),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
