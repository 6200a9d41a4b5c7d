/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery/file/service.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

/* One file, or what stands for it while it is missing. */
struct part {
	char *name; /* of a drop-in */
	bool touched;
	bool unreadable;	      /* so a change of its mode may help */
	struct file_stamp stamp;      /* as it was read */
	struct records records;	      /* what it said then */
	const struct endpoints *last; /* the last good ones; or NULL */
	UT_hash_handle hh;
};

struct file_service {
	const char *directory; /* DIR */
	char *name, *dropins;  /* SERVICE, DIR/SERVICE.d */
	struct part own;
	bool own_present; /* is there, or is missing and not forgotten yet */
	bool own_missing;

	bool touched_dropins; /* look which there are, and read them all */
	bool has_dropins;     /* their directory is there */
	char *dropins_error;  /* and cannot be read: there are those that there were */
	struct file_stamp dropins_stamp;
	struct part *parts; /* those that count, or were touched */
	struct records merged;
};

bool file_name_ends_in(const char *name, const char *ending)
{
	size_t length = strlen(name), ending_length = strlen(ending);

	return length >= ending_length && strcmp(name + length - ending_length, ending) == 0;
}

bool file_name_is_meant(const char *name)
{
	static const char *const endings[] = {"~", ".tmp", ".swp", ".bak"};

	for (size_t i = 0; i < ARRAY_SIZE(endings); i++)
		if (file_name_ends_in(name, endings[i]))
			return false;
	return *name && *name != '.' && !strchr(name, '/') && !(*name == '#' && file_name_ends_in(name, "#"));
}

/* Has it changed, and is it not just being written? */
static bool is_changed(const struct file_stamp *now, const struct file_stamp *then)
{
	return !file_stamp_equal(now, then) && !file_stamp_is_fresh(now);
}

/* Parts */

/* Takes the records over. */
static void take_records(struct part *part, struct records *records)
{
	records_clear(&part->records);
	part->records = *records;
	if (!records->endpoints)
		return;
	endpoints_unref(part->last);
	part->last = endpoints_ref(records->endpoints);
}

static void take_error(struct part *part, const char *text)
{
	struct records records = {0};

	records_refuse(&records, "%s", text);
	take_records(part, &records);
}

static void take_nothing(struct part *part)
{
	struct records records = {.endpoints = endpoints_none()};

	take_records(part, &records);
}

static void clear_part(struct part *part)
{
	records_clear(&part->records);
	endpoints_unref(part->last);
	free(part->name);
}

/* The service's own file. "web.json" is the file of the service "web" only. */

static char *own_path(const struct file_service *files, const char *suffix)
{
	return xasprintf("%s/%s%s", files->directory, files->name, suffix);
}

static bool may_be_plain(const struct file_service *files)
{
	return !file_name_ends_in(files->name, ".json");
}

static struct file_stamp own_stamp(const struct file_service *files)
{
	struct file_stamp stamp = {0};
	char *path = own_path(files, "");

	if (may_be_plain(files))
		stamp = file_stamp(path);
	free(path);
	if (!stamp.inode) {
		path = own_path(files, ".json");
		stamp = file_stamp(path);
		free(path);
	}
	return stamp;
}

/* One of the two files that it may be. */
struct candidate {
	const char *suffix;
	int code;
	struct file_text file;
	struct error err;
};

static struct candidate read_candidate(const struct file_service *files, const char *suffix)
{
	struct candidate candidate = {.suffix = suffix, .code = -ENOENT};
	char *path = own_path(files, suffix);

	if (*suffix || may_be_plain(files))
		candidate.code = file_read(path, &candidate.file, &candidate.err);
	free(path);
	return candidate;
}

static void parse_candidate(struct file_service *files, const struct candidate *candidate)
{
	char *place = xasprintf("%s/%s%s: %s", files->directory, files->name, candidate->suffix, files->name);
	struct records records;

	records_parse(place, candidate->file.text, candidate->file.length, &records);
	take_records(&files->own, &records);
	free(place);
}

static void refuse_both(struct file_service *files)
{
	struct error err;

	fail(&err, 0, "%s: service %s: both %s and %s.json are there, one of them is accepted", files->directory,
	     files->name, files->name, files->name);
	take_error(&files->own, err.text);
}

