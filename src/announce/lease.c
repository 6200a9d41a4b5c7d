/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "announce/lease.h"

enum lease_step lease_next(const struct lease *lease)
{
	if (!lease->wanted)
		return lease->id ? LEASE_REVOKE : LEASE_REST;
	if (!lease->id)
		return LEASE_GRANT;
	if (!lease->put)
		return LEASE_PUT;
	if (lease->keep)
		return LEASE_KEEP;
	return lease->look ? LEASE_LOOK : LEASE_REST;
}

static void forget(struct lease *lease)
{
	*lease = (struct lease){.wanted = lease->wanted};
}

void lease_note(struct lease *lease, enum lease_step step, enum lease_outcome outcome)
{
	if (outcome == LEASE_GONE) {
		forget(lease);
		return;
	}
	switch (step) {
	case LEASE_REST:
	case LEASE_GRANT:
		break;
	case LEASE_PUT:
		lease->put = true;
		lease->keep = lease->look = false;
		break;
	case LEASE_KEEP:
		lease->keep = false;
		/* A lease that lives says nothing of its key, which anybody may delete or put elsewhere. */
		lease->look = true;
		break;
	case LEASE_LOOK:
		lease->look = false;
		lease->put = outcome == LEASE_DONE;
		break;
	case LEASE_REVOKE:
		forget(lease);
		break;
	}
}
