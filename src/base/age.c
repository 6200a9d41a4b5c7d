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

double age_since(int64_t ms)
{
	struct timespec now;
	double seconds;

	clock_gettime(CLOCK_REALTIME, &now);
	seconds = (double)now.tv_sec + (double)now.tv_nsec / 1e9 - (double)ms / 1e3;
	return seconds > 0 ? seconds : 0;
}
