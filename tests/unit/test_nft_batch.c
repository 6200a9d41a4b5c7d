/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes to netlink messages: what the kernel would read from them, and which change it would complain about. */
#include "unit.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <malloc.h>

#include "base/mem.h"
#include "kernel/nft-batch.h"
#include "kernel/nft-rules.h"
#include "plans.h"
#include "ruleset/compile.h"

#define SEQUENCE 1000
#define GENERATION 77
#define TABLE_FLAGS 6u

static struct batch batch_of(const struct change *changes, size_t count, bool apply)
{
	struct batch batch = {0};

	batch_begin(&batch, SEQUENCE, GENERATION, TABLE_FLAGS);
	batch_add_changes(&batch, changes, count);
	batch_end(&batch, apply);
	return batch;
}

static const struct nlmsghdr *message_at(const struct batch *batch, size_t at)
{
	return (const void *)(batch->bytes + at);
}

static const struct nlmsghdr *message(const struct batch *batch, size_t index)
{
	assert_true(index < batch->n_messages);
	return message_at(batch, batch->messages[index].at);
}

/* NFT_MSG_*, of a message that is nf_tables'. */
static unsigned int type_of(const struct nlmsghdr *header)
{
	assert_int_equal(header->nlmsg_type >> 8, NFNL_SUBSYS_NFTABLES);
	return header->nlmsg_type & 0xff;
}

static const struct nlattr *attr_of(const struct nlmsghdr *header, uint16_t type)
{
	const struct nlattr *attr;

	mnl_attr_for_each (attr, header, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) == type)
			return attr;
	}
	return NULL;
}

static struct change adding(enum change_kind kind, const void *object)
{
	return (struct change){.kind = (uint8_t)kind, .add = true, .object = object};
}

static struct change removing(enum change_kind kind, const void *object)
{
	return (struct change){.kind = (uint8_t)kind, .object = object};
}

/* The envelope */

static void check_chained(const struct batch *batch, bool has_end)
{
	const struct nlmsghdr *header = message_at(batch, 0);
	uint32_t count = 0;
	int left = (int)batch->used;

	assert_int_equal(header->nlmsg_type, NFNL_MSG_BATCH_BEGIN);
	assert_int_equal(ntohl(mnl_attr_get_u32(attr_of(header, NFNL_BATCH_GENID))), GENERATION);
	for (; mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left)) {
		bool last = count == batch->n_messages;

		assert_int_equal(header->nlmsg_seq, SEQUENCE + count);
		assert_int_equal(!!(header->nlmsg_flags & NLM_F_ACK), last);
		count++;
		if (header->nlmsg_type == NFNL_MSG_BATCH_END)
			assert_int_equal(left, MNL_ALIGN(header->nlmsg_len));
	}
	assert_int_equal(left, 0);
	assert_int_equal(count, batch->n_messages + 1 + has_end);
}

static void check_envelope(bool apply)
{
	const struct set_id links = {SET_LINKS, AF_INET, 0};
	const struct change changes[] = {adding(CHANGE_TABLE, NULL), adding(CHANGE_SET, &links)};
	struct batch batch = batch_of(changes, 2, apply);

	assert_int_equal(batch.n_messages, 2);
	check_chained(&batch, apply);
	batch_clear(&batch);
}

/* Without its end, the kernel checks a batch and applies nothing. */
static void a_batch_ends_only_to_be_applied(void **state)
{
	(void)state;
	check_envelope(true);
	check_envelope(false);
}

static void a_batch_may_be_for_any_generation_and_built_again(void **state)
{
	const struct change table = adding(CHANGE_TABLE, NULL);
	struct batch batch = batch_of(&table, 1, true);

	(void)state;
	batch_begin(&batch, 5, 0, 0);
	assert_null(attr_of(message_at(&batch, 0), NFNL_BATCH_GENID));
	assert_int_equal(batch.n_messages, 0);
	assert_null(batch_find(&batch, 6));
	batch_add_claim(&batch);
	batch_end(&batch, true);
	assert_int_equal(batch.n_messages, 1);
	assert_int_equal(message(&batch, 0)->nlmsg_seq, 6);
	assert_int_equal(batch_find(&batch, 6)->first->kind, CHANGE_TABLE);
	batch_clear(&batch);
	batch_clear(&batch);
}

