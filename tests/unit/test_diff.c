/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From one table to another: only what differs, in an order that the kernel can carry out. */
#include "unit.h"

#include "base/mem.h"
#include "model.h"
#include "plans.h"
#include "ruleset/compile.h"
#include "ruleset/diff.h"
#include "worlds.h"

static struct changes diff(const struct ruleset *have, const struct ruleset *want)
{
	struct changes changes;

	ruleset_diff(have, want, &changes);
	return changes;
}

/* Carries the changes out on a model of the kernel; returns how many they were. */
static size_t check_leads_to(const struct ruleset *have, const struct ruleset *want)
{
	struct changes changes = diff(have, want);
	struct ruleset model = model_of(have);
	size_t count = changes.count;

	model_apply(&model, &changes);
	check_same(&model, want);
	for (size_t i = 1; i < count; i++)
		assert_true(changes.items[i - 1].group <= changes.items[i].group);
	changes_clear(&changes);
	ruleset_clear(&model);
	return count;
}

/* A table with one link on each listen address. */
static void compile_plans(const struct link_plan *plans, size_t count, struct ruleset *out)
{
	compile_base(false, out);
	compile_shard(AF_INET, 0, out);
	compile_counters(AF_INET, 0, out);
	for (size_t i = 0; i < count; i++)
		compile_link(&plans[i], GROUP_BASE + 1 + (uint32_t)i, out);
}

static struct link_plan plan_of(const char *listen, const char *name, const char *endpoints)
{
	struct link_conf conf = conf_of(listen, name);

	return plan_after(NULL, &conf, endpoints);
}

static void equal_tables_need_nothing(void **state)
{
	struct world world;
	struct ruleset one = {0}, other = {0};
	struct changes changes;

	(void)state;
	random_begin();
	world_next(NULL, &world);
	world_compile(&world, &one);
	world_compile(&world, &other);
	make_kernels(&other);
	changes = diff(&one, &one);
	assert_int_equal(changes.count, 0);
	changes = diff(&other, &one);
	assert_int_equal(changes.count, 0);
	ruleset_clear(&one);
	ruleset_clear(&other);
	world_clear(&world);
}

static void from_nothing_everything_is_added(void **state)
{
	struct world world;
	struct ruleset nothing = {0}, want = {0};
	size_t rules = 0;

	(void)state;
	random_begin();
	world_next(NULL, &world);
	world_compile(&world, &want);
	for (size_t i = 0; i < want.n_chains; i++)
		rules += want.chains[i].n_rules > 0;
	assert_int_equal(check_leads_to(&nothing, &want),
			 1 + want.n_timeouts + want.n_sets + want.n_chains + rules + want.n_elems);
	ruleset_clear(&want);
	world_clear(&world);
}

static void to_nothing_the_table_is_removed(void **state)
{
	struct world world;
	struct ruleset nothing = {0}, have = {0};

	(void)state;
	random_begin();
	world_next(NULL, &world);
	world_compile(&world, &have);
	assert_int_equal(check_leads_to(&have, &nothing), 1);
	assert_int_equal(check_leads_to(&nothing, &nothing), 0);
	ruleset_clear(&have);
	world_clear(&world);
}

/* Any two tables, one grown from the other or not, as compiled or as read from the kernel. */
static void changes_lead_from_any_table_to_any_other(void **state)
{
	(void)state;
	random_begin();
	for (int round = 0; round < 500; round++) {
		struct world from, to;
		struct ruleset have = {0}, want = {0};

		world_next(NULL, &from);
		world_next(random_between(0, 1) ? &from : NULL, &to);
		world_compile(&from, &have);
		world_compile(&to, &want);
		if (random_between(0, 1))
			make_kernels(&have);
		check_leads_to(&have, &want);
		ruleset_clear(&have);
		ruleset_clear(&want);
		world_clear(&from);
		world_clear(&to);
	}
}

