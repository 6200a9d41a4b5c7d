/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is thought of a link's endpoints, from all who have an opinion. Each starts from what those before it left, and
 * makes a verdict worse or a share smaller.
 */
#include "base/mem.h"
#include "daemon/ambassador-state.h"

/* Says of the endpoints what it thinks; one that thinks nothing of them leaves them alone. */
typedef void (*opinion_fn)(const struct link *link, const struct endpoints *weighed, struct appraisal *appraisals);

/* In this order; NULL at the end. */
static const opinion_fn opinions[] = {
	link_checks_appraise, link_ejections_appraise, link_starters_appraise, link_load_appraise, NULL,
};

struct appraisal *link_appraise(const struct link *link, const struct endpoints *weighed)
{
	struct appraisal *appraisals = xcalloc(weighed->count + 1, sizeof(*appraisals));

	for (uint32_t i = 0; i < weighed->count; i++)
		appraisals[i] = (struct appraisal){.verdict = VERDICT_NONE, .share = SHARE_FULL};
	for (const opinion_fn *opinion = opinions; *opinion; opinion++)
		(*opinion)(link, weighed, appraisals);
	return appraisals;
}
