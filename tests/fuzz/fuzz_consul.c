/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fuzzes what reads Consul's answers. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "discovery/consul/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int resolve(void *context, const char *host, struct ip_addr *ret, struct error *err)
{
	(void)context;
	assert(*host);
	if (*host < 'h')
		return -EAGAIN;
	return *host < 'p' ? ip_addr_parse("10.0.0.1", ret) : fail(err, -ENOENT, "unknown");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct consul_list list;
	struct consul_view view;
	struct error err = {""};
	int code = consul_list_parse((const char *)data, size, &list, &err);

	assert(code == 0 || (code == -EINVAL && *err.text));
	if (!code) {
		consul_list_view(&list, resolve, NULL, &view);
		assert(view.endpoints || view.error || view.pending);
		assert(!view.endpoints || view.endpoints->count + view.skipped + view.pending == list.count);
		for (uint32_t i = 0; view.endpoints && i < view.endpoints->count; i++)
			assert(view.endpoints->items[i].at.port && view.endpoints->items[i].at.addr.family);
		consul_view_clear(&view);
	}
	consul_list_clear(&list);
	return 0;
}
