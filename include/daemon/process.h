/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this process takes of the machine, from /proc; see proc(5). */
#ifndef NUNCIO_DAEMON_PROCESS_H
#define NUNCIO_DAEMON_PROCESS_H

#include <stdint.h>

struct process_figures {
	double cpu_seconds;
	double started;		    /* seconds since 1970 */
	uint64_t resident, virtual; /* bytes */
	uint64_t open_fds, max_fds;
};

/* What cannot be read is 0. */
void process_read(struct process_figures *ret);

#endif
