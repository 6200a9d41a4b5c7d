/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ruleset/diff.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The order in which the kernel can carry changes out: what is referred to comes before and goes after. */
static int phase(const struct change *change)
{
	static const int adding[] = {
		[CHANGE_TABLE] = 1, [CHANGE_TIMEOUT] = 2, [CHANGE_SET] = 3,
		[CHANGE_CHAIN] = 4, [CHANGE_ELEM] = 7,	  [CHANGE_RULES] = 8,
	};
	static const int removing[] = {
		[CHANGE_TABLE] = 0, [CHANGE_RULES] = 5, [CHANGE_ELEM] = 6,
		[CHANGE_CHAIN] = 9, [CHANGE_SET] = 10,	[CHANGE_TIMEOUT] = 11,
	};

	return change->add ? adding[change->kind] : removing[change->kind];
}

static int compare_set_ids(struct set_id a, struct set_id b)
{
	if (a.type != b.type)
		return a.type < b.type ? -1 : 1;
	if (a.family != b.family)
		return a.family < b.family ? -1 : 1;
	return a.shard == b.shard ? 0 : a.shard < b.shard ? -1 : 1;
}

static int compare_elems(const struct elem *a, const struct elem *b)
{
	int order = compare_set_ids(a->set, b->set);

	return order ? order : memcmp(a->key, b->key, sizeof(a->key));
}

static int compare_elem_pointers(const void *a, const void *b)
{
	return compare_elems(*(const struct elem *const *)a, *(const struct elem *const *)b);
}

static int compare_chain_pointers(const void *a, const void *b)
{
	return strcmp((*(const struct chain *const *)a)->name, (*(const struct chain *const *)b)->name);
}

static const struct elem **sort_elems(const struct ruleset *ruleset)
{
	const struct elem **sorted = xcalloc(ruleset->n_elems + 1, sizeof(*sorted));
	bool in_order = true; /* as those of one link are mostly, which may be many */

	for (size_t i = 0; i < ruleset->n_elems; i++) {
		sorted[i] = &ruleset->elems[i];
		in_order = in_order && (!i || compare_elems(sorted[i - 1], sorted[i]) < 0);
	}
	if (!in_order)
		qsort(sorted, ruleset->n_elems, sizeof(*sorted), compare_elem_pointers);
	return sorted;
}

static const struct chain **sort_chains(const struct ruleset *ruleset)
{
	const struct chain **sorted = xcalloc(ruleset->n_chains + 1, sizeof(*sorted));

	for (size_t i = 0; i < ruleset->n_chains; i++)
		sorted[i] = &ruleset->chains[i];
	qsort(sorted, ruleset->n_chains, sizeof(*sorted), compare_chain_pointers);
	return sorted;
}

