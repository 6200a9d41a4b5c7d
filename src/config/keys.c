/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config/keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static const char *const balance_names[] = {
	[BALANCE_ROUNDROBIN] = "roundrobin",
	[BALANCE_RANDOM] = "random",
	[BALANCE_SOURCE] = "source",
	[BALANCE_LEASTCONN] = "leastconn",
};

static const char *const masquerade_names[] = {
	[MASQUERADE_AUTO] = "auto",
	[MASQUERADE_ALWAYS] = "always",
	[MASQUERADE_NEVER] = "never",
};

static const char *const on_empty_names[] = {
	[ON_EMPTY_REJECT] = "reject",
	[ON_EMPTY_HOLD] = "hold",
	[ON_EMPTY_KEEP] = "keep",
};

static const char *const on_remove_names[] = {
	[ON_REMOVE_DRAIN] = "drain",
	[ON_REMOVE_RESET] = "reset",
};

static const char *const on_all_down_names[] = {
	[ON_ALL_DOWN_SERVE] = "serve",
	[ON_ALL_DOWN_EMPTY] = "empty",
};

const char *balance_name(enum balance balance)
{
	return balance_names[balance];
}

const char *masquerade_name(enum masquerade masquerade)
{
	return masquerade_names[masquerade];
}

const char *on_empty_name(enum on_empty on_empty)
{
	return on_empty_names[on_empty];
}

const char *on_all_down_name(enum on_all_down on_all_down)
{
	return on_all_down_names[on_all_down];
}

/* The index of text among the names, or -1. */
static int index_of(const char *const *names, size_t count, const char *text)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], text) == 0)
			return (int)i;
	return -1;
}

static int refuse_value(const struct key *key, const char *text, struct error *err)
{
	return fail(err, -EINVAL, VALUE " is not accepted: expected %s", text, key->values);
}

/* The same, where a text that is none of the names is refused: -EINVAL. */
static int find_value(const struct key *key, const char *const *names, size_t count, const char *text,
		      struct error *err)
{
	int index = index_of(names, count, text);

	return index < 0 ? refuse_value(key, text, err) : index;
}

static bool consists_of(const char *text, size_t max, int (*accepts)(int))
{
	size_t length = 0;

	for (; text[length]; length++)
		if (length == max || !accepts((unsigned char)text[length]))
			return false;
	return length > 0;
}

static int is_name_byte(int byte)
{
	return byte < 128 && (isalnum(byte) || (byte && strchr("._-", byte)));
}

static int is_visible_ascii(int byte)
{
	return byte > ' ' && byte < 127;
}

bool link_name_is_valid(const char *text)
{
	return consists_of(text, LINK_NAME_MAX, is_name_byte);
}

static int set_name(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	if (!link_name_is_valid(text))
		return refuse_value(key, text, err);
	link->name = text;
	return 0;
}

static int set_listen(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	(void)key;
	return listen_parse(text, &link->listen, err);
}

static int set_service(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	if (!consists_of(text, SERVICE_NAME_MAX, is_visible_ascii))
		return refuse_value(key, text, err);
	link->service = text;
	return 0;
}

/* Whether it names a registry is seen when all of them have been read. */
static int set_registry(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	(void)key;
	(void)err;
	link->registry = text;
	return 0;
}

static int set_balance(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	int balance = find_value(key, balance_names, ARRAY_SIZE(balance_names), text, err);
	if (balance >= 0)
		link->balance = (enum balance)balance;
	return balance < 0 ? balance : 0;
}

static int set_masquerade(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	int masquerade = find_value(key, masquerade_names, ARRAY_SIZE(masquerade_names), text, err);

	if (masquerade >= 0)
		link->masquerade = (enum masquerade)masquerade;
	return masquerade < 0 ? masquerade : 0;
}

static int set_on_empty(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	int on_empty = find_value(key, on_empty_names, ARRAY_SIZE(on_empty_names), text, err);

	if (on_empty >= 0)
		link->on_empty = (enum on_empty)on_empty;
	return on_empty < 0 ? on_empty : 0;
}

static int set_hold_for(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	return duration_parse(text, &link->hold_for_ms) < 0 ? refuse_value(key, text, err) : 0;
}

/* A duration of whole seconds, at least one. */
static int parse_seconds(const char *text, uint32_t *ret)
{
	uint32_t ms;

	if (duration_parse(text, &ms) < 0 || !ms || ms % 1000)
		return -EINVAL;
	*ret = ms / 1000;
	return 0;
}

static int set_affinity(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	if (strcmp(text, "off") == 0)
		link->affinity_s = 0;
	else if (parse_seconds(text, &link->affinity_s) < 0)
		return refuse_value(key, text, err);
	return 0;
}

