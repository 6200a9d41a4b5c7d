/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/random.h"

#include <stddef.h>
#include <uv.h>

uint32_t random_number(void)
{
	uint32_t number = 0;

	uv_random(NULL, NULL, &number, sizeof(number), 0, NULL); /* 0 is random enough */
	return number;
}
