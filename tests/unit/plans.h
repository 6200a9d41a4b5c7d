/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snapshots and plans from words, for the tests of what is made of them. */
#ifndef NUNCIO_TESTS_PLANS_H
#define NUNCIO_TESTS_PLANS_H

#include "unit.h"

#include "balance/plan.h"
#include "base/mem.h"

static inline struct ip_port at(const char *text)
{
	struct ip_port parsed;

	assert_int_equal(ip_port_parse(text, &parsed), 0);
	return parsed;
}

/* Endpoints as "ID=ADDR:PORT", then perhaps "*WEIGHT", then perhaps "!PRIORITY", separated by spaces. */
static inline const struct endpoints *endpoints_of(const char *text)
{
	struct endpoints_builder *builder = endpoints_builder_new();
	char *words = xstrdup(text), *rest = words, *word;
	const char *other;

	while ((word = strsep(&rest, " "))) {
		struct endpoint endpoint = {.weight = 1};
		char *part = word;

		if (!*word)
			continue;
		endpoint.id = strsep(&part, "=");
		if (strchr(part, '!'))
			endpoint.priority = (uint16_t)strtoul(strchr(part, '!') + 1, NULL, 10);
		if (strchr(part, '*'))
			endpoint.weight = (uint16_t)strtoul(strchr(part, '*') + 1, NULL, 10);
		part[strcspn(part, "*!")] = '\0';
		endpoint.at = at(part);
		assert_int_equal(endpoints_builder_add(builder, &endpoint, &other), 0);
	}
	free(words);
	return endpoints_builder_finish(builder);
}

/* Its strings are borrowed. */
static inline struct link_conf conf_of(const char *listen, const char *name)
{
	struct link_conf conf = {.name = (char *)name, .retry_s = RETRY_DEFAULT_S};

	assert_int_equal(listen_parse(listen, &conf.listen, NULL), 0);
	return conf;
}

/* The next plan of a link when its service has these endpoints. */
static inline struct link_plan plan_after(const struct link_plan *previous, const struct link_conf *conf,
					  const char *endpoints)
{
	const struct endpoints *snapshot = endpoints_of(endpoints);
	struct link_plan plan;

	plan_next(previous, conf, snapshot, NULL, previous ? previous->shard : 0, false, &plan);
	endpoints_unref(snapshot);
	return plan;
}

/* And when it keeps those that it has, and operators gave these weights by hand. */
static inline struct link_plan plan_by_hand(const struct link_plan *previous, const struct link_conf *conf,
					    const char *weighed)
{
	struct link_plan plan = plan_after(previous, conf, weighed);

	endpoints_unref(plan.endpoints);
	plan.endpoints = endpoints_ref(previous->endpoints);
	return plan;
}

#endif
