/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fuzzes what reads a Docker engine's answers: the first byte says which. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "discovery/docker/services.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_container(const char *text, size_t length)
{
	struct docker_container *container;
	struct docker_view view;
	struct records records;
	struct error err;

	if (docker_container_parse(text, length, &container, &err) < 0)
		return;
	docker_view_begin(&view, "web", NULL, &records);
	docker_view_add(&view, container, NULL);
	docker_view_end(&view);
	assert(records.endpoints || records.error);
	records_clear(&records);
	docker_container_free(container);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;
	struct docker_event event;
	struct docker_list list;
	struct arena arena = {0};

	if (!size)
		return 0;
	switch (data[0] % 4) {
	case 0:
		fuzz_container(text, size - 1);
		break;
	case 1:
		docker_list_parse(text, size - 1, &list, NULL);
		docker_list_clear(&list);
		break;
	case 2:
		if (docker_event_parse(text, size - 1, &event, NULL) == 0)
			assert(event.counts == (*event.container != '\0'));
		break;
	default:
		docker_error_text("", 0, &arena);
		arena_free(&arena);
		break;
	}
	return 0;
}
