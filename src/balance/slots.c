/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "balance/slots.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Tables up to this size are laid out anew when weights differ: evenness is worth a few elements there. */
#define SMALL_TABLE 64

/* Slot numbers are 32 bits in the kernel; a window that has moved this far starts again at 0. */
#define BASE_LIMIT (UINT32_C(1) << 30)

static uint32_t gcd(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

struct remainder {
	uint64_t value;
	uint32_t index;
};

static int compare_remainders(const void *a, const void *b)
{
	const struct remainder *x = a, *y = b;

	if (x->value != y->value)
		return x->value > y->value ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

/* Hamilton's method (largest remainder), with one slot reserved for each that has a weight. */
static uint32_t share_out(const uint32_t *weights, uint32_t n, uint64_t sum, uint32_t users, uint32_t limit,
			  uint32_t *ret_shares)
{
	struct remainder *remainders = xcalloc(n, sizeof(*remainders));
	uint32_t spare = limit - users, given = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t exact = (uint64_t)weights[i] * spare;

		ret_shares[i] = weights[i] ? 1 + (uint32_t)(exact / sum) : 0;
		given += ret_shares[i];
		remainders[i] = (struct remainder){exact % sum, i};
	}
	qsort(remainders, n, sizeof(*remainders), compare_remainders);
	for (uint32_t i = 0; given < limit; i++, given++)
		ret_shares[remainders[i].index]++;
	free(remainders);
	return given;
}

uint32_t slots_share(const uint32_t *weights, uint32_t n, uint32_t *ret_shares)
{
	uint32_t divisor = 0, users = 0, limit;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++) {
		divisor = gcd(weights[i], divisor);
		users += weights[i] != 0;
		sum += weights[i];
	}
	if (!users) {
		memset(ret_shares, 0, n * sizeof(*ret_shares));
		return 0;
	}
	limit = users > SLOTS_MIN_LIMIT / SLOTS_PER_ENDPOINT ? users * SLOTS_PER_ENDPOINT : SLOTS_MIN_LIMIT;
	if (sum / divisor > limit)
		return share_out(weights, n, sum, users, limit, ret_shares);
	for (uint32_t i = 0; i < n; i++)
		ret_shares[i] = weights[i] / divisor;
	return (uint32_t)(sum / divisor);
}

/* The first free slot at or after `from`, cyclic. There must be one; `skip` makes repeated searches cheap. */
static uint32_t next_free(const struct slots *slots, uint32_t *skip, uint32_t from)
{
	uint32_t at = from, found;

	while (slots->owner[at] != SLOT_FREE)
		at = (at + skip[at]) % slots->count;
	found = at;
	for (at = from; at != found;) { /* path compression: the whole way now leads straight to the free slot */
		uint32_t next = (at + skip[at]) % slots->count;

		skip[at] = (found + slots->count - at) % slots->count;
		at = next;
	}
	return found;
}

/* Gives owner `index` as many free slots as it asks for, as evenly over the whole table as the free ones allow. */
static void place_evenly(struct slots *slots, uint32_t *skip, uint32_t index, uint32_t share)
{
	uint32_t first = next_free(slots, skip, 0);

	for (uint32_t i = 0; i < share; i++) {
		uint32_t ideal = (uint32_t)((first + (uint64_t)i * slots->count / share) % slots->count);

		slots->owner[next_free(slots, skip, ideal)] = index;
	}
}

struct claim {
	uint32_t index, share;
};

/* Larger shares choose first: a,b,a,c and not a,a,b,c. */
static int compare_claims(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;

	if (x->share != y->share)
		return x->share > y->share ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

/* Lets every claim take its slots among the free ones. The shares must add up to the number of free slots. */
static void place_claims(struct slots *slots, struct claim *claims, uint32_t n)
{
	uint32_t *skip = xcalloc(slots->count, sizeof(*skip));

	for (uint32_t i = 0; i < slots->count; i++)
		skip[i] = 1;
	qsort(claims, n, sizeof(*claims), compare_claims);
	for (uint32_t i = 0; i < n; i++)
		place_evenly(slots, skip, claims[i].index, claims[i].share);
	free(skip);
}

/* How many slots of the window does somebody lose: by a smaller share, or because the owner is gone? */
static uint32_t count_lost(const struct slots *previous, const uint32_t *shares, uint32_t n)
{
	uint32_t *kept = xcalloc(n ? n : 1, sizeof(*kept)), lost = 0;

	for (uint32_t i = 0; i < previous->count; i++) {
		uint32_t owner = previous->owner[previous->before + i];

		if (owner == SLOT_FREE || kept[owner] == shares[owner])
			lost++;
		else
			kept[owner]++;
	}
	free(kept);
	return lost;
}

static bool has_multiple_shares(const uint32_t *shares, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (shares[i] > 1)
			return true;
	}
	return false;
}

