/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "balance/maglev.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "balance/slots.h"
#include "base/mem.h"

static const uint32_t sizes[] = {512, 2048, 8192, 32768, 65536};

/* Entries for each endpoint: of a new table, and of one that is good enough to be kept. */
#define ENTRIES_WANTED 200
#define ENTRIES_ENOUGH 50

static bool is_size(uint32_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		if (sizes[i] == size)
			return true;
	}
	return false;
}

uint32_t maglev_size(uint32_t n, uint32_t current)
{
	size_t i = 0;

	if (!n)
		return 0;
	while (i < ARRAY_SIZE(sizes) - 1 && sizes[i] / ENTRIES_WANTED < n)
		i++;
	if (is_size(current) && (current >= sizes[i] || current / ENTRIES_ENOUGH >= n))
		return current;
	return sizes[i];
}

#define MIXES 3

/* What an endpoint's turns are made of. */
struct candidate {
	uint32_t owner;
	uint32_t weight;
	uint32_t add[MIXES], multiply[MIXES]; /* its permutation */
	uint32_t next;			      /* the place in its permutation that comes next */
	uint64_t due;			      /* takes a turn in the round whose number times its weight reaches this */
};

/*
 * The finalizer of splitmix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014). It
 * decides where clients go, and must be the same in all versions and on all machines: hash_bytes() need not be.
 */
static uint64_t scramble(uint64_t value)
{
	value += UINT64_C(0x9e3779b97f4a7c15);
	value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
	return value ^ value >> 31;
}

static uint64_t hash_place(const struct ip_port *at)
{
	uint64_t hash = scramble(at->port);

	for (size_t i = 0; i < sizeof(at->addr.bytes); i++)
		hash = scramble(hash ^ at->addr.bytes[i]);
	return hash;
}

static void choose_permutation(const struct ip_port *at, struct candidate *candidate)
{
	uint64_t hash = hash_place(at);

	for (int i = 0; i < MIXES; i++) {
		hash = scramble(hash);
		candidate->add[i] = (uint32_t)(hash >> 32);
		candidate->multiply[i] = (uint32_t)hash | 1;
	}
}

/*
 * The entry at a place of the permutation: each line is a bijection of the numbers below size, a power of two. The
 * paper goes on by a fixed step of each endpoint, in a table whose size is a prime; but in one set of endpoints of two
 * hundred, two such steps are so much alike that 4 to 15 % of all clients move besides when one of the two goes.
 */
static uint32_t permute(const struct candidate *candidate, uint32_t place, uint32_t size)
{
	for (int i = 0; i < MIXES; i++) {
		place = (place + candidate->add[i]) * candidate->multiply[i] & (size - 1);
		place ^= place >> 5;
	}
	return place;
}

/* By address, so that the order of turns is the same for everybody, too. */
static struct candidate *list_candidates(const struct endpoints *endpoints, const uint32_t *weights,
					 uint32_t *ret_count, uint32_t *ret_heaviest)
{
	struct candidate *candidates = xcalloc(endpoints->count + 1, sizeof(*candidates));
	uint32_t count = 0, heaviest = 0;

	for (uint32_t i = 0; i < endpoints->count; i++) {
		uint32_t owner = endpoints->by_address[i];

		if (!weights[owner])
			continue;
		candidates[count] = (struct candidate){.owner = owner, .weight = weights[owner]};
		choose_permutation(&endpoints->items[owner].at, &candidates[count++]);
		if (weights[owner] > heaviest)
			heaviest = weights[owner];
	}
	*ret_count = count;
	*ret_heaviest = heaviest;
	return candidates;
}

/* As many steps in all as there are entries for each candidate: a table's cost is bounded by size times count. */
static void take_turn(struct candidate *candidate, uint32_t size, uint32_t *owners)
{
	uint32_t entry;

	do
		entry = permute(candidate, candidate->next++, size);
	while (owners[entry] != SLOT_FREE);
	owners[entry] = candidate->owner;
}

/* The heaviest take a turn in every round; the others whenever their weight has added up to that of the heaviest. */
void maglev_fill(const struct endpoints *endpoints, const uint32_t *weights, uint32_t size, uint32_t *ret_owners)
{
	uint32_t count, heaviest, taken = 0;
	struct candidate *candidates = list_candidates(endpoints, weights, &count, &heaviest);

	memset(ret_owners, 0xff, size * sizeof(*ret_owners)); /* SLOT_FREE */
	for (uint64_t round = 1; count && taken < size; round++) {
		for (uint32_t i = 0; i < count && taken < size; i++) {
			if (round * candidates[i].weight < candidates[i].due)
				continue;
			candidates[i].due += heaviest;
			take_turn(&candidates[i], size, ret_owners);
			taken++;
		}
	}
	free(candidates);
}
