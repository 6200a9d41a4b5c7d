/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/meter.h"

#include <uv.h>

void meter_transaction(struct meter *meter, uint64_t began, bool failed, uint64_t messages, uint64_t changes)
{
	histogram_observe(&meter->transactions, (double)(uv_hrtime() - began) / 1e9);
	meter->failures += failed;
	if (failed)
		return;
	meter->messages += messages;
	meter->changes += changes;
}
