/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/answered.h"

#include <stddef.h>

#include "base/mem.h"

bool answered_endpoints(struct answered *last, const struct endpoints *endpoints, uint32_t skipped)
{
	bool equal = last->endpoints && endpoints_equal(last->endpoints, endpoints);
	bool news = !equal || last->error || last->skipped != skipped;

	if (!equal) {
		endpoints_unref(last->endpoints);
		last->endpoints = endpoints_ref(endpoints);
	}
	text_replace(&last->error, NULL);
	last->outage = false;
	last->skipped = skipped;
	return news;
}

bool answered_error(struct answered *last, const char *text)
{
	last->outage = false;
	return text_replace(&last->error, text);
}

bool answered_outage(struct answered *last, const char *text)
{
	if (last->outage)
		return false;
	last->outage = true;
	return text_replace(&last->error, text);
}

void answered_clear(struct answered *last)
{
	endpoints_unref(last->endpoints);
	text_replace(&last->error, NULL);
	*last = (struct answered){0};
}
