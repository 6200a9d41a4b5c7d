/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ruleset/recover.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

/* The family, and the leading fields of a key. */
#define LISTENER_KEY (1 + ELEM_KEY_MAX)

/* The elements that belong to one listen address: by type of set, and slots by their number, as a plan has them. */
struct listener {
	uint8_t key[LISTENER_KEY];
	const struct elem **elems;
	size_t count, capacity;
	UT_hash_handle hh;
};

struct recovery {
	struct arena arena;
	struct listener *listeners;
	const struct chain **chains; /* by name */
	size_t n_chains;
};

static uint32_t slot_number(const struct elem *elem)
{
	size_t offset = listen_key_size(elem->set.family);

	return field_get_u32(elem->key, &offset);
}

static int compare_elems(const void *a, const void *b)
{
	const struct elem *x = *(const struct elem *const *)a, *y = *(const struct elem *const *)b;

	if (x->set.type != y->set.type)
		return x->set.type < y->set.type ? -1 : 1;
	if (x->set.type != SET_SLOTS || slot_number(x) == slot_number(y))
		return 0;
	return slot_number(x) < slot_number(y) ? -1 : 1;
}

static int compare_chains(const void *a, const void *b)
{
	return strcmp((*(const struct chain *const *)a)->name, (*(const struct chain *const *)b)->name);
}

/* `listen` are the bytes that a key of that family begins with. */
static void make_key(uint8_t family, const uint8_t *listen, uint8_t key[LISTENER_KEY])
{
	memset(key, 0, LISTENER_KEY);
	key[0] = family;
	memcpy(key + 1, listen, listen_key_size(family));
}

static struct listener *find_or_add_listener(struct recovery *recovery, const struct elem *elem)
{
	struct listener *listener;
	uint8_t key[LISTENER_KEY];

	make_key(elem->set.family, elem->key, key);
	HASH_FIND(hh, recovery->listeners, key, sizeof(key), listener);
	if (listener)
		return listener;
	listener = arena_alloc(&recovery->arena, sizeof(*listener));
	memcpy(listener->key, key, sizeof(key));
	HASH_ADD(hh, recovery->listeners, key, sizeof(key), listener);
	return listener;
}

struct recovery *recovery_new(const struct ruleset *kernel)
{
	struct recovery *recovery = xcalloc(1, sizeof(*recovery));

	for (size_t i = 0; i < kernel->n_elems; i++) {
		const struct elem *elem = &kernel->elems[i];
		struct listener *listener;

		if (!set_has_listens(elem->set))
			continue;
		listener = find_or_add_listener(recovery, elem);
		ARRAY_GROW(listener->elems, listener->count, listener->capacity);
		listener->elems[listener->count++] = elem;
	}
	recovery->chains = xcalloc(kernel->n_chains + 1, sizeof(*recovery->chains));
	for (size_t i = 0; i < kernel->n_chains; i++)
		recovery->chains[recovery->n_chains++] = &kernel->chains[i];
	qsort(recovery->chains, recovery->n_chains, sizeof(*recovery->chains), compare_chains);
	return recovery;
}

void recovery_free(struct recovery *recovery)
{
	if (!recovery)
		return;
	for (struct listener *l = recovery->listeners; l; l = l->hh.next)
		free(l->elems);
	HASH_CLEAR(hh, recovery->listeners);
	arena_free(&recovery->arena);
	free(recovery->chains);
	free(recovery);
}

/* NULL where the kernel has nothing of it. */
static const struct listener *find_listener(const struct recovery *recovery, const struct listen *listen)
{
	uint8_t bytes[ELEM_KEY_MAX] = {0}, key[LISTENER_KEY];
	struct listener *listener;

	key_put_listen(bytes, listen);
	make_key(listen->at.addr.family, bytes, key);
	HASH_FIND(hh, recovery->listeners, key, sizeof(key), listener);
	if (listener)
		qsort(listener->elems, listener->count, sizeof(*listener->elems), compare_elems);
	return listener;
}

/* "LINK/ID" -> ID; what is not of that form stays nameless and is told by its address. */
static void recover_id(const struct elem *elem, struct endpoint *endpoint, char text[IP_PORT_TEXT])
{
	const char *slash = elem->comment ? strchr(elem->comment, '/') : NULL;

	endpoint->id = slash && slash[1] ? slash + 1 : ip_port_text(&endpoint->at, text);
}