/* libmnl leaves the bytes between attributes as they are; M_PERTURB makes sure that they were something. */
static void padding_does_not_tell_what_our_memory_held(void **state)
{
	const struct change table = adding(CHANGE_TABLE, NULL);
	const struct nlattr *name;
	struct batch batch;

	(void)state;
	mallopt(M_PERTURB, 0xaa);
	batch = batch_of(&table, 1, true);
	mallopt(M_PERTURB, 0);
	name = attr_of(message(&batch, 0), NFTA_TABLE_NAME);
	assert_int_equal(name->nla_len % MNL_ALIGNTO, 3);
	assert_int_equal(((const uint8_t *)name)[name->nla_len], 0);
	batch_clear(&batch);
}

/* Tables, timeouts, chains */

static void the_table_has_flags_and_a_comment(void **state)
{
	/* nft's user data of a table: type 0, its length, the text with its NUL */
	static const uint8_t comment[] = "\0\x09nuncio 3";
	const struct change changes[] = {removing(CHANGE_TABLE, NULL), adding(CHANGE_TABLE, NULL)};
	struct batch batch = batch_of(changes, 2, true);
	const struct nlattr *udata;

	(void)state;
	assert_int_equal(type_of(message(&batch, 0)), NFT_MSG_DELTABLE);
	assert_null(attr_of(message(&batch, 0), NFTA_TABLE_FLAGS));
	assert_int_equal(type_of(message(&batch, 1)), NFT_MSG_NEWTABLE);
	assert_string_equal(mnl_attr_get_str(attr_of(message(&batch, 1), NFTA_TABLE_NAME)), "nuncio");
	assert_int_equal(ntohl(mnl_attr_get_u32(attr_of(message(&batch, 1), NFTA_TABLE_FLAGS))), TABLE_FLAGS);
	udata = attr_of(message(&batch, 1), NFTA_TABLE_USERDATA);
	assert_int_equal(mnl_attr_get_payload_len(udata), sizeof(comment));
	assert_memory_equal(mnl_attr_get_payload(udata), comment, sizeof(comment));
	batch_clear(&batch);
}

/* Else its connections would be counted twice. */
static void rules_of_a_shared_chain_replace_those_that_are_there(void **state)
{
	const struct chain chain = {.name = "count4-0",
				    .shared = true,
				    .n_rules = 1,
				    .rules = {{.form = RULE_TO_COUNT, .family = AF_INET}}};
	const struct change change = adding(CHANGE_RULES, &chain);
	struct batch batch = batch_of(&change, 1, true);

	(void)state;
	assert_int_equal(batch.n_messages, 2);
	assert_int_equal(type_of(message(&batch, 0)), NFT_MSG_DELRULE);
	assert_string_equal(mnl_attr_get_str(attr_of(message(&batch, 0), NFTA_RULE_CHAIN)), "count4-0");
	assert_int_equal(type_of(message(&batch, 1)), NFT_MSG_NEWRULE);
	batch_clear(&batch);
}

static void every_kind_has_its_messages(void **state)
{
	const struct timeout timeout = {"retry6", AF_INET6, 1};
	const struct set_id set = {SET_SLOTS, AF_INET, 3};
	const struct chain chain = {
		.name = "link-web", .n_rules = 2, .rules = {{.form = RULE_RESET}, {.form = RULE_REJECT}}};
	const struct change changes[] = {
		adding(CHANGE_TIMEOUT, &timeout), adding(CHANGE_SET, &set),	      adding(CHANGE_CHAIN, &chain),
		adding(CHANGE_RULES, &chain),	  removing(CHANGE_RULES, &chain),     removing(CHANGE_CHAIN, &chain),
		removing(CHANGE_SET, &set),	  removing(CHANGE_TIMEOUT, &timeout),
	};
	static const unsigned int types[] = {
		NFT_MSG_NEWOBJ,	 NFT_MSG_NEWSET,   NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWRULE,
		NFT_MSG_DELRULE, NFT_MSG_DELCHAIN, NFT_MSG_DELSET,   NFT_MSG_DELOBJ,
	};
	struct batch batch = batch_of(changes, ARRAY_SIZE(changes), true);

	(void)state;
	assert_int_equal(batch.n_messages, ARRAY_SIZE(types));
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		assert_int_equal(type_of(message(&batch, i)), types[i]);
	assert_string_equal(mnl_attr_get_str(attr_of(message(&batch, 0), NFTA_OBJ_NAME)), "retry6");
	assert_string_equal(mnl_attr_get_str(attr_of(message(&batch, 5), NFTA_RULE_CHAIN)), "link-web");
	assert_null(attr_of(message(&batch, 5), NFTA_RULE_HANDLE)); /* all of them */
	assert_string_equal(mnl_attr_get_str(attr_of(message(&batch, 7), NFTA_SET_NAME)), "slots4-3");
	batch_clear(&batch);
}

