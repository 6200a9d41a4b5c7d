/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors, memory, addresses and log lines. */
#include "unit.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

static void error_is_one_sentence(void **state)
{
	struct error err;

	(void)state;
	assert_int_equal(fail(&err, -EINVAL, "port %d: 1-65535 is accepted", 0), -EINVAL);
	assert_string_equal(err.text, "port 0: 1-65535 is accepted");
	assert_int_equal(fail_prefix(&err, -ENOENT, "links[%d]", 2), -ENOENT);
	assert_string_equal(err.text, "links[2]: port 0: 1-65535 is accepted");
	assert_int_equal(fail(&err, -EIO, "again (%s)", err.text), -EIO);
	assert_string_equal(err.text, "again (links[2]: port 0: 1-65535 is accepted)");
	assert_int_equal(fail(NULL, -EIO, "nobody listens"), -EIO);
	assert_int_equal(fail_prefix(NULL, -EIO, "nobody listens"), -EIO);
}

static void error_is_cut_at_the_end_of_its_buffer(void **state)
{
	struct error err;
	char text[2 * sizeof(err.text)];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	fail(&err, -EINVAL, "%s", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	fail_prefix(&err, -EINVAL, "%s", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

static void memory_grows(void **state)
{
	size_t *items = NULL, count = 0, capacity = 0;
	char *text = xasprintf("%s-%d", "db", 7), *copy = xstrdup(text), *part = xstrndup(text, 2);

	(void)state;
	assert_string_equal(copy, "db-7");
	assert_string_equal(part, "db");
	free(text);
	free(copy);
	free(part);
	for (size_t i = 0; i < 1000; i++) {
		ARRAY_GROW(items, count, capacity);
		items[count++] = i;
	}
	assert_int_equal(items[999], 999);
	free(items);
	items = xcalloc(0, sizeof(*items));
	assert_non_null(items);
	items = xrealloc(items, 0, sizeof(*items));
	assert_non_null(items);
	free(items);
}

static void arena_keeps_everything_apart(void **state)
{
	struct arena arena = {0};
	const char *texts[2000];

	(void)state;
	for (size_t round = 0; round < 2; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
			uint64_t *number = arena_alloc(&arena, sizeof(*number));

			assert_int_equal((uintptr_t)number % _Alignof(max_align_t), 0);
			assert_int_equal(*number, 0);
			*number = UINT64_MAX;
			texts[i] = arena_printf(&arena, "text %zu", i);
		}
		for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
			char expected[32];

			snprintf(expected, sizeof(expected), "text %zu", i);
			assert_string_equal(texts[i], expected);
		}
		memset(arena_alloc(&arena, 1000000), 0xff, 1000000);
		assert_string_equal(arena_strndup(&arena, "db-7", 2), "db");
		assert_string_equal(arena_strndup(&arena, "db-7", 100), "db-7");
		assert_string_equal(arena_strdup(&arena, ""), "");
		arena_free(&arena);
	}
}

static void digests_differ_with_each_byte(void **state)
{
	unsigned char bytes[40] = {0};
	uint64_t zero[ARRAY_SIZE(bytes) + 1];

	(void)state;
	for (size_t length = 0; length <= sizeof(bytes); length++) {
		zero[length] = hash_bytes(bytes, length);
		for (size_t i = 0; i < length; i++) {
			assert_true(zero[length] != zero[i]);
			bytes[i] = 1;
			assert_true(hash_bytes(bytes, length) != zero[length]);
			bytes[i] = 0;
		}
	}
}

static void addresses_parse_and_print(void **state)
{
	static const struct {
		const char *text, *printed;
	} good[] = {
		{"10.0.0.5", "10.0.0.5"},
		{"255.255.255.255", "255.255.255.255"},
		{"fd00::1", "fd00::1"},
		{"FD00:0::1", "fd00::1"},
		{"::", "::"},
		{"::ffff:1.2.3.4", "::ffff:1.2.3.4"},
	};
	static const char *const bad[] = {
		"",	     " ",	   "10.0.0",	"10.1.0.300",	"010.0.0.1", "10.0.0.1 ",
		" 10.0.0.1", "10.0.0.1/8", "[fd00::1]", "fd00::1%eth0", "fd00:::1",  "localhost",
		"1",	     "0x7f.1",	   ":",		"12345::",
	};
	char text[IP_ADDR_TEXT];
	struct ip_addr addr;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(ip_addr_parse(good[i].text, &addr), 0);
		assert_string_equal(ip_addr_text(&addr, text), good[i].printed);
	}
	memset(&addr, 0x5a, sizeof(addr));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(ip_addr_parse(bad[i], &addr), -EINVAL);
		assert_int_equal(addr.family, 0x5a);
	}
	assert_int_equal(ip_addr_parse("10.0.0.5", &addr), 0);
	assert_int_equal(addr.bytes[4] | addr.bytes[15], 0);
	assert_int_equal(ip_addr_size(&addr), 4);
}

