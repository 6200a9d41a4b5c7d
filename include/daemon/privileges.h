/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon may do. It is started with more than it needs, and gives the rest up before it reads anything that
 * others wrote: capabilities, and system calls that it never makes.
 */
#ifndef NUNCIO_DAEMON_PRIVILEGES_H
#define NUNCIO_DAEMON_PRIVILEGES_H

/* To be called while there is one thread only: capabilities are a thread's. What cannot be given up is logged. */
void privileges_drop(void);

#endif
