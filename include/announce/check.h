/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checks an endpoint again and again: tcp (a connection is accepted), http (a GET is answered by a status of 200 to
 * 399), exec (a command of the shell ends with 0). Each has CHECK_TIMEOUT_MS. Until it is healthy for the first time,
 * it is checked every CHECK_START_MS, or more often.
 */
#ifndef NUNCIO_ANNOUNCE_CHECK_H
#define NUNCIO_ANNOUNCE_CHECK_H

#include <stdbool.h>
#include <uv.h>

#include "announce/conf.h"

#define CHECK_TIMEOUT_MS 1000
#define CHECK_START_MS 250

/* So many good checks in a row make it healthy again, so many failed ones make it unhealthy. The very first time, one
 * good check is enough: it never was unhealthy. */
#define CHECK_RISE 2
#define CHECK_FALL 3

struct check;

/* It has become healthy or unhealthy, and why; also for the first check of all if that failed. From the event loop. */
typedef void (*check_changed_fn)(void *context, bool healthy, const char *reason);

/* The conf, of a kind other than CHECK_NONE, is borrowed. The first check begins with the next turn of the loop. */
struct check *check_open(uv_loop_t *loop, const struct check_conf *conf, const struct ip_port *at,
			 check_changed_fn changed, void *context);
/* At once: no callback comes after it; the memory goes with a later turn of the loop. NULL is fine. */
void check_close(struct check *check);

#endif
