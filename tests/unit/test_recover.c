/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a table in the kernel back to plans: a new process goes on where the old one stopped. */
#include "unit.h"

#include "base/mem.h"
#include "model.h"
#include "plans.h"
#include "ruleset/recover.h"
#include "worlds.h"

static struct link_conf conf_of_plan(const struct link_plan *plan)
{
	return (struct link_conf){
		.name = plan->name,
		.listen = plan->listen,
		.balance = plan->balance,
		.masquerade = plan->masquerade,
		.retry_s = plan->retry_s,
		.affinity_s = plan->affinity_s,
	};
}

static const struct ip_port *owner_address(const struct link_plan *plan, uint32_t slot)
{
	return &plan->endpoints->items[plan->slots.owner[slot]].at;
}

static void check_recovered(const struct link_plan *got, const struct link_plan *plan)
{
	assert_string_equal(got->name, plan->name);
	assert_true(listen_equal(&got->listen, &plan->listen));
	assert_int_equal(got->slots.count, plan->slots.count);
	assert_int_equal(got->affinity_s, plan->affinity_s);
	if (plan->affinity_s)
		assert_int_equal(got->affinity_map, plan->affinity_map);
	for (uint32_t i = 0; i < plan->slots.before + plan->slots.count; i++)
		assert_true(ip_port_equal(owner_address(got, i), owner_address(plan, i)));
	if (plan->slots.count) { /* an empty link has neither in the kernel */
		assert_int_equal(got->shard, plan->shard);
		assert_int_equal(got->slots.base, plan->slots.base);
		assert_int_equal(got->slots.before, plan->slots.before);
	}
	for (uint32_t i = 0; i < plan->endpoints->count; i++) {
		const struct endpoint *endpoint = &plan->endpoints->items[i];
		const struct endpoint *same = endpoints_find_id(got->endpoints, endpoint->id);

		/* One that NAT cannot reach has no counter, and is not in the kernel at all. */
		assert_int_equal(same != NULL, endpoint->at.addr.family == plan->listen.at.addr.family);
		assert_true(!same || ip_port_equal(&same->at, &endpoint->at));
	}
}

/* What the process that recovered this plan wants, when the registry says what it said before. */
static void plan_again(struct recovery *recovery, const struct link_plan *plan, struct link_plan *ret)
{
	struct link_conf conf = conf_of_plan(plan);
	struct link_plan recovered;

	assert_true(recovery_plan(recovery, &conf, &recovered));
	check_recovered(&recovered, plan);
	plan_next(&recovered, &conf, plan->endpoints, NULL, recovered.shard, false, ret);
	ret->affinity_map = recovered.affinity_map;
	plan_clear(&recovered);
}

static void check_restart(const struct world *world)
{
	struct ruleset kernel = {0}, want = {0};
	struct world again = {0};
	struct recovery *recovery;
	struct changes changes;

	world_compile(world, &kernel);
	make_kernels(&kernel);
	recovery = recovery_new(&kernel);
	for (size_t i = 0; i < WORLD_LISTENS; i++) {
		again.present[i] = world->present[i];
		if (world->present[i])
			plan_again(recovery, &world->plans[i], &again.plans[i]);
	}
	recovery_free(recovery);
	compile_base(false, &want);
	world_compile_shards(world, &want); /* those that only empty links have cannot be told from their plans */
	for (size_t i = 0; i < WORLD_LISTENS; i++) {
		if (again.present[i])
			compile_link(&again.plans[i], GROUP_BASE + 1, &want);
	}
	ruleset_diff(&kernel, &want, &changes);
	assert_int_equal(changes.count, 0);
	world_clear(&again);
	ruleset_clear(&kernel);
	ruleset_clear(&want);
}

static void a_restart_changes_nothing(void **state)
{
	(void)state;
	random_begin();
	for (int round = 0; round < 100; round++) {
		struct world world = {0};

		for (int step = 0; step < 4; step++) {
			struct world next;

			world_next(&world, &next);
			world_clear(&world);
			world = next;
			check_restart(&world);
		}
		world_clear(&world);
	}
}

static bool recover(const struct ruleset *kernel, const struct link_conf *conf, struct link_plan *ret)
{
	struct recovery *recovery = recovery_new(kernel);
	bool found = recovery_plan(recovery, conf, ret);

	recovery_free(recovery);
	return found;
}