/* Sets */

/* Each one with its elements behind it would make all later transactions slow, see batch_add_changes(). */
static void new_chains_come_first_and_new_elements_last(void **state)
{
	static const struct set_id set = {SET_LINKS, AF_INET, 0};
	const struct chain a = {.name = "link-a", .n_rules = 1, .rules = {{.form = RULE_REJECT}}};
	const struct chain b = {.name = "link-b", .n_rules = 1, .rules = {{.form = RULE_REJECT}}};
	const struct elem elem = {.set = set};
	struct change changes[] = {
		adding(CHANGE_SET, &set), adding(CHANGE_CHAIN, &a),   adding(CHANGE_ELEM, &elem),
		adding(CHANGE_RULES, &a), adding(CHANGE_CHAIN, &b),   adding(CHANGE_ELEM, &elem),
		adding(CHANGE_RULES, &b), removing(CHANGE_CHAIN, &a),
	};
	static const unsigned int expected[] = {
		NFT_MSG_NEWSET,	 NFT_MSG_NEWCHAIN, NFT_MSG_NEWCHAIN,   NFT_MSG_NEWRULE,
		NFT_MSG_NEWRULE, NFT_MSG_DELCHAIN, NFT_MSG_NEWSETELEM, NFT_MSG_NEWSETELEM,
	};
	struct batch batch;

	(void)state;
	for (size_t i = 1; i < ARRAY_SIZE(changes); i++)
		changes[i].group = i < 4 ? 1 : i < 7 ? 2 : GROUP_LAST;
	batch = batch_of(changes, ARRAY_SIZE(changes), true);
	assert_int_equal(batch.n_messages, ARRAY_SIZE(expected));
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		assert_int_equal(type_of(message(&batch, i)), expected[i]);
	assert_ptr_equal(batch.messages[2].first, &changes[4]);
	batch_clear(&batch);
}

/*
 * What nft 1.0.6 (--debug=mnl, little endian) writes as user data of
 * map slots4-0 { typeof meta l4proto . ip daddr . th dport . numgen inc mod 2 : ip daddr . th dport; }
 */
static const uint8_t slots4_udata[] = {
	0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x01, 0x04, 0x00, 0x00, 0x00, 0x00, 0x03, 0x60, 0x00, 0x04, 0x0d,
	0x00, 0x00, 0x00, 0x01, 0x58, 0x00, 0x0e, 0x00, 0x04, 0x09, 0x00, 0x00, 0x00, 0x01, 0x06, 0x00, 0x04,
	0x10, 0x00, 0x00, 0x00, 0x01, 0x14, 0x00, 0x04, 0x07, 0x00, 0x00, 0x00, 0x01, 0x0c, 0x00, 0x04, 0x0c,
	0x00, 0x00, 0x00, 0x01, 0x04, 0x0c, 0x00, 0x00, 0x00, 0x02, 0x14, 0x00, 0x04, 0x07, 0x00, 0x00, 0x00,
	0x01, 0x0c, 0x00, 0x04, 0x0b, 0x00, 0x00, 0x00, 0x01, 0x04, 0x02, 0x00, 0x00, 0x00, 0x03, 0x1a, 0x00,
	0x04, 0x17, 0x00, 0x00, 0x00, 0x01, 0x12, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x01, 0x04, 0x02, 0x00,
	0x00, 0x00, 0x02, 0x04, 0x00, 0x00, 0x00, 0x00, 0x04, 0x34, 0x00, 0x04, 0x0d, 0x00, 0x00, 0x00, 0x01,
	0x2c, 0x00, 0x14, 0x00, 0x04, 0x07, 0x00, 0x00, 0x00, 0x01, 0x0c, 0x00, 0x04, 0x0c, 0x00, 0x00, 0x00,
	0x01, 0x04, 0x0c, 0x00, 0x00, 0x00, 0x01, 0x14, 0x00, 0x04, 0x07, 0x00, 0x00, 0x00, 0x01, 0x0c, 0x00,
	0x04, 0x0b, 0x00, 0x00, 0x00, 0x01, 0x04, 0x02, 0x00, 0x00, 0x00, 0x06, 0x04, 0x00, 0x00, 0x00, 0x00,
};

