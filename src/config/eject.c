/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "eject" of a link: a word, or an object with the keys of eject_keys[]. */
#include "config/eject.h"

#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "base/mem.h"
#include "config/keys.h"

#define MAX_TEXT(number) MAX_TEXT_(number)
#define MAX_TEXT_(number) #number
#define FAILURES_FORM "1 to " MAX_TEXT(EJECT_FAILURES_MAX)

const struct link_eject eject_default = {
	.within_ms = EJECT_WITHIN_DEFAULT_MS,
	.for_ms = EJECT_FOR_DEFAULT_MS,
	.max_percent = EJECT_MAX_PERCENT_DEFAULT,
};

static int refuse(const struct key *key, const char *text, struct error *err)
{
	return fail(err, -EINVAL, VALUE " is not accepted: expected %s", text, key->values);
}

static int parse_failures(const char *text, uint32_t *ret)
{
	uint64_t failures;

	if (number_parse(text, 1, EJECT_FAILURES_MAX, &failures) < 0)
		return -EINVAL;
	*ret = (uint32_t)failures;
	return 0;
}

static int parse_time(const char *text, uint32_t *ret)
{
	uint32_t ms;

	if (duration_parse(text, &ms) < 0 || ms < EJECT_TIME_MIN_MS)
		return -EINVAL;
	*ret = ms;
	return 0;
}

/* "5/10s" */
static int parse_rate(char *text, struct link_eject *ret)
{
	char *slash = strchr(text, '/');
	struct link_eject eject = *ret;
	int r;

	if (!slash)
		return -EINVAL;
	*slash = '\0';
	r = parse_failures(text, &eject.failures);
	*slash = '/';
	if (r == 0)
		r = parse_time(slash + 1, &eject.within_ms);
	if (r == 0)
		*ret = eject;
	return r;
}

/* The whole of "eject", where it is a word. */
int eject_set_word(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	if (strcmp(text, "off") == 0 || strcmp(text, "false") == 0)
		link->eject.failures = 0;
	else if (strcmp(text, "true") == 0)
		link->eject.failures = link->eject.failures ? link->eject.failures : EJECT_FAILURES_DEFAULT;
	else if (parse_rate(text, &link->eject) < 0)
		return refuse(key, text, err);
	return 0;
}

static int set_failures(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	return parse_failures(text, &link->eject.failures) < 0 ? refuse(key, text, err) : 0;
}

static int set_within(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	return parse_time(text, &link->eject.within_ms) < 0 ? refuse(key, text, err) : 0;
}

static int set_for(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	return parse_time(text, &link->eject.for_ms) < 0 ? refuse(key, text, err) : 0;
}

static int set_max_percent(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	uint64_t percent;

	if (number_parse(text, 1, 100, &percent) < 0)
		return refuse(key, text, err);
	link->eject.max_percent = (uint8_t)percent;
	return 0;
}

#define TIME_FORM "1s or more, in ms, s, m or h"

const struct key eject_keys[] = {
	{"failures", FAILURES_FORM, "5", "connections refused or not answered, so many ...", KEY_NUMBER, set_failures},
	{"within", TIME_FORM, "10s", "... in so long a time eject an endpoint ...", 0, set_within},
	{"for", TIME_FORM, "10s", "... for so long; twice as long if it soon fails again", 0, set_for},
	{"max_percent", "1 to 100", "50", "of the endpoints at most are out: never all, always one", KEY_NUMBER,
	 set_max_percent},
	{0},
};

/* An object says that there is to be ejection, if it is empty, too. */
void eject_begin_object(struct link_conf *link)
{
	if (!link->eject.failures)
		link->eject.failures = EJECT_FAILURES_DEFAULT;
}

int eject_end_object(const struct link_conf *link, struct error *err)
{
	(void)link;
	(void)err;
	return 0;
}
