/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mass loss: what is one, who stays, and for how long. */
#include "unit.h"

#include "balance/loss.h"
#include "base/mem.h"
#include "plans.h"

#define TEN \
	"a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80 d=10.0.0.4:80 e=10.0.0.5:80" \
	" f=10.0.0.6:80 g=10.0.0.7:80 h=10.0.0.8:80 i=10.0.0.9:80 j=10.0.0.10:80"

/* A link in virtual time. */
struct story {
	struct link_conf conf;
	struct loss loss;
	const struct endpoints *current;
	const struct endpoints *weighed; /* by hand, or NULL */
	uint64_t now_ms;
};

static struct story begin(const char *listen, const char *endpoints)
{
	struct story story = {.conf = conf_of(listen, "web"), .current = endpoints_of(endpoints), .now_ms = 1};

	story.conf.min_healthy = 50;
	story.conf.loss_hold_ms = 30000;
	return story;
}

/* The first letters of the link's ids after an answer; whoever is held is counted behind them. */
static void answer(struct story *story, const char *endpoints, const char *expected)
{
	const struct endpoints *said = endpoints_of(endpoints), *next = NULL;
	char got[64] = "";

	for (int again = 0; again < 2; again++) { /* a second time before the kernel has it is the same */
		endpoints_unref(next);
		next = loss_apply(&story->loss, &story->conf, story->current,
				  story->weighed ? story->weighed : story->current, said, story->now_ms);
	}
	for (uint32_t i = 0; i < next->count; i++)
		got[i] = next->items[i].id[0];
	if (story->loss.held)
		snprintf(got + next->count, sizeof(got) - next->count, "+%u", story->loss.held);
	assert_string_equal(got, expected);
	loss_settle(&story->loss);
	endpoints_unref(said);
	endpoints_unref(story->current);
	endpoints_unref(story->weighed);
	story->current = next;
	story->weighed = NULL;
}

static void end(struct story *story)
{
	endpoints_unref(story->current);
}

static void check(const char *listen, const char *before, const char *after, const char *expected)
{
	struct story story = begin(listen, before);

	answer(&story, after, expected);
	end(&story);
}

static void less_than_half_left_is_a_mass_loss(void **state)
{
	(void)state;
	check("9000", "a=10.0.0.1:80 b=10.0.0.2:80", "a=10.0.0.1:80", "a");
	check("9000", "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80", "a=10.0.0.1:80 b=10.0.0.2:80", "ab");
	check("9000", "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80", "a=10.0.0.1:80", "abc+2");
	check("9000", TEN, "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80 d=10.0.0.4:80 e=10.0.0.5:80", "abcde");
	check("9000", TEN, "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80 d=10.0.0.4:80", "abcdefghij+6");
	check("9000", "", "a=10.0.0.1:80", "a");
	check("9000", "a=10.0.0.1:80", "a=10.0.0.1:80 b=10.0.0.2:80", "ab");
}

static void what_the_answer_adds_and_changes_is_done_at_once(void **state)
{
	struct story story = begin("9000", TEN);

	(void)state;
	answer(&story, "a=10.0.0.1:80*7 b=10.0.1.2:80 k=10.0.0.11:80", "abcdefghijk+8");
	assert_int_equal(endpoints_find_id(story.current, "a")->weight, 7);
	assert_int_equal(endpoints_find_id(story.current, "b")->at.addr.bytes[2], 1);
	end(&story);
}

static void new_endpoints_make_up_for_lost_ones(void **state)
{
	struct story story = begin("9000", "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80");

	(void)state;
	check("9000", "a=10.0.0.1:80", "b=10.0.0.2:80", "b");
	check("9000", "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80", "d=10.0.0.4:80 e=10.0.0.5:80", "de");
	check("9000", "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80", "d=10.0.0.4:80", "abcd+3");
	answer(&story, "b=10.0.0.2:80 c=10.0.0.3:80 d=10.0.0.4:80", "bcd");
	answer(&story, "c=10.0.0.3:80 d=10.0.0.4:80 e=10.0.0.5:80", "cde");
	answer(&story, "d=10.0.0.4:80 e=10.0.0.5:80 f=10.0.0.6:80", "def");
	answer(&story, "e=10.0.0.5:80 f=10.0.0.6:80", "ef"); /* the first one that is not made up for */
	answer(&story, "f=10.0.0.6:80", "ef+1");
	end(&story);
}

