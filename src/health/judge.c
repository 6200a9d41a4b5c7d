/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "health/judge.h"

bool judge_note(struct judge *judge, bool good, uint32_t rise, uint32_t fall)
{
	enum verdict said = good ? VERDICT_UP : VERDICT_DOWN;
	uint32_t needed = !good ? fall : judge->verdict == VERDICT_DOWN ? rise : 1;

	if (said == judge->verdict) {
		judge->against = 0;
		return false;
	}
	if (++judge->against < needed)
		return false;
	judge->against = 0;
	judge->verdict = said;
	return true;
}

bool judge_doubts(const struct judge *judge)
{
	return judge->against || judge->verdict == VERDICT_UNKNOWN;
}