static int set_retry(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	if (strcmp(text, "true") == 0)
		link->retry_s = RETRY_DEFAULT_S;
	else if (strcmp(text, "false") == 0)
		link->retry_s = 0;
	else if (parse_seconds(text, &link->retry_s) < 0)
		return refuse_value(key, text, err);
	return 0;
}

static int set_on_remove(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	int on_remove = find_value(key, on_remove_names, ARRAY_SIZE(on_remove_names), text, err);

	if (on_remove >= 0)
		link->on_remove = (enum on_remove)on_remove;
	return on_remove < 0 ? on_remove : 0;
}

static int set_drain_for(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	uint32_t ms = 0;

	if (strcmp(text, "off") != 0 && (duration_parse(text, &ms) < 0 || !ms))
		return refuse_value(key, text, err);
	link->drain_for_ms = ms;
	return 0;
}

static int set_slow_start(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	uint32_t ms = 0;

	if (strcmp(text, "off") != 0 && (duration_parse(text, &ms) < 0 || !ms))
		return refuse_value(key, text, err);
	link->slow_start_ms = ms;
	return 0;
}

static int set_loss_hold(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	return duration_parse(text, &link->loss_hold_ms) < 0 ? refuse_value(key, text, err) : 0;
}

static int set_min_healthy(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	uint64_t percent;

	if (number_parse(text, 0, 100, &percent) < 0)
		return refuse_value(key, text, err);
	link->min_healthy = (uint8_t)percent;
	return 0;
}

static int set_on_all_down(const struct key *key, struct link_conf *link, char *text, struct error *err)
{
	int on_all_down = find_value(key, on_all_down_names, ARRAY_SIZE(on_all_down_names), text, err);

	if (on_all_down >= 0)
		link->on_all_down = (enum on_all_down)on_all_down;
	return on_all_down < 0 ? on_all_down : 0;
}

const struct key top_keys[] = {
	{"registry", REGISTRY_FORM, "none", "the registry of links that name none", 0, NULL},
	{"registries", REGISTRIES_FORM, "none", "registries that links choose by name", 0, NULL},
	{"defaults", DEFAULTS_FORM, "none", "what links start from", 0, NULL},
	{"links", LINKS_FORM, "none", "links in the namespace of --netns, or in the daemon's own", 0, NULL},
	{"ambassadors", AMBASSADORS_FORM, "none", "links in other namespaces", 0, NULL},
	{"metrics", METRICS_FORM, "none", "where metrics and the page for people are shown, to everybody who asks", 0,
	 NULL},
	{"docker", DOCKER_FORM, "none", "the engine whose containers get the links of their labels", 0, NULL},
	{0},
};

const struct key registry_keys[] = {
	{"uri", URI_FORM, NULL, "where the endpoints come from", 0, NULL},
	{"ca", "a file", "the system's", "TLS: whom to trust", 0, NULL},
	{"cert", "a file", "none", "TLS: our certificate", 0, NULL},
	{"key", "a file", "none", "TLS: our private key", 0, NULL},
	{"username", "a name", "none", "as whom to authenticate", 0, NULL},
	{"password_file", "a file", "none", "the password of username, on its first line", 0, NULL},
	{"token_file", "a file", "none", "consul: the token, on its first line", 0, NULL},
	{0},
};

const struct key ambassador_keys[] = {
	{"netns", NETNS_FORM, NULL, "the network namespace", 0, NULL},
	{"links", LINKS_FORM, NULL, "the links in it", 0, NULL},
	{0},
};

const struct key link_keys[] = {
	{"name", NAME_FORM, "service", "shown everywhere; unique in its namespace", 0, set_name},
	{"listen", "[ADDR:]PORT[/tcp|/udp]", NULL, "where the application connects to (ADDR: 127.0.0.1)", 0,
	 set_listen},
	{"service", "1 to 255 visible ASCII characters", NULL, "the service's name in the registry", 0, set_service},
	{"registry", "URI or name in \"registries\"", "--registry", "where the endpoints come from", 0, set_registry},
	{"balance", "roundrobin, random, source, leastconn", "roundrobin",
	 "how connections are spread; source: by client address", KEY_IN_DEFAULTS, set_balance},
	{"masquerade", "auto, always, never", "auto", "hide the client's address; auto: where replies would get lost",
	 KEY_IN_DEFAULTS, set_masquerade},
	{"affinity", AFFINITY_FORM, "off", "a client keeps its endpoint until it is idle for so long", KEY_IN_DEFAULTS,
	 set_affinity},
	{"retry", RETRY_FORM, "true", "no answer for so long: go elsewhere (true: 1s)", KEY_IN_DEFAULTS | KEY_TRUTH,
	 set_retry},
	{"on_empty", "reject, hold, keep", "reject", "no endpoints: refuse, keep SYNs back, keep the last ones",
	 KEY_IN_DEFAULTS, set_on_empty},
	{"hold_for", DURATION_FORM, "10s", "how long on_empty=hold keeps them back, also at start", KEY_IN_DEFAULTS,
	 set_hold_for},
	{"on_remove", "drain, reset", "drain", "what happens to connections of a removed endpoint", KEY_IN_DEFAULTS,
	 set_on_remove},
	{"drain_for", "off, or " DURATION_FORM, "off", "after it a draining connection is reset", KEY_IN_DEFAULTS,
	 set_drain_for},
	{"min_healthy", "0 to 100", "50", "percent; where fewer are left, the lost stay for loss_hold",
	 KEY_IN_DEFAULTS | KEY_NUMBER, set_min_healthy},
	{"loss_hold", DURATION_FORM, "30s", "how long they stay; 0s: not at all", KEY_IN_DEFAULTS, set_loss_hold},
	{"check", CHECK_FORM, "off", "endpoints that do not answer get no connections", KEY_IN_DEFAULTS,
	 check_set_word},
	{"eject", EJECT_FORM, "off", "whose connections fail gets none for a while (true: 5/10s)",
	 KEY_IN_DEFAULTS | KEY_TRUTH, eject_set_word},
	{"on_all_down", "serve, empty", "serve", "no endpoint is well: use all of them, or none", KEY_IN_DEFAULTS,
	 set_on_all_down},
	{"slow_start", "off, " DURATION_FORM, "off", "a new endpoint's share grows during it", KEY_IN_DEFAULTS,
	 set_slow_start},
	{0},
};

