/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/nft-rules.h"

#include <arpa/inet.h>
#include <libnftnl/expr.h>
#include <linux/icmp.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <netinet/icmp6.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Offsets in the headers that the payload expression reads. */
enum { IP_SADDR = 12, IP_DADDR = 16, IP6_SADDR = 8, IP6_DADDR = 24 };
enum {
	TRANSPORT_SPORT = 0,
	TRANSPORT_DPORT = 2,
	TCP_SEQUENCE = 4,
	TCP_ACKSEQ = 8,
	TCP_FLAGS = 13,
	ICMP_TYPE = 0,
	ICMP_CODE = 1
};
enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };

/* Where the source address is hashed from: behind the words of the longest key that is put together meanwhile. */
#define SOURCE_WORD 8

struct builder {
	struct nftnl_rule *rule;
	uint32_t anonymous_id;
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

/* meta l4proto { ... }: nft needs it in front to print, and read again, a port of a connection's tuple. */
static void match_protocols(const struct builder *b, enum set_type protocols)
{
	struct nftnl_expr *lookup;

	add_meta(b, NFT_META_L4PROTO, 0);
	lookup = add_lookup(b, protocols, 0);
	nftnl_expr_set_u32(lookup, NFTNL_EXPR_LOOKUP_SET_ID, b->anonymous_id);
}

static void match_tcp_udp(const struct builder *b)
{
	match_protocols(b, SET_PROTOCOLS);
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

static void load_sport(const struct builder *b, uint32_t word)
{
	add_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TRANSPORT_SPORT, 2, word);
}

/* A connection attempt, from its SYN. */
static void load_attempt(const struct builder *b)
{
	add_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TCP_SEQUENCE, 4, 0);
	load_saddr(b, 1);
	load_sport(b, 1 + address_words(b));
}

/* The same from the RST that answers it: what this acknowledges is one more than the SYN's number, at each SYN. */
static void load_refused_attempt(const struct builder *b)
{
	add_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TCP_ACKSEQ, 4, 0);
	add_ct(b, b->is6 ? NFT_CT_SRC_IP6 : NFT_CT_SRC_IP, IP_CT_DIR_ORIGINAL, 1);
	add_ct(b, NFT_CT_PROTO_SRC, IP_CT_DIR_ORIGINAL, 1 + address_words(b));
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

static void match_source_loopback(const struct builder *b)
{
	match_family(b);
	if (b->is6) {
		load_saddr(b, 0);
		add_cmp(b, NFT_CMP_EQ, &in6addr_loopback, sizeof(in6addr_loopback));
	} else {
		add_payload(b, NFT_PAYLOAD_NETWORK_HEADER, IP_SADDR, 1, 0);
		add_cmp_byte(b, NFT_CMP_EQ, 127);
	}
}

static void build_dispatch(const struct builder *b)
{
	match_family(b);
	load_packet_key(b);
	nftnl_expr_set_u32(add_lookup(b, SET_SERVICES, 0), NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT);
}

/* Any of the bits in `mask` of what the register has: the register becomes them. */
static void add_mask(const struct builder *b, const void *mask, uint32_t length)
{
	const uint32_t zero = 0;
	struct nftnl_expr *expr = add(b, "bitwise");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_SREG, reg(0));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_DREG, reg(0));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_LEN, length);
	nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_MASK, mask, length);
	nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_XOR, &zero, length);
}

static void build_linked(const struct builder *b)
{
	const uint32_t mask = IPS_DST_NAT, zero = 0;

	add_ct(b, NFT_CT_STATUS, -1, 0);
	add_mask(b, &mask, sizeof(mask));
	add_cmp(b, NFT_CMP_NEQ, &zero, sizeof(zero));
	match_tcp_udp(b);
	load_original_key(b);
	add_lookup(b, SET_LINKS, 0);
	add_verdict(b, NFT_GOTO, b->is6 ? "linked6" : "linked4");
}