/* One that has another name at its place, or its name at another place, is not lost. */
static void a_renamed_or_moved_endpoint_is_there(void **state)
{
	(void)state;
	check("9000", "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80", "x=10.0.0.1:80 y=10.0.0.2:80 z=10.0.0.3:80", "xyz");
	check("9000", "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80", "a=10.0.1.1:80", "abc+2");
	check("9000", "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80", "x=10.0.0.1:80", "bcx+2");
}

static void a_weight_of_zero_is_no_loss(void **state)
{
	(void)state;
	check("9000", "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80", "a=10.0.0.1:80 b=10.0.0.2:80*0 c=10.0.0.3:80*0",
	      "abc");
	check("9000", "a=10.0.0.1:80 b=10.0.0.2:80*0 c=10.0.0.3:80*0", "a=10.0.0.1:80", "a");
	check("9000", "a=10.0.0.1:80*0 b=10.0.0.2:80*0 c=10.0.0.3:80*0", "a=10.0.0.1:80*0", "a");
	/* but with others it stays, too: the same trouble took it away */
	check("9000", "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80 d=10.0.0.4:80*0", "a=10.0.0.1:80", "abcd+3");
}

/* What an operator drained by hand, and then took out of the registry, is as good as gone before. */
static void a_weight_of_zero_by_hand_is_no_loss(void **state)
{
	static const char four[] = "a=10.0.0.1:80*5 b=10.0.0.2:80*5 c=10.0.0.3:80*5 d=10.0.0.4:80*5";
	struct story drained = begin("9000", four), others = begin("9000", four);

	(void)state;
	drained.weighed = endpoints_of("a=10.0.0.1:80*5 b=10.0.0.2:80*0 c=10.0.0.3:80*0 d=10.0.0.4:80*0");
	answer(&drained, "a=10.0.0.1:80", "a");
	others.weighed = endpoints_of("a=10.0.0.1:80*0 b=10.0.0.2:80*5 c=10.0.0.3:80*5 d=10.0.0.4:80*5");
	answer(&others, "a=10.0.0.1:80", "abcd+3");
	assert_int_equal(endpoints_find_id(others.current, "b")->weight, 5);
	end(&drained);
	end(&others);
}

/* And one that an operator put into service against the registry's 0 is a loss, and is kept as the registry had it. */
static void a_weight_by_hand_counts_where_it_is_lost(void **state)
{
	struct story story = begin("9000", "a=10.0.0.1:80 b=10.0.0.2:80*0 c=10.0.0.3:80*0");

	(void)state;
	story.weighed = endpoints_of("a=10.0.0.1:80 b=10.0.0.2:80*1 c=10.0.0.3:80*1");
	answer(&story, "a=10.0.0.1:80", "abc+2");
	assert_int_equal(endpoints_find_id(story.current, "b")->weight, 0);
	end(&story);
}

/* Those of the other family are nothing to the link; those of a worse priority are. */
static void only_what_the_link_can_use_counts(void **state)
{
	static const char both[] = "a=10.0.0.1:80 b=10.0.0.2:80 c=[fd00::1]:80 d=[fd00::2]:80 e=[fd00::3]:80";

	(void)state;
	check("9000", both, "a=10.0.0.1:80 b=10.0.0.2:80", "ab");
	check("[fd00:aa::1]:80", both, "a=10.0.0.1:80 b=10.0.0.2:80", "abcde+3");
	check("9000", "a=10.0.0.1:80 b=10.0.0.2:80!1 c=10.0.0.3:80!1", "b=10.0.0.2:80!1 c=10.0.0.3:80!1", "bc");
	check("9000", "a=10.0.0.1:80 b=10.0.0.2:80!1 c=10.0.0.3:80!1", "c=10.0.0.3:80!1", "abc+2");
}

static void a_loss_is_held_for_its_time(void **state)
{
	struct story story = begin("9000", "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80");

	(void)state;
	answer(&story, "a=10.0.0.1:80", "abc+2");
	assert_int_equal(loss_left_ms(&story.loss, &story.conf, story.now_ms), 30000);
	story.now_ms += 29999;
	answer(&story, "a=10.0.0.1:80", "abc+2");
	assert_int_equal(loss_left_ms(&story.loss, &story.conf, story.now_ms), 1);
	story.now_ms++;
	answer(&story, "a=10.0.0.1:80", "a");
	assert_int_equal(loss_left_ms(&story.loss, &story.conf, story.now_ms), 0);
	/* All of it is forgotten. */
	answer(&story, "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80", "abc");
	answer(&story, "b=10.0.0.2:80", "abc+2");
	assert_int_equal(loss_left_ms(&story.loss, &story.conf, story.now_ms), 30000);
	end(&story);
}

