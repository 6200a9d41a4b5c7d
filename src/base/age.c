/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/age.h"

#include <stdio.h>
#include <time.h>

#define MINUTE 60.0
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

/* The next unit begins with 2 of it: "90 s" says more than "2 min". */
const char *age_text(double seconds, char buffer[AGE_TEXT])
{
	if (seconds < 2 * MINUTE)
		snprintf(buffer, AGE_TEXT, "%.0f s", seconds);
	else if (seconds < 2 * HOUR)
		snprintf(buffer, AGE_TEXT, "%.0f min", seconds / MINUTE);
	else if (seconds < 2 * DAY)
		snprintf(buffer, AGE_TEXT, "%.0f h", seconds / HOUR);
	else
		snprintf(buffer, AGE_TEXT, "%.0f days", seconds / DAY);
	return buffer;
}

int64_t age_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

double age_since(int64_t ms)
{
	int64_t passed = age_now_ms() - ms;

	return passed > 0 ? (double)passed / 1e3 : 0;
}
