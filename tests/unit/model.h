/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel as far as changes are concerned: it carries them out in order, and refuses to add what is there, to
 * remove what is not, to refer to what does not exist, and to remove what something refers to.
 */
#ifndef NUNCIO_TESTS_MODEL_H
#define NUNCIO_TESTS_MODEL_H

#include "unit.h"

#include "base/mem.h"
#include "ruleset/diff.h"

/* The abort() is never reached: a failed test is left by longjmp(), which analyzers do not see. */
#define MODEL_REFUSES(condition, change) \
	do { \
		char text_[CHANGE_TEXT]; \
		if (condition) { \
			fail_msg("%s: %s", change_text(change, text_), #condition); \
			abort(); \
		} \
	} while (0)

static inline struct chain *model_chain(const struct ruleset *model, const char *name)
{
	for (size_t i = 0; i < model->n_chains; i++) {
		if (strcmp(model->chains[i].name, name) == 0)
			return &model->chains[i];
	}
	return NULL;
}

static inline struct set_id *model_set(const struct ruleset *model, struct set_id set)
{
	for (size_t i = 0; i < model->n_sets; i++) {
		if (memcmp(&model->sets[i], &set, sizeof(set)) == 0)
			return &model->sets[i];
	}
	return NULL;
}

static inline struct timeout *model_timeout(const struct ruleset *model, struct timeout timeout)
{
	for (size_t i = 0; i < model->n_timeouts; i++) {
		if (strcmp(model->timeouts[i].name, timeout.name) == 0)
			return &model->timeouts[i];
	}
	return NULL;
}

static inline struct elem *model_elem(const struct ruleset *model, const struct elem *elem)
{
	for (size_t i = 0; i < model->n_elems; i++) {
		const struct elem *other = &model->elems[i];

		if (memcmp(&other->set, &elem->set, sizeof(elem->set)) == 0 &&
		    memcmp(other->key, elem->key, sizeof(elem->key)) == 0)
			return &model->elems[i];
	}
	return NULL;
}

/* Does the rule's text have the word, alone? */
static inline bool rule_has_word(const struct rule *rule, const char *prefix, const char *name)
{
	char text[RULE_TEXT], word[64];
	size_t length = (size_t)snprintf(word, sizeof(word), "%s%s", prefix, name);

	rule_text(rule, text);
	for (const char *at = strstr(text, word); at; at = strstr(at + 1, word)) {
		if (strchr(" \"", at[length])) /* and strchr() finds the NUL, too */
			return true;
	}
	return false;
}

static inline bool any_rule_has_word(const struct ruleset *model, const char *prefix, const char *name)
{
	for (size_t i = 0; i < model->n_chains; i++) {
		for (uint32_t j = 0; j < model->chains[i].n_rules; j++) {
			if (rule_has_word(&model->chains[i].rules[j], prefix, name))
				return true;
		}
	}
	return false;
}

static inline bool any_elem_leads_to(const struct ruleset *model, const char *chain)
{
	for (size_t i = 0; i < model->n_elems; i++) {
		if (model->elems[i].chain && strcmp(model->elems[i].chain, chain) == 0)
			return true;
	}
	return false;
}

static inline bool any_elem_is_in(const struct ruleset *model, struct set_id set)
{
	for (size_t i = 0; i < model->n_elems; i++) {
		if (memcmp(&model->elems[i].set, &set, sizeof(set)) == 0)
			return true;
	}
	return false;
}

/* Everything that a rule's text names with "@", "goto " or "retry": how many of those exist? */
static inline uint32_t model_count_named(const struct ruleset *model, const struct rule *rule)
{
	char name[SET_NAME_TEXT];
	uint32_t count = 0;

	for (size_t i = 0; i < model->n_sets; i++)
		count += rule_has_word(rule, "@", set_name(model->sets[i], name));
	for (size_t i = 0; i < model->n_timeouts; i++)
		count += rule_has_word(rule, "\"", model->timeouts[i].name);
	for (size_t i = 0; i < model->n_chains; i++)
		count += rule_has_word(rule, "goto ", model->chains[i].name);
	return count;
}

static inline uint32_t count_names(const struct rule *rule)
{
	char text[RULE_TEXT];
	uint32_t count = 0;

	for (const char *at = rule_text(rule, text); *at; at++)
		count += *at == '@' || strncmp(at, "goto ", 5) == 0 || strncmp(at, "\"retry", 6) == 0;
	return count;
}

static inline void model_set_rules(struct ruleset *model, const struct change *change)
{
	const struct chain *wanted = change->object;
	struct chain *chain = model_chain(model, wanted->name);

	MODEL_REFUSES(!chain, change);
	MODEL_REFUSES(change->add == (chain->n_rules > 0), change);
	for (uint32_t i = 0; change->add && i < wanted->n_rules; i++)
		MODEL_REFUSES(model_count_named(model, &wanted->rules[i]) != count_names(&wanted->rules[i]), change);
	memcpy(chain->rules, wanted->rules, sizeof(chain->rules));
	chain->n_rules = change->add ? wanted->n_rules : 0;
}

static inline void model_add(struct ruleset *model, const struct change *change)
{
	const struct elem *elem = change->object;
	const struct chain *chain = change->object;

	MODEL_REFUSES(model->table == (change->kind == CHANGE_TABLE), change);
	switch ((enum change_kind)change->kind) {
	case CHANGE_TABLE:
		model->table = true;
		break;
	case CHANGE_TIMEOUT:
		MODEL_REFUSES(model_timeout(model, *(const struct timeout *)change->object), change);
		*ruleset_add_timeout(model) = *(const struct timeout *)change->object;
		break;
	case CHANGE_SET:
		MODEL_REFUSES(model_set(model, *(const struct set_id *)change->object), change);
		*ruleset_add_set(model) = *(const struct set_id *)change->object;
		break;
	case CHANGE_CHAIN:
		MODEL_REFUSES(model_chain(model, chain->name), change);
		*ruleset_add_chain(model) = (struct chain){
			.name = chain->name, .hooked = chain->hooked, .hook = chain->hook, .group = chain->group};
		break;
	case CHANGE_RULES:
		model_set_rules(model, change);
		break;
	case CHANGE_ELEM:
		MODEL_REFUSES(!model_set(model, elem->set), change);
		MODEL_REFUSES(model_elem(model, elem), change);
		MODEL_REFUSES(elem->chain && !model_chain(model, elem->chain), change);
		*ruleset_add_elem(model) = *elem;
		break;
	}
}

/* Puts the last item in the place of one that goes. */
static inline void model_drop(void *item, const void *items, size_t *count, size_t size)
{
	*count -= 1;
	/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): where an item was found, there are items */
	memmove(item, (const char *)items + *count * size, size);
}

