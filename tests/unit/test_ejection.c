/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ejection in virtual time: a story is told step by step, and after each it is said who is out. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "health/ejection.h"
#include "plans.h"

#define CANDIDATES 4

/* A link with endpoints 10.0.0.1 to 10.0.0.9, and its time in seconds. */
struct story {
	struct link_eject conf;
	struct ejections ejections;
	uint32_t candidates;
	double now;
	uint32_t came_back;
};

static struct story begin(void)
{
	return (struct story){
		.conf = {.failures = 3, .within_ms = 10000, .for_ms = 10000, .max_percent = 50},
		.candidates = CANDIDATES,
	};
}

static struct ip_port number(unsigned int n)
{
	char text[IP_PORT_TEXT];

	snprintf(text, sizeof(text), "10.0.0.%u:80", n);
	return at(text);
}

static uint64_t now_ms(const struct story *story)
{
	return (uint64_t)(story->now * 1000);
}

/* Fails so often now; returns whether that ejects it. */
static bool fails(struct story *story, unsigned int n, unsigned int times, enum failure failure)
{
	const struct ip_port endpoint = number(n);

	return ejections_note(&story->ejections, &story->conf, &endpoint, failure, times, story->candidates,
			      now_ms(story)) != NULL;
}

static void count_back(void *context, const struct ejection *ejection)
{
	struct story *story = context;

	assert_int_equal(ejection->state, EJECTION_PROBATION);
	story->came_back++;
}

/* Moves the time on, and returns when there is more to do; -1: not by itself. */
static double goes_on(struct story *story, double now)
{
	uint64_t due;

	story->now = now;
	due = ejections_tend(&story->ejections, now_ms(story), count_back, story);
	return due == UINT64_MAX ? -1 : (double)due / 1000;
}

static void check_out(const struct story *story, const char *expected)
{
	char out[10] = "";
	size_t used = 0;

	for (unsigned int n = 1; n <= 9; n++) {
		const struct ip_port endpoint = number(n);

		if (ejections_hold(&story->ejections, &story->conf, &endpoint, story->candidates))
			out[used++] = (char)('0' + n);
	}
	assert_string_equal(out, expected);
}

static void check_cause(const struct story *story, unsigned int n, const char *expected)
{
	const struct ip_port endpoint = number(n);
	char text[EJECTION_CAUSE];

	assert_string_equal(ejection_cause(ejections_find(&story->ejections, &endpoint), &story->conf, text), expected);
}

static void enough_failures_in_time_eject(void **state)
{
	struct story story = begin();

	(void)state;
	assert_false(fails(&story, 1, 2, FAILURE_REFUSED));
	check_out(&story, "");
	assert_false(fails(&story, 2, 2, FAILURE_REFUSED));
	goes_on(&story, 10);
	assert_true(fails(&story, 1, 1, FAILURE_REFUSED));
	check_out(&story, "1");
	check_cause(&story, 1, "3 connections refused within 10 s");
	/* Those of the other one are too old by now. */
	goes_on(&story, 10.001);
	assert_false(fails(&story, 2, 2, FAILURE_UNANSWERED));
	assert_true(fails(&story, 2, 1, FAILURE_REFUSED));
	check_cause(&story, 2, "3 connections refused or not answered within 10 s");
	ejections_clear(&story.ejections);
}

static void slow_failures_do_not(void **state)
{
	struct story story = begin();

	(void)state;
	for (int i = 0; i < 1000; i++) {
		goes_on(&story, i * 5.001);
		assert_false(fails(&story, 1, 1, FAILURE_UNANSWERED));
	}
	check_out(&story, "");
	ejections_clear(&story.ejections);
}

static void it_comes_back_on_probation(void **state)
{
	struct story story = begin();

	(void)state;
	fails(&story, 1, 3, FAILURE_UNANSWERED);
	check_cause(&story, 1, "3 connections not answered within 10 s");
	/* What was on its way when it was ejected does not count. */
	goes_on(&story, 9.999);
	assert_false(fails(&story, 1, 5, FAILURE_UNANSWERED));
	check_out(&story, "1");
	assert_true(goes_on(&story, 10) == 20);
	assert_int_equal(story.came_back, 1);
	check_out(&story, "");
	goes_on(&story, 19.999);
	assert_true(fails(&story, 1, 1, FAILURE_REFUSED));
	check_cause(&story, 1, "a connection was refused soon after it was back");
	/* Twice as long. */
	assert_true(goes_on(&story, 39) == 39.999);
	check_out(&story, "1");
	assert_true(goes_on(&story, 40) == 59.999);
	check_out(&story, "");
	ejections_clear(&story.ejections);
}

static void good_behaviour_makes_a_new_beginning(void **state)
{
	struct story story = begin();

	(void)state;
	fails(&story, 1, 3, FAILURE_REFUSED);
	goes_on(&story, 10);
	fails(&story, 1, 1, FAILURE_REFUSED);
	goes_on(&story, 30);
	assert_true(goes_on(&story, 50) == -1);
	assert_false(fails(&story, 1, 2, FAILURE_REFUSED));
	assert_true(fails(&story, 1, 1, FAILURE_REFUSED));
	assert_true(goes_on(&story, 50) == 60);
	assert_int_equal(story.ejections.items[0].times, 1);
	assert_int_equal(story.ejections.items[0].ejections, 3);
	assert_int_equal(story.ejections.items[0].failures, 7);
	ejections_clear(&story.ejections);
}

