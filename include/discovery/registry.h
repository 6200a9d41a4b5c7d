/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which registry, and how to get in: plain data from the configuration to the source. */
#ifndef NUNCIO_DISCOVERY_REGISTRY_H
#define NUNCIO_DISCOVERY_REGISTRY_H

#include <stdbool.h>

/* All but the URI may be NULL. Files are read when they are needed, again and again, so they can be replaced. */
struct registry_conf {
	char *uri;
	char *ca, *cert, *key; /* PEM files: whom to trust, our certificate, its private key */
	char *username, *password, *password_file;
	char *token, *token_file;
};

/* The same registry, asked in the same way? */
bool registry_equal(const struct registry_conf *a, const struct registry_conf *b);

/* Of each registry that is equal, the same text, and of each other another one; to be freed. Not for people. */
char *registry_identity(const struct registry_conf *conf);

/* A copy that owns its strings, for registry_clear(). */
struct registry_conf registry_copy(const struct registry_conf *conf);
void registry_clear(struct registry_conf *conf);

#endif
