/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ruleset/compile.h"

#include <linux/netfilter.h>
#include <string.h>

static const uint8_t families[] = {AF_INET, AF_INET6};

/* linux/netfilter_ipv4.h has these as enum nf_ip_hook_priorities, which IPv6 repeats. */
enum { PRIORITY_RAW = -300, PRIORITY_DSTNAT = -100, PRIORITY_FILTER = 0, PRIORITY_SRCNAT = 100 };

static struct chain *add_chain(struct ruleset *out, const char *name)
{
	struct chain *chain = ruleset_add_chain(out);

	chain->name = name;
	return chain;
}

static struct chain *add_base_chain(struct ruleset *out, const char *name, const char *type, uint32_t hook,
				    int32_t priority)
{
	struct chain *chain = add_chain(out, name);

	chain->hooked = true;
	chain->hook = (struct hook){type, hook, priority};
	return chain;
}

static void add_rule(struct chain *chain, enum rule_form form, uint8_t family)
{
	chain->rules[chain->n_rules++] = (struct rule){.form = (uint8_t)form, .family = family};
}

static void add_rule_per_family(struct chain *chain, enum rule_form form)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		add_rule(chain, form, families[i]);
}

static void add_base_sets(struct ruleset *out)
{
	*ruleset_add_set(out) = (struct set_id){.type = SET_LOCALNET};
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		*ruleset_add_set(out) = (struct set_id){SET_ADDRESSES, families[i], 0};
		*ruleset_add_set(out) = (struct set_id){SET_SERVICES, families[i], 0};
		*ruleset_add_set(out) = (struct set_id){SET_LINKS, families[i], 0};
		*ruleset_add_set(out) = (struct set_id){SET_ALWAYS, families[i], 0};
		*ruleset_add_set(out) = (struct set_id){SET_NEVER, families[i], 0};
		*ruleset_add_set(out) = (struct set_id){SET_POLICIES, families[i], 0};
		*ruleset_add_set(out) = (struct set_id){SET_NORETRY, families[i], 0};
		*ruleset_add_set(out) = (struct set_id){SET_TRYING, families[i], 0};
		*ruleset_add_set(out) = (struct set_id){SET_RETRYING, families[i], 0};
		*ruleset_add_set(out) = (struct set_id){SET_TRIED, families[i], 0};
		*ruleset_add_set(out) = (struct set_id){SET_REFUSALS, families[i], 0};
	}
}

/*
 * What happens to a connection of ours behind the dispatch. It depends on the link only, never on the endpoint
 * still being there: a packet may pass `output` before an update and `postrouting` after it.
 */
static void add_linked_chain(struct ruleset *out, const char *name, uint8_t family)
{
	struct chain *chain = add_chain(out, name);

	add_rule(chain, RULE_TIMEOUT, 0);
	chain->rules[0].timeout = timeout_default_name(family);
	add_rule(chain, RULE_POLICY, family);
	add_rule(chain, RULE_LOOPBACK, family);
	add_rule(chain, RULE_NEVER, family);
	add_rule(chain, RULE_AUTO, family);
	add_rule(chain, RULE_MASQUERADE, 0);
}

/*
 * Refusals of connection attempts (RST, ICMP) are kept from the client: its TCP sends the SYN again, and that is
 * balanced anew. For so long as the attempt is among those that are being retried; after that its refusal gets through,
 * so that a client whose link has nothing but dead endpoints is told. Where a set is full, it gets through, too.
 */
static void add_refusal_chains(bool eject, struct ruleset *out)
{
	static const char *const refused[] = {"refused4", "refused6"}, *const dropped[] = {"dropped4", "dropped6"};
	struct chain *chain = add_base_chain(out, "refused", "filter", NF_INET_PRE_ROUTING, PRIORITY_FILTER);

	add_rule(chain, RULE_REFUSED, 0);
	add_rule_per_family(chain, RULE_UNREACHABLE);
	add_rule_per_family(add_chain(out, "refusals"), RULE_REFUSAL);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		chain = add_chain(out, refused[i]);
		if (eject)
			add_rule(chain, RULE_REPORT_REFUSAL, families[i]);
		add_rule(chain, RULE_NORETRY, families[i]);
		add_rule(chain, RULE_NOT_TCP, families[i]);
		add_rule(chain, RULE_RETRYING, families[i]);
		add_rule(chain, RULE_TRIED, families[i]);
		add_rule(chain, RULE_NOTE_TRIED, families[i]);
		add_rule(chain, RULE_NOTE_RETRYING, families[i]);
		chain = add_chain(out, dropped[i]);
		add_rule(chain, RULE_COUNT_REFUSAL, families[i]);
		add_rule(chain, RULE_DROP, 0);
	}
}

