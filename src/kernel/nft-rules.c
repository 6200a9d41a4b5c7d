/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/nft-rules.h"

#include <arpa/inet.h>
#include <libnftnl/expr.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Offsets in the headers that the payload expression reads. */
enum { IP_SADDR = 12, IP_DADDR = 16, IP6_SADDR = 8, IP6_DADDR = 24, TRANSPORT_DPORT = 2 };

struct builder {
	struct nftnl_rule *rule;
	uint32_t *anonymous_id;
	bool is6;
};

/* The register at a 4-byte word of the register file, named as the kernel names it in a dump. */
static uint32_t reg(uint32_t word)
{
	return word % 4 == 0 ? NFT_REG_1 + word / 4 : NFT_REG32_00 + word;
}

/* The words that an address takes in a key. */
static uint32_t address_words(const struct builder *b)
{
	return b->is6 ? 4 : 1;
}

static struct nftnl_expr *add(const struct builder *b, const char *name)
{
	struct nftnl_expr *expr = nftnl_expr_alloc(name);

	if (!expr)
		abort(); /* no memory; see base/mem.h */
	nftnl_rule_add_expr(b->rule, expr);
	return expr;
}

static void add_meta(const struct builder *b, uint32_t key, uint32_t word)
{
	struct nftnl_expr *expr = add(b, "meta");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_DREG, reg(word));
}

static void add_payload(const struct builder *b, uint32_t base, uint32_t offset, uint32_t length, uint32_t word)
{
	struct nftnl_expr *expr = add(b, "payload");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, base);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_LEN, length);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_DREG, reg(word));
}

static void add_cmp(const struct builder *b, uint32_t op, const void *data, uint32_t length)
{
	struct nftnl_expr *expr = add(b, "cmp");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_SREG, reg(0));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_OP, op);
	nftnl_expr_set(expr, NFTNL_EXPR_CMP_DATA, data, length);
}

static void add_cmp_byte(const struct builder *b, uint32_t op, uint8_t value)
{
	add_cmp(b, op, &value, sizeof(value));
}

static void add_ct(const struct builder *b, uint32_t key, int direction, uint32_t word)
{
	struct nftnl_expr *expr = add(b, "ct");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, key);
	if (direction >= 0)
		nftnl_expr_set_u8(expr, NFTNL_EXPR_CT_DIR, (uint8_t)direction);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_DREG, reg(word));
}

static struct nftnl_expr *add_lookup(const struct builder *b, enum set_type type, uint16_t shard)
{
	struct set_id set = {(uint8_t)type, b->is6 ? AF_INET6 : AF_INET, shard};
	struct nftnl_expr *expr = add(b, "lookup");
	char name[SET_NAME_TEXT];

	nftnl_expr_set_str(expr, NFTNL_EXPR_LOOKUP_SET, set_name(set, name));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_SREG, reg(0));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_FLAGS, 0);
	return expr;
}

static void add_verdict(const struct builder *b, int verdict, const char *chain)
{
	struct nftnl_expr *expr = add(b, "immediate");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdict);
	if (chain)
		nftnl_expr_set_str(expr, NFTNL_EXPR_IMM_CHAIN, chain);
}

static void match_family(const struct builder *b)
{
	add_meta(b, NFT_META_NFPROTO, 0);
	add_cmp_byte(b, NFT_CMP_EQ, b->is6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
}

static void match_tcp(const struct builder *b)
{
	add_meta(b, NFT_META_L4PROTO, 0);
	add_cmp_byte(b, NFT_CMP_EQ, IPPROTO_TCP);
}

/* meta l4proto { tcp, udp }: nft needs it in front to print, and read again, a port of a connection's tuple. */
static void match_tcp_udp(const struct builder *b)
{
	struct nftnl_expr *lookup;

	add_meta(b, NFT_META_L4PROTO, 0);
	lookup = add_lookup(b, SET_PROTOCOLS, 0);
	nftnl_expr_set_u32(lookup, NFTNL_EXPR_LOOKUP_SET_ID, (*b->anonymous_id)++);
}

static void load_saddr(const struct builder *b, uint32_t word)
{
	add_payload(b, NFT_PAYLOAD_NETWORK_HEADER, b->is6 ? IP6_SADDR : IP_SADDR, 4 * address_words(b), word);
}

static void load_daddr(const struct builder *b, uint32_t word)
{
	add_payload(b, NFT_PAYLOAD_NETWORK_HEADER, b->is6 ? IP6_DADDR : IP_DADDR, 4 * address_words(b), word);
}

static void load_dport(const struct builder *b, uint32_t word)
{
	add_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TRANSPORT_DPORT, 2, word);
}