/* The same of slots6-0, with ip6 in place of ip. */
static const uint8_t slots6_udata[] = {
	0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x01, 0x04, 0x00, 0x00, 0x00, 0x00, 0x03, 0x60, 0x00, 0x04, 0x0d,
	0x00, 0x00, 0x00, 0x01, 0x58, 0x00, 0x0e, 0x00, 0x04, 0x09, 0x00, 0x00, 0x00, 0x01, 0x06, 0x00, 0x04,
	0x10, 0x00, 0x00, 0x00, 0x01, 0x14, 0x00, 0x04, 0x07, 0x00, 0x00, 0x00, 0x01, 0x0c, 0x00, 0x04, 0x0d,
	0x00, 0x00, 0x00, 0x01, 0x04, 0x09, 0x00, 0x00, 0x00, 0x02, 0x14, 0x00, 0x04, 0x07, 0x00, 0x00, 0x00,
	0x01, 0x0c, 0x00, 0x04, 0x0b, 0x00, 0x00, 0x00, 0x01, 0x04, 0x02, 0x00, 0x00, 0x00, 0x03, 0x1a, 0x00,
	0x04, 0x17, 0x00, 0x00, 0x00, 0x01, 0x12, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x01, 0x04, 0x02, 0x00,
	0x00, 0x00, 0x02, 0x04, 0x00, 0x00, 0x00, 0x00, 0x04, 0x34, 0x00, 0x04, 0x0d, 0x00, 0x00, 0x00, 0x01,
	0x2c, 0x00, 0x14, 0x00, 0x04, 0x07, 0x00, 0x00, 0x00, 0x01, 0x0c, 0x00, 0x04, 0x0d, 0x00, 0x00, 0x00,
	0x01, 0x04, 0x09, 0x00, 0x00, 0x00, 0x01, 0x14, 0x00, 0x04, 0x07, 0x00, 0x00, 0x00, 0x01, 0x0c, 0x00,
	0x04, 0x0b, 0x00, 0x00, 0x00, 0x01, 0x04, 0x02, 0x00, 0x00, 0x00, 0x06, 0x04, 0x00, 0x00, 0x00, 0x00,
};

static struct nftnl_set *encode_set(struct set_id set)
{
	const struct change change = adding(CHANGE_SET, &set);
	struct batch batch = batch_of(&change, 1, true);
	struct nftnl_set *parsed = nftnl_set_alloc();

	assert_int_equal(nftnl_set_nlmsg_parse(message(&batch, 0), parsed), 0);
	batch_clear(&batch);
	return parsed;
}

static void check_slots(uint8_t family, uint32_t key_type, uint32_t data_type, const uint8_t *udata, size_t size)
{
	struct nftnl_set *set = encode_set((struct set_id){SET_SLOTS, family, 0});
	uint32_t got_size;
	const void *got = nftnl_set_get_data(set, NFTNL_SET_USERDATA, &got_size);

	assert_int_equal(nftnl_set_get_u32(set, NFTNL_SET_FLAGS), NFT_SET_MAP);
	assert_int_equal(nftnl_set_get_u32(set, NFTNL_SET_KEY_TYPE), key_type);
	assert_int_equal(nftnl_set_get_u32(set, NFTNL_SET_DATA_TYPE), data_type);
	assert_int_equal(got_size, size);
	assert_memory_equal(got, udata, size);
	nftnl_set_free(set);
}

static void slot_maps_are_as_nft_would_make_them(void **state)
{
	(void)state;
	check_slots(AF_INET, 0x00307344, 0x1cd, slots4_udata, sizeof(slots4_udata));
	check_slots(AF_INET6, 0x00308344, 0x20d, slots6_udata, sizeof(slots6_udata));
}

