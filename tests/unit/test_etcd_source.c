/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The etcd registry against a server in the same event loop, for what a real etcd does not do when it is asked to:
 * messages in pieces, errors in a stream in the shapes of all versions, a watch that lives and says nothing.
 */
#include "unit.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <uv.h>

#include "base/log.h"
#include "base/mem.h"
#include "discovery/source.h"

/* Longer than it takes to find a dead watch out. */
#define PATIENCE_MS 20000

#define A "{\"key\":\"L3Mvd2ViL2E=\",\"mod_revision\":\"5\",\"value\":\"MTAuMC4wLjE6MQ==\"}" /* /s/web/a 10.0.0.1:1 */
#define B "{\"key\":\"L3Mvd2ViL2I=\",\"mod_revision\":\"6\",\"value\":\"MTAuMC4wLjI6MQ==\"}" /* /s/web/b 10.0.0.2:1 */
#define HEADER(revision) "\"header\":{\"cluster_id\":\"1\",\"member_id\":\"2\",\"revision\":\"" revision "\"}"
#define CREATED "{\"result\":{" HEADER("5") ",\"created\":true}}\n"

struct world {
	uv_loop_t loop;
	uv_tcp_t server;
	uv_timer_t timer;
	struct source *source;
	struct registry_conf conf;

	/* What the server says: of a range; of a watch at its begin. */
	int range_status;
	const char *range, *watch;
	unsigned int ranges, watches; /* asked for */
	struct connection *watcher;   /* the last one */

	char *answers[64]; /* "web=a,b" or "web!..." */
	unsigned int count, expected;
};

struct connection {
	uv_tcp_t tcp;
	struct world *world;
	char heard[8192];
	size_t length;
};

static void on_written(uv_write_t *write, int status)
{
	(void)status;
	free(write->data);
	free(write);
}

static void say(struct connection *connection, char *text)
{
	uv_buf_t buffer = uv_buf_init(text, (unsigned int)strlen(text));
	uv_write_t *write = xcalloc(1, sizeof(*write));

	write->data = text;
	uv_write(write, (uv_stream_t *)&connection->tcp, &buffer, 1, on_written);
}

/* A chunk of the watch; an empty one is its end. */
static void tell(struct world *world, const char *text)
{
	say(world->watcher, xasprintf("%zx\r\n%s\r\n", strlen(text), text));
}

static void answer(struct connection *connection)
{
	struct world *world = connection->world;

	if (strncmp(connection->heard, "POST /v3/watch ", 15) == 0) {
		world->watches++;
		world->watcher = connection;
		say(connection, xasprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n",
					  strlen(world->watch), world->watch));
		return;
	}
	world->ranges++;
	say(connection, xasprintf("HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n%s", world->range_status,
				  strlen(world->range), world->range));
}

static bool is_whole(const char *request)
{
	const char *body = strstr(request, "\r\n\r\n"), *length = strstr(request, "Content-Length: ");

	return body && length && strlen(body + 4) >= strtoul(length + strlen("Content-Length: "), NULL, 10);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct connection *connection = handle->data;

	(void)suggested;
	*buffer = uv_buf_init(connection->heard + connection->length,
			      (unsigned int)(sizeof(connection->heard) - 1 - connection->length));
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void on_heard(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer)
{
	struct connection *connection = stream->data;

	(void)buffer;
	if (length < 0) {
		uv_close((uv_handle_t *)stream, on_closed);
		return;
	}
	connection->length += (size_t)length;
	connection->heard[connection->length] = '\0';
	if (is_whole(connection->heard)) {
		connection->length = 0;
		answer(connection);
	}
}

static void on_connection(uv_stream_t *server, int status)
{
	struct connection *connection = xcalloc(1, sizeof(*connection));

	assert_int_equal(status, 0);
	connection->world = server->data;
	uv_tcp_init(&connection->world->loop, &connection->tcp);
	connection->tcp.data = connection;
	uv_accept(server, (uv_stream_t *)&connection->tcp);
	uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_heard);
}

static void on_answer(void *context, const struct answer *said)
{
	struct world *world = context;
	struct arena arena = {0};
	const char *text = said->text ? said->text : "";

	for (uint32_t i = 0; said->endpoints && i < said->endpoints->count; i++)
		text = arena_printf(&arena, "%s%s%s", text, i ? "," : "", said->endpoints->items[i].id);
	assert_true(world->count < ARRAY_SIZE(world->answers));
	world->answers[world->count++] = xasprintf("%s%c%s", said->service, said->text ? '!' : '=', text);
	arena_free(&arena);
}

