/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is made of etcd's keys: URIs, ranges, and reads and events that come in any order. */
#include "unit.h"

#include <arpa/inet.h>

#include "base/mem.h"
#include "discovery/backoff.h"
#include "discovery/etcd/keys.h"
#include "discovery/etcd/uri.h"
#include "random.h"

static struct etcd_kv pair(const char *key, const char *value, int64_t revision)
{
	return (struct etcd_kv){
		.key = {key, strlen(key)},
		.value = {value, strlen(value)},
		.mod_revision = revision,
	};
}

static void put_read(struct etcd_keys *keys, const char *key, const char *value, int64_t revision)
{
	const struct etcd_kv kv = pair(key, value, revision);

	etcd_keys_put_read(keys, &kv);
}

static void put(struct etcd_keys *keys, const char *key, const char *value, int64_t revision)
{
	const struct etcd_kv kv = pair(key, value, revision);

	etcd_keys_apply(keys, &kv);
}

static void remove_key(struct etcd_keys *keys, const char *key, int64_t revision)
{
	struct etcd_kv kv = pair(key, "", revision);

	kv.deleted = true;
	etcd_keys_apply(keys, &kv);
}

/* "known" is 10.0.0.9, "slow" is being found out, others do not exist. */
static int resolve(void *context, const char *host, struct ip_addr *ret, struct error *err)
{
	(void)context;
	if (strcmp(host, "known") == 0)
		return ip_addr_parse("10.0.0.9", ret);
	if (strcmp(host, "slow") == 0)
		return -EAGAIN;
	return fail(err, -ENOENT, "host \"%s\": no such name", host);
}

static size_t write_view(char *line, size_t size, const struct etcd_view *view)
{
	size_t used = (size_t)snprintf(line, size, "%s:", view->service->name);
	char at[IP_PORT_TEXT];

	for (uint32_t i = 0; view->endpoints && i < view->endpoints->count; i++)
		used += (size_t)snprintf(line + used, size - used, " %s@%s", view->endpoints->items[i].id,
					 ip_port_text(&view->endpoints->items[i].at, at));
	if (view->error)
		used += (size_t)snprintf(line + used, size - used, " ! %s", view->error);
	if (!view->endpoints && !view->error)
		used += (size_t)snprintf(line + used, size - used, " ?");
	if (view->skipped)
		used += (size_t)snprintf(line + used, size - used, " -%u", view->skipped);
	for (uint32_t i = 0; i < view->n_reports && i < ETCD_REPORTS; i++)
		used += (size_t)snprintf(line + used, size - used, " (%s)", view->reports[i]);
	return used + (size_t)snprintf(line + used, size - used, "\n");
}

/* All services that have changed, a line each. */
static void expect_changes(struct etcd_keys *keys, const char *expected)
{
	static char text[8192];
	struct etcd_view view;
	size_t used = 0;

	text[0] = '\0';
	while (etcd_keys_take_changed(keys, resolve, NULL, &view)) {
		used += write_view(text + used, sizeof(text) - used, &view);
		if (view.endpoints)
			answered_endpoints(&view.service->answered, view.endpoints, view.skipped);
		etcd_view_clear(&view);
	}
	assert_string_equal(text, expected);
}

static int set_up(void **state)
{
	*state = etcd_keys_new("/s/");
	return 0;
}

static int tear_down(void **state)
{
	etcd_keys_free(*state);
	return 0;
}

static void first_read(struct etcd_keys *keys)
{
	etcd_keys_watch(keys, "web");
	etcd_keys_begin_read(keys, true);
	put_read(keys, "/s/web/a", "10.0.0.1:1", 5);
	put_read(keys, "/s/web/b", "10.0.0.2:1", 6);
	assert_int_equal(etcd_keys_end_read(keys, 10), 0);
	expect_changes(keys, "web: a@10.0.0.1:1 b@10.0.0.2:1\n");
}