/* The types as nft --debug=mnl shows them for the declarations in ruleset.c's words. */
static void sets_have_the_types_of_nft(void **state)
{
	static const struct {
		struct set_id set;
		uint32_t flags, key_type, key_length;
	} cases[] = {
		{{SET_SERVICES, AF_INET, 0}, NFT_SET_MAP, 0xc1cd, 12},
		{{SET_LINKS, AF_INET, 0}, 0, 0xc1cd, 12},
		{{SET_LINKS, AF_INET6, 0}, 0, 0xc20d, 24},
		{{SET_ALWAYS, AF_INET, 0}, 0, 0xc1cd, 12},
		{{SET_NEVER, AF_INET6, 0}, 0, 0xc20d, 24},
		{{SET_ENDPOINTS, AF_INET, 0}, 0, 0xc1cd1cd, 20},
		{{SET_ADDRESSES, AF_INET, 0}, 0, 7, 4},
		{{SET_ADDRESSES, AF_INET6, 0}, 0, 8, 16},
		{{.type = SET_LOCALNET}, 0, 41, 16},
		{{SET_POLICIES, AF_INET, 0}, NFT_SET_MAP, 0xc1cd, 12},
		{{SET_NORETRY, AF_INET6, 0}, 0, 0xc20d, 24},
		{{SET_AFFINITY, AF_INET, 7}, NFT_SET_MAP | NFT_SET_EVAL | NFT_SET_TIMEOUT, 7, 4},
		{{SET_AFFINITY, AF_INET6, 7}, NFT_SET_MAP | NFT_SET_EVAL | NFT_SET_TIMEOUT, 8, 16},
		{{SET_TRYING, AF_INET, 0}, NFT_SET_EVAL | NFT_SET_TIMEOUT, 0x41cd, 12},
		{{SET_TRIED, AF_INET6, 0}, NFT_SET_EVAL | NFT_SET_TIMEOUT, 0x420d, 24},
		{{SET_REFUSALS, AF_INET, 0}, NFT_SET_EVAL | NFT_SET_TIMEOUT, 0xc1cd1cd, 20},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct nftnl_set *set = encode_set(cases[i].set);

		assert_int_equal(nftnl_set_get_u32(set, NFTNL_SET_FLAGS), cases[i].flags);
		assert_int_equal(nftnl_set_get_u32(set, NFTNL_SET_KEY_TYPE), cases[i].key_type);
		assert_int_equal(nftnl_set_get_u32(set, NFTNL_SET_KEY_LEN), cases[i].key_length);
		assert_int_equal(nftnl_set_is_set(set, NFTNL_SET_EXPR),
				 cases[i].set.type == SET_ENDPOINTS || cases[i].set.type == SET_REFUSALS);
		assert_int_equal(nftnl_set_is_set(set, NFTNL_SET_DESC_SIZE), set_is_dynamic(cases[i].set));
		nftnl_set_free(set);
	}
}

/* Rules */

static void check_protocols(const struct batch *batch, size_t index, uint32_t *ret_id)
{
	const struct nlmsghdr *set = message(batch, index), *elems = message(batch, index + 1);

	assert_int_equal(type_of(set), NFT_MSG_NEWSET);
	assert_int_equal(type_of(elems), NFT_MSG_NEWSETELEM);
	*ret_id = ntohl(mnl_attr_get_u32(attr_of(set, NFTA_SET_ID)));
	assert_int_equal(ntohl(mnl_attr_get_u32(attr_of(elems, NFTA_SET_ELEM_LIST_SET_ID))), *ret_id);
}

static int find_anonymous_id(struct nftnl_expr *expr, void *context)
{
	if (strcmp(nftnl_expr_get_str(expr, NFTNL_EXPR_NAME), "lookup") == 0 &&
	    strcmp(nftnl_expr_get_str(expr, NFTNL_EXPR_LOOKUP_SET), "__set%d") == 0)
		*(uint32_t *)context = nftnl_expr_get_u32(expr, NFTNL_EXPR_LOOKUP_SET_ID);
	return 0;
}