static void what_is_not_there_is_not_recovered(void **state)
{
	struct link_conf web = conf_of("9000", "web"), udp = conf_of("9000/udp", "web"), none = conf_of("80", "none");
	struct link_plan plan = plan_after(NULL, &web, "a=10.0.0.1:80"), got;
	struct ruleset kernel = {0};

	(void)state;
	assert_false(recover(&kernel, &web, &got));
	compile_link(&plan, 1, &kernel);
	assert_true(recover(&kernel, &web, &got));
	plan_clear(&got);
	assert_false(recover(&kernel, &udp, &got));
	assert_false(recover(&kernel, &none, &got));
	recovery_free(NULL);
	plan_clear(&plan);
	ruleset_clear(&kernel);
}

/* Of the policy, only the balance is the kernel's: the slots were made for it. What had to change is the diff's to
 * find. */
static void the_configuration_comes_first(void **state)
{
	struct link_conf old = conf_of("9000", "old"), new = conf_of("9000", "new");
	struct link_plan plan = plan_after(NULL, &old, "a=10.0.0.1:80"), got;
	struct ruleset kernel = {0};

	(void)state;
	new.balance = BALANCE_RANDOM;
	new.masquerade = MASQUERADE_NEVER;
	compile_link(&plan, 1, &kernel);
	assert_true(recover(&kernel, &new, &got));
	assert_string_equal(got.name, "old");
	assert_int_equal(got.balance, BALANCE_ROUNDROBIN);
	assert_int_equal(got.masquerade, MASQUERADE_NEVER);
	assert_string_equal(got.endpoints->items[0].id, "a");
	plan_clear(&got);
	plan_clear(&plan);
	ruleset_clear(&kernel);
}

/*
 * The endpoints get weights by their slots; and as long as the registry says nothing, a plan of what was recovered is
 * what there was. Expected is a digit for the weight of each endpoint.
 */
static void check_weights(enum balance balance, const char *endpoints, const char *expected)
{
	struct link_conf conf = conf_of("9000", "web");
	struct ruleset kernel = {0};
	struct link_plan plan, got, next;

	conf.balance = balance;
	plan = plan_after(NULL, &conf, endpoints);
	compile_link(&plan, 1, &kernel);
	assert_true(recover(&kernel, &conf, &got));
	assert_int_equal(got.endpoints->count, strlen(expected));
	for (uint32_t i = 0; i < got.endpoints->count; i++)
		assert_int_equal(got.endpoints->items[i].weight, expected[i] - '0');
	plan_next(&got, &conf, got.endpoints, NULL, got.shard, false, &next);
	assert_int_equal(next.slots.base, plan.slots.base);
	assert_int_equal(next.slots.count, plan.slots.count);
	assert_memory_equal(next.slots.owner, plan.slots.owner, plan.slots.count * sizeof(*plan.slots.owner));
	plan_clear(&plan);
	plan_clear(&got);
	plan_clear(&next);
	ruleset_clear(&kernel);
}

static void what_the_slots_say_of_weights_is_kept(void **state)
{
	static const enum balance balances[] = {BALANCE_ROUNDROBIN, BALANCE_RANDOM, BALANCE_SOURCE};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(balances); i++) {
		check_weights(balances[i], "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80", "111");
		check_weights(balances[i], "a=10.0.0.1:80*6 b=10.0.0.2:80*2 c=10.0.0.3:80*0", "310");
		check_weights(balances[i], "a=10.0.0.1:80!1 b=10.0.0.2:80*2 c=10.0.0.3:80!1", "010");
		check_weights(balances[i], "a=10.0.0.1:80*0 b=10.0.0.2:80*0", "00");
	}
	check_weights(BALANCE_ROUNDROBIN, "a=10.0.0.1:80*3 b=10.0.0.2:80*2", "32");
	check_weights(BALANCE_SOURCE, "a=10.0.0.1:80*8 b=10.0.0.2:80*3", "31"); /* as near as it comes */
}

/* The elements of the table below, by their place in it. */
enum { ELEM_SERVICES, ELEM_LINKS, ELEM_POLICY, ELEM_SLOT_0, ELEM_SLOT_1, ELEM_SLOT_2, ELEM_ENDPOINT_A, N_ELEMS = 9 };

static void compile_three(struct ruleset *ret)
{
	struct link_conf conf = conf_of("9000", "web");
	struct link_plan plan = plan_after(NULL, &conf, "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80");

	*ret = (struct ruleset){0};
	compile_base(false, ret);
	compile_shard(AF_INET, 0, ret);
	compile_counters(AF_INET, 0, ret);
	compile_link(&plan, 1, ret);
	assert_int_equal(ret->n_elems, N_ELEMS);
	plan_clear(&plan);
}