static void build_timeout(const struct builder *b, const char *name)
{
	struct nftnl_expr *expr;

	match_tcp(b);
	expr = add(b, "objref");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_OBJREF_IMM_TYPE, NFT_OBJECT_CT_TIMEOUT);
	nftnl_expr_set_str(expr, NFTNL_EXPR_OBJREF_IMM_NAME, name);
}

static void build_policy(const struct builder *b)
{
	match_tcp_udp(b);
	load_original_key(b);
	nftnl_expr_set_u32(add_lookup(b, SET_POLICIES, 0), NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT);
}

static void build_count(const struct builder *b, uint16_t shard)
{
	match_tcp_udp(b);
	match_family(b);
	load_original_key(b);
	load_daddr(b, 2 + address_words(b));
	load_dport(b, 2 + 2 * address_words(b));
	add_lookup(b, SET_ENDPOINTS, shard);
}

static void build_to_count(const struct builder *b, const struct rule *rule)
{
	char chain[COUNT_NAME_TEXT];

	add_verdict(b, NFT_GOTO, count_name(rule->family, rule->shard, chain));
}

static void build_loopback(const struct builder *b)
{
	match_source_loopback(b);
	add(b, "masq");
}

static void build_never(const struct builder *b)
{
	match_tcp_udp(b);
	load_original_key(b);
	add_lookup(b, SET_NEVER, 0);
	add_verdict(b, NF_ACCEPT, NULL);
}

/*
 * A local client with an address of its own keeps it: its replies come back. One that has the listen address itself
 * (the kernel takes the destination as source when that is local) goes on to be masqueraded.
 */
static void build_auto(const struct builder *b)
{
	const uint32_t local = RTN_LOCAL;
	struct nftnl_expr *expr;

	match_tcp_udp(b);
	match_family(b);
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

/* The client's address is read into registers behind the key. */
static void hash_source(const struct builder *b, const struct rule *rule, uint32_t word)
{
	struct nftnl_expr *expr;

	load_saddr(b, SOURCE_WORD);
	expr = add(b, "hash");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_HASH_TYPE, NFT_HASH_JENKINS);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_HASH_SREG, reg(SOURCE_WORD));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_HASH_DREG, reg(word));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_HASH_LEN, 4 * address_words(b));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_HASH_MODULUS, rule->modulus);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_HASH_SEED, SOURCE_HASH_SEED);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_HASH_OFFSET, rule->offset);
}

/* Translates to the address in register 0 and the port behind it. */
static void add_dnat(const struct builder *b)
{
	struct nftnl_expr *expr = add(b, "nat");
	uint32_t port_word = address_words(b);

	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_FAMILY, b->is6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_ADDR_MIN, reg(0));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_ADDR_MAX, reg(0));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_PROTO_MIN, reg(port_word));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_PROTO_MAX, reg(port_word));
	/* The kernel sets these by itself; said here, a dump compares equal whether or not it reports them. */
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_FLAGS, NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED);
}

static void add_numgen(const struct builder *b, uint32_t type, const struct rule *rule)
{
	struct nftnl_expr *expr = add(b, "numgen");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_NG_DREG, reg(2 + address_words(b)));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NG_TYPE, type);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NG_MODULUS, rule->modulus);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NG_OFFSET, rule->offset);
}

static void build_balance(const struct builder *b, const struct rule *rule)
{
	match_family(b);
	load_packet_key(b);
	if (rule->balance == BALANCE_SOURCE)
		hash_source(b, rule, 2 + address_words(b));
	else
		add_numgen(b, rule->balance == BALANCE_RANDOM ? NFT_NG_RANDOM : NFT_NG_INCREMENTAL, rule);
	nftnl_expr_set_u32(add_lookup(b, SET_SLOTS, rule->shard), NFTNL_EXPR_LOOKUP_DREG, reg(0));
	add_dnat(b);
}

