/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "announce/health.h"

bool health_note(struct health *health, bool good)
{
	uint32_t needed = health->up ? HEALTH_FALL : health->was_up ? HEALTH_RISE : 1;

	if (good == health->up) {
		health->against = 0;
		return false;
	}
	if (++health->against < needed)
		return false;
	health->against = 0;
	health->up = good;
	health->was_up = true;
	return true;
}
