/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The HTTP client, against a server in the same event loop that says what it is told to. */
#include "unit.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <unistd.h>
#include <uv.h>

#include "base/mem.h"
#include "discovery/http.h"

#define PATIENCE_MS 5000

struct world {
	uv_loop_t loop;
	uv_tcp_t server;
	uv_timer_t timer;
	struct http *http;
	char url[64];
	const char *says; /* by the server, to each request whole; NULL = nothing, ever */
	int connections;
	char heard[65536]; /* by the server, of the last request */
	size_t heard_length;
	uv_stream_t *stream; /* the last connection */

	/* What the client was told. */
	struct http_request *request;
	int ended, code;
	long status;
	char error[256], body[65536], taken[65536], header[64];
	size_t take_at_once;
	bool cancel_in_data, fresh;
};

static void on_written(uv_write_t *write, int status)
{
	(void)status;
	free(write);
}

static void say(struct world *world, const char *text)
{
	uv_write_t *write = xcalloc(1, sizeof(*write));
	uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)text, (unsigned int)strlen(text));

	uv_write(write, world->stream, &buffer, 1, on_written);
}

static void on_connection_closed(uv_handle_t *handle)
{
	free(handle);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct world *world = handle->data;

	(void)suggested;
	*buffer = uv_buf_init(world->heard + world->heard_length,
			      (unsigned int)(sizeof(world->heard) - 1 - world->heard_length));
}

static bool is_whole(const char *request)
{
	const char *body = strstr(request, "\r\n\r\n"), *length = strstr(request, "Content-Length: ");

	return body && (!length || strlen(body + 4) >= strtoul(length + strlen("Content-Length: "), NULL, 10));
}

static void on_heard(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer)
{
	struct world *world = stream->data;

	(void)buffer;
	if (length < 0) {
		if (world->stream == stream)
			world->stream = NULL;
		uv_close((uv_handle_t *)stream, on_connection_closed);
		return;
	}
	world->heard_length += (size_t)length;
	world->heard[world->heard_length] = '\0';
	if (!is_whole(world->heard))
		return;
	world->heard_length = 0;
	if (world->says)
		say(world, world->says);
}

static void on_connection(uv_stream_t *server, int status)
{
	struct world *world = server->data;
	uv_tcp_t *connection = xcalloc(1, sizeof(*connection));

	assert_int_equal(status, 0);
	world->connections++;
	uv_tcp_init(&world->loop, connection);
	connection->data = world;
	uv_accept(server, (uv_stream_t *)connection);
	world->stream = (uv_stream_t *)connection;
	uv_read_start(world->stream, on_alloc, on_heard);
}

static size_t on_data(void *context, const char *bytes, size_t length)
{
	struct world *world = context;
	size_t take = length < world->take_at_once ? length : world->take_at_once;

	strncat(world->taken, bytes, take);
	if (world->cancel_in_data)
		http_cancel(world->request);
	return take;
}

static void on_done(void *context, const struct http_answer *answer)
{
	struct world *world = context;
	const char *header;

	assert_true(!answer->code == !answer->error);
	assert_int_equal(strlen(answer->body), answer->length);
	world->ended++;
	world->code = answer->code;
	world->status = answer->status;
	snprintf(world->error, sizeof(world->error), "%s", answer->error ? answer->error : "");
	snprintf(world->body, sizeof(world->body), "%s", answer->body);
	header = http_answer_header(answer, "x-answer");
	snprintf(world->header, sizeof(world->header), "%s", header ? header : "none");
}

static const struct http_events whole = {.done = on_done}, streamed = {.data = on_data, .done = on_done};

static void ask(struct world *world, const struct http_events *events, const char *body, uint32_t timeout_ms)
{
	static const char *const headers[] = {"X-Test: yes", NULL};
	struct http_conf conf = {
		.url = world->url,
		.body = body,
		.headers = headers,
		.connect_timeout_ms = PATIENCE_MS,
		.timeout_ms = timeout_ms,
		.fresh = world->fresh,
		.unread_max = 100,
	};

	world->ended = 0;
	world->taken[0] = '\0';
	world->request = http_start(world->http, &conf, events, world);
}

static void on_time(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

static bool text_is(const struct world *world, const char *taken)
{
	return taken ? strcmp(world->taken, taken) == 0 : world->ended > 0;
}

/* Runs until this was taken, or (NULL) until the end. */
static void run_until(struct world *world, const char *taken)
{
	bool over = false;

	world->timer.data = &over;
	uv_update_time(&world->loop);
	uv_timer_start(&world->timer, on_time, PATIENCE_MS, 0);
	while (!over && !text_is(world, taken))
		uv_run(&world->loop, UV_RUN_ONCE);
	uv_timer_stop(&world->timer);
	assert_true(text_is(world, taken));
}

static void listen_somewhere(struct world *world)
{
	struct sockaddr_in address;
	int length = sizeof(address);

	uv_ip4_addr("127.0.0.1", 0, &address);
	assert_int_equal(uv_tcp_bind(&world->server, (const struct sockaddr *)&address, 0), 0);
	assert_int_equal(uv_listen((uv_stream_t *)&world->server, 8, on_connection), 0);
	uv_tcp_getsockname(&world->server, (struct sockaddr *)&address, &length);
	snprintf(world->url, sizeof(world->url), "http://127.0.0.1:%u/x", ntohs(address.sin_port));
}

static int set_up(void **state)
{
	struct world *world = xcalloc(1, sizeof(*world));

	uv_loop_init(&world->loop);
	uv_timer_init(&world->loop, &world->timer);
	uv_tcp_init(&world->loop, &world->server);
	world->server.data = world;
	world->take_at_once = SIZE_MAX;
	listen_somewhere(world);
	world->http = http_open(&world->loop);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	http_close(world->http);
	uv_close((uv_handle_t *)&world->timer, NULL);
	if (!uv_is_closing((uv_handle_t *)&world->server))
		uv_close((uv_handle_t *)&world->server, NULL);
	uv_run(&world->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&world->loop), 0);
	free(world);
	return 0;
}

