/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plans of links: who serves and why not, and which slots stay when a service changes. */
#include "unit.h"

#include "balance/plan.h"
#include "base/mem.h"
#include "plans.h"

/*
 * Standing, a letter for each endpoint in the order of ids. `verdicts`, if not NULL, has one for each: '+' up, '-'
 * down, 'x' ejected, '?' unknown, '.' none.
 */
static void check_appraised(struct link_conf conf, const char *endpoints, const char *verdicts, const char *expected)
{
	static const char letters[] = {
		[STANDING_SERVING] = 'S',      [STANDING_DRAINING] = 'D',    [STANDING_STANDBY] = 'B',
		[STANDING_WRONG_FAMILY] = 'F', [STANDING_OWN_ADDRESS] = 'O', [STANDING_DOWN] = '-',
		[STANDING_EJECTED] = 'x',
	};
	static const char signs[] = {
		[VERDICT_NONE] = '.', [VERDICT_UNKNOWN] = '?', [VERDICT_UP] = '+',
		[VERDICT_DOWN] = '-', [VERDICT_EJECTED] = 'x',
	};
	const struct endpoints *snapshot = endpoints_of(endpoints);
	struct appraisal appraisals[8];
	enum standing standing[8];
	uint32_t serving, expected_serving = 0;
	char text[9] = "";

	for (uint32_t i = 0; verdicts && i < snapshot->count; i++) {
		const char *sign = memchr(signs, verdicts[i], sizeof(signs));

		assert_non_null(sign);
		appraisals[i] = (struct appraisal){.verdict = (enum verdict)(sign - signs), .share = SHARE_FULL};
	}
	serving = plan_standing(snapshot, verdicts ? appraisals : NULL, &conf, standing);
	for (uint32_t i = 0; i < snapshot->count; i++) {
		text[i] = letters[standing[i]];
		expected_serving += standing[i] == STANDING_SERVING;
	}
	assert_string_equal(text, expected);
	assert_int_equal(serving, expected_serving);
	endpoints_unref(snapshot);
}

static void check_standing(const char *listen, const char *endpoints, const char *expected)
{
	check_appraised(conf_of(listen, "web"), endpoints, NULL, expected);
}

static void every_endpoint_has_a_standing(void **state)
{
	(void)state;
	check_standing("9000", "", "");
	check_standing("9000", "a=10.0.0.1:80 b=10.0.0.2:80*7", "SS");
	check_standing("9000", "a=10.0.0.1:80 b=10.0.0.2:80*0", "SD");
	check_standing("9000", "a=10.0.0.1:80 b=[fd00::1]:80", "SF");
	check_standing("[fd00:aa::1]:80", "a=10.0.0.1:80 b=[fd00::1]:80", "FS");
	check_standing("9000", "a=127.0.0.1:9000 b=127.0.0.1:9001 c=127.0.0.2:9000", "OSS");
}

static void the_lowest_priority_that_can_serve_does(void **state)
{
	(void)state;
	check_standing("9000", "a=10.0.0.1:80!1 b=10.0.0.2:80!0 c=10.0.0.3:80!1", "BSB");
	check_standing("9000", "a=10.0.0.1:80!2 b=10.0.0.2:80!1 c=10.0.0.3:80!1", "BSS");
	check_standing("9000", "a=10.0.0.1:80!1 b=10.0.0.2:80*0!0", "SD");
	check_standing("9000", "a=10.0.0.1:80!1 b=[fd00::1]:80!0", "SF");
	check_standing("9000", "a=10.0.0.1:80!1 b=127.0.0.1:9000!0", "SO");
	check_standing("9000", "a=10.0.0.1:80*0!1 b=[fd00::1]:80", "DF");
}

static void who_is_not_well_does_not_serve(void **state)
{
	static const char three[] = "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80";
	struct link_conf conf = conf_of("9000", "web");

	(void)state;
	check_appraised(conf, three, "+?.", "SSS");
	check_appraised(conf, three, "+-+", "S-S");
	check_appraised(conf, three, "x?-", "xS-");
	check_appraised(conf, "", "", "");
	/* One that nobody has use for stays what it is, whatever its verdict. */
	check_appraised(conf, "a=10.0.0.1:80*0 b=[fd00::1]:80 c=10.0.0.3:80", "--+", "DFS");
}