static void take_candidates(struct file_service *files, const struct candidate *plain, const struct candidate *json)
{
	const struct candidate *chosen = plain->code == -ENOENT ? json : plain;

	files->own.stamp = chosen->file.stamp;
	files->own.unreadable = chosen->code && chosen->code != -ENOENT;
	files->own_missing = chosen->code == -ENOENT && files->own_present;
	if (chosen->code == -ENOENT) {
		if (!files->own_present)
			take_nothing(&files->own);
		return;
	}
	files->own_present = true;
	if (chosen->code)
		take_error(&files->own, chosen->err.text);
	else if (chosen == plain && json->code == 0)
		refuse_both(files);
	else
		parse_candidate(files, chosen);
}

static void read_own(struct file_service *files)
{
	struct candidate plain = read_candidate(files, ""), json = read_candidate(files, ".json");

	files->own.touched = false;
	take_candidates(files, &plain, &json);
	free(plain.file.text);
	free(json.file.text);
}

/* Drop-ins */

static char *dropin_path(const struct file_service *files, const char *name)
{
	return xasprintf("%s/%s", files->dropins, name);
}

static void touch(struct file_service *files, const char *name)
{
	struct part *part;

	HASH_FIND_STR(files->parts, name, part);
	if (!part) {
		part = xcalloc(1, sizeof(*part));
		part->name = xstrdup(name);
		HASH_ADD_KEYPTR(hh, files->parts, part->name, strlen(part->name), part);
	}
	part->touched = true;
}

static void remove_part(struct file_service *files, struct part *part)
{
	HASH_DEL(files->parts, part);
	clear_part(part);
	free(part);
}

static bool counts(const char *name, const char *path)
{
	return !file_name_ends_in(name, FILE_LIVE) || file_is_locked(path);
}

/* Returns whether it is there, and counts. */
static bool read_dropin(const struct file_service *files, struct part *part)
{
	char *path = dropin_path(files, part->name), *place = xasprintf("%s: %s", path, files->name);
	struct file_text file = {0};
	struct records records;
	struct error err;
	int code = file_read(path, &file, &err);
	bool there = code != -ENOENT && (code || counts(part->name, path));

	part->stamp = file.stamp;
	part->unreadable = code != 0;
	if (there && code) {
		take_error(part, err.text);
	} else if (there) {
		records_parse(place, file.text, file.length, &records);
		take_records(part, &records);
	}
	free(file.text);
	free(place);
	free(path);
	return there;
}

static int is_dropin(const struct dirent *entry)
{
	return file_name_is_meant(entry->d_name);
}

typedef void (*dropin_fn)(struct file_service *files, const char *name);

static void note_listing(struct file_service *files, int code)
{
	struct error err = {0};

	files->has_dropins = code != -ENOENT && code != -ENOTDIR;
	if (files->has_dropins && code < 0)
		fail(&err, code, "%s: %s", files->dropins, strerror(-code));
	text_replace(&files->dropins_error, *err.text ? err.text : NULL);
	files->dropins_stamp = file_stamp(files->dropins);
}

