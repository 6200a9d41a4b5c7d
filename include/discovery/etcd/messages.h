/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The messages of etcd's v3 API as its JSON gateway has them (api/etcdserverpb/rpc.proto, grpc-gateway 1 and 2): bytes
 * in base64, 64-bit numbers as strings, what is zero left out, unknown members ignored. Pure.
 */
#ifndef NUNCIO_DISCOVERY_ETCD_MESSAGES_H
#define NUNCIO_DISCOVERY_ETCD_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/mem.h"

/* Bytes of any value; behind them is a NUL that does not count. */
struct etcd_bytes {
	const char *bytes;
	size_t length;
};

struct etcd_range_request {
	struct etcd_bytes key, end; /* from key up to, not including, end; no end (length 0): the one key */
	int64_t revision;	    /* 0 = the latest */
	uint32_t limit;		    /* of keys; 0 = none */
	bool count_only;
};

/* Requests, as text to be freed. */
char *etcd_range_request(const struct etcd_range_request *request);
char *etcd_watch_request(const struct etcd_bytes *key, const struct etcd_bytes *end, int64_t start_revision);
char *etcd_authenticate_request(const char *username, const char *password);
char *etcd_grant_request(uint32_t ttl_s);
char *etcd_put_request(const struct etcd_bytes *key, const struct etcd_bytes *value, int64_t lease);
char *etcd_lease_request(int64_t lease); /* of a keepalive, and of a revocation */

/*
 * Turns a prefix into the end of the range of all keys that begin with it; returns its length, at most that of the
 * prefix. A prefix of which every byte is 255, or none, has all keys behind it: one NUL byte says so in etcd's API.
 * `end` has room for length + 1 bytes.
 */
size_t etcd_range_end(const char *prefix, size_t length, char *end);

struct etcd_header {
	uint64_t cluster, member;
	int64_t revision; /* 0 where the message has none */
};

struct etcd_kv {
	struct etcd_bytes key, value;
	int64_t mod_revision;
	int64_t lease; /* that it goes with; 0 = none */
	bool deleted;  /* in events: the key is gone */
};

/* What was read; ended by etcd_message_clear(). */
struct etcd_message {
	struct etcd_header header;
	struct etcd_kv *kvs; /* of a range, or of a watch's events, in order */
	size_t count;
	bool more; /* range: there are more keys than the limit */

	/* Of a watch: */
	bool created, cancelled, fragment; /* fragment: the next message goes on with this one's revision */
	int64_t compact_revision;	   /* cancelled, for what was asked for is compacted; else 0 */
	const char *cancel_reason;	   /* or NULL */

	const char *token; /* of an authentication; or NULL */

	/* Of a grant or a keepalive; 0 s is what a keepalive says of a lease that is gone. */
	int64_t lease;
	uint32_t ttl_s;

	/* An error instead of all that; or NULL. The code is gRPC's, -1 where it is not known. */
	const char *error;
	int error_code;

	struct arena arena; /* holds everything */
};

/* gRPC's codes that matter here (google.golang.org/grpc/codes). */
enum {
	ETCD_CODE_NOT_FOUND = 5,
	ETCD_CODE_PERMISSION_DENIED = 7,
	ETCD_CODE_OUT_OF_RANGE = 11,
	ETCD_CODE_UNAVAILABLE = 14,
	ETCD_CODE_UNAUTHENTICATED = 16
};

/*
 * Reads an answer to a request, good or an error. Returns 0, or -EINVAL with a sentence where it is no message of
 * etcd's. `ret` is to be cleared in both cases.
 */
int etcd_message_parse(const char *text, size_t length, struct etcd_message *ret, struct error *err);

/* The same for a message of a stream (a watch, keepalives), which is inside of "result". */
int etcd_watch_parse(const char *text, size_t length, struct etcd_message *ret, struct error *err);

void etcd_message_clear(struct etcd_message *message);

/* Does it say that our token is not, or not any more, good? */
bool etcd_message_is_unauthenticated(const struct etcd_message *message);

#endif