/* What takes part in reporting failed connections. */
static void add_eject_sets(struct ruleset *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		*ruleset_add_set(out) = (struct set_id){SET_EJECT, families[i], 0};
		*ruleset_add_set(out) = (struct set_id){SET_FAILED, families[i], 0};
		*ruleset_add_set(out) = (struct set_id){SET_ATTEMPTS, families[i], 0};
	}
}

static void add_default_timeouts(struct ruleset *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		*ruleset_add_timeout(out) = (struct timeout){
			.name = timeout_default_name(families[i]),
			.family = families[i],
			.seconds = RETRY_DEFAULT_S,
		};
}

void compile_base(bool eject, struct ruleset *out)
{
	struct chain *chain;

	out->table = true;
	add_default_timeouts(out);
	add_base_sets(out);
	if (eject)
		add_eject_sets(out);
	chain = add_base_chain(out, "output", "nat", NF_INET_LOCAL_OUT, PRIORITY_DSTNAT);
	add_rule_per_family(chain, RULE_DISPATCH);
	chain = add_base_chain(out, "prerouting", "nat", NF_INET_PRE_ROUTING, PRIORITY_DSTNAT);
	add_rule_per_family(chain, RULE_DISPATCH);
	chain = add_base_chain(out, "postrouting", "nat", NF_INET_POST_ROUTING, PRIORITY_SRCNAT);
	add_rule_per_family(chain, RULE_LINKED);
	add_linked_chain(out, "linked4", AF_INET);
	add_linked_chain(out, "linked6", AF_INET6);
	/* Replies are translated back only at priority -100, so a packet from outside that carries 127/8 at priority
	 * raw already is never legitimate (CVE-2020-8558). */
	chain = add_base_chain(out, "guard", "filter", NF_INET_PRE_ROUTING, PRIORITY_RAW);
	add_rule(chain, RULE_GUARD, 0);
	add_refusal_chains(eject, out);
}

static const char *count_chain_name(uint8_t family, uint16_t number, struct ruleset *out)
{
	char name[COUNT_NAME_TEXT];

	return arena_strdup(&out->strings, count_name(family, number, name));
}

static void add_numbered_rule(struct chain *chain, enum rule_form form, uint8_t family, uint16_t number)
{
	add_rule(chain, form, family);
	chain->rules[chain->n_rules - 1].shard = number;
}

void compile_shard(uint8_t family, uint16_t shard, struct ruleset *out)
{
	*ruleset_add_set(out) = (struct set_id){SET_SLOTS, family, shard};
}

uint16_t counters_of(uint16_t shard)
{
	return shard / SHARDS_PER_COUNTERS;
}

void compile_counters(uint8_t family, uint16_t number, struct ruleset *out)
{
	struct chain *chain = add_chain(out, count_chain_name(family, number, out));

	*ruleset_add_set(out) = (struct set_id){SET_ENDPOINTS, family, number};
	chain->shared = true;
	add_numbered_rule(chain, RULE_COUNT, family, number);
}

void compile_namespace(const struct footprint *footprint, struct ruleset *out)
{
	for (size_t i = 0; i < footprint->n_interfaces; i++) {
		struct elem *elem = ruleset_add_elem(out);

		elem->set.type = SET_LOCALNET;
		memcpy(elem->key, footprint->interfaces[i], sizeof(footprint->interfaces[i]));
	}
	for (size_t i = 0; i < footprint->n_addresses; i++) {
		struct elem *elem = ruleset_add_elem(out);
		size_t offset = 0;

		elem->set = (struct set_id){SET_ADDRESSES, footprint->addresses[i].family, 0};
		field_put_addr(elem->key, &offset, &footprint->addresses[i]);
	}
}

static struct elem *add_listen_elem(const struct link_plan *plan, enum set_type type, uint32_t group,
				    struct ruleset *out, size_t *ret_offset)
{
	struct elem *elem = ruleset_add_elem(out);

	elem->set = (struct set_id){(uint8_t)type, plan->listen.at.addr.family, 0};
	elem->group = group;
	*ret_offset = key_put_listen(elem->key, &plan->listen);
	return elem;
}

