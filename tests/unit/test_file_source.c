/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file registry, on a directory of its own and a real event loop. */
#include "unit.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "base/mem.h"
#include "discovery/source.h"

/* Longer than anything takes, the grace and the polling of a missing path included. */
#define PATIENCE_MS 5000
/* Long enough for an event that should not come to come. */
#define SILENCE_MS 50

struct registry {
	uv_loop_t loop;
	uv_timer_t timer;
	struct source *source;
	char directory[64];
	char **answers;			  /* "web=ID,ID" or "web!TEXT", then " (REVISION)" where that is "absent" */
	size_t count, capacity, expected; /* expected: how many of them were looked at */
	uint64_t asked;			  /* uv_hrtime() of the last change */
};

static void on_answer(void *context, const struct answer *answer)
{
	struct registry *registry = context;
	struct arena arena = {0};
	const char *text = "";

	assert_non_null(answer->revision);
	assert_true(answer->received <= uv_hrtime() && answer->received >= registry->asked);
	assert_true(!answer->endpoints == !!answer->text);
	for (uint32_t i = 0; answer->endpoints && i < answer->endpoints->count; i++)
		text = arena_printf(&arena, "%s%s%s", text, i ? "," : "", answer->endpoints->items[i].id);
	ARRAY_GROW(registry->answers, registry->count, registry->capacity);
	registry->answers[registry->count++] =
		xasprintf("%s%c%s%s", answer->service, answer->text ? '!' : '=', answer->text ? answer->text : text,
			  strcmp(answer->revision, "absent") == 0 ? " (absent)" : "");
	arena_free(&arena);
}