/* nft wants a protocol in front where it translates ports. */
static void build_stick(const struct builder *b, const struct rule *rule)
{
	add_meta(b, NFT_META_L4PROTO, 0);
	add_cmp_byte(b, NFT_CMP_EQ, rule->form == RULE_STICK_TCP ? IPPROTO_TCP : IPPROTO_UDP);
	match_family(b);
	load_saddr(b, 0);
	nftnl_expr_set_u32(add_lookup(b, SET_AFFINITY, rule->shard), NFTNL_EXPR_LOOKUP_DREG, reg(0));
	add_dnat(b);
}

static struct nftnl_expr *add_dynset_ms(const struct builder *b, uint32_t op, struct set_id set, uint64_t ms)
{
	struct nftnl_expr *expr = add(b, "dynset");
	char name[SET_NAME_TEXT];

	set.family = b->is6 ? AF_INET6 : AF_INET;
	nftnl_expr_set_str(expr, NFTNL_EXPR_DYNSET_SET_NAME, set_name(set, name));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_DYNSET_OP, op);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_DYNSET_SREG_KEY, reg(0));
	/* The kernel reports a time limit even where there is none. */
	nftnl_expr_set_u64(expr, NFTNL_EXPR_DYNSET_TIMEOUT, ms);
	return expr;
}

static struct nftnl_expr *add_dynset(const struct builder *b, uint32_t op, struct set_id set, uint32_t seconds)
{
	return add_dynset_ms(b, op, set, (uint64_t)seconds * 1000);
}

/* Where data of a dynset begins: nft gives keys and data registers of 16 bytes. */
static uint32_t behind_address(void)
{
	return 4;
}

static void build_remember(const struct builder *b, const struct rule *rule)
{
	const struct set_id set = {.type = SET_AFFINITY, .shard = rule->shard};

	match_tcp_udp(b);
	match_family(b);
	add_ct(b, b->is6 ? NFT_CT_SRC_IP6 : NFT_CT_SRC_IP, IP_CT_DIR_ORIGINAL, 0);
	load_daddr(b, behind_address());
	load_dport(b, behind_address() + address_words(b));
	nftnl_expr_set_u32(add_dynset(b, NFT_DYNSET_OP_UPDATE, set, rule->seconds), NFTNL_EXPR_DYNSET_SREG_DATA,
			   reg(behind_address()));
}

static void match_attempt_again(const struct builder *b)
{
	match_tcp(b);
	match_family(b);
	load_attempt(b);
	add_lookup(b, SET_TRYING, 0);
}

/* The kernel wants data for a map even where it deletes by key. */
static void build_forget(const struct builder *b, const struct rule *rule)
{
	const struct set_id set = {.type = SET_AFFINITY, .shard = rule->shard};

	match_attempt_again(b);
	load_saddr(b, 0);
	load_daddr(b, behind_address());
	load_dport(b, behind_address() + address_words(b));
	nftnl_expr_set_u32(add_dynset(b, NFT_DYNSET_OP_DELETE, set, 0), NFTNL_EXPR_DYNSET_SREG_DATA,
			   reg(behind_address()));
}

static void build_elsewhere(const struct builder *b, const struct rule *rule)
{
	match_attempt_again(b);
	load_packet_key(b);
	add_numgen(b, NFT_NG_RANDOM, rule);
	nftnl_expr_set_u32(add_lookup(b, SET_SLOTS, rule->shard), NFTNL_EXPR_LOOKUP_DREG, reg(0));
	add_dnat(b);
}

static void build_trying(const struct builder *b)
{
	match_tcp(b);
	match_family(b);
	load_attempt(b);
	add_dynset(b, NFT_DYNSET_OP_UPDATE, (struct set_id){.type = SET_TRYING}, TRYING_S);
}

/* The reply to a connection of somebody's DNAT that was never established. */
static void match_never_established(const struct builder *b)
{
	const uint32_t mask = IPS_ASSURED | IPS_DST_NAT, dnat = IPS_DST_NAT;

	add_ct(b, NFT_CT_DIRECTION, -1, 0);
	add_cmp_byte(b, NFT_CMP_EQ, IP_CT_DIR_REPLY);
	add_ct(b, NFT_CT_STATUS, -1, 0);
	add_mask(b, &mask, sizeof(mask));
	add_cmp(b, NFT_CMP_EQ, &dnat, sizeof(dnat));
}

