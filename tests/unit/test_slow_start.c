/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The share of an endpoint that came of late, in time that is only a number. */
#include "unit.h"

#include "balance/plan.h"
#include "balance/slow-start.h"

static void it_grows_to_the_whole_weight(void **state)
{
	uint16_t before = 0;

	(void)state;
	assert_in_range(slow_start_share(0, 30000), 1, SHARE_FULL / 10);
	for (uint64_t age = 0; age < 30000; age++) {
		uint16_t share = slow_start_share(age, 30000);

		assert_true(share >= before && share < SHARE_FULL);
		before = share;
	}
	assert_in_range(slow_start_share(15000, 30000), SHARE_FULL * 45 / 100, SHARE_FULL * 55 / 100);
	assert_int_equal(slow_start_share(30000, 30000), SHARE_FULL);
	assert_int_equal(slow_start_share(UINT64_MAX, 30000), SHARE_FULL);
}

static void check_steps(uint32_t slow_start_ms, uint32_t most)
{
	uint64_t age = 0, next;
	uint32_t steps = 0;

	while ((next = slow_start_next_ms(age, slow_start_ms)) != 0) {
		uint16_t share = slow_start_share(age, slow_start_ms);

		assert_int_equal(slow_start_share(age + next - 1, slow_start_ms), share);
		age += next;
		assert_true(slow_start_share(age, slow_start_ms) > share);
		steps++;
	}
	assert_int_equal(age, slow_start_ms);
	assert_in_range(steps, 1, most);
}

static void it_has_few_steps_and_they_are_known_beforehand(void **state)
{
	(void)state;
	check_steps(30000, SLOW_START_STEPS);
	check_steps(UINT32_MAX, SLOW_START_STEPS);
	check_steps(1001, SLOW_START_STEPS);
	check_steps(7, 7);
	check_steps(1, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_grows_to_the_whole_weight),
		cmocka_unit_test(it_has_few_steps_and_they_are_known_beforehand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