static void a_service_is_unknown_until_it_is_read(void **state)
{
	struct etcd_keys *keys = *state;

	etcd_keys_watch(keys, "web");
	expect_changes(keys, "");
	etcd_keys_begin_read(keys, true);
	put_read(keys, "/s/web/a", "10.0.0.1:1", 5);
	etcd_keys_watch(keys, "late");
	put_read(keys, "/s/late/a", "10.0.0.1:1", 5);
	expect_changes(keys, "");
	etcd_keys_end_read(keys, 10);
	expect_changes(keys, "web: a@10.0.0.1:1\n");
	etcd_keys_begin_read(keys, false);
	put_read(keys, "/s/web/a", "10.0.0.1:1", 5);
	assert_int_equal(etcd_keys_end_read(keys, 10), 0);
	expect_changes(keys, "late:\n");
}

static void events_are_applied(void **state)
{
	struct etcd_keys *keys = *state;

	first_read(keys);
	put(keys, "/s/web/c", "10.0.0.3:1", 11);
	expect_changes(keys, "web: a@10.0.0.1:1 b@10.0.0.2:1 c@10.0.0.3:1\n");
	remove_key(keys, "/s/web/a", 12);
	remove_key(keys, "/s/web/none", 12);
	put(keys, "/s/other/x", "10.0.0.3:1", 13);
	put(keys, "/s/web", "10.0.0.3:1", 13);
	put(keys, "/t/web/x", "10.0.0.3:1", 13);
	put(keys, "/s", "10.0.0.3:1", 13);
	expect_changes(keys, "web: b@10.0.0.2:1 c@10.0.0.3:1\n");
	put(keys, "/s/web/b", "10.0.0.2:1", 14); /* as a sidekick does */
	expect_changes(keys, "");
}

static void what_is_older_never_wins(void **state)
{
	struct etcd_keys *keys = *state;

	first_read(keys);
	etcd_keys_begin_read(keys, false); /* at revision 10, while the watch tells 11 to 13 */
	put(keys, "/s/web/a", "10.0.0.1:2", 11);
	put_read(keys, "/s/web/a", "10.0.0.1:1", 5);
	put_read(keys, "/s/web/b", "10.0.0.2:1", 6);
	put_read(keys, "/s/web/gone", "10.0.0.4:1", 7);
	remove_key(keys, "/s/web/gone", 12);
	remove_key(keys, "/s/web/gone2", 12);
	put_read(keys, "/s/web/gone2", "10.0.0.5:1", 8);
	put(keys, "/s/web/new", "10.0.0.6:1", 13);
	etcd_keys_end_read(keys, 10);
	expect_changes(keys, "web: a@10.0.0.1:2 b@10.0.0.2:1 new@10.0.0.6:1\n");
	put(keys, "/s/web/gone", "10.0.0.4:1", 14);
	expect_changes(keys, "web: a@10.0.0.1:2 b@10.0.0.2:1 gone@10.0.0.4:1 new@10.0.0.6:1\n");
}

static void a_read_finds_what_the_watch_did_not_tell(void **state)
{
	struct etcd_keys *keys = *state;

	first_read(keys);
	etcd_keys_begin_read(keys, false);
	put_read(keys, "/s/web/a", "10.0.0.1:1", 5);
	put_read(keys, "/s/web/c", "10.0.0.3:1", 12);
	assert_int_equal(etcd_keys_end_read(keys, 12), 2);
	expect_changes(keys, "web: a@10.0.0.1:1 c@10.0.0.3:1\n");
	etcd_keys_begin_read(keys, false); /* is given up */
	etcd_keys_begin_read(keys, false);
	put_read(keys, "/s/web/a", "10.0.0.1:1", 5);
	put_read(keys, "/s/web/c", "10.0.0.3:1", 12);
	assert_int_equal(etcd_keys_end_read(keys, 13), 0);
	expect_changes(keys, "");
}

