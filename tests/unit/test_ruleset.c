/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table as data: names, texts, and what plans are compiled to. */
#include "unit.h"

#include <netinet/in.h>

#include <linux/netfilter.h>

#include "base/mem.h"
#include "plans.h"
#include "ruleset/compile.h"

/* Names */

static void check_set_name(struct set_id set, const char *expected)
{
	char name[SET_NAME_TEXT];
	struct set_id back = {.type = SET_TYPES};

	assert_string_equal(set_name(set, name), expected);
	assert_true(set_from_name(name, &back));
	assert_int_equal(back.type, set.type);
	assert_int_equal(back.family, set.family);
	assert_int_equal(back.shard, set.shard);
}

static void names_of_sets_lead_back(void **state)
{
	(void)state;
	check_set_name((struct set_id){.type = SET_PROTOCOLS}, "__set%d");
	check_set_name((struct set_id){.type = SET_LOCALNET}, "localnet");
	check_set_name((struct set_id){SET_ADDRESSES, AF_INET, 0}, "addresses4");
	check_set_name((struct set_id){SET_SERVICES, AF_INET6, 0}, "services6");
	check_set_name((struct set_id){SET_LINKS, AF_INET, 0}, "links4");
	check_set_name((struct set_id){SET_ALWAYS, AF_INET6, 0}, "always6");
	check_set_name((struct set_id){SET_NEVER, AF_INET, 0}, "never4");
	check_set_name((struct set_id){SET_ENDPOINTS, AF_INET6, 12}, "endpoints6-12");
	check_set_name((struct set_id){SET_FORMER_ENDPOINTS, AF_INET6, 0}, "endpoints6");
	check_set_name((struct set_id){SET_SLOTS, AF_INET, 0}, "slots4-0");
	check_set_name((struct set_id){SET_SLOTS, AF_INET6, 65535}, "slots6-65535");
}

static void foreign_names_are_no_sets_of_ours(void **state)
{
	static const char *const names[] = {
		"",	  "services", "services5",    "services44", "links", "slots4",	  "slots4-",   "slots5-0",
		"slots4", "slots4-x", "slots4-65536", "localnet4",  "mine",  "slots4-0 ", "addresses",
	};
	struct set_id set;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (set_from_name(names[i], &set))
			fail_msg("\"%s\" was taken for one of ours", names[i]);
	}
	assert_true(set_from_name("__set17", &set));
	assert_int_equal(set.type, SET_PROTOCOLS);
}

static void keys_and_data_have_the_size_of_their_fields(void **state)
{
	(void)state;
	assert_int_equal(set_key_size((struct set_id){.type = SET_PROTOCOLS}), 1);
	assert_int_equal(set_key_size((struct set_id){.type = SET_LOCALNET}), 16);
	assert_int_equal(set_key_size((struct set_id){SET_ADDRESSES, AF_INET6, 0}), 16);
	assert_int_equal(set_key_size((struct set_id){SET_SERVICES, AF_INET, 0}), 12);
	assert_int_equal(set_key_size((struct set_id){SET_SLOTS, AF_INET, 0}), 16);
	assert_int_equal(set_data_size((struct set_id){SET_SLOTS, AF_INET, 0}), 8);
	assert_int_equal(set_data_size((struct set_id){SET_SLOTS, AF_INET6, 0}), ELEM_DATA_MAX);
	assert_int_equal(set_key_size((struct set_id){SET_ENDPOINTS, AF_INET, 0}), 20);
	assert_int_equal(set_key_size((struct set_id){SET_ENDPOINTS, AF_INET6, 0}), ELEM_KEY_MAX);
	assert_int_equal(set_data_size((struct set_id){SET_SERVICES, AF_INET, 0}), 0);
}

/* Rules */

static void check_rule(struct rule rule, const char *expected)
{
	char text[RULE_TEXT];

	assert_string_equal(rule_text(&rule, text), expected);
}