static void the_next_priority_serves_where_the_best_is_down(void **state)
{
	static const char tiers[] = "a=10.0.0.1:80!0 b=10.0.0.2:80!0 c=10.0.0.3:80!1";
	struct link_conf conf = conf_of("9000", "web");

	(void)state;
	check_appraised(conf, tiers, "+++", "SSB");
	check_appraised(conf, tiers, "-++", "-SB");
	check_appraised(conf, tiers, "-x+", "-xS");
	check_appraised(conf, tiers, "--?", "--S");
}

static void where_nobody_is_well_the_link_decides(void **state)
{
	static const char three[] = "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80";
	struct link_conf serve = conf_of("9000", "web"), empty = serve;

	(void)state;
	empty.on_all_down = ON_ALL_DOWN_EMPTY;
	check_appraised(serve, three, "---", "SSS");
	check_appraised(serve, three, "x-x", "SSS");
	check_appraised(empty, three, "-x-", "-x-");
	check_appraised(empty, three, "-?-", "-S-");
	/* Those that could not serve anyway neither keep the others from it, nor begin to. */
	check_appraised(serve, "a=10.0.0.1:80*0 b=10.0.0.2:80 c=[fd00::1]:80", "+-+", "DSF");
	check_appraised(empty, "a=10.0.0.1:80*0 b=10.0.0.2:80 c=[fd00::1]:80", "+-+", "D-F");
	/* All serve: the best priority of them. */
	check_appraised(serve, "a=10.0.0.1:80!1 b=10.0.0.2:80!0", "--", "BS");
}

/* The window as a word: the first letter of each slot's owner's id. */
static const char *window(const struct link_plan *plan, char buffer[33])
{
	const struct slots *slots = &plan->slots;

	memset(buffer, 0, 33);
	assert_true(slots->count < 33);
	for (uint32_t i = 0; i < slots->count; i++)
		buffer[i] = plan->endpoints->items[slots->owner[slots->before + i]].id[0];
	return buffer;
}

static void check_window(const struct link_plan *plan, const char *expected)
{
	char buffer[33];

	assert_string_equal(window(plan, buffer), expected);
}

static void a_plan_takes_over_what_is_configured(void **state)
{
	struct link_conf conf = conf_of("10.96.0.10:53/udp", "dns");
	const struct endpoints *snapshot = endpoints_of("a=10.0.0.1:53*2 b=10.0.0.2:53 c=10.0.0.3:53*0");
	struct link_plan plan;

	(void)state;
	conf.balance = BALANCE_RANDOM;
	conf.masquerade = MASQUERADE_NEVER;
	plan_next(NULL, &conf, snapshot, NULL, 3, false, &plan);
	assert_string_equal(plan.name, "dns");
	assert_true(listen_equal(&plan.listen, &conf.listen));
	assert_int_equal(plan.balance, BALANCE_RANDOM);
	assert_int_equal(plan.masquerade, MASQUERADE_NEVER);
	assert_int_equal(plan.shard, 3);
	assert_ptr_equal(plan.endpoints, snapshot);
	endpoints_unref(snapshot); /* the plan has its own reference */
	check_window(&plan, "aab");
	plan_clear(&plan);
	assert_null(plan.name);
	plan_clear(&plan);
}

