/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/file/file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "discovery/answered.h"
#include "discovery/file-read.h"
#include "discovery/file/service.h"
#include "discovery/file/services.h"
#include "discovery/file/watch.h"
#include "discovery/records.h"

/* What PATH is. */
enum kind { MISSING, SINGLE, DIRECTORY };

struct service {
	char *name;

	struct answered answered;
	uint64_t reported; /* records.digest of the reports that were logged last */

	/* In a directory: */
	struct file_service *files; /* NULL: never read */
	int dropins_watch;	    /* -1 = none */
	bool touched;		    /* is in the list of those to read when all events are in */
	struct service *next_touched;
	uint64_t gone_since; /* uv_hrtime() when its own file was found missing, during the grace; else 0 */
	bool unsettled;	     /* look again soon: see on_dropin_changed() */

	UT_hash_handle hh;
};

struct file_source {
	struct source base;
	source_answer_fn answer;
	void *context;
	struct file_watch *watch;
	uv_timer_t recheck, grace;
	int open_timers;

	char *path, *parent, *name; /* PATH, the directory that it is in, its name there */
	enum kind kind;		    /* as last found; still the old one during the grace */
	bool touched;		    /* read everything again */
	bool watches_parent;	    /* events name PATH's neighbours, not what is in it */
	bool unreadable;	    /* a single file could not be read, so a change of its mode may help */
	char *error;		    /* PATH as a whole cannot be used; else NULL */
	uint64_t gone_since;	    /* as in struct service, for PATH */
	struct file_stamp stamp;    /* of PATH as it was read */
	struct services *services;  /* what a single file says */
	uint64_t received;	    /* when the event behind this reading was seen */

	struct service *watched;
	struct service *touched_services; /* empty between callbacks */
};

static void on_grace(uv_timer_t *timer);

/* Answers. Each says nothing when it would only repeat the one before. */

/* Fills in what all answers have, and hands it over. */
static void give(const struct file_source *source, const struct service *service, const struct file_stamp *stamp,
		 struct answer answer)
{
	char revision[FILE_REVISION_TEXT];

	answer.service = service->name;
	answer.revision = file_stamp_text(stamp, revision);
	answer.received = source->received;
	source->answer(source->context, &answer);
}

static void answer_error(struct file_source *source, struct service *service, const char *text,
			 const struct file_stamp *stamp)
{
	if (answered_error(&service->answered, text))
		give(source, service, stamp, (struct answer){.text = service->answered.error});
}

static void answer_endpoints(struct file_source *source, struct service *service, const struct endpoints *endpoints,
			     uint32_t skipped, const struct file_stamp *stamp)
{
	if (answered_endpoints(&service->answered, endpoints, skipped))
		give(source, service, stamp, (struct answer){.endpoints = endpoints, .skipped = skipped});
}

static void answer_none(struct file_source *source, struct service *service, const struct file_stamp *stamp)
{
	const struct endpoints *none = endpoints_none();

	service->reported = 0;
	answer_endpoints(source, service, none, 0, stamp);
	endpoints_unref(none);
}

static void log_reports(struct service *service, const struct records *records)
{
	if (service->reported == records->digest)
		return;
	service->reported = records->digest;
	for (uint32_t i = 0; i < records->skipped && i < RECORDS_REPORTS; i++)
		log_warning("%s; record skipped", records->reports[i]);
	if (records->skipped > RECORDS_REPORTS)
		log_warning("service %s: and %u more records skipped", service->name,
			    records->skipped - RECORDS_REPORTS);
}

static void answer_records(struct file_source *source, struct service *service, const struct records *records,
			   const struct file_stamp *stamp)
{
	log_reports(service, records);
	if (records->endpoints)
		answer_endpoints(source, service, records->endpoints, records->skipped, stamp);
	else
		answer_error(source, service, records->error, stamp);
}

static void path_failed(struct file_source *source, const char *text)
{
	text_replace(&source->error, text);
	for (struct service *service = source->watched; service; service = service->hh.next)
		answer_error(source, service, text, &source->stamp);
}

/* Looks after what is in its grace, or unsettled, in a while. */
static void tick(struct file_source *source)
{
	if (!uv_is_active((uv_handle_t *)&source->grace))
		uv_timer_start(&source->grace, on_grace, FILE_TICK_MS, 0);
}

/* Something that was there is missing: wait for it a little. */
static void begin_grace(struct file_source *source, uint64_t *gone_since)
{
	if (!*gone_since)
		*gone_since = uv_hrtime();
	tick(source);
}

