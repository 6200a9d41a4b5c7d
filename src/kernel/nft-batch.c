/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/nft-batch.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "kernel/nft-rules.h"

/* Room that every message fits in, elements aside: those are closed at ELEMENTS_BYTES, since a netlink attribute
 * holds at most 64 KiB. */
#define MESSAGE_ROOM 65536
#define ELEMENTS_BYTES 32768

/* Elements that a dynamic set is made for, where the kernel lets it be made larger afterwards: 64 buckets. */
#define DYNAMIC_SET_BEGINNING 48

/* nft's numbers of data types (its enum datatypes); a concatenation has six bits for each of its fields. */
enum { TYPE_IPADDR = 7, TYPE_IP6ADDR = 8, TYPE_INET_PROTOCOL = 12, TYPE_INET_SERVICE = 13, TYPE_IFNAME = 41 };
enum { TYPE_INTEGER = 4, TYPE_BITS = 6 };
#define TYPE_VERDICT 0xffffff00

/* Values of nft's "byteorder" user data. */
enum { BYTEORDER_NONE = 0, BYTEORDER_HOST = 1, BYTEORDER_NETWORK = 2 };

static void *need(void *allocated)
{
	if (!allocated)
		abort(); /* no memory; see base/mem.h */
	return allocated;
}

/*
 * Room for one more message behind the others. It is zeroed, once: libmnl leaves the padding of attributes as it finds
 * it, and what our memory held before is nobody's business.
 */
static void make_room(struct batch *batch)
{
	if (batch->capacity - batch->used < MESSAGE_ROOM) {
		batch->capacity = batch->capacity * 2 + MESSAGE_ROOM;
		batch->bytes = xrealloc(batch->bytes, batch->capacity, 1);
	}
	if (batch->zeroed < batch->used + MESSAGE_ROOM) {
		memset(batch->bytes + batch->zeroed, 0, batch->used + MESSAGE_ROOM - batch->zeroed);
		batch->zeroed = batch->used + MESSAGE_ROOM;
	}
}

/* Opens a message behind the others; close_message() moves the batch on by what was put into it. */
static struct nlmsghdr *open_message(struct batch *batch, uint16_t type, uint16_t flags, const struct change *change)
{
	struct nlmsghdr *header;

	make_room(batch);
	ARRAY_GROW(batch->messages, batch->n_messages, batch->cap_messages);
	batch->messages[batch->n_messages++] = (struct batch_message){batch->used, change};
	header = nftnl_nlmsg_build_hdr((char *)batch->bytes + batch->used, type, NFPROTO_INET, flags,
				       batch->sequence + (uint32_t)batch->n_messages);
	return header;
}

static void close_message(struct batch *batch, const struct nlmsghdr *header)
{
	batch->used += NLMSG_ALIGN(header->nlmsg_len);
}

static void add_table_message(struct batch *batch, uint16_t type, uint16_t flags, const struct change *change)
{
	struct nlmsghdr *header = open_message(batch, type, flags, change);
	struct nftnl_udata_buf *udata = need(nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN));
	struct nftnl_table *table = need(nftnl_table_alloc());

	nftnl_table_set_str(table, NFTNL_TABLE_NAME, TABLE_NAME);
	if (type == NFT_MSG_NEWTABLE) {
		nftnl_table_set_u32(table, NFTNL_TABLE_FLAGS, batch->table_flags);
		nftnl_udata_put_strz(udata, NFTNL_UDATA_TABLE_COMMENT, TABLE_COMMENT);
		nftnl_table_set_data(table, NFTNL_TABLE_USERDATA, nftnl_udata_buf_data(udata),
				     nftnl_udata_buf_len(udata));
	}
	nftnl_table_nlmsg_build_payload(header, table);
	nftnl_table_free(table);
	nftnl_udata_buf_free(udata);
	close_message(batch, header);
}

/*
 * Conntrack's time limits for our TCP connections, in seconds. Closed connections go early, since the default of 120 s
 * would run out of source ports at a few thousand connections a second. The others are the kernel's defaults, but for
 * that of an unanswered SYN: when that is over, TCP's own retransmission is balanced anew.
 */