static void on_time(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

static void run_until_answer(struct registry *registry, uint64_t milliseconds)
{
	bool over = false;

	registry->timer.data = &over;
	uv_update_time(&registry->loop);
	uv_timer_start(&registry->timer, on_time, milliseconds, 0);
	while (!over && registry->count == registry->expected)
		uv_run(&registry->loop, UV_RUN_ONCE);
	uv_timer_stop(&registry->timer);
}

/* Waits for the next answer, which is this one; "..." at its end stands for anything. */
static void expect(struct registry *registry, const char *expected)
{
	size_t length = strlen(expected);
	const char *answer;

	run_until_answer(registry, PATIENCE_MS);
	assert_true(registry->count > registry->expected);
	answer = registry->answers[registry->expected++];
	if (length > 3 && strcmp(expected + length - 3, "...") == 0)
		assert_memory_equal(answer, expected, length - 3);
	else
		assert_string_equal(answer, expected);
}

static void expect_silence(struct registry *registry)
{
	run_until_answer(registry, SILENCE_MS);
	if (registry->count > registry->expected)
		fail_msg("unexpected: %s", registry->answers[registry->expected]);
}

static const char *path_of(const struct registry *registry, const char *name)
{
	static char path[2][256];
	static unsigned int turn;

	turn ^= 1;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", registry->directory, name);
	return path[turn];
}

static void put_at(struct registry *registry, const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	registry->asked = uv_hrtime();
	assert_return_code(fputs(text, file), errno);
	assert_return_code(fclose(file), errno);
}

/* Writes in place. */
static void put(struct registry *registry, const char *name, const char *text)
{
	put_at(registry, path_of(registry, name), text);
}

static void move(struct registry *registry, const char *from, const char *to)
{
	registry->asked = uv_hrtime();
	assert_return_code(rename(path_of(registry, from), path_of(registry, to)), errno);
}

static void remove_file(struct registry *registry, const char *name)
{
	registry->asked = uv_hrtime();
	assert_return_code(unlink(path_of(registry, name)), errno);
}

static void open_source(struct registry *registry, const char *name)
{
	char *uri = xasprintf("file:%s/%s", registry->directory, name);
	struct error err;

	assert_int_equal(source_open(&registry->loop, &(struct registry_conf){.uri = uri}, on_answer, registry,
				     &registry->source, &err),
			 0);
	free(uri);
}

static int set_up(void **state)
{
	struct registry *registry = xcalloc(1, sizeof(*registry));

	log_setup(LOG_TEXT, LOG_LEVEL_ERROR);
	strcpy(registry->directory, "/tmp/nuncio-file-XXXXXX");
	assert_non_null(mkdtemp(registry->directory));
	assert_int_equal(uv_loop_init(&registry->loop), 0);
	uv_timer_init(&registry->loop, &registry->timer);
	*state = registry;
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int tear_down(void **state)
{
	struct registry *registry = *state;

	source_close(registry->source);
	uv_close((uv_handle_t *)&registry->timer, NULL);
	uv_run(&registry->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&registry->loop), 0);
	assert_return_code(nftw(registry->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS), errno);
	for (size_t i = 0; i < registry->count; i++)
		free(registry->answers[i]);
	free(registry->answers);
	free(registry);
	return 0;
}

static void a_single_file_answers_at_once_and_at_changes(void **state)
{
	struct registry *r = *state;

	put(r, "s.json", "{\"web\": [\"10.0.0.1:80\"], \"db\": []}");
	open_source(r, "s.json");
	source_watch(r->source, "web");
	source_watch(r->source, "db");
	source_watch(r->source, "other");
	assert_int_equal(r->count, 3);
	expect(r, "web=10.0.0.1:80");
	expect(r, "db=");
	expect(r, "other=");
	put(r, "s.json", "{\"web\": [\"10.0.0.1:80\", \"10.0.0.2:80\"], \"db\": []}");
	expect(r, "web=10.0.0.1:80,10.0.0.2:80");
	put(r, "new", "{\"web\": [\"10.0.0.1:80\", \"10.0.0.2:80\"], \"db\": [\"10.0.0.3:1\"]}");
	move(r, "new", "s.json");
	expect(r, "db=10.0.0.3:1");
	/* After the rename, the file that is written is another one than at the start. */
	put(r, "s.json", "{\"db\": [\"10.0.0.3:1\"]}");
	expect(r, "web=");
	source_unwatch(r->source, "db");
	put(r, "s.json", "{\"web\": [\"10.0.0.9:80\"], \"other\": []}");
	expect(r, "web=10.0.0.9:80");
	expect_silence(r);
}

static void what_changes_nothing_is_not_answered(void **state)
{
	struct registry *r = *state;

	put(r, "s.json", "{\"web\": [\"10.0.0.1:80\"]}");
	open_source(r, "s.json");
	source_watch(r->source, "web");
	expect(r, "web=10.0.0.1:80");
	put(r, "s.json", "{\"web\": [\"10.0.0.1:80\"]}");
	put(r, "s.json", "{\"db\": [],\n\"web\": [ {\"port\": 80, \"host\": \"10.0.0.1\"} ]}");
	put(r, "neighbour", "");
	assert_return_code(chmod(path_of(r, "s.json"), 0600), errno);
	expect_silence(r);
	/* A record left out is a change for people, even with the same endpoints. */
	put(r, "s.json", "{\"web\": [\"10.0.0.1:80\", \"10.1.0.300:80\"]}");
	expect(r, "web=10.0.0.1:80");
	put(r, "s.json", "{\"web\": [\"10.1.0.300:80\", \"10.0.0.1:80\"]}");
	expect_silence(r);
}

static void a_broken_file_is_one_error_until_mended(void **state)
{
	struct registry *r = *state;

	put(r, "s.json", "{\"web\": [\"10.0.0.1:80\"]}");
	open_source(r, "s.json");
	source_watch(r->source, "web");
	expect(r, "web=10.0.0.1:80");
	put(r, "s.json", "{\"web\": [\"10.0.0.1:80\"");
	expect(r, "web!/tmp/...");
	put(r, "s.json", "{\"web\": [\"10.0.0.1:80\"");
	expect_silence(r);
	source_watch(r->source, "db");
	expect(r, "db!/tmp/...");
	put(r, "s.json", "");
	expect(r, "web!/tmp/...");
	expect(r, "db!/tmp/...");
	assert_non_null(strstr(r->answers[r->count - 1], "s.json: the file is empty"));
	put(r, "s.json", "{\"web\": [\"10.0.0.1:80\"]}");
	expect(r, "web=10.0.0.1:80");
	expect(r, "db=");
}

static void a_half_written_file_is_not_read(void **state)
{
	struct registry *r = *state;
	FILE *file;

	put(r, "web", "10.0.0.1:80\n10.0.0.2:80\n");
	open_source(r, "");
	source_watch(r->source, "web");
	expect(r, "web=10.0.0.1:80,10.0.0.2:80");
	file = fopen(path_of(r, "web"), "w");
	assert_non_null(file);
	fputs("10.0.0.2:80\n", file);
	fflush(file);
	expect_silence(r);
	fputs("10.0.0.3:80\n", file);
	r->asked = uv_hrtime();
	fclose(file);
	expect(r, "web=10.0.0.2:80,10.0.0.3:80");
	/* A new one, too: it is created before it is written. */
	source_watch(r->source, "db");
	expect(r, "db= (absent)");
	file = fopen(path_of(r, "db.json"), "w");
	assert_non_null(file);
	expect_silence(r);
	fputs("[\"10.0.0.3:1\"]", file);
	fclose(file);
	expect(r, "db=10.0.0.3:1");
}

static void a_single_file_may_go_and_come_back(void **state)
{
	struct registry *r = *state;

	put(r, "s.json", "{\"web\": [\"10.0.0.1:80\"]}");
	open_source(r, "s.json");
	source_watch(r->source, "web");
	expect(r, "web=10.0.0.1:80");
	remove_file(r, "s.json");
	expect_silence(r);
	source_watch(r->source, "db");
	expect(r, "db!/tmp/...");
	put(r, "s.json", "{\"web\": [\"10.0.0.2:80\"]}");
	expect(r, "web=10.0.0.2:80");
	expect(r, "db=");
	remove_file(r, "s.json");
	expect(r, "web!/tmp/...");
	expect(r, "db!/tmp/...");
	put(r, "s.json", "{\"web\": [\"10.0.0.2:80\"]}");
	expect(r, "web=10.0.0.2:80");
	expect(r, "db=");
}

static void a_path_may_be_created_later(void **state)
{
	struct registry *r = *state;

	open_source(r, "sub/s.json");
	source_watch(r->source, "web");
	expect(r, "web!/tmp/...");
	assert_non_null(strstr(r->answers[0], "sub/s.json: No such file or directory"));
	assert_return_code(mkdir(path_of(r, "sub"), 0700), errno);
	put(r, "sub/s.json", "{\"web\": [\"10.0.0.1:80\"]}");
	expect(r, "web=10.0.0.1:80");
	/* And it may be a directory the next time. */
	remove_file(r, "sub/s.json");
	assert_return_code(mkdir(path_of(r, "sub/s.json"), 0700), errno);
	put(r, "sub/s.json/web", "10.0.0.2:80");
	expect(r, "web=10.0.0.2:80");
}

static void a_directory_has_a_file_per_service(void **state)
{
	struct registry *r = *state;

	put(r, "web", "10.0.0.1:80 id=a\n");
	put(r, "db.json", "[\"10.0.0.3:1\"]");
	put(r, "bad", "{}");
	open_source(r, "");
	source_watch(r->source, "web");
	source_watch(r->source, "db");
	source_watch(r->source, "bad");
	source_watch(r->source, "none");
	assert_int_equal(r->count, 4);
	expect(r, "web=a");
	expect(r, "db=10.0.0.3:1");
	expect(r, "bad!/tmp/...");
	expect(r, "none= (absent)");
	put(r, "web", "10.0.0.1:80 id=a\n10.0.0.2:80 id=b\n");
	expect(r, "web=a,b");
	put(r, ".db.json.new", "[]");
	move(r, ".db.json.new", "db.json");
	expect(r, "db=");
	put(r, "none", "# nobody\n");
	expect_silence(r);
	put(r, "none", "10.0.0.4:1");
	expect(r, "none=10.0.0.4:1");
	put(r, "bad", "10.0.0.5:1");
	expect(r, "bad=10.0.0.5:1");
}

static void two_files_for_a_service_are_an_error(void **state)
{
	struct registry *r = *state;

	put(r, "web", "10.0.0.1:80");
	open_source(r, "");
	source_watch(r->source, "web");
	expect(r, "web=10.0.0.1:80");
	put(r, "web.json", "[]");
	expect(r, "web!/tmp/...");
	assert_non_null(strstr(r->answers[1], "both web and web.json are there"));
	remove_file(r, "web");
	expect(r, "web=");
}

static void names_of_no_service_are_refused(void **state)
{
	static const char *const names[] = {".web", "web~", "web.tmp", "web.swp", "web.bak", "#web#", "../web", "a/b"};
	struct registry *r = *state;

	open_source(r, "");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strchr(names[i], '/'))
			put(r, names[i], "10.0.0.1:80");
		source_watch(r->source, names[i]);
		assert_non_null(strstr(r->answers[i], "no file of this name is read in a directory"));
		r->expected++;
	}
	put(r, "x.json", "10.0.0.1:80");
	source_watch(r->source, "x.json");
	expect(r, "x.json= (absent)");
	put(r, "x.json.json", "10.0.0.2:80");
	expect(r, "x.json=10.0.0.2:80");
}

