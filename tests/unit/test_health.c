/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From attempts to verdicts. */
#include "unit.h"

#include "base/mem.h"
#include "health/judge.h"

/* Attempts in order, '+' and '-'; behind each, the verdict then: 'u' unknown, '+' or '-'. */
static void check_verdicts(uint32_t rise, uint32_t fall, const char *attempts, const char *verdicts)
{
	static const char signs[] = {[VERDICT_UNKNOWN] = 'u', [VERDICT_UP] = '+', [VERDICT_DOWN] = '-'};
	struct judge judge = {.verdict = VERDICT_UNKNOWN};

	assert_int_equal(strlen(attempts), strlen(verdicts));
	for (size_t i = 0; attempts[i]; i++) {
		enum verdict before = judge.verdict;
		bool changed = judge_note(&judge, attempts[i] == '+', rise, fall);

		assert_int_equal(signs[judge.verdict], verdicts[i]);
		assert_int_equal(changed, before != judge.verdict);
		assert_int_equal(judge_doubts(&judge), judge.verdict == VERDICT_UNKNOWN || attempts[i] != verdicts[i]);
	}
}

static void verdicts_rise_and_fall(void **state)
{
	(void)state;
	check_verdicts(2, 3, "--+--+---+-++--+---", "uu++++++----++++++-");
	check_verdicts(2, 3, "---+-++", "uu----+");
	check_verdicts(1, 1, "+-+-", "+-+-");
	check_verdicts(1, 1, "-+", "-+");
	check_verdicts(3, 2, "--++-+++", "u------+");
	/* What is unknown comes up with the first good one. */
	check_verdicts(3, 3, "+", "+");
	check_verdicts(3, 3, "--+", "uu+");
	/* It may never have been there: then it is unknown for as long as it fails. */
	check_verdicts(2, UINT32_MAX, "-------+", "uuuuuuu+");
}

static void a_judge_begins_in_doubt(void **state)
{
	const struct judge judge = {.verdict = VERDICT_UNKNOWN}, remembered = {.verdict = VERDICT_DOWN};

	(void)state;
	assert_true(judge_doubts(&judge));
	assert_false(judge_doubts(&remembered));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts_rise_and_fall),
		cmocka_unit_test(a_judge_begins_in_doubt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
