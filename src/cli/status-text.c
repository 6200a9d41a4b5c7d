/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/status-text.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/answer.h"
#include "cli/terminal.h"

#define INDENT 4
#define INDENT_MORE 6

/* A number, or "-" where it is not known. */
#define COUNT_TEXT 32

static const cJSON *list_of(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

static void put_coloured(const struct status_view *view, enum colour colour, const char *text, int width)
{
	if (!view->colour)
		colour = COLOUR_PLAIN;
	fprintf(view->out, "%s%-*s%s", colour_begin(colour), width, text, colour_end(colour));
}

/* In lines of its own, broken between words; without the last one's end. */
static void put_wrapped(const struct status_view *view, const char *text)
{
	int room = view->columns > 2 * INDENT_MORE ? view->columns - INDENT_MORE : INDENT_MORE;
	const char *separator = "";

	while (*text) {
		int length = (int)strlen(text);

		if (length > room) {
			length = room;
			while (length > room / 2 && text[length] != ' ')
				length--;
		}
		fprintf(view->out, "%s%*s%.*s", separator, INDENT_MORE, "", length, text);
		separator = "\n";
		text += length;
		text += strspn(text, " ");
	}
}

/* Behind what already takes `used` columns of the line. */
static void put_reason(const struct status_view *view, int used, const char *text)
{
	int room = view->columns - used - 2;

	if (!*text)
		return;
	if (!view->columns || (int)strlen(text) <= room) {
		fprintf(view->out, "  %s", text);
	} else if (!view->cut) {
		fputc('\n', view->out);
		put_wrapped(view, text);
	} else if (room > 3) {
		fprintf(view->out, "  %.*s...", room - 3, text);
	}
}

static void put_line(const struct status_view *view, const char *text)
{
	if (view->columns && (int)strlen(text) > view->columns - INDENT && !view->cut)
		put_wrapped(view, text);
	else
		fprintf(view->out, "%*s%s", INDENT, "", text);
	fputc('\n', view->out);
}

/* Numbers */

static const char *count_of(const cJSON *object, const char *key, char buffer[COUNT_TEXT])
{
	const cJSON *item = list_of(object, key);

	if (cJSON_IsNumber(item))
		snprintf(buffer, COUNT_TEXT, "%.0f", item->valuedouble);
	else
		snprintf(buffer, COUNT_TEXT, "-");
	return buffer;
}

static const char *share_of(const cJSON *endpoint, const cJSON *link, char buffer[COUNT_TEXT])
{
	double slots = answer_number(endpoint, "slots"), all = answer_number(link, "slots");

	if (!(slots > 0 && all > 0))
		snprintf(buffer, COUNT_TEXT, "-");
	else if (slots / all < 0.01)
		snprintf(buffer, COUNT_TEXT, "<1 %%");
	else
		snprintf(buffer, COUNT_TEXT, "%.0f %%", 100 * slots / all);
	return buffer;
}

static const cJSON *find_named(const cJSON *array, const char *key, const char *text)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, array) {
		if (strcmp(answer_text(item, key), text) == 0)
			return item;
	}
	return NULL;
}

static const cJSON *find_before(const struct status_view *view, const cJSON *ambassador, const cJSON *link)
{
	const cJSON *former =
		find_named(list_of(view->before, "ambassadors"), "netns", answer_text(ambassador, "netns"));

	return find_named(list_of(former, "links"), "listen", answer_text(link, "listen"));
}

/* New connections a second. */
static const char *rate_of(const struct status_view *view, const cJSON *endpoint, const cJSON *link_before,
			   char buffer[COUNT_TEXT])
{
	const cJSON *former =
		find_named(list_of(link_before, "endpoints"), "address", answer_text(endpoint, "address"));
	double more = answer_number(endpoint, "connections") - answer_number(former, "connections");

	if (former && more >= 0 && view->seconds > 0)
		snprintf(buffer, COUNT_TEXT, "%.1f", more / view->seconds);
	else
		snprintf(buffer, COUNT_TEXT, "-");
	return buffer;
}

/* The widest of some texts decides the width of a column. */
static int width_of(const cJSON *array, const char *key, int least)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, array) {
		int width = (int)strlen(answer_text(item, key));

		least = width > least ? width : least;
	}
	return least;
}

/* States */

static enum colour colour_of_endpoint(const cJSON *endpoint)
{
	const char *state = answer_text(endpoint, "state");

