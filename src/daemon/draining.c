/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/draining.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void drop(struct leavers *leavers, size_t index)
{
	free(leavers->items[index].id);
	leavers->count--;
	memmove(&leavers->items[index], &leavers->items[index + 1], (leavers->count - index) * sizeof(*leavers->items));
	if (leavers->count)
		return;
	free(leavers->items);
	*leavers = (struct leavers){0};
}

void leavers_clear(struct leavers *leavers)
{
	while (leavers->count)
		drop(leavers, leavers->count - 1);
}

/* The count: there is none. */
static size_t find(const struct leavers *leavers, const struct ip_port *at)
{
	size_t i = 0;

	while (i < leavers->count && !ip_port_equal(&leavers->items[i].at, at))
		i++;
	return i;
}

const struct leaver *leavers_find(const struct leavers *leavers, const struct ip_port *at)
{
	size_t index = find(leavers, at);

	return index < leavers->count ? &leavers->items[index] : NULL;
}

const struct leaver *leavers_add(struct leavers *leavers, const struct ip_port *at, const char *id, uint64_t now)
{
	if (leavers->count == LEAVERS_MAX)
		drop(leavers, 0);
	ARRAY_GROW(leavers->items, leavers->count, leavers->capacity);
	leavers->items[leavers->count] = (struct leaver){.at = *at, .id = xstrdup(id), .since = now};
	return &leavers->items[leavers->count++];
}

void leavers_note(struct leavers *leavers, const struct link_plan *old, const struct link_plan *new, uint64_t now)
{
	for (size_t i = leavers->count; i-- > 0;) {
		if (!plan_drains(new, &leavers->items[i].at))
			drop(leavers, i);
	}
	for (uint32_t i = 0; i < old->weighed->count; i++) {
		const struct endpoint *endpoint = &old->weighed->items[i];

		if (endpoint->weight && plan_drains(new, &endpoint->at) &&
		    find(leavers, &endpoint->at) == leavers->count)
			leavers_add(leavers, &endpoint->at, endpoint->id, now);
	}
}

void leavers_drop(struct leavers *leavers, uint64_t now, uint64_t time)
{
	while (leavers->count && now - leavers->items[0].since >= time)
		drop(leavers, 0);
}
