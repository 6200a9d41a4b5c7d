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

/*
 * Gives one slot to everybody who has a weight too small for one, and takes it, with the weight, out of what the others
 * share. That makes a slot cost more weight, so another may have become too light.
 */
static void share_out_singles(const uint32_t *weights, uint32_t n, uint32_t *limit, uint64_t *sum, uint32_t *ret_shares)
{
	uint32_t before;

	do {
		before = *limit;
		for (uint32_t i = 0; i < n; i++) {
			if (!weights[i] || ret_shares[i] || (uint64_t)weights[i] * *limit >= *sum)
				continue;
			ret_shares[i] = 1;
			*limit -= 1;
			*sum -= weights[i];
		}
	} while (*limit != before);
}

/* Hamilton's method (largest remainder) over `limit` slots, with at least one for each that has a weight. */
static void share_out(const uint32_t *weights, uint32_t n, uint64_t sum, uint32_t limit, uint32_t *ret_shares)
{
	struct remainder *remainders = xcalloc(n, sizeof(*remainders));
	uint32_t left, count = 0;

	memset(ret_shares, 0, n * sizeof(*ret_shares));
	share_out_singles(weights, n, &limit, &sum, ret_shares);
	left = limit;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t exact = (uint64_t)weights[i] * limit;

		if (!weights[i] || ret_shares[i])
			continue;
		ret_shares[i] = (uint32_t)(exact / sum);
		left -= ret_shares[i];
		remainders[count++] = (struct remainder){exact % sum, i};
	}
	qsort(remainders, count, sizeof(*remainders), compare_remainders);
	for (uint32_t i = 0; i < left; i++)
		ret_shares[remainders[i].index]++;
	free(remainders);
}

void slots_share_of(uint32_t count, const uint32_t *weights, uint32_t n, uint32_t *ret_shares)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += weights[i];
	if (sum)
		share_out(weights, n, sum, count, ret_shares);
	else if (n)
		memset(ret_shares, 0, n * sizeof(*ret_shares));
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
	if (sum / divisor > limit) {
		share_out(weights, n, sum, limit, ret_shares);
		return limit;
	}
	for (uint32_t i = 0; i < n; i++)
		ret_shares[i] = weights[i] / divisor;
	return (uint32_t)(sum / divisor);
}

/* A slot that an owner is to get: of the places that are free, one in [first, end). */
struct turn {
	uint32_t owner, share;
	uint32_t first, end;
};

/* By end; of those that end together, larger shares first, because they have less room. */
static int compare_turns(const void *a, const void *b)
{
	const struct turn *x = a, *y = b;

	if (x->end != y->end)
		return x->end < y->end ? -1 : 1;
	if (x->share != y->share)
		return x->share > y->share ? -1 : 1;
	if (x->owner != y->owner)
		return x->owner < y->owner ? -1 : 1;
	return x->first < y->first ? -1 : 1;
}

/* An owner's k-th of s slots belongs between k/s and (k+1)/s of the way. */
static struct turn *list_turns(const uint32_t *shares, uint32_t n, uint32_t total)
{
	struct turn *turns = xcalloc(total, sizeof(*turns));
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++) {
		for (uint64_t k = 0; k < shares[i]; k++) {
			uint32_t first = (uint32_t)(k * total / shares[i]);
			uint32_t end = (uint32_t)(((k + 1) * total + shares[i] - 1) / shares[i]);

			turns[count++] = (struct turn){i, shares[i], first, end};
		}
	}
	qsort(turns, total, sizeof(*turns), compare_turns);
	return turns;
}

/* The first free place at or after `from`. A free one leads to itself; the way is shortened for the next search. */
static uint32_t next_free(uint32_t *next, uint32_t from)
{
	uint32_t found = from;

	while (next[found] != found)
		found = next[found];
	while (from != found) {
		uint32_t step = next[from];

		next[from] = found;
		from = step;
	}
	return found;
}

/*
 * Gives the free slots of a table, which are `total`, to those whose shares of them are open, each owner's evenly
 * spread: a,b,a,c and not a,a,b,c. Taken by their ends, and each at the first free place, all turns find one in time,
 * so nobody waits more than twice as long as he would if all were exactly even.
 */
static void place_shares(const uint32_t *shares, uint32_t n, uint32_t total, uint32_t *owners)
{
	uint32_t *places = xcalloc(total, sizeof(*places)), *next = xcalloc(total + 1, sizeof(*next));
	struct turn *turns = list_turns(shares, n, total);

	for (uint32_t i = 0, at = 0; i < total; at++) {
		if (owners[at] == SLOT_FREE)
			places[i++] = at;
	}
	for (uint32_t i = 0; i <= total; i++)
		next[i] = i;
	for (uint32_t i = 0; i < total; i++) {
		uint32_t place = next_free(next, turns[i].first);

		owners[places[place]] = turns[i].owner;
		next[place] = place + 1;
	}
	free(turns);
	free(places);
	free(next);
}

static uint32_t count_shares(const uint32_t *shares, uint32_t n)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++)
		count += shares[i];
	return count;
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

void slots_update(const struct slots *previous, const uint32_t *shares, uint32_t n, struct slots *ret)
{
	uint32_t lost = count_lost(previous, shares, n), kept = previous->count - lost;
	uint32_t count = count_shares(shares, n), gained = count - kept;
	uint32_t *open_shares = xcalloc(n ? n : 1, sizeof(*open_shares));
	bool anew;

	if (n)
		memcpy(open_shares, shares, n * sizeof(*shares));
	if (lost == 0 && gained == 0) {
		copy_slots(previous, ret);
		free(open_shares);
		return;
	}
	*ret = new_window(previous, count);
	anew = has_multiple_shares(shares, n) && (count <= SMALL_TABLE || lost + gained > count / 2);
	if (!anew)
		keep_slots(previous, ret, open_shares);
	place_shares(open_shares, n, count_shares(open_shares, n), ret->owner + ret->before);
	fill_left_behind(previous, shares, ret);
	free(open_shares);
}

void slots_replace(const struct slots *previous, const uint32_t *owners, uint32_t count, const uint32_t *shares,
		   struct slots *ret)
{
	size_t size = count * sizeof(*owners);

	if (count == previous->count && (!count || memcmp(previous->owner + previous->before, owners, size) == 0)) {
		copy_slots(previous, ret);
		return;
	}
	*ret = new_window(previous, count);
	if (count)
		memcpy(ret->owner + ret->before, owners, size);
	fill_left_behind(previous, shares, ret);
}

void slots_clear(struct slots *slots)
{
	free(slots->owner);
	*slots = (struct slots){0};
}