static void rules_have_the_words_of_nft(void **state)
{
	(void)state;
	check_rule((struct rule){.form = RULE_DISPATCH, .family = AF_INET},
		   "meta l4proto . ip daddr . th dport vmap @services4");
	check_rule((struct rule){.form = RULE_LINKED, .family = AF_INET6},
		   "ct status dnat meta l4proto { tcp, udp } ct protocol . ct original ip6 daddr"
		   " . ct original proto-dst @links6 goto linked6");
	check_rule((struct rule){.form = RULE_TIMEOUT, .timeout = "retry6"},
		   "meta l4proto tcp ct timeout set \"retry6\"");
	check_rule((struct rule){.form = RULE_NEVER, .family = AF_INET},
		   "meta l4proto { tcp, udp } ct protocol . ct original ip daddr . ct original proto-dst @never4"
		   " accept");
	check_rule((struct rule){.form = RULE_LOOPBACK, .family = AF_INET6}, "ip6 saddr ::1 masquerade");
	check_rule((struct rule){.form = RULE_GUARD}, "iifname != \"lo\" ip daddr 127.0.0.0/8 drop");
	check_rule((struct rule){.form = RULE_BALANCE,
				 .family = AF_INET,
				 .balance = BALANCE_ROUNDROBIN,
				 .shard = 2,
				 .modulus = 3,
				 .offset = 7},
		   "dnat ip to meta l4proto . ip daddr . th dport . numgen inc mod 3 offset 7 map @slots4-2");
	check_rule((struct rule){.form = RULE_BALANCE,
				 .family = AF_INET6,
				 .balance = BALANCE_RANDOM,
				 .shard = 65535,
				 .modulus = UINT32_MAX,
				 .offset = UINT32_MAX},
		   "dnat ip6 to meta l4proto . ip6 daddr . th dport . numgen random mod 4294967295"
		   " offset 4294967295 map @slots6-65535");
	check_rule((struct rule){.form = RULE_BALANCE,
				 .family = AF_INET6,
				 .balance = BALANCE_SOURCE,
				 .shard = 1,
				 .modulus = 509,
				 .offset = 7},
		   "dnat ip6 to meta l4proto . ip6 daddr . th dport . jhash ip6 saddr mod 509 seed 0x6e756e63"
		   " offset 7 map @slots6-1");
}

/* None is cut at the end of its buffer. */
static void every_rule_fits_its_buffer(void **state)
{
	char text[RULE_TEXT], name[LINK_NAME_MAX + 1];

	(void)state;
	memset(name, 'x', LINK_NAME_MAX);
	name[LINK_NAME_MAX] = '\0';
	for (uint8_t form = 0; form < RULE_FORMS; form++) {
		struct rule rule = {
			.form = form,
			.family = AF_INET6,
			.balance = BALANCE_SOURCE,
			.shard = UINT16_MAX,
			.modulus = UINT32_MAX,
			.offset = UINT32_MAX,
			.seconds = UINT32_MAX,
			.timeout = "retry6-name-86400s",
			.link = name,
			.ms = UINT32_MAX,
		};

		assert_in_range(strlen(rule_text(&rule, text)), 1, RULE_TEXT - 2);
	}
}

/* Links */

/* Every element in a line of its own, with its comment behind "#". */
static const char *list_elems(const struct ruleset *ruleset, char *buffer, size_t size)
{
	size_t used = 0;
	char text[ELEM_TEXT];

	*buffer = '\0';
	for (size_t i = 0; i < ruleset->n_elems; i++) {
		const struct elem *elem = &ruleset->elems[i];

		used += (size_t)snprintf(buffer + used, size - used, "%s%s%s\n", elem_text(elem, text),
					 elem->comment ? " # " : "", elem->comment ? elem->comment : "");
		assert_true(used < size);
	}
	return buffer;
}

