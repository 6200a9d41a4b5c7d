/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config/draft.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/keys.h"

void draft_begin(struct draft *draft, struct arena *arena, const char *netns)
{
	*draft = (struct draft){.arena = arena};
	draft->defaults.hold_for_ms = HOLD_FOR_DEFAULT_MS;
	draft->defaults.min_healthy = MIN_HEALTHY_DEFAULT;
	draft->defaults.loss_hold_ms = LOSS_HOLD_DEFAULT_MS;
	draft->defaults.retry_s = RETRY_DEFAULT_S;
	draft->defaults.check = check_default;
	draft->defaults.eject = eject_default;
	draft_add_ambassador(draft, netns,
			     netns ? arena_printf(&draft->scratch, "--netns %s", netns) : "the daemon's own namespace");
}

void draft_begin_from(struct draft *draft, struct arena *arena, const struct config_base *base)
{
	*draft = (struct draft){.arena = arena, .defaults = base->defaults, .n_registries = base->n_registries};
	draft->registries = xcalloc(base->n_registries + 1, sizeof(*draft->registries));
	draft->registries_capacity = base->n_registries + 1;
	for (size_t i = 0; i < base->n_registries; i++)
		draft->registries[i] = base->registries[i];
	draft_add_ambassador(draft, NULL, "containers");
}

void draft_end(struct draft *draft)
{
	for (size_t i = 0; i < draft->n_ambassadors; i++)
		HASH_CLEAR(by_listen, draft->ambassadors[i].links);
	free(draft->ambassadors);
	free(draft->registries);
	arena_free(&draft->scratch);
}

struct ambassador_draft *draft_add_ambassador(struct draft *draft, const char *netns, const char *origin)
{
	struct ambassador_draft *ambassador;

	ARRAY_GROW(draft->ambassadors, draft->n_ambassadors, draft->ambassadors_capacity);
	ambassador = &draft->ambassadors[draft->n_ambassadors++];
	*ambassador = (struct ambassador_draft){.origin = origin};
	if (netns)
		ambassador->netns = arena_strdup(draft->arena, netns);
	return ambassador;
}

struct link_draft *draft_new_link(struct draft *draft, enum level level, const char *origin)
{
	struct link_draft *link = arena_alloc(&draft->scratch, sizeof(*link));

	*link = (struct link_draft){.conf = draft->defaults, .level = level};
	link->conf.origin = arena_strdup(draft->arena, origin);
	return link;
}

int draft_fail_key(const struct link_draft *link, const char *key, int code, struct error *err)
{
	/* A file's origin ends with a JSON path, which goes on. */
	return fail_prefix(err, code, link->level == LEVEL_FILE ? "%s.%s" : "%s: %s", link->conf.origin, key);
}

int draft_set(struct link_draft *link, const struct key *key, char *text, struct error *err)
{
	int r = key->set(key, &link->conf, text, err);

	return r < 0 ? draft_fail_key(link, key->name, r, err) : 0;
}

int draft_add_link(struct ambassador_draft *ambassador, struct link_draft *link, struct error *err)
{
	struct link_draft *other;
	size_t length;

	length = strlen(listen_text(&link->conf.listen, link->listen_key));
	HASH_FIND(by_listen, ambassador->links, link->listen_key, length, other);
	if (!other) {
		HASH_ADD_KEYPTR(by_listen, ambassador->links, link->listen_key, length, link);
		return 0;
	}
	if (other->level == link->level)
		return fail(err, -EINVAL,
			    "%s: listens on %s, and so does %s: a listen address belongs to one link in a namespace",
			    link->conf.origin, link->listen_key, other->conf.origin);
	/* In its place, so that the order of the links does not depend on who said them. */
	other->conf = link->conf;
	other->level = link->level;
	return 0;
}