/* The packet's protocol, destination and port, as key of a first packet. */
static void load_packet_key(const struct builder *b)
{
	add_meta(b, NFT_META_L4PROTO, 0);
	load_daddr(b, 1);
	load_dport(b, 1 + address_words(b));
}

/* The same of what the client asked for, before translation. */
static void load_original_key(const struct builder *b)
{
	add_ct(b, NFT_CT_PROTOCOL, -1, 0);
	add_ct(b, b->is6 ? NFT_CT_DST_IP6 : NFT_CT_DST_IP, IP_CT_DIR_ORIGINAL, 1);
	add_ct(b, NFT_CT_PROTO_DST, IP_CT_DIR_ORIGINAL, 1 + address_words(b));
}

static void match_source_not_loopback(const struct builder *b)
{
	match_family(b);
	if (b->is6) {
		load_saddr(b, 0);
		add_cmp(b, NFT_CMP_NEQ, &in6addr_loopback, sizeof(in6addr_loopback));
	} else {
		add_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP_SADDR, 1, 0);
		add_cmp_byte(b, NFT_CMP_NEQ, 127);
	}
}

static void build_dispatch(const struct builder *b)
{
	match_family(b);
	load_packet_key(b);
	nftnl_expr_set_u32(add_lookup(b, SET_SERVICES, 0), NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT);
}

static void build_linked(const struct builder *b)
{
	const uint32_t mask = IPS_DST_NAT, zero = 0;
	struct nftnl_expr *expr;

	add_ct(b, NFT_CT_STATUS, -1, 0);
	expr = add(b, "bitwise");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_SREG, reg(0));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_DREG, reg(0));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_LEN, sizeof(mask));
	nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_MASK, &mask, sizeof(mask));
	nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_XOR, &zero, sizeof(zero));
	add_cmp(b, NFT_CMP_NEQ, &zero, sizeof(zero));
	match_tcp_udp(b);
	load_original_key(b);
	add_lookup(b, SET_LINKS, 0);
	add_verdict(b, NFT_GOTO, b->is6 ? "linked6" : "linked4");
}

static void build_timeout(const struct builder *b)
{
	struct timeout timeout = {b->is6 ? AF_INET6 : AF_INET};
	char name[TIMEOUT_NAME_TEXT];
	struct nftnl_expr *expr;

	match_tcp(b);
	expr = add(b, "objref");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_OBJREF_IMM_TYPE, NFT_OBJECT_CT_TIMEOUT);
	nftnl_expr_set_str(expr, NFTNL_EXPR_OBJREF_IMM_NAME, timeout_name(timeout, name));
}

static void build_count(const struct builder *b)
{
	match_tcp_udp(b);
	match_family(b);
	load_original_key(b);
	load_daddr(b, 2 + address_words(b));
	load_dport(b, 2 + 2 * address_words(b));
	add_lookup(b, SET_ENDPOINTS, 0);
}

static void build_never(const struct builder *b)
{
	match_tcp_udp(b);
	load_original_key(b);
	add_lookup(b, SET_NEVER, 0);
	match_source_not_loopback(b);
	add_verdict(b, NF_ACCEPT, NULL);
}

/*
 * A local client with an address of its own keeps it: its replies come back. One that has only 127/8, or the listen
 * address itself (the kernel takes the destination as source when that is local), goes on to be masqueraded.
 */
