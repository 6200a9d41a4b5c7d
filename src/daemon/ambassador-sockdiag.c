/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"
#include "daemon/ambassador-state.h"
#include "kernel/netns.h"
#include "kernel/sockdiag.h"

static int open_sockdiag(void *context)
{
	struct ambassador *ambassador = context;
	struct error err;
	int code = sockdiag_open(&ambassador->sockdiag, &err);

	if (code < 0)
		log_error("%s", err.text);
	return code;
}

struct sockdiag *ambassador_sockdiag(struct ambassador *ambassador)
{
	struct error err;

	if (!ambassador->sockdiag)
		netns_call(ambassador->netns_fd, open_sockdiag, ambassador, &err);
	return ambassador->sockdiag;
}