static void requests_share_a_connection(void **state)
{
	struct world *world = *state;

	world->says = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
	for (int i = 0; i < 3; i++) {
		ask(world, &whole, i ? "{\"a\":1}" : NULL, PATIENCE_MS);
		run_until(world, NULL);
		assert_int_equal(world->code, 0);
		assert_int_equal(world->status, 200);
		assert_string_equal(world->body, "hello");
		assert_non_null(strstr(world->heard, "X-Test: yes\r\n"));
		assert_memory_equal(world->heard, i ? "POST /x " : "GET /x ", 7);
	}
	assert_non_null(strstr(world->heard, "{\"a\":1}"));
	assert_int_equal(world->connections, 1);
	world->fresh = true;
	for (int i = 2; i < 4; i++) {
		ask(world, &whole, NULL, PATIENCE_MS);
		run_until(world, NULL);
		assert_int_equal(world->connections, i);
	}
}

static void a_stream_is_taken_piece_by_piece(void **state)
{
	struct world *world = *state;

	world->says = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n";
	ask(world, &streamed, "{}", 0);
	run_until(world, "one");
	world->take_at_once = 0; /* what is left comes again */
	say(world, "4\r\n two\r\n");
	world->take_at_once = 2;
	run_until(world, "one t");
	world->take_at_once = SIZE_MAX;
	say(world, "2\r\n 3\r\n0\r\n\r\n");
	run_until(world, NULL);
	assert_string_equal(world->taken, "one two 3");
	assert_string_equal(world->body, "");
	assert_int_equal(world->code, 0);
}

/* A stream that is refused is an answer as a whole. */
static void headers_are_found(void **state)
{
	struct world *world = *state;

	world->says = "HTTP/1.1 200 OK\r\nX-Answer: 42 \r\nContent-Length: 0\r\n\r\n";
	ask(world, &whole, NULL, PATIENCE_MS);
	run_until(world, NULL);
	assert_string_equal(world->header, "42");
	world->says = "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";
	ask(world, &whole, NULL, PATIENCE_MS);
	run_until(world, NULL);
	assert_string_equal(world->header, "none");
}

static void only_good_answers_are_streams(void **state)
{
	struct world *world = *state;

	world->says = "HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy";
	ask(world, &streamed, "{}", 0);
	run_until(world, NULL);
	assert_string_equal(world->taken, "");
	assert_string_equal(world->body, "busy");
	assert_int_equal(world->status, 503);
}

static void too_much_is_refused(void **state)
{
	struct world *world = *state;
	char text[256];

	snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n%0101d", 0);
	world->says = text;
	ask(world, &whole, NULL, PATIENCE_MS);
	run_until(world, NULL);
	assert_int_equal(world->code, -EMSGSIZE);
	assert_string_equal(world->error, "its answer is too large");
	world->take_at_once = 0; /* a stream of which nothing is taken */
	ask(world, &streamed, NULL, PATIENCE_MS);
	run_until(world, NULL);
	assert_int_equal(world->code, -EMSGSIZE);
}

static void silence_ends(void **state)
{
	struct world *world = *state;

	ask(world, &whole, NULL, 20);
	run_until(world, NULL);
	assert_int_equal(world->code, -ETIMEDOUT);
	assert_string_equal(world->error, "no answer in time");
}

static void a_closed_port_is_an_error(void **state)
{
	struct world *world = *state;

	uv_close((uv_handle_t *)&world->server, NULL);
	uv_run(&world->loop, UV_RUN_NOWAIT);
	ask(world, &whole, NULL, PATIENCE_MS);
	run_until(world, NULL);
	assert_int_equal(world->code, -EIO);
	assert_string_equal(world->error, "Connection refused");
}

static void after_a_cancel_nothing_comes(void **state)
{
	struct world *world = *state;

	world->says = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
	ask(world, &whole, NULL, PATIENCE_MS);
	http_cancel(world->request);
	ask(world, &streamed, NULL, PATIENCE_MS);
	world->cancel_in_data = true;
	run_until(world, "hello");
	for (int i = 0; i < 10; i++)
		uv_run(&world->loop, UV_RUN_NOWAIT);
	assert_int_equal(world->ended, 0);
	ask(world, &whole, NULL, PATIENCE_MS); /* is ended by tear_down() */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(requests_share_a_connection, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_stream_is_taken_piece_by_piece, set_up, tear_down),
		cmocka_unit_test_setup_teardown(headers_are_found, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_good_answers_are_streams, set_up, tear_down),
		cmocka_unit_test_setup_teardown(too_much_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(silence_ends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_closed_port_is_an_error, set_up, tear_down),
		cmocka_unit_test_setup_teardown(after_a_cancel_nothing_comes, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
