/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file registry, file:PATH. What PATH is decides, at each reading, how it is read:
 * a file is a JSON object of all services (discovery/file/services.h); a directory has a file per service, SERVICE or
 * SERVICE.json, with a JSON array or lines (discovery/records.h), and drop-ins besides (discovery/file/service.h).
 *
 *	PATH missing, unreadable, empty or not valid	error; missing: after a grace of FILE_GRACE_MS
 *	a single file that does not name the service	no endpoints
 *	a service's file unreadable, empty, not valid	error for this service
 *	a service's file missing at the first look	no endpoints, revision "absent"
 *	a service's file that goes			no endpoints after FILE_GRACE_MS, for editors delete and
 *recreate
 */
#ifndef NUNCIO_DISCOVERY_FILE_FILE_H
#define NUNCIO_DISCOVERY_FILE_FILE_H

#include "discovery/source.h"

/* How long something that was there may be missing before that counts, milliseconds. */
#define FILE_GRACE_MS 1000

/* How often is looked after what is about to change. */
#define FILE_TICK_MS 100

/* How often everything is compared with what was read, for what inotify does not show (NFS, targets of links). */
#define FILE_RECHECK_MS 10000

/* The same while there is nothing that inotify could watch, or PATH is missing. */
#define FILE_POLL_MS 1000

#define FILE_URI_FORM "file:PATH"

extern const struct source_ops file_source_ops;

#endif