static inline void model_remove(struct ruleset *model, const struct change *change)
{
	char name[SET_NAME_TEXT];
	struct timeout *timeout;
	struct set_id *set;
	struct chain *chain;
	struct elem *elem;

	MODEL_REFUSES(!model->table, change);
	switch ((enum change_kind)change->kind) {
	case CHANGE_TABLE:
		ruleset_clear(model);
		break;
	case CHANGE_TIMEOUT:
		timeout = model_timeout(model, *(const struct timeout *)change->object);
		MODEL_REFUSES(!timeout, change);
		MODEL_REFUSES(any_rule_has_word(model, "\"", timeout->name), change);
		model_drop(timeout, model->timeouts, &model->n_timeouts, sizeof(*timeout));
		break;
	case CHANGE_SET:
		set = model_set(model, *(const struct set_id *)change->object);
		MODEL_REFUSES(!set, change);
		MODEL_REFUSES(any_rule_has_word(model, "@", set_name(*set, name)), change);
		MODEL_REFUSES(any_elem_is_in(model, *set), change);
		model_drop(set, model->sets, &model->n_sets, sizeof(*set));
		break;
	case CHANGE_CHAIN:
		chain = model_chain(model, ((const struct chain *)change->object)->name);
		MODEL_REFUSES(!chain || chain->n_rules, change);
		MODEL_REFUSES(any_elem_leads_to(model, chain->name), change);
		MODEL_REFUSES(any_rule_has_word(model, "goto ", chain->name), change);
		model_drop(chain, model->chains, &model->n_chains, sizeof(*chain));
		break;
	case CHANGE_RULES:
		model_set_rules(model, change);
		break;
	case CHANGE_ELEM:
		elem = model_elem(model, change->object);
		MODEL_REFUSES(!elem, change);
		model_drop(elem, model->elems, &model->n_elems, sizeof(*elem));
		break;
	}
}