static void a_loss_ends_when_enough_are_back(void **state)
{
	struct story story = begin("9000", TEN);

	(void)state;
	answer(&story, "a=10.0.0.1:80", "abcdefghij+9");
	story.now_ms += 1000;
	answer(&story, "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80 d=10.0.0.4:80", "abcdefghij+6");
	assert_int_equal(loss_left_ms(&story.loss, &story.conf, story.now_ms), 29000); /* of the first such answer */
	answer(&story, "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80 d=10.0.0.4:80 e=10.0.0.5:80", "abcde");
	assert_int_equal(loss_left_ms(&story.loss, &story.conf, story.now_ms), 0);
	end(&story);
}

/* The reference is what there was before the first of them. */
static void losses_one_by_one_add_up(void **state)
{
	struct story story = begin("9000", "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80 d=10.0.0.4:80 e=10.0.0.5:80");

	(void)state;
	answer(&story, "b=10.0.0.2:80 c=10.0.0.3:80 d=10.0.0.4:80 e=10.0.0.5:80", "bcde");
	story.now_ms += 10000;
	answer(&story, "c=10.0.0.3:80 d=10.0.0.4:80 e=10.0.0.5:80", "cde");
	story.now_ms += 10000;
	answer(&story, "d=10.0.0.4:80 e=10.0.0.5:80", "cde+1"); /* two of five; those that went before do not return */
	answer(&story, "e=10.0.0.5:80", "cde+2");
	story.now_ms += 30000;
	answer(&story, "e=10.0.0.5:80", "e");
	end(&story);
}

static void losses_far_apart_do_not_add_up(void **state)
{
	struct story story = begin("9000", "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80");

	(void)state;
	answer(&story, "b=10.0.0.2:80 c=10.0.0.3:80", "bc");
	story.now_ms += 30000;
	answer(&story, "c=10.0.0.3:80", "c");
	end(&story);
}

static void a_link_that_grew_meanwhile_counts_anew(void **state)
{
	struct story story = begin("9000", "a=10.0.0.1:80 b=10.0.0.2:80");

	(void)state;
	answer(&story, "a=10.0.0.1:80", "a");
	answer(&story, TEN, "abcdefghij");
	answer(&story, "a=10.0.0.1:80 b=10.0.0.2:80", "abcdefghij+8");
	end(&story);
}

static void it_can_be_switched_off(void **state)
{
	struct story story = begin("9000", TEN);

	(void)state;
	story.conf.min_healthy = 0;
	answer(&story, "a=10.0.0.1:80", "a");
	end(&story);
	story = begin("9000", TEN);
	story.conf.loss_hold_ms = 0;
	answer(&story, "a=10.0.0.1:80", "a");
	end(&story);
	story = begin("9000", TEN);
	answer(&story, "a=10.0.0.1:80", "abcdefghij+9");
	story.conf.loss_hold_ms = 0; /* at a reload */
	answer(&story, "a=10.0.0.1:80", "a");
	end(&story);
	story = begin("9000", "a=10.0.0.1:80 b=10.0.0.2:80");
	story.conf.min_healthy = 100; /* whatever goes */
	answer(&story, "a=10.0.0.1:80", "ab+1");
	end(&story);
}

/* Where nothing is different, it is the very same snapshot. */
static void nothing_new_is_nothing_to_do(void **state)
{
	struct story story = begin("9000", "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80");
	const struct endpoints *before = story.current;

	(void)state;
	endpoints_ref(before);
	answer(&story, "a=10.0.0.1:80", "abc+2");
	assert_ptr_equal(story.current, before);
	endpoints_unref(before);
	end(&story);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(less_than_half_left_is_a_mass_loss),
		cmocka_unit_test(what_the_answer_adds_and_changes_is_done_at_once),
		cmocka_unit_test(new_endpoints_make_up_for_lost_ones),
		cmocka_unit_test(a_renamed_or_moved_endpoint_is_there),
		cmocka_unit_test(a_weight_of_zero_is_no_loss),
		cmocka_unit_test(a_weight_of_zero_by_hand_is_no_loss),
		cmocka_unit_test(a_weight_by_hand_counts_where_it_is_lost),
		cmocka_unit_test(only_what_the_link_can_use_counts),
		cmocka_unit_test(a_loss_is_held_for_its_time),
		cmocka_unit_test(a_loss_ends_when_enough_are_back),
		cmocka_unit_test(losses_one_by_one_add_up),
		cmocka_unit_test(losses_far_apart_do_not_add_up),
		cmocka_unit_test(a_link_that_grew_meanwhile_counts_anew),
		cmocka_unit_test(it_can_be_switched_off),
		cmocka_unit_test(nothing_new_is_nothing_to_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