/* Calls it for each that there is. */
static void list_dropins(struct file_service *files, dropin_fn fn)
{
	struct dirent **entries = NULL;
	int count = scandir(files->dropins, &entries, is_dropin, alphasort);

	note_listing(files, count < 0 ? -errno : 0);
	for (int i = 0; i < count; i++) {
		fn(files, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
}

static void touch_listed(struct file_service *files, const char *name)
{
	touch(files, name);
}

static void read_dropins(struct file_service *files)
{
	struct part *part, *next;

	if (files->touched_dropins) {
		/* Those that are missing, too. */
		for (part = files->parts; part; part = part->hh.next)
			part->touched = true;
		list_dropins(files, touch_listed);
	}
	if (files->has_dropins)
		files->dropins_stamp = file_stamp(files->dropins);
	files->touched_dropins = false;
	HASH_ITER (hh, files->parts, part, next) {
		if (!part->touched)
			continue;
		part->touched = false;
		if (!read_dropin(files, part))
			remove_part(files, part);
	}
}

static void compare_listed(struct file_service *files, const char *name)
{
	char *path = dropin_path(files, name);
	struct file_stamp now = file_stamp(path), none = {0};
	struct part *part;

	HASH_FIND_STR(files->parts, name, part);
	if (counts(name, path) ? is_changed(&now, part ? &part->stamp : &none) : part != NULL)
		touch(files, name);
	free(path);
}

static bool compare_dropins(struct file_service *files)
{
	ino_t former = files->dropins_stamp.inode;
	bool changed = files->dropins_error != NULL;

	for (struct part *part = files->parts; part; part = part->hh.next) {
		char *path = dropin_path(files, part->name);

		part->touched |= !file_stamp(path).inode;
		free(path);
	}
	list_dropins(files, compare_listed);
	changed |= files->dropins_stamp.inode != former;
	for (const struct part *part = files->parts; part; part = part->hh.next)
		changed |= part->touched;
	return changed;
}

/* All together */

static void merge_part(struct records *merged, struct endpoints_builder *builder, const struct part *part)
{
	const struct records *records = &part->records;
	const char *other;

	for (uint32_t i = 0; i < records->skipped && i < RECORDS_REPORTS; i++)
		records_skip(merged, "%s", records->reports[i]);
	if (records->error)
		records_skip(merged, "%s%s", records->error, part->last ? " (its former endpoints stay)" : "");
	for (uint32_t i = 0; part->last && i < part->last->count; i++) {
		const struct endpoint *item = &part->last->items[i];

		if (endpoints_builder_add(builder, item, &other) < 0)
			records_skip(merged, "drop-in %s: \"%s\": \"%s\" has this id or address already", part->name,
				     item->id, other);
	}
}

static int compare_names(const struct part *a, const struct part *b)
{
	return strcmp(a->name, b->name);
}

static void merge(struct file_service *files)
{
	struct endpoints_builder *builder = endpoints_builder_new();
	const char *error = files->own.records.error ? files->own.records.error : files->dropins_error;
	bool usable = files->own_present && files->own.last;

	HASH_SORT(files->parts, compare_names);
	records_clear(&files->merged);
	if (files->dropins_error)
		records_skip(&files->merged, "%s", files->dropins_error);
	merge_part(&files->merged, builder, &files->own);
	for (const struct part *part = files->parts; part; part = part->hh.next) {
		merge_part(&files->merged, builder, part);
		usable |= part->last != NULL;
		error = error ? error : part->records.error;
	}
	files->merged.endpoints = endpoints_builder_finish(builder);
	/* "No endpoints" does not come from a slip. */
	if (usable || !error)
		return;
	records_clear(&files->merged);
	records_refuse(&files->merged, "%s", error);
}

const struct records *file_service_read(struct file_service *files)
{
	if (files->own.touched)
		read_own(files);
	read_dropins(files);
	if (!files->has_dropins)
		return files->own_missing ? NULL : &files->own.records;
	merge(files);
	return &files->merged;
}

bool file_service_is_missing(const struct file_service *files)
{
	return files->own_missing;
}

void file_service_forget(struct file_service *files)
{
	files->own_present = false;
	files->own.touched = true;
}

static void newest(struct file_stamp *ret, const struct file_stamp *other)
{
	const struct timespec *a = &ret->mtime, *b = &other->mtime;

	if (b->tv_sec > a->tv_sec || (b->tv_sec == a->tv_sec && b->tv_nsec > a->tv_nsec))
		*ret = *other;
}

struct file_stamp file_service_stamp(const struct file_service *files)
{
	struct file_stamp stamp = files->own.stamp;

	if (!files->has_dropins)
		return stamp;
	newest(&stamp, &files->dropins_stamp);
	for (const struct part *part = files->parts; part; part = part->hh.next)
		newest(&stamp, &part->stamp);
	return stamp;
}

void file_service_touch_own(struct file_service *files)
{
	files->own.touched = true;
}

void file_service_touch_dropin(struct file_service *files, const char *name)
{
	if (!name)
		files->touched_dropins = true;
	else if (file_name_is_meant(name))
		touch(files, name);
}

bool file_service_retry_own(struct file_service *files)
{
	files->own.touched |= files->own.unreadable;
	return files->own.unreadable;
}

bool file_service_retry_dropin(struct file_service *files, const char *name)
{
	struct part *part;

	HASH_FIND_STR(files->parts, name, part);
	if (!part || !part->unreadable)
		return false;
	part->touched = true;
	return true;
}

bool file_service_compare(struct file_service *files)
{
	struct file_stamp now = own_stamp(files);
	bool own = is_changed(&now, &files->own.stamp), dropins = compare_dropins(files);

	files->own.touched |= own;
	return own || dropins;
}

const char *file_service_dropins(const struct file_service *files)
{
	return files->dropins;
}

struct file_service *file_service_new(const char *directory, const char *name)
{
	struct file_service *files = xcalloc(1, sizeof(*files));

	files->directory = directory;
	files->name = xstrdup(name);
	files->dropins = xasprintf("%s/%s" FILE_DROPINS, directory, name);
	files->own.touched = files->touched_dropins = true;
	return files;
}

void file_service_free(struct file_service *files)
{
	struct part *part, *next;

	if (!files)
		return;
	HASH_ITER (hh, files->parts, part, next)
		remove_part(files, part);
	clear_part(&files->own);
	records_clear(&files->merged);
	free(files->dropins_error);
	free(files->name);
	free(files->dropins);
	free(files);
}
