/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The slot table of a link: the kernel draws a number for a new connection, and the table says which endpoint that
 * number means. Weights become numbers of slots; an update moves as few slots as it can, because each one that
 * moves is an element that has to be sent.
 *
 * The kernel draws from the window base, base+1, ... base+count-1. A change of its size makes the kernel count from
 * `base` again, so such a change also moves the window on: otherwise the first slots would get every first connection
 * after an update, and a busy registry would starve the last ones.
 *
 * A packet that is on its way while an update is applied may still draw from the old window and then look its number
 * up in the new table. So the numbers that a window leaves behind keep a meaning until the next change.
 */
#ifndef NUNCIO_BALANCE_SLOTS_H
#define NUNCIO_BALANCE_SLOTS_H

#include <stdint.h>

/* A table is bounded at the larger of SLOTS_MIN_LIMIT and SLOTS_PER_ENDPOINT times the endpoints that share it. */
#define SLOTS_MIN_LIMIT 256
#define SLOTS_PER_ENDPOINT 4

#define SLOT_FREE UINT32_MAX

struct slots {
	uint32_t base; /* the first number that is drawn */
	uint32_t count;
	uint32_t before; /* numbers in front of base that the last change left behind */
	uint32_t *owner; /* [before + count]: an index chosen by the caller; freed by slots_clear() */
};

/*
 * Turns weights into numbers of slots: divided by their greatest common divisor, or, where the sum would exceed the
 * bound, shared out by largest remainder with at least one slot each. A weight of 0 gets none. Returns the sum.
 */
uint32_t slots_share(const uint32_t *weights, uint32_t n, uint32_t *ret_shares);

/*
 * The same for a table of `count` slots, whatever the weights are: where they change again and again, its size stays
 * and only the slots that change hands are sent. `count` is at least the number of those that have a weight.
 */
void slots_share_of(uint32_t count, const uint32_t *weights, uint32_t n, uint32_t *ret_shares);

/*
 * The next table: owner i gets shares[i] slots. `previous` holds the table that is in force, its owners already
 * renumbered (SLOT_FREE = an owner that is gone). Where many slots change, or the table is small and the shares are
 * unequal, all are laid out anew, each owner's slots evenly spread. Where nothing changes, nothing is changed.
 * *ret is to be freed by slots_clear().
 */
void slots_update(const struct slots *previous, const uint32_t *shares, uint32_t n, struct slots *ret);

/*
 * The next table where the numbers have owners of their own, owners[count] from the window's first one on. Of the
 * shares it matters only who has any: the others get no number, also of those that the former window leaves behind.
 */
void slots_replace(const struct slots *previous, const uint32_t *owners, uint32_t count, const uint32_t *shares,
		   struct slots *ret);

void slots_clear(struct slots *slots);

#endif
