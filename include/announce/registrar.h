/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeps one key in etcd for as long as we live and it is wanted: with a lease, which is kept alive every third of its
 * time, and after which etcd deletes the key if we do not. Whatever is lost (the lease, the key, etcd's data) is made
 * again. The members are asked in turn; when all have failed, it waits as a source does (discovery/backoff.h), but
 * never longer than the time between two keepalives.
 */
#ifndef NUNCIO_ANNOUNCE_REGISTRAR_H
#define NUNCIO_ANNOUNCE_REGISTRAR_H

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"
#include "discovery/registry.h"

struct registrar;

struct registrar_conf {
	const struct registry_conf *registry; /* borrowed */
	const char *key;		      /* behind the registry's prefix; copied */
	const char *value;		      /* copied */
	uint32_t ttl_s;
};

/* They may come from registrar_want() itself. */
struct registrar_events {
	/* It was put: for the first time, or again. The whole key, and how long etcd keeps it without us. */
	void (*announced)(void *context, const char *key, uint32_t ttl_s);
	/* It is not wanted, and etcd has it no more, or never had it. Once for each time that this was asked for. */
	void (*withdrawn)(void *context);
};

/* A registry that can be announced to? Returns 0, -EINVAL or -ENOTSUP. */
int registrar_check(const struct registry_conf *conf, struct error *err);

/* The registry was checked. It does not want anything yet. */
struct registrar *registrar_open(uv_loop_t *loop, const struct registrar_conf *conf,
				 const struct registrar_events *events, void *context);
void registrar_want(struct registrar *registrar, bool wanted);
/* Stops at once, with whatever etcd has. NULL is fine. */
void registrar_close(struct registrar *registrar);

#endif
