/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events: one record that the log and the journal show. */
#include "unit.h"

#include <cJSON.h>

#include "base/event.h"
#include "base/log.h"
#include "daemon/journal.h"

static char *recent(const struct journal *journal, const char *netns, const char *link, size_t count)
{
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	journal_write(journal, netns, link, count, out);
	fclose(out);
	return text;
}

static double number_of(const cJSON *array, int index)
{
	return cJSON_GetNumberValue(cJSON_GetObjectItem(cJSON_GetArrayItem(array, index), "number"));
}

static void an_event_is_an_object(void **state)
{
	struct journal *journal = journal_open(NULL, NULL);
	const struct event event = {
		.level = LOG_LEVEL_INFO,
		.causes = CAUSE_REGISTRY | CAUSE_CHECK,
		.netns = "",
		.link = "web",
		.text = "+b4 -b1",
		.state = "3 endpoints in 3 slots",
		.revision = "7",
		.messages = 5,
		.took_ns = 312345,
	};
	char *text;
	cJSON *array;

	(void)state;
	event_tell(&event);
	text = recent(journal, NULL, NULL, 10);
	array = cJSON_Parse(text);
	cJSON_DeleteItemFromObject(cJSON_GetArrayItem(array, 0), "time");
	free(text);
	text = cJSON_PrintUnformatted(array);
	assert_string_equal(text,
			    "[{\"number\":1,\"level\":\"info\",\"netns\":\"\",\"link\":\"web\",\"text\":\"+b4 -b1\","
			    "\"cause\":\"registry, checks\",\"state\":\"3 endpoints in 3 slots\",\"revision\":\"7\","
			    "\"messages\":5,\"latency_ms\":0.312}]");
	cJSON_free(text);
	cJSON_Delete(array);
	journal_close(journal);
}

static void the_ring_is_bounded(void **state)
{
	struct journal *journal = journal_open(NULL, NULL);
	char *text;
	cJSON *array;

	(void)state;
	for (int i = 0; i < JOURNAL_EVENTS + 7; i++)
		event_say(LOG_LEVEL_INFO, CAUSE_REGISTRY, "", "web", "%d", i);
	text = recent(journal, NULL, NULL, SIZE_MAX);
	array = cJSON_Parse(text);
	assert_int_equal(cJSON_GetArraySize(array), JOURNAL_EVENTS);
	assert_int_equal((int)number_of(array, 0), 8);
	assert_int_equal((int)number_of(array, JOURNAL_EVENTS - 1), JOURNAL_EVENTS + 7);
	cJSON_Delete(array);
	free(text);
	journal_close(journal);
}

static void its_bytes_are_bounded(void **state)
{
	struct journal *journal = journal_open(NULL, NULL);
	char *text, big[2001];

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	for (int i = 0; i < JOURNAL_EVENTS; i++)
		event_say(LOG_LEVEL_INFO, 0, NULL, NULL, "%s", big);
	text = recent(journal, NULL, NULL, SIZE_MAX);
	assert_true(strlen(text) <= JOURNAL_BYTES + 2);
	assert_true(strlen(text) > JOURNAL_BYTES - 4096);
	free(text);
	journal_close(journal);
}

static void one_asks_for_a_link(void **state)
{
	struct journal *journal = journal_open(NULL, NULL);
	char *text;
	cJSON *array;

	(void)state;
	event_say(LOG_LEVEL_INFO, 0, "", "web", "1");
	event_say(LOG_LEVEL_INFO, 0, "app", "web", "2");
	event_say(LOG_LEVEL_INFO, 0, "app", "db", "3");
	event_say(LOG_LEVEL_INFO, 0, NULL, NULL, "4");
	event_say(LOG_LEVEL_DEBUG, 0, "app", "web", "not for the journal");
	text = recent(journal, NULL, "web", 1);
	array = cJSON_Parse(text);
	assert_int_equal(cJSON_GetArraySize(array), 1);
	assert_int_equal((int)number_of(array, 0), 2);
	cJSON_Delete(array);
	free(text);
	text = recent(journal, "", "web", 10);
	array = cJSON_Parse(text);
	assert_int_equal(cJSON_GetArraySize(array), 1);
	assert_int_equal((int)number_of(array, 0), 1);
	cJSON_Delete(array);
	free(text);
	journal_close(journal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_event_is_an_object),
		cmocka_unit_test(the_ring_is_bounded),
		cmocka_unit_test(its_bytes_are_bounded),
		cmocka_unit_test(one_asks_for_a_link),
	};

	log_setup(LOG_TEXT, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
