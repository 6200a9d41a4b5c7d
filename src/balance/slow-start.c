/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "balance/slow-start.h"

#include "balance/plan.h"

/* How many steps are over. */
static uint64_t step_at(uint64_t age_ms, uint32_t slow_start_ms)
{
	return age_ms >= slow_start_ms ? SLOW_START_STEPS : age_ms * SLOW_START_STEPS / slow_start_ms;
}

uint16_t slow_start_share(uint64_t age_ms, uint32_t slow_start_ms)
{
	uint64_t step = step_at(age_ms, slow_start_ms);

	return step == SLOW_START_STEPS ? SHARE_FULL : (uint16_t)((step + 1) * SHARE_FULL / (SLOW_START_STEPS + 1));
}

uint64_t slow_start_next_ms(uint64_t age_ms, uint32_t slow_start_ms)
{
	uint64_t step = step_at(age_ms, slow_start_ms);

	if (step == SLOW_START_STEPS)
		return 0;
	return ((step + 1) * slow_start_ms + SLOW_START_STEPS - 1) / SLOW_START_STEPS - age_ms;
}