/* Endpoints as the counters name them, for now of equal weight. */
static const struct endpoints *recover_endpoints(const struct elem *const *elems, size_t count)
{
	struct endpoints_builder *builder = endpoints_builder_new();
	const char *other;

	for (size_t i = 0; i < count; i++) {
		struct endpoint endpoint = {.weight = 1};
		char text[IP_PORT_TEXT];
		size_t offset;

		if (elems[i]->set.type != SET_ENDPOINTS && elems[i]->set.type != SET_FORMER_ENDPOINTS)
			continue;
		offset = listen_key_size(elems[i]->set.family);
		endpoint.at = field_get_ip_port(elems[i]->key, &offset, elems[i]->set.family);
		recover_id(elems[i], &endpoint, text);
		if (endpoints_builder_add(builder, &endpoint, &other) < 0) {
			endpoint.id = ip_port_text(&endpoint.at, text); /* two ids that were cut to the same */
			endpoints_builder_add(builder, &endpoint, &other);
		}
	}
	return endpoints_builder_finish(builder);
}

static uint32_t find_by_address(const struct endpoints *endpoints, const struct ip_port *at)
{
	const struct endpoint *endpoint = endpoints_find_address(endpoints, at);

	return endpoint ? (uint32_t)(endpoint - endpoints->items) : SLOT_FREE;
}

static const struct chain *find_chain(const struct recovery *recovery, const char *name)
{
	struct chain probe = {.name = name};
	const struct chain *key = &probe, **found;

	found = bsearch(&key, recovery->chains, recovery->n_chains, sizeof(*recovery->chains), compare_chains);
	return found ? *found : NULL;
}

/* The rule of this form in the chain that the listen address leads to by one of the maps; NULL where it has none. */
static const struct rule *find_rule(const struct recovery *recovery, const struct elem *const *elems, size_t count,
				    enum set_type map, enum rule_form form)
{
	for (size_t i = 0; i < count; i++) {
		const struct chain *chain = elems[i]->set.type == map ? find_chain(recovery, elems[i]->chain) : NULL;

		for (uint32_t j = 0; chain && j < chain->n_rules; j++) {
			if (chain->rules[j].form == form)
				return &chain->rules[j];
		}
	}
	return NULL;
}

/* The name of the link that listens there, as the comment gives it. */
static const char *find_name(const struct elem *const *elems, size_t count, const char *otherwise)
{
	for (size_t i = 0; i < count; i++) {
		if (elems[i]->set.type == SET_SERVICES && elems[i]->comment)
			return elems[i]->comment;
	}
	return otherwise;
}

static const struct elem *const *find_slots(const struct elem *const *elems, size_t count, size_t *ret_count)
{
	size_t first = 0, end;

	while (first < count && elems[first]->set.type != SET_SLOTS)
		first++;
	for (end = first; end < count && elems[end]->set.type == SET_SLOTS;)
		end++;
	*ret_count = end - first;
	return elems + first;
}

/* Do the slots go without a gap from somewhere at or before the rule's window to its end? Else they are not ours. */
static bool fit_rule(const struct elem *const *slots, size_t count, const struct rule *rule)
{
	uint32_t first;

	if (!count || !rule)
		return false;
	first = slot_number(slots[0]);
	for (size_t i = 0; i < count; i++) {
		if (slot_number(slots[i]) != first + i || slots[i]->set.shard != rule->shard)
			return false;
	}
	return first <= rule->offset && rule->offset - first + rule->modulus == count;
}

static void recover_slots(const struct elem *const *slots, size_t count, const struct rule *rule,
			  struct link_plan *plan)
{
	plan->slots.owner = xcalloc(count + 1, sizeof(*plan->slots.owner));
	if (!rule || !fit_rule(slots, count, rule))
		return;
	plan->slots.base = rule->offset;
	plan->slots.count = rule->modulus;
	plan->slots.before = rule->offset - slot_number(slots[0]);
	for (size_t i = 0; i < count; i++) {
		size_t offset = 0;
		struct ip_port target = field_get_ip_port(slots[i]->data, &offset, slots[i]->set.family);

		plan->slots.owner[i] = find_by_address(plan->endpoints, &target);
	}
}

/* How many numbers of the window each endpoint has. Returns the smallest of those that have any; 0: nobody has. */
static uint32_t count_slots(const struct slots *slots, uint32_t *ret_counts)
{
	uint32_t least = 0;

	for (uint32_t i = 0; i < slots->count; i++) {
		uint32_t owner = slots->owner[slots->before + i];

		if (owner != SLOT_FREE)
			ret_counts[owner]++;
	}
	for (uint32_t i = 0; i < slots->count; i++) {
		uint32_t owner = slots->owner[slots->before + i];

		if (owner != SLOT_FREE && (!least || ret_counts[owner] < least))
			least = ret_counts[owner];
	}
	return least;
}

