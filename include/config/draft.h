/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A configuration while it is put together: what was said so far, by whom, and not yet settled. Everything in it
 * lives in one of two arenas, so that strings are shared freely and nothing is freed one by one.
 *
 * draft_read_file() and draft_read_link() fill it, in the order of their levels; draft_name_links() gives the links
 * without a name theirs; config.c does the rest.
 */
#ifndef NUNCIO_CONFIG_DRAFT_H
#define NUNCIO_CONFIG_DRAFT_H

#include <stddef.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/mem.h"
#include "config/config.h"

struct key;

/* Who said it. A higher level replaces a lower one. */
enum level { LEVEL_FILE, LEVEL_ENVIRONMENT, LEVEL_FLAG };

struct link_draft {
	struct link_conf conf; /* name: NULL unless given; registry: as said (a name or a URI), or NULL */
	enum level level;
	char listen_key[LISTEN_TEXT]; /* listen as text: struct listen has padding, so its bytes would not compare */
	UT_hash_handle by_listen;
	UT_hash_handle by_name;
};

struct ambassador_draft {
	char *netns;		  /* NULL = the daemon's own */
	const char *origin;	  /* "nuncio.json: ambassadors[0]", "--netns app" */
	struct link_draft *links; /* hashed by_listen, which keeps the order in which they were said */
};

struct registry_draft {
	const char *name;
	struct registry_conf conf; /* as the file says it */
};

/* What a settled configuration keeps for links that come later, from labels; in its arena. */
struct config_base {
	struct link_conf defaults;
	const struct registry_draft *registries;
	size_t n_registries;
	const struct registry_conf *registry; /* of links that name none; or NULL */
};

struct draft {
	struct arena *arena;	     /* borrowed: what the configuration keeps */
	struct arena scratch;	     /* what ends with the draft: places, the link drafts themselves */
	char *registry;		     /* of links that name none: a name or a URI, or NULL */
	const char *registry_origin; /* "--registry", "nuncio.json: registry" */
	bool says_links;	     /* the file has top-level "links", be it an empty list */
	char *docker;		     /* the engine whose labels count, as DOCKER_HOST, "" = the default; or NULL */
	const char *docker_origin;
	char *metrics; /* ADDR:PORT, or NULL */
	const char *metrics_origin;
	struct link_conf defaults; /* what a link starts from */
	struct registry_draft *registries;
	size_t n_registries, registries_capacity;
	struct ambassador_draft *ambassadors; /* never empty; the first has the top-level links and those of flags */
	size_t n_ambassadors, ambassadors_capacity;
};

/* An empty draft whose first ambassador is the one of netns (--netns, or NULL). End it with draft_end(). */
void draft_begin(struct draft *draft, struct arena *arena, const char *netns);
void draft_end(struct draft *draft);
/* The same with what a settled configuration has; its ambassador is that of a container. */
void draft_begin_from(struct draft *draft, struct arena *arena, const struct config_base *base);

/* The new ambassador is valid until the next one is added. */
struct ambassador_draft *draft_add_ambassador(struct draft *draft, const char *netns, const char *origin);

/* A link that starts from the defaults and belongs to nobody yet. */
struct link_draft *draft_new_link(struct draft *draft, enum level level, const char *origin);

/* Sets one key from its text, which has to live in draft->arena. Errors carry the place. */
int draft_set(struct link_draft *link, const struct key *key, char *text, struct error *err);

/* Puts the place of a link's key before the sentence: "nuncio.json: links[2].name: ", "--link 80=web: name: ". */
int draft_fail_key(const struct link_draft *link, const char *key, int code, struct error *err);

/*
 * Gives the link, whose listen is set, to the ambassador. It replaces a link of a lower level with the same listen;
 * on its own level that is refused (-EINVAL). Levels have to come in their order.
 */
int draft_add_link(struct ambassador_draft *ambassador, struct link_draft *link, struct error *err);

/* registry.c: takes an entry of "registries"; the strings live in draft->arena. */
void draft_add_registry(struct draft *draft, const char *name, const struct registry_conf *conf);

/* config.c: finds the link's registry, or takes the fallback (NULL: there is none). */
int draft_settle_registry(const struct draft *draft, struct link_draft *link, const struct registry_conf *fallback,
			  struct error *err);

/* config.c: the links of an ambassador, settled and named, as flat data in the arena. */
void draft_build_links(const struct ambassador_draft *ambassador, struct arena *arena, struct ambassador_conf *ret);

/* registry.c: what is meant by the name of a registry, or by a URI itself, completed and checked. */
int draft_resolve_registry(const struct draft *draft, char *text, const struct registry_conf **ret, struct error *err);

/* file.c: reads the configuration file. Errors carry the file, and the line or the JSON path. */
int draft_read_file(struct draft *draft, const char *path, struct error *err);

/* link.c: adds a "LISTEN=SERVICE[,option=value]..." of `said_by` ("--link") to the first ambassador. */
int draft_read_link(struct draft *draft, enum level level, const char *said_by, const char *text, struct error *err);

/* link.c: the same into a link of no ambassador yet, from a text in draft->arena that it cuts. */
int draft_parse_link(struct link_draft *link, char *text, struct error *err);

/* names.c: enters the link under the name that it was given, or chooses one. -EINVAL: the given one is taken. */
int draft_name_link(const struct draft *draft, struct link_draft *link, struct link_draft **named, struct error *err);

/* names.c: checks the explicit names of an ambassador's links and chooses the others. */
int draft_name_links(const struct draft *draft, struct ambassador_draft *ambassador, struct error *err);

#endif
