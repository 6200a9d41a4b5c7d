/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is said of errors: by a source to the catalog, and by the catalog in the log. */
#include "unit.h"

#include <unistd.h>

#include "catalog/troubles.h"
#include "discovery/answered.h"

/* The log, while it is caught. */
struct caught {
	FILE *file;
	int stderr_copy;
	char text[4096];
};

static void catch_log(struct caught *caught)
{
	caught->file = tmpfile();
	caught->stderr_copy = dup(STDERR_FILENO);
	fflush(stderr);
	dup2(fileno(caught->file), STDERR_FILENO);
}

/* Returns how many lines there were. */
static unsigned int release_log(struct caught *caught)
{
	unsigned int lines = 0;
	size_t length;

	fflush(stderr);
	dup2(caught->stderr_copy, STDERR_FILENO);
	close(caught->stderr_copy);
	rewind(caught->file);
	length = fread(caught->text, 1, sizeof(caught->text) - 1, caught->file);
	caught->text[length] = '\0';
	fclose(caught->file);
	for (const char *c = caught->text; *c; c++)
		lines += *c == '\n';
	return lines;
}

static void many_services_are_two_lines(void **state)
{
	struct trouble *of[100];
	struct troubles troubles = {0};
	struct caught caught;

	(void)state;
	catch_log(&caught);
	for (int i = 0; i < 100; i++)
		of[i] = troubles_enter(&troubles, "registry etcd://x: refused", "web", true);
	troubles_tell(&troubles);
	troubles_tell(&troubles);
	for (int i = 0; i < 100; i++)
		troubles_leave(&troubles, of[i], true, "etcd://x");
	assert_int_equal(release_log(&caught), 2);
	assert_non_null(
		strstr(caught.text, "registry etcd://x: refused; the last known endpoints of 100 services stay\n"));
	assert_non_null(strstr(caught.text, "registry etcd://x answers again, for 100 services, after 0 s\n"));
	assert_null(troubles.by_text);
}

static void one_service_is_named(void **state)
{
	struct troubles troubles = {0};
	struct caught caught;

	(void)state;
	catch_log(&caught);
	troubles_leave(&troubles, troubles_enter(&troubles, "web.json: line 1: x", "web", false), true, "file:x");
	assert_int_equal(release_log(&caught), 2);
	assert_non_null(strstr(caught.text, "service web: web.json: line 1: x; what the kernel holds stays\n"));
	assert_non_null(strstr(caught.text, "service web: its registry answers again"));
}

/* A service whose trouble becomes another one has not recovered. */
static void another_reason_is_no_end(void **state)
{
	struct trouble *first, *second, *next;
	struct troubles troubles = {0};
	struct caught caught;

	(void)state;
	catch_log(&caught);
	first = troubles_enter(&troubles, "a", "web", true);
	second = troubles_enter(&troubles, "a", "db", true);
	troubles_tell(&troubles);
	next = troubles_enter(&troubles, "b", "web", true);
	troubles_leave(&troubles, first, false, "etcd://x");
	troubles_leave(&troubles, second, false, "etcd://x");
	assert_ptr_equal(troubles_enter(&troubles, "b", "db", true), next);
	troubles_tell(&troubles);
	assert_int_equal(release_log(&caught), 2);
	assert_null(strstr(caught.text, "again"));
	assert_non_null(strstr(caught.text, "b; the last known endpoints of 2 services stay\n"));
	catch_log(&caught);
	troubles_leave(&troubles, next, true, "etcd://x");
	troubles_leave(&troubles, next, true, "etcd://x");
	assert_int_equal(release_log(&caught), 1);
}

static void of_an_outage_the_first_reason_counts(void **state)
{
	const struct endpoints *none = endpoints_none();
	struct answered answered = {0};

	(void)state;
	assert_true(answered_outage(&answered, "refused"));
	assert_false(answered_outage(&answered, "timed out"));
	assert_string_equal(answered.error, "refused");
	assert_true(answered_endpoints(&answered, none, 0));
	assert_false(answered_endpoints(&answered, none, 0));
	assert_true(answered_outage(&answered, "timed out"));
	answered_clear(&answered);
	endpoints_unref(none);
}

static void of_a_list_each_sentence_counts(void **state)
{
	struct answered answered = {0};

	(void)state;
	assert_true(answered_error(&answered, "line 1"));
	assert_false(answered_error(&answered, "line 1"));
	assert_true(answered_error(&answered, "line 2"));
	/* The one ends the other. */
	assert_true(answered_outage(&answered, "refused"));
	assert_true(answered_error(&answered, "line 2"));
	assert_true(answered_outage(&answered, "refused"));
	answered_clear(&answered);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_services_are_two_lines),
		cmocka_unit_test(one_service_is_named),
		cmocka_unit_test(another_reason_is_no_end),
		cmocka_unit_test(of_an_outage_the_first_reason_counts),
		cmocka_unit_test(of_a_list_each_sentence_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