/* RFC 9293, 3.10.7.1: what answers a SYN where nobody listens has ACK set and sequence number 0; an RST for a
 * segment of a connection has neither. */
static void build_refused(const struct builder *b)
{
	const uint8_t mask = TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK;
	const uint32_t zero = 0;

	match_tcp(b);
	add_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TCP_FLAGS, 1, 0);
	add_mask(b, &mask, sizeof(mask));
	add_cmp_byte(b, NFT_CMP_EQ, TCP_RST | TCP_ACK);
	add_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TCP_SEQUENCE, 4, 0);
	add_cmp(b, NFT_CMP_EQ, &zero, sizeof(zero));
	match_never_established(b);
	add_verdict(b, NFT_GOTO, "refusals");
}

static void build_unreachable(const struct builder *b)
{
	match_family(b);
	add_meta(b, NFT_META_L4PROTO, 0);
	add_cmp_byte(b, NFT_CMP_EQ, b->is6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	add_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, ICMP_TYPE, 1, 0);
	add_cmp_byte(b, NFT_CMP_EQ, b->is6 ? ICMP6_DST_UNREACH : ICMP_DEST_UNREACH);
	if (!b->is6) { /* path MTU discovery is no refusal; ICMPv6 has a type of its own for it */
		add_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, ICMP_CODE, 1, 0);
		add_cmp_byte(b, NFT_CMP_NEQ, ICMP_FRAG_NEEDED);
	}
	match_never_established(b);
	add_ct(b, NFT_CT_PROTOCOL, -1, 0);
	add_cmp_byte(b, NFT_CMP_EQ, IPPROTO_TCP);
	add_verdict(b, NFT_GOTO, "refusals");
}

static const char *dropped_chain(const struct builder *b)
{
	return b->is6 ? "dropped6" : "dropped4";
}

static void build_refusal(const struct builder *b)
{
	match_protocols(b, SET_REFUSERS);
	load_original_key(b);
	add_lookup(b, SET_LINKS, 0);
	add_verdict(b, NFT_GOTO, b->is6 ? "refused6" : "refused4");
}

static void build_noretry(const struct builder *b)
{
	match_protocols(b, SET_REFUSERS);
	load_original_key(b);
	add_lookup(b, SET_NORETRY, 0);
	add_verdict(b, NF_ACCEPT, NULL);
}

static void build_not_tcp(const struct builder *b)
{
	add_meta(b, NFT_META_L4PROTO, 0);
	add_cmp_byte(b, NFT_CMP_NEQ, IPPROTO_TCP);
	add_verdict(b, NFT_GOTO, dropped_chain(b));
}

static void match_attempt(const struct builder *b, enum set_type set)
{
	match_tcp(b);
	load_refused_attempt(b);
	add_lookup(b, set, 0);
}

static void note_attempt(const struct builder *b, enum set_type set, uint32_t seconds)
{
	match_tcp(b);
	load_refused_attempt(b);
	add_dynset(b, NFT_DYNSET_OP_ADD, (struct set_id){.type = (uint8_t)set}, seconds);
}

/* The endpoint that a reply is from, behind the link in the key. */
static void load_refuser(const struct builder *b)
{
	add_ct(b, b->is6 ? NFT_CT_SRC_IP6 : NFT_CT_SRC_IP, IP_CT_DIR_REPLY, 2 + address_words(b));
	add_ct(b, NFT_CT_PROTO_SRC, IP_CT_DIR_REPLY, 2 + 2 * address_words(b));
}

static void build_count_refusal(const struct builder *b)
{
	match_protocols(b, SET_REFUSERS);
	load_original_key(b);
	load_refuser(b);
	add_dynset(b, NFT_DYNSET_OP_UPDATE, (struct set_id){.type = SET_REFUSALS}, REFUSALS_S);
}

