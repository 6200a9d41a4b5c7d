/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of balance=source: the kernel hashes a client's address to an entry of it, and the entry says which
 * endpoint is the client's. Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load
 * Balancer", NSDI 2016, section 3.4): each endpoint has a permutation of the entries that depends on nothing but its
 * address and port; in turns, each takes the next entry of its permutation that is free. So every ambassador with the
 * same endpoints has the same table, in whatever order it learned of them, and where an endpoint goes, few clients
 * move but its own. Pure.
 */
#ifndef NUNCIO_BALANCE_MAGLEV_H
#define NUNCIO_BALANCE_MAGLEV_H

#include <stdint.h>

#include "catalog/endpoints.h"

/*
 * How many entries a table for n endpoints has, a power of two. `current` is the size of the table in force, or 0; it
 * stays while it is large enough, since another size moves nearly everybody, and never shrinks while somebody serves.
 * 0 endpoints have no entries.
 *
 * More entries are more even and move fewer clients needlessly, but each is an element: some 240 bytes in the kernel,
 * and 3 us until it is there. So there are few sizes, each for four times as many endpoints as the one before,
 * with 200 entries for each of them when new, and 50 before the next size is due. When one of the endpoints went, so
 * many of all clients moved besides its own (mean and worst of 4000 random sets, or of 200, or 20 for more than 40):
 *
 *   endpoints   size     moved besides     most uneven share
 *           3   2048     0.4 %  1.3 %        0.1 %
 *          10   2048     1.7 %  2.7 %        0.4 %
 *          40   2048     3.1 %  4.1 %        1.6 %
 *          40   8192     1.4 %  1.7 %        0.4 %
 *         160  32768     1.0 %  1.1 %        0.4 %
 *         640  65536     0.8 %  0.8 %        0.6 %
 *
 * Filling a table takes 0.06 ms for 10 endpoints, 0.3 ms for 40, 3 ms for 640.
 */
uint32_t maglev_size(uint32_t n, uint32_t current);

/*
 * Fills ret_owners[size] with indices into endpoints->items. An endpoint takes turns in proportion to its weight,
 * weights[endpoints->count], and is left out with 0; at least one must not be.
 */
void maglev_fill(const struct endpoints *endpoints, const uint32_t *weights, uint32_t size, uint32_t *ret_owners);

#endif