/* After a restore, revisions are lower than those that were known. */
static void afresh_old_revisions_count_for_nothing(void **state)
{
	struct etcd_keys *keys = *state;

	first_read(keys);
	etcd_keys_begin_read(keys, true);
	put_read(keys, "/s/web/a", "10.0.0.7:1", 2);
	etcd_keys_end_read(keys, 3);
	expect_changes(keys, "web: a@10.0.0.7:1\n");
	etcd_keys_begin_read(keys, true);
	etcd_keys_end_read(keys, 1);
	expect_changes(keys, "web:\n");
}

static void a_key_may_be_of_several_services(void **state)
{
	struct etcd_keys *keys = *state;

	etcd_keys_watch(keys, "db");
	etcd_keys_watch(keys, "db/eu");
	etcd_keys_begin_read(keys, true);
	put_read(keys, "/s/db/eu/1", "10.0.0.1:1", 5);
	put_read(keys, "/s/db/2", "10.0.0.2:1", 5);
	etcd_keys_end_read(keys, 10);
	expect_changes(keys, "db: 2@10.0.0.2:1 eu/1@10.0.0.1:1\ndb/eu: 1@10.0.0.1:1\n");
	etcd_keys_unwatch(keys, "db");
	remove_key(keys, "/s/db/eu/1", 11);
	expect_changes(keys, "db/eu:\n");
}

static void bad_keys_are_skipped_and_reported_once(void **state)
{
	struct etcd_keys *keys = *state;
	struct etcd_kv nul = {.key = {"/s/web/x\0y", 10}, .value = {"10.0.0.8:1", 10}, .mod_revision = 7};

	etcd_keys_watch(keys, "web");
	etcd_keys_begin_read(keys, true);
	put_read(keys, "/s/web/a", "10.0.0.1:1", 5);
	put_read(keys, "/s/web/b", "10.0.0.1:1", 6);
	put_read(keys, "/s/web/dir/", "", 6);
	put_read(keys, "/s/web/no\x01", "10.0.0.2:1", 6);
	etcd_keys_put_read(keys, &nul);
	etcd_keys_end_read(keys, 10);
	expect_changes(keys, "web: a@10.0.0.1:1 -3 "
			     "(etcd's key /s/web/b: 10.0.0.1:1: \"a\" has this id or address already, each is accepted "
			     "once) "
			     "(etcd's key /s/web/no?: its key's end \"no?\": 1-255 printable ASCII characters are "
			     "accepted) "
			     "(etcd's key /s/web/x: a NUL byte in its key)\n");
	put(keys, "/s/web/c", "10.0.0.3:1", 11);
	expect_changes(keys, "web: a@10.0.0.1:1 c@10.0.0.3:1 -3\n");
	remove_key(keys, "/s/web/a", 12); /* b's turn */
	expect_changes(keys, "web: b@10.0.0.1:1 c@10.0.0.3:1 -2\n");
	remove_key(keys, "/s/web/b", 13);
	remove_key(keys, "/s/web/c", 13);
	expect_changes(keys, "web: ! etcd's key /s/web/no?: its key's end \"no?\": 1-255 printable ASCII characters "
			     "are accepted; no key of 2 can be used (for no endpoints, delete them) -2\n");
}

static void names_are_resolved(void **state)
{
	struct etcd_keys *keys = *state;

	etcd_keys_watch(keys, "web");
	etcd_keys_begin_read(keys, true);
	put_read(keys, "/s/web/a", "known:1", 5);
	put_read(keys, "/s/web/b", "slow:1", 5);
	etcd_keys_end_read(keys, 10);
	expect_changes(keys, "web: ?\n"); /* the first answer waits */
	remove_key(keys, "/s/web/b", 11);
	expect_changes(keys, "web: a@10.0.0.9:1\n");
	put(keys, "/s/web/b", "slow:1", 12); /* later ones do not */
	expect_changes(keys, "web: a@10.0.0.9:1\n");
	put(keys, "/s/web/b", "nowhere:1", 13);
	expect_changes(keys, "web: a@10.0.0.9:1 -1 (etcd's key /s/web/b: host \"nowhere\": no such name)\n");
	etcd_keys_host_changed(keys, "other");
	expect_changes(keys, "");
	etcd_keys_host_changed(keys, "known");
	expect_changes(keys, "web: a@10.0.0.9:1 -1\n");
}