static void build_auto(const struct builder *b)
{
	const uint32_t local = RTN_LOCAL;
	struct nftnl_expr *expr;

	match_tcp_udp(b);
	match_source_not_loopback(b);
	expr = add(b, "fib");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_FLAGS, NFTA_FIB_F_SADDR);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_DREG, reg(0));
	add_cmp(b, NFT_CMP_EQ, &local, sizeof(local));
	add_ct(b, NFT_CT_PROTOCOL, -1, 0);
	load_saddr(b, 1);
	add_ct(b, NFT_CT_PROTO_DST, IP_CT_DIR_ORIGINAL, 1 + address_words(b));
	nftnl_expr_set_u32(add_lookup(b, SET_LINKS, 0), NFTNL_EXPR_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
	load_original_key(b);
	nftnl_expr_set_u32(add_lookup(b, SET_ALWAYS, 0), NFTNL_EXPR_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
	add_verdict(b, NF_ACCEPT, NULL);
}

static void build_guard(const struct builder *b)
{
	char name[16] = "lo"; /* IFNAMSIZ */

	add_meta(b, NFT_META_IIFNAME, 0);
	add_cmp(b, NFT_CMP_NEQ, name, sizeof(name));
	match_family(b);
	add_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP_DADDR, 1, 0);
	add_cmp_byte(b, NFT_CMP_EQ, 127);
	add_verdict(b, NF_DROP, NULL);
}

static void build_balance(const struct builder *b, const struct rule *rule)
{
	uint32_t port_word = address_words(b);
	struct nftnl_expr *expr;

	match_family(b);
	load_packet_key(b);
	expr = add(b, "numgen");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NG_DREG, reg(2 + address_words(b)));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NG_TYPE,
			   rule->balance == BALANCE_RANDOM ? NFT_NG_RANDOM : NFT_NG_INCREMENTAL);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NG_MODULUS, rule->modulus);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NG_OFFSET, rule->offset);
	nftnl_expr_set_u32(add_lookup(b, SET_SLOTS, rule->shard), NFTNL_EXPR_LOOKUP_DREG, reg(0));
	expr = add(b, "nat");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_FAMILY, b->is6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_ADDR_MIN, reg(0));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_ADDR_MAX, reg(0));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_PROTO_MIN, reg(port_word));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_PROTO_MAX, reg(port_word));
	/* The kernel sets these by itself; said here, a dump compares equal whether or not it reports them. */
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_FLAGS, NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED);
}

static void build_reject(const struct builder *b, uint32_t type, uint8_t code)
{
	struct nftnl_expr *expr = add(b, "reject");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_REJECT_TYPE, type);
	nftnl_expr_set_u8(expr, NFTNL_EXPR_REJECT_CODE, code);
}

void nft_rule_expressions(const struct rule *rule, uint32_t *anonymous_id, struct nftnl_rule *out)
{
	const struct builder b = {out, anonymous_id, rule->family == AF_INET6};

	switch ((enum rule_form)rule->form) {
	case RULE_FOREIGN:
		break; /* never written */
	case RULE_DISPATCH:
		build_dispatch(&b);
		break;
	case RULE_LINKED:
		build_linked(&b);
		break;
	case RULE_TIMEOUT:
		build_timeout(&b);
		break;
	case RULE_COUNT:
		build_count(&b);
		break;
	case RULE_NEVER:
		build_never(&b);
		break;
	case RULE_AUTO:
		build_auto(&b);
		break;
	case RULE_MASQUERADE:
		add(&b, "masq");
		break;
	case RULE_GUARD:
		build_guard(&b);
		break;
	case RULE_BALANCE:
		build_balance(&b, rule);
		break;
	case RULE_HOLD:
		add_verdict(&b, NF_DROP, NULL);
		break;
	case RULE_RESET:
		match_tcp(&b);
		build_reject(&b, NFT_REJECT_TCP_RST, 0);
		break;
	case RULE_REJECT:
		build_reject(&b, NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_PORT_UNREACH);
		break;
	}
}

uint32_t nft_rule_anonymous_sets(const struct rule *rule)
{
	return rule->form == RULE_LINKED || rule->form == RULE_COUNT || rule->form == RULE_NEVER ||
	       rule->form == RULE_AUTO;
}

/*
 * Recognition compares the text that libnftnl prints for expressions: it is complete, and it does not depend on the
 * order of netlink attributes.
 */
#define EXPRESSIONS_TEXT 2048

struct text {
	char bytes[EXPRESSIONS_TEXT];
	size_t used;
};

/* An anonymous set has "%d" behind its name until the kernel gives it a number: cut both. */
static void cut_anonymous_name(char *expression)
{
	char *name = strstr(expression, " __set"), *rest;

	if (!name)
		return;
	name += strlen(" __set");
	rest = name + strcspn(name, " ");
	memmove(name, rest, strlen(rest) + 1);
}