/* Only TCP sends its first packet again by itself. */
static void only_an_empty_tcp_link_holds(void **state)
{
	static const struct {
		const char *listen, *endpoints;
		bool hold, expected;
	} cases[] = {
		{"9000", "", true, true},
		{"9000", "", false, false},
		{"9000", "a=10.0.0.1:80", true, false},
		{"9000", "a=10.0.0.1:80*0", true, true},
		{"9000/udp", "", true, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct link_conf conf = conf_of(cases[i].listen, "web");
		const struct endpoints *snapshot = endpoints_of(cases[i].endpoints);
		struct link_plan plan;

		plan_next(NULL, &conf, snapshot, NULL, 0, cases[i].hold, &plan);
		assert_int_equal(plan.hold, cases[i].expected);
		endpoints_unref(snapshot);
		plan_clear(&plan);
	}
}

/* From one set of endpoints to the next: the windows, and whether the kernel's rule stays as it is. */
static void check_step(const char *from, const char *from_window, const char *to, const char *to_window, bool same_rule)
{
	struct link_conf conf = conf_of("9000", "web");
	struct link_plan before = plan_after(NULL, &conf, from), after = plan_after(&before, &conf, to);

	check_window(&before, from_window);
	check_window(&after, to_window);
	assert_int_equal(same_rule, after.slots.base == before.slots.base && after.slots.count == before.slots.count);
	plan_clear(&before);
	plan_clear(&after);
}

static void an_endpoint_keeps_its_slots(void **state)
{
	static const char three[] = "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80";

	(void)state;
	check_step(three, "abc", three, "abc", true);
	/* another name at the same place */
	check_step(three, "abc", "b=10.0.0.2:80 c=10.0.0.3:80 x=10.0.0.1:80", "xbc", true);
	check_step(three, "abc", "c=10.0.0.3:80 x=10.0.0.2:80 y=10.0.0.1:80", "yxc", true);
	/* another place under the same name */
	check_step(three, "abc", "a=10.0.0.1:80 b=10.0.0.9:80 c=10.0.0.3:80", "abc", true);
	/* names exchange their places: the name counts */
	check_step(three, "abc", "a=10.0.0.2:80 b=10.0.0.1:80 c=10.0.0.3:80", "abc", true);
	/* a name moves to the place of one that goes: the place belongs to the name */
	check_step(three, "abc", "a=10.0.0.2:80 c=10.0.0.3:80 d=10.0.0.4:80", "adc", true);
	/* one goes, another comes */
	check_step(three, "abc", "a=10.0.0.1:80 c=10.0.0.3:80 d=10.0.0.4:80", "adc", true);
	/* names in front of others move the indices of all */
	check_step(three, "abc", "A=10.0.0.4:80 b=10.0.0.2:80 c=10.0.0.3:80", "Abc", true);
}

static void a_change_of_number_moves_the_window(void **state)
{
	static const char three[] = "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80";

	(void)state;
	check_step(three, "abc", "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80 d=10.0.0.4:80", "bcad", false);
	check_step(three, "abc", "a=10.0.0.1:80 c=10.0.0.3:80", "ac", false);
	check_step(three, "abc", "a=10.0.0.1:80 b=10.0.0.2:80*0 c=10.0.0.3:80", "ac", false);
	check_step(three, "abc", "a=10.0.0.1:80*2 b=10.0.0.2:80 c=10.0.0.3:80", "abac", false);
	check_step(three, "abc", "a=10.0.0.1:80 b=10.0.0.2:80!1 c=10.0.0.3:80!1", "a", false);
	check_step(three, "abc", "", "", false);
	check_step("", "", three, "abc", false);
}

/* What the window left behind stays with its owner while it serves, and nothing else is undone by planning again. */
static void planning_again_changes_nothing(void **state)
{
	struct link_conf conf = conf_of("9000", "web");
	struct link_plan first = plan_after(NULL, &conf, "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80");
	struct link_plan second = plan_after(&first, &conf, "a=10.0.0.1:80 c=10.0.0.3:80"), third, fourth;

	(void)state;
	third = plan_after(&second, &conf, "a=10.0.0.1:80 c=10.0.0.3:80");
	plan_next(&third, &conf, third.endpoints, NULL, third.shard, false, &fourth);
	assert_int_equal(second.slots.before, 1);
	assert_int_equal(fourth.slots.before, 1);
	assert_int_equal(fourth.slots.base, second.slots.base);
	assert_memory_equal(fourth.slots.owner, second.slots.owner, 3 * sizeof(*second.slots.owner));
	plan_clear(&first);
	plan_clear(&second);
	plan_clear(&third);
	plan_clear(&fourth);
}

/* The plan after `previous`, with its endpoints up ('+') or down ('-'). */
static struct link_plan plan_appraised(const struct link_plan *previous, const struct link_conf *conf,
				       const char *verdicts)
{
	struct appraisal appraisals[8];
	struct link_plan plan;

	for (uint32_t i = 0; i < previous->endpoints->count; i++)
		appraisals[i] = (struct appraisal){verdicts[i] == '-' ? VERDICT_DOWN : VERDICT_UP, SHARE_FULL};
	plan_next(previous, conf, previous->endpoints, appraisals, previous->shard, false, &plan);
	return plan;
}

static void a_verdict_moves_no_slot_but_its_own(void **state)
{
	struct link_conf conf = conf_of("9000", "web");
	struct link_plan first = plan_after(NULL, &conf, "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80");
	struct link_plan same = plan_appraised(&first, &conf, "+++");
	struct link_plan down = plan_appraised(&same, &conf, "+-+");
	struct link_plan up = plan_appraised(&down, &conf, "+++");
	struct link_plan none = plan_appraised(&up, &conf, "---");
	const struct ip_port b = at("10.0.0.2:80");

	(void)state;
	check_window(&same, "abc");
	assert_int_equal(same.slots.base, first.slots.base);
	check_window(&down, "ac");
	/* Out of rotation, but not on its way out: its connections stay. */
	assert_true(!plan_serves(&down, &b) && !plan_drains(&down, &b));
	check_window(&up, "cab");
	check_window(&none, "cab");
	plan_clear(&first);
	plan_clear(&same);
	plan_clear(&down);
	plan_clear(&up);
	plan_clear(&none);
}

/* The weights by hand are what counts, and nothing is left of them when they are taken back. */
static void a_weight_by_hand_ends_without_a_trace(void **state)
{
	struct link_conf conf = conf_of("9000", "web");
	struct link_plan first = plan_after(NULL, &conf, "a=10.0.0.1:80 b=10.0.0.2:80");
	struct link_plan second = plan_by_hand(&first, &conf, "a=10.0.0.1:80*0 b=10.0.0.2:80"), third;
	const struct ip_port a = at("10.0.0.1:80"), b = at("10.0.0.2:80");

	(void)state;
	assert_true(!plan_serves(&second, &a) && plan_drains(&second, &a));
	assert_true(plan_serves(&second, &b) && !plan_drains(&second, &b));
	plan_next(&second, &conf, second.endpoints, NULL, second.shard, false, &third);
	assert_true(plan_serves(&third, &a) && !plan_drains(&third, &a) && plan_serves(&third, &b));
	plan_clear(&first);
	plan_clear(&second);
	plan_clear(&third);
}

/* Not those that drain or stand by, nor one whose slot is only one that the window left behind. */
static void only_owners_of_drawn_slots_serve(void **state)
{
	struct link_conf conf = conf_of("9000", "web");
	struct link_plan first = plan_after(NULL, &conf, "a=10.0.0.1:80 b=10.0.0.2:80*0 c=10.0.0.3:80!1 d=10.0.0.4:80");
	struct link_plan second = plan_after(&first, &conf, "a=10.0.0.1:80*0 d=10.0.0.4:80");
	const struct ip_port a = at("10.0.0.1:80"), b = at("10.0.0.2:80"), c = at("10.0.0.3:80"), d = at("10.0.0.4:80");
	const struct ip_port stranger = at("10.0.0.4:81");

	(void)state;
	assert_true(first.serving[0] && !first.serving[1] && !first.serving[2] && first.serving[3]);
	assert_true(plan_serves(&first, &a) && plan_serves(&first, &d));
	assert_false(plan_serves(&first, &stranger));
	assert_true(!second.serving[0] && second.serving[1]);
	assert_false(plan_serves(&second, &a));
	assert_true(plan_serves(&second, &d));
	assert_true(!plan_drains(&first, &a) && plan_drains(&first, &b) && !plan_drains(&first, &c));
	assert_true(plan_drains(&second, &a) && plan_drains(&second, &c) && !plan_drains(&second, &d));
	plan_clear(&first);
	plan_clear(&second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_endpoint_has_a_standing),
		cmocka_unit_test(who_is_not_well_does_not_serve),
		cmocka_unit_test(the_next_priority_serves_where_the_best_is_down),
		cmocka_unit_test(where_nobody_is_well_the_link_decides),
		cmocka_unit_test(a_verdict_moves_no_slot_but_its_own),
		cmocka_unit_test(the_lowest_priority_that_can_serve_does),
		cmocka_unit_test(a_plan_takes_over_what_is_configured),
		cmocka_unit_test(only_an_empty_tcp_link_holds),
		cmocka_unit_test(an_endpoint_keeps_its_slots),
		cmocka_unit_test(a_change_of_number_moves_the_window),
		cmocka_unit_test(planning_again_changes_nothing),
		cmocka_unit_test(a_weight_by_hand_ends_without_a_trace),
		cmocka_unit_test(only_owners_of_drawn_slots_serve),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