/* An etcd with a few keys, a watch that is behind, and a read that takes its time. */
#define MODEL_KEYS 5
#define MODEL_EVENTS 4000

struct model {
	uint16_t ports[MODEL_KEYS], read[MODEL_KEYS]; /* 0 = there is no such key */
	int64_t revisions[MODEL_KEYS], read_revisions[MODEL_KEYS];
	int64_t revision, read_revision; /* read_revision: 0 = no read is under way */
	uint32_t position;		 /* the read's */
	struct {
		uint32_t key;
		uint16_t port;
		int64_t revision;
	} events[MODEL_EVENTS];
	uint32_t happened, told;
};

static struct etcd_kv model_pair(uint32_t key, uint16_t port, int64_t revision)
{
	static char name[32], value[32];

	snprintf(name, sizeof(name), "/s/web/%u", key);
	snprintf(value, sizeof(value), "10.0.0.%u:%u", key + 1, port);
	return (struct etcd_kv){
		.key = {name, strlen(name)},
		.value = {value, port ? strlen(value) : 0},
		.mod_revision = revision,
		.deleted = !port,
	};
}

static void model_change(struct model *model)
{
	uint32_t key = random_between(0, MODEL_KEYS - 1);
	uint16_t port = (uint16_t)random_between(0, 2);

	if (!port && !model->ports[key])
		return;
	model->ports[key] = port;
	model->revisions[key] = ++model->revision;
	model->events[model->happened].key = key;
	model->events[model->happened].port = port;
	model->events[model->happened++].revision = model->revision;
}

static void model_tell(struct model *model, struct etcd_keys *keys)
{
	struct etcd_kv event;

	if (model->told == model->happened)
		return;
	event = model_pair(model->events[model->told].key, model->events[model->told].port,
			   model->events[model->told].revision);
	model->told++;
	etcd_keys_apply(keys, &event);
}

static void model_begin_read(struct model *model, struct etcd_keys *keys, bool afresh)
{
	memcpy(model->read, model->ports, sizeof(model->read));
	memcpy(model->read_revisions, model->revisions, sizeof(model->revisions));
	model->read_revision = model->revision;
	model->position = 0;
	/* A new watch begins behind the read. */
	if (afresh)
		model->told = model->happened;
	etcd_keys_begin_read(keys, afresh);
}

static void model_read(struct model *model, struct etcd_keys *keys)
{
	uint32_t key = model->position++;

	if (key == MODEL_KEYS) {
		etcd_keys_end_read(keys, model->read_revision);
		model->read_revision = 0;
	} else if (model->read[key]) {
		struct etcd_kv kv = model_pair(key, model->read[key], model->read_revisions[key]);

		etcd_keys_put_read(keys, &kv);
	}
}

static void model_step(struct model *model, struct etcd_keys *keys)
{
	uint32_t what = random_between(0, 99);

	if (what < 35)
		model_change(model);
	else if (what < 60)
		model_tell(model, keys);
	else if (what < 65)
		model_begin_read(model, keys, what == 60);
	else if (model->read_revision)
		model_read(model, keys);
}