/* What one link comes to: its chain's first rule, and its elements. */
static void check_link(struct link_conf conf, const char *endpoints, const char *rule, const char *elems)
{
	struct link_plan plan = plan_after(NULL, &conf, endpoints);
	struct ruleset out = {0};
	char text[RULE_TEXT], list[2048];

	plan.shard = 21;
	compile_link(&plan, 42, &out);
	plan_clear(&plan); /* nothing below may point into it */
	assert_false(out.table);
	assert_int_equal(out.n_sets + out.n_timeouts, 0);
	assert_int_equal(out.n_chains, 1);
	assert_int_equal(out.chains[0].group, 42);
	assert_false(out.chains[0].hooked);
	assert_string_equal(rule_text(&out.chains[0].rules[0], text), rule);
	assert_string_equal(list_elems(&out, list, sizeof(list)), elems);
	for (size_t i = 0; i < out.n_elems; i++)
		assert_int_equal(out.elems[i].group, 42);
	ruleset_clear(&out);
}

static void a_link_has_a_rule_and_elements(void **state)
{
	(void)state;
	check_link(conf_of("9000", "web"), "b1=10.0.0.1:80*2 b2=10.0.0.2:8080",
		   "dnat ip to meta l4proto . ip daddr . th dport . numgen inc mod 3 offset 0 map @slots4-21",
		   "services4 { tcp . 127.0.0.1 . 9000 : goto link-web } # web\n"
		   "links4 { tcp . 127.0.0.1 . 9000 }\n"
		   "policies4 { tcp . 127.0.0.1 . 9000 : jump count4-2 }\n"
		   "slots4-21 { tcp . 127.0.0.1 . 9000 . 0 : 10.0.0.1 . 80 } # web/b1\n"
		   "slots4-21 { tcp . 127.0.0.1 . 9000 . 1 : 10.0.0.1 . 80 } # web/b1\n"
		   "slots4-21 { tcp . 127.0.0.1 . 9000 . 2 : 10.0.0.2 . 8080 } # web/b2\n"
		   "endpoints4-2 { tcp . 127.0.0.1 . 9000 . 10.0.0.1 . 80 } # web/b1\n"
		   "endpoints4-2 { tcp . 127.0.0.1 . 9000 . 10.0.0.2 . 8080 } # web/b2\n");
	check_link(conf_of("[fd00:aa::1]:53/udp", "dns"), "b1=[fd00::1]:5353",
		   "dnat ip6 to meta l4proto . ip6 daddr . th dport . numgen inc mod 1 offset 0 map @slots6-21",
		   "services6 { udp . fd00:aa::1 . 53 : goto link-dns } # dns\n"
		   "links6 { udp . fd00:aa::1 . 53 }\n"
		   "policies6 { udp . fd00:aa::1 . 53 : jump count6-2 }\n"
		   "slots6-21 { udp . fd00:aa::1 . 53 . 0 : fd00::1 . 5353 } # dns/b1\n"
		   "endpoints6-2 { udp . fd00:aa::1 . 53 . fd00::1 . 5353 } # dns/b1\n");
}

static void an_empty_link_rejects(void **state)
{
	struct link_conf conf = conf_of("9000", "web");
	struct link_plan plan = plan_after(NULL, &conf, "");
	struct ruleset out = {0};

	(void)state;
	compile_link(&plan, 1, &out);
	assert_int_equal(out.chains[0].n_rules, 2);
	assert_int_equal(out.chains[0].rules[0].form, RULE_RESET);
	assert_int_equal(out.chains[0].rules[1].form, RULE_REJECT);
	ruleset_clear(&out);
	plan_clear(&plan);
	check_link(conf, "", "meta l4proto tcp reject with tcp reset",
		   "services4 { tcp . 127.0.0.1 . 9000 : goto link-web } # web\n"
		   "links4 { tcp . 127.0.0.1 . 9000 }\n"
		   "policies4 { tcp . 127.0.0.1 . 9000 : jump count4-2 }\n");
}

static void an_empty_link_that_holds_drops(void **state)
{
	struct link_conf conf = conf_of("9000", "web");
	struct link_plan plan = plan_after(NULL, &conf, "");
	struct ruleset out = {0};

	(void)state;
	plan.hold = true;
	compile_link(&plan, 1, &out);
	assert_int_equal(out.chains[0].n_rules, 1);
	assert_int_equal(out.chains[0].rules[0].form, RULE_DROP);
	ruleset_clear(&out);
	plan_clear(&plan);
}

