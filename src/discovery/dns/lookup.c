/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/dns/lookup.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "discovery/dns/answers.h"
#include "discovery/record.h"

/* Where something could not be had, it is asked for again after so many seconds. */
#define AGAIN_TTL 2

static const uint16_t address_types[] = {DNS_TYPE_A, DNS_TYPE_AAAA};

/* A question for the addresses of a name, of one family, and what came of it. */
struct question {
	struct dns_lookup *lookup;
	const char *name;
	uint16_t type;
	struct dns_query *query; /* NULL: it is answered */
	const char *fault;	 /* NULL: with an answer, perhaps without addresses */
	struct dns_answer answer;
	struct question *next;
};

struct dns_lookup {
	struct dns_client *client;
	const struct dns_name *name;
	const struct dns_set *known;
	dns_found_fn found;
	void *context;

	struct dns_query *query;  /* for the SRV records; NULL: it is answered, or was not needed */
	struct dns_answer answer; /* to it */
	struct question *questions;
	size_t pending;
	struct arena arena;

	/* In the end: */
	struct dns_record *records;
	size_t count, capacity;
	size_t fresh;	   /* records that were not just known before */
	const char *fault; /* of the first question that failed */
	uint32_t ttl;
	struct records reports;
};

static void free_lookup(struct dns_lookup *lookup)
{
	for (struct question *question = lookup->questions; question; question = question->next) {
		dns_query_cancel(question->query);
		dns_answer_clear(&question->answer);
	}
	dns_query_cancel(lookup->query);
	dns_answer_clear(&lookup->answer);
	records_clear(&lookup->reports);
	arena_free(&lookup->arena);
	free(lookup->records);
	free(lookup);
}

/* What is found in the end */

static void note_ttl(struct dns_lookup *lookup, uint32_t ttl)
{
	if (ttl < lookup->ttl)
		lookup->ttl = ttl;
}

static void add_record(struct dns_lookup *lookup, const struct dns_srv *srv, const struct ip_addr *addr)
{
	ARRAY_GROW(lookup->records, lookup->count, lookup->capacity);
	lookup->records[lookup->count++] = (struct dns_record){
		.at = {.addr = *addr, .port = srv->port},
		.priority = srv->priority,
		.weight = srv->weight,
		.target = srv->target,
	};
}

static void add_fresh(struct dns_lookup *lookup, const struct dns_srv *srv, const struct dns_address *address)
{
	add_record(lookup, srv, &address->addr);
	note_ttl(lookup, address->ttl);
	lookup->fresh++;
}

/* Adds the addresses of a target that came with the SRV records. */
static void add_additional(struct dns_lookup *lookup, const struct dns_srv *srv)
{
	const struct dns_answer *answer = &lookup->answer;

	for (size_t i = 0; i < answer->n_additional; i++)
		if (strcmp(answer->additional[i].owner, srv->target) == 0)
			add_fresh(lookup, srv, &answer->additional[i]);
}

static void add_known(struct dns_lookup *lookup, const struct dns_srv *srv, uint8_t family)
{
	const struct dns_set *known = lookup->known;

	for (size_t i = 0; i < known->count; i++) {
		const struct dns_member *member = &known->members[i];

		if (!member->missing_since && member->at.addr.family == family && member->at.port == srv->port &&
		    strcmp(member->target, srv->target) == 0)
			add_record(lookup, srv, &member->at.addr);
	}
}

/* Adds what was answered to a question of our own. */
static void add_answered(struct dns_lookup *lookup, const struct dns_srv *srv, const struct question *question)
{
	const struct dns_answer *answer = &question->answer;

	if (question->fault) {
		add_known(lookup, srv, question->type == DNS_TYPE_A ? AF_INET : AF_INET6);
		note_ttl(lookup, AGAIN_TTL);
		if (!lookup->fault)
			lookup->fault = question->fault;
		return;
	}
	for (size_t i = 0; i < answer->n_addresses; i++)
		add_fresh(lookup, srv, &answer->addresses[i]);
	note_ttl(lookup, answer->ttl); /* aliases have one, too */
}

static struct question *find_question(const struct dns_lookup *lookup, const char *name, uint16_t type)
{
	struct question *question = lookup->questions;

	while (question && (question->type != type || strcmp(question->name, name) != 0))
		question = question->next;
	return question;
}

static void add_target(struct dns_lookup *lookup, const struct dns_srv *srv)
{
	size_t before = lookup->count;
	char target[RECORD_QUOTE_SIZE];
	const char *fault = NULL;

	add_additional(lookup, srv);
	if (lookup->count > before)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(address_types); i++) {
		const struct question *question = find_question(lookup, srv->target, address_types[i]);

		add_answered(lookup, srv, question);
		if (question->fault)
			fault = question->fault;
	}
	if (lookup->count == before)
		records_skip(&lookup->reports, "target %s: %s", record_quote(srv->target, target),
			     fault ? fault : "it has no address");
}

