/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/tour.h"

#include <stdlib.h>

#include "base/mem.h"
#include "daemon/survey.h"

/* A step; what happens meanwhile waits for so long at most, and for one link. */
#define STEP_NS 1000000

struct tour {
	uv_idle_t idle; /* makes the loop turn */
	uv_work_t work; /* lists flows, in a thread of libuv's */
	struct realm (*realm)(void *);
	void *realm_context;
	const struct visitor *visitor; /* NULL: cancelled */
	void *context;
	uint64_t edition; /* of the configuration */
	size_t ambassador, link;
	bool entered; /* the ambassador, whose survey is made */
	struct survey *survey;
	bool working; /* in that thread */
};

static void on_step(uv_idle_t *idle);

static void on_closed(uv_handle_t *handle)
{
	struct tour *tour = handle->data;

	survey_free(tour->survey);
	free(tour);
}

static void close_tour(struct tour *tour)
{
	uv_close((uv_handle_t *)&tour->idle, on_closed);
}

static void begin(struct tour *tour, uint64_t edition)
{
	survey_free(tour->survey);
	tour->survey = NULL;
	tour->edition = edition;
	tour->ambassador = tour->link = 0;
	tour->entered = false;
	tour->visitor->begin(tour->context);
}

static void on_work(uv_work_t *work)
{
	const struct tour *tour = work->data;

	survey_list_flows(tour->survey);
}

static void on_worked(uv_work_t *work, int status)
{
	struct tour *tour = work->data;

	(void)status;
	tour->working = false;
	if (tour->visitor)
		uv_idle_start(&tour->idle, on_step);
	else
		close_tour(tour);
}

/* Where there is something to list, the next step comes after that. */
static void enter(struct tour *tour, struct ambassador *ambassador)
{
	tour->entered = true;
	tour->link = 0;
	tour->visitor->enter(tour->context, ambassador);
	tour->survey = survey_begin(ambassador);
	if (!tour->survey)
		return;
	uv_idle_stop(&tour->idle);
	tour->working = true;
	uv_queue_work(tour->idle.loop, &tour->work, on_work, on_worked);
}

static void leave(struct tour *tour)
{
	tour->visitor->leave(tour->context);
	survey_free(tour->survey);
	tour->survey = NULL;
	tour->entered = false;
	tour->ambassador++;
}

static void step(struct tour *tour, const struct realm *realm)
{
	struct ambassador *ambassador = realm->ambassadors[tour->ambassador];

	if (!tour->entered)
		enter(tour, ambassador);
	else if (tour->link < ambassador_conf(ambassador)->n_links)
		ambassador_describe(ambassador, tour->survey, tour->link++, tour->visitor->link, tour->context);
	else
		leave(tour);
}

static void finish(struct tour *tour)
{
	const struct visitor *visitor = tour->visitor;
	void *context = tour->context;

	close_tour(tour);
	visitor->end(context);
}

static void on_step(uv_idle_t *idle)
{
	struct tour *tour = idle->data;
	struct realm realm = tour->realm(tour->realm_context);
	uint64_t until = uv_hrtime() + STEP_NS;

	if (tour->edition != realm.edition)
		begin(tour, realm.edition);
	while (tour->ambassador < realm.n_ambassadors && !tour->working && uv_hrtime() < until)
		step(tour, &realm);
	if (tour->ambassador == realm.n_ambassadors)
		finish(tour);
}

struct tour *tour_begin(uv_loop_t *loop, struct realm (*realm)(void *), void *realm_context,
			const struct visitor *visitor, void *context)
{
	struct tour *tour = xcalloc(1, sizeof(*tour));

	tour->realm = realm;
	tour->realm_context = realm_context;
	tour->visitor = visitor;
	tour->context = context;
	uv_idle_init(loop, &tour->idle);
	tour->idle.data = tour->work.data = tour;
	uv_idle_start(&tour->idle, on_step);
	return tour;
}

void tour_cancel(struct tour *tour)
{
	if (!tour)
		return;
	tour->visitor = NULL;
	if (!tour->working)
		close_tour(tour);
}

void tour_make(const struct realm *realm, const struct visitor *visitor, void *context)
{
	visitor->begin(context);
	for (size_t i = 0; i < realm->n_ambassadors; i++) {
		visitor->enter(context, realm->ambassadors[i]);
		ambassador_status(realm->ambassadors[i], NULL, true, visitor->link, context);
		visitor->leave(context);
	}
	visitor->end(context);
}