/* Where the next window begins. It never ends before the former one did, so nothing is left behind at its end. */
static uint32_t next_base(const struct slots *previous, uint32_t count)
{
	uint32_t base = previous->base;

	if (count < previous->count)
		base += previous->count - count; /* dropping the first slots moves the window by itself */
	else if (count > previous->count && previous->count)
		base += 1;
	return base < BASE_LIMIT ? base : 0;
}

static struct slots new_window(const struct slots *previous, uint32_t count)
{
	struct slots next = {.base = next_base(previous, count), .count = count};

	if (count && previous->count && next.base > previous->base)
		next.before = next.base - previous->base;
	next.owner = xcalloc(next.before + count + 1, sizeof(*next.owner));
	memset(next.owner, 0xff, (next.before + count) * sizeof(*next.owner)); /* SLOT_FREE */
	return next;
}

/* Copies what may stay where it is: slots of the old window that the new one covers too. */
static void keep_slots(const struct slots *previous, struct slots *next, uint32_t *open_shares)
{
	for (uint32_t i = 0; i < next->count; i++) {
		uint32_t from = next->base + i - previous->base, owner;

		if (next->base < previous->base || from >= previous->count)
			continue;
		owner = previous->owner[previous->before + from];
		if (owner != SLOT_FREE && open_shares[owner]) {
			next->owner[next->before + i] = owner;
			open_shares[owner]--;
		}
	}
}

/* The numbers left behind keep their owners where those are still there, and get the window's first one otherwise. */
static void fill_left_behind(const struct slots *previous, const uint32_t *shares, struct slots *next)
{
	for (uint32_t i = 0; i < next->before; i++) {
		uint32_t owner = previous->owner[previous->before + i];

		next->owner[i] = owner != SLOT_FREE && shares[owner] ? owner : next->owner[next->before];
	}
}

static void copy_slots(const struct slots *previous, struct slots *ret)
{
	uint32_t size = previous->before + previous->count;

	*ret = *previous;
	ret->owner = xcalloc(size + 1, sizeof(*ret->owner));
	if (size)
		memcpy(ret->owner, previous->owner, size * sizeof(*ret->owner));
	for (uint32_t i = 0; i < ret->before; i++) {
		if (ret->owner[i] == SLOT_FREE)
			ret->owner[i] = ret->owner[ret->before];
	}
}

static void place_open_shares(struct slots *next, const uint32_t *open_shares, uint32_t n)
{
	struct slots window = {.count = next->count, .owner = next->owner + next->before};
	struct claim *claims = xcalloc(n ? n : 1, sizeof(*claims));
	uint32_t n_claims = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (open_shares[i])
			claims[n_claims++] = (struct claim){i, open_shares[i]};
	}
	if (n_claims)
		place_claims(&window, claims, n_claims);
	free(claims);
}

void slots_update(const struct slots *previous, const uint32_t *shares, uint32_t n, struct slots *ret)
{
	uint32_t lost = count_lost(previous, shares, n), kept = previous->count - lost, count = 0, gained;
	uint32_t *open_shares = xcalloc(n ? n : 1, sizeof(*open_shares));
	bool anew;

	for (uint32_t i = 0; i < n; i++)
		count += open_shares[i] = shares[i];
	gained = count - kept;
	if (lost == 0 && gained == 0) {
		copy_slots(previous, ret);
		free(open_shares);
		return;
	}
	*ret = new_window(previous, count);
	anew = has_multiple_shares(shares, n) && (count <= SMALL_TABLE || lost + gained > count / 2);
	if (!anew)
		keep_slots(previous, ret, open_shares);
	place_open_shares(ret, open_shares, n);
	fill_left_behind(previous, shares, ret);
	free(open_shares);
}

void slots_clear(struct slots *slots)
{
	free(slots->owner);
	*slots = (struct slots){0};
}