static void emit(struct changes *changes, enum change_kind kind, bool add, uint32_t group, const void *object)
{
	ARRAY_GROW(changes->items, changes->count, changes->capacity);
	changes->items[changes->count] = (struct change){(uint8_t)kind, add, group, (uint32_t)changes->count, object};
	changes->count++;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_elem(const struct elem *a, const struct elem *b)
{
	return memcmp(a->data, b->data, sizeof(a->data)) == 0 && same_text(a->chain, b->chain) &&
	       same_text(a->comment, b->comment);
}

static bool same_rule(const struct rule *a, const struct rule *b)
{
	return a->form != RULE_FOREIGN && a->form == b->form && a->family == b->family && a->balance == b->balance &&
	       a->shard == b->shard && a->modulus == b->modulus && a->offset == b->offset && a->seconds == b->seconds &&
	       a->ms == b->ms && same_text(a->link, b->link) && same_text(a->timeout, b->timeout);
}

static bool same_rules(const struct chain *a, const struct chain *b)
{
	if (a->n_rules != b->n_rules)
		return false;
	for (uint32_t i = 0; i < a->n_rules; i++) {
		if (!same_rule(&a->rules[i], &b->rules[i]))
			return false;
	}
	return true;
}

static bool same_hook(const struct chain *a, const struct chain *b)
{
	if (!a->hooked || !b->hooked)
		return a->hooked == b->hooked;
	return strcmp(a->hook.type, b->hook.type) == 0 && a->hook.hook == b->hook.hook &&
	       a->hook.priority == b->hook.priority;
}

/* An element that goes belongs to the link that listens there now, if one does. */
static uint32_t group_of_removed(const struct elem *elem, const struct elem **want, size_t n_want)
{
	struct elem probe = {0};
	const struct elem *key = &probe, **found;
	struct listen listen;

	if (elem->group != GROUP_UNKNOWN)
		return elem->group;
	if (!elem_listen(elem, &listen))
		return GROUP_BASE;
	probe.set = (struct set_id){SET_SERVICES, elem->set.family, 0};
	key_put_listen(probe.key, &listen);
	found = bsearch(&key, want, n_want, sizeof(*want), compare_elem_pointers);
	return found ? (*found)->group : GROUP_LAST;
}

static void diff_elems(const struct ruleset *have, const struct ruleset *want, struct changes *changes)
{
	const struct elem **old = sort_elems(have), **new = sort_elems(want);
	size_t i = 0, j = 0;

	while (i < have->n_elems || j < want->n_elems) {
		int order = i == have->n_elems ? 1 : j == want->n_elems ? -1 : compare_elems(old[i], new[j]);

		if (order < 0) {
			emit(changes, CHANGE_ELEM, false, group_of_removed(old[i], new, want->n_elems), old[i]);
		} else if (order > 0) {
			emit(changes, CHANGE_ELEM, true, new[j]->group, new[j]);
		} else if (!same_elem(old[i], new[j])) {
			emit(changes, CHANGE_ELEM, false, new[j]->group, old[i]);
			emit(changes, CHANGE_ELEM, true, new[j]->group, new[j]);
		}
		i += order <= 0;
		j += order >= 0;
	}
	free(old);
	free(new);
}

static void add_chain(const struct chain *chain, struct changes *changes)
{
	emit(changes, CHANGE_CHAIN, true, chain->group, chain);
	if (chain->n_rules)
		emit(changes, CHANGE_RULES, true, chain->group, chain);
}

static void remove_chain(const struct chain *chain, struct changes *changes)
{
	if (chain->n_rules)
		emit(changes, CHANGE_RULES, false, GROUP_LAST, chain);
	emit(changes, CHANGE_CHAIN, false, GROUP_LAST, chain);
}

static void replace_rules(const struct chain *old, const struct chain *new, struct changes *changes)
{
	if (old->n_rules)
		emit(changes, CHANGE_RULES, false, new->group, old);
	if (new->n_rules)
		emit(changes, CHANGE_RULES, true, new->group, new);
}

static void diff_chains(const struct ruleset *have, const struct ruleset *want, struct changes *changes)
{
	const struct chain **old = sort_chains(have), **new = sort_chains(want);
	size_t i = 0, j = 0;

	while (i < have->n_chains || j < want->n_chains) {
		int order = i == have->n_chains ? 1 : j == want->n_chains ? -1 : strcmp(old[i]->name, new[j]->name);

		if (order < 0)
			remove_chain(old[i], changes);
		else if (order > 0)
			add_chain(new[j], changes);
		else if (!same_rules(old[i], new[j]))
			replace_rules(old[i], new[j], changes);
		i += order <= 0;
		j += order >= 0;
	}
	free(old);
	free(new);
}

static bool has_set(const struct ruleset *ruleset, struct set_id set)
{
	for (size_t i = 0; i < ruleset->n_sets; i++) {
		if (compare_set_ids(ruleset->sets[i], set) == 0)
			return true;
	}
	return false;
}

/* Sets are few (shards of links), so a search for each is cheap. */
static void diff_sets(const struct ruleset *have, const struct ruleset *want, struct changes *changes)
{
	for (size_t i = 0; i < want->n_sets; i++) {
		if (!has_set(have, want->sets[i]))
			emit(changes, CHANGE_SET, true, GROUP_BASE, &want->sets[i]);
	}
	for (size_t i = 0; i < have->n_sets; i++) {
		if (!has_set(want, have->sets[i]))
			emit(changes, CHANGE_SET, false, GROUP_LAST, &have->sets[i]);
	}
}

static bool has_timeout(const struct ruleset *ruleset, const struct timeout *timeout)
{
	for (size_t i = 0; i < ruleset->n_timeouts; i++) {
		if (strcmp(ruleset->timeouts[i].name, timeout->name) == 0)
			return true;
	}
	return false;
}

static void diff_timeouts(const struct ruleset *have, const struct ruleset *want, struct changes *changes)
{
	for (size_t i = 0; i < want->n_timeouts; i++) {
		if (!has_timeout(have, &want->timeouts[i]))
			emit(changes, CHANGE_TIMEOUT, true, GROUP_BASE, &want->timeouts[i]);
	}
	for (size_t i = 0; i < have->n_timeouts; i++) {
		if (!has_timeout(want, &have->timeouts[i]))
			emit(changes, CHANGE_TIMEOUT, false, GROUP_LAST, &have->timeouts[i]);
	}
}

static const struct chain *find_chain(const struct ruleset *ruleset, const char *name)
{
	for (size_t i = 0; i < ruleset->n_chains; i++) {
		if (strcmp(ruleset->chains[i].name, name) == 0)
			return &ruleset->chains[i];
	}
	return NULL;
}

/* Is what is hooked in one ruleset hooked in the same way in the other, if it is there? Only few chains are. */
static bool same_hooks(const struct ruleset *ruleset, const struct ruleset *other)
{
	for (size_t i = 0; i < ruleset->n_chains; i++) {
		const struct chain *chain = &ruleset->chains[i], *same;

		if (!chain->hooked)
			continue;
		same = find_chain(other, chain->name);
		if (same && !same_hook(chain, same))
			return false;
	}
	return true;
}

/* A chain cannot change its hook: the table has to be made anew. */
static bool same_shape(const struct ruleset *have, const struct ruleset *want)
{
	return !have->foreign_shape && same_hooks(have, want) && same_hooks(want, have);
}

/* In the order found where all else is equal: elements of one set stay side by side, so that one message can carry
 * them. */
static int compare_changes(const void *a, const void *b)
{
	const struct change *x = a, *y = b;

	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	if (phase(x) != phase(y))
		return phase(x) - phase(y);
	return x->found < y->found ? -1 : 1;
}

void ruleset_diff(const struct ruleset *have, const struct ruleset *want, struct changes *ret)
{
	static const struct ruleset nothing;
	struct changes changes = {0};
	bool anew = have->table && (!want->table || !same_shape(have, want));

	if (anew) {
		emit(&changes, CHANGE_TABLE, false, GROUP_BASE, NULL);
		have = &nothing;
	}
	if (want->table && !have->table)
		emit(&changes, CHANGE_TABLE, true, GROUP_BASE, NULL);
	diff_timeouts(have, want, &changes);
	diff_sets(have, want, &changes);
	diff_chains(have, want, &changes);
	diff_elems(have, want, &changes);
	for (size_t i = 0; anew && i < changes.count; i++)
		changes.items[i].group = GROUP_BASE; /* all at once: nobody may see the table without its links */
	if (changes.count)
		qsort(changes.items, changes.count, sizeof(*changes.items), compare_changes);
	*ret = changes;
}

void changes_clear(struct changes *changes)
{
	free(changes->items);
	*changes = (struct changes){0};
}

const char *change_text(const struct change *change, char buffer[CHANGE_TEXT])
{
	const char *verb = change->add ? "add" : "delete";
	char text[ELEM_TEXT];

	switch ((enum change_kind)change->kind) {
	case CHANGE_TABLE:
		snprintf(buffer, CHANGE_TEXT, "%s table inet " TABLE_NAME, verb);
		break;
	case CHANGE_TIMEOUT:
		snprintf(buffer, CHANGE_TEXT, "%s ct timeout %s", verb, ((const struct timeout *)change->object)->name);
		break;
	case CHANGE_SET:
		snprintf(buffer, CHANGE_TEXT, "%s set %s", verb,
			 set_name(*(const struct set_id *)change->object, text));
		break;
	case CHANGE_CHAIN:
		snprintf(buffer, CHANGE_TEXT, "%s chain %s", verb, ((const struct chain *)change->object)->name);
		break;
	case CHANGE_RULES:
		snprintf(buffer, CHANGE_TEXT, "%s rules of chain %s", verb,
			 ((const struct chain *)change->object)->name);
		break;
	case CHANGE_ELEM:
		snprintf(buffer, CHANGE_TEXT, "%s element %s", verb, elem_text(change->object, text));
		break;
	}
	return buffer;
}