/* "LINK/ID", cut to what nft can read, without the characters that would end its string. There are many of these. */
static const char *endpoint_comment(const struct link_plan *plan, const struct endpoint *endpoint, struct ruleset *out)
{
	size_t name = strlen(plan->name), id = strnlen(endpoint->id, COMMENT_MAX - name - 1);
	char *comment = arena_alloc(&out->strings, name + 1 + id + 1);

	memcpy(comment, plan->name, name);
	comment[name] = '/';
	memcpy(comment + name + 1, endpoint->id, id);
	for (char *c = comment; *c; c++) {
		if (*c == '"' || *c == '\\')
			*c = '\'';
	}
	return comment;
}

static void add_slots_rule(const struct link_plan *plan, struct chain *chain, enum rule_form form)
{
	struct rule *rule = &chain->rules[chain->n_rules];

	add_rule(chain, form, plan->listen.at.addr.family);
	rule->shard = plan->shard;
	rule->modulus = plan->slots.count;
	rule->offset = plan->slots.base;
}

static void add_map_rule(const struct link_plan *plan, struct chain *chain, enum rule_form form)
{
	struct rule *rule = &chain->rules[chain->n_rules];

	add_rule(chain, form, plan->listen.at.addr.family);
	rule->shard = plan->affinity_map;
}

/*
 * A client that has an endpoint goes there, any other to the slot that is drawn. Where the choice would be the same
 * whenever TCP sends its SYN again, an attempt is remembered, and when it comes again it goes elsewhere.
 */
static void add_choice(const struct link_plan *plan, struct chain *chain)
{
	bool fixed = plan->affinity_s || plan_is_hashed(plan);
	bool retry = plan->listen.protocol == IPPROTO_TCP && plan->retry_s && fixed;

	if (retry && plan->affinity_s)
		add_map_rule(plan, chain, RULE_FORGET);
	if (retry && plan_is_hashed(plan))
		add_slots_rule(plan, chain, RULE_ELSEWHERE);
	if (retry)
		add_rule(chain, RULE_TRYING, plan->listen.at.addr.family);
	if (plan->affinity_s)
		add_map_rule(plan, chain, plan->listen.protocol == IPPROTO_TCP ? RULE_STICK_TCP : RULE_STICK_UDP);
	add_slots_rule(plan, chain, RULE_BALANCE);
	chain->rules[chain->n_rules - 1].balance = (uint8_t)plan->balance;
}

static void compile_link_chain(const struct link_plan *plan, const char *name, uint32_t group, struct ruleset *out)
{
	struct chain *chain = add_chain(out, name);

	chain->group = group;
	if (plan->hold) {
		add_rule(chain, RULE_DROP, 0);
		return;
	}
	if (!plan->slots.count) {
		add_rule(chain, RULE_RESET, 0);
		add_rule(chain, RULE_REJECT, 0);
		return;
	}
	add_choice(plan, chain);
}

/*
 * For how long an attempt is noted: until the SYN that is balanced anew, and not until the one behind it, since noted
 * is the first endpoint only. TCP sends it after 1 s, then after another each time, or after twice as long as before
 * (net.ipv4.tcp_syn_linear_timeouts). Conntrack counts its patience from the last one.
 */
static uint32_t noted_ms(uint32_t retry_s)
{
	uint32_t gap = 2;

	if (retry_s == 1)
		return 1500;
	while (gap < retry_s)
		gap *= 2;
	return 2000 * gap + 3500;
}

/* A SYN that comes again and is balanced anew tells that the endpoint where it went before has not answered. */
static void compile_reports(const struct link_plan *plan, struct chain *chain)
{
	uint8_t family = plan->listen.at.addr.family;

	add_rule(chain, RULE_REPORT_UNANSWERED, family);
	chain->rules[chain->n_rules - 1].link = chain->name + strlen(POLICY_NAME_PREFIX);
	add_rule(chain, RULE_NOTE_ATTEMPT, family);
	chain->rules[chain->n_rules - 1].ms = noted_ms(plan->retry_s);
}

/* What only this link has, in a chain of its own; returns its name, or NULL where it has nothing. */
static const char *compile_own_policy(const struct link_plan *plan, uint32_t group, struct ruleset *out)
{
	uint8_t family = plan->listen.at.addr.family;
	bool own_timeout = plan->listen.protocol == IPPROTO_TCP && plan->retry_s != RETRY_DEFAULT_S;
	bool reports = plan->eject && plan->retry_s; /* without a retry, nothing is balanced anew */
	struct chain *chain;

	if (!own_timeout && !plan->affinity_s && !reports)
		return NULL;
	chain = add_chain(out, arena_printf(&out->strings, POLICY_NAME_PREFIX "%s", plan->name));
	chain->group = group;
	if (own_timeout) {
		struct timeout *timeout = ruleset_add_timeout(out);

		*timeout = (struct timeout){
			.name = arena_printf(&out->strings, "%s-%s-%us", timeout_default_name(family), plan->name,
					     plan->retry_s),
			.family = family,
			.seconds = plan->retry_s,
		};
		add_rule(chain, RULE_TIMEOUT, 0);
		chain->rules[chain->n_rules - 1].timeout = timeout->name;
	}
	if (plan->affinity_s) {
		*ruleset_add_set(out) = (struct set_id){SET_AFFINITY, family, plan->affinity_map};
		add_map_rule(plan, chain, RULE_REMEMBER);
		chain->rules[chain->n_rules - 1].seconds = plan->affinity_s;
	}
	if (reports)
		compile_reports(plan, chain);
	add_numbered_rule(chain, RULE_TO_COUNT, family, counters_of(plan->shard));
	return chain->name;
}

