/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects of the table to libnftnl's and back. A rule is recognised only when the kernel's expressions are exactly
 * those that we would write for it. This is the one place that knows nf_tables' expressions and registers.
 */
#ifndef NUNCIO_KERNEL_NFT_RULES_H
#define NUNCIO_KERNEL_NFT_RULES_H

#include <libnftnl/rule.h>

#include "ruleset/ruleset.h"

/* A rule's expressions, added to a libnftnl rule; `anonymous_id` is that of its anonymous set, where it has one. */
void nft_rule_expressions(const struct rule *rule, uint32_t anonymous_id, struct nftnl_rule *out);
/* Does it look an anonymous set up, and which? */
bool nft_rule_anonymous_set(const struct rule *rule, enum set_type *ret);

/* What rule is this? RULE_FOREIGN where it is none of ours. */
struct nft_recogniser;
struct nft_recogniser *nft_recogniser_new(void);
void nft_recogniser_free(struct nft_recogniser *recogniser);
/* What the rule names is borrowed from `rule`. */
struct rule nft_recognise(const struct nft_recogniser *recogniser, const struct nftnl_rule *rule);

#endif