/* The changes between two plans of one link, in words. */
static void check_changes(const struct link_plan *from, const struct link_plan *to, const char *expected)
{
	struct ruleset have = {0}, want = {0};
	char text[CHANGE_TEXT], list[4096] = "";
	struct changes changes;
	size_t used = 0;

	compile_plans(from, 1, &have);
	compile_plans(to, 1, &want);
	check_leads_to(&have, &want);
	changes = diff(&have, &want);
	for (size_t i = 0; i < changes.count; i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s\n",
					 change_text(&changes.items[i], text));
	assert_string_equal(list, expected);
	changes_clear(&changes);
	ruleset_clear(&have);
	ruleset_clear(&want);
}

static void check_step(const char *from_endpoints, const char *to_endpoints, const char *expected)
{
	struct link_conf conf = conf_of("9000", "web");
	struct link_plan from = plan_after(NULL, &conf, from_endpoints), to = plan_after(&from, &conf, to_endpoints);

	check_changes(&from, &to, expected);
	plan_clear(&from);
	plan_clear(&to);
}

static void a_replaced_endpoint_is_two_pairs_of_elements(void **state)
{
	(void)state;
	check_step("a=10.0.0.1:80 b=10.0.0.2:80", "a=10.0.0.1:80 b=10.0.0.9:80",
		   "delete element slots4-0 { tcp . 127.0.0.1 . 9000 . 1 : 10.0.0.2 . 80 }\n"
		   "delete element endpoints4-0 { tcp . 127.0.0.1 . 9000 . 10.0.0.2 . 80 }\n"
		   "add element slots4-0 { tcp . 127.0.0.1 . 9000 . 1 : 10.0.0.9 . 80 }\n"
		   "add element endpoints4-0 { tcp . 127.0.0.1 . 9000 . 10.0.0.9 . 80 }\n");
}

/* The rule's modulus and offset change with the number of slots. */
static void another_number_of_slots_replaces_the_rule(void **state)
{
	(void)state;
	check_step("a=10.0.0.1:80 b=10.0.0.2:80", "a=10.0.0.1:80",
		   "delete rules of chain link-web\n"
		   "delete element slots4-0 { tcp . 127.0.0.1 . 9000 . 1 : 10.0.0.2 . 80 }\n"
		   "delete element endpoints4-0 { tcp . 127.0.0.1 . 9000 . 10.0.0.2 . 80 }\n"
		   "add element slots4-0 { tcp . 127.0.0.1 . 9000 . 1 : 10.0.0.1 . 80 }\n"
		   "add rules of chain link-web\n");
	check_step("", "a=10.0.0.1:80",
		   "delete rules of chain link-web\n"
		   "add element slots4-0 { tcp . 127.0.0.1 . 9000 . 0 : 10.0.0.1 . 80 }\n"
		   "add element endpoints4-0 { tcp . 127.0.0.1 . 9000 . 10.0.0.1 . 80 }\n"
		   "add rules of chain link-web\n");
}

static void a_new_name_changes_comments_only(void **state)
{
	(void)state;
	check_step("a=10.0.0.1:80", "b=10.0.0.1:80",
		   "delete element slots4-0 { tcp . 127.0.0.1 . 9000 . 0 : 10.0.0.1 . 80 }\n"
		   "delete element endpoints4-0 { tcp . 127.0.0.1 . 9000 . 10.0.0.1 . 80 }\n"
		   "add element slots4-0 { tcp . 127.0.0.1 . 9000 . 0 : 10.0.0.1 . 80 }\n"
		   "add element endpoints4-0 { tcp . 127.0.0.1 . 9000 . 10.0.0.1 . 80 }\n");
}

static void a_change_of_policy_is_one_rule_or_one_element(void **state)
{
	struct link_plan from = plan_of("9000", "web", "a=10.0.0.1:80"), to = plan_of("9000", "web", "a=10.0.0.1:80");

	(void)state;
	check_changes(&from, &to, "");
	to.masquerade = MASQUERADE_ALWAYS;
	check_changes(&from, &to, "add element always4 { tcp . 127.0.0.1 . 9000 }\n");
	check_changes(&to, &from, "delete element always4 { tcp . 127.0.0.1 . 9000 }\n");
	to.masquerade = MASQUERADE_AUTO;
	to.balance = BALANCE_RANDOM;
	check_changes(&from, &to, "delete rules of chain link-web\nadd rules of chain link-web\n");
	plan_clear(&from);
	plan_clear(&to);
}