static void on_time(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

static bool answered(const struct world *world)
{
	return world->count > world->expected;
}

static bool watched_twice(const struct world *world)
{
	return world->watches == 2;
}

static void run_until(struct world *world, bool (*condition)(const struct world *world))
{
	bool over = false;

	world->timer.data = &over;
	uv_update_time(&world->loop);
	uv_timer_start(&world->timer, on_time, PATIENCE_MS, 0);
	while (!over && !condition(world))
		uv_run(&world->loop, UV_RUN_ONCE);
	uv_timer_stop(&world->timer);
	assert_true(condition(world));
}

/* The next answer is this; of an error, it begins like this. */
static void expect(struct world *world, const char *expected)
{
	const char *text;

	run_until(world, answered);
	text = world->answers[world->expected++];
	if (strchr(expected, '!'))
		assert_memory_equal(text, expected, strlen(expected));
	else
		assert_string_equal(text, expected);
}

static void open_source(struct world *world)
{
	struct sockaddr_in address;
	int length = sizeof(address);
	struct error err;

	uv_tcp_getsockname(&world->server, (struct sockaddr *)&address, &length);
	world->conf.uri = xasprintf("etcd://127.0.0.1:%u/s", ntohs(address.sin_port));
	assert_int_equal(source_open(&world->loop, &world->conf, on_answer, world, &world->source, &err), 0);
	source_watch(world->source, "web");
	expect(world, "web=a");
}

static int set_up(void **state)
{
	struct world *world = xcalloc(1, sizeof(*world));
	struct sockaddr_in address;

	log_setup(LOG_TEXT, LOG_LEVEL_ERROR);
	world->range_status = 200;
	world->range = "{" HEADER("5") ",\"kvs\":[" A "],\"count\":\"1\"}";
	world->watch = CREATED;
	uv_loop_init(&world->loop);
	uv_timer_init(&world->loop, &world->timer);
	uv_tcp_init(&world->loop, &world->server);
	world->server.data = world;
	uv_ip4_addr("127.0.0.1", 0, &address);
	uv_tcp_bind(&world->server, (const struct sockaddr *)&address, 0);
	uv_listen((uv_stream_t *)&world->server, 8, on_connection);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	source_close(world->source);
	uv_close((uv_handle_t *)&world->timer, NULL);
	uv_close((uv_handle_t *)&world->server, NULL);
	uv_run(&world->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&world->loop), 0);
	assert_int_equal(world->count, world->expected);
	while (world->count)
		free(world->answers[--world->count]);
	free(world->conf.uri);
	free(world);
	return 0;
}

static bool watched(const struct world *world)
{
	return world->watches == 1;
}

static void messages_come_in_pieces(void **state)
{
	static const char message[] = "{\"result\":{" HEADER("6") ",\"events\":[{\"kv\":" B "}]}}\n";
	struct world *world = *state;

	open_source(world);
	run_until(world, watched);
	for (const char *at = message; *at; at++) {
		tell(world, (char[]){*at, '\0'});
		uv_run(&world->loop, UV_RUN_NOWAIT);
	}
	expect(world, "web=a,b");
}

/* Parts of one revision, and many messages at once, are one answer. */
static void fragments_and_bursts_are_one_answer(void **state)
{
	struct world *world = *state;

	open_source(world);
	run_until(world, watched);
	tell(world, "{\"result\":{" HEADER("7") ",\"fragment\":true,\"events\":[{\"kv\":" B "}]}}\n");
	for (int i = 0; i < 10; i++)
		uv_run(&world->loop, UV_RUN_NOWAIT);
	tell(world, "{\"result\":{" HEADER("7") ",\"events\":[{\"type\":\"DELETE\",\"kv\":{\"key\":\"L3Mvd2ViL2E=\","
						"\"mod_revision\":\"7\"}}]}}\n");
	expect(world, "web=b");
	tell(world, "{\"result\":{" HEADER(
			    "8") ",\"events\":[{\"type\":1,\"kv\":{\"key\":\"L3Mvd2ViL2I=\","
				 "\"mod_revision\":\"8\"}}]}}\n"
				 "{\"result\":{" HEADER(
					 "9") ",\"events\":[{\"kv\":{\"key\":\"L3Mvd2ViL2E=\",\"mod_revision\":\"9\","
					      "\"value\":\"MTAuMC4wLjE6MQ==\"}}]}}\n");
	expect(world, "web=a");
}

/* Whatever ends a watch, the next one is begun behind another read, and nobody hears of it. */
static void watches_end_in_many_ways(void **state)
{
	static const char *const ends[] = {
		"{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\"}}",
		"{\"error\":{\"code\":14,\"message\":\"etcdserver: no leader\"}}\n",
		"{\"result\":{" HEADER("0") ",\"canceled\":true,\"compact_revision\":\"9\"}}\n",
		"{\"result\":{\"header\":{\"cluster_id\":\"77\"}}}\n",
		"nonsense\n",
		"",
	};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct world *world;

		if (i) {
			tear_down(state);
			set_up(state);
		}
		world = *state;
		open_source(world);
		run_until(world, watched);
		tell(world, ends[i]);
		if (*ends[i])
			tell(world, "");
		world->range = "{" HEADER("5") ",\"kvs\":[" A "," B "]}";
		expect(world, "web=a,b");
		run_until(world, watched_twice);
	}
}

static void errors_are_answered_when_all_members_have_failed(void **state)
{
	struct world *world = *state;

	open_source(world);
	run_until(world, watched);
	world->range_status = 503;
	world->range = "{\"code\":14,\"message\":\"etcdserver: request timed out\",\"details\":[]}";
	tell(world, "");
	expect(world, "web!registry etcd://127.0.0.1:");
	assert_non_null(strstr(world->answers[world->expected - 1], ": etcdserver: request timed out"));
	world->range_status = 200;
	world->range = "{" HEADER("5") ",\"kvs\":[" A "]}";
	expect(world, "web=a");
}

static bool read_twice(const struct world *world)
{
	return world->ranges >= 2;
}

/* Another service makes it read again, and that finds what the watch did not tell and goes on not telling. */
static void a_dead_watch_is_found_out(void **state)
{
	struct world *world = *state;
	struct source_status status;

	open_source(world);
	run_until(world, watched);
	world->range = "{" HEADER("6") ",\"kvs\":[" A "," B "]}";
	source_watch(world->source, "web/none");
	run_until(world, read_twice);
	expect(world, "web=a,b");
	expect(world, "web/none=");
	run_until(world, watched_twice);
	source_status(world->source, &status);
	assert_string_equal(status.revision, "6");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(messages_come_in_pieces, set_up, tear_down),
		cmocka_unit_test_setup_teardown(fragments_and_bursts_are_one_answer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(watches_end_in_many_ways, set_up, tear_down),
		cmocka_unit_test_setup_teardown(errors_are_answered_when_all_members_have_failed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_dead_watch_is_found_out, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