static const struct endpoints *reweigh(const struct endpoints *endpoints, const uint32_t *counts, uint32_t unit)
{
	uint16_t *weights = xcalloc(endpoints->count + 1, sizeof(*weights));
	const struct endpoints *weighed;

	for (uint32_t i = 0; i < endpoints->count; i++) {
		uint32_t weight = (counts[i] + unit / 2) / unit;

		weights[i] = (uint16_t)(weight < ENDPOINT_WEIGHT_MAX ? weight : ENDPOINT_WEIGHT_MAX);
	}
	weighed = endpoints_reweigh(endpoints, weights);
	free(weights);
	return weighed;
}

/*
 * Weights are in the kernel as numbers of slots, and for balance=source as entries of a table, in proportion only.
 * Whoever has none does not serve: for him, weight 0 stands for a worse priority, too.
 */
static void recover_weights(bool empty, struct link_plan *plan)
{
	uint32_t *counts = xcalloc(plan->endpoints->count + 1, sizeof(*counts));
	uint32_t least = count_slots(&plan->slots, counts);
	const struct endpoints *weighed;

	if (least || empty) {
		weighed = reweigh(plan->endpoints, counts, plan->balance == BALANCE_SOURCE && least ? least : 1);
		endpoints_unref(plan->endpoints);
		plan->endpoints = weighed;
	}
	free(counts);
}

/* Is it known that nobody serves? */
static bool is_empty(const struct recovery *recovery, const struct elem *const *elems, size_t count)
{
	return find_rule(recovery, elems, count, SET_SERVICES, RULE_RESET) ||
	       find_rule(recovery, elems, count, SET_SERVICES, RULE_DROP);
}

/* Where a link without slots was is known from where its endpoints are counted, though not exactly. */
static uint16_t recover_shard(const struct recovery *recovery, const struct elem *const *elems, size_t count,
			      const struct elem *const *slots, size_t n_slots)
{
	const struct rule *rule;

	if (n_slots)
		return slots[0]->set.shard;
	rule = find_rule(recovery, elems, count, SET_POLICIES, RULE_COUNT);
	if (!rule)
		rule = find_rule(recovery, elems, count, SET_POLICIES, RULE_TO_COUNT);
	return rule ? (uint16_t)(rule->shard * SHARDS_PER_COUNTERS) : SHARD_UNKNOWN;
}

bool recovery_plan(struct recovery *recovery, const struct link_conf *conf, struct link_plan *ret)
{
	const struct listener *listener = find_listener(recovery, &conf->listen);
	struct link_plan plan = {
		.listen = conf->listen,
		.balance = conf->balance,
		.masquerade = conf->masquerade,
		.retry_s = conf->retry_s,
	};
	const struct rule *rule, *remember;
	const struct elem *const *elems, *const *slots;
	size_t count, n_slots;

	if (!listener)
		return false;
	elems = (const struct elem *const *)listener->elems;
	count = listener->count;
	rule = find_rule(recovery, elems, count, SET_SERVICES, RULE_BALANCE);
	if (rule)
		plan.balance = (enum balance)rule->balance;
	remember = find_rule(recovery, elems, count, SET_POLICIES, RULE_REMEMBER);
	if (remember) {
		plan.affinity_s = remember->seconds;
		plan.affinity_map = remember->shard;
	}
	plan.name = xstrdup(find_name(elems, count, conf->name));
	plan.endpoints = recover_endpoints(elems, count);
	slots = find_slots(elems, count, &n_slots);
	plan.shard = recover_shard(recovery, elems, count, slots, n_slots);
	recover_slots(slots, n_slots, rule, &plan);
	recover_weights(is_empty(recovery, elems, count), &plan);
	plan.weighed = endpoints_ref(plan.endpoints);
	plan_note_serving(&plan);
	*ret = plan;
	return true;
}

struct footprint recovery_footprint(const struct ruleset *kernel)
{
	struct footprint footprint = {0};
	size_t cap_interfaces = 0, cap_addresses = 0;

	for (size_t i = 0; i < kernel->n_elems; i++) {
		const struct elem *elem = &kernel->elems[i];

		if (elem->set.type == SET_LOCALNET) {
			ARRAY_GROW(footprint.interfaces, footprint.n_interfaces, cap_interfaces);
			memcpy(footprint.interfaces[footprint.n_interfaces++], elem->key,
			       sizeof(*footprint.interfaces));
		} else if (elem->set.type == SET_ADDRESSES) {
			ARRAY_GROW(footprint.addresses, footprint.n_addresses, cap_addresses);
			footprint.addresses[footprint.n_addresses] = (struct ip_addr){.family = elem->set.family};
			memcpy(footprint.addresses[footprint.n_addresses++].bytes, elem->key, set_key_size(elem->set));
		}
	}
	return footprint;
}