static const uint32_t tcp_timeouts[NFTNL_CTTIMEOUT_ARRAY_MAX] = {
	[NFTNL_CTTIMEOUT_TCP_SYN_SENT] = 120,	    [NFTNL_CTTIMEOUT_TCP_SYN_RECV] = 60,
	[NFTNL_CTTIMEOUT_TCP_ESTABLISHED] = 432000, [NFTNL_CTTIMEOUT_TCP_FIN_WAIT] = 120,
	[NFTNL_CTTIMEOUT_TCP_CLOSE_WAIT] = 60,	    [NFTNL_CTTIMEOUT_TCP_LAST_ACK] = 30,
	[NFTNL_CTTIMEOUT_TCP_TIME_WAIT] = 5,	    [NFTNL_CTTIMEOUT_TCP_CLOSE] = 1,
	[NFTNL_CTTIMEOUT_TCP_SYN_SENT2] = 120,	    [NFTNL_CTTIMEOUT_TCP_RETRANS] = 300,
	[NFTNL_CTTIMEOUT_TCP_UNACK] = 300,
};

static void describe_timeout(struct nftnl_obj *object, const struct timeout *timeout)
{
	uint32_t limits[NFTNL_CTTIMEOUT_ARRAY_MAX];

	memcpy(limits, tcp_timeouts, sizeof(limits));
	if (timeout->seconds)
		limits[NFTNL_CTTIMEOUT_TCP_SYN_SENT] = timeout->seconds;
	nftnl_obj_set_u16(object, NFTNL_OBJ_CT_TIMEOUT_L3PROTO,
			  timeout->family == AF_INET6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
	nftnl_obj_set_u8(object, NFTNL_OBJ_CT_TIMEOUT_L4PROTO, IPPROTO_TCP);
	nftnl_obj_set_data(object, NFTNL_OBJ_CT_TIMEOUT_ARRAY, limits, sizeof(limits));
}

static void add_timeout(struct batch *batch, const struct change *change)
{
	const struct timeout *timeout = change->object;
	struct nlmsghdr *header = open_message(batch, change->add ? NFT_MSG_NEWOBJ : NFT_MSG_DELOBJ,
					       change->add ? NLM_F_CREATE : 0, change);
	struct nftnl_obj *object = need(nftnl_obj_alloc());

	nftnl_obj_set_str(object, NFTNL_OBJ_TABLE, TABLE_NAME);
	nftnl_obj_set_str(object, NFTNL_OBJ_NAME, timeout->name);
	nftnl_obj_set_u32(object, NFTNL_OBJ_TYPE, NFT_OBJECT_CT_TIMEOUT);
	if (change->add)
		describe_timeout(object, timeout);
	nftnl_obj_nlmsg_build_payload(header, object);
	nftnl_obj_free(object);
	close_message(batch, header);
}

static uint32_t concat_type(const uint32_t *types, size_t n)
{
	uint32_t type = 0;

	for (size_t i = 0; i < n; i++)
		type = type << TYPE_BITS | types[i];
	return type;
}

static uint32_t key_type(struct set_id set)
{
	uint32_t address = set.family == AF_INET6 ? TYPE_IP6ADDR : TYPE_IPADDR;
	const uint32_t fields[] = {TYPE_INET_PROTOCOL, address, TYPE_INET_SERVICE, address, TYPE_INET_SERVICE};
	const uint32_t attempt_fields[] = {TYPE_INTEGER, address, TYPE_INET_SERVICE};
	const uint32_t slot_fields[] = {TYPE_INET_PROTOCOL, address, TYPE_INET_SERVICE, TYPE_INTEGER};

	switch ((enum set_type)set.type) {
	case SET_PROTOCOLS:
	case SET_REFUSERS:
		return TYPE_INET_PROTOCOL;
	case SET_LOCALNET:
		return TYPE_IFNAME;
	case SET_ADDRESSES:
	case SET_AFFINITY:
		return address;
	case SET_SERVICES:
	case SET_LINKS:
	case SET_ALWAYS:
	case SET_NEVER:
	case SET_POLICIES:
	case SET_NORETRY:
	case SET_EJECT:
		return concat_type(fields, 3);
	case SET_SLOTS:
		return concat_type(slot_fields, 4);
	case SET_ENDPOINTS:
	case SET_FORMER_ENDPOINTS:
	case SET_REFUSALS:
	case SET_FAILED:
		return concat_type(fields, 5);
	case SET_TRYING:
	case SET_RETRYING:
	case SET_TRIED:
	case SET_ATTEMPTS:
		return concat_type(attempt_fields, 3);
	}
	return 0;
}

/*
 * The user data of sets is nft's own: how to print keys that have no name of a type. Its numbers are nft's, from
 * enum expr_ops (src: include/expression.h), the ids of protocols in include/proto.h and their udata builders.
 */
enum { EXPR_PAYLOAD = 7, EXPR_META = 9, EXPR_CONCAT = 13, EXPR_NUMGEN = 23 };
enum { PROTO_TCP = 8, PROTO_TH = 11, PROTO_IP = 12, PROTO_IP6 = 13 };
enum { FIELD_IP_SADDR = 11, FIELD_IP_DADDR = 12, FIELD_IP6_SADDR = 8, FIELD_IP6_DADDR = 9 };
enum { FIELD_TH_DPORT = 2, FIELD_TCP_SPORT = 1, FIELD_TCP_SEQUENCE = 3, FIELD_TCP_ACKSEQ = 4 };
enum { PAYLOAD_LENGTH = 4 }; /* the attribute with the bits of a field that has no type of its own */
enum { TYPEOF_EXPR = NFTNL_UDATA_SET_TYPEOF_EXPR, TYPEOF_DATA = NFTNL_UDATA_SET_TYPEOF_DATA };

struct typeof_expr {
	uint32_t expr;
	uint8_t n; /* attributes 0..n-1 */
	uint32_t values[4];
	uint32_t length; /* PAYLOAD_LENGTH, or 0 */
};

static void put_typeof(struct nftnl_udata_buf *buf, uint8_t index, const struct typeof_expr *of)
{
	struct nftnl_udata *expr = nftnl_udata_nest_start(buf, index), *data;

	nftnl_udata_put_u32(buf, TYPEOF_EXPR, of->expr);
	data = nftnl_udata_nest_start(buf, TYPEOF_DATA);
	for (uint8_t i = 0; i < of->n; i++)
		nftnl_udata_put_u32(buf, i, of->values[i]);
	if (of->length)
		nftnl_udata_put_u32(buf, PAYLOAD_LENGTH, of->length);
	nftnl_udata_nest_end(buf, data);
	nftnl_udata_nest_end(buf, expr);
}

static void put_typeof_concat(struct nftnl_udata_buf *buf, uint8_t type, const struct typeof_expr *parts, uint8_t n)
{
	struct nftnl_udata *expr = nftnl_udata_nest_start(buf, type), *data;

	nftnl_udata_put_u32(buf, TYPEOF_EXPR, EXPR_CONCAT);
	data = nftnl_udata_nest_start(buf, TYPEOF_DATA);
	for (uint8_t i = 0; i < n; i++)
		put_typeof(buf, i, &parts[i]);
	nftnl_udata_nest_end(buf, data);
	nftnl_udata_nest_end(buf, expr);
}

/* typeof meta l4proto . ip daddr . th dport . numgen inc mod 2 : ip daddr . th dport */
static void put_slots_typeof(struct nftnl_udata_buf *buf, struct set_id set)
{
	bool is6 = set.family == AF_INET6;
	const struct typeof_expr parts[] = {
		{EXPR_META, 1, {NFT_META_L4PROTO}, 0},
		{EXPR_PAYLOAD, 2, {is6 ? PROTO_IP6 : PROTO_IP, is6 ? FIELD_IP6_DADDR : FIELD_IP_DADDR}, 0},
		{EXPR_PAYLOAD, 2, {PROTO_TH, FIELD_TH_DPORT}, 0},
		{EXPR_NUMGEN, 3, {NFT_NG_INCREMENTAL, 2, 0}, 0},
	};

	put_typeof_concat(buf, NFTNL_UDATA_SET_KEY_TYPEOF, parts, 4);
	put_typeof_concat(buf, NFTNL_UDATA_SET_DATA_TYPEOF, parts + 1, 2);
}

static bool is_keyed_by_attempt(struct set_id set)
{
	return set.type == SET_TRYING || set.type == SET_RETRYING || set.type == SET_TRIED || set.type == SET_ATTEMPTS;
}

/* typeof tcp sequence . ip saddr . tcp sport; for refusals, which answer it, tcp ackseq. A map's data: ip daddr . th
 * dport. */
static void put_attempt_typeof(struct nftnl_udata_buf *buf, struct set_id set)
{
	bool is6 = set.family == AF_INET6;
	bool answer = set.type == SET_RETRYING || set.type == SET_TRIED;
	uint32_t number = answer ? FIELD_TCP_ACKSEQ : FIELD_TCP_SEQUENCE;
	const struct typeof_expr parts[] = {
		{EXPR_PAYLOAD, 2, {PROTO_TCP, number}, 32},
		{EXPR_PAYLOAD, 2, {is6 ? PROTO_IP6 : PROTO_IP, is6 ? FIELD_IP6_SADDR : FIELD_IP_SADDR}, 0},
		{EXPR_PAYLOAD, 2, {PROTO_TCP, FIELD_TCP_SPORT}, 0},
	};

	const struct typeof_expr data[] = {
		{EXPR_PAYLOAD, 2, {is6 ? PROTO_IP6 : PROTO_IP, is6 ? FIELD_IP6_DADDR : FIELD_IP_DADDR}, 0},
		{EXPR_PAYLOAD, 2, {PROTO_TH, FIELD_TH_DPORT}, 0},
	};

	put_typeof_concat(buf, NFTNL_UDATA_SET_KEY_TYPEOF, parts, 3);
	if (set.type == SET_ATTEMPTS)
		put_typeof_concat(buf, NFTNL_UDATA_SET_DATA_TYPEOF, data, 2);
}

static void put_set_udata(struct nftnl_set *object, struct set_id set)
{
	struct nftnl_udata_buf *buf = need(nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN));
	bool plain = set.type == SET_ADDRESSES || set.type == SET_AFFINITY;
	bool host = set.type == SET_LOCALNET || set_is_anonymous(set);

	nftnl_udata_put_u32(buf, NFTNL_UDATA_SET_KEYBYTEORDER,
			    plain  ? BYTEORDER_NETWORK
			    : host ? BYTEORDER_HOST
				   : BYTEORDER_NONE);
	if (set_is_map(set))
		nftnl_udata_put_u32(buf, NFTNL_UDATA_SET_DATABYTEORDER, BYTEORDER_NONE);
	if (is_keyed_by_attempt(set))
		put_attempt_typeof(buf, set);
	if (set.type == SET_SLOTS)
		put_slots_typeof(buf, set);
	if (set.type == SET_SLOTS || set.type == SET_ATTEMPTS)
		nftnl_udata_put_u32(buf, NFTNL_UDATA_SET_DATA_INTERVAL, false);
	nftnl_set_set_data(object, NFTNL_SET_USERDATA, nftnl_udata_buf_data(buf), nftnl_udata_buf_len(buf));
	nftnl_udata_buf_free(buf);
}

