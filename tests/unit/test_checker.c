/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Many targets in a real loop: that each gets its turn, also beside many that never answer, and that few sockets do. */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/mem.h"
#include "health/checker.h"

#define GOOD 20
#define HUNG 1200
#define ROUNDS_HUNG 3  /* that every one of them has to get */
#define ROUNDS_GOOD 15 /* in which time these get so many: 44 with nothing else to do, 4 in one queue with the hung */

struct world {
	uv_loop_t loop;
	uv_timer_t look;
	struct checker *checker;
	struct check_watcher good[GOOD], hung[HUNG];
	uint32_t changes, files_before, files_most;
	const char *refusal;
	bool remember;
};

static uint32_t count_files(void)
{
	DIR *directory = opendir("/proc/self/fd");
	uint32_t count = 0;

	// cppcheck-suppress readdirCalled; there is one thread
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

static int make_socket(void *context, int family)
{
	struct world *world = context;
	uint32_t files = count_files();

	if (files > world->files_most)
		world->files_most = files;
	return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static const char *refuse(void *context, const struct ip_port *at)
{
	const struct world *world = context;

	(void)at;
	return world->refusal;
}

static void on_changed(void *context, const struct check_watcher *watcher, enum verdict before, int64_t before_since)
{
	struct world *world = context;

	(void)before, (void)before_since;
	assert_ptr_equal(watcher->owner, world);
	world->changes++;
}

static bool remembered(void *context, const struct ip_port *at, const char *probe, struct check_report *ret)
{
	const struct world *world = context;

	(void)at;
	assert_string_equal(probe, "tcp port 0");
	*ret = (struct check_report){.verdict = VERDICT_DOWN, .reason = "refused", .since = 5, .last_good = 4};
	return world->remember;
}

static const struct checker_events events = {make_socket, refuse, on_changed, remembered};

static void begin(struct world *world)
{
	*world = (struct world){0};
	uv_loop_init(&world->loop);
	uv_timer_init(&world->loop, &world->look);
	world->look.data = world;
	world->files_before = count_files();
	world->checker = checker_open(&world->loop, &events, world);
}

static void end(struct world *world)
{
	for (size_t i = 0; i < GOOD; i++)
		checker_unwatch(&world->good[i]);
	for (size_t i = 0; i < HUNG; i++)
		checker_unwatch(&world->hung[i]);
	checker_close(world->checker);
	uv_close((uv_handle_t *)&world->look, NULL);
	uv_run(&world->loop, UV_RUN_DEFAULT);
	assert_int_equal(count_files(), world->files_before);
	assert_int_equal(uv_loop_close(&world->loop), 0);
}

/* Listens on all of 127/8; one that is `full` answers no SYN any more. Returns the port. */
static uint16_t listen_anywhere(bool full, int fds[3])
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);

	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fds[0], (const struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(fds[0], full ? 0 : 4096), 0);
	assert_int_equal(getsockname(fds[0], (struct sockaddr *)&address, &size), 0);
	for (size_t i = 1; i < 3; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (full)
			assert_true(connect(fds[i], (const struct sockaddr *)&address, size) == 0 ||
				    errno == EINPROGRESS);
	}
	return ntohs(address.sin_port);
}

static void close_all(const int fds[3])
{
	for (size_t i = 0; i < 3; i++)
		close(fds[i]);
}

static void watch(struct world *world, struct check_method *method, uint16_t port, struct check_watcher *watchers,
		  size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct ip_port at = {.addr = {AF_INET, {127, 0, (uint8_t)(i / 250), (uint8_t)(i % 250 + 1)}},
				     .port = port};

		watchers[i].owner = world;
		checker_watch(method, &at, &watchers[i]);
	}
}

/* Until the last of the hung ones has been waited for in vain so often. */
static void on_look(uv_timer_t *timer)
{
	struct world *world = timer->data;

	for (size_t i = 0; i < HUNG; i++) {
		struct check_report report = check_report(world->hung[i].target);

		if (report.verdict != VERDICT_DOWN || report.in_a_row < ROUNDS_HUNG)
			return;
	}
	uv_stop(timer->loop);
}

static void who_answers_does_not_wait_for_who_does_not(void **state)
{
	struct link_check conf = check_default;
	struct check_method *method;
	struct world world;
	uint16_t port_full, port_good;
	int good[3], full[3];

	(void)state;
	port_full = listen_anywhere(true, full);
	port_good = listen_anywhere(false, good);
	begin(&world);
	conf.probe.kind = PROBE_TCP;
	conf.probe.timeout_ms = 400;
	conf.interval_ms = conf.fast_interval_ms = 50;
	method = check_method_take(world.checker, &conf);
	watch(&world, method, port_full, world.hung, HUNG);
	watch(&world, method, port_good, world.good, GOOD);
	checker_resume(world.checker);
	uv_timer_start(&world.look, on_look, 50, 50);
	uv_run(&world.loop, UV_RUN_DEFAULT);
	for (size_t i = 0; i < GOOD; i++) {
		struct check_report report = check_report(world.good[i].target);

		assert_int_equal(report.verdict, VERDICT_UP);
		assert_true(report.in_a_row >= ROUNDS_GOOD);
	}
	assert_int_equal(world.changes, GOOD + HUNG);
	/* 512 at a time; and some that the loop has for itself. */
	assert_true(world.files_most > world.files_before + 400 && world.files_most < world.files_before + 550);
	check_method_drop(method);
	end(&world);
	close_all(good);
	close_all(full);
}

