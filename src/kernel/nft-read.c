/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/gen.h>
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

#include "kernel/netlink.h"
#include "kernel/nft-rules.h"
#include "kernel/nft-state.h"

/* The rule that was read last, with the bytes that it was recognised by. */
struct last_rule {
	bool known;
	uint8_t expressions[2048];
	size_t size;
	struct rule rule;
};

struct reading {
	struct nft *nft;
	struct ruleset *out;
	struct nft_recogniser *recogniser;
	size_t chain_hint; /* rules come chain by chain, in the order of the chains */
	struct last_rule last_rule;
	struct set_id set; /* whose elements are being read */
	nft_counter_fn counter;
	void *counter_context;
};

static int request(struct nft *nft, uint16_t type, uint16_t flags, uint16_t table_attr, uint16_t name_attr,
		   const char *name, mnl_cb_t callback, void *context)
{
	_Alignas(struct nlmsghdr) char buffer[512] = {0};
	struct nlmsghdr *header = nftnl_nlmsg_build_hdr(buffer, type, NFPROTO_INET, flags, 0);

	if (table_attr)
		mnl_attr_put_strz(header, table_attr, TABLE_NAME);
	if (name)
		mnl_attr_put_strz(header, name_attr, name);
	return netlink_request(nft->socket, header, callback, context);
}

static int on_generation(const struct nlmsghdr *header, void *context)
{
	struct nftnl_gen *gen = nftnl_gen_alloc();
	uint32_t *generation = context;

	if (gen && nftnl_gen_nlmsg_parse(header, gen) == 0)
		*generation = nftnl_gen_get_u32(gen, NFTNL_GEN_ID);
	nftnl_gen_free(gen);
	return MNL_CB_STOP;
}

static int read_generation(struct nft *nft, uint32_t *ret)
{
	return request(nft, NFT_MSG_GETGEN, 0, 0, 0, NULL, on_generation, ret);
}

/* The comment in the user data of a table or an element; both have it as their first attribute type. */
static const char *find_comment(const void *data, uint32_t size)
{
	const uint8_t *bytes = data;

	while (data && size >= 2 && size - 2 >= bytes[1]) {
		if (bytes[0] == NFTNL_UDATA_SET_ELEM_COMMENT && bytes[1] && bytes[2 + bytes[1] - 1] == '\0')
			return (const char *)bytes + 2;
		size -= 2 + bytes[1];
		bytes += 2 + bytes[1];
	}
	return NULL;
}

static int on_table(const struct nlmsghdr *header, void *context)
{
	struct nftnl_table *table = nftnl_table_alloc();
	struct reading *reading = context;
	const char *comment;
	const void *udata;
	uint32_t size = 0;

	if (!table || nftnl_table_nlmsg_parse(header, table) < 0) {
		nftnl_table_free(table);
		return MNL_CB_ERROR;
	}
	reading->out->table = true;
	if (nftnl_table_is_set(table, NFTNL_TABLE_OWNER)) {
		uint32_t owner = nftnl_table_get_u32(table, NFTNL_TABLE_OWNER);

		if (owner != mnl_socket_get_portid(reading->nft->socket))
			reading->nft->foreign_owner = owner;
	}
	udata = nftnl_table_get_data(table, NFTNL_TABLE_USERDATA, &size);
	comment = find_comment(udata, size);
	reading->out->foreign_shape |= !comment || strcmp(comment, TABLE_COMMENT) != 0;
	nftnl_table_free(table);
	return MNL_CB_STOP;
}

static int on_timeout(const struct nlmsghdr *header, void *context)
{
	struct nftnl_obj *object = nftnl_obj_alloc();
	struct reading *reading = context;
	const char *name;

	if (!object || nftnl_obj_nlmsg_parse(header, object) < 0) {
		nftnl_obj_free(object);
		return MNL_CB_ERROR;
	}
	name = nftnl_obj_get_str(object, NFTNL_OBJ_NAME);
	ruleset_add_timeout(reading->out)->name = arena_strdup(&reading->out->strings, name);
	nftnl_obj_free(object);
	return MNL_CB_OK;
}

