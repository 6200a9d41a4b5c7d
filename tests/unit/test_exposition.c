/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prometheus' text format, to the byte. That Prometheus reads it is for the integration tests. */
#include "unit.h"

#include <math.h>

#include "exporter/exposition.h"

static const struct metric metrics[] = {
	{"a_total", METRIC_COUNTER, "How many."},
	{"b", METRIC_GAUGE, "A \\ and\na \"line\"."},
	{"c_seconds", METRIC_HISTOGRAM, "How long."},
};

/* Ends it; to be freed. */
static char *whole_of(struct scroll *scroll)
{
	struct text text = {0};

	for (const struct block *block = scroll->first; block; block = block->next)
		text_add(&text, block->bytes, block->length);
	text_add(&text, "", 1);
	scroll_clear(scroll);
	return text.bytes;
}

/* Ends it and compares; `expected` is the whole. */
static void expect(struct exposition *exposition, const char *expected)
{
	struct scroll text = {0};
	char *whole;

	exposition_end(exposition, &text);
	whole = whole_of(&text);
	assert_string_equal(whole, expected);
	free(whole);
}

static void samples_of_a_metric_stand_together(void **state)
{
	struct exposition exposition;
	struct text labels = {0};

	(void)state;
	exposition_begin(&exposition, metrics, 3);
	labels_add(&labels, "link", "web");
	exposition_add_count(&exposition, 0, &labels, 0);
	exposition_add(&exposition, 1, NULL, 0.25);
	labels_add(&labels, "id", "b1");
	exposition_add_count(&exposition, 0, &labels, UINT64_MAX);
	text_clear(&labels);
	expect(&exposition, "# HELP a_total How many.\n"
			    "# TYPE a_total counter\n"
			    "a_total{link=\"web\"} 0\n"
			    "a_total{link=\"web\",id=\"b1\"} 18446744073709551615\n"
			    "# HELP b A \\\\ and\\na \"line\".\n"
			    "# TYPE b gauge\n"
			    "b 0.25\n");
}

static void nothing_is_written_of_a_metric_without_samples(void **state)
{
	struct exposition exposition;

	(void)state;
	exposition_begin(&exposition, metrics, 3);
	expect(&exposition, "");
}

static void labels_are_escaped(void **state)
{
	static const struct {
		const char *value, *written;
	} cases[] = {
		{"a\\b\"c\nd", "a\\\\b\\\"c\\nd"},
		{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\xa7", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\xa7"}, /* 2, 3 and 4 bytes */
		{"\xe4", "\xef\xbf\xbd"},							  /* Latin-1 */
		{"x\xc3", "x\xef\xbf\xbd"},							  /* cut off */
		{"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},					  /* overlong */
		{"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},			  /* a surrogate */
		{"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},	  /* beyond U+10FFFF */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct text labels = {0};
		char expected[64];

		labels_add(&labels, "n", cases[i].value);
		text_add(&labels, "", 1);
		snprintf(expected, sizeof(expected), "n=\"%s\"", cases[i].written);
		assert_string_equal(labels.bytes, expected);
		text_clear(&labels);
	}
}

static void numbers_keep_their_digits(void **state)
{
	struct exposition exposition;

	(void)state;
	exposition_begin(&exposition, metrics, 3);
	exposition_add(&exposition, 1, NULL, 1795410000.123);
	exposition_add(&exposition, 1, NULL, 3);
	exposition_add(&exposition, 1, NULL, NAN);
	exposition_add(&exposition, 1, NULL, INFINITY);
	exposition_add(&exposition, 1, NULL, -INFINITY);
	expect(&exposition, "# HELP b A \\\\ and\\na \"line\".\n# TYPE b gauge\n"
			    "b 1795410000.123\nb 3\nb NaN\nb +Inf\nb -Inf\n");
}

static void a_bucket_has_what_is_not_longer_than_its_bound(void **state)
{
	struct histogram histogram = {0};

	(void)state;
	histogram_observe(&histogram, 0);
	histogram_observe(&histogram, histogram_bounds[0]);
	histogram_observe(&histogram, nextafter(histogram_bounds[0], 1));
	histogram_observe(&histogram, 11);
	assert_int_equal(histogram.buckets[0], 2);
	assert_int_equal(histogram.buckets[1], 1);
	assert_int_equal(histogram.buckets[HISTOGRAM_BOUNDS], 1);
	assert_int_equal(histogram_count(&histogram), 4);
}

static void buckets_are_cumulative(void **state)
{
	struct exposition exposition;
	struct histogram histogram = {0};
	struct scroll scroll = {0};
	char *text;

	(void)state;
	histogram_observe(&histogram, 0.0002);
	histogram_observe(&histogram, 0.25);
	histogram_observe(&histogram, 100);
	exposition_begin(&exposition, metrics, 3);
	exposition_add_histogram(&exposition, 2, &histogram);
	exposition_end(&exposition, &scroll);
	text = whole_of(&scroll);
	assert_non_null(strstr(text, "# TYPE c_seconds histogram\nc_seconds_bucket{le=\"0.0001\"} 0\n"
				     "c_seconds_bucket{le=\"0.00025\"} 1\n"));
	assert_non_null(strstr(text, "c_seconds_bucket{le=\"0.1\"} 1\nc_seconds_bucket{le=\"0.25\"} 2\n"));
	assert_non_null(strstr(text, "c_seconds_bucket{le=\"10\"} 2\nc_seconds_bucket{le=\"+Inf\"} 3\n"
				     "c_seconds_sum 100.2502\nc_seconds_count 3\n"));
	free(text);
}

static void long_texts_are_in_blocks(void **state)
{
	struct scroll scroll = {0}, more = {0};
	size_t length = BLOCK_BYTES * 2 + 10;
	char *bytes = malloc(length + 1), *whole;
	FILE *out = scroll_open(&scroll);

	(void)state;
	for (size_t i = 0; i < length; i++)
		bytes[i] = (char)('a' + i % 23);
	bytes[length] = '\0';
	fwrite(bytes, 1, 7, out);
	fclose(out);
	scroll_add(&scroll, bytes + 7, BLOCK_BYTES - 7);
	assert_ptr_equal(scroll.first, scroll.last);
	scroll_add(&more, bytes + BLOCK_BYTES, length - BLOCK_BYTES);
	scroll_join(&scroll, &more);
	assert_null(more.first);
	assert_int_equal(scroll.last->length, 10);
	whole = whole_of(&scroll);
	assert_string_equal(whole, bytes);
	assert_false(scroll_clear_block(&scroll));
	free(whole);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(samples_of_a_metric_stand_together),
		cmocka_unit_test(nothing_is_written_of_a_metric_without_samples),
		cmocka_unit_test(labels_are_escaped),
		cmocka_unit_test(numbers_keep_their_digits),
		cmocka_unit_test(a_bucket_has_what_is_not_longer_than_its_bound),
		cmocka_unit_test(buckets_are_cumulative),
		cmocka_unit_test(long_texts_are_in_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
