/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/backoff.h"

uint32_t backoff_ms(uint32_t failures, uint32_t random)
{
	uint32_t wait = BACKOFF_FIRST_MS;

	for (uint32_t i = 1; i < failures && wait < BACKOFF_LAST_MS; i++)
		wait *= 2;
	if (wait > BACKOFF_LAST_MS)
		wait = BACKOFF_LAST_MS;
	return wait - random % (wait / 2 + 1);
}
