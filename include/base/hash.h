/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * uthash with a hash function of our own: its default is a macro of some hundred lines at each use, whose
 * fall-through comments clang does not accept. Include this and never <uthash.h>.
 */
#ifndef NUNCIO_BASE_HASH_H
#define NUNCIO_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* A digest of the bytes: fast and well spread, not cryptographic, the same only within one machine and version. */
uint64_t hash_bytes(const void *bytes, size_t length);

#define HASH_FUNCTION(key, length, result) ((result) = (unsigned int)hash_bytes((key), (length)))

#include <uthash.h> /* IWYU pragma: export */

/* To begin with. There may be a table for each of thousands of services; uthash's 32 take 512 bytes. */
#undef HASH_INITIAL_NUM_BUCKETS
#undef HASH_INITIAL_NUM_BUCKETS_LOG2
#define HASH_INITIAL_NUM_BUCKETS 8U
#define HASH_INITIAL_NUM_BUCKETS_LOG2 3U

#endif
