/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From attempts to verdicts. */
#include "unit.h"

#include "base/mem.h"
#include "health/judge.h"
#include "health/remembered.h"

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

static struct ip_port at(const char *text)
{
	struct ip_port parsed;

	assert_int_equal(ip_port_parse(text, &parsed), 0);
	return parsed;
}

static char *print(const struct remembered *remembered, size_t *ret_length)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_length);

	remembered_write(remembered, out);
	fclose(out);
	return text;
}

static void what_was_down_is_remembered(void **state)
{
	static const char *const addresses[] = {"10.0.0.2:80", "[fd00::1]:80", "10.0.0.1:81", "10.0.0.1:80"};
	const struct ip_port stranger = at("10.0.0.3:80"), one = at("10.0.0.1:80");
	struct remembered written = {.written = 1790000000123}, read;
	const struct remembered_target *found;
	size_t length;
	char *text;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		remembered_add(&written, &(struct remembered_target){
						 .netns = i % 2 ? "app" : "",
						 .at = at(addresses[i]),
						 .probe = "http:/\"x\"",
						 .reason = "HTTP 503",
						 .since = 1790000000000 + (int64_t)i,
						 .last_good = (int64_t)i,
					 });
	}
	text = print(&written, &length);
	assert_int_equal(remembered_parse(text, length, "x", &read, NULL), 0);
	assert_int_equal(read.count, 4);
	assert_int_equal(read.written, 1790000000123);
	found = remembered_find(&read, "app", &one, "http:/\"x\"");
	assert_non_null(found);
	assert_string_equal(found->reason, "HTTP 503");
	assert_int_equal(found->since, 1790000000003);
	assert_int_equal(found->last_good, 3);
	/* In another namespace, in another way, and another one. */
	assert_null(remembered_find(&read, "", &one, "http:/\"x\""));
	assert_null(remembered_find(&read, "app", &one, "tcp"));
	assert_null(remembered_find(&read, "app", &stranger, "http:/\"x\""));
	free(text);
	remembered_clear(&written);
	remembered_clear(&read);
	assert_null(remembered_find(&read, "app", &one, "tcp"));
}

static void what_is_not_ours_is_not_read(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"{}",
		"{\"version\":2,\"written\":1,\"down\":[]}",
		"{\"version\":1,\"written\":-1,\"down\":[]}",
		"{\"version\":1,\"written\":1,\"down\":{}}",
		"{\"version\":1,\"written\":1,\"down\":[1]}",
		"{\"version\":1,\"written\":1,\"down\":[{\"netns\":\"\",\"address\":\"x\",\"probe\":\"tcp\"}]}",
	};
	struct remembered read;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(remembered_parse(texts[i], strlen(texts[i]), "file", &read, &err), -EINVAL);
		assert_string_equal(err.text, "file: it is not as nuncio writes it");
		assert_int_equal(read.count, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts_rise_and_fall),
		cmocka_unit_test(a_judge_begins_in_doubt),
		cmocka_unit_test(what_was_down_is_remembered),
		cmocka_unit_test(what_is_not_ours_is_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
