/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel counts of an ambassador's endpoints besides their connections: live flows, and refusals that were
 * retried. A survey is of one moment, and knows endpoints by their addresses: links may come and go meanwhile.
 *
 *   survey_begin() -> survey_list_flows() -> survey_find(), survey_list_departed() -> survey_free()
 *
 * A walk through conntrack takes milliseconds on an idle machine and a second where there are a million flows; so
 * survey_list_flows() may be called in another thread. Nothing else may.
 */
#ifndef NUNCIO_DAEMON_SURVEY_H
#define NUNCIO_DAEMON_SURVEY_H

#include "daemon/ambassador-state.h"

struct survey;

/* Reads the refusals, and opens what it takes to list flows. NULL where the namespace is not open. */
struct survey *survey_begin(struct ambassador *ambassador);
void survey_list_flows(struct survey *survey);
void survey_free(struct survey *survey); /* NULL is fine */

/* Could conntrack tell? And does it count bytes? */
bool survey_has_live(const struct survey *survey);
bool survey_has_bytes(const struct survey *survey);

/* Fills in what is known of an endpoint of the link that listens there. */
void survey_find(const struct survey *survey, const struct listen *listen, const struct ip_port *at,
		 struct endpoint_detail *ret);

/* Endpoints with live connections that the link has no more; to be freed, with texts in the arena. */
struct departed *survey_list_departed(const struct survey *survey, const struct link *link, struct arena *texts,
				      size_t *ret_count);

#endif
