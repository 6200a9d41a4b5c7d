/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One attempt to reach an endpoint: TCP (a connection is accepted) or HTTP (a GET is answered as it should be), with a
 * limit in time. Sockets can be made elsewhere than in the caller's network namespace. Connections are new for each
 * attempt, for one that was kept says nothing about new ones, and end with a reset, which leaves no TIME_WAIT behind.
 */
#ifndef NUNCIO_HEALTH_PROBE_H
#define NUNCIO_HEALTH_PROBE_H

#include <uv.h>

#include "base/addr.h"
#include "config/check.h"

struct prober;
struct probe;

#define PROBE_REASON 160

/* A stream socket of that family, or a negative errno. */
typedef int (*probe_socket_fn)(void *context, int family);

enum probe_outcome {
	PROBE_GOOD,
	PROBE_FAILED,
	PROBE_NOT_MADE, /* for a lack of ours, such as file descriptors: it says nothing about the endpoint */
};

/*
 * `reason` says why it came out like that ("connected", "HTTP 503", "timed out after 1s"), without the
 * endpoint's address, and goes with the call. From the event loop, never from probe_start(). The probe is gone then;
 * others may be started and cancelled.
 */
typedef void (*probe_done_fn)(void *context, enum probe_outcome outcome, const char *reason);

/* What attempts have in common. `make_socket` NULL: sockets of the caller's network namespace. */
struct prober *prober_open(uv_loop_t *loop, probe_socket_fn make_socket, void *context);
/* Not from a callback. Its probes have to be cancelled before. The memory goes with a later turn; NULL is fine. */
void prober_close(struct prober *prober);

/* `conf` is borrowed while the attempt lasts; its kind is not PROBE_NONE, and its port not used: `at` has the port. */
struct probe *probe_start(struct prober *prober, const struct probe_conf *conf, const struct ip_port *at,
			  probe_done_fn done, void *context);
void probe_cancel(struct probe *probe); /* no callback comes after it; NULL is fine */

#endif