/* The rule, behind the sets that only it refers to, is there and is recognised. */
static void check_encoded_rule(const struct nft_recogniser *recogniser, const struct batch *batch, size_t *index,
			       const struct rule *rule)
{
	struct nftnl_rule *parsed = nftnl_rule_alloc();
	uint32_t set_id = 0, used_id = 0;
	enum set_type protocols;
	struct rule got;

	if (nft_rule_anonymous_set(rule, &protocols)) {
		check_protocols(batch, *index, &set_id);
		*index += 2;
	}
	assert_int_equal(type_of(message(batch, *index)), NFT_MSG_NEWRULE);
	assert_int_equal(nftnl_rule_nlmsg_parse(message(batch, *index), parsed), 0);
	*index += 1;
	nftnl_expr_foreach(parsed, find_anonymous_id, &used_id);
	assert_int_equal(used_id, set_id);
	got = nft_recognise(recogniser, parsed);
	assert_int_equal(got.form, rule->form);
	assert_int_equal(got.family, rule->family);
	assert_int_equal(got.balance, rule->balance);
	assert_int_equal(got.shard, rule->shard);
	assert_int_equal(got.modulus, rule->modulus);
	assert_int_equal(got.offset, rule->offset);
	assert_int_equal(got.seconds, rule->seconds);
	assert_true(got.timeout == rule->timeout || strcmp(got.timeout, rule->timeout) == 0);
	nftnl_rule_free(parsed);
}

static void check_encoded_chain(const struct nft_recogniser *recogniser, const struct chain *chain)
{
	const struct change change = adding(CHANGE_RULES, chain);
	struct batch batch = batch_of(&change, 1, true);
	size_t index = 0;

	for (uint32_t i = 0; i < chain->n_rules; i++)
		check_encoded_rule(recogniser, &batch, &index, &chain->rules[i]);
	assert_int_equal(index, batch.n_messages);
	batch_clear(&batch);
}

/* All that compile_base() and compile_link() write. */
static void every_rule_is_recognised(void **state)
{
	static const struct rule rules[] = {
		{.form = RULE_BALANCE, .family = AF_INET, .balance = BALANCE_ROUNDROBIN, .modulus = 1},
		{.form = RULE_BALANCE,
		 .family = AF_INET,
		 .balance = BALANCE_RANDOM,
		 .shard = 17,
		 .modulus = 3,
		 .offset = 1000000},
		{.form = RULE_BALANCE,
		 .family = AF_INET6,
		 .balance = BALANCE_ROUNDROBIN,
		 .shard = 65535,
		 .modulus = 40000,
		 .offset = 7},
		{.form = RULE_BALANCE, .family = AF_INET6, .balance = BALANCE_RANDOM, .modulus = UINT32_MAX},
		{.form = RULE_BALANCE,
		 .family = AF_INET,
		 .balance = BALANCE_SOURCE,
		 .shard = 17,
		 .modulus = 509,
		 .offset = 3},
		{.form = RULE_BALANCE, .family = AF_INET6, .balance = BALANCE_SOURCE, .modulus = 65521},
		{.form = RULE_ELSEWHERE, .family = AF_INET, .shard = 3, .modulus = 1021, .offset = 5},
		{.form = RULE_ELSEWHERE, .family = AF_INET6, .shard = 3, .modulus = 1021},
		{.form = RULE_STICK_TCP, .family = AF_INET, .shard = 0},
		{.form = RULE_STICK_UDP, .family = AF_INET6, .shard = 65535},
		{.form = RULE_FORGET, .family = AF_INET, .shard = 9},
		{.form = RULE_FORGET, .family = AF_INET6, .shard = 9},
		{.form = RULE_TRYING, .family = AF_INET},
		{.form = RULE_TRYING, .family = AF_INET6},
		{.form = RULE_REMEMBER, .family = AF_INET, .shard = 9, .seconds = 60},
		{.form = RULE_REMEMBER, .family = AF_INET6, .shard = 9, .seconds = 86400},
		{.form = RULE_COUNT, .family = AF_INET6, .shard = 3},
		{.form = RULE_TO_COUNT, .family = AF_INET, .shard = 0},
		{.form = RULE_TO_COUNT, .family = AF_INET6, .shard = 65535},
		{.form = RULE_TIMEOUT, .timeout = "retry4-web-30s"},
		{.form = RULE_REPORT_UNANSWERED, .family = AF_INET, .link = "web"},
		{.form = RULE_REPORT_UNANSWERED, .family = AF_INET6, .link = "mail.example_1-2"},
		{.form = RULE_NOTE_ATTEMPT, .family = AF_INET, .ms = 1500},
		{.form = RULE_NOTE_ATTEMPT, .family = AF_INET6, .ms = 262147500},
		{.form = RULE_RESET},
		{.form = RULE_REJECT},
		{.form = RULE_DROP},
	};
	struct nft_recogniser *recogniser = nft_recogniser_new();
	struct ruleset base = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		struct chain link = {.name = "link-web", .n_rules = 1, .rules = {rules[i]}};

		check_encoded_chain(recogniser, &link);
	}
	compile_base(true, &base);
	for (size_t i = 0; i < base.n_chains; i++)
		check_encoded_chain(recogniser, &base.chains[i]);
	ruleset_clear(&base);
	nft_recogniser_free(recogniser);
}