static uint32_t data_type(struct set_id set)
{
	const uint32_t fields[] = {set.family == AF_INET6 ? TYPE_IP6ADDR : TYPE_IPADDR, TYPE_INET_SERVICE};

	return set_has_verdicts(set) ? TYPE_VERDICT : concat_type(fields, 2);
}

/*
 * The kernel allocates as many buckets as a set's size asks for at once: 2 MB each for DYNAMIC_SET_SIZE, and there are
 * eight in each namespace. A set of little size grows its buckets with its elements, and Linux 6.5 and later take a
 * larger size for a set that is there; those before pass over that without a word.
 */
static bool kernel_resizes_sets(void)
{
	unsigned long major, minor;
	struct utsname names;
	char *end;

	if (uname(&names) < 0)
		return false;
	major = strtoul(names.release, &end, 10);
	minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
	return major > 6 || (major == 6 && minor >= 5);
}

static void describe_set(struct nftnl_set *object, struct set_id set, uint32_t size, uint32_t id)
{
	uint32_t flags = set_is_anonymous(set) ? NFT_SET_ANONYMOUS | NFT_SET_CONSTANT : 0;

	if (set_is_dynamic(set)) {
		flags |= NFT_SET_EVAL | NFT_SET_TIMEOUT;
		nftnl_set_set_u32(object, NFTNL_SET_DESC_SIZE, size);
	}
	if (set_is_map(set)) {
		flags |= NFT_SET_MAP;
		nftnl_set_set_u32(object, NFTNL_SET_DATA_TYPE, data_type(set));
		nftnl_set_set_u32(object, NFTNL_SET_DATA_LEN, (uint32_t)set_data_size(set));
	}
	nftnl_set_set_u32(object, NFTNL_SET_FLAGS, flags);
	nftnl_set_set_u32(object, NFTNL_SET_KEY_TYPE, key_type(set));
	nftnl_set_set_u32(object, NFTNL_SET_KEY_LEN, (uint32_t)set_key_size(set));
	nftnl_set_set_u32(object, NFTNL_SET_ID, id);
	if (set.type == SET_ENDPOINTS || set.type == SET_REFUSALS || set.type == SET_FAILED)
		nftnl_set_add_expr(object, need(nftnl_expr_alloc("counter")));
	put_set_udata(object, set);
}

