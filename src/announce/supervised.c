/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "announce/supervised.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/service-manager.h"

#define STATUS_TEXT 512

struct supervised {
	struct service_manager *manager;
	uv_timer_t watchdog, patience;
	int open_handles;
	bool ready;
	char status[STATUS_TEXT];
};

static void tell_ready(struct supervised *supervised)
{
	supervised->ready = service_manager_tell(supervised->manager, SERVICE_READY, supervised->status);
}

static void on_watchdog(uv_timer_t *timer)
{
	struct supervised *supervised = timer->data;

	service_manager_tell(supervised->manager, SERVICE_ALIVE, NULL);
}

static void on_overdue(uv_timer_t *timer)
{
	struct supervised *supervised = timer->data;

	if (!supervised->ready)
		tell_ready(supervised);
	if (supervised->ready)
		uv_timer_stop(timer);
}

static void open_timer(struct supervised *supervised, uv_loop_t *loop, uv_timer_t *timer)
{
	uv_timer_init(loop, timer);
	timer->data = supervised;
	supervised->open_handles++;
}

struct supervised *supervised_open(uv_loop_t *loop)
{
	struct service_manager *manager = service_manager_open();
	uint64_t watchdog_ms = service_manager_watchdog_ms(manager);
	struct supervised *supervised;

	if (!manager)
		return NULL;
	supervised = xcalloc(1, sizeof(*supervised));
	supervised->manager = manager;
	open_timer(supervised, loop, &supervised->watchdog);
	open_timer(supervised, loop, &supervised->patience);
	if (watchdog_ms)
		uv_timer_start(&supervised->watchdog, on_watchdog, 0, watchdog_ms);
	/* Again a second later, where it could not be told. */
	uv_timer_start(&supervised->patience, on_overdue, SERVICE_MANAGER_PATIENCE_MS, 1000);
	supervised_status(supervised, false, "not announced yet");
	return supervised;
}

static void on_closed(uv_handle_t *handle)
{
	struct supervised *supervised = handle->data;

	if (--supervised->open_handles)
		return;
	service_manager_close(supervised->manager);
	free(supervised);
}

void supervised_close(struct supervised *supervised)
{
	if (!supervised)
		return;
	uv_close((uv_handle_t *)&supervised->watchdog, on_closed);
	uv_close((uv_handle_t *)&supervised->patience, on_closed);
}

void supervised_status(struct supervised *supervised, bool announced, const char *format, ...)
{
	va_list args;

	if (!supervised)
		return;
	va_start(args, format);
	vsnprintf(supervised->status, sizeof(supervised->status), format, args);
	va_end(args);
	if (announced && !supervised->ready)
		tell_ready(supervised);
	else
		service_manager_tell(supervised->manager, SERVICE_SAME, supervised->status);
}

void supervised_stopping(struct supervised *supervised)
{
	if (supervised)
		service_manager_tell(supervised->manager, SERVICE_STOPPING, NULL);
}
