/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration file: JSON with // comments. Every message has the line, or the JSON path. */
#include <cJSON.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/draft.h"
#include "config/keys.h"

struct reader {
	struct draft *draft;
	const char *path;
	struct ambassador_draft *ambassador; /* whose links are being read */
};

/* Reads a value that stands at `where`. */
typedef int (*read_fn)(struct reader *reader, const char *where, const cJSON *value, struct error *err);

/* The place of an object's member: "nuncio.json: links", "nuncio.json: links[0].name". */
static const char *member_place(struct reader *reader, const char *where, const char *name)
{
	bool is_top = where == reader->path; /* no JSON path yet, only the file */

	return arena_printf(&reader->draft->scratch, is_top ? "%s: %s" : "%s.%s", where, name);
}

static int refuse_type(const char *where, const cJSON *value, const char *accepted, struct error *err)
{
	char *said = cJSON_PrintUnformatted(value);
	int r = fail(err, -EINVAL, "%s: %.60s is not accepted: expected %s", where, said ? said : "this", accepted);

	cJSON_free(said);
	return r;
}

static int read_text(struct reader *reader, const char *where, const cJSON *value, const char *accepted, char **ret,
		     struct error *err)
{
	char expected[300];

	if (!cJSON_IsString(value)) {
		snprintf(expected, sizeof(expected), "a string: %s", accepted);
		return refuse_type(where, value, expected, err);
	}
	*ret = arena_strdup(reader->draft->arena, value->valuestring);
	return 0;
}

/* The value of a link's key as text; a truth value or a number may stand without quotes where the key takes one. */
static int read_value(struct reader *reader, const struct key *key, const char *where, const cJSON *value, char **ret,
		      struct error *err)
{
	if ((key->flags & KEY_TRUTH) && cJSON_IsBool(value))
		*ret = arena_strdup(reader->draft->arena, cJSON_IsTrue(value) ? "true" : "false");
	else if ((key->flags & KEY_NUMBER) && cJSON_IsNumber(value))
		*ret = arena_printf(reader->draft->arena, "%.10g", value->valuedouble);
	else
		return read_text(reader, where, value, key->values, ret, err);
	return 0;
}

static int read_list(struct reader *reader, const char *where, const cJSON *list, const char *accepted, read_fn read,
		     struct error *err)
{
	const cJSON *item;
	size_t i = 0;
	int r;

	if (!cJSON_IsArray(list))
		return refuse_type(where, list, accepted, err);
	cJSON_ArrayForEach (item, list) {
		r = read(reader, arena_printf(&reader->draft->scratch, "%s[%zu]", where, i++), item, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int refuse_duplicates(const char *where, const cJSON *object, struct error *err)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, object) {
		/* The first of this name: itself, if there is one only. */
		if (cJSON_GetObjectItemCaseSensitive(object, item->string) != item)
			return fail(err, -EINVAL, "%s: the key " VALUE " is there twice: keep one", where,
				    item->string);
	}
	return 0;
}

static int refuse_missing(const char *where, const cJSON *object, const struct key *table, key_filter filter,
			  struct error *err)
{
	for (const struct key *key = table; key->name; key++)
		if (filter(key) && !key->fallback && !cJSON_GetObjectItemCaseSensitive(object, key->name))
			return fail(err, -EINVAL, "%s: \"%s\" is missing: expected %s", where, key->name, key->values);
	return 0;
}

/* Checks that it is an object with fit keys, each once, and with those that have to be there. */
static int check_object(const char *where, const cJSON *object, const struct key *table, key_filter filter,
			struct error *err)
{
	const struct key *key;
	const cJSON *item;
	int r;

	if (!cJSON_IsObject(object))
		return refuse_type(where, object, "an object", err);
	cJSON_ArrayForEach (item, object) {
		r = key_find(table, item->string, filter, &key, err);
		if (r < 0)
			return fail_prefix(err, r, "%s", where);
	}
	r = refuse_duplicates(where, object, err);
	return r < 0 ? r : refuse_missing(where, object, table, filter, err);
}

/* A key whose value is an object: its members, and whether they go together. */
static int set_members(struct reader *reader, struct link_draft *link, const struct key_object *object,
		       const char *where, const cJSON *value, struct error *err)
{
	const struct key *key;
	const cJSON *item;
	char *text = NULL;
	int r = check_object(where, value, object->members, key_is_accepted, err);

	object->begin(&link->conf);
	for (item = value->child; r == 0 && item; item = item->next) {
		const char *place = member_place(reader, where, item->string);

		r = key_find(object->members, item->string, key_is_accepted, &key, err);
		if (r == 0)
			r = read_value(reader, key, place, item, &text, err);
		if (r < 0)
			return r;
		r = key->set(key, &link->conf, text, err);
		if (r < 0)
			return fail_prefix(err, r, "%s", place);
	}
	if (r < 0)
		return r;
	r = object->end(&link->conf, err);
	return r < 0 ? fail_prefix(err, r, "%s", where) : 0;
}

static int set_key(struct reader *reader, struct link_draft *link, const struct key *key, const cJSON *value,
		   struct error *err)
{
	const char *where = member_place(reader, link->conf.origin, key->name);
	const struct key_object *object = key_object_find(key);
	char *text = NULL;
	int r;