/* Its connections go on and are counted; an endpoint of the other family cannot have any. */
static void a_draining_endpoint_is_counted_but_has_no_slot(void **state)
{
	(void)state;
	check_link(conf_of("9000", "web"), "a=10.0.0.1:80*0 b=10.0.0.2:80!1 c=10.0.0.3:80!2 d=[fd00::1]:80",
		   "dnat ip to meta l4proto . ip daddr . th dport . numgen inc mod 1 offset 0 map @slots4-21",
		   "services4 { tcp . 127.0.0.1 . 9000 : goto link-web } # web\n"
		   "links4 { tcp . 127.0.0.1 . 9000 }\n"
		   "policies4 { tcp . 127.0.0.1 . 9000 : jump count4-2 }\n"
		   "slots4-21 { tcp . 127.0.0.1 . 9000 . 0 : 10.0.0.2 . 80 } # web/b\n"
		   "endpoints4-2 { tcp . 127.0.0.1 . 9000 . 10.0.0.1 . 80 } # web/a\n"
		   "endpoints4-2 { tcp . 127.0.0.1 . 9000 . 10.0.0.2 . 80 } # web/b\n"
		   "endpoints4-2 { tcp . 127.0.0.1 . 9000 . 10.0.0.3 . 80 } # web/c\n");
}

static void the_policy_is_in_the_rule_and_in_sets(void **state)
{
	static const char reject[] = "meta l4proto tcp reject with tcp reset";
	struct link_conf conf = conf_of("9000", "web");

	(void)state;
	conf.masquerade = MASQUERADE_ALWAYS;
	check_link(conf, "", reject,
		   "services4 { tcp . 127.0.0.1 . 9000 : goto link-web } # web\n"
		   "links4 { tcp . 127.0.0.1 . 9000 }\nalways4 { tcp . 127.0.0.1 . 9000 }\n"
		   "policies4 { tcp . 127.0.0.1 . 9000 : jump count4-2 }\n");
	conf.masquerade = MASQUERADE_NEVER;
	conf.balance = BALANCE_RANDOM;
	check_link(conf, "a=10.0.0.1:80",
		   "dnat ip to meta l4proto . ip daddr . th dport . numgen random mod 1 offset 0 map @slots4-21",
		   "services4 { tcp . 127.0.0.1 . 9000 : goto link-web } # web\n"
		   "links4 { tcp . 127.0.0.1 . 9000 }\nnever4 { tcp . 127.0.0.1 . 9000 }\n"
		   "policies4 { tcp . 127.0.0.1 . 9000 : jump count4-2 }\n"
		   "slots4-21 { tcp . 127.0.0.1 . 9000 . 0 : 10.0.0.1 . 80 } # web/a\n"
		   "endpoints4-2 { tcp . 127.0.0.1 . 9000 . 10.0.0.1 . 80 } # web/a\n");
}

/* The window of the rule, and the numbers before it that the last change left behind. */
static void slots_are_numbered_from_their_base(void **state)
{
	struct link_conf conf = conf_of("9000", "web");
	struct link_plan first = plan_after(NULL, &conf, "a=10.0.0.1:80 b=10.0.0.2:80");
	struct link_plan second = plan_after(&first, &conf, "b=10.0.0.2:80");
	struct ruleset out = {0};
	char text[RULE_TEXT], list[1024];

	(void)state;
	compile_link(&second, 1, &out);
	assert_string_equal(rule_text(&out.chains[0].rules[0], text),
			    "dnat ip to meta l4proto . ip daddr . th dport . numgen inc mod 1 offset 1 map @slots4-0");
	assert_string_equal(list_elems(&out, list, sizeof(list)),
			    "services4 { tcp . 127.0.0.1 . 9000 : goto link-web } # web\n"
			    "links4 { tcp . 127.0.0.1 . 9000 }\n"
			    "policies4 { tcp . 127.0.0.1 . 9000 : jump count4-0 }\n"
			    "slots4-0 { tcp . 127.0.0.1 . 9000 . 0 : 10.0.0.2 . 80 } # web/b\n"
			    "slots4-0 { tcp . 127.0.0.1 . 9000 . 1 : 10.0.0.2 . 80 } # web/b\n"
			    "endpoints4-0 { tcp . 127.0.0.1 . 9000 . 10.0.0.2 . 80 } # web/b\n");
	ruleset_clear(&out);
	plan_clear(&first);
	plan_clear(&second);
}