static struct nftnl_rule *build_rule(const struct rule *rule)
{
	struct nftnl_rule *built = nftnl_rule_alloc();

	nft_rule_expressions(rule, 1, built);
	return built;
}

static int change_last_verdict(struct nftnl_expr *expr, void *context)
{
	(void)context;
	if (strcmp(nftnl_expr_get_str(expr, NFTNL_EXPR_NAME), "immediate") == 0)
		nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_VERDICT, 1); /* accept */
	return 0;
}

/* Like one of ours, except for one expression too many or one value. */
static void other_rules_are_foreign(void **state)
{
	const struct rule guard = {.form = RULE_GUARD};
	const struct rule balance = {.form = RULE_BALANCE, .family = AF_INET, .modulus = 3};
	struct nft_recogniser *recogniser = nft_recogniser_new();
	struct nftnl_rule *rule = nftnl_rule_alloc();

	(void)state;
	assert_int_equal(nft_recognise(recogniser, rule).form, RULE_FOREIGN);
	nftnl_rule_free(rule);
	rule = build_rule(&guard);
	assert_int_equal(nft_recognise(recogniser, rule).form, RULE_GUARD);
	nftnl_expr_foreach(rule, change_last_verdict, NULL);
	assert_int_equal(nft_recognise(recogniser, rule).form, RULE_FOREIGN);
	nftnl_rule_free(rule);
	rule = build_rule(&balance);
	assert_int_equal(nft_recognise(recogniser, rule).form, RULE_BALANCE);
	nftnl_rule_add_expr(rule, nftnl_expr_alloc("counter"));
	assert_int_equal(nft_recognise(recogniser, rule).form, RULE_FOREIGN);
	nftnl_rule_free(rule);
	nft_recogniser_free(recogniser);
}

/* Elements, and which change the kernel means */

#define N_ELEMS 3000

/* Slots with long comments: far more than one message may hold. */
static void many_elems(struct ruleset *out, struct change *changes)
{
	char comment[COMMENT_MAX + 1];

	memset(comment, 'c', COMMENT_MAX);
	comment[COMMENT_MAX] = '\0';
	for (uint32_t i = 0; i < N_ELEMS; i++) {
		struct elem *elem = ruleset_add_elem(out);

		elem->set = (struct set_id){SET_SLOTS, AF_INET6, 0};
		memcpy(elem->key + 24, &i, sizeof(i));
		elem->comment = arena_strdup(&out->strings, comment);
	}
	for (uint32_t i = 0; i < N_ELEMS; i++)
		changes[i] = adding(CHANGE_ELEM, &out->elems[i]);
}

/* As the kernel would: the offset of an element in its message, or of something inside it. */
static void check_located(const struct batch *batch, const struct batch_message *message, const struct change **next)
{
	const struct nlmsghdr *header = message_at(batch, message->at);
	const struct nlattr *list = attr_of(header, NFTA_SET_ELEM_LIST_ELEMENTS), *elem;

	assert_ptr_equal(message->first, *next);
	assert_ptr_equal(batch_locate(batch, message, 0), *next);
	mnl_attr_for_each_nested (elem, list) {
		uint32_t offset = (uint32_t)((const uint8_t *)elem - (const uint8_t *)header);

		assert_ptr_equal(batch_locate(batch, message, offset), *next);
		assert_ptr_equal(batch_locate(batch, message, offset + elem->nla_len - 1u), *next);
		++*next;
	}
}

static void elements_are_found_in_several_messages(void **state)
{
	struct change *changes = xcalloc(N_ELEMS, sizeof(*changes));
	const struct change *next = changes;
	struct ruleset elems = {0};
	struct batch batch;

	(void)state;
	many_elems(&elems, changes);
	batch = batch_of(changes, N_ELEMS, true);
	check_chained(&batch, true);
	assert_true(batch.n_messages > 1);
	for (size_t i = 0; i < batch.n_messages; i++) {
		assert_true(message(&batch, i)->nlmsg_len < 65536);
		assert_int_equal(type_of(message(&batch, i)), NFT_MSG_NEWSETELEM);
		check_located(&batch, batch_find(&batch, message(&batch, i)->nlmsg_seq), &next);
	}
	assert_ptr_equal(next, changes + N_ELEMS);
	batch_clear(&batch);
	ruleset_clear(&elems);
	free(changes);
}