static void a_listen_may_get_another_link(void **state)
{
	struct link_plan from = plan_of("9000", "old", ""), to = plan_of("9000", "new", "");

	(void)state;
	check_changes(&from, &to,
		      "add chain link-new\n"
		      "delete element services4 { tcp . 127.0.0.1 . 9000 : goto link-old }\n"
		      "add element services4 { tcp . 127.0.0.1 . 9000 : goto link-new }\n"
		      "add rules of chain link-new\n"
		      "delete rules of chain link-old\n"
		      "delete chain link-old\n");
	plan_clear(&from);
	plan_clear(&to);
}

static void links_may_exchange_their_listens(void **state)
{
	struct link_plan from[] = {plan_of("9000", "a", "x=10.0.0.1:80"), plan_of("9001", "b", "")};
	struct link_plan to[] = {plan_of("9000", "b", ""), plan_of("9001", "a", "x=10.0.0.1:80")};
	struct ruleset have = {0}, want = {0};

	(void)state;
	compile_plans(from, 2, &have);
	compile_plans(to, 2, &want);
	check_leads_to(&have, &want);
	make_kernels(&have);
	check_leads_to(&have, &want);
	for (size_t i = 0; i < 2; i++) {
		plan_clear(&from[i]);
		plan_clear(&to[i]);
	}
	ruleset_clear(&have);
	ruleset_clear(&want);
}

/* What goes with a link that stays is the link's; what nobody listens to any more goes last. */
static void what_the_kernel_has_too_much_finds_its_group(void **state)
{
	struct link_plan from[] = {plan_of("9000", "a", "x=10.0.0.1:80"), plan_of("9001", "b", "x=10.0.0.1:80")};
	struct link_plan to = plan_of("9001", "b", "");
	struct ruleset have = {0}, want = {0};
	struct changes changes;

	(void)state;
	random_begin();
	compile_plans(from, 2, &have);
	make_kernels(&have);
	compile_plans(&to, 1, &want);
	changes = diff(&have, &want);
	for (size_t i = 0; i < changes.count; i++) {
		struct listen listen;

		if (changes.items[i].kind != CHANGE_ELEM)
			continue;
		assert_true(elem_listen(changes.items[i].object, &listen));
		assert_int_equal(changes.items[i].group, listen.at.port == 9001 ? 1 : GROUP_LAST);
	}
	assert_int_equal(changes.items[changes.count - 1].group, GROUP_LAST);
	changes_clear(&changes);
	plan_clear(&from[0]);
	plan_clear(&from[1]);
	plan_clear(&to);
	ruleset_clear(&have);
	ruleset_clear(&want);
}

/* A link of a thousand endpoints, without one of them or with one at another address. */
static struct link_plan thousand(const struct link_plan *previous, uint32_t left_out, uint32_t moved)
{
	struct endpoints_builder *builder = endpoints_builder_new();
	struct link_conf conf = conf_of("9000", "web");
	const struct endpoints *endpoints;
	struct link_plan plan;

	for (uint32_t i = 0; i < 1000; i++) {
		char id[8], address[IP_PORT_TEXT];
		struct endpoint endpoint = {.id = id, .weight = 1};
		const char *other;

		if (i == left_out)
			continue;
		snprintf(id, sizeof(id), "e%u", i);
		snprintf(address, sizeof(address), "10.%u.%u.%u:80", i == moved, i / 250, i % 250 + 1);
		endpoint.at = at(address);
		assert_int_equal(endpoints_builder_add(builder, &endpoint, &other), 0);
	}
	endpoints = endpoints_builder_finish(builder);
	plan_next(previous, &conf, endpoints, NULL, 0, false, &plan);
	endpoints_unref(endpoints);
	return plan;
}