/* At most so many a second, and as many at once. */
static void add_limit(const struct builder *b, uint32_t rate)
{
	struct nftnl_expr *expr = add(b, "limit");

	nftnl_expr_set_u64(expr, NFTNL_EXPR_LIMIT_RATE, rate);
	nftnl_expr_set_u64(expr, NFTNL_EXPR_LIMIT_UNIT, 1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_LIMIT_BURST, rate);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_LIMIT_TYPE, NFT_LIMIT_PKTS);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_LIMIT_FLAGS, 0);
}

static void add_report(const struct builder *b, const char *prefix)
{
	struct nftnl_expr *expr = add(b, "log");

	if (prefix)
		nftnl_expr_set_str(expr, NFTNL_EXPR_LOG_PREFIX, prefix);
	nftnl_expr_set_u16(expr, NFTNL_EXPR_LOG_GROUP, REPORT_GROUP);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_LOG_SNAPLEN, REPORT_SNAPLEN);
}

static void build_report_refusal(const struct builder *b)
{
	match_protocols(b, SET_REFUSERS);
	load_original_key(b);
	add_lookup(b, SET_EJECT, 0);
	load_original_key(b);
	load_refuser(b);
	add_dynset(b, NFT_DYNSET_OP_UPDATE, (struct set_id){.type = SET_FAILED}, FAILED_S);
	add_limit(b, REPORT_REFUSALS_RATE);
	add_report(b, NULL);
}

/* A connection attempt behind the translation, where the packet's own source may be another one already. */
static void load_noted_attempt(const struct builder *b)
{
	add_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, TCP_SEQUENCE, 4, 0);
	add_ct(b, b->is6 ? NFT_CT_SRC_IP6 : NFT_CT_SRC_IP, IP_CT_DIR_ORIGINAL, 1);
	add_ct(b, NFT_CT_PROTO_SRC, IP_CT_DIR_ORIGINAL, 1 + address_words(b));
}

static void build_report_unanswered(const struct builder *b, const struct rule *rule)
{
	match_tcp(b);
	load_noted_attempt(b);
	add_lookup(b, SET_ATTEMPTS, 0);
	add_limit(b, REPORT_UNANSWERED_RATE);
	add_report(b, rule->link);
}

/* The data is behind the key, in a register of 16 bytes. */
static void build_note_attempt(const struct builder *b, const struct rule *rule)
{
	uint32_t data = b->is6 ? 8 : 4;

	match_tcp(b);
	add_limit(b, NOTE_ATTEMPTS_RATE);
	match_family(b);
	load_noted_attempt(b);
	load_daddr(b, data);
	load_dport(b, data + address_words(b));
	nftnl_expr_set_u32(add_dynset_ms(b, NFT_DYNSET_OP_ADD, (struct set_id){.type = SET_ATTEMPTS}, rule->ms),
			   NFTNL_EXPR_DYNSET_SREG_DATA, reg(data));
}

static void build_reject(const struct builder *b, uint32_t type, uint8_t code)
{
	struct nftnl_expr *expr = add(b, "reject");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_REJECT_TYPE, type);
	nftnl_expr_set_u8(expr, NFTNL_EXPR_REJECT_CODE, code);
}

