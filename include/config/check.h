/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How an endpoint is checked: "check" of a link. Flat and read-only; the strings belong to the configuration. */
#ifndef NUNCIO_CONFIG_CHECK_H
#define NUNCIO_CONFIG_CHECK_H

#include <stdbool.h>
#include <stdint.h>

enum probe_kind { PROBE_NONE, PROBE_TCP, PROBE_HTTP };

/* One attempt. */
struct probe_conf {
	enum probe_kind kind;
	uint16_t port; /* 0: the endpoint's own */
	uint32_t timeout_ms;
	/* HTTP */
	const char *path;		    /* begins with '/' */
	const char *host;		    /* the Host, and TLS's server name; NULL = the address */
	const char *body;		    /* what the answer has to have in it; NULL = anything */
	uint16_t status_first, status_last; /* those that are good */
	bool tls, tls_verify;		    /* and whether the certificate has to be good, too */
};

/* Attempts, and what is made of them. */
struct link_check {
	struct probe_conf probe;
	uint32_t interval_ms;	   /* from the start of one to the start of the next */
	uint32_t fast_interval_ms; /* the same while in doubt; 0 = a quarter of it */
	uint32_t rise, fall;	   /* so many in a row that speak against the verdict change it */
	bool wait;		   /* until the first good one, an endpoint counts as down */
	const char *http_key;	   /* while it is read: a key that was said, and only HTTP has */
};

#define CHECK_INTERVAL_DEFAULT_MS 2000
#define CHECK_INTERVAL_MIN_MS 100
#define CHECK_TIMEOUT_DEFAULT_MS 1000
#define CHECK_RISE_DEFAULT 2
#define CHECK_FALL_DEFAULT 3
#define CHECK_FAST_DIVISOR 4

/* What holds where nothing is said: no check, but all else of one. */
extern const struct link_check check_default;

#endif