/* Recovers a table that somebody has been at, and mends it: no step may stumble, and the result is what is wanted. */
static void check_mended(struct ruleset *kernel, uint32_t slots_recovered, uint32_t endpoints_recovered)
{
	struct link_conf conf = conf_of("9000", "web");
	struct ruleset want = {0}, model;
	struct link_plan got, next;
	struct changes changes;

	assert_true(recover(kernel, &conf, &got));
	assert_int_equal(got.slots.count, slots_recovered);
	assert_int_equal(got.endpoints->count, endpoints_recovered);
	next = plan_after(&got, &conf, "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80");
	assert_int_equal(next.slots.count, 3);
	compile_base(false, &want);
	compile_shard(AF_INET, next.shard, &want);
	compile_counters(AF_INET, counters_of(next.shard), &want);
	compile_link(&next, 1, &want);
	ruleset_diff(kernel, &want, &changes);
	model = model_of(kernel);
	model_apply(&model, &changes);
	check_same(&model, &want);
	changes_clear(&changes);
	plan_clear(&got);
	plan_clear(&next);
	ruleset_clear(&model);
	ruleset_clear(&want);
	ruleset_clear(kernel);
}

static void remove_elem(struct ruleset *kernel, size_t index)
{
	kernel->elems[index] = kernel->elems[--kernel->n_elems];
}

static void put_slot_number(struct elem *elem, uint32_t number)
{
	size_t offset = listen_key_size(elem->set.family);

	field_put_u32(elem->key, &offset, number);
}

static void a_table_with_gaps_is_laid_out_anew(void **state)
{
	struct ruleset kernel;

	(void)state;
	for (size_t slot = ELEM_SLOT_0; slot <= ELEM_SLOT_2; slot++) {
		compile_three(&kernel);
		remove_elem(&kernel, slot);
		check_mended(&kernel, 0, 3);
	}
	compile_three(&kernel);
	put_slot_number(&kernel.elems[ELEM_SLOT_2], 5);
	check_mended(&kernel, 0, 3);
	compile_three(&kernel);
	compile_shard(AF_INET, 1, &kernel);
	kernel.elems[ELEM_SLOT_2].set.shard = 1;
	check_mended(&kernel, 0, 3);
	compile_three(&kernel);
	remove_elem(&kernel, ELEM_SERVICES);
	check_mended(&kernel, 0, 3);
}

static void a_rule_that_does_not_fit_is_not_trusted(void **state)
{
	struct ruleset kernel;

	(void)state;
	compile_three(&kernel);
	check_mended(&kernel, 3, 3);
	compile_three(&kernel);
	model_chain(&kernel, "link-web")->rules[0].form = RULE_FOREIGN;
	check_mended(&kernel, 0, 3);
	compile_three(&kernel);
	model_chain(&kernel, "link-web")->rules[0].modulus = 2;
	check_mended(&kernel, 0, 3);
	compile_three(&kernel);
	model_chain(&kernel, "link-web")->rules[0].offset = 7;
	check_mended(&kernel, 0, 3);
	compile_three(&kernel);
	model_chain(&kernel, "link-web")->n_rules = 0;
	check_mended(&kernel, 0, 3);
}

/* A slot that leads to somebody without a counter, or an element that has lost its comment. */
static void foreign_elements_are_mended(void **state)
{
	struct ruleset kernel;

	(void)state;
	compile_three(&kernel);
	kernel.elems[ELEM_SLOT_1].data[3] = 99;
	check_mended(&kernel, 3, 3);
	compile_three(&kernel);
	remove_elem(&kernel, ELEM_ENDPOINT_A);
	check_mended(&kernel, 3, 2);
	compile_three(&kernel);
	for (size_t i = 0; i < kernel.n_elems; i++)
		kernel.elems[i].comment = i % 2 ? NULL : "without a slash";
	check_mended(&kernel, 3, 3);
}

/* Of a link without slots it is known which counters it has, and nothing more. */
static void an_empty_link_is_found_again_by_its_counters(void **state)
{
	struct link_conf conf = conf_of("9000", "web");
	struct link_plan plan = plan_after(NULL, &conf, "a=10.0.0.1:80*0"), got;
	struct ruleset kernel = {0};

	(void)state;
	plan.shard = 2 * SHARDS_PER_COUNTERS + 3;
	compile_counters(AF_INET, 2, &kernel);
	compile_link(&plan, 1, &kernel);
	assert_true(recover(&kernel, &conf, &got));
	assert_int_equal(got.shard, 2 * SHARDS_PER_COUNTERS);
	assert_int_equal(got.endpoints->count, 1);
	plan_clear(&got);
	kernel.n_chains = 0;
	assert_true(recover(&kernel, &conf, &got));
	assert_int_equal(got.shard, SHARD_UNKNOWN);
	plan_clear(&got);
	plan_clear(&plan);
	ruleset_clear(&kernel);
}

