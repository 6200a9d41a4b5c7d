/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Labels of containers, read like LINK strings, with what the configuration gives to every link. */
#include "config/container.h"

#include "config/draft.h"

struct reading {
	const struct config_base *base;
	struct draft draft;
	struct link_draft *named; /* by name */
	label_refused_fn refused;
	void *context;
};

static int read_label(struct reading *reading, const struct label_conf *label, struct error *err)
{
	struct draft *draft = &reading->draft;
	const char *origin = arena_printf(&draft->scratch, "container %.64s: label %.100s=%.100s", label->container,
					  label->key, label->link);
	struct link_draft *link = draft_new_link(draft, LEVEL_FLAG, origin);
	int r = draft_parse_link(link, arena_printf(draft->arena, "%s=%s", label->listen, label->link), err);

	if (r == 0)
		r = draft_settle_registry(draft, link, reading->base->registry, err);
	return r < 0 ? r : draft_add_link(&draft->ambassadors[0], link, err);
}

/* Names that were given first, then the others: as in the file. */
static void name_links(struct reading *reading, bool given)
{
	struct ambassador_draft *ambassador = &reading->draft.ambassadors[0];
	struct link_draft *link, *next;
	struct error err;

	HASH_ITER (by_listen, ambassador->links, link, next) {
		if ((link->conf.name != NULL) != given)
			continue;
		if (draft_name_link(&reading->draft, link, &reading->named, &err) == 0)
			continue;
		reading->refused(reading->context, err.text);
		HASH_DELETE(by_listen, ambassador->links, link); // NOLINT(clang-analyzer-core.NullDereference)
	}
}

void config_read_labels(const struct config *config, const struct label_conf *labels, size_t count, struct arena *arena,
			struct ambassador_conf *ret, label_refused_fn refused, void *context)
{
	struct reading reading = {.base = config->base, .refused = refused, .context = context};
	struct error err;

	draft_begin_from(&reading.draft, arena, config->base);
	for (size_t i = 0; i < count; i++)
		if (read_label(&reading, &labels[i], &err) < 0)
			refused(context, err.text);
	name_links(&reading, true);
	name_links(&reading, false);
	draft_build_links(&reading.draft.ambassadors[0], arena, ret);
	HASH_CLEAR(by_name, reading.named);
	draft_end(&reading.draft);
}
