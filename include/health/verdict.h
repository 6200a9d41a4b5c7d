/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How well an endpoint is, as far as the ambassador found out by itself. A registry says which endpoints there should
 * be; this says which of them there are.
 */
#ifndef NUNCIO_HEALTH_VERDICT_H
#define NUNCIO_HEALTH_VERDICT_H

enum verdict {
	VERDICT_NONE,	 /* nobody looks */
	VERDICT_UNKNOWN, /* there is no answer to a check yet */
	VERDICT_UP,
	VERDICT_DOWN,	 /* its checks fail */
	VERDICT_EJECTED, /* connections to it failed */
};

#endif