static void whatever_the_order_it_ends_as_etcd_has_it(void **state)
{
	struct model *model = xcalloc(1, sizeof(*model));
	struct etcd_keys *keys = *state;
	struct etcd_view view;
	uint32_t count;

	random_begin();
	model->revision = 1;
	etcd_keys_watch(keys, "web");
	model_begin_read(model, keys, true);
	for (uint32_t round = 0; round < 200; round++) {
		for (uint32_t i = 0; i < 40 && model->happened < MODEL_EVENTS; i++)
			model_step(model, keys);
		while (model->told < model->happened)
			model_tell(model, keys);
		if (!model->read_revision)
			model_begin_read(model, keys, false);
		while (model->read_revision)
			model_read(model, keys);
		put(keys, "/s/web/z", round % 2 ? "10.0.1.1:1" : "10.0.1.1:2", ++model->revision);
		assert_true(etcd_keys_take_changed(keys, resolve, NULL, &view));
		count = 1;
		for (uint32_t key = 0; key < MODEL_KEYS; key++) {
			char id[16];
			const struct endpoint *endpoint;

			snprintf(id, sizeof(id), "%u", key);
			endpoint = endpoints_find_id(view.endpoints, id);
			assert_int_equal(endpoint ? endpoint->at.port : 0, model->ports[key]);
			count += endpoint != NULL;
		}
		assert_int_equal(view.endpoints->count, count);
		etcd_view_clear(&view);
		remove_key(keys, "/s/web/z", ++model->revision);
	}
	free(model);
}

static void expect_prefix(const struct etcd_keys *keys, const char *expected)
{
	char *prefix = etcd_keys_prefix(keys);

	if (expected)
		assert_string_equal(prefix, expected);
	else
		assert_null(prefix);
	free(prefix);
}

static void the_range_is_what_services_share(void **state)
{
	struct etcd_keys *keys = *state;

	expect_prefix(keys, NULL);
	etcd_keys_watch(keys, "web-1");
	expect_prefix(keys, "/s/web-1/");
	etcd_keys_watch(keys, "web-2");
	expect_prefix(keys, "/s/web-");
	etcd_keys_watch(keys, "db");
	expect_prefix(keys, "/s/");
}

static void uris_are_read(void **state)
{
	static const struct {
		const char *uri, *expected;
	} cases[] = {
		{"etcd://h", "http://h:2379 /"},
		{"etcd://h/", "http://h:2379 /"},
		{"etcds://10.0.0.1,h-2.x:1,[fd00::1]:3/a/b//",
		 "https://10.0.0.1:2379 https://h-2.x:1 https://[fd00::1]:3 /a/b/"},
		{"etcd://[::1]//a", "http://[::1]:2379 /a/"},
		{"etcd://h/a?slash=no", "http://h:2379 a/"},
		{"etcd://h?slash=no", "http://h:2379 "},
		{"etcd://h/a?slash=yes", "http://h:2379 /a/"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct registry_conf conf = {.uri = (char *)(uintptr_t)cases[i].uri};
		struct etcd_uri uri;
		struct error err;
		const char *text = "";

		assert_int_equal(etcd_uri_parse(&conf, &uri, &err), 0);
		for (size_t j = 0; j < uri.n_members; j++)
			text = arena_printf(&uri.arena, "%s%s ", text, uri.members[j]);
		assert_string_equal(arena_printf(&uri.arena, "%s%s", text, uri.prefix), cases[i].expected);
		arena_free(&uri.arena);
	}
}

static void waits_double_up_to_a_minute(void **state)
{
	static const uint32_t longest[] = {250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(longest); i++) {
		assert_int_equal(backoff_ms(i + 1, 0), longest[i]);
		assert_int_equal(backoff_ms(i + 1, longest[i] / 2), longest[i] - longest[i] / 2);
	}
	assert_int_equal(backoff_ms(UINT32_MAX, 0), 60000);
	assert_in_range(backoff_ms(1, UINT32_MAX), 125, 250);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_service_is_unknown_until_it_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(events_are_applied, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_older_never_wins, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_read_finds_what_the_watch_did_not_tell, set_up, tear_down),
		cmocka_unit_test_setup_teardown(afresh_old_revisions_count_for_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_key_may_be_of_several_services, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bad_keys_are_skipped_and_reported_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(names_are_resolved, set_up, tear_down),
		cmocka_unit_test_setup_teardown(whatever_the_order_it_ends_as_etcd_has_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_range_is_what_services_share, set_up, tear_down),
		cmocka_unit_test(uris_are_read),
		cmocka_unit_test(waits_double_up_to_a_minute),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