static void one_of_a_thousand_endpoints_is_a_handful_of_changes(void **state)
{
	struct link_plan plans[] = {thousand(NULL, 500, 1000), {0}, {0}, {0}};
	static const size_t most[] = {0, 8, 8, 8};

	(void)state;
	plans[1] = thousand(&plans[0], 1000, 1000); /* one comes */
	plans[2] = thousand(&plans[1], 1000, 300);  /* one moves */
	plans[3] = thousand(&plans[2], 700, 300);   /* one goes */
	for (size_t i = 1; i < ARRAY_SIZE(plans); i++) {
		struct ruleset have = {0}, want = {0};

		compile_plans(&plans[i - 1], 1, &have);
		compile_plans(&plans[i], 1, &want);
		assert_in_range(check_leads_to(&have, &want), 1, most[i]);
		ruleset_clear(&have);
		ruleset_clear(&want);
	}
	for (size_t i = 0; i < ARRAY_SIZE(plans); i++)
		plan_clear(&plans[i]);
}

/* All in one transaction, so that nobody sees the table without its links. */
static void check_made_anew(const struct ruleset *have, const struct ruleset *want)
{
	struct changes changes = diff(have, want);

	check_leads_to(have, want);
	assert_int_equal(changes.items[0].kind, CHANGE_TABLE);
	assert_false(changes.items[0].add);
	assert_int_equal(changes.items[1].kind, CHANGE_TABLE);
	assert_true(changes.items[1].add);
	for (size_t i = 0; i < changes.count; i++)
		assert_int_equal(changes.items[i].group, GROUP_BASE);
	changes_clear(&changes);
}

static void a_table_of_another_shape_is_made_anew(void **state)
{
	struct link_plan plan = plan_of("9000", "web", "a=10.0.0.1:80");
	struct ruleset have = {0}, want = {0};

	(void)state;
	compile_plans(&plan, 1, &have);
	compile_plans(&plan, 1, &want);
	have.foreign_shape = true;
	check_made_anew(&have, &want);
	have.foreign_shape = false;
	model_chain(&have, "output")->hook.priority = -99;
	check_made_anew(&have, &want);
	model_chain(&have, "output")->hooked = false;
	check_made_anew(&have, &want);
	plan_clear(&plan);
	ruleset_clear(&have);
	ruleset_clear(&want);
}

static void a_foreign_rule_is_replaced_and_a_foreign_chain_removed(void **state)
{
	struct link_plan plan = plan_of("9000", "web", "a=10.0.0.1:80");
	struct ruleset have = {0}, want = {0};

	(void)state;
	compile_plans(&plan, 1, &have);
	compile_plans(&plan, 1, &want);
	model_chain(&have, "linked4")->rules[0].form = RULE_FOREIGN;
	assert_int_equal(check_leads_to(&have, &want), 2);
	ruleset_add_chain(&have)->name = "link-mine";
	assert_int_equal(check_leads_to(&have, &want), 3);
	plan_clear(&plan);
	ruleset_clear(&have);
	ruleset_clear(&want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_tables_need_nothing),
		cmocka_unit_test(from_nothing_everything_is_added),
		cmocka_unit_test(to_nothing_the_table_is_removed),
		cmocka_unit_test(changes_lead_from_any_table_to_any_other),
		cmocka_unit_test(a_replaced_endpoint_is_two_pairs_of_elements),
		cmocka_unit_test(another_number_of_slots_replaces_the_rule),
		cmocka_unit_test(a_new_name_changes_comments_only),
		cmocka_unit_test(a_change_of_policy_is_one_rule_or_one_element),
		cmocka_unit_test(a_listen_may_get_another_link),
		cmocka_unit_test(links_may_exchange_their_listens),
		cmocka_unit_test(what_the_kernel_has_too_much_finds_its_group),
		cmocka_unit_test(one_of_a_thousand_endpoints_is_a_handful_of_changes),
		cmocka_unit_test(a_table_of_another_shape_is_made_anew),
		cmocka_unit_test(a_foreign_rule_is_replaced_and_a_foreign_chain_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