static void ports_parse_and_print(void **state)
{
	static const char *const good[] = {
		"10.0.0.5:80",
		"10.0.0.5:1",
		"10.0.0.5:65535",
		"[fd00::1]:80",
		"[1111:2222:3333:4444:5555:6666:7777:8888]:65535",
	};
	static const char *const bad[] = {
		"",
		":",
		"10.0.0.5",
		"10.0.0.5:",
		":80",
		"10.0.0.5:0",
		"10.0.0.5:65536",
		"10.0.0.5:+80",
		"10.0.0.5:80 ",
		"10.0.0.5:80:81",
		"[10.0.0.5]:80",
		"fd00::1:80",
		"[fd00::1]",
		"[fd00::1]80",
		"[fd00::1",
		"[]:80",
		"[",
		"10.0.0.5:99999999999999999999",
		"host:80",
	};
	char text[IP_PORT_TEXT];
	struct ip_port at;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(ip_port_parse(good[i], &at), 0);
		assert_string_equal(ip_port_text(&at, text), good[i]);
	}
	memset(&at, 0x5a, sizeof(at));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(ip_port_parse(bad[i], &at), -EINVAL);
	assert_int_equal(at.port, 0x5a5a);
}

static void numbers_parse(void **state)
{
	uint64_t number = 7;

	(void)state;
	assert_int_equal(number_parse("", 0, 9, &number), -EINVAL);
	assert_int_equal(number_parse("-1", 0, 9, &number), -EINVAL);
	assert_int_equal(number_parse("+1", 0, 9, &number), -EINVAL);
	assert_int_equal(number_parse(" 1", 0, 9, &number), -EINVAL);
	assert_int_equal(number_parse("1.5", 0, 9, &number), -EINVAL);
	assert_int_equal(number_parse("0", 1, 9, &number), -ERANGE);
	assert_int_equal(number_parse("10", 1, 9, &number), -ERANGE);
	assert_int_equal(number_parse("18446744073709551616", 0, UINT64_MAX, &number), -ERANGE);
	assert_int_equal(number_parse("99999999999999999999999x", 0, UINT64_MAX, &number), -EINVAL);
	assert_int_equal(number, 7);
	assert_int_equal(number_parse("18446744073709551615", 0, UINT64_MAX, &number), 0);
	assert_true(number == UINT64_MAX);
	assert_int_equal(number_parse("9", 1, 9, &number), 0);
	assert_int_equal(number, 9);
}

static struct ip_port at(const char *text)
{
	struct ip_port parsed;

	assert_int_equal(ip_port_parse(text, &parsed), 0);
	return parsed;
}