/* size: the bound of a dynamic set. */
static void add_set_message(struct batch *batch, struct set_id set, bool add, uint32_t size,
			    const struct change *change)
{
	struct nlmsghdr *header =
		open_message(batch, add ? NFT_MSG_NEWSET : NFT_MSG_DELSET, add ? NLM_F_CREATE : 0, change);
	struct nftnl_set *object = need(nftnl_set_alloc());
	char name[SET_NAME_TEXT];

	nftnl_set_set_str(object, NFTNL_SET_TABLE, TABLE_NAME);
	nftnl_set_set_str(object, NFTNL_SET_NAME, set_name(set, name));
	if (add)
		describe_set(object, set, size, batch->next_set_id++);
	nftnl_set_nlmsg_build_payload(header, object);
	nftnl_set_free(object);
	close_message(batch, header);
}

static void add_set(struct batch *batch, struct set_id set, const struct change *change)
{
	if (set_is_dynamic(set) && kernel_resizes_sets())
		add_set_message(batch, set, true, DYNAMIC_SET_BEGINNING, change);
	add_set_message(batch, set, true, DYNAMIC_SET_SIZE, change);
}

static void add_chain(struct batch *batch, const struct change *change)
{
	const struct chain *chain = change->object;
	struct nlmsghdr *header = open_message(batch, change->add ? NFT_MSG_NEWCHAIN : NFT_MSG_DELCHAIN,
					       change->add ? NLM_F_CREATE : 0, change);
	struct nftnl_chain *object = need(nftnl_chain_alloc());

	nftnl_chain_set_str(object, NFTNL_CHAIN_TABLE, TABLE_NAME);
	nftnl_chain_set_str(object, NFTNL_CHAIN_NAME, chain->name);
	if (change->add && chain->hooked) {
		nftnl_chain_set_str(object, NFTNL_CHAIN_TYPE, chain->hook.type);
		nftnl_chain_set_u32(object, NFTNL_CHAIN_HOOKNUM, chain->hook.hook);
		nftnl_chain_set_s32(object, NFTNL_CHAIN_PRIO, chain->hook.priority);
		nftnl_chain_set_u32(object, NFTNL_CHAIN_POLICY, NF_ACCEPT);
	}
	nftnl_chain_nlmsg_build_payload(header, object);
	nftnl_chain_free(object);
	close_message(batch, header);
}

