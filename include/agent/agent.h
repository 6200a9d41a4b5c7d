/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's agent: follows a Docker engine and says which ambassadors the labels of its containers ask for, one for
 * each network namespace that has some:
 *
 *	nuncio.link.LISTEN=SERVICE[,option=value]...	a link; LISTEN as everywhere: "5432", "53/udp", "10.0.0.1:80"
 *	connect.PORT=SERVICE				the same, as Connectable has it
 *
 * It touches neither the kernel nor a registry: the daemon carries out what it says. As long as the engine does not
 * answer, what it said last stays.
 */
#ifndef NUNCIO_AGENT_AGENT_H
#define NUNCIO_AGENT_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/error.h"
#include "config/config.h"

struct agent;

/* The ambassadors are others than before; the receiver calls agent_settle() when he has taken them over. */
typedef void (*agent_changed_fn)(void *context);

/* Follows config->docker. The configuration is borrowed until agent_configure() is told of another one. */
int agent_open(uv_loop_t *loop, const struct config *config, agent_changed_fn changed, void *context,
	       struct agent **ret, struct error *err);
void agent_close(struct agent *agent); /* NULL is fine */

/* Reads all labels again with another configuration, for the same engine; to be followed by agent_settle(). */
void agent_configure(struct agent *agent, const struct config *config);

/* The ambassadors, each the same object for as long as it does not change. */
const struct ambassador_conf *const *agent_ambassadors(const struct agent *agent, size_t *ret_count);
/* Nobody uses the former ambassadors any more. */
void agent_settle(struct agent *agent);

/* The engine has been heard once: what is not there is not running. */
bool agent_is_ready(const struct agent *agent);

/* For status. */
const char *agent_uri(const struct agent *agent);
const char *agent_error(
	const struct agent *agent); /* why the engine does not answer; NULL: it does, or will be asked */

#endif
