/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every key of the configuration, once: what it accepts, its default, its meaning, and for the keys of a link how
 * its text is read. The file, the LINK strings, the messages and the help all come from these tables.
 */
#ifndef NUNCIO_CONFIG_KEYS_H
#define NUNCIO_CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "config/config.h"

#define KEY_IN_DEFAULTS 1U /* may stand in "defaults" too */
#define KEY_TRUTH 2U	   /* takes true and false */
#define KEY_NUMBER 4U	   /* may be a number in the file */

struct key {
	const char *name;
	const char *values;   /* what is accepted */
	const char *fallback; /* what holds without it; NULL = it has to be there */
	const char *meaning;
	unsigned int flags;
	/* Keys of a link: checks the text and stores it, keeping the pointer where the value is a string. */
	int (*set)(const struct key *key, struct link_conf *link, char *text, struct error *err);
};

/* A key of a link whose value may be an object with keys of its own, which set the same link's conf. */
struct key_object {
	const char *name;
	const struct key *members;
	void (*begin)(struct link_conf *link);			     /* before its members are set */
	int (*end)(const struct link_conf *link, struct error *err); /* and then: do they go together? */
};
const struct key_object *key_object_find(const struct key *key); /* NULL: it takes no object */

/* What is accepted, for the tables and for messages. */
#define URI_FORM "a URI such as file:services.json"
#define REGISTRY_FORM URI_FORM ", or a name in \"registries\""
#define REGISTRIES_FORM "an object of NAME: {\"uri\": URI, ...}"
#define DOCKER_FORM "true, or a socket's path"
#define METRICS_FORM "ADDR:PORT, such as 127.0.0.1:9977 or [::]:9977"
#define NETNS_FORM "a name under /run/netns, a path, or pid:N"
#define DEFAULTS_FORM "an object of link keys"
#define LINKS_FORM "a list of {\"listen\": LISTEN, \"service\": NAME, ...}"
#define AMBASSADORS_FORM "a list of {\"netns\": NS, \"links\": [LINK, ...]}"
#define DURATION_FORM "a number with ms, s, m or h"
#define AFFINITY_FORM "off or a number with s, m or h"
#define RETRY_FORM "true, false or a number with s"
#define CHECK_FORM "off, tcp, http:/PATH, or an object"
#define EJECT_FORM "off, true, COUNT/TIME, or an object"
#define NAME_FORM "1 to 64 of A-Z a-z 0-9 . _ -"

/* For values in messages: cut, so that the sentence behind it stays whole. */
#define VALUE "\"%.100s\""

/* Each ends with an entry without a name. */
extern const struct key top_keys[];
extern const struct key registry_keys[];
extern const struct key ambassador_keys[];
extern const struct key link_keys[];
extern const struct key check_keys[]; /* check.c */
extern const struct key eject_keys[]; /* eject.c */

/* Which keys of a table a message is about. */
typedef bool (*key_filter)(const struct key *key);
bool key_is_accepted(const struct key *key); /* all are */
bool key_is_option(const struct key *key);   /* accepted behind LISTEN=SERVICE */
bool key_is_default(const struct key *key);  /* accepted in "defaults" */

/*
 * Finds the key that may be used here. Returns -EINVAL for an unknown or unfit one; the sentence lists the accepted
 * ones.
 */
int key_find(const struct key *table, const char *name, key_filter filter, const struct key **ret, struct error *err);

/* check.c */
int check_set_word(const struct key *key, struct link_conf *link, char *text, struct error *err);
void check_begin_object(struct link_conf *link);
int check_end_object(const struct link_conf *link, struct error *err);

/* eject.c */
int eject_set_word(const struct key *key, struct link_conf *link, char *text, struct error *err);
void eject_begin_object(struct link_conf *link);
int eject_end_object(const struct link_conf *link, struct error *err);

/* Could it be the name of a link? */
bool link_name_is_valid(const char *text);

#endif