static void addresses_are_ordered_and_classified(void **state)
{
	static const char *const ordered[] = {"9.0.0.1:2", "10.0.0.1:1", "10.0.0.1:2", "[::1]:1", "[fd00::1]:1"};
	static const struct {
		const char *text;
		bool loopback, unicast;
	} kinds[] = {
		{"127.0.0.1:1", true, true},
		{"127.255.0.1:1", true, true},
		{"[::1]:1", true, true},
		{"10.0.0.1:1", false, true},
		{"[fd00::1]:1", false, true},
		{"0.0.0.0:1", false, false},
		{"0.0.0.1:1", false, false},
		{"224.0.0.1:1", false, false},
		{"255.255.255.255:1", false, false},
		{"240.0.0.1:1", false, false},
		{"[::]:1", false, false},
		{"[ff02::1]:1", false, false},
		{"[::ffff:10.0.0.1]:1", false, false},
		{"[::2]:1", false, true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ordered); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(ordered); j++) {
			struct ip_port a = at(ordered[i]), b = at(ordered[j]);
			int order = ip_port_compare(&a, &b);

			assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
			assert_int_equal(ip_port_equal(&a, &b), i == j);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct ip_port a = at(kinds[i].text);

		assert_int_equal(ip_addr_is_loopback(&a.addr), kinds[i].loopback);
		assert_int_equal(ip_addr_is_unicast(&a.addr), kinds[i].unicast);
	}
}

/* Runs log_write() with stderr as a file; returns what it wrote. `journal` = the environment names that file. */
static const char *logged(enum log_format format, bool journal, enum log_level level, const char *message)
{
	static char text[4096];
	FILE *file = tmpfile();
	int saved = dup(STDERR_FILENO);
	char stream[64];
	struct stat st;
	size_t length;

	assert_non_null(file);
	assert_int_equal(fstat(fileno(file), &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino + !journal);
	setenv("JOURNAL_STREAM", stream, 1);
	assert_return_code(dup2(fileno(file), STDERR_FILENO), errno);
	log_setup(format, LOG_LEVEL_INFO);
	log_write(level, "%s", message);
	assert_return_code(dup2(saved, STDERR_FILENO), errno);
	close(saved);
	rewind(file);
	length = fread(text, 1, sizeof(text) - 1, file);
	text[length] = '\0';
	fclose(file);
	unsetenv("JOURNAL_STREAM");
	log_setup(LOG_TEXT, LOG_LEVEL_INFO);
	return text;
}

/* The time at the start of a line changes; its form does not. */
static const char *after_time(const char *line)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";

	for (size_t i = 0; form[i]; i++)
		assert_true(form[i] == 'd' ? line[i] >= '0' && line[i] <= '9' : line[i] == form[i]);
	return line + sizeof(form) - 1;
}

static void log_lines_have_their_form(void **state)
{
	const char *line;

	(void)state;
	assert_string_equal(after_time(logged(LOG_TEXT, false, LOG_LEVEL_INFO, "web +1 -0")), " info  web +1 -0\n");
	assert_string_equal(after_time(logged(LOG_TEXT, false, LOG_LEVEL_WARNING, "a")), " warning  a\n");
	assert_string_equal(logged(LOG_TEXT, true, LOG_LEVEL_ERROR, "away"), "<3>away\n");
	assert_string_equal(logged(LOG_TEXT, true, LOG_LEVEL_INFO, "evil\n<0>\x1b[2J"), "<6>evil?<0>?[2J\n");
	assert_string_equal(logged(LOG_TEXT, false, LOG_LEVEL_DEBUG, "too much"), "");
	line = logged(LOG_JSON, true, LOG_LEVEL_NOTICE, "a \"b\"");
	assert_memory_equal(line, "{\"time\":\"", 9);
	assert_string_equal(after_time(line + 9), "\",\"level\":\"notice\",\"message\":\"a \\\"b\\\"\"}\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(error_is_one_sentence),
		cmocka_unit_test(error_is_cut_at_the_end_of_its_buffer),
		cmocka_unit_test(memory_grows),
		cmocka_unit_test(arena_keeps_everything_apart),
		cmocka_unit_test(digests_differ_with_each_byte),
		cmocka_unit_test(addresses_parse_and_print),
		cmocka_unit_test(ports_parse_and_print),
		cmocka_unit_test(numbers_parse),
		cmocka_unit_test(addresses_are_ordered_and_classified),
		cmocka_unit_test(log_lines_have_their_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