static void read_chain(struct reading *reading, const struct nftnl_chain *object)
{
	struct chain *chain = ruleset_add_chain(reading->out);
	const char *type = nftnl_chain_get_str(object, NFTNL_CHAIN_TYPE);

	chain->name = arena_strdup(&reading->out->strings, nftnl_chain_get_str(object, NFTNL_CHAIN_NAME));
	chain->group = GROUP_UNKNOWN;
	chain->hooked = nftnl_chain_is_set(object, NFTNL_CHAIN_HOOKNUM);
	if (!chain->hooked)
		return;
	chain->hook.type = arena_strdup(&reading->out->strings, type ? type : "");
	chain->hook.hook = nftnl_chain_get_u32(object, NFTNL_CHAIN_HOOKNUM);
	chain->hook.priority = nftnl_chain_get_s32(object, NFTNL_CHAIN_PRIO);
}

static const struct nlattr *find_attr(const struct nlmsghdr *header, uint16_t type)
{
	const struct nlattr *attr;

	mnl_attr_for_each (attr, header, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) == type)
			return attr;
	}
	return NULL;
}

/* Chains of all tables of the family come: those of others are passed over before anything of them is read. */
bool nft_is_ours(const struct nlmsghdr *header, uint16_t table_attr)
{
	const struct nlattr *attr = find_attr(header, table_attr);

	return attr && strcmp(mnl_attr_get_str(attr), TABLE_NAME) == 0;
}

static int on_chain(const struct nlmsghdr *header, void *context)
{
	struct nftnl_chain *object;

	if (!nft_is_ours(header, NFTA_CHAIN_TABLE))
		return MNL_CB_OK;
	object = nftnl_chain_alloc();
	if (!object || nftnl_chain_nlmsg_parse(header, object) < 0) {
		nftnl_chain_free(object);
		return MNL_CB_ERROR;
	}
	read_chain(context, object);
	nftnl_chain_free(object);
	return MNL_CB_OK;
}

static struct chain *find_chain(struct reading *reading, const char *name)
{
	struct ruleset *out = reading->out;

	for (size_t i = 0; i < out->n_chains; i++) {
		size_t at = (reading->chain_hint + i) % out->n_chains;

		if (strcmp(out->chains[at].name, name) == 0) {
			reading->chain_hint = at;
			return &out->chains[at];
		}
	}
	return NULL;
}

static struct rule read_rule(struct reading *reading, const struct nftnl_rule *object)
{
	struct rule rule = nft_recognise(reading->recogniser, object);

	if (rule.timeout)
		rule.timeout = arena_strdup(&reading->out->strings, rule.timeout);
	if (rule.link)
		rule.link = arena_strdup(&reading->out->strings, rule.link);
	return rule;
}

/* Links beside each other often have the same rule, and to recognise one takes 10 us. */
static bool is_same_as_before(struct reading *reading, const struct nlattr *expressions)
{
	struct last_rule *last = &reading->last_rule;
	size_t size = expressions ? mnl_attr_get_payload_len(expressions) : SIZE_MAX;

	if (last->known && last->size == size &&
	    memcmp(last->expressions, mnl_attr_get_payload(expressions), size) == 0)
		return true;
	last->known = size <= sizeof(last->expressions);
	last->size = size;
	if (last->known)
		memcpy(last->expressions, mnl_attr_get_payload(expressions), size);
	return false;
}

static int recognise_rule(struct reading *reading, const struct nlmsghdr *header)
{
	struct nftnl_rule *object = nftnl_rule_alloc();

	if (!object || nftnl_rule_nlmsg_parse(header, object) < 0) {
		nftnl_rule_free(object);
		return -1;
	}
	reading->last_rule.rule = read_rule(reading, object);
	nftnl_rule_free(object);
	return 0;
}

static int on_rule(const struct nlmsghdr *header, void *context)
{
	const struct nlattr *name = find_attr(header, NFTA_RULE_CHAIN);
	const struct nlattr *expressions = find_attr(header, NFTA_RULE_EXPRESSIONS);
	struct reading *reading = context;
	struct chain *chain;

	if (!name || mnl_attr_validate(name, MNL_TYPE_NUL_STRING) < 0)
		return MNL_CB_ERROR;
	if (!is_same_as_before(reading, expressions) && recognise_rule(reading, header) < 0)
		return MNL_CB_ERROR;
	chain = find_chain(reading, mnl_attr_get_str(name));
	if (chain && chain->n_rules < CHAIN_RULES_MAX)
		chain->rules[chain->n_rules++] = reading->last_rule.rule;
	else if (chain)
		chain->rules[0].form = RULE_FOREIGN; /* more than we would ever write */
	return MNL_CB_OK;
}