static struct nlattr *open_elements(struct batch *batch, struct set_id set, bool add, uint32_t id,
				    const struct change *change, struct nlmsghdr **ret_header)
{
	char name[SET_NAME_TEXT];
	struct nlmsghdr *header =
		open_message(batch, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, add ? NLM_F_CREATE : 0, change);

	mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_TABLE, TABLE_NAME);
	mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_SET, set_name(set, name));
	/* Only an anonymous set needs its id: the kernel finds ids by walking the transaction, names by hashing. */
	if (set_is_anonymous(set))
		mnl_attr_put_u32(header, NFTA_SET_ELEM_LIST_SET_ID, htonl(id));
	*ret_header = header;
	return mnl_attr_nest_start(header, NFTA_SET_ELEM_LIST_ELEMENTS);
}

static void put_elem_comment(struct nftnl_set_elem *object, const char *comment)
{
	struct nftnl_udata_buf *buf = need(nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN));

	nftnl_udata_put_strz(buf, NFTNL_UDATA_SET_ELEM_COMMENT, comment);
	nftnl_set_elem_set(object, NFTNL_SET_ELEM_USERDATA, nftnl_udata_buf_data(buf), nftnl_udata_buf_len(buf));
	nftnl_udata_buf_free(buf);
}

static void put_elem(struct nlmsghdr *header, const struct elem *elem, bool add, int position)
{
	struct nftnl_set_elem *object = need(nftnl_set_elem_alloc());

	nftnl_set_elem_set(object, NFTNL_SET_ELEM_KEY, elem->key, (uint32_t)set_key_size(elem->set));
	if (elem->chain) {
		nftnl_set_elem_set_u32(object, NFTNL_SET_ELEM_VERDICT,
				       (uint32_t)(set_jumps(elem->set) ? NFT_JUMP : NFT_GOTO));
		nftnl_set_elem_set_str(object, NFTNL_SET_ELEM_CHAIN, elem->chain);
	} else if (set_data_size(elem->set)) {
		nftnl_set_elem_set(object, NFTNL_SET_ELEM_DATA, elem->data, (uint32_t)set_data_size(elem->set));
	}
	if (add && elem->comment)
		put_elem_comment(object, elem->comment);
	nftnl_set_elem_nlmsg_build(header, object, position);
	nftnl_set_elem_free(object);
}