	if (strcmp(state, "up") == 0)
		return answer_number(endpoint, "slots") > 0 ? COLOUR_GOOD : COLOUR_PLAIN;
	return strcmp(state, "draining") == 0 ? COLOUR_WARNING : COLOUR_BAD;
}

static enum colour colour_of_link(const cJSON *link)
{
	const char *state = answer_text(link, "state");

	if (strcmp(state, "serving") == 0)
		return COLOUR_GOOD;
	return strcmp(state, "empty") == 0 ? COLOUR_BAD : COLOUR_WARNING;
}

static bool is_unwell(const cJSON *endpoint)
{
	return strcmp(answer_text(endpoint, "state"), "down") == 0 ||
	       strcmp(answer_text(endpoint, "state"), "ejected") == 0;
}

/* The larger, the worse. */
static int badness_of(const cJSON *link)
{
	const cJSON *endpoint;
	int unwell = 0;

	switch (colour_of_link(link)) {
	case COLOUR_BAD:
		return 3;
	case COLOUR_WARNING:
		return 2;
	case COLOUR_GOOD:
	case COLOUR_PLAIN:
	case COLOUR_FAINT:
	case COLOUR_TITLE:
		break;
	}
	cJSON_ArrayForEach (endpoint, list_of(link, "endpoints"))
		unwell |= is_unwell(endpoint);
	return unwell;
}

/* The summary */

struct tally {
	const char *state;
	int count;
};

static void count_state(struct tally *tallies, size_t n, const char *state)
{
	for (size_t i = 0; i < n; i++)
		tallies[i].count += strcmp(tallies[i].state, state) == 0;
}

static void put_tallies(const struct status_view *view, const char *what, const struct tally *tallies, size_t n,
			size_t good)
{
	const char *separator = ": ";
	int sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += tallies[i].count;
	fprintf(view->out, "%d %s%s", sum, what, sum == 1 ? "" : "s");
	for (size_t i = 0; i < n; i++) {
		char text[COUNT_TEXT];

		if (!tallies[i].count)
			continue;
		snprintf(text, sizeof(text), "%d %s", tallies[i].count, tallies[i].state);
		fputs(separator, view->out);
		put_coloured(view, i < good ? COLOUR_PLAIN : COLOUR_BAD, text, 0);
		separator = ", ";
	}
}

/* "3 links: 2 serving, 1 holding; 9 endpoints: 8 up, 1 down" */
static void put_summary(const struct status_view *view, const cJSON *status)
{
	struct tally links[] = {{"serving", 0}, {"stale", 0}, {"holding", 0}, {"empty", 0}};
	struct tally endpoints[] = {{"up", 0}, {"draining", 0}, {"ejected", 0}, {"down", 0}};
	const cJSON *ambassador, *link, *endpoint;

	cJSON_ArrayForEach (ambassador, list_of(status, "ambassadors")) {
		cJSON_ArrayForEach (link, list_of(ambassador, "links")) {
			count_state(links, ARRAY_SIZE(links), answer_text(link, "state"));
			cJSON_ArrayForEach (endpoint, list_of(link, "endpoints"))
				count_state(endpoints, ARRAY_SIZE(endpoints), answer_text(endpoint, "state"));
		}
	}
	put_tallies(view, "link", links, ARRAY_SIZE(links), 1);
	fputs("; ", view->out);
	put_tallies(view, "endpoint", endpoints, ARRAY_SIZE(endpoints), 2);
	fputc('\n', view->out);
}

/* Links */

struct widths {
	int id, address;
};

static void put_head(const struct status_view *view, const struct widths *widths)
{
	char line[512];

	snprintf(line, sizeof(line), "%*s%-*s  %-*s  %6s  %-8s  %5s  %11s%s  %4s", INDENT, "", widths->id, "ID",
		 widths->address, "ADDRESS", "WEIGHT", "STATE", "SHARE", "CONNECTIONS", view->before ? "      /S" : "",
		 "LIVE");
	put_coloured(view, COLOUR_FAINT, line, 0);
	fputc('\n', view->out);
}

