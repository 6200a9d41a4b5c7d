/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/reset.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "daemon/ambassador-state.h"
#include "kernel/challenge.h"
#include "kernel/netns.h"
#include "kernel/sockdiag.h"

static int open_tools(void *context)
{
	struct resetter *resetter = context;
	resetter->raw[0] = challenge_open(AF_INET);
	resetter->raw[1] = challenge_open(AF_INET6);
	if (resetter->raw[0] < 0)
		log_warning("cannot open a raw socket (%s; it takes CAP_NET_RAW): clients of other namespaces find "
			    "their connections reset with their next packet only",
			    strerror(-resetter->raw[0]));
	return 0;
}

/* When there is something to reset for the first time: most ambassadors never need them. */
static void open_resetter(struct ambassador *ambassador)
{
	struct error err;

	if (ambassador->resetter.opened)
		return;
	ambassador->resetter = (struct resetter){.raw = {-1, -1}, .opened = true};
	if (netns_call(ambassador->netns_fd, open_tools, &ambassador->resetter, &err) < 0)
		log_error("%s", err.text);
}

void reset_close(struct ambassador *ambassador)
{
	struct resetter *resetter = &ambassador->resetter;

	if (!resetter->opened)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(resetter->raw); i++) {
		if (resetter->raw[i] >= 0)
			close(resetter->raw[i]);
	}
	free(resetter->challenged);
	*resetter = (struct resetter){0};
}

static bool is_connection(const struct flow *flow)
{
	return flow->listen.protocol == IPPROTO_TCP && flow->replied;
}

/* Where sockets cannot be aborted, a client of this namespace is treated as one of another. */
static bool reset_local(struct ambassador *ambassador, const struct flow *flow)
{
	struct sockdiag *sockdiag = ambassador_sockdiag(ambassador);

	return sockdiag && sockdiag_destroy(sockdiag, &flow->client, &flow->listen.at) == 0;
}

static void challenge(struct resetter *resetter, const struct flow *flow)
{
	int fd = resetter->raw[flow->client.addr.family == AF_INET6];

	if (fd < 0 || challenge_send(fd, &flow->listen.at, &flow->client) < 0)
		return;
	ARRAY_GROW(resetter->challenged, resetter->n_challenged, resetter->challenged_capacity);
	resetter->challenged[resetter->n_challenged++] = *flow;
}

int reset_and_delete(struct ambassador *ambassador, const struct flows *flows, struct error *err)
{
	bool *remote = xcalloc(flows->count + 1, sizeof(*remote));
	int code;

	for (size_t i = 0; i < flows->count; i++) {
		if (!is_connection(&flows->items[i]))
			continue;
		open_resetter(ambassador);
		remote[i] = !reset_local(ambassador, &flows->items[i]);
	}
	code = conntrack_delete(ambassador->conntrack, flows, err);
	for (size_t i = 0; code == 0 && i < flows->count; i++) {
		if (remote[i])
			challenge(&ambassador->resetter, &flows->items[i]);
	}
	free(remote);
	return code;
}

void reset_tidy(struct ambassador *ambassador)
{
	struct resetter *resetter = &ambassador->resetter;

	for (size_t i = 0; i < resetter->n_challenged; i++) {
		const struct flow *flow = &resetter->challenged[i];

		/* Where it is gone already, all is well. */
		conntrack_forget(ambassador->conntrack, IPPROTO_TCP, &flow->listen.at, &flow->client);
	}
	resetter->n_challenged = 0;
}
