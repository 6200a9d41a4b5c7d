/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections that failed, as the rules of links that eject report them to nfnetlink_log (RULE_REPORT_*): the SYN that
 * came again because the one before it was not answered, and that some connection was refused, which is counted in
 * SET_FAILED. Nothing comes while nothing fails. The kernel gathers reports for a moment, and drops them where the
 * socket's buffer is full.
 */
#ifndef NUNCIO_KERNEL_FAILURES_H
#define NUNCIO_KERNEL_FAILURES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/error.h"

struct failures;

/* In the calling thread's network namespace. Returns 0 or a negative errno; -EBUSY: another program has the group. */
int failures_open(struct failures **ret, struct error *err);
void failures_close(struct failures *failures); /* NULL is fine */

int failures_fd(const struct failures *failures);

struct failure_report {
	const char *link; /* whose attempt was not answered; NULL: a connection was refused */
	/* For nft_read_attempt(), which knows the endpoint: */
	struct ip_port client;
	uint32_t sequence;
};

/* Reads some of what has come, and calls each() for it. Returns whether there may be more. */
bool failures_read(struct failures *failures, void (*each)(void *context, const struct failure_report *report),
		   void *context);

/* Reports that got lost since it was opened. */
uint64_t failures_lost(const struct failures *failures);

#endif