/* An anonymous set of protocols, for the rule that follows. */
static void add_protocols(struct batch *batch, enum set_type type, const struct change *change)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	static const uint8_t refusers[] = {IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_ICMPV6};
	const uint8_t *members = type == SET_PROTOCOLS ? protocols : refusers;
	size_t count = type == SET_PROTOCOLS ? ARRAY_SIZE(protocols) : ARRAY_SIZE(refusers);
	const struct set_id set = {.type = (uint8_t)type};
	uint32_t id = batch->next_set_id;
	struct nlmsghdr *header;
	struct nlattr *nest;

	add_set_message(batch, set, true, 0, change);
	nest = open_elements(batch, set, true, id, change, &header);
	for (size_t i = 0; i < count; i++) {
		struct elem elem = {.set = set, .key = {members[i]}};

		put_elem(header, &elem, true, (int)i + 1);
	}
	mnl_attr_nest_end(header, nest);
	close_message(batch, header);
}

static void add_rule(struct batch *batch, const struct chain *chain, const struct rule *rule,
		     const struct change *change)
{
	uint32_t id = batch->next_set_id;
	struct nftnl_rule *object = need(nftnl_rule_alloc());
	enum set_type protocols;
	struct nlmsghdr *header;

	if (nft_rule_anonymous_set(rule, &protocols))
		add_protocols(batch, protocols, change);
	header = open_message(batch, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, change);
	nftnl_rule_set_str(object, NFTNL_RULE_TABLE, TABLE_NAME);
	nftnl_rule_set_str(object, NFTNL_RULE_CHAIN, chain->name);
	nft_rule_expressions(rule, id, object);
	nftnl_rule_nlmsg_build_payload(header, object);
	nftnl_rule_free(object);
	close_message(batch, header);
}

/* Without a handle, the kernel removes all rules of the chain. */
static void remove_rules(struct batch *batch, const struct chain *chain, const struct change *change)
{
	struct nlmsghdr *header = open_message(batch, NFT_MSG_DELRULE, 0, change);

	mnl_attr_put_strz(header, NFTA_RULE_TABLE, TABLE_NAME);
	mnl_attr_put_strz(header, NFTA_RULE_CHAIN, chain->name);
	close_message(batch, header);
}

static void add_rules(struct batch *batch, const struct change *change)
{
	const struct chain *chain = change->object;

	if (!change->add) {
		remove_rules(batch, chain, change);
		return;
	}
	if (chain->shared)
		remove_rules(batch, chain, change);
	for (uint32_t i = 0; i < chain->n_rules; i++)
		add_rule(batch, chain, &chain->rules[i], change);
}

static bool same_message(const struct change *a, const struct change *b)
{
	const struct elem *x = a->object, *y = b->object;

	return b->kind == CHANGE_ELEM && a->add == b->add && a->group == b->group &&
	       memcmp(&x->set, &y->set, sizeof(x->set)) == 0;
}

/* As many elements of one set and group as one message takes; returns how many. */
static size_t add_elems(struct batch *batch, const struct change *changes, size_t count)
{
	const struct elem *first = changes->object;
	struct nlmsghdr *header;
	struct nlattr *nest = open_elements(batch, first->set, changes->add, 0, changes, &header);
	size_t n = 0;

	do {
		put_elem(header, changes[n].object, changes->add, (int)n + 1);
		n++;
	} while (n < count && same_message(changes, &changes[n]) && header->nlmsg_len < ELEMENTS_BYTES);
	mnl_attr_nest_end(header, nest);
	close_message(batch, header);
	return n;
}

