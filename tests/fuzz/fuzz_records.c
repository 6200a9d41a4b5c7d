/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzes what reads registry texts: clang -std=gnu11 -D_GNU_SOURCE -Iinclude -g -fsanitize=fuzzer,address,undefined
 * tests/fuzz/fuzz_records.c src/base/[aehlm]*.c src/catalog/endpoints.c src/discovery/{json,record,records,services}.c
 * -lcjson
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "discovery/file/services.h"
#include "discovery/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Either endpoints or the reason why not; and what was left out is reported. */
static void check(const struct records *records)
{
	assert(!records->endpoints == !!records->error);
	assert(!records->skipped == !records->digest);
	for (uint32_t i = 1; records->endpoints && i < records->endpoints->count; i++)
		assert(strcmp(records->endpoints->items[i - 1].id, records->endpoints->items[i].id) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct services *services = NULL;
	struct records records;
	struct error err;

	records_parse("fuzz", text, size, &records);
	check(&records);
	records_clear(&records);
	/* The second time finds everything unchanged; the third has only half of it. */
	if (services_parse(&services, "fuzz", text, size, &err) == 0)
		assert(services_parse(&services, "fuzz", text, size, &err) == 0);
	services_parse(&services, "fuzz", text, size / 2, &err);
	if (services && services_find(services, "web"))
		check(services_find(services, "web"));
	services_free(services);
	return 0;
}
