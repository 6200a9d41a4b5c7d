/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Records: what registries say about one endpoint, as bytes, turned into endpoints. Pure; every source uses it.
 *
 * A record is a JSON object
 *	{"host": "10.0.0.5", "port": 5432, "weight": 1, "priority": 0, "id": "db-1", "zone": "eu-1"}
 * where only host (an IP address) and port are needed, numbers may be strings, null is as good as absent and other
 * keys are ignored; or a JSON string "10.0.0.5:5432"; or a line
 *	10.0.0.5:5432 weight=1 priority=0 id=db-1 zone=eu-1	# comment
 *
 * A record that cannot be used is left out and reported; the others stay. But a list of which nothing can be used is
 * an error and not an empty list: "no endpoints" has to be said, it does not come from a slip.
 */
#ifndef NUNCIO_DISCOVERY_RECORDS_H
#define NUNCIO_DISCOVERY_RECORDS_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "catalog/endpoints.h"

/* So many of the reports of one list are kept as text; the others are counted. */
#define RECORDS_REPORTS 10

/* What became of a list of records. Plain data; ended by records_clear(). */
struct records {
	const struct endpoints *endpoints; /* one reference; NULL = the list cannot be used, error says why */
	const char *error;		   /* place, value and remedy; NULL when there are endpoints */
	uint32_t skipped;		   /* records left out */
	const char **reports;		   /* the first RECORDS_REPORTS of them: place, value and what is accepted */
	uint64_t digest;		   /* of all reports: the same ones give the same number, none gives 0 */
	struct arena arena;		   /* holds the sentences */
};

/*
 * Reads the contents of one service's file: a JSON array of records, or lines. The place begins every sentence
 * ("services/web: web"). An empty text is an error: the remedy tells how to say that there are no endpoints.
 */
void records_parse(const char *place, const char *text, size_t length, struct records *ret);

/* The same for an array that is parsed already. Another type of value is an error. */
void records_from_json(const char *place, const cJSON *array, struct records *ret);

/* A record that is left out; printf-like, the whole sentence. */
void records_skip(struct records *records, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A list that cannot be used at all; printf-like, the whole sentence. */
void records_refuse(struct records *ret, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Gives back what it holds; a zeroed one is fine, and it is zeroed again afterwards. */
void records_clear(struct records *records);

#endif