	if (object && cJSON_IsObject(value))
		return set_members(reader, link, object, where, value, err);
	r = read_value(reader, key, where, value, &text, err);
	return r < 0 ? r : draft_set(link, key, text, err);
}

/* Sets the link's keys that a checked object has. */
static int set_keys(struct reader *reader, struct link_draft *link, const cJSON *object, key_filter filter,
		    struct error *err)
{
	const struct key *key;
	const cJSON *item;
	int r;

	cJSON_ArrayForEach (item, object) {
		r = key_find(link_keys, item->string, filter, &key, err);
		if (r == 0)
			r = set_key(reader, link, key, item, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_link(struct reader *reader, const char *where, const cJSON *value, struct error *err)
{
	struct link_draft *link;
	int r;

	r = check_object(where, value, link_keys, key_is_accepted, err);
	if (r < 0)
		return r;
	link = draft_new_link(reader->draft, LEVEL_FILE, where);
	r = set_keys(reader, link, value, key_is_accepted, err);
	return r < 0 ? r : draft_add_link(reader->ambassador, link, err);
}

static int read_links(struct reader *reader, const char *where, const cJSON *value, struct error *err)
{
	return read_list(reader, where, value, LINKS_FORM, read_link, err);
}

static int read_top_links(struct reader *reader, const char *where, const cJSON *value, struct error *err)
{
	reader->ambassador = &reader->draft->ambassadors[0];
	reader->draft->says_links = true;
	return read_links(reader, where, value, err);
}

static int read_ambassador(struct reader *reader, const char *where, const cJSON *value, struct error *err)
{
	const cJSON *netns = cJSON_GetObjectItemCaseSensitive(value, "netns");
	const cJSON *links = cJSON_GetObjectItemCaseSensitive(value, "links");
	char *text = NULL;
	int r;

	r = check_object(where, value, ambassador_keys, key_is_accepted, err);
	if (r == 0)
		r = read_text(reader, member_place(reader, where, "netns"), netns, NETNS_FORM, &text, err);
	if (r < 0)
		return r;
	reader->ambassador = draft_add_ambassador(reader->draft, text, where);
	return read_links(reader, member_place(reader, where, "links"), links, err);
}

static int read_ambassadors(struct reader *reader, const char *where, const cJSON *value, struct error *err)
{
	return read_list(reader, where, value, AMBASSADORS_FORM, read_ambassador, err);
}

static int read_default_registry(struct reader *reader, const char *where, const cJSON *value, struct error *err)
{
	reader->draft->registry_origin = where;
	return read_text(reader, where, value, REGISTRY_FORM, &reader->draft->registry, err);
}

static int read_docker(struct reader *reader, const char *where, const cJSON *value, struct error *err)
{
	struct draft *draft = reader->draft;

	draft->docker_origin = where;
	if (!cJSON_IsBool(value))
		return read_text(reader, where, value, DOCKER_FORM, &draft->docker, err);
	draft->docker = cJSON_IsTrue(value) ? arena_strdup(draft->arena, "") : NULL;
	return 0;
}

static int read_metrics(struct reader *reader, const char *where, const cJSON *value, struct error *err)
{
	reader->draft->metrics_origin = where;
	return read_text(reader, where, value, METRICS_FORM, &reader->draft->metrics, err);
}

static int read_registry_keys(struct reader *reader, const char *where, const cJSON *object, struct registry_conf *ret,
			      struct error *err)
{
	const struct {
		const char *name;
		char **text;
	} members[] = {
		{"uri", &ret->uri},
		{"ca", &ret->ca},
		{"cert", &ret->cert},
		{"key", &ret->key},
		{"username", &ret->username},
		{"password_file", &ret->password_file},
		{"token_file", &ret->token_file},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(members); i++) {
		const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, members[i].name);

		if (value)
			r = read_text(reader, member_place(reader, where, members[i].name), value,
				      i ? "not empty" : URI_FORM, members[i].text, err);
	}
	return r;
}

/* One entry of "registries", whose name is its key. */
static int read_registry(struct reader *reader, const char *where, const cJSON *value, struct error *err)
{
	struct registry_conf conf = {0};
	const struct registry_conf *checked;
	int r;

	/* A URI is told from a name by its colon. */
	if (!*value->string || strchr(value->string, ':'))
		return fail(err, -EINVAL, "%s: a registry's name is not empty and has no ':'", where);
	r = check_object(where, value, registry_keys, key_is_accepted, err);
	if (r == 0)
		r = read_registry_keys(reader, where, value, &conf, err);
	if (r < 0)
		return r;
	draft_add_registry(reader->draft, value->string, &conf);
	/* For what is wrong with one that no link uses. */
	r = draft_resolve_registry(reader->draft, value->string, &checked, err);
	return r < 0 ? fail_prefix(err, r, "%s", where) : 0;
}

static int read_registries(struct reader *reader, const char *where, const cJSON *value, struct error *err)
{
	const cJSON *item;
	int r;

	if (!cJSON_IsObject(value))
		return refuse_type(where, value, REGISTRIES_FORM, err);
	r = refuse_duplicates(where, value, err);
	if (r < 0)
		return r;
	cJSON_ArrayForEach (item, value) {
		r = read_registry(reader, member_place(reader, where, item->string), item, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The defaults are a link without listen and service, which every later link starts as a copy of. */
static int read_defaults(struct reader *reader, const char *where, const cJSON *value, struct error *err)
{
	struct link_draft *link;
	int r;

	r = check_object(where, value, link_keys, key_is_default, err);
	if (r < 0)
		return r;
	link = draft_new_link(reader->draft, LEVEL_FILE, where);
	r = set_keys(reader, link, value, key_is_default, err);
	if (r == 0)
		reader->draft->defaults = link->conf;
	return r;
}

static int read_top(struct reader *reader, const cJSON *root, struct error *err)
{
	/* In this order, whatever theirs is in the file: links start from the defaults. */
	static const struct {
		const char *name;
		read_fn read;
	} members[] = {
		{"registry", read_default_registry}, {"registries", read_registries},	{"defaults", read_defaults},
		{"links", read_top_links},	     {"ambassadors", read_ambassadors}, {"docker", read_docker},
		{"metrics", read_metrics},
	};
	int r;

	r = check_object(reader->path, root, top_keys, key_is_accepted, err);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(members); i++) {
		const cJSON *value = cJSON_GetObjectItemCaseSensitive(root, members[i].name);

		if (value)
			r = members[i].read(reader, member_place(reader, reader->path, members[i].name), value, err);
	}
	return r;
}

/* Returns the last byte that it overwrote. */
static char *blank_line(char *text)
{
	size_t length = strcspn(text, "\n");

	memset(text, ' ', length);
	return text + length - 1;
}

/* Overwrites comments with spaces: what is behind them stays on its line. */
static void blank_comments(char *text)
{
	bool in_string = false;

	for (; *text; text++) {
		if (in_string && *text == '\\' && text[1])
			text++;
		else if (*text == '"')
			in_string = !in_string;
		else if (!in_string && text[0] == '/' && text[1] == '/')
			text = blank_line(text);
	}
}

static int refuse_syntax(const char *path, const char *text, const char *at, struct error *err)
{
	int rest = (int)strcspn(at, "\n");
	size_t line = 1;

	for (; text < at; text++)
		line += *text == '\n';
	if (rest > 40)
		rest = 40;
	return fail(err, -EINVAL, "%s:%zu: not JSON at %s%.*s%s: expected an object, with // comments allowed", path,
		    line, rest ? "\"" : "the end of the line", rest, at, rest ? "\"" : "");
}

static int parse(struct reader *reader, char *text, struct error *err)
{
	const char *end = text;
	cJSON *root;
	int r;

	blank_comments(text);
	root = cJSON_ParseWithLengthOpts(text, strlen(text) + 1, &end, true);
	if (!root)
		return refuse_syntax(reader->path, text, end, err);
	r = read_top(reader, root, err);
	cJSON_Delete(root);
	return r;
}

/* The whole of a text file, to be freed; NULL with errno. */
static char *read_whole(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;

	if (!file)
		return NULL;
	/* Up to a NUL, which a text does not have: all of it. */
	errno = 0;
	if (getdelim(&text, &size, '\0', file) < 0) {
		free(text);
		text = errno ? NULL : xstrdup("");
	}
	fclose(file); /* only read: nothing to fail, and errno stays */
	return text;
}

int draft_read_file(struct draft *draft, const char *path, struct error *err)
{
	struct reader reader = {.draft = draft, .path = path};
	char *text = read_whole(path);
	int r;

	if (!text)
		return fail(err, -errno, "%s: cannot be read: %s", path, strerror(errno));
	r = parse(&reader, text, err);
	free(text);
	return r;
}