static void a_service_may_go_and_come_back(void **state)
{
	struct registry *r = *state;

	put(r, "web", "10.0.0.1:80");
	open_source(r, "");
	source_watch(r->source, "web");
	expect(r, "web=10.0.0.1:80");
	remove_file(r, "web");
	expect_silence(r);
	put(r, "web", "10.0.0.1:80");
	run_until_answer(r, 1500);
	expect_silence(r);
	remove_file(r, "web");
	expect(r, "web= (absent)");
	assert_true(uv_hrtime() - r->asked >= 1000000000);
	put(r, "web.json", "[\"10.0.0.2:80\"]");
	expect(r, "web=10.0.0.2:80");
}

static void a_directory_that_goes_is_an_error(void **state)
{
	struct registry *r = *state;

	assert_return_code(mkdir(path_of(r, "d"), 0700), errno);
	put(r, "d/web", "10.0.0.1:80");
	open_source(r, "d/");
	source_watch(r->source, "web");
	expect(r, "web=10.0.0.1:80");
	remove_file(r, "d/web");
	assert_return_code(rmdir(path_of(r, "d")), errno);
	expect(r, "web!/tmp/...");
	assert_non_null(strstr(r->answers[1], "/d: No such file or directory"));
	assert_return_code(mkdir(path_of(r, "e"), 0700), errno);
	put(r, "e/web", "10.0.0.1:80");
	move(r, "e", "d");
	expect(r, "web=10.0.0.1:80");
	put(r, "d/web", "10.0.0.2:80");
	expect(r, "web=10.0.0.2:80");
}