/* On a kernel that lets sets grow, one message before it makes a small one. */
static void dynamic_sets_end_with_their_bound(void **state)
{
	static const struct set_id set = {SET_TRIED, AF_INET, 0};
	const struct change change = adding(CHANGE_SET, &set);
	struct batch batch = batch_of(&change, 1, true);
	struct nftnl_set *parsed = nftnl_set_alloc();

	(void)state;
	assert_in_range(batch.n_messages, 1, 2);
	for (size_t i = 0; i < batch.n_messages; i++) {
		assert_int_equal(nftnl_set_nlmsg_parse(message(&batch, i), parsed), 0);
		assert_string_equal(nftnl_set_get_str(parsed, NFTNL_SET_NAME), "tried4");
		assert_in_range(nftnl_set_get_u32(parsed, NFTNL_SET_DESC_SIZE), 1, DYNAMIC_SET_SIZE);
	}
	assert_int_equal(nftnl_set_get_u32(parsed, NFTNL_SET_DESC_SIZE), DYNAMIC_SET_SIZE);
	nftnl_set_free(parsed);
	batch_clear(&batch);
}

/* One message for each set, group and direction; a rule's anonymous set is the rule's. */
static void messages_lead_to_their_changes(void **state)
{
	const struct elem link = {.set = {SET_LINKS, AF_INET, 0}}, never = {.set = {SET_NEVER, AF_INET, 0}};
	const struct chain chain = {
		.name = "count4-0", .n_rules = 1, .rules = {{.form = RULE_COUNT, .family = AF_INET}}};
	struct change changes[] = {
		adding(CHANGE_ELEM, &link),  adding(CHANGE_ELEM, &link),    adding(CHANGE_ELEM, &never),
		adding(CHANGE_ELEM, &never), removing(CHANGE_ELEM, &never), adding(CHANGE_RULES, &chain),
	};
	static const size_t firsts[] = {0, 2, 4, 5, 5, 5, 3};
	struct batch batch;

	(void)state;
	changes[3].group = 1;
	batch = batch_of(changes, ARRAY_SIZE(changes), true);
	assert_int_equal(batch.n_messages, ARRAY_SIZE(firsts));
	for (uint32_t i = 0; i < ARRAY_SIZE(firsts); i++) {
		const struct batch_message *found = batch_find(&batch, SEQUENCE + 1 + i);

		assert_ptr_equal(found->first, &changes[firsts[i]]);
		assert_ptr_equal(batch_locate(&batch, found, 0), &changes[firsts[i]]);
	}
	assert_ptr_equal(batch_locate(&batch, batch_find(&batch, SEQUENCE + 6), 40), &changes[5]);
	assert_null(batch_find(&batch, SEQUENCE));
	assert_null(batch_find(&batch, SEQUENCE + 8));
	assert_null(batch_find(&batch, SEQUENCE - 1));
	assert_null(batch_find(&batch, 0));
	batch_clear(&batch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_batch_ends_only_to_be_applied),
		cmocka_unit_test(a_batch_may_be_for_any_generation_and_built_again),
		cmocka_unit_test(padding_does_not_tell_what_our_memory_held),
		cmocka_unit_test(the_table_has_flags_and_a_comment),
		cmocka_unit_test(every_kind_has_its_messages),
		cmocka_unit_test(rules_of_a_shared_chain_replace_those_that_are_there),
		cmocka_unit_test(new_chains_come_first_and_new_elements_last),
		cmocka_unit_test(slot_maps_are_as_nft_would_make_them),
		cmocka_unit_test(sets_have_the_types_of_nft),
		cmocka_unit_test(dynamic_sets_end_with_their_bound),
		cmocka_unit_test(every_rule_is_recognised),
		cmocka_unit_test(other_rules_are_foreign),
		cmocka_unit_test(elements_are_found_in_several_messages),
		cmocka_unit_test(messages_lead_to_their_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