/* The end of a wait: true once, when it is over. Else *ret_pending tells that there is one. */
static bool end_grace(uint64_t *gone_since, bool *ret_pending)
{
	if (!*gone_since)
		return false;
	if (uv_hrtime() - *gone_since < FILE_GRACE_MS * UINT64_C(1000000)) {
		*ret_pending = true;
		return false;
	}
	*gone_since = 0;
	return true;
}

/* A directory with files for each service. */

static void read_service(struct file_source *source, struct service *service)
{
	const struct records *records;
	struct file_stamp stamp;
	struct error err;

	if (!file_name_is_meant(service->name)) {
		fail(&err, 0, "%s: service %s: no file of this name is read in a directory", source->path,
		     service->name);
		answer_error(source, service, err.text, &source->stamp);
		return;
	}
	if (!service->files)
		service->files = file_service_new(source->path, service->name);
	/* It is watched before it is read, so that no change falls between the two. */
	file_watch_besides(source->watch, &service->dropins_watch, file_service_dropins(service->files));
	records = file_service_read(service->files);
	stamp = file_service_stamp(service->files);
	if (file_service_is_missing(service->files))
		begin_grace(source, &service->gone_since);
	else
		service->gone_since = 0;
	if (records)
		answer_records(source, service, records, &stamp);
}

static void touch(struct file_source *source, struct service *service)
{
	if (service->touched)
		return;
	service->touched = true;
	service->next_touched = source->touched_services;
	source->touched_services = service;
}

/* Takes a service off the list; NULL at its end. */
static struct service *next_touched(struct file_source *source)
{
	struct service *service = source->touched_services;

	if (service) {
		service->touched = false;
		source->touched_services = service->next_touched;
	}
	return service;
}

/* All of them. */
static void touch_files(struct service *service)
{
	if (!service->files)
		return;
	file_service_touch_own(service->files);
	file_service_touch_dropin(service->files, NULL);
}

static void read_whole_directory(struct file_source *source)
{
	text_replace(&source->error, NULL);
	services_free(source->services);
	source->services = NULL;
	source->stamp = file_stamp(source->path);
	for (struct service *service = source->watched; service; service = service->hh.next) {
		touch_files(service);
		read_service(source, service);
	}
}

static void read_touched(struct file_source *source)
{
	struct service *service;

	while ((service = next_touched(source)))
		read_service(source, service);
}

/* The service that has this name without its ending, if it has that; NULL where nobody watches it. */
static struct service *find_by_file(const struct file_source *source, const char *name, const char *ending)
{
	size_t length = strlen(name) - (file_name_ends_in(name, ending) ? strlen(ending) : 0);
	struct service *service;

	HASH_FIND(hh, source->watched, name, length, service);
	return service && service->files ? service : NULL;
}

/* The same for the path of its drop-ins. */
static struct service *find_by_dropins(const struct file_source *source, const char *path)
{
	return find_by_file(source, path + strlen(source->path) + 1, FILE_DROPINS);
}

/* A single file with all services. */

static void answer_single(struct file_source *source, struct service *service)
{
	const struct records *records = services_find(source->services, service->name);

	if (records)
		answer_records(source, service, records, &source->stamp);
	else
		answer_none(source, service, &source->stamp);
}

static void read_single(struct file_source *source)
{
	struct file_text file = {0};
	struct error err;
	int code = file_read(source->path, &file, &err);

	if (code == -ENOENT) {
		begin_grace(source, &source->gone_since);
		return;
	}
	source->stamp = file.stamp;
	source->unreadable = code != 0;
	if (!code)
		code = services_parse(&source->services, source->path, file.text, file.length, &err);
	free(file.text);
	if (code) {
		path_failed(source, err.text);
		return;
	}
	text_replace(&source->error, NULL);
	for (struct service *service = source->watched; service; service = service->hh.next)
		answer_single(source, service);
}

/* PATH, whatever it is. */

static enum kind look(const struct file_source *source, struct error *err)
{
	struct stat st;

	if (stat(source->path, &st) == 0)
		return S_ISDIR(st.st_mode) ? DIRECTORY : SINGLE;
	fail(err, -errno, "%s: %s; it is read as soon as it is there", source->path, strerror(errno));
	return MISSING;
}

static void path_missing(struct file_source *source, const struct error *err)
{
	if (source->kind != MISSING) {
		begin_grace(source, &source->gone_since);
		return;
	}
	source->stamp = (struct file_stamp){0};
	path_failed(source, err->text);
}

