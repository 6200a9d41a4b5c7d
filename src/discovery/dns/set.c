/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/dns/set.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "discovery/record.h"

/* So much of a priority's weight, one part of it, is at most what a record of weight 0 gets. */
#define ZERO_SHARE 100

static int compare_records(const void *a, const void *b)
{
	const struct dns_record *left = a, *right = b;
	int order = ip_port_compare(&left->at, &right->at);

	if (!order)
		order = (left->priority > right->priority) - (left->priority < right->priority);
	if (!order)
		order = (left->weight < right->weight) - (left->weight > right->weight);
	return order ? order : strcmp(left->target, right->target);
}

static bool is_usable(const struct dns_record *record, const struct dns_record *before, struct records *ret)
{
	char at[IP_PORT_TEXT], addr[IP_ADDR_TEXT], target[RECORD_QUOTE_SIZE], other[RECORD_QUOTE_SIZE];

	record_quote(record->target, target);
	if (!record->at.port)
		records_skip(ret, "target %s: port 0: 1-65535 is accepted", target);
	else if (!ip_addr_is_unicast(&record->at.addr))
		records_skip(ret, "target %s: address %s: nothing can be connected to it", target,
			     ip_addr_text(&record->at.addr, addr));
	else if (before && ip_port_equal(&before->at, &record->at))
		records_skip(ret, "target %s: %s is there already, as target %s", target, ip_port_text(&record->at, at),
			     record_quote(before->target, other));
	else
		return true;
	return false;
}

/* Orders them and leaves out what cannot be used. Returns how many are left. */
static size_t choose(struct dns_record *records, size_t count, struct records *ret)
{
	size_t used = 0;

	if (count)
		qsort(records, count, sizeof(*records), compare_records);
	for (size_t i = 0; i < count; i++)
		if (is_usable(&records[i], used ? &records[used - 1] : NULL, ret))
			records[used++] = records[i];
	return used;
}

/*
 * What an endpoint's weight is for a record's. Where all of its priority are 0, they share evenly. Where only some are,
 * they get 1 and the others are multiplied until that is little.
 */
static uint16_t endpoint_weight(const struct dns_record *record, const struct dns_record *records, size_t count)
{
	uint64_t sum = 0;
	bool zeros = false;

	for (size_t i = 0; i < count; i++)
		if (records[i].priority == record->priority) {
			sum += records[i].weight;
			zeros = zeros || !records[i].weight;
		}
	if (!record->weight)
		return 1;
	if (!zeros || sum >= ZERO_SHARE)
		return record->weight;
	return (uint16_t)(record->weight * ((ZERO_SHARE + sum - 1) / sum));
}

static struct dns_member to_member(const struct dns_record *record, const struct dns_record *records, size_t count)
{
	return (struct dns_member){
		.at = record->at,
		.priority = record->priority,
		.weight = endpoint_weight(record, records, count),
		.target = xstrdup(record->target),
	};
}

/* One of before that is not in the answer: stays it? */
static bool stays(struct dns_member *member, uint64_t now)
{
	if (!member->missing_since)
		member->missing_since = now;
	return now - member->missing_since < DNS_HOLD_MS;
}

/* Both are ordered by address and port. */
static void merge(struct dns_set *set, const struct dns_record *records, size_t count, uint64_t now)
{
	struct dns_set next = {.members = xcalloc(set->count + count + 1, sizeof(*next.members))};
	size_t before = 0, i = 0;

	while (before < set->count || i < count) {
		struct dns_member *member = before < set->count ? &set->members[before] : NULL;
		int order = !member ? 1 : i == count ? -1 : ip_port_compare(&member->at, &records[i].at);

		if (order < 0 && stays(member, now)) {
			next.members[next.count++] = *member;
			member->target = NULL;
		}
		if (order >= 0)
			next.members[next.count++] = to_member(&records[i++], records, count);
		before += order <= 0;
	}
	dns_set_clear(set);
	*set = next;
}

static const struct endpoints *snapshot(const struct dns_set *set)
{
	struct endpoints_builder *builder = endpoints_builder_new();
	char id[IP_PORT_TEXT];
	const char *other;

	for (size_t i = 0; i < set->count; i++) {
		const struct dns_member *member = &set->members[i];
		struct endpoint endpoint = {
			.id = ip_port_text(&member->at, id),
			.at = member->at,
			.weight = member->weight,
			.priority = member->priority,
		};

		endpoints_builder_add(builder, &endpoint, &other);
	}
	return endpoints_builder_finish(builder);
}

void dns_set_update(struct dns_set *set, struct dns_record *records, size_t count, uint64_t now, struct records *ret)
{
	size_t used = choose(records, count, ret);

	if (!used && ret->skipped) {
		records_refuse(ret, "%s; no record of %u can be used", ret->reports[0], ret->skipped);
		return;
	}
	merge(set, records, used, now);
	endpoints_unref(ret->endpoints);
	ret->endpoints = snapshot(set);
}

uint64_t dns_set_due(const struct dns_set *set, uint64_t now)
{
	uint64_t due = UINT64_MAX;

	for (size_t i = 0; i < set->count; i++) {
		uint64_t end = set->members[i].missing_since + DNS_HOLD_MS;

		if (set->members[i].missing_since && due > (end > now ? end - now : 0))
			due = end > now ? end - now : 0;
	}
	return due;
}

void dns_set_clear(struct dns_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		free(set->members[i].target);
	free(set->members);
	*set = (struct dns_set){0};
}