/* What its listen address leads to behind the dispatch: its own chain, else that of many links. */
static void compile_policy(const struct link_plan *plan, uint32_t group, struct ruleset *out)
{
	const char *own = compile_own_policy(plan, group, out);
	size_t offset;
	struct elem *elem = add_listen_elem(plan, SET_POLICIES, group, out, &offset);

	elem->chain = own ? own : count_chain_name(plan->listen.at.addr.family, counters_of(plan->shard), out);
}

static void compile_slots(const struct link_plan *plan, const char *const *comments, uint32_t group,
			  struct ruleset *out)
{
	const struct slots *slots = &plan->slots;

	for (uint32_t i = 0; i < slots->before + slots->count; i++) {
		const struct endpoint *endpoint;
		size_t at_key, at_data = 0;
		struct elem *elem;

		if (slots->owner[i] == SLOT_FREE)
			continue; /* in a plan recovered from a table that somebody damaged */
		endpoint = &plan->endpoints->items[slots->owner[i]];
		elem = add_listen_elem(plan, SET_SLOTS, group, out, &at_key);
		elem->set.shard = plan->shard;
		field_put_u32(elem->key, &at_key, slots->base - slots->before + i);
		field_put_addr(elem->data, &at_data, &endpoint->at.addr);
		field_put_port(elem->data, &at_data, endpoint->at.port);
		elem->comment = comments[slots->owner[i]];
	}
}

/* In the order of their keys. */
static void compile_endpoints(const struct link_plan *plan, const char *const *comments, uint32_t group,
			      struct ruleset *out)
{
	for (uint32_t i = 0; i < plan->endpoints->count; i++) {
		uint32_t index = plan->endpoints->by_address[i];
		const struct endpoint *endpoint = &plan->endpoints->items[index];
		struct elem *elem;
		size_t offset;

		if (endpoint->at.addr.family != plan->listen.at.addr.family)
			continue;
		elem = add_listen_elem(plan, SET_ENDPOINTS, group, out, &offset);
		elem->set.shard = counters_of(plan->shard);
		field_put_addr(elem->key, &offset, &endpoint->at.addr);
		field_put_port(elem->key, &offset, endpoint->at.port);
		elem->comment = comments[index];
	}
}

void compile_link(const struct link_plan *plan, uint32_t group, struct ruleset *out)
{
	const char *chain = arena_printf(&out->strings, CHAIN_NAME_PREFIX "%s", plan->name);
	const char **comments = arena_alloc(&out->strings, (plan->endpoints->count + 1) * sizeof(*comments));
	struct elem *elem;
	size_t offset;

	for (uint32_t i = 0; i < plan->endpoints->count; i++)
		comments[i] = endpoint_comment(plan, &plan->endpoints->items[i], out);
	compile_link_chain(plan, chain, group, out);
	elem = add_listen_elem(plan, SET_SERVICES, group, out, &offset);
	elem->chain = chain;
	elem->comment = chain + strlen(CHAIN_NAME_PREFIX);
	add_listen_elem(plan, SET_LINKS, group, out, &offset);
	if (plan->masquerade == MASQUERADE_ALWAYS)
		add_listen_elem(plan, SET_ALWAYS, group, out, &offset);
	if (plan->masquerade == MASQUERADE_NEVER)
		add_listen_elem(plan, SET_NEVER, group, out, &offset);
	if (plan->listen.protocol == IPPROTO_TCP && !plan->retry_s)
		add_listen_elem(plan, SET_NORETRY, group, out, &offset);
	if (plan->eject)
		add_listen_elem(plan, SET_EJECT, group, out, &offset);
	compile_policy(plan, group, out);
	compile_slots(plan, comments, group, out);
	compile_endpoints(plan, comments, group, out);
}