static void path_found(struct file_source *source, enum kind kind)
{
	if (kind != source->kind || source->gone_since)
		source->touched = true;
	source->kind = kind;
	source->gone_since = 0;
	if (source->touched && kind == DIRECTORY)
		read_whole_directory(source);
	else if (source->touched)
		read_single(source);
	else
		read_touched(source);
	source->touched = false;
}

static void on_recheck(uv_timer_t *timer);

static void set_recheck(struct file_source *source, uint64_t interval)
{
	if (uv_timer_get_repeat(&source->recheck) != interval)
		uv_timer_start(&source->recheck, on_recheck, interval, interval);
}

/* Reads what was touched. It is watched before it is read, so that no change falls between the two. */
static void reload(struct file_source *source)
{
	struct error err;
	enum kind kind = look(source, &err);
	bool watched = file_watch_set(source->watch, kind == DIRECTORY ? source->path : source->parent,
				      kind == SINGLE ? source->path : NULL);

	source->watches_parent = kind != DIRECTORY;
	set_recheck(source, watched && kind != MISSING ? FILE_RECHECK_MS : FILE_POLL_MS);
	if (kind == MISSING)
		path_missing(source, &err);
	else
		path_found(source, kind);
	source->touched = false;
	while (next_touched(source))
		; /* They were read with the others, or PATH is missing. */
}

static void compare_services(struct file_source *source)
{
	for (struct service *service = source->watched; service; service = service->hh.next) {
		if (service->files && file_service_compare(service->files))
			touch(source, service);
	}
}

static void on_recheck(uv_timer_t *timer)
{
	struct file_source *source = timer->data;
	struct file_stamp now = file_stamp(source->path);

	source->received = uv_hrtime();
	if (source->kind == SINGLE)
		source->touched |= !file_stamp_equal(&now, &source->stamp) && !file_stamp_is_fresh(&now);
	/* A directory's own time says nothing here, but another one may be in its place. */
	if (source->kind == DIRECTORY && (now.inode != source->stamp.inode || now.device != source->stamp.device))
		source->touched = true;
	else if (source->kind == DIRECTORY)
		compare_services(source);
	reload(source);
}

static void on_grace(uv_timer_t *timer)
{
	struct file_source *source = timer->data;
	bool pending = false;

	source->received = uv_hrtime();
	if (end_grace(&source->gone_since, &pending)) {
		source->kind = MISSING;
		reload(source);
	}
	if (source->kind == DIRECTORY && !source->gone_since) {
		for (struct service *service = source->watched; service; service = service->hh.next) {
			bool over = end_grace(&service->gone_since, &pending);

			if (over)
				file_service_forget(service->files);
			if (over || (service->unsettled && file_service_compare(service->files)))
				read_service(source, service);
			service->unsettled = false;
		}
	}
	if (pending)
		tick(source);
}

/* Events. */

/* Kubernetes' volumes swap this link, and with it all files at once. */
#define ATOMIC_LINK "..data"

static void on_file_changed(struct file_source *source, const char *name)
{
	struct service *service = find_by_file(source, name, ".json");

	if (service) {
		file_service_touch_own(service->files);
		touch(source, service);
	}
	service = file_name_ends_in(name, FILE_DROPINS) ? find_by_file(source, name, FILE_DROPINS) : NULL;
	if (service) {
		file_service_touch_dropin(service->files, NULL);
		touch(source, service);
	}
}

static void on_dropin_changed(struct file_source *source, const char *directory, const char *name)
{
	struct service *service = find_by_dropins(source, directory);

	if (!service)
		return;
	file_service_touch_dropin(service->files, name && strcmp(name, ATOMIC_LINK) != 0 ? name : NULL);
	touch(source, service);
	if (name && file_name_ends_in(name, FILE_LIVE)) {
		/* When a process ends, the kernel first says that its file was closed, and then gives up the lock. */
		service->unsettled = true;
		tick(source);
	}
}

static void on_changed(void *context, const char *directory, const char *name)
{
	struct file_source *source = context;

	if (directory)
		on_dropin_changed(source, directory, name);
	else if (!name || strcmp(name, ATOMIC_LINK) == 0 || (source->watches_parent && strcmp(name, source->name) == 0))
		source->touched = true;
	else if (!source->watches_parent)
		on_file_changed(source, name);
}

/* The kernel also says so of files that are just being written: it matters only to what cannot be read. */
static void on_attributes(void *context, const char *directory, const char *name)
{
	struct file_source *source = context;
	struct service *service;

	if (directory) {
		service = find_by_dropins(source, directory);
		if (service && file_service_retry_dropin(service->files, name))
			touch(source, service);
	} else if (!name || source->watches_parent) {
		if (source->unreadable && (!name || strcmp(name, source->name) == 0))
			source->touched = true;
	} else {
		service = find_by_file(source, name, ".json");
		if (service && file_service_retry_own(service->files))
			touch(source, service);
	}
}