static const struct key_object objects[] = {
	{"check", check_keys, check_begin_object, check_end_object},
	{"eject", eject_keys, eject_begin_object, eject_end_object},
};

const struct key_object *key_object_find(const struct key *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		if (strcmp(objects[i].name, key->name) == 0)
			return &objects[i];
	}
	return NULL;
}

bool key_is_accepted(const struct key *key)
{
	return key->name != NULL;
}

bool key_is_option(const struct key *key)
{
	return key->fallback;
}

bool key_is_default(const struct key *key)
{
	return key->flags & KEY_IN_DEFAULTS;
}

/* Room for the names of any table, with ", " between them. */
#define KEY_LIST_TEXT 256

static const char *key_list(const struct key *table, key_filter filter, char buffer[KEY_LIST_TEXT])
{
	size_t used = 0;

	buffer[0] = '\0';
	for (const struct key *key = table; key->name && used < KEY_LIST_TEXT; key++)
		if (filter(key))
			used += (size_t)snprintf(buffer + used, KEY_LIST_TEXT - used, "%s%s", used ? ", " : "",
						 key->name);
	return buffer;
}

int key_find(const struct key *table, const char *name, key_filter filter, const struct key **ret, struct error *err)
{
	const struct key *key = table;
	char accepted[KEY_LIST_TEXT];

	while (key->name && strcmp(key->name, name) != 0)
		key++;
	if (!key->name)
		return fail(err, -EINVAL, "unknown key " VALUE ": accepted are %s", name,
			    key_list(table, filter, accepted));
	if (!filter(key))
		return fail(err, -EINVAL, "\"%s\" cannot stand here: accepted are %s", name,
			    key_list(table, filter, accepted));
	*ret = key;
	return 0;
}

/* "values (default)" */
static const char *key_values(const struct key *key, char buffer[KEY_LIST_TEXT])
{
	snprintf(buffer, KEY_LIST_TEXT, key->fallback ? "%s (%s)" : "%s", key->values, key->fallback);
	return buffer;
}

/* A column wider than this would push all else off the screen for the sake of one key. */
#define VALUES_WIDTH 42

static int widest_values(const struct key *table)
{
	char values[KEY_LIST_TEXT];
	int widest = 0;

	for (const struct key *key = table; key->name; key++) {
		int width = (int)strlen(key_values(key, values));

		widest = width > widest ? width : widest;
	}
	return widest > VALUES_WIDTH ? VALUES_WIDTH : widest;
}

static void print_keys(const struct key *table, int name_width)
{
	int width = widest_values(table);
	char values[KEY_LIST_TEXT];

	for (const struct key *key = table; key->name; key++)
		printf("  %-*s  %-*s  %s\n", name_width, key->name, width, key_values(key, values), key->meaning);
}

void config_print_keys(void)
{
	print_keys(link_keys, 11);
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		printf("\nKeys of \"%s\" as an object:\n", objects[i].name);
		print_keys(objects[i].members, 13);
	}
}

static void print_key_table(const char *name, const struct key *table)
{
	for (const struct key *key = table; key->name; key++)
		printf("key\t%s\t%s\t%s\t%s\t%s\n", name, key->name, key->values, key->fallback ? key->fallback : "",
		       key->meaning);
}

void config_print_key_tables(void)
{
	print_key_table("top", top_keys);
	print_key_table("registry", registry_keys);
	print_key_table("ambassador", ambassador_keys);
	print_key_table("link", link_keys);
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
		print_key_table(objects[i].name, objects[i].members);
}
