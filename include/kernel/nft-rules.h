/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects of the table to libnftnl's and back. A rule is recognised only when the kernel's expressions are exactly
 * those that we would write for it. This is the one place that knows nf_tables' expressions and registers.
 */
#ifndef NUNCIO_KERNEL_NFT_RULES_H
#define NUNCIO_KERNEL_NFT_RULES_H

#include <libnftnl/rule.h>

#include "ruleset/ruleset.h"

/* A rule's expressions, added to a libnftnl rule. Lookups of anonymous sets refer to *anonymous_id, which is moved on
 * by each; how many a rule has is said by nft_rule_anonymous_sets(). */
void nft_rule_expressions(const struct rule *rule, uint32_t *anonymous_id, struct nftnl_rule *out);
uint32_t nft_rule_anonymous_sets(const struct rule *rule);

/* What rule is this? RULE_FOREIGN where it is none of ours. */
struct nft_recogniser;
struct nft_recogniser *nft_recogniser_new(void);
void nft_recogniser_free(struct nft_recogniser *recogniser);
struct rule nft_recognise(const struct nft_recogniser *recogniser, const struct nftnl_rule *rule);

#endif
