/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "catalog/troubles.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/age.h"
#include "base/event.h"
#include "base/mem.h"

struct trouble *troubles_enter(struct troubles *troubles, const char *text, const char *service, bool known)
{
	struct trouble *trouble;

	HASH_FIND_STR(troubles->by_text, text, trouble);
	if (!trouble) {
		trouble = xcalloc(1, sizeof(*trouble));
		trouble->text = xstrdup(text);
		trouble->service = xstrdup(service);
		trouble->since = uv_hrtime();
		HASH_ADD_KEYPTR(hh, troubles->by_text, trouble->text, strlen(trouble->text), trouble);
	}
	trouble->services++;
	if (trouble->services > trouble->most)
		trouble->most = trouble->services;
	trouble->unknown += !known;
	return trouble;
}

static void tell_begin(struct trouble *trouble)
{
	bool known = trouble->unknown < trouble->most;

	trouble->told = true;
	if (trouble->most == 1)
		event_say(LOG_LEVEL_WARNING, CAUSE_REGISTRY, NULL, NULL, "service %s: %s; %s", trouble->service,
			  trouble->text, known ? "its last known endpoints stay" : "what the kernel holds stays");
	else if (!trouble->unknown)
		event_say(LOG_LEVEL_WARNING, CAUSE_REGISTRY, NULL, NULL,
			  "%s; the last known endpoints of %" PRIu32 " services stay", trouble->text, trouble->most);
	else
		event_say(LOG_LEVEL_WARNING, CAUSE_REGISTRY, NULL, NULL, "%s; %s of %" PRIu32 " services stays",
			  trouble->text, known ? "what is known" : "what the kernel holds", trouble->most);
}

static void tell_end(const struct trouble *trouble, const char *registry)
{
	char age[AGE_TEXT];

	age_text((double)(uv_hrtime() - trouble->since) / 1e9, age);
	if (trouble->most == 1)
		event_say(LOG_LEVEL_NOTICE, CAUSE_REGISTRY, NULL, NULL,
			  "service %s: its registry answers again, after %s", trouble->service, age);
	else
		event_say(LOG_LEVEL_NOTICE, CAUSE_REGISTRY, NULL, NULL,
			  "registry %s answers again, for %" PRIu32 " services, after %s", registry, trouble->recovered,
			  age);
}

/* A trouble that gave way to another one has no end of its own. */
void troubles_leave(struct troubles *troubles, struct trouble *trouble, bool recovered, const char *registry)
{
	trouble->recovered += recovered;
	if (--trouble->services)
		return;
	if (!trouble->told)
		tell_begin(trouble);
	if (trouble->recovered)
		tell_end(trouble, registry);
	HASH_DEL(troubles->by_text, trouble);
	free(trouble->text);
	free(trouble->service);
	free(trouble);
}

void troubles_tell(struct troubles *troubles)
{
	for (struct trouble *trouble = troubles->by_text; trouble; trouble = trouble->hh.next)
		if (!trouble->told)
			tell_begin(trouble);
}
