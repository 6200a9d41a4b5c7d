/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The names of an ambassador's links. Who gives one keeps it; the others are called by their service, and where
 * that is taken by service and port, so that a name does not change when a link is added behind it.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "config/draft.h"
#include "config/keys.h"

/* Room to see that a name is too long. */
#define CANDIDATE_TEXT (SERVICE_NAME_MAX + 32)

static struct link_draft *find_name(struct link_draft *named, const char *name)
{
	struct link_draft *found;

	HASH_FIND(by_name, named, name, strlen(name), found);
	return found;
}

static int take_given(struct link_draft *link, struct link_draft **named, struct error *err)
{
	const struct link_draft *other = find_name(*named, link->conf.name);

	if (other)
		return fail(err, -EINVAL, "%s: the name \"%s\" is taken by %s: names are unique in a namespace",
			    link->conf.origin, link->conf.name, other->conf.origin);
	HASH_ADD_KEYPTR(by_name, *named, link->conf.name, strlen(link->conf.name), link);
	return 0;
}

/* The n-th name to try: "web", "web-80" or "dns-53-udp", "web-80-2", "web-80-3"... */
static void write_candidate(const struct link_conf *link, unsigned int n, char buffer[CANDIDATE_TEXT])
{
	const char *protocol = link->listen.protocol == IPPROTO_UDP ? "-udp" : "";
	unsigned int port = link->listen.at.port;

	if (n == 0)
		snprintf(buffer, CANDIDATE_TEXT, "%s", link->service);
	else if (n == 1)
		snprintf(buffer, CANDIDATE_TEXT, "%s-%u%s", link->service, port, protocol);
	else
		snprintf(buffer, CANDIDATE_TEXT, "%s-%u%s-%u", link->service, port, protocol, n);
}

static int choose_name(const struct draft *draft, struct link_draft *link, struct link_draft **named, struct error *err)
{
	char name[CANDIDATE_TEXT];
	unsigned int n = 0;

	do
		write_candidate(&link->conf, n++, name);
	while (link_name_is_valid(name) && find_name(*named, name));
	if (!link_name_is_valid(name))
		return fail(err, -EINVAL,
			    "%s: " VALUE " would be its name, which is not " NAME_FORM ": give the link a \"name\"",
			    link->conf.origin, name);
	link->conf.name = arena_strdup(draft->arena, name);
	HASH_ADD_KEYPTR(by_name, *named, link->conf.name, strlen(link->conf.name), link);
	return 0;
}

int draft_name_link(const struct draft *draft, struct link_draft *link, struct link_draft **named, struct error *err)
{
	return link->conf.name ? take_given(link, named, err) : choose_name(draft, link, named, err);
}

/* All those whose name was given, or all the others. */
static int name_all(const struct draft *draft, struct link_draft *links, bool given, struct link_draft **named,
		    struct error *err)
{
	int r = 0;

	for (struct link_draft *link = links; r == 0 && link; link = link->by_listen.next)
		if ((link->conf.name != NULL) == given)
			r = draft_name_link(draft, link, named, err);
	return r;
}

int draft_name_links(const struct draft *draft, struct ambassador_draft *ambassador, struct error *err)
{
	struct link_draft *named = NULL;
	int r;

	r = name_all(draft, ambassador->links, true, &named, err);
	if (r == 0)
		r = name_all(draft, ambassador->links, false, &named, err);
	HASH_CLEAR(by_name, named);
	return r;
}