static void a_service_and_then_its_directory_may_go(void **state)
{
	struct registry *r = *state;

	assert_return_code(mkdir(path_of(r, "d"), 0700), errno);
	put(r, "d/web", "10.0.0.1:80");
	open_source(r, "d");
	source_watch(r->source, "web");
	expect(r, "web=10.0.0.1:80");
	remove_file(r, "d/web");
	expect_silence(r);
	assert_return_code(rmdir(path_of(r, "d")), errno);
	expect(r, "web!/tmp/...");
	assert_return_code(mkdir(path_of(r, "d"), 0700), errno);
	expect(r, "web= (absent)");
}

static void make_directory(struct registry *registry, const char *name)
{
	registry->asked = uv_hrtime();
	assert_return_code(mkdir(path_of(registry, name), 0700), errno);
}

static void drop_ins_come_and_go_at_once(void **state)
{
	struct registry *r = *state;

	put(r, "db", "10.0.0.7:80");
	open_source(r, "");
	source_watch(r->source, "db");
	expect(r, "db=10.0.0.7:80");
	source_watch(r->source, "web");
	expect(r, "web= (absent)");
	make_directory(r, "web.d");
	expect_silence(r);
	put(r, "web.d/x", "10.0.0.2:80 id=b\n");
	expect(r, "web=b");
	put(r, "web.d/.y.new", "[{\"host\": \"10.0.0.1\", \"port\": 80, \"id\": \"a\"}]");
	put(r, "web.d/z~", "10.0.0.9:80");
	expect_silence(r);
	move(r, "web.d/.y.new", "web.d/y");
	expect(r, "web=a,b");
	put(r, "web.json", "[\"10.0.0.3:80\"]");
	expect(r, "web=10.0.0.3:80,a,b");
	/* At once, and not like a service that may come back. */
	remove_file(r, "db");
	remove_file(r, "web.d/x");
	expect(r, "web=10.0.0.3:80,a");
	expect(r, "db= (absent)");
	/* All that are in a directory that takes another one's place, and then none. */
	make_directory(r, "new");
	put(r, "new/u", "10.0.0.4:80 id=u");
	move(r, "web.d", "old");
	expect(r, "web=10.0.0.3:80");
	move(r, "new", "web.d");
	expect(r, "web=10.0.0.3:80,u");
	put(r, "old/y", "10.0.0.9:80");
	put(r, "web.d/v", "10.0.0.5:80 id=v");
	expect(r, "web=10.0.0.3:80,u,v");
	remove_file(r, "web.json");
	expect(r, "web=u,v");
	assert_true(uv_hrtime() - r->asked >= 1000000000);
	remove_file(r, "web.d/u");
	expect(r, "web=v");
	remove_file(r, "web.d/v");
	expect(r, "web=");
	source_unwatch(r->source, "web");
	put(r, "web.d/v", "10.0.0.5:80 id=v");
	expect_silence(r);
}