static const char *comment_of(const char *name, const char *id, char buffer[COMMENT_MAX + 1])
{
	char *endpoints = xasprintf("%s=10.0.0.1:80", id);
	struct link_conf conf = conf_of("9000", name);
	struct link_plan plan = plan_after(NULL, &conf, endpoints);
	struct ruleset out = {0};
	const char *comment;

	compile_link(&plan, 1, &out);
	comment = out.elems[out.n_elems - 1].comment;
	assert_in_range(strlen(comment), 1, COMMENT_MAX);
	strcpy(buffer, comment);
	ruleset_clear(&out);
	plan_clear(&plan);
	free(endpoints);
	return buffer;
}

static void comments_are_what_nft_can_read(void **state)
{
	char name[LINK_NAME_MAX + 1], id[ENDPOINT_ID_MAX + 1], comment[COMMENT_MAX + 1];

	(void)state;
	assert_string_equal(comment_of("web", "a/b", comment), "web/a/b");
	assert_string_equal(comment_of("web", "a\"b\\c'", comment), "web/a'b'c'");
	memset(name, 'n', LINK_NAME_MAX);
	memset(id, 'i', ENDPOINT_ID_MAX);
	name[LINK_NAME_MAX] = id[ENDPOINT_ID_MAX] = '\0';
	comment_of(name, id, comment);
	assert_int_equal(strlen(comment), COMMENT_MAX);
	assert_int_equal(strspn(comment, "n"), LINK_NAME_MAX);
	assert_int_equal(comment[LINK_NAME_MAX], '/');
	assert_int_equal(strspn(comment + LINK_NAME_MAX + 1, "i"), COMMENT_MAX - LINK_NAME_MAX - 1);
}

/* The base */

static const struct chain *find_chain(const struct ruleset *ruleset, const char *name)
{
	for (size_t i = 0; i < ruleset->n_chains; i++) {
		if (strcmp(ruleset->chains[i].name, name) == 0)
			return &ruleset->chains[i];
	}
	fail_msg("there is no chain %s", name);
	return NULL;
}

static void check_hook(const struct ruleset *ruleset, const char *name, const char *type, uint32_t hook,
		       int32_t priority)
{
	const struct chain *chain = find_chain(ruleset, name);

	assert_true(chain->hooked);
	assert_string_equal(chain->hook.type, type);
	assert_int_equal(chain->hook.hook, hook);
	assert_int_equal(chain->hook.priority, priority);
}

static void the_base_hooks_where_nat_is_done(void **state)
{
	struct ruleset base = {0};

	(void)state;
	compile_base(false, &base);
	assert_true(base.table);
	assert_false(base.foreign_shape);
	assert_int_equal(base.n_elems, 0);
	check_hook(&base, "output", "nat", NF_INET_LOCAL_OUT, -100);
	check_hook(&base, "prerouting", "nat", NF_INET_PRE_ROUTING, -100);
	check_hook(&base, "postrouting", "nat", NF_INET_POST_ROUTING, 100);
	check_hook(&base, "guard", "filter", NF_INET_PRE_ROUTING, -300);
	assert_false(find_chain(&base, "linked4")->hooked);
	assert_false(find_chain(&base, "linked6")->hooked);
	ruleset_clear(&base);
}