static inline void model_apply(struct ruleset *model, const struct changes *changes)
{
	for (size_t i = 0; i < changes->count; i++) {
		if (changes->items[i].add)
			model_add(model, &changes->items[i]);
		else
			model_remove(model, &changes->items[i]);
	}
}

/* An own copy of the bag; the strings stay the original's. */
static inline struct ruleset model_of(const struct ruleset *ruleset)
{
	struct ruleset model = {.table = ruleset->table};

	for (size_t i = 0; i < ruleset->n_timeouts; i++)
		*ruleset_add_timeout(&model) = ruleset->timeouts[i];
	for (size_t i = 0; i < ruleset->n_sets; i++)
		*ruleset_add_set(&model) = ruleset->sets[i];
	for (size_t i = 0; i < ruleset->n_chains; i++)
		*ruleset_add_chain(&model) = ruleset->chains[i];
	for (size_t i = 0; i < ruleset->n_elems; i++)
		*ruleset_add_elem(&model) = ruleset->elems[i];
	return model;
}

static inline void check_same_rule(const struct rule *a, const struct rule *b)
{
	char text_a[RULE_TEXT], text_b[RULE_TEXT];

	assert_int_equal(a->form, b->form);
	assert_string_equal(rule_text(a, text_a), rule_text(b, text_b));
}

/* The other's objects are all there, as they are there. With as many of each, the two are equal. */
static inline void check_holds(const struct ruleset *model, const struct ruleset *other)
{
	for (size_t i = 0; i < other->n_timeouts; i++)
		assert_non_null(model_timeout(model, other->timeouts[i]));
	for (size_t i = 0; i < other->n_sets; i++)
		assert_non_null(model_set(model, other->sets[i]));
	for (size_t i = 0; i < other->n_chains; i++) {
		const struct chain *a = &other->chains[i], *b = model_chain(model, a->name);

		assert_non_null(b);
		assert_int_equal(a->n_rules, b->n_rules);
		for (uint32_t j = 0; j < a->n_rules; j++)
			check_same_rule(&a->rules[j], &b->rules[j]);
	}
	for (size_t i = 0; i < other->n_elems; i++) {
		const struct elem *a = &other->elems[i], *b = model_elem(model, a);

		assert_non_null(b);
		assert_memory_equal(a->data, b->data, sizeof(a->data));
		assert_string_equal(a->comment ? a->comment : "", b->comment ? b->comment : "");
		assert_string_equal(a->chain ? a->chain : "", b->chain ? b->chain : "");
	}
}

static inline void check_same(const struct ruleset *model, const struct ruleset *other)
{
	assert_int_equal(model->table, other->table);
	assert_int_equal(model->n_timeouts, other->n_timeouts);
	assert_int_equal(model->n_sets, other->n_sets);
	assert_int_equal(model->n_chains, other->n_chains);
	assert_int_equal(model->n_elems, other->n_elems);
	check_holds(model, other);
}

#endif
