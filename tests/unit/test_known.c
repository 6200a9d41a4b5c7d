/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What outlasts the daemon of its registries' answers. */
#include "unit.h"

#include "catalog/known.h"

static const struct endpoints *make(const struct endpoint *items, size_t count)
{
	struct endpoints_builder *builder = endpoints_builder_new();
	const char *other;

	for (size_t i = 0; i < count; i++)
		assert_int_equal(endpoints_builder_add(builder, &items[i], &other), 0);
	return endpoints_builder_finish(builder);
}

static struct ip_port at(const char *text)
{
	struct ip_port at = {0};

	assert_int_equal(ip_port_parse(text, &at), 0);
	return at;
}

static void add(struct known *known, const char *registry, const char *service, const struct endpoint *items,
		size_t count)
{
	const struct endpoints *endpoints = make(items, count);

	known_add(known, &(struct known_service){
				 .registry = registry,
				 .service = service,
				 .revision = "17 \"x\"",
				 .seen = 1763852400,
				 .endpoints = endpoints,
			 });
	endpoints_unref(endpoints);
}

static char *print(const struct known *known)
{
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	known_write(known, out);
	fclose(out);
	return text;
}

static void what_is_written_is_read_again(void **state)
{
	const struct endpoint some[] = {
		{.id = "a", .at = at("10.0.0.1:80"), .weight = 1},
		{.id = "b \"\\", .at = at("[fd00::1]:65535"), .weight = 0, .priority = 7, .zone = "z"},
		{.id = "c", .at = at("10.0.0.1:81"), .weight = 65535, .priority = 65535},
	};
	struct known known = {0}, got;
	const struct endpoints *endpoints = make(some, 3);
	const struct known_service *found;
	char *text;

	(void)state;
	add(&known, "etcd://b/p", "web", some, 3);
	add(&known, "etcd://b/p", "caf\xc3\xa9 \t", some, 1);
	add(&known, "etcd://a/p", "web", NULL, 0);
	text = print(&known);
	assert_int_equal(known_parse(text, strlen(text), "file", &got, NULL), 0);
	assert_int_equal(got.count, 3);
	found = known_find(&got, "etcd://b/p", "web");
	assert_true(endpoints_equal(found->endpoints, endpoints));
	assert_string_equal(found->revision, "17 \"x\"");
	assert_int_equal(found->seen, 1763852400);
	assert_int_equal(known_find(&got, "etcd://a/p", "web")->endpoints->count, 0);
	assert_int_equal(known_find(&got, "etcd://b/p", "caf\xc3\xa9 \t")->endpoints->count, 1);
	assert_null(known_find(&got, "etcd://a/p", "db"));
	assert_null(known_find(&got, "etcd://c/p", "web"));
	known_clear(&known);
	known_clear(&got);
	endpoints_unref(endpoints);
	free(text);
}

static void nothing_is_written_and_read_again(void **state)
{
	struct known known = {0}, got;
	char *text = print(&known);

	(void)state;
	assert_int_equal(known_parse(text, strlen(text), "file", &got, NULL), 0);
	assert_int_equal(got.count, 0);
	assert_null(known_find(&got, "etcd://a/p", "web"));
	known_clear(&got);
	free(text);
}

static void check_refused(const char *text, const char *about)
{
	struct known got;
	struct error err;

	assert_int_equal(known_parse(text, strlen(text), "file", &got, &err), -EINVAL);
	assert_memory_equal(err.text, "file: ", strlen("file: "));
	if (!strstr(err.text, about))
		fail_msg("\"%s\" does not speak of \"%s\"", err.text, about);
	assert_int_equal(got.count, 0);
	assert_null(got.items);
}

#define HEAD "{\"version\":1,\"services\":1}\n"
#define SERVICE(seen, endpoints) \
	"{\"registry\":\"file:x\",\"service\":\"web\",\"revision\":\"\",\"seen\":" seen ",\"endpoints\":" endpoints \
	"}\n"

static void damage_is_refused(void **state)
{
	(void)state;
	check_refused("", "too early");
	check_refused("{\"version\":1,\"services\":0}", "too early");
	check_refused("{\n", "JSON");
	check_refused("[]\n", "version");
	check_refused("{\"version\":2,\"services\":0}\n", "version: expected 1");
	check_refused("{\"version\":1}\n", "services");
	check_refused(HEAD, "too early");
	check_refused(HEAD SERVICE("1", "[]") "x", "follows its 1 services");
	check_refused(HEAD SERVICE("-1", "[]"), "seen");
	check_refused(HEAD SERVICE("\"1\"", "[]"), "seen");
	check_refused(HEAD SERVICE("1", "{}"), "web: {...}");
	check_refused(HEAD SERVICE("1", "[\"10.0.0.1:80\",{\"host\":\"10.0.0.2\",\"port\":0}]"), "web[1]: port 0");
	check_refused(HEAD "{\"registry\":\"file:x\",\"service\":\"web\",\"seen\":1,\"endpoints\":[]}\n", "revision");
	check_refused(HEAD "\n", "JSON");
}

/* Cut off anywhere, it is not the whole any more. */
static void a_part_is_refused(void **state)
{
	const struct endpoint one = {.id = "a", .at = at("10.0.0.1:80"), .weight = 1};
	struct known known = {0}, got;
	char *text;

	(void)state;
	add(&known, "etcd://a/p", "web", &one, 1);
	add(&known, "etcd://a/p", "db", &one, 1);
	text = print(&known);
	for (size_t length = 0; length < strlen(text); length++)
		assert_int_equal(known_parse(text, length, "file", &got, NULL), -EINVAL);
	known_clear(&known);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_again),
		cmocka_unit_test(nothing_is_written_and_read_again),
		cmocka_unit_test(damage_is_refused),
		cmocka_unit_test(a_part_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