void batch_begin(struct batch *batch, uint32_t sequence, uint32_t generation, uint32_t table_flags)
{
	struct nlmsghdr *header;

	batch->used = batch->n_messages = 0;
	batch->sequence = sequence;
	batch->next_set_id = 1;
	batch->table_flags = table_flags;
	make_room(batch);
	header = nftnl_batch_begin((char *)batch->bytes, sequence);
	if (generation)
		mnl_attr_put_u32(header, NFNL_BATCH_GENID, htonl(generation));
	close_message(batch, header);
}

void batch_add_claim(struct batch *batch)
{
	static const struct change claim = {.kind = CHANGE_TABLE, .add = true, .group = GROUP_BASE};

	add_table_message(batch, NFT_MSG_NEWTABLE, NLM_F_CREATE, &claim);
}

/* Adds the first of these, or as many as its message takes; returns how many. */
static size_t add_change(struct batch *batch, const struct change *change, size_t count)
{
	switch ((enum change_kind)change->kind) {
	case CHANGE_TABLE:
		add_table_message(batch, change->add ? NFT_MSG_NEWTABLE : NFT_MSG_DELTABLE,
				  change->add ? NLM_F_CREATE : 0, change);
		break;
	case CHANGE_TIMEOUT:
		add_timeout(batch, change);
		break;
	case CHANGE_SET:
		if (change->add)
			add_set(batch, *(const struct set_id *)change->object, change);
		else
			add_set_message(batch, *(const struct set_id *)change->object, false, 0, change);
		break;
	case CHANGE_CHAIN:
		add_chain(batch, change);
		break;
	case CHANGE_RULES:
		add_rules(batch, change);
		break;
	case CHANGE_ELEM:
		return add_elems(batch, change, count);
	}
	return 1;
}

static bool is_new_chain(const struct change *change)
{
	return change->kind == CHANGE_CHAIN && change->add;
}

static bool is_new_elem(const struct change *change)
{
	return change->kind == CHANGE_ELEM && change->add;
}

/*
 * New chains come first: with each later transaction, the kernel walks through all chains (nf_tables_commit()), and
 * takes less than half the time where they are side by side in its memory, and not between the elements of their links.
 * New elements come last: with each new rule, the kernel walks through the elements of the map that it asks
 * (nf_tables_bind_set()), which are those of many links.
 */
void batch_add_changes(struct batch *batch, const struct change *changes, size_t count)
{
	size_t base = 0;

	while (base < count && changes[base].group == GROUP_BASE)
		base += add_change(batch, &changes[base], count - base);
	for (size_t i = base; i < count; i++) {
		if (is_new_chain(&changes[i]))
			add_chain(batch, &changes[i]);
	}
	for (size_t i = base; i < count;)
		i += is_new_chain(&changes[i]) || is_new_elem(&changes[i]) ? 1
									   : add_change(batch, &changes[i], count - i);
	for (size_t i = base; i < count;)
		i += is_new_elem(&changes[i]) ? add_change(batch, &changes[i], count - i) : 1;
}

void batch_end(struct batch *batch, bool apply)
{
	struct nlmsghdr *header;

	if (batch->n_messages) {
		/* The last real message: kernels before 6.10 acknowledge neither begin nor end. */
		header = (struct nlmsghdr *)(void *)(batch->bytes + batch->messages[batch->n_messages - 1].at);
		header->nlmsg_flags |= NLM_F_ACK;
	}
	if (!apply)
		return;
	header = nftnl_batch_end((char *)batch->bytes + batch->used, batch->sequence + (uint32_t)batch->n_messages + 1);
	close_message(batch, header);
}

const struct batch_message *batch_find(const struct batch *batch, uint32_t sequence)
{
	uint32_t index = sequence - batch->sequence - 1;

	return index < batch->n_messages ? &batch->messages[index] : NULL;
}

const struct change *batch_locate(const struct batch *batch, const struct batch_message *message, uint32_t offset)
{
	const struct nlmsghdr *header = (const void *)(batch->bytes + message->at);
	const struct change *change = message->first;
	const struct nlattr *attr, *elem;

	if (change->kind != CHANGE_ELEM || !offset)
		return change;
	mnl_attr_for_each (attr, header, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested (elem, attr) {
			size_t end = (size_t)((const uint8_t *)elem - (const uint8_t *)header) + elem->nla_len;

			if (offset < end)
				return change;
			change++;
		}
	}
	return message->first;
}

void batch_clear(struct batch *batch)
{
	free(batch->bytes);
	free(batch->messages);
	*batch = (struct batch){0};
}
