/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/site.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/journal.h"
#include "daemon/metrics.h"
#include "daemon/status.h"
#include "daemon/tour.h"
#include "exporter/page.h"
#include "exporter/web.h"

#define EVENTS_SHOWN 200

#define DATA_POLICY "default-src 'none'"

/* Something that takes a tour to make, and those who wait for it. */
struct display {
	struct site *site;
	const char *type;
	const struct visitor *visitor;
	void *context;	   /* of the visitor */
	struct tour *tour; /* NULL: nobody waits */
	struct web_request **waiting;
	size_t n_waiting, capacity;
	struct web_body *body; /* the last one; NULL: none, or it was too old */
	uint64_t made;	       /* uv_now() */
};

struct site {
	uv_loop_t *loop;
	struct web *web;
	struct realm (*realm)(void *);
	void *realm_context;
	struct display metrics_display, status_display;
	struct metrics metrics;
	struct status_report report;
	struct web_body *page;
	uv_timer_t stale; /* frees what is too old to be shown */
	bool ready;	  /* has been */
};

/* What takes a tour */

static void on_stale(uv_timer_t *timer)
{
	struct site *site = timer->data;
	struct display *displays[] = {&site->metrics_display, &site->status_display};

	for (size_t i = 0; i < ARRAY_SIZE(displays); i++) {
		web_body_free(displays[i]->body);
		displays[i]->body = NULL;
	}
}

static void show(struct display *display, struct scroll *text)
{
	struct site *site = display->site;

	display->tour = NULL;
	web_body_free(display->body);
	display->body = web_body_new(site->web, display->type, DATA_POLICY, text);
	display->made = uv_now(site->loop);
	for (size_t i = 0; i < display->n_waiting; i++)
		web_answer(display->waiting[i], display->body ? 200 : 503, display->body);
	display->n_waiting = 0;
	uv_timer_start(&site->stale, on_stale, SITE_FRESH_MS, 0);
}

static void on_metrics(struct metrics *metrics)
{
	struct site *site = (struct site *)(void *)((char *)metrics - offsetof(struct site, metrics));

	show(&site->metrics_display, &metrics->text);
	metrics_clear(metrics);
}

static void on_report(struct status_report *report)
{
	struct site *site = (struct site *)(void *)((char *)report - offsetof(struct site, report));
	show(&site->status_display, &report->text);
	status_report_clear(report);
}

static void ask_display(struct display *display, struct web_request *request)
{
	struct site *site = display->site;

	if (!display->tour && display->body && uv_now(site->loop) - display->made < SITE_FRESH_MS) {
		web_answer(request, 200, display->body);
		return;
	}
	ARRAY_GROW(display->waiting, display->n_waiting, display->capacity);
	display->waiting[display->n_waiting++] = request;
	if (!display->tour)
		display->tour =
			tour_begin(site->loop, site->realm, site->realm_context, display->visitor, display->context);
}

/* What does not */

static void answer_text(struct site *site, struct web_request *request, unsigned int status, const char *words)
{
	struct scroll text = {0};
	struct web_body *body;

	scroll_add_string(&text, words);
	scroll_add_string(&text, "\n");
	body = web_body_new(site->web, "text/plain; charset=utf-8", DATA_POLICY, &text);
	web_answer(request, body ? status : 503, body);
	web_body_free(body);
}

/* Ready once is ready: what goes wrong later is in the metrics, and no reason to be started again. */
static void answer_ready(struct site *site, struct web_request *request)
{
	struct realm realm = site->realm(site->realm_context);
	const char *lacks = site->ready ? NULL : realm_lacks(&realm);

	site->ready = !lacks;
	answer_text(site, request, lacks ? 503 : 200, lacks ? lacks : "ready");
}

static void answer_events(struct site *site, struct web_request *request)
{
	struct realm realm = site->realm(site->realm_context);
	struct scroll text = {0};
	FILE *out = scroll_open(&text);
	struct web_body *body;

	fputs("{\"events\":", out);
	journal_write(realm.journal, NULL, NULL, EVENTS_SHOWN, out);
	fputs("}", out);
	fclose(out);
	body = web_body_new(site->web, "application/json", DATA_POLICY, &text);
	web_answer(request, body ? 200 : 503, body);
	web_body_free(body);
}

static void on_request(void *context, struct web_request *request, const char *path)
{
	struct site *site = context;

	if (strcmp(path, "/") == 0)
		web_answer(request, 200, site->page);
	else if (strcmp(path, "/metrics") == 0)
		ask_display(&site->metrics_display, request);
	else if (strcmp(path, "/status.json") == 0)
		ask_display(&site->status_display, request);
	else if (strcmp(path, "/events.json") == 0)
		answer_events(site, request);
	else if (strcmp(path, "/healthz") == 0)
		answer_text(site, request, 200, "alive");
	else if (strcmp(path, "/readyz") == 0)
		answer_ready(site, request);
	else
		web_answer(request, 404, NULL);
}

/* Opening and closing */

static void open_displays(struct site *site)
{
	site->metrics =
		(struct metrics){.realm = site->realm, .realm_context = site->realm_context, .done = on_metrics};
	site->metrics_display = (struct display){
		.site = site, .type = EXPOSITION_TYPE, .visitor = &metrics_visitor, .context = &site->metrics};
	site->report =
		(struct status_report){.realm = site->realm, .realm_context = site->realm_context, .done = on_report};
	site->status_display = (struct display){
		.site = site, .type = "application/json", .visitor = &status_visitor, .context = &site->report};
}

static void open_page(struct site *site)
{
	struct scroll text = {0};

	scroll_add(&text, page_html, page_html_length);
	site->page = web_body_new(site->web, "text/html; charset=utf-8", page_policy, &text);
}

int site_open(uv_loop_t *loop, const char *address, struct realm (*realm)(void *), void *context, struct site **ret,
	      struct error *err)
{
	struct site *site = xcalloc(1, sizeof(*site));
	struct ip_port at;
	int code = ip_port_parse(address, &at);

	if (code == 0)
		code = web_open(loop, &at, on_request, site, &site->web, err);
	if (code < 0) {
		free(site);
		return code;
	}
	site->loop = loop;
	site->realm = realm;
	site->realm_context = context;
	uv_timer_init(loop, &site->stale);
	site->stale.data = site;
	open_displays(site);
	open_page(site);
	*ret = site;
	return 0;
}

static void close_display(struct display *display)
{
	tour_cancel(display->tour);
	web_body_free(display->body);
	free(display->waiting);
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void site_close(struct site *site)
{
	if (!site)
		return;
	close_display(&site->metrics_display);
	close_display(&site->status_display);
	metrics_clear(&site->metrics);
	status_report_clear(&site->report);
	web_body_free(site->page);
	web_close(site->web);
	uv_close((uv_handle_t *)&site->stale, on_closed);
}
