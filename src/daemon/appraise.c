/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/ambassador-state.h"

struct appraisal *link_appraise(const struct link *link, const struct endpoints *weighed)
{
	(void)link;
	(void)weighed;
	return NULL;
}
