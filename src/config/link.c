/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The LINK string of the command line and the environment: "LISTEN=SERVICE[,option=value]...". */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "config/draft.h"
#include "config/keys.h"

/* One LINK while it is read. */
struct reading {
	struct link_draft *link;
	uint32_t given; /* a bit for each entry of link_keys */
};

static int set_key(struct reading *reading, const char *name, key_filter filter, char *value, struct error *err)
{
	struct link_draft *link = reading->link;
	const struct key *key;
	uint32_t bit;
	int r;

	r = key_find(link_keys, name, filter, &key, err);
	if (r < 0)
		return fail_prefix(err, r, "%s", link->conf.origin);
	bit = UINT32_C(1) << (key - link_keys);
	if (reading->given & bit)
		return fail(err, -EINVAL, "%s: the option \"%s\" is given twice", link->conf.origin, name);
	reading->given |= bit;
	return draft_set(link, key, value, err);
}

/* "option=value" */
static int read_option(struct reading *reading, char *option, struct error *err)
{
	char *equals = strchr(option, '=');

	if (!equals)
		return fail(err, -EINVAL,
			    "%s: the option " VALUE " has no value: expected LISTEN=SERVICE[,option=value]...",
			    reading->link->conf.origin, option);
	*equals = '\0';
	return set_key(reading, option, key_is_option, equals + 1, err);
}

/* The link's strings point into the text. */
int draft_parse_link(struct link_draft *link, char *text, struct error *err)
{
	struct reading reading = {.link = link};
	char *rest = text, *equals;
	char *service, *option;
	int r;

	text = strsep(&rest, ",");
	equals = strchr(text, '=');
	if (!equals)
		return fail(err, -EINVAL, "%s: expected LISTEN=SERVICE[,option=value]..., such as 5432=postgres",
			    link->conf.origin);
	*equals = '\0';
	service = equals + 1;
	r = set_key(&reading, "listen", key_is_accepted, text, err);
	if (r == 0)
		r = set_key(&reading, "service", key_is_accepted, service, err);
	while (r == 0 && (option = strsep(&rest, ",")))
		r = read_option(&reading, option, err);
	return r;
}

int draft_read_link(struct draft *draft, enum level level, const char *said_by, const char *text, struct error *err)
{
	const char *origin = arena_printf(&draft->scratch, "%s %s", said_by, text);
	struct link_draft *link = draft_new_link(draft, level, origin);
	int r;

	r = draft_parse_link(link, arena_strdup(draft->arena, text), err);
	if (r < 0)
		return r;
	return draft_add_link(&draft->ambassadors[0], link, err);
}