void nft_rule_expressions(const struct rule *rule, uint32_t anonymous_id, struct nftnl_rule *out)
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
		build_timeout(&b, rule->timeout);
		break;
	case RULE_POLICY:
		build_policy(&b);
		break;
	case RULE_COUNT:
		build_count(&b, rule->shard);
		break;
	case RULE_TO_COUNT:
		build_to_count(&b, rule);
		break;
	case RULE_LOOPBACK:
		build_loopback(&b);
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
	case RULE_DROP:
		add_verdict(&b, NF_DROP, NULL);
		break;
	case RULE_RESET:
		match_tcp(&b);
		build_reject(&b, NFT_REJECT_TCP_RST, 0);
		break;
	case RULE_REJECT:
		build_reject(&b, NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_PORT_UNREACH);
		break;
	case RULE_STICK_TCP:
	case RULE_STICK_UDP:
		build_stick(&b, rule);
		break;
	case RULE_REMEMBER:
		build_remember(&b, rule);
		break;
	case RULE_TRYING:
		build_trying(&b);
		break;
	case RULE_FORGET:
		build_forget(&b, rule);
		break;
	case RULE_ELSEWHERE:
		build_elsewhere(&b, rule);
		break;
	case RULE_REFUSED:
		build_refused(&b);
		break;
	case RULE_UNREACHABLE:
		build_unreachable(&b);
		break;
	case RULE_REFUSAL:
		build_refusal(&b);
		break;
	case RULE_NORETRY:
		build_noretry(&b);
		break;
	case RULE_NOT_TCP:
		build_not_tcp(&b);
		break;
	case RULE_RETRYING:
		match_attempt(&b, SET_RETRYING);
		add_verdict(&b, NFT_GOTO, dropped_chain(&b));
		break;
	case RULE_TRIED:
		match_attempt(&b, SET_TRIED);
		add_verdict(&b, NF_ACCEPT, NULL);
		break;
	case RULE_NOTE_TRIED:
		note_attempt(&b, SET_TRIED, TRIED_S);
		break;
	case RULE_NOTE_RETRYING:
		note_attempt(&b, SET_RETRYING, RETRYING_S);
		add_verdict(&b, NFT_GOTO, dropped_chain(&b));
		break;
	case RULE_COUNT_REFUSAL:
		build_count_refusal(&b);
		break;
	case RULE_REPORT_REFUSAL:
		build_report_refusal(&b);
		break;
	case RULE_REPORT_UNANSWERED:
		build_report_unanswered(&b, rule);
		break;
	case RULE_NOTE_ATTEMPT:
		build_note_attempt(&b, rule);
		break;
	}
}

bool nft_rule_anonymous_set(const struct rule *rule, enum set_type *ret)
{
	static const enum rule_form protocols[] = {RULE_LINKED, RULE_POLICY, RULE_COUNT,
						   RULE_NEVER,	RULE_AUTO,   RULE_REMEMBER};
	static const enum rule_form refusers[] = {RULE_REFUSAL, RULE_NORETRY, RULE_COUNT_REFUSAL, RULE_REPORT_REFUSAL};

	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
		*ret = SET_PROTOCOLS;
		if (rule->form == protocols[i])
			return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(refusers); i++) {
		*ret = SET_REFUSERS;
		if (rule->form == refusers[i])
			return true;
	}
	return false;
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

	if (!expressions)
		abort();
	nft_rule_expressions(rule, 0, expressions);
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
	return form == RULE_MASQUERADE || form == RULE_GUARD || form == RULE_DROP || form == RULE_RESET ||
	       form == RULE_REJECT || form == RULE_REFUSED;
}

static bool has_parameters(enum rule_form form)
{
	return form == RULE_BALANCE || form == RULE_ELSEWHERE || form == RULE_STICK_TCP || form == RULE_STICK_UDP ||
	       form == RULE_REMEMBER || form == RULE_FORGET || form == RULE_TIMEOUT || form == RULE_REPORT_UNANSWERED ||
	       form == RULE_NOTE_ATTEMPT || form == RULE_COUNT || form == RULE_TO_COUNT;
}

struct nft_recogniser *nft_recogniser_new(void)
{
	struct nft_recogniser *recogniser = xcalloc(1, sizeof(*recogniser));