/* As "nuncio 2" had it: the counters of all links are in one set, and no listen address leads to them. */
static void a_table_of_the_former_shape_is_recovered(void **state)
{
	struct link_conf conf = conf_of("9000", "web");
	struct ruleset kernel;
	struct link_plan got;

	(void)state;
	compile_three(&kernel);
	for (size_t i = ELEM_ENDPOINT_A; i < kernel.n_elems; i++)
		kernel.elems[i].set = (struct set_id){SET_FORMER_ENDPOINTS, AF_INET, 0};
	remove_elem(&kernel, ELEM_POLICY);
	assert_true(recover(&kernel, &conf, &got));
	assert_int_equal(got.endpoints->count, 3);
	assert_int_equal(got.slots.count, 3);
	assert_int_equal(got.shard, 0);
	assert_non_null(endpoints_find_id(got.endpoints, "a"));
	plan_clear(&got);
	ruleset_clear(&kernel);
}

/* Two ids that are the same as far as a comment goes: the second is known by its address. */
static void ids_that_were_cut_to_the_same_stay_apart(void **state)
{
	char id[ENDPOINT_ID_MAX + 1], endpoints[2 * sizeof(id) + 64];
	struct link_conf conf = conf_of("9000", "web");
	struct ruleset kernel = {0};
	struct link_plan plan, got, next;

	(void)state;
	memset(id, 'i', ENDPOINT_ID_MAX);
	id[ENDPOINT_ID_MAX - 1] = '\0';
	snprintf(endpoints, sizeof(endpoints), "%s1=10.0.0.1:80 %s2=10.0.0.2:80", id, id);
	plan = plan_after(NULL, &conf, endpoints);
	compile_link(&plan, 1, &kernel);
	assert_true(recover(&kernel, &conf, &got));
	assert_int_equal(got.endpoints->count, 2);
	next = plan_after(&got, &conf, endpoints);
	assert_int_equal(next.slots.base, plan.slots.base);
	assert_memory_equal(next.slots.owner, plan.slots.owner, 2 * sizeof(*plan.slots.owner));
	plan_clear(&plan);
	plan_clear(&got);
	plan_clear(&next);
	ruleset_clear(&kernel);
}

static void the_footprint_is_found_again(void **state)
{
	char interfaces[][16] = {"eth0", "fifteen-letters"};
	struct ip_addr addresses[2];
	struct footprint footprint = {interfaces, 2, addresses, 2}, got;
	struct ruleset kernel = {0};

	(void)state;
	ip_addr_parse("10.96.0.10", &addresses[0]);
	ip_addr_parse("fd00:aa::1", &addresses[1]);
	compile_namespace(&footprint, &kernel);
	got = recovery_footprint(&kernel);
	assert_int_equal(got.n_interfaces, 2);
	assert_memory_equal(got.interfaces, interfaces, sizeof(interfaces));
	assert_int_equal(got.n_addresses, 2);
	assert_true(ip_addr_equal(&got.addresses[0], &addresses[0]));
	assert_true(ip_addr_equal(&got.addresses[1], &addresses[1]));
	free(got.interfaces);
	free(got.addresses);
	ruleset_clear(&kernel);
	got = recovery_footprint(&kernel);
	assert_int_equal(got.n_interfaces + got.n_addresses, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_restart_changes_nothing),
		cmocka_unit_test(what_is_not_there_is_not_recovered),
		cmocka_unit_test(the_configuration_comes_first),
		cmocka_unit_test(what_the_slots_say_of_weights_is_kept),
		cmocka_unit_test(a_table_with_gaps_is_laid_out_anew),
		cmocka_unit_test(a_rule_that_does_not_fit_is_not_trusted),
		cmocka_unit_test(foreign_elements_are_mended),
		cmocka_unit_test(an_empty_link_is_found_again_by_its_counters),
		cmocka_unit_test(a_table_of_the_former_shape_is_recovered),
		cmocka_unit_test(ids_that_were_cut_to_the_same_stay_apart),
		cmocka_unit_test(the_footprint_is_found_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
