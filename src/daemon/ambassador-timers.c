/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When an ambassador looks again at what could not be done, or was to wait. */
#include "daemon/ambassador-state.h"

#define RETRY_FIRST_MS 250
#define RETRY_LAST_MS 30000

/* Trying again */

static void on_retry(uv_timer_t *timer)
{
	struct ambassador *ambassador = timer->data;

	ambassador->backing_off = false;
	ambassador->footprint_dirty |= ambassador->footprint_error != NULL;
	ambassador->failure_watch.due |= ambassador->failure_watch.error != NULL;
	/* The loop reconciles after every event, this one too. */
	for (struct link *link = ambassador->links; link; link = link->hh.next) {
		if (link->error)
			link_mark_dirty(link);
	}
}

void ambassador_retry_later(struct ambassador *ambassador)
{
	ambassador->retry_ms = ambassador->retry_ms ? ambassador->retry_ms * 2 : RETRY_FIRST_MS;
	if (ambassador->retry_ms > RETRY_LAST_MS)
		ambassador->retry_ms = RETRY_LAST_MS;
	uv_timer_start(ambassador->retry, on_retry, ambassador->retry_ms, 0);
}

/* Holding */

static void on_hold_over(uv_timer_t *timer)
{
	struct ambassador *ambassador = timer->data;

	for (struct link *link = ambassador->links; link; link = link->hh.next) {
		if (link->installed && (link->plan.hold || link->loss.held))
			link_mark_changed(link, CAUSE_TIME);
	}
}

void ambassador_hold_for(struct ambassador *ambassador, uint64_t ms)
{
	if (!uv_is_active((uv_handle_t *)ambassador->hold) || uv_timer_get_due_in(ambassador->hold) > ms)
		uv_timer_start(ambassador->hold, on_hold_over, ms, 0);
}
