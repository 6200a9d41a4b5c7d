/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeps one endpoint in a registry for as long as we live and it is wanted, and makes again whatever is lost there.
 * How, is the matter of an implementation for each kind of registry; what all have in common is here: when something is
 * due, what is said of an outage, and how long to wait after a failure (discovery/backoff.h, but never longer than the
 * time between two signs of life).
 */
#ifndef NUNCIO_ANNOUNCE_REGISTRAR_H
#define NUNCIO_ANNOUNCE_REGISTRAR_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "announce/conf.h"
#include "base/error.h"
#include "base/mem.h"

struct registrar;

/* They may come from registrar_want() itself. */
struct registrar_events {
	/* It was put: for the first time, or again. `how` tells people what it is called there, and when it would end:
	 * "as KEY with a lease of 15 s". */
	void (*announced)(void *context, const char *how);
	/* It is not wanted, and the registry has it no more, or never had it. Once for each time that this was asked
	 * for. */
	void (*withdrawn)(void *context);
};

/* A registry that can be announced to, in the way that was asked for? Returns 0 or -EINVAL. */
int registrar_check(const struct announce_conf *conf, struct error *err);

/*
 * Where the registry is, as "http://HOST:PORT" each and NULL at the end, in the arena: the route there has our own
 * address. None where it is not in the network. The conf was checked.
 */
const char *const *registrar_servers(const struct announce_conf *conf, struct arena *arena);

/* The conf was checked, and is borrowed; `at` is the endpoint with its address. It does not want anything yet. */
struct registrar *registrar_open(uv_loop_t *loop, const struct announce_conf *conf, const struct ip_port *at,
				 const struct registrar_events *events, void *context);
void registrar_want(struct registrar *registrar, bool wanted);
/* What becomes of the endpoint if it cannot be withdrawn, for people: "it goes with its lease". */
const char *registrar_remains(const struct registrar *registrar);
/* Stops at once, with whatever the registry has. NULL is fine. */
void registrar_close(struct registrar *registrar);

/* For the implementations: */

struct registrar_ops {
	const char *const *schemes; /* NULL at the end */
	const char *form;	    /* what a URI looks like, for messages */
	const char *remains;	    /* as registrar_remains() */
	int (*check)(const struct announce_conf *conf, struct error *err);
	const char *const *(*servers)(const struct announce_conf *conf, struct arena *arena); /* NULL: none */
	/* What is allocated here has the base as its first member. */
	struct registrar *(*open)(uv_loop_t *loop, const struct announce_conf *conf, const struct ip_port *at);
	/*
	 * Takes the next step, if there is one; `due` says that it is time for a sign of life. A step that takes time
	 * sets `busy`, and at its end calls registrar_proceed(). Returns whether it took one, or failed; else all is
	 * as wanted, for now.
	 */
	bool (*step)(struct registrar *registrar, bool due);
	void (*stop)(struct registrar *registrar); /* no callback of its own comes after it */
	void (*free)(struct registrar *registrar); /* later: the base, too */
};

/* The base. The first part is set by open(). */
struct registrar {
	const struct announce_conf *conf;
	uint32_t ttl_s;
	bool busy;
	uint64_t alive; /* uv_now() of the last sign of life that the registry took */

	/* Only read by implementations: */
	uv_loop_t *loop;
	bool wanted;
	const struct registrar_events *events;
	void *context;

	/* Of registrar.c: */
	const struct registrar_ops *ops;
	uv_timer_t timer; /* to the next sign of life, or the next try */
	bool waiting;	  /* for the next try */
	bool said_withdrawn;
	bool failing;	   /* it was said */
	uint32_t failures; /* in a row */
};

extern const struct registrar_ops registrar_etcd_ops, registrar_consul_ops, registrar_file_ops;

/* A third of the TTL, milliseconds. */
uint32_t registrar_interval_ms(const struct registrar *registrar);

/*
 * How long to wait for an answer, milliseconds: one that does not come is given up while there is time to ask again,
 * or elsewhere; but not one that is only slow. Who withdraws may have little time.
 */
uint32_t registrar_answer_ms(const struct registrar *registrar);

/* The next step, if there is one and it is time. */
void registrar_proceed(struct registrar *registrar);

/*
 * A step failed, at one of so many servers. They are asked in turn, and when all have failed it waits. The first reason
 * of an outage is said, and when it is over, so an outage is two lines.
 */
void registrar_failed(struct registrar *registrar, size_t servers, const char *reason);
void registrar_succeeded(struct registrar *registrar, const char *what); /* "10.0.0.1:2379 answers" */

#endif