static bool same_set_shape(const struct nftnl_set *object, struct set_id set)
{
	size_t data_size = set_data_size(set);
	uint32_t flags = (set_is_map(set) ? NFT_SET_MAP : 0u) | (set_is_dynamic(set) ? NFT_SET_TIMEOUT : 0u);

	return nftnl_set_get_u32(object, NFTNL_SET_KEY_LEN) == set_key_size(set) &&
	       (nftnl_set_get_u32(object, NFTNL_SET_FLAGS) & ~(uint32_t)NFT_SET_EVAL) == flags &&
	       (!data_size || nftnl_set_get_u32(object, NFTNL_SET_DATA_LEN) == data_size);
}

static int on_set(const struct nlmsghdr *header, void *context)
{
	struct nftnl_set *object = nftnl_set_alloc();
	struct reading *reading = context;
	struct set_id set;

	if (!object || nftnl_set_nlmsg_parse(header, object) < 0) {
		nftnl_set_free(object);
		return MNL_CB_ERROR;
	}
	if (!set_from_name(nftnl_set_get_str(object, NFTNL_SET_NAME), &set))
		reading->out->foreign_shape = true;
	else if (set_is_anonymous(set))
		; /* part of its rule */
	else if (!same_set_shape(object, set))
		reading->out->foreign_shape = true;
	else
		*ruleset_add_set(reading->out) = set;
	nftnl_set_free(object);
	return MNL_CB_OK;
}

/* What an attribute for data has in it: a value, or a verdict. */
static const struct nlattr *find_nested(const struct nlattr *nest, uint16_t type)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested (attr, nest) {
		if (mnl_attr_get_type(attr) == type)
			return attr;
	}
	return NULL;
}

static bool copy_value(const struct nlattr *data, uint8_t *into, size_t size)
{
	const struct nlattr *value = find_nested(data, NFTA_DATA_VALUE);

	if (!value || mnl_attr_get_payload_len(value) < size)
		return false;
	memcpy(into, mnl_attr_get_payload(value), size);
	return true;
}

static const char *verdict_chain(const struct nlattr *data)
{
	const struct nlattr *verdict = find_nested(data, NFTA_DATA_VERDICT);
	const struct nlattr *chain = verdict ? find_nested(verdict, NFTA_VERDICT_CHAIN) : NULL;

	return chain && mnl_attr_validate(chain, MNL_TYPE_NUL_STRING) == 0 ? mnl_attr_get_str(chain) : "";
}

static void read_data(struct ruleset *out, const struct nlattr *data, struct elem *elem)
{
	if (set_has_verdicts(elem->set))
		elem->chain = arena_strdup(&out->strings, verdict_chain(data));
	else
		copy_value(data, elem->data, set_data_size(elem->set));
}

/* There are very many of them: libnftnl would make an object of each. */
static void read_elem(struct reading *reading, const struct nlattr *object)
{
	struct ruleset *out = reading->out;
	struct elem elem = {.set = reading->set, .group = GROUP_UNKNOWN};
	const char *comment = NULL;
	const struct nlattr *attr;
	bool keyed = false;

	mnl_attr_for_each_nested (attr, object) {
		switch (mnl_attr_get_type(attr)) {
		case NFTA_SET_ELEM_KEY:
			keyed = copy_value(attr, elem.key, set_key_size(elem.set));
			break;
		case NFTA_SET_ELEM_DATA:
			read_data(out, attr, &elem);
			break;
		case NFTA_SET_ELEM_USERDATA:
			comment = find_comment(mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr));
			break;
		}
	}
	if (!keyed)
		return;
	if (comment)
		elem.comment = arena_strdup(&out->strings, comment);
	*ruleset_add_elem(out) = elem;
}

static int on_elems(const struct nlmsghdr *header, void *context)
{
	const struct nlattr *list, *elem;

	mnl_attr_for_each (list, header, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(list) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested (elem, list) {
			read_elem(context, elem);
		}
	}
	return MNL_CB_OK;
}

static int read_elems(struct reading *reading, struct set_id set, mnl_cb_t callback)
{
	char name[SET_NAME_TEXT];

	reading->set = set;
	return request(reading->nft, NFT_MSG_GETSETELEM, NLM_F_DUMP, NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET,
		       set_name(set, name), callback, reading);
}