/* 10, 20, 40 ... 160 s, and then 160 s again and again. */
static void ejections_do_not_grow_for_ever(void **state)
{
	static const double lengths[] = {10, 20, 40, 80, 160, 160, 160};
	struct story story = begin();

	(void)state;
	fails(&story, 1, 2, FAILURE_REFUSED);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		assert_true(fails(&story, 1, 1, FAILURE_REFUSED));
		assert_true(goes_on(&story, story.now) == story.now + lengths[i]);
		goes_on(&story, story.now + lengths[i]);
		check_out(&story, "");
	}
	ejections_clear(&story.ejections);
}

static void some_always_stay(void **state)
{
	static const struct {
		uint32_t candidates;
		uint8_t percent;
		uint32_t allowed;
	} cases[] = {
		{0, 50, 0}, {1, 50, 0},	 {1, 100, 0}, {2, 50, 1},   {2, 100, 1}, {3, 50, 1},
		{4, 50, 2}, {10, 10, 1}, {10, 9, 1},  {10, 100, 9}, {5, 99, 4},	 {UINT32_MAX, 100, UINT32_MAX - 1},
	};
	struct link_eject conf = {.failures = 1};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		conf.max_percent = cases[i].percent;
		assert_int_equal(ejections_allowed(&conf, cases[i].candidates), cases[i].allowed);
	}
	conf.failures = 0;
	assert_int_equal(ejections_allowed(&conf, 4), 0);
}

/* All refuse: half of them is out, in turns, and when they are well again, all come back by themselves. */
static void all_failing_leaves_half_of_them(void **state)
{
	struct story story = begin();

	(void)state;
	assert_true(fails(&story, 1, 3, FAILURE_REFUSED));
	assert_true(fails(&story, 2, 9, FAILURE_REFUSED));
	assert_false(fails(&story, 3, 9, FAILURE_REFUSED));
	assert_false(fails(&story, 4, 9, FAILURE_REFUSED));
	check_out(&story, "12");
	goes_on(&story, 9);
	check_out(&story, "12");
	/* The first two have a place to lose: whoever fails now is out. */
	goes_on(&story, 10);
	check_out(&story, "");
	assert_true(fails(&story, 3, 1, FAILURE_REFUSED));
	assert_true(fails(&story, 1, 1, FAILURE_REFUSED));
	check_out(&story, "13");
	/* No place, but no good behaviour either: its probation is longer. */
	goes_on(&story, 12);
	assert_false(fails(&story, 2, 1, FAILURE_REFUSED));
	assert_true(goes_on(&story, 20) == 22);
	assert_true(goes_on(&story, 22) == 30);
	check_out(&story, "1");
	assert_true(goes_on(&story, 30) == 50);
	check_out(&story, "");
	assert_true(goes_on(&story, 50) == -1);
	ejections_clear(&story.ejections);
}

static void where_candidates_go_the_last_ejected_serve(void **state)
{
	struct story story = begin();

	(void)state;
	fails(&story, 2, 3, FAILURE_REFUSED);
	goes_on(&story, 1);
	fails(&story, 1, 3, FAILURE_REFUSED);
	check_out(&story, "12");
	story.candidates = 3;
	check_out(&story, "2");
	story.candidates = 1;
	check_out(&story, "");
	story.candidates = 4;
	check_out(&story, "12");
	ejections_clear(&story.ejections);
}

static void who_is_gone_is_forgotten(void **state)
{
	const struct endpoints *left = endpoints_of("a=10.0.0.1:80 c=10.0.0.3:80");
	struct story story = begin();
	const struct ip_port gone = number(2);

	(void)state;
	fails(&story, 1, 1, FAILURE_REFUSED);
	fails(&story, 2, 3, FAILURE_REFUSED);
	fails(&story, 3, 3, FAILURE_REFUSED);
	check_out(&story, "23");
	ejections_keep(&story.ejections, left);
	check_out(&story, "3");
	assert_null(ejections_find(&story.ejections, &gone));
	assert_int_equal(story.ejections.count, 2);
	/* What the first one was on its way to is not. */
	assert_true(fails(&story, 1, 2, FAILURE_REFUSED));
	endpoints_unref(left);
	ejections_clear(&story.ejections);
}

/* The ring goes round, and as many as it holds can be asked for. */
static void as_many_failures_as_can_be_asked_for(void **state)
{
	struct story story = begin();

	(void)state;
	story.conf.failures = EJECT_FAILURES_MAX;
	assert_false(fails(&story, 1, EJECT_FAILURES_MAX - 1, FAILURE_REFUSED));
	goes_on(&story, 10.001);
	assert_false(fails(&story, 1, EJECT_FAILURES_MAX - 1, FAILURE_UNANSWERED));
	assert_true(fails(&story, 1, 1, FAILURE_UNANSWERED));
	check_cause(&story, 1, "32 connections not answered within 10 s");
	assert_true(fails(&story, 2, 1000000, FAILURE_REFUSED));
	check_cause(&story, 2, "32 connections refused within 10 s");
	assert_int_equal(story.ejections.items[1].failures, 1000000);
	ejections_clear(&story.ejections);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(enough_failures_in_time_eject),
		cmocka_unit_test(slow_failures_do_not),
		cmocka_unit_test(it_comes_back_on_probation),
		cmocka_unit_test(good_behaviour_makes_a_new_beginning),
		cmocka_unit_test(ejections_do_not_grow_for_ever),
		cmocka_unit_test(some_always_stay),
		cmocka_unit_test(all_failing_leaves_half_of_them),
		cmocka_unit_test(where_candidates_go_the_last_ejected_serve),
		cmocka_unit_test(who_is_gone_is_forgotten),
		cmocka_unit_test(as_many_failures_as_can_be_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
