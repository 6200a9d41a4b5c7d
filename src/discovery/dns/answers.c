/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/dns/answers.h"

#include <ares.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_SIZE 12
#define FLAG_RESPONSE 0x8000
#define FLAG_TRUNCATED 0x0200
#define CLASS_IN 1
#define SRV_FIXED_SIZE 6 /* of its data, before the target */
#define TTL_MAX INT32_MAX

struct reader {
	const uint8_t *bytes;
	size_t length, at;
	struct dns_answer *answer;
};

/* A record, its data still as bytes. */
struct rr {
	const char *owner;
	uint16_t type, class, size;
	uint32_t ttl;
	size_t data; /* where it is in the message */
};

static uint16_t get16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static size_t left(const struct reader *reader)
{
	return reader->length - reader->at;
}

static bool read16(struct reader *reader, uint16_t *ret)
{
	if (left(reader) < 2)
		return false;
	*ret = get16(reader->bytes + reader->at);
	reader->at += 2;
	return true;
}

/* Expands a name, which may be compressed; c-ares sees to it that this ends, and within the message. */
static bool read_name(struct reader *reader, const char **ret)
{
	char *name, *copy;
	long size;

	if (!left(reader) || ares_expand_name(reader->bytes + reader->at, reader->bytes, (int)reader->length, &name,
					      &size) != ARES_SUCCESS)
		return false;
	copy = arena_strdup(&reader->answer->arena, name);
	ares_free_string(name);
	for (char *c = copy; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	reader->at += (size_t)size;
	*ret = copy;
	return true;
}

static bool read_rr(struct reader *reader, struct rr *ret)
{
	uint16_t high, low;

	if (!read_name(reader, &ret->owner) || !read16(reader, &ret->type) || !read16(reader, &ret->class) ||
	    !read16(reader, &high) || !read16(reader, &low) || !read16(reader, &ret->size) || left(reader) < ret->size)
		return false;
	ret->ttl = (uint32_t)high << 16 | low;
	if (ret->ttl > TTL_MAX) /* RFC 2181 section 8 */
		ret->ttl = 0;
	ret->data = reader->at;
	reader->at += ret->size;
	return true;
}

static bool take_srv(const struct reader *reader, const struct rr *rr)
{
	struct reader data = {.bytes = reader->bytes, .length = rr->data + rr->size, .answer = reader->answer};
	struct dns_answer *answer = reader->answer;
	struct dns_srv srv;

	if (rr->size <= SRV_FIXED_SIZE)
		return false;
	srv.priority = get16(data.bytes + rr->data);
	srv.weight = get16(data.bytes + rr->data + 2);
	srv.port = get16(data.bytes + rr->data + 4);
	data.at = rr->data + SRV_FIXED_SIZE;
	if (!read_name(&data, &srv.target))
		return false;
	ARRAY_GROW(answer->srvs, answer->n_srvs, answer->srvs_capacity);
	answer->srvs[answer->n_srvs++] = srv;
	return true;
}

static bool take_address(const struct reader *reader, const struct rr *rr, bool additional)
{
	struct dns_address address = {.owner = rr->owner, .ttl = rr->ttl};
	struct dns_answer *answer = reader->answer;

	address.addr.family = rr->type == DNS_TYPE_A ? AF_INET : AF_INET6;
	if (rr->size != ip_addr_size(&address.addr))
		return false;
	memcpy(address.addr.bytes, reader->bytes + rr->data, rr->size);
	if (additional) {
		ARRAY_GROW(answer->additional, answer->n_additional, answer->additional_capacity);
		answer->additional[answer->n_additional++] = address;
	} else {
		ARRAY_GROW(answer->addresses, answer->n_addresses, answer->addresses_capacity);
		answer->addresses[answer->n_addresses++] = address;
	}
	return true;
}

static bool read_record(struct reader *reader, bool additional)
{
	struct rr rr;

	if (!read_rr(reader, &rr))
		return false;
	if (rr.class != CLASS_IN)
		return true;
	if (!additional && rr.ttl < reader->answer->ttl)
		reader->answer->ttl = rr.ttl;
	if (rr.type == DNS_TYPE_SRV && !additional)
		return take_srv(reader, &rr);
	if (rr.type == DNS_TYPE_A || rr.type == DNS_TYPE_AAAA)
		return take_address(reader, &rr, additional);
	return true;
}

static bool skip_question(struct reader *reader)
{
	const char *name;
	uint16_t number;

	return read_name(reader, &name) && read16(reader, &number) && read16(reader, &number);
}

static bool skip_record(struct reader *reader)
{
	struct rr rr;

	return read_rr(reader, &rr);
}

static bool read_sections(struct reader *reader)
{
	uint16_t questions = get16(reader->bytes + 4), answers = get16(reader->bytes + 6);
	uint16_t authorities = get16(reader->bytes + 8), additional = get16(reader->bytes + 10);
	bool good = true;

	while (good && questions--)
		good = skip_question(reader);
	while (good && answers--)
		good = read_record(reader, false);
	while (good && authorities--)
		good = skip_record(reader);
	while (good && additional--)
		good = read_record(reader, true);
	return good;
}

int dns_answer_parse(const uint8_t *bytes, size_t length, struct dns_answer *ret, struct error *err)
{
	struct reader reader = {.bytes = bytes, .length = length, .at = HEADER_SIZE, .answer = ret};

	*ret = (struct dns_answer){.ttl = UINT32_MAX};
	if (length < HEADER_SIZE || length > UINT16_MAX || !(get16(bytes + 2) & FLAG_RESPONSE))
		return fail(err, -EBADMSG, "the answer is not a message of DNS");
	if (get16(bytes + 2) & FLAG_TRUNCATED)
		return fail(err, -EBADMSG, "the answer is truncated, over TCP, too");
	if (!read_sections(&reader))
		return fail(err, -EBADMSG, "the answer is malformed behind byte %zu of %zu", reader.at, length);
	return 0;
}

void dns_answer_clear(struct dns_answer *answer)
{
	free(answer->srvs);
	free(answer->addresses);
	free(answer->additional);
	arena_free(&answer->arena);
	*answer = (struct dns_answer){0};
}