static void put_endpoint(const struct status_view *view, const cJSON *endpoint, const cJSON *link, const cJSON *before,
			 const struct widths *widths)
{
	const char *reason = answer_text(endpoint, "reason");
	bool by_hand = cJSON_HasObjectItem(endpoint, "override");
	char connections[COUNT_TEXT], live[COUNT_TEXT], share[COUNT_TEXT], rate[COUNT_TEXT];
	int used = fprintf(view->out, "%*s%-*s  %-*s  %6.0f  ", INDENT, "", widths->id, answer_text(endpoint, "id"),
			   widths->address, answer_text(endpoint, "address"),
			   answer_number(endpoint, by_hand ? "override" : "weight"));

	put_coloured(view, colour_of_endpoint(endpoint), answer_text(endpoint, "state"), 8);
	used += 8;
	used += fprintf(view->out, "  %5s  %11s", share_of(endpoint, link, share),
			count_of(endpoint, "connections", connections));
	if (view->before)
		used += fprintf(view->out, "  %6s", rate_of(view, endpoint, before, rate));
	used += fprintf(view->out, "  %4s", count_of(endpoint, "live", live));
	put_reason(view, used, strcmp(reason, "serving") == 0 ? "" : reason);
	fputc('\n', view->out);
}

static void put_endpoints(const struct status_view *view, const cJSON *link, const cJSON *before)
{
	const cJSON *endpoints = list_of(link, "endpoints"), *endpoint;
	const struct widths widths = {width_of(endpoints, "id", 2), width_of(endpoints, "address", 7)};

	if (!answer_number(link, "slots"))
		put_line(view, answer_emptiness(link));
	if (!cJSON_GetArraySize(endpoints))
		return;
	put_head(view, &widths);
	cJSON_ArrayForEach (endpoint, endpoints)
		put_endpoint(view, endpoint, link, before, &widths);
}

static void put_link(const struct status_view *view, const cJSON *link, const cJSON *before)
{
	fputs("  ", view->out);
	put_coloured(view, COLOUR_TITLE, answer_text(link, "name"), 0);
	fprintf(view->out, "  %s -> %s  ", answer_text(link, "listen"), answer_text(link, "service"));
	put_coloured(view, colour_of_link(link), answer_text(link, "state"), 0);
	fputc('\n', view->out);
	if (*answer_text(link, "reason"))
		put_line(view, answer_text(link, "reason"));
	put_endpoints(view, link, before);
}

struct place {
	const cJSON *link;
	int badness, order;
};

static int compare_places(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return x->badness != y->badness ? y->badness - x->badness : x->order - y->order;
}

/* For a person, the worst first. */
static void put_links(const struct status_view *view, const cJSON *ambassador)
{
	const cJSON *links = list_of(ambassador, "links"), *link;
	struct place *places = xcalloc((size_t)cJSON_GetArraySize(links) + 1, sizeof(*places));
	int count = 0;

	cJSON_ArrayForEach (link, links) {
		places[count] = (struct place){link, view->columns ? badness_of(link) : 0, count};
		count++;
	}
	qsort(places, (size_t)count, sizeof(*places), compare_places);
	for (int i = 0; i < count; i++)
		put_link(view, places[i].link, find_before(view, ambassador, places[i].link));
	free(places);
}

static void put_place(const struct status_view *view, const cJSON *ambassador)
{
	const char *netns = answer_text(ambassador, "netns"), *container = answer_text(ambassador, "container");

	if (*container)
		fprintf(view->out, "container %s (%s)\n", container, netns);
	else
		fprintf(view->out, "namespace %s\n", *netns ? netns : "(its own)");
}

static void put_docker(const struct status_view *view, const cJSON *docker)
{
	const char *error = answer_text(docker, "error");

	if (docker)
		fprintf(view->out, "containers of %s  %s\n", answer_text(docker, "uri"), *error ? error : "good");
}

static void put_registry(const struct status_view *view, const cJSON *registry)
{
	answer_print_registry(view->out, registry, "");
}

size_t status_count_links(const cJSON *status)
{
	const cJSON *ambassador;
	size_t links = 0;

	cJSON_ArrayForEach (ambassador, list_of(status, "ambassadors"))
		links += (size_t)cJSON_GetArraySize(list_of(ambassador, "links"));
	return links;
}

void status_print(const struct status_view *view, const cJSON *status)
{
	const cJSON *item;

	if (!status_count_links(status))
		fputs("no links\n", view->out);
	else
		put_summary(view, status);
	cJSON_ArrayForEach (item, list_of(status, "ambassadors")) {
		if (!cJSON_GetArraySize(list_of(item, "links")) && !*answer_text(item, "error"))
			continue;
		put_place(view, item);
		if (*answer_text(item, "error"))
			fprintf(view->out, "  %s\n", answer_text(item, "error"));
		put_links(view, item);
	}
	put_docker(view, list_of(status, "docker"));
	cJSON_ArrayForEach (item, list_of(status, "registries"))
		put_registry(view, item);
}
