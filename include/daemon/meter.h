/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the daemon did so far, in numbers that only grow; for daemon/metrics.h. */
#ifndef NUNCIO_DAEMON_METER_H
#define NUNCIO_DAEMON_METER_H

#include <stdbool.h>
#include <stdint.h>

#include "exporter/histogram.h"

/* Zeroed to begin. */
struct meter {
	struct histogram transactions; /* from sending one to the kernel's answer, failed ones included */
	struct histogram programming;  /* from a registry's event to the kernel's acknowledgement */
	uint64_t failures;	       /* of transactions */
	uint64_t messages, changes;    /* that the kernel carried out: of netlink, and of objects */
	uint64_t resyncs;	       /* how often the kernel's table was read, because it was not known */
	bool reload_failed;	       /* the last one */
	int64_t reloaded;	       /* when the configuration in force was read, seconds since 1970 */
};

/* Notes a transaction that began then, uv_hrtime(). */
void meter_transaction(struct meter *meter, uint64_t began, bool failed, uint64_t messages, uint64_t changes);

#endif
