/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/changelog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/event.h"

/* Ids named in one line; the others are counted. */
#define IDS_PER_LINE 12

void changelog_add_sums(struct changelog_sums *sums, const struct changelog_sums *more)
{
	sums->changes += more->changes;
	sums->messages += more->messages;
	sums->lines += more->lines;
}

struct line {
	FILE *out;
	uint32_t ids, left_out;
	uint8_t family; /* of the link: it has no use for endpoints of the other one */
	bool adopted;
};

static void put_id(struct line *line, char sign, const struct endpoint *endpoint)
{
	if (endpoint->at.addr.family != line->family)
		return;
	if (line->ids++ < IDS_PER_LINE)
		fprintf(line->out, " %c%s", sign, endpoint->id);
	else
		line->left_out++;
}

/* What became of an endpoint by what the ambassador found out. */
static const char *health_of(const struct link_plan *plan, uint32_t index)
{
	enum verdict verdict = plan->appraisals ? plan->appraisals[index].verdict : VERDICT_NONE;

	switch (verdict) {
	case VERDICT_NONE:
	case VERDICT_UNKNOWN:
	case VERDICT_UP:
		return "up";
	case VERDICT_DOWN:
		return "down";
	case VERDICT_EJECTED:
		return "ejected";
	}
	return "up";
}

static void put_change(struct line *line, const struct link_plan *before, uint32_t i, const struct link_plan *after,
		       uint32_t j)
{
	const struct endpoint *old = &before->endpoints->items[i], *new = &after->endpoints->items[j];
	const char *health_was = health_of(before, i), *health_is = health_of(after, j);
	char was[IP_PORT_TEXT], is[IP_PORT_TEXT];
	bool moved = !ip_port_equal(&old->at, &new->at);
	bool reweighted = !line->adopted && old->weight != new->weight;
	bool turned = strcmp(health_was, health_is) != 0;
	bool shifted = !line->adopted && old->priority != new->priority;

	if (!moved && !reweighted && !shifted && !turned)
		return;
	if (line->ids++ >= IDS_PER_LINE) {
		line->left_out++;
		return;
	}
	fprintf(line->out, " %s", new->id);
	if (moved)
		fprintf(line->out, "(%s->%s)", ip_port_text(&old->at, was), ip_port_text(&new->at, is));
	if (reweighted)
		fprintf(line->out, "(weight %u->%u)", old->weight, new->weight);
	if (shifted)
		fprintf(line->out, "(priority %u->%u)", old->priority, new->priority);
	if (turned)
		fprintf(line->out, "(%s->%s)", health_was, health_is);
}

/* Both are ordered by id. */
static void put_endpoints(struct line *line, const struct link_plan *before, const struct link_plan *after)
{
	const struct endpoints *old = before ? before->endpoints : NULL, *new = after ? after->endpoints : NULL;
	uint32_t i = 0, j = 0, n_old = old ? old->count : 0, n_new = new ? new->count : 0;

	while (i < n_old || j < n_new) {
		int order = i == n_old ? 1 : j == n_new ? -1 : strcmp(old->items[i].id, new->items[j].id);

		if (order < 0)
			put_id(line, '-', &old->items[i]);
		else if (order > 0)
			put_id(line, '+', &new->items[j]);
		else
			put_change(line, before, i, after, j);
		i += order <= 0;
		j += order >= 0;
	}
	if (line->left_out)
		fprintf(line->out, " and %u more", line->left_out);
}

static void put_settings(struct line *line, const struct link_plan *old, const struct link_plan *new)
{
	if (old->balance != new->balance)
		fprintf(line->out, " balance %s->%s", balance_name(old->balance), balance_name(new->balance));
	if (old->hold && !new->hold && !new->slots.count)
		fprintf(line->out, " no endpoint came: connections are refused now");
	if (old->masquerade != new->masquerade)
		fprintf(line->out, " masquerade %s->%s", masquerade_name(old->masquerade),
			masquerade_name(new->masquerade));
}

#define STATE_TEXT 64
static const char *state_text(const struct link_plan *plan, char buffer[STATE_TEXT])
{
	snprintf(buffer, STATE_TEXT, "%u endpoint%s in %u slot%s", plan->endpoints->count,
		 plan->endpoints->count == 1 ? "" : "s", plan->slots.count, plan->slots.count == 1 ? "" : "s");
	return buffer;
}

/* Returns what changed, each piece with a space in front, to be freed; "" where nothing did. */
static char *describe(const struct changelog_entry *entry)
{
	const struct link_plan *any = entry->new ? entry->new : entry->old;
	char *text = NULL, listen[LISTEN_TEXT];
	size_t length;
	struct line line = {
		.out = open_memstream(&text, &length),
		.family = any->listen.at.addr.family,
		.adopted = entry->adopted,
	};

	if (!entry->old)
		fprintf(line.out, " new, %s", listen_text(&any->listen, listen));
	else if (!entry->new)
		fprintf(line.out, " gone, %s", listen_text(&any->listen, listen));
	put_endpoints(&line, entry->old, entry->new);
	if (entry->old && entry->new && !entry->adopted)
		put_settings(&line, entry->old, entry->new);
	fclose(line.out);
	return text;
}

enum log_level changelog_level(struct changelog_lines *lines, enum log_level level)
{
	if (lines->told < CHANGELOG_LINES) {
		lines->told++;
		return level;
	}
	lines->hidden++;
	return LOG_LEVEL_DEBUG;
}

void changelog_end_lines(struct changelog_lines *lines, const char *netns, const char *what)
{
	if (lines->hidden)
		log_warning("%s%sand %u more %s: -v has them", netns, *netns ? ": " : "", lines->hidden, what);
	*lines = (struct changelog_lines){0};
}

void changelog_link(const struct changelog_entry *entry, struct changelog_sums *sums)
{
	struct event event = {
		.level = sums->lines < CHANGELOG_LINES ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG,
		.causes = entry->causes,
		.netns = entry->netns,
		.link = entry->new ? entry->new->name : entry->old->name,
		.revision = entry->revision,
		.messages = sums->messages,
	};
	char *text, state[STATE_TEXT];

	if (!event_wanted(event.level))
		return;
	text = describe(entry);
	if (*text) {
		event.text = text + 1;
		event.state = entry->new ? state_text(entry->new, state) : NULL;
		if (entry->received && sums->acknowledged > entry->received)
			event.took_ns = sums->acknowledged - entry->received;
		event_tell(&event);
		sums->lines++;
	}
	free(text);
}

void changelog_ready(const char *netns, uint32_t links, uint32_t endpoints, const struct changelog_sums *sums)
{
	event_say(LOG_LEVEL_NOTICE, sums->adopted ? CAUSE_ADOPTION : CAUSE_CONFIGURATION, netns, NULL,
		  "ready: %u link%s with %u endpoint%s; %s, %llu objects changed by %llu messages in %.1f ms", links,
		  links == 1 ? "" : "s", endpoints, endpoints == 1 ? "" : "s",
		  sums->adopted ? "took over the table that was there" : "made the table",
		  (unsigned long long)sums->changes, (unsigned long long)sums->messages,
		  (double)(uv_hrtime() - sums->started) / 1e6);
}

void changelog_print_changes(const char *netns, const struct changes *changes)
{
	char text[CHANGE_TEXT];

	for (size_t i = 0; i < changes->count; i++)
		printf("%s%s%s\n", netns, *netns ? ": " : "", change_text(&changes->items[i], text));
}