static int read_objects(struct reading *reading)
{
	struct nft *nft = reading->nft;
	int code = request(nft, NFT_MSG_GETTABLE, 0, NFTA_TABLE_NAME, 0, NULL, on_table, reading);

	if (code == -ENOENT)
		return 0; /* no table of ours, so nothing else either */
	if (code == 0)
		code = request(nft, NFT_MSG_GETOBJ, NLM_F_DUMP, NFTA_OBJ_TABLE, 0, NULL, on_timeout, reading);
	if (code == 0)
		code = request(nft, NFT_MSG_GETCHAIN, NLM_F_DUMP, 0, 0, NULL, on_chain, reading);
	if (code == 0)
		code = request(nft, NFT_MSG_GETRULE, NLM_F_DUMP, NFTA_RULE_TABLE, 0, NULL, on_rule, reading);
	if (code == 0)
		code = request(nft, NFT_MSG_GETSET, NLM_F_DUMP, NFTA_SET_TABLE, 0, NULL, on_set, reading);
	for (size_t i = 0; code == 0 && i < reading->out->n_sets; i++) {
		struct set_id set = reading->out->sets[i];

		if (!set_is_dynamic(set) || set.type == SET_AFFINITY)
			code = read_elems(reading, set, on_elems);
	}
	return code;
}

/* The table as of one generation: -EAGAIN where it changed meanwhile. */
static int read_once(struct reading *reading)
{
	uint32_t before = 0, after = 0;
	int code = read_generation(reading->nft, &before);

	ruleset_reset(reading->out);
	reading->nft->foreign_owner = 0;
	reading->chain_hint = 0;
	reading->last_rule.known = false; /* its strings are gone */
	if (code == 0)
		code = read_objects(reading);
	if (code == 0)
		code = read_generation(reading->nft, &after);
	if (code < 0)
		return code == -EINTR || code == -ENOENT || code == -ENOBUFS ? -EAGAIN : code;
	reading->nft->generation = after;
	return before == after ? 0 : -EAGAIN;
}

int nft_read(struct nft *nft, struct ruleset *ret, struct error *err)
{
	struct ruleset out = {0};
	struct reading reading = {.nft = nft, .out = &out, .recogniser = nft_recogniser_new()};
	int code = -EAGAIN;

	for (int try = 0; code == -EAGAIN && try < NETLINK_DUMP_TRIES; try++)
		code = read_once(&reading);
	nft_recogniser_free(reading.recogniser);
	if (code == 0) {
		*ret = out;
		return 0;
	}
	ruleset_clear(&out);
	if (code == -EPERM)
		return fail(err, code,
			    "not permitted to read the nftables rules: nuncio needs CAP_NET_ADMIN in the "
			    "network namespace (run it as root, or give a container --cap-add NET_ADMIN)");
	if (code == -EAGAIN)
		return fail(err, code, "the nftables rules changed each time that they were read, %d times in a row",
			    NETLINK_DUMP_TRIES);
	return fail(err, code, "cannot read the nftables rules: %s", strerror(-code));
}

static bool copy_field(struct nftnl_set_elem *object, uint16_t attr, uint8_t *into, size_t size)
{
	uint32_t length = 0;
	const void *bytes = nftnl_set_elem_get(object, attr, &length);

	if (!bytes || length < size)
		return false;
	memcpy(into, bytes, size);
	return true;
}

static void read_counter(struct reading *reading, struct nftnl_set_elem *object)
{
	const struct nftnl_expr *counter = nftnl_set_elem_get(object, NFTNL_SET_ELEM_EXPR, NULL);
	struct elem elem = {.set = reading->set};
	size_t offset = listen_key_size(elem.set.family);
	struct ip_port endpoint;
	struct listen listen;

	if (!counter || !copy_field(object, NFTNL_SET_ELEM_KEY, elem.key, set_key_size(elem.set)))
		return;
	elem_listen(&elem, &listen);
	endpoint = field_get_ip_port(elem.key, &offset, elem.set.family);
	reading->counter(reading->counter_context, &listen, &endpoint,
			 nftnl_expr_get_u64(counter, NFTNL_EXPR_CTR_PACKETS));
}

static int on_counters(const struct nlmsghdr *header, void *context)
{
	struct nftnl_set *object = nftnl_set_alloc();
	struct nftnl_set_elems_iter *iter;
	struct nftnl_set_elem *elem;

	if (!object || nftnl_set_elems_nlmsg_parse(header, object) < 0) {
		nftnl_set_free(object);
		return MNL_CB_ERROR;
	}
	iter = nftnl_set_elems_iter_create(object);
	while (iter && (elem = nftnl_set_elems_iter_next(iter)))
		read_counter(context, elem);
	nftnl_set_elems_iter_destroy(iter);
	nftnl_set_free(object);
	return MNL_CB_OK;
}