static void a_broken_drop_in_does_not_disturb_the_others(void **state)
{
	struct registry *r = *state;

	make_directory(r, "web.d");
	put(r, "web.d/a", "10.0.0.1:80 id=a");
	put(r, "web.d/b", "10.0.0.2:80 id=b");
	put(r, "web.d/c", "[");
	open_source(r, "");
	source_watch(r->source, "web");
	expect(r, "web=a,b");
	put(r, "web.d/a", "[");
	expect(r, "web=a,b"); /* another number is skipped */
	put(r, "web.d/b", "10.0.0.2:80 id=b2");
	expect(r, "web=a,b2");
	put(r, "web", "10.0.0.3:80 id=own");
	expect(r, "web=a,b2,own");
	put(r, "web", "[");
	expect(r, "web=a,b2,own");
	/* The first by name has what two of them claim. */
	put(r, "web.d/b", "10.0.0.1:80\n10.0.0.4:80 id=b2\n");
	expect(r, "web=a,b2,own");
	remove_file(r, "web.d/a");
	expect(r, "web=10.0.0.1:80,b2,own");
}

static void drop_ins_of_which_none_can_be_used_are_an_error(void **state)
{
	struct registry *r = *state;

	make_directory(r, "web.d");
	put(r, "web.d/a", "[");
	open_source(r, "");
	source_watch(r->source, "web");
	expect(r, "web!/tmp/...");
	assert_non_null(strstr(r->answers[0], "web.d/a: web: "));
	put(r, "web.d/a", "[]");
	expect(r, "web=");
}

static void a_live_drop_in_counts_while_it_is_locked(void **state)
{
	struct registry *r = *state;
	int fd;

	make_directory(r, "web.d");
	put(r, "web.d/a.live", "10.0.0.1:80 id=a");
	put(r, "web.d/b", "10.0.0.2:80 id=b");
	open_source(r, "");
	source_watch(r->source, "web");
	expect(r, "web=b");
	put(r, "web.d/.c", "10.0.0.3:80 id=c");
	fd = open(path_of(r, "web.d/.c"), O_WRONLY | O_CLOEXEC);
	assert_return_code(flock(fd, LOCK_EX), errno);
	move(r, "web.d/.c", "web.d/c.live");
	expect(r, "web=b,c");
	put(r, "web.d/b", "10.0.0.4:80 id=b");
	expect(r, "web=b,c");
	/* As when a process is killed. */
	r->asked = uv_hrtime();
	close(fd);
	expect(r, "web=b");
	/* Who has it open without a lock, closes it in vain. */
	fd = open(path_of(r, "web.d/a.live"), O_WRONLY | O_CLOEXEC);
	close(fd);
	expect_silence(r);
}

/* The kernel tells of the closed file first. */
static void a_lock_that_goes_a_little_later_is_noticed(void **state)
{
	struct registry *r = *state;
	int writer, locker;

	make_directory(r, "web.d");
	put(r, "web.d/a.live", "10.0.0.1:80 id=a");
	locker = open(path_of(r, "web.d/a.live"), O_RDONLY | O_CLOEXEC);
	assert_return_code(flock(locker, LOCK_EX), errno);
	open_source(r, "");
	source_watch(r->source, "web");
	expect(r, "web=a");
	writer = open(path_of(r, "web.d/a.live"), O_WRONLY | O_CLOEXEC);
	r->asked = uv_hrtime();
	close(writer);
	uv_run(&r->loop, UV_RUN_NOWAIT); /* it is looked at */
	close(locker);			 /* which nothing tells of */
	expect(r, "web=");
}

static void links_are_followed(void **state)
{
	struct registry *r = *state;

	put(r, "target", "10.0.0.1:80");
	open_source(r, "");
	source_watch(r->source, "web");
	expect(r, "web= (absent)");
	r->asked = uv_hrtime();
	assert_return_code(symlink("target", path_of(r, "web")), errno);
	expect(r, "web=10.0.0.1:80");
	source_watch(r->source, "db");
	expect(r, "db= (absent)");
	r->asked = uv_hrtime();
	assert_return_code(link(path_of(r, "target"), path_of(r, "db")), errno);
	expect(r, "db=10.0.0.1:80");
}