static struct link_check quick_tcp(void)
{
	struct link_check conf = check_default;

	conf.probe.kind = PROBE_TCP;
	conf.interval_ms = 100;
	return conf;
}

static void on_first_check(uv_timer_t *timer)
{
	struct world *world = timer->data;
	struct check_report report = check_report(world->good[0].target);

	if (report.checked || report.unchecked)
		uv_stop(timer->loop);
}

static struct check_report first_report(struct world *world)
{
	uv_timer_start(&world->look, on_first_check, 1, 1);
	uv_run(&world->loop, UV_RUN_DEFAULT);
	uv_timer_stop(&world->look);
	return check_report(world->good[0].target);
}

static void who_watches_the_same_shares_it(void **state)
{
	struct link_check conf = quick_tcp(), slower = conf, http = conf;
	struct check_method *one, *same, *other, *another;
	struct world world;
	int fds[3];
	uint16_t port = listen_anywhere(false, fds);

	(void)state;
	begin(&world);
	slower.interval_ms = 200;
	http.probe.kind = PROBE_HTTP;
	one = check_method_take(world.checker, &conf);
	same = check_method_take(world.checker, &conf);
	other = check_method_take(world.checker, &slower);
	another = check_method_take(world.checker, &http);
	assert_ptr_equal(one, same);
	assert_true(one != other && one != another && other != another);
	watch(&world, one, port, world.good, 2);
	watch(&world, same, port, world.good + 2, 1);
	assert_ptr_equal(world.good[0].target, world.good[2].target);
	assert_ptr_not_equal(world.good[0].target, world.good[1].target);
	checker_resume(world.checker);
	assert_int_equal(first_report(&world).verdict, VERDICT_UP);
	/* The same attempts at another pace begin with what is known. */
	watch(&world, other, port, world.good + 3, 1);
	assert_int_equal(check_report(world.good[3].target).verdict, VERDICT_UP);
	check_method_drop(one);
	check_method_drop(same);
	check_method_drop(other);
	check_method_drop(another);
	end(&world);
	close_all(fds);
}

static void what_was_down_begins_so(void **state)
{
	struct link_check conf = quick_tcp();
	struct check_method *method;
	struct check_report report;
	struct world world;
	int fds[3];
	uint16_t port = listen_anywhere(false, fds);

	(void)state;
	begin(&world);
	world.remember = true;
	conf.interval_ms = 60000;
	conf.fast_interval_ms = 60000;
	method = check_method_take(world.checker, &conf);
	watch(&world, method, port, world.good, 1);
	report = check_report(world.good[0].target);
	assert_true(report.verdict == VERDICT_DOWN && report.remembered && report.since == 5 && report.last_good == 4);
	assert_string_equal(report.reason, "refused");
	checker_resume(world.checker);
	report = first_report(&world);
	assert_true(report.verdict == VERDICT_DOWN && !report.remembered && report.since == 5);
	assert_true(report.against == 1 && report.needed == 2 && report.last_good == report.checked);
	assert_string_equal(report.doubt, "connected");
	assert_int_equal(world.changes, 0);
	check_method_drop(method);
	end(&world);
	close_all(fds);
}

static void what_must_not_be_checked_is_unknown(void **state)
{
	struct link_check conf = quick_tcp();
	struct check_method *method;
	struct check_report report;
	struct world world;
	int fds[3];
	uint16_t port = listen_anywhere(false, fds);

	(void)state;
	begin(&world);
	world.remember = true;
	world.refusal = "because";
	method = check_method_take(world.checker, &conf);
	watch(&world, method, port, world.good, 1);
	checker_resume(world.checker);
	report = first_report(&world);
	assert_true(report.verdict == VERDICT_UNKNOWN && report.unchecked && !report.checked);
	assert_string_equal(report.reason, "because");
	assert_int_equal(world.changes, 1);
	assert_int_equal(world.files_most, 0);
	check_method_drop(method);
	end(&world);
	close_all(fds);
}

static void a_pause_ends_attempts_and_no_verdicts(void **state)
{
	struct link_check conf = quick_tcp();
	struct check_method *method;
	struct world world;
	int fds[3];
	uint16_t port = listen_anywhere(true, fds);

	(void)state;
	begin(&world);
	conf.probe.timeout_ms = 3600000;
	method = check_method_take(world.checker, &conf);
	watch(&world, method, port, world.hung, 10);
	checker_resume(world.checker);
	while (count_files() < world.files_before + 10)
		uv_run(&world.loop, UV_RUN_ONCE);
	checker_pause(world.checker);
	assert_int_equal(count_files(), world.files_before);
	assert_int_equal(uv_run(&world.loop, UV_RUN_DEFAULT), 0); /* nothing is left to come */
	assert_int_equal(check_report(world.hung[0].target).verdict, VERDICT_UNKNOWN);
	assert_int_equal(world.changes, 0);
	checker_resume(world.checker);
	while (count_files() < world.files_before + 10)
		uv_run(&world.loop, UV_RUN_ONCE);
	check_method_drop(method);
	end(&world);
	close_all(fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_answers_does_not_wait_for_who_does_not),
		cmocka_unit_test(who_watches_the_same_shares_it),
		cmocka_unit_test(what_was_down_begins_so),
		cmocka_unit_test(what_must_not_be_checked_is_unknown),
		cmocka_unit_test(a_pause_ends_attempts_and_no_verdicts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