int nft_read_set(struct nft *nft, struct set_id set, struct ruleset *ret)
{
	struct reading reading = {.nft = nft, .out = ret};
	size_t before = ret->n_elems;
	int code;

	do {
		ret->n_elems = before;
		code = read_elems(&reading, set, on_elems);
	} while (code == -EINTR);
	return code;
}

int nft_read_counters(struct nft *nft, struct set_id set, nft_counter_fn counter, void *context)
{
	struct reading reading = {.nft = nft, .counter = counter, .counter_context = context};
	int code = read_elems(&reading, set, on_counters);

	/* Interrupted or not: counters are never of one moment. */
	return code == -EINTR || code == -ENOENT ? 0 : code;
}

/* Enough for one such request. */
#define GET_ELEM_BYTES 256

/* Asks for one element of a set, by its key. */
static struct nlmsghdr *put_get_elem(char *buffer, struct set_id set, const uint8_t key[ELEM_KEY_MAX])
{
	struct nlmsghdr *header = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETSETELEM, NFPROTO_INET, 0, 0);
	struct nlattr *list, *elem, *data;
	char name[SET_NAME_TEXT];

	mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_TABLE, TABLE_NAME);
	mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_SET, set_name(set, name));
	list = mnl_attr_nest_start(header, NFTA_SET_ELEM_LIST_ELEMENTS);
	elem = mnl_attr_nest_start(header, NFTA_LIST_ELEM);
	data = mnl_attr_nest_start(header, NFTA_SET_ELEM_KEY);
	mnl_attr_put(header, NFTA_DATA_VALUE, set_key_size(set), key);
	mnl_attr_nest_end(header, data);
	mnl_attr_nest_end(header, elem);
	mnl_attr_nest_end(header, list);
	return header;
}

int nft_get_counters(struct nft *nft, struct set_id set, const struct listen *listen, const struct ip_port *endpoints,
		     size_t count, nft_counter_fn counter, void *context)
{
	struct reading reading = {.nft = nft, .set = set, .counter = counter, .counter_context = context};
	char *requests = xcalloc(count + 1, GET_ELEM_BYTES);
	uint8_t key[ELEM_KEY_MAX];
	size_t used = 0;
	int code;

	for (size_t i = 0; i < count; i++) {
		if (endpoints[i].addr.family != set.family)
			continue;
		key_put_endpoint(key, listen, &endpoints[i]);
		used += put_get_elem(requests + used, set, key)->nlmsg_len;
	}
	code = netlink_ask_all(nft->socket, requests, used, -ENOENT, on_counters, &reading);
	free(requests);
	return code;
}

/* Of an answer that is one message. */
static int on_elem(const struct nlmsghdr *header, void *context)
{
	int result = on_elems(header, context);

	return result == MNL_CB_OK ? MNL_CB_STOP : result;
}

/* The element of a set that is keyed by attempts. */
static int request_attempt(struct nft *nft, enum set_type type, const struct ip_port *client, uint32_t number,
			   struct ruleset *ret)
{
	const struct set_id set = {.type = (uint8_t)type, .family = client->addr.family};
	struct reading reading = {.nft = nft, .out = ret, .set = set};
	_Alignas(struct nlmsghdr) char buffer[GET_ELEM_BYTES] = {0};
	uint8_t key[ELEM_KEY_MAX] = {0};
	size_t offset = 0;
	int code;

	field_put_u32(key, &offset, htonl(number));
	field_put_addr(key, &offset, &client->addr);
	field_put_port(key, &offset, client->port);
	code = netlink_request(nft->socket, put_get_elem(buffer, set, key), on_elem, &reading);
	return code == 0 && !ret->n_elems ? -ENOENT : code;
}

int nft_read_attempt(struct nft *nft, const struct ip_port *client, uint32_t sequence, struct ip_port *ret)
{
	struct ruleset found = {0};
	size_t offset = 0;
	/* The RST acknowledges one more. */
	int code = request_attempt(nft, SET_TRIED, client, sequence + 1, &found);

	if (code != -ENOENT) {
		ruleset_clear(&found);
		return code < 0 ? code : -EALREADY;
	}
	code = request_attempt(nft, SET_ATTEMPTS, client, sequence, &found);
	if (code == 0)
		*ret = field_get_ip_port(found.elems[0].data, &offset, client->addr.family);
	ruleset_clear(&found);
	return code;
}
