/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What has to be sent so that the kernel, which holds one ruleset, holds another. Pure. */
#ifndef NUNCIO_RULESET_DIFF_H
#define NUNCIO_RULESET_DIFF_H

#include "ruleset/ruleset.h"

enum change_kind { CHANGE_TABLE, CHANGE_TIMEOUT, CHANGE_SET, CHANGE_CHAIN, CHANGE_RULES, CHANGE_ELEM };

/*
 * CHANGE_RULES: all rules of the chain, at once. Removing them needs no handle that would have to be remembered,
 * and inside a transaction nobody sees the chain empty.
 */
struct change {
	uint8_t kind; /* enum change_kind */
	bool add;     /* else remove */
	uint32_t group;
	uint32_t found;	    /* its place in the comparison */
	const void *object; /* struct timeout, set_id, chain (CHAIN and RULES), elem; NULL for the table */
};

struct changes {
	struct change *items; /* ordered by group, then so that the kernel can carry them out in sequence */
	size_t count, capacity;
};

/*
 * Appends nothing where both are equal. The changes point into both rulesets, which must outlive them.
 * A kernel table of a foreign shape is removed and made anew.
 */
void ruleset_diff(const struct ruleset *have, const struct ruleset *want, struct changes *ret);

void changes_clear(struct changes *changes);

/* "add element slots4-0 { ... }"; for messages. */
#define CHANGE_TEXT (ELEM_TEXT + 32)
const char *change_text(const struct change *change, char buffer[CHANGE_TEXT]);

#endif
