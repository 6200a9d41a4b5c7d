/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a service tells its service manager, systemd or another one: sd_notify(3), whose protocol is documented as
 * stable. Each message is one datagram to the socket that $NOTIFY_SOCKET names. Nothing here ever waits.
 */
#ifndef NUNCIO_BASE_SERVICE_MANAGER_H
#define NUNCIO_BASE_SERVICE_MANAGER_H

#include <stdbool.h>
#include <stdint.h>

struct service_manager;

/* How long a start may take before it counts as one: a unit that never gets ready is a failed one. */
#define SERVICE_MANAGER_PATIENCE_MS 20000

/*
 * Reads the environment, and takes what it says out of it: it is not meant for those that we start. Returns NULL where
 * nobody wants to know. The functions below take that NULL and do nothing.
 */
struct service_manager *service_manager_open(void);
void service_manager_close(struct service_manager *manager);

/* How often SERVICE_ALIVE is to be told, half of what the manager allows; 0: never. */
uint64_t service_manager_watchdog_ms(const struct service_manager *manager);

enum service_state {
	SERVICE_ALIVE,	   /* for the watchdog */
	SERVICE_READY,	   /* after the start, and after SERVICE_RELOADING */
	SERVICE_RELOADING, /* SERVICE_READY has to follow */
	SERVICE_STOPPING,
	SERVICE_SAME, /* only the status */
};

/*
 * Tells a state and, unless it is NULL, a status, a line for people. False: it could not be told, and may be tried
 * again.
 */
bool service_manager_tell(struct service_manager *manager, enum service_state state, const char *status);

#endif