static void mounted_volumes_swap_all_files_at_once(void **state)
{
	struct registry *r = *state;

	assert_return_code(mkdir(path_of(r, "..1"), 0700), errno);
	assert_return_code(mkdir(path_of(r, "..2"), 0700), errno);
	put(r, "..1/web", "10.0.0.1:80");
	put(r, "..2/web", "10.0.0.2:80");
	assert_return_code(symlink("..1", path_of(r, "..data")), errno);
	assert_return_code(symlink("..data/web", path_of(r, "web")), errno);
	open_source(r, "");
	source_watch(r->source, "web");
	expect(r, "web=10.0.0.1:80");
	assert_return_code(symlink("..2", path_of(r, "..data_tmp")), errno);
	move(r, "..data_tmp", "..data");
	expect(r, "web=10.0.0.2:80");
	/* Those of drop-ins, too. */
	make_directory(r, "db.d");
	make_directory(r, "db.d/..1");
	make_directory(r, "db.d/..2");
	put(r, "db.d/..1/a", "10.0.0.1:80");
	put(r, "db.d/..2/a", "10.0.0.2:80");
	assert_return_code(symlink("..1", path_of(r, "db.d/..data")), errno);
	assert_return_code(symlink("..data/a", path_of(r, "db.d/a")), errno);
	source_watch(r->source, "db");
	expect(r, "db=10.0.0.1:80");
	assert_return_code(symlink("..2", path_of(r, "db.d/..data_tmp")), errno);
	move(r, "db.d/..data_tmp", "db.d/..data");
	expect(r, "db=10.0.0.2:80");
}

static void what_is_no_regular_file_is_refused(void **state)
{
	struct registry *r = *state;

	assert_return_code(mkfifo(path_of(r, "web"), 0600), errno);
	open_source(r, "");
	source_watch(r->source, "web");
	expect(r, "web!/tmp/...");
	assert_non_null(strstr(r->answers[0], "web: not a regular file"));
}

/* The container's view of a single file: the directory's events do not come from the file that is mounted over it. */
static void a_mounted_file_is_watched_itself(void **state)
{
	struct registry *r = *state;

	put(r, "s.json", "{}");
	assert_return_code(mkdir(path_of(r, "elsewhere"), 0700), errno);
	put(r, "elsewhere/real", "{\"web\": [\"10.0.0.1:80\"]}");
	if (mount(path_of(r, "elsewhere/real"), path_of(r, "s.json"), "none", MS_BIND, NULL) < 0)
		skip();
	open_source(r, "s.json");
	source_watch(r->source, "web");
	expect(r, "web=10.0.0.1:80");
	put(r, "elsewhere/real", "{\"web\": [\"10.0.0.2:80\"]}");
	expect(r, "web=10.0.0.2:80");
	assert_return_code(umount(path_of(r, "s.json")), errno);
}

#define FILE_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILE_TEST(a_single_file_answers_at_once_and_at_changes),
		FILE_TEST(what_changes_nothing_is_not_answered),
		FILE_TEST(a_broken_file_is_one_error_until_mended),
		FILE_TEST(a_half_written_file_is_not_read),
		FILE_TEST(a_single_file_may_go_and_come_back),
		FILE_TEST(a_path_may_be_created_later),
		FILE_TEST(a_directory_has_a_file_per_service),
		FILE_TEST(two_files_for_a_service_are_an_error),
		FILE_TEST(names_of_no_service_are_refused),
		FILE_TEST(a_service_may_go_and_come_back),
		FILE_TEST(a_directory_that_goes_is_an_error),
		FILE_TEST(a_service_and_then_its_directory_may_go),
		FILE_TEST(drop_ins_come_and_go_at_once),
		FILE_TEST(a_broken_drop_in_does_not_disturb_the_others),
		FILE_TEST(drop_ins_of_which_none_can_be_used_are_an_error),
		FILE_TEST(a_live_drop_in_counts_while_it_is_locked),
		FILE_TEST(a_lock_that_goes_a_little_later_is_noticed),
		FILE_TEST(links_are_followed),
		FILE_TEST(mounted_volumes_swap_all_files_at_once),
		FILE_TEST(what_is_no_regular_file_is_refused),
		FILE_TEST(a_mounted_file_is_watched_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