	for (uint8_t form = RULE_FOREIGN + 1; form < RULE_FORMS; form++) {
		bool both = is_for_both_families(form);

		if (has_parameters(form))
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

/* Takes from an expression what it may be a parameter of. */
static int read_parameters(struct nftnl_expr *expr, void *context)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
	struct rule *rule = context;
	struct set_id set = {0};

	if (strcmp(name, "numgen") == 0) {
		rule->balance = nftnl_expr_get_u32(expr, NFTNL_EXPR_NG_TYPE) == NFT_NG_RANDOM ? BALANCE_RANDOM
											      : BALANCE_ROUNDROBIN;
		rule->modulus = nftnl_expr_get_u32(expr, NFTNL_EXPR_NG_MODULUS);
		rule->offset = nftnl_expr_get_u32(expr, NFTNL_EXPR_NG_OFFSET);
	} else if (strcmp(name, "hash") == 0) {
		rule->balance = BALANCE_SOURCE;
		rule->modulus = nftnl_expr_get_u32(expr, NFTNL_EXPR_HASH_MODULUS);
		rule->offset = nftnl_expr_get_u32(expr, NFTNL_EXPR_HASH_OFFSET);
	} else if (strcmp(name, "lookup") == 0) {
		set_from_name(nftnl_expr_get_str(expr, NFTNL_EXPR_LOOKUP_SET), &set);
	} else if (strcmp(name, "dynset") == 0) {
		set_from_name(nftnl_expr_get_str(expr, NFTNL_EXPR_DYNSET_SET_NAME), &set);
		rule->ms = (uint32_t)nftnl_expr_get_u64(expr, NFTNL_EXPR_DYNSET_TIMEOUT);
		rule->seconds = rule->ms / 1000;
	} else if (strcmp(name, "log") == 0) {
		rule->link = nftnl_expr_get_str(expr, NFTNL_EXPR_LOG_PREFIX);
	} else if (strcmp(name, "immediate") == 0) {
		const char *chain = nftnl_expr_get_str(expr, NFTNL_EXPR_IMM_CHAIN);

		if (chain)
			count_from_name(chain, &rule->family, &rule->shard);
	} else if (strcmp(name, "objref") == 0) {
		rule->timeout = nftnl_expr_get_str(expr, NFTNL_EXPR_OBJREF_IMM_NAME);
	}
	if (set.type == SET_SLOTS || set.type == SET_AFFINITY || set.type == SET_ATTEMPTS ||
	    set.type == SET_ENDPOINTS) {
		rule->shard = set.shard;
		rule->family = set.family;
	}
	return 0;
}

/* The parameters that a form has; the others are as if never read. */
static struct rule with_form(struct rule rule, enum rule_form form)
{
	bool drawn = form == RULE_BALANCE || form == RULE_ELSEWHERE;

	rule.form = (uint8_t)form;
	if (form != RULE_BALANCE)
		rule.balance = 0;
	if (!drawn)
		rule.modulus = rule.offset = 0;
	if (form != RULE_REMEMBER)
		rule.seconds = 0;
	if (form != RULE_REPORT_UNANSWERED)
		rule.link = NULL;
	if (form != RULE_NOTE_ATTEMPT)
		rule.ms = 0;
	if (form != RULE_TIMEOUT)
		rule.timeout = NULL;
	return rule;
}

/* A form that could have these parameters is tried. */
static bool fits(const struct rule *read, enum rule_form form)
{
	if (form == RULE_TIMEOUT)
		return read->timeout != NULL;
	if (form == RULE_REPORT_UNANSWERED)
		return read->link && read->family;
	if (form == RULE_COUNT && read->modulus)
		return false;
	return has_parameters(form) && read->family && !read->timeout;
}

struct rule nft_recognise(const struct nft_recogniser *recogniser, const struct nftnl_rule *rule)
{
	struct rule read = {0};
	struct text text, ours;

	print_expressions(rule, &text);
	for (size_t i = 0; i < recogniser->count; i++) {
		if (same_expressions(&text, &recogniser->texts[i]))
			return recogniser->rules[i];
	}
	nftnl_expr_foreach((struct nftnl_rule *)(uintptr_t)rule, read_parameters, &read);
	for (enum rule_form form = RULE_FOREIGN + 1; form < RULE_FORMS; form++) {
		struct rule candidate = with_form(read, form);

		if (!fits(&read, form))
			continue;
		print_rule(&candidate, &ours);
		if (same_expressions(&text, &ours))
			return candidate;
	}
	return (struct rule){.form = RULE_FOREIGN};
}