static int print_expression(struct nftnl_expr *expr, void *context)
{
	struct text *text = context;
	char one[256];
	size_t left = sizeof(text->bytes) - text->used;
	int length;

	nftnl_expr_snprintf(one, sizeof(one), expr, 0, 0);
	cut_anonymous_name(one);
	length = snprintf(text->bytes + text->used, left, "[ %s %s]", nftnl_expr_get_str(expr, NFTNL_EXPR_NAME), one);
	text->used += (size_t)length < left ? (size_t)length : left - 1;
	return 0;
}

static void print_expressions(const struct nftnl_rule *rule, struct text *text)
{
	text->used = 0;
	text->bytes[0] = '\0';
	nftnl_expr_foreach((struct nftnl_rule *)(uintptr_t)rule, print_expression, text);
}

static void print_rule(const struct rule *rule, struct text *text)
{
	struct nftnl_rule *expressions = nftnl_rule_alloc();
	uint32_t anonymous_id = 0;

	if (!expressions)
		abort();
	nft_rule_expressions(rule, &anonymous_id, expressions);
	print_expressions(expressions, text);
	nftnl_rule_free(expressions);
}

static bool same_expressions(const struct text *a, const struct text *b)
{
	return a->used == b->used && memcmp(a->bytes, b->bytes, a->used) == 0;
}

/* The text of every rule that has no parameters. */
#define FIXED_RULES (2 * RULE_FORMS)

struct nft_recogniser {
	size_t count;
	struct rule rules[FIXED_RULES];
	struct text texts[FIXED_RULES];
};

static bool is_for_both_families(enum rule_form form)
{
	return form == RULE_MASQUERADE || form == RULE_GUARD || form == RULE_HOLD || form == RULE_RESET ||
	       form == RULE_REJECT;
}

struct nft_recogniser *nft_recogniser_new(void)
{
	struct nft_recogniser *recogniser = xcalloc(1, sizeof(*recogniser));

	for (uint8_t form = RULE_FOREIGN + 1; form < RULE_FORMS; form++) {
		bool both = is_for_both_families(form);

		if (form == RULE_BALANCE)
			continue;
		recogniser->rules[recogniser->count++] = (struct rule){.form = form, .family = both ? 0 : AF_INET};
		if (!both)
			recogniser->rules[recogniser->count++] = (struct rule){.form = form, .family = AF_INET6};
	}
	for (size_t i = 0; i < recogniser->count; i++)
		print_rule(&recogniser->rules[i], &recogniser->texts[i]);
	return recogniser;
}

void nft_recogniser_free(struct nft_recogniser *recogniser)
{
	free(recogniser);
}

/* Takes from a rule what a RULE_BALANCE has besides its form. */
static int read_parameters(struct nftnl_expr *expr, void *context)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
	struct rule *rule = context;
	struct set_id set;

	if (strcmp(name, "numgen") == 0) {
		rule->form = RULE_BALANCE;
		rule->balance = nftnl_expr_get_u32(expr, NFTNL_EXPR_NG_TYPE) == NFT_NG_RANDOM ? BALANCE_RANDOM
											      : BALANCE_ROUNDROBIN;
		rule->modulus = nftnl_expr_get_u32(expr, NFTNL_EXPR_NG_MODULUS);
		rule->offset = nftnl_expr_get_u32(expr, NFTNL_EXPR_NG_OFFSET);
	} else if (strcmp(name, "lookup") == 0 &&
		   set_from_name(nftnl_expr_get_str(expr, NFTNL_EXPR_LOOKUP_SET), &set)) {
		rule->shard = set.shard;
		rule->family = set.family;
	}
	return 0;
}

struct rule nft_recognise(const struct nft_recogniser *recogniser, const struct nftnl_rule *rule)
{
	struct rule candidate = {.form = RULE_FOREIGN};
	struct text text, ours;

	print_expressions(rule, &text);
	nftnl_expr_foreach((struct nftnl_rule *)(uintptr_t)rule, read_parameters, &candidate);
	if (candidate.form == RULE_BALANCE) {
		print_rule(&candidate, &ours);
		return same_expressions(&text, &ours) ? candidate : (struct rule){.form = RULE_FOREIGN};
	}
	for (size_t i = 0; i < recogniser->count; i++) {
		if (same_expressions(&text, &recogniser->texts[i]))
			return recogniser->rules[i];
	}
	return (struct rule){.form = RULE_FOREIGN};
}