/* All of it goes first, no two objects share a name, and no chain has more rules than there is room for. */
static void check_consistent(bool eject)
{
	struct ruleset base = {0};
	char one[SET_NAME_TEXT], other[SET_NAME_TEXT];

	compile_base(eject, &base);
	for (size_t i = 0; i < base.n_chains; i++) {
		assert_int_equal(base.chains[i].group, GROUP_BASE);
		assert_in_range(base.chains[i].n_rules, 1, CHAIN_RULES_MAX);
		assert_ptr_equal(find_chain(&base, base.chains[i].name), &base.chains[i]);
		assert_int_not_equal(strncmp(base.chains[i].name, CHAIN_NAME_PREFIX, sizeof(CHAIN_NAME_PREFIX) - 1), 0);
	}
	for (size_t i = 0; i < base.n_sets; i++) {
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(set_name(base.sets[i], one), set_name(base.sets[j], other));
	}
	assert_int_equal(base.n_timeouts, 2);
	assert_int_not_equal(base.timeouts[0].family, base.timeouts[1].family);
	ruleset_clear(&base);
}

static void the_base_is_consistent(void **state)
{
	(void)state;
	check_consistent(false);
	check_consistent(true);
}

static bool has_set(const struct ruleset *ruleset, enum set_type type)
{
	for (size_t i = 0; i < ruleset->n_sets; i++) {
		if (ruleset->sets[i].type == type)
			return true;
	}
	return false;
}

static void without_ejection_nothing_is_there_for_it(void **state)
{
	static const enum set_type sets[] = {SET_EJECT, SET_FAILED, SET_ATTEMPTS};
	struct ruleset with = {0}, without = {0};

	(void)state;
	compile_base(true, &with);
	compile_base(false, &without);
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
		assert_true(has_set(&with, sets[i]) && !has_set(&without, sets[i]));
	assert_int_equal(find_chain(&with, "refused4")->rules[0].form, RULE_REPORT_REFUSAL);
	assert_int_equal(find_chain(&without, "refused4")->rules[0].form, RULE_NORETRY);
	ruleset_clear(&with);
	ruleset_clear(&without);
}

static void the_footprint_is_recorded_in_the_table(void **state)
{
	char interfaces[][16] = {"eth0", "fifteen-letters"};
	struct ip_addr addresses[2];
	struct footprint footprint = {interfaces, 2, addresses, 2};
	struct ruleset out = {0};
	char list[512];

	(void)state;
	ip_addr_parse("10.96.0.10", &addresses[0]);
	ip_addr_parse("fd00:aa::1", &addresses[1]);
	compile_namespace(&footprint, &out);
	assert_string_equal(list_elems(&out, list, sizeof(list)), "localnet { \"eth0\" }\n"
								  "localnet { \"fifteen-letters\" }\n"
								  "addresses4 { 10.96.0.10 }\n"
								  "addresses6 { fd00:aa::1 }\n");
	ruleset_clear(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_of_sets_lead_back),
		cmocka_unit_test(foreign_names_are_no_sets_of_ours),
		cmocka_unit_test(keys_and_data_have_the_size_of_their_fields),
		cmocka_unit_test(rules_have_the_words_of_nft),
		cmocka_unit_test(every_rule_fits_its_buffer),
		cmocka_unit_test(a_link_has_a_rule_and_elements),
		cmocka_unit_test(an_empty_link_rejects),
		cmocka_unit_test(an_empty_link_that_holds_drops),
		cmocka_unit_test(a_draining_endpoint_is_counted_but_has_no_slot),
		cmocka_unit_test(the_policy_is_in_the_rule_and_in_sets),
		cmocka_unit_test(slots_are_numbered_from_their_base),
		cmocka_unit_test(comments_are_what_nft_can_read),
		cmocka_unit_test(the_base_hooks_where_nat_is_done),
		cmocka_unit_test(the_base_is_consistent),
		cmocka_unit_test(without_ejection_nothing_is_there_for_it),
		cmocka_unit_test(the_footprint_is_recorded_in_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