static void on_drained(void *context, uint64_t first_seen)
{
	struct file_source *source = context;

	source->received = first_seen;
	if (source->touched || source->touched_services)
		reload(source);
}

static const struct file_watch_events watch_events = {
	.changed = on_changed,
	.attributes = on_attributes,
	.drained = on_drained,
};

/* The source. */

static void set_path(struct file_source *source, const char *path)
{
	size_t length = strlen(path);
	const char *slash;

	while (length > 1 && path[length - 1] == '/')
		length--;
	source->path = xstrndup(path, length);
	slash = strrchr(source->path, '/');
	if (!slash)
		source->parent = xstrdup(".");
	else
		source->parent = xstrndup(source->path, slash == source->path ? 1 : (size_t)(slash - source->path));
	source->name = xstrdup(slash ? slash + 1 : source->path);
}

static void free_service(struct service *service)
{
	answered_clear(&service->answered);
	file_service_free(service->files);
	free(service->name);
	free(service);
}

static void free_source(struct file_source *source)
{
	struct service *service, *next;

	HASH_ITER (hh, source->watched, service, next) {
		HASH_DEL(source->watched, service);
		free_service(service);
	}
	services_free(source->services);
	free(source->error);
	free(source->path);
	free(source->parent);
	free(source->name);
	free(source);
}

static int file_check(const struct registry_conf *conf, struct error *err)
{
	if (!conf->uri[strlen("file:")])
		return fail(err, -EINVAL, "registry \"%s\": " FILE_URI_FORM " is accepted", conf->uri);
	if (conf->ca || conf->cert || conf->key || conf->username || conf->password_file || conf->token_file)
		return fail(
			err, -EINVAL,
			"registry \"%s\": a file has no use for ca, cert, key, username, password_file or token_file",
			conf->uri);
	return 0;
}

static int file_open(uv_loop_t *loop, const struct registry_conf *conf, source_answer_fn answer, void *context,
		     struct source **ret, struct error *err)
{
	struct file_source *source = xcalloc(1, sizeof(*source));
	int code;

	*source = (struct file_source){.base.ops = &file_source_ops, .answer = answer, .context = context};
	set_path(source, conf->uri + strlen("file:"));
	code = file_watch_open(loop, &watch_events, source, &source->watch, err);
	if (code) {
		free_source(source);
		return code;
	}
	uv_timer_init(loop, &source->recheck);
	uv_timer_init(loop, &source->grace);
	source->open_timers = 2;
	source->recheck.data = source->grace.data = source;
	source->received = uv_hrtime();
	reload(source);
	*ret = &source->base;
	return 0;
}

/* The base is the first member. */
static struct file_source *file_source(struct source *source)
{
	return (struct file_source *)source;
}

static void file_watch_service(struct source *base, const char *name)
{
	struct file_source *source = file_source(base);
	struct service *service = xcalloc(1, sizeof(*service));
	struct error err;

	service->name = xstrdup(name);
	service->dropins_watch = -1;
	HASH_ADD_KEYPTR(hh, source->watched, service->name, strlen(service->name), service);
	source->received = uv_hrtime();
	if (source->gone_since)
		fail(&err, 0, "%s: missing for the moment; it is read as soon as it is there", source->path);
	if (source->error || source->gone_since)
		answer_error(source, service, source->error ? source->error : err.text, &source->stamp);
	else if (source->kind == DIRECTORY)
		read_service(source, service);
	else
		answer_single(source, service);
}

static void file_unwatch_service(struct source *base, const char *name)
{
	struct file_source *source = file_source(base);
	struct service *service;

	HASH_FIND_STR(source->watched, name, service);
	if (!service)
		return;
	HASH_DEL(source->watched, service);
	file_watch_besides(source->watch, &service->dropins_watch, NULL);
	free_service(service);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct file_source *source = handle->data;

	if (--source->open_timers == 0)
		free_source(source);
}

static void file_close(struct source *base)
{
	struct file_source *source = file_source(base);

	file_watch_close(source->watch);
	uv_close((uv_handle_t *)&source->recheck, on_timer_closed);
	uv_close((uv_handle_t *)&source->grace, on_timer_closed);
}

const struct source_ops file_source_ops = {
	.scheme = "file",
	.check = file_check,
	.open = file_open,
	.watch = file_watch_service,
	.unwatch = file_unwatch_service,
	.close = file_close,
};