static void end(struct dns_lookup *lookup, enum dns_outcome outcome, const char *text)
{
	struct dns_found found = {
		.outcome = outcome,
		.text = text,
		.records = lookup->records,
		.count = lookup->count,
		.reports = lookup->reports,
		.ttl = lookup->ttl,
	};

	lookup->reports = (struct records){0};
	lookup->found(lookup->context, &found);
	free_lookup(lookup);
}

/* Everything is answered. */
static void conclude(struct dns_lookup *lookup)
{
	size_t targets = 0;

	note_ttl(lookup, lookup->answer.ttl);
	for (size_t i = 0; i < lookup->answer.n_srvs; i++) {
		if (!*lookup->answer.srvs[i].target)
			continue;
		targets++;
		add_target(lookup, &lookup->answer.srvs[i]);
	}
	if (!lookup->fresh && lookup->fault)
		end(lookup, DNS_FAILED, lookup->fault);
	else if (!targets || (!lookup->fresh && lookup->name->port))
		end(lookup, DNS_NONE, NULL);
	else
		end(lookup, DNS_GOOD, NULL);
}

/* Questions */

static void on_addresses(void *context, const struct dns_reply *reply)
{
	struct question *question = context;
	struct dns_lookup *lookup = question->lookup;
	struct error err;

	question->query = NULL;
	if (reply->outcome == DNS_FAILED)
		question->fault = arena_strdup(&lookup->arena, reply->text);
	else if (reply->outcome == DNS_GOOD &&
		 dns_answer_parse(reply->bytes, reply->length, &question->answer, &err) < 0)
		question->fault = arena_strdup(&lookup->arena, err.text);
	if (--lookup->pending == 0)
		conclude(lookup);
}

static void ask_addresses(struct dns_lookup *lookup, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(address_types); i++) {
		struct question *question = arena_alloc(&lookup->arena, sizeof(*question));

		*question = (struct question){
			.lookup = lookup,
			.name = name,
			.type = address_types[i],
			.answer.ttl = UINT32_MAX,
			.next = lookup->questions,
		};
		question->query = dns_client_ask(lookup->client, name, question->type, on_addresses, question);
		lookup->questions = question;
		lookup->pending++;
	}
}

static bool is_additional(const struct dns_answer *answer, const char *name)
{
	for (size_t i = 0; i < answer->n_additional; i++)
		if (strcmp(answer->additional[i].owner, name) == 0)
			return true;
	return false;
}

static void on_srvs(void *context, const struct dns_reply *reply)
{
	struct dns_lookup *lookup = context;
	struct error err = {""};

	lookup->query = NULL;
	if (reply->outcome != DNS_GOOD) {
		end(lookup, reply->outcome, reply->text);
		return;
	}
	if (dns_answer_parse(reply->bytes, reply->length, &lookup->answer, &err) < 0) {
		end(lookup, DNS_FAILED, err.text);
		return;
	}
	for (size_t i = 0; i < lookup->answer.n_srvs; i++) {
		const char *target = lookup->answer.srvs[i].target;

		if (*target && !is_additional(&lookup->answer, target) &&
		    !find_question(lookup, target, address_types[0]))
			ask_addresses(lookup, target);
	}
	if (!lookup->pending)
		conclude(lookup);
}

/* NAME:PORT is like one SRV record with that target and port, that needs not be asked for. */
static void ask_name(struct dns_lookup *lookup)
{
	struct dns_answer *answer = &lookup->answer;

	ARRAY_GROW(answer->srvs, answer->n_srvs, answer->srvs_capacity);
	answer->srvs[answer->n_srvs++] =
		(struct dns_srv){.weight = 1, .port = lookup->name->port, .target = lookup->name->name};
	answer->ttl = UINT32_MAX;
	ask_addresses(lookup, lookup->name->name);
}

struct dns_lookup *dns_lookup_begin(struct dns_client *client, const struct dns_name *name, const struct dns_set *known,
				    dns_found_fn found, void *context)
{
	struct dns_lookup *lookup = xcalloc(1, sizeof(*lookup));

	*lookup = (struct dns_lookup){
		.client = client,
		.name = name,
		.known = known,
		.found = found,
		.context = context,
		.ttl = UINT32_MAX,
	};
	if (name->port)
		ask_name(lookup);
	else
		lookup->query = dns_client_ask(client, name->name, DNS_TYPE_SRV, on_srvs, lookup);
	return lookup;
}

void dns_lookup_cancel(struct dns_lookup *lookup)
{
	if (lookup)
		free_lookup(lookup);
}
