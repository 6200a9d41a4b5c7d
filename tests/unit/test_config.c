/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration: what is accepted and how it is merged, and the sentence for each thing that is refused. */
#include "unit.h"

#include <netinet/in.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/config.h"
#include "config/container.h"

#define FILE_NAME "nuncio.json"

/* What a user says in the three places. */
struct said {
	const char *file; /* its content */
	const char *env_registry, *env_links;
	const char *registry, *netns;
	const char *links[4];
};

/* With ' for ", which can then be read in C. */
static void write_file(const char *content)
{
	FILE *file = fopen(FILE_NAME, "w");

	assert_non_null(file);
	for (; *content; content++)
		fputc(*content == '\'' ? '"' : *content, file);
	fclose(file);
}

static void set_environment(const char *name, const char *value)
{
	if (value)
		setenv(name, value, 1);
	else
		unsetenv(name);
}

static int load(const struct said *said, struct config **ret, struct error *err)
{
	struct config_args args = {.registry = said->registry, .netns = said->netns, .links = said->links};

	while (args.n_links < ARRAY_SIZE(said->links) && said->links[args.n_links])
		args.n_links++;
	if (said->file) {
		args.file = FILE_NAME;
		write_file(said->file);
	}
	set_environment("NUNCIO_REGISTRY", said->env_registry);
	set_environment("NUNCIO_LINKS", said->env_links);
	return config_load(&args, ret, err);
}

static struct config *load_good(const struct said *said)
{
	struct error err = {""};
	struct config *config;
	int r = load(said, &config, &err);

	if (r < 0)
		print_error("refused: %s\n", err.text);
	assert_int_equal(r, 0);
	return config;
}

/* With ' for " in the expected text too. */
static void assert_says(const struct error *err, const char *text)
{
	struct error came = *err;

	for (char *quote = came.text; (quote = strchr(quote, '"'));)
		*quote = '\'';
	if (!strstr(came.text, text))
		print_error("expected: %s\ncame: %s\n", text, came.text);
	assert_non_null(strstr(came.text, text));
}

static void refuse(int code, const struct said *said, const char *text)
{
	struct error err = {""};
	struct config *config = NULL;
	int r = load(said, &config, &err);

	assert_says(&err, text);
	assert_int_equal(r, code);
	assert_null(config);
}

static void refuse_file(int code, const char *json, const char *text)
{
	refuse(code, &(struct said){.file = json}, text);
}

static void refuse_link(int code, const char *link, const char *text)
{
	refuse(code, &(struct said){.links = {link}}, text);
}

static const struct link_conf *only_link(const struct config *config)
{
	assert_int_equal(config->n_ambassadors, 1);
	assert_int_equal(config->ambassadors[0].n_links, 1);
	return &config->ambassadors[0].links[0];
}

static void assert_listen(const struct link_conf *link, const char *text)
{
	char buffer[LISTEN_TEXT];

	assert_string_equal(listen_text(&link->listen, buffer), text);
}

static void listen_is_parsed(void **state)
{
	static const char *const pairs[][2] = {
		{"5432", "127.0.0.1:5432/tcp"},
		{"5432/tcp", "127.0.0.1:5432/tcp"},
		{"53/udp", "127.0.0.1:53/udp"},
		{"10.96.0.10:53/udp", "10.96.0.10:53/udp"},
		{"127.8.8.8:1", "127.8.8.8:1/tcp"},
		{"169.254.0.1:65535", "169.254.0.1:65535/tcp"},
		{"[fd00:aa::1]:80", "[fd00:aa::1]:80/tcp"},
		{"[FD00:AA:0:0::1]:80/udp", "[fd00:aa::1]:80/udp"},
		{"[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:80",
		 NULL}, /* multicast, and as long as an address gets */
	};
	char text[LISTEN_TEXT];
	struct listen listen;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		int r = listen_parse(pairs[i][0], &listen, &err);

		assert_int_equal(r, pairs[i][1] ? 0 : -EINVAL);
		if (r == 0)
			assert_string_equal(listen_text(&listen, text), pairs[i][1]);
	}
}

static void listen_is_refused(void **state)
{
	static const char *const pairs[][2] = {
		{"[::1]:80", "'[::1]:80': NAT cannot balance connections to ::1"},
		{"[::1]:80", "use an IPv6 VIP such as [fd00:aa::1]:80"},
		{"0.0.0.0:80", "one unicast address"},
		{"[::]:80", "one unicast address"},
		{"224.0.0.1:80", "one unicast address"},
		{"[ff02::1]:80", "one unicast address"},
		{"255.255.255.255:80", "one unicast address"},
		{"[fe80::1]:80", "a link-local address"},
		{"[::ffff:10.0.0.1]:80", "give the IPv4 address"},
		{"0", "port '0' is not a number from 1 to 65535"},
		{"127.0.0.1:65536", "port '65536' is not a number from 1 to 65535"},
		{"127.0.0.1:", "port '' is not"},
		{"", "port '' is not"},
		{"http", "port 'http' is not"},
		{"8000-8010", "one port and no range"},
		{"localhost:80", "'localhost' is not an IP address (host names"},
		{"10.1.0.300:80", "'10.1.0.300' is not an IP address"},
		{":80", "'' is not an IP address"},
		{"[fe80::1%eth0]:80", "zones are not accepted"},
		{"fd00:aa::1:80", "an IPv6 address goes in brackets"},
		{"[fd00:aa::1]80", "expected [ADDR:]PORT[/tcp|/udp], such as 5432"},
		{"[fd00:aa::1]", "expected [ADDR:]PORT"},
		{"[10.0.0.1]:80", "brackets are for IPv6"},
		{"80/sctp", "/sctp is not a protocol: accepted are /tcp and /udp"},
		{"80/", "/ is not a protocol"},
		{"80/tcp/udp", "/tcp/udp is not a protocol"},
	};
	struct listen listen = {.protocol = 99};
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		assert_int_equal(listen_parse(pairs[i][0], &listen, &err), -EINVAL);
		assert_says(&err, pairs[i][1]);
		assert_int_equal(listen.protocol, 99);
	}
}

static void listen_that_is_far_too_long_is_refused(void **state)
{
	struct listen listen;
	struct error err;
	char text[1000];

	(void)state;
	memset(text, '0', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(listen_parse(text, &listen, &err), -EINVAL);
	assert_says(&err, "too long");
}

static void listens_compare(void **state)
{
	struct listen tcp, udp, other;
	struct error err;

	(void)state;
	assert_int_equal(listen_parse("80", &tcp, &err), 0);
	assert_int_equal(listen_parse("80/udp", &udp, &err), 0);
	assert_int_equal(listen_parse("127.0.0.2:80", &other, &err), 0);
	assert_true(listen_equal(&tcp, &tcp));
	assert_false(listen_equal(&tcp, &udp));
	assert_false(listen_equal(&tcp, &other));
}

static void flags_alone_are_enough(void **state)
{
	struct config *config = load_good(&(struct said){
		.registry = "file:services.json",
		.links = {"9000=web",
			  "[fd00::1]:53/udp=dns,balance=random,name=names,masquerade=never,registry=file:x"}});
	const struct link_conf *links = config->ambassadors[0].links;

	(void)state;
	assert_int_equal(config->n_ambassadors, 1);
	assert_null(config->ambassadors[0].netns);
	assert_int_equal(config->ambassadors[0].n_links, 2);
	assert_string_equal(links[0].name, "web");
	assert_string_equal(links[0].service, "web");
	assert_string_equal(links[0].registry, "file:services.json");
	assert_string_equal(links[0].origin, "--link 9000=web");
	assert_listen(&links[0], "127.0.0.1:9000/tcp");
	assert_string_equal(balance_name(links[0].balance), "roundrobin");
	assert_string_equal(masquerade_name(links[0].masquerade), "auto");
	assert_string_equal(links[1].name, "names");
	assert_string_equal(links[1].registry, "file:x");
	assert_listen(&links[1], "[fd00::1]:53/udp");
	assert_string_equal(balance_name(links[1].balance), "random");
	assert_string_equal(masquerade_name(links[1].masquerade), "never");
	config_free(config);
	config_free(NULL);
}

static void environment_alone_is_enough(void **state)
{
	struct config *config = load_good(
		&(struct said){.env_registry = "file:env.json", .env_links = "  9000=web\t9001=db,balance=random \n"});

	(void)state;
	assert_int_equal(config->ambassadors[0].n_links, 2);
	assert_string_equal(config->ambassadors[0].links[0].registry, "file:env.json");
	assert_string_equal(config->ambassadors[0].links[1].origin, "NUNCIO_LINKS 9001=db,balance=random");
	config_free(config);
}

static void file_has_everything(void **state)
{
	struct config *config = load_good(&(struct said){
		.file = "\xef\xbb\xbf// The whole of it, and a 'quote' in a comment.\n"
			"{\n"
			"  'links': [ { 'listen': '127.0.0.1:6379', 'service': 'redis', // here\n"
			"               'registry': 'dc2', 'name': 'cache' } ],\n"
			"  'ambassadors': [\n"
			"    { 'netns': '/run/netns/app', 'links': [ { 'listen': '5432', 'service': 'pg',\n"
			"      'masquerade': 'always', 'registry': 'file://not-a-comment' } ] },\n"
			"    { 'links': [ { 'listen': '5432', 'service': 'a\\'b' , 'name': 'ab',\n"
			"      'balance': 'roundrobin', 'registry': 'main' } ], 'netns': 'pid:12' } ],\n"
			"  'registry': 'main',\n"
			"  'defaults': { 'balance': 'random' },\n"
			"  'registries': { 'dc2': { 'uri': 'file:dc2' }, 'main': { 'uri': 'file:m' } }\n"
			"} // the end, without a newline",
		.links = {"80=web"},
	});
	const struct ambassador_conf *own = &config->ambassadors[0];

	(void)state;
	assert_int_equal(config->n_ambassadors, 3);
	assert_null(own->netns);
	assert_int_equal(own->n_links, 2);
	assert_string_equal(own->links[0].name, "cache");
	assert_string_equal(own->links[0].registry, "file:dc2");
	assert_string_equal(own->links[0].origin, "nuncio.json: links[0]");
	assert_int_equal(own->links[0].balance, BALANCE_RANDOM);
	assert_string_equal(own->links[1].origin, "--link 80=web");
	assert_string_equal(own->links[1].registry, "file:m");
	assert_int_equal(own->links[1].balance, BALANCE_RANDOM);
	assert_string_equal(own[1].netns, "/run/netns/app");
	assert_string_equal(own[1].links[0].registry, "file://not-a-comment");
	assert_string_equal(own[1].links[0].origin, "nuncio.json: ambassadors[0].links[0]");
	assert_int_equal(own[1].links[0].masquerade, MASQUERADE_ALWAYS);
	assert_string_equal(own[2].netns, "pid:12");
	assert_int_equal(own[2].links[0].balance, BALANCE_ROUNDROBIN);
	config_free(config);
}

static void escaped_string_ends_where_it_ends(void **state)
{
	struct config *config = load_good(&(struct said){.file = "{'registry': 'file:\\\\', 'links': [{'listen': '80', "
								 "'service': 'web'}]} // '\n"});

	(void)state;
	assert_string_equal(only_link(config)->registry, "file:\\");
	config_free(config);
}

static void higher_levels_replace_lower_ones(void **state)
{
	static const char *const origins[] = {
		"nuncio.json: links[0]", "NUNCIO_LINKS 127.0.0.1:81=env81",
		"--link 82/tcp=flag82",	 "NUNCIO_LINKS 83=env83",
		"--link 82/udp=udp82",	 "--link 84=flag84",
	};
	struct config *config = load_good(&(struct said){
		.file = "{'registry': 'file:f', 'defaults': {'balance': 'random'}, 'links': [{'listen': '80', "
			"'service': 'file80'},{'listen': '81', 'service': 'file81'},{'listen': '82', 'service': "
			"'file82'}]}",
		.env_links = "127.0.0.1:81=env81 82=env82 83=env83",
		.links = {"82/tcp=flag82", "82/udp=udp82", "84=flag84"},
	});
	const struct link_conf *links = config->ambassadors[0].links;

	(void)state;
	assert_int_equal(config->ambassadors[0].n_links, ARRAY_SIZE(origins));
	for (size_t i = 0; i < ARRAY_SIZE(origins); i++)
		assert_string_equal(links[i].origin, origins[i]);
	assert_string_equal(links[1].service, "env81");
	assert_string_equal(links[2].name, "flag82");
	config_free(config);
}

/* Replaced whole: no option lives on, and not even the registry is asked for. */
static void replaced_link_leaves_nothing_behind(void **state)
{
	struct config *config = load_good(&(struct said){
		.file = "{'links': [{'listen': '80', 'service': 'web', 'name': 'x', 'balance': 'random', 'registry': "
			"'nowhere'}]}",
		.registry = "file:r",
		.links = {"80=db"},
	});

	(void)state;
	assert_string_equal(only_link(config)->name, "db");
	assert_string_equal(only_link(config)->registry, "file:r");
	assert_int_equal(only_link(config)->balance, BALANCE_ROUNDROBIN);
	config_free(config);
}

static void registry_levels(void **state)
{
	struct said said = {.file = "{'registry': 'file:f'}", .links = {"80=web"}};
	struct config *config;

	(void)state;
	config = load_good(&said);
	assert_string_equal(only_link(config)->registry, "file:f");
	config_free(config);
	said.env_registry = "file:e";
	config = load_good(&said);
	assert_string_equal(only_link(config)->registry, "file:e");
	config_free(config);
	said.registry = "file:r";
	config = load_good(&said);
	assert_string_equal(only_link(config)->registry, "file:r");
	config_free(config);
}

static void empty_variables_count_as_unset(void **state)
{
	struct config *config = load_good(&(struct said){
		.file = "{'registry': 'file:f', 'links': []}",
		.env_registry = "",
		.env_links = "",
		.links = {"80=web"},
	});

	(void)state;
	assert_string_equal(only_link(config)->registry, "file:f");
	config_free(config);
}

static void netns_takes_the_top_level_links(void **state)
{
	struct config *config = load_good(&(struct said){
		.file = "{'registry': 'file:f', 'links': [{'listen': '80', 'service': 'web'}], 'ambassadors': "
			"[{'netns': 'other', 'links': [{'listen': '80', 'service': 'web'}]}]}",
		.env_links = "81=env",
		.netns = "app",
		.links = {"82=flag"},
	});

	(void)state;
	assert_int_equal(config->n_ambassadors, 2);
	assert_string_equal(config->ambassadors[0].netns, "app");
	assert_int_equal(config->ambassadors[0].n_links, 3);
	assert_string_equal(config->ambassadors[1].netns, "other");
	assert_string_equal(config->ambassadors[1].links[0].name, "web");
	config_free(config);
}

static void own_namespace_without_links_is_left_out(void **state)
{
	struct config *config =
		load_good(&(struct said){.file = "{'registry': 'file:f', 'ambassadors': [{'netns': 'app', 'links': "
						 "[{'listen': '80', 'service': 'web'}]}]}"});

	(void)state;
	only_link(config);
	assert_string_equal(config->ambassadors[0].netns, "app");
	config_free(config);
}

static void unnamed_links_get_names(void **state)
{
	static const char *const names[] = {
		"web", "web-81", "web-81-udp", "web-81-2", "web-81-3", "db-5432", "db", "db-5433", "db-5433-2",
	};
	struct config *config = load_good(&(struct said){
		.registry = "file:f",
		.env_links = "80=web 81=web 81/udp=web 127.0.0.2:81=web 127.0.0.3:81=web "
			     "5432=db 1=other,name=db 5433=db,name=db-5433 127.0.0.2:5433=db",
	});

	(void)state;
	assert_int_equal(config->ambassadors[0].n_links, ARRAY_SIZE(names));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_string_equal(config->ambassadors[0].links[i].name, names[i]);
	config_free(config);
}

static void any_service_will_do_with_a_name(void **state)
{
	struct config *config = load_good(&(struct said){.registry = "file:f", .links = {"80=w@b=1,name=web"}});

	(void)state;
	assert_string_equal(only_link(config)->service, "w@b=1");
	config_free(config);
}

static void what_an_empty_link_does(void **state)
{
	struct config *config =
		load_good(&(struct said){.registry = "file:services.json",
					 .links = {"1=a", "2=b,on_empty=hold", "3=c,on_empty=hold,hold_for=1500ms",
						   "4=d,on_empty=keep,hold_for=24h"}});
	const struct link_conf *links = config->ambassadors[0].links;

	(void)state;
	assert_int_equal(links[0].on_empty, ON_EMPTY_REJECT);
	assert_int_equal(links[1].on_empty, ON_EMPTY_HOLD);
	assert_int_equal(links[1].hold_for_ms, 10000);
	assert_int_equal(links[2].hold_for_ms, 1500);
	assert_int_equal(links[3].on_empty, ON_EMPTY_KEEP);
	assert_int_equal(links[3].hold_for_ms, 24 * 3600 * 1000);
	config_free(config);
	refuse_link(-EINVAL, "80=web,on_empty=wait", "on_empty: 'wait' is not accepted: expected reject, hold, keep");
	refuse_link(-EINVAL, "80=web,hold_for=5",
		    "hold_for: '5' is not accepted: expected a number with ms, s, m or h");
	refuse_link(-EINVAL, "80=web,hold_for=-1s", "hold_for: '-1s' is not accepted");
	refuse_link(-EINVAL, "80=web,hold_for=25h", "hold_for: '25h' is not accepted");
	refuse_link(-EINVAL, "80=web,hold_for=99999999999999999999s", "is not accepted");
	refuse_link(-EINVAL, "80=web,hold_for=s", "hold_for: 's' is not accepted");
}

static void what_becomes_of_connections_of_a_removed_endpoint(void **state)
{
	struct config *config = load_good(
		&(struct said){.registry = "file:services.json",
			       .links = {"1=a", "2=b,on_remove=reset", "3=c,drain_for=1500ms", "4=d,drain_for=off"}});
	const struct link_conf *links = config->ambassadors[0].links;

	(void)state;
	assert_int_equal(links[0].on_remove, ON_REMOVE_DRAIN);
	assert_int_equal(links[0].drain_for_ms, 0);
	assert_int_equal(links[1].on_remove, ON_REMOVE_RESET);
	assert_int_equal(links[2].drain_for_ms, 1500);
	assert_int_equal(links[3].drain_for_ms, 0);
	config_free(config);
	refuse_link(-EINVAL, "80=web,on_remove=kill", "on_remove: 'kill' is not accepted: expected drain, reset");
	refuse_link(-EINVAL, "80=web,drain_for=5",
		    "drain_for: '5' is not accepted: expected off, or a number with ms, s, m or h");
	refuse_link(-EINVAL, "80=web,drain_for=0s", "drain_for: '0s' is not accepted");
}

static void when_a_loss_is_held(void **state)
{
	struct config *config = load_good(&(struct said){
		.file = "{'registry': 'file:f', 'defaults': {'min_healthy': 30}, 'links': ["
			"{'listen': '1', 'service': 'a'}, {'listen': '2', 'service': 'b', 'min_healthy': '100'}]}",
		.links = {"3=c,loss_hold=0s", "4=d,min_healthy=0,loss_hold=2m"}});
	const struct link_conf *links = config->ambassadors[0].links;

	(void)state;
	assert_int_equal(links[0].min_healthy, 30);
	assert_int_equal(links[0].loss_hold_ms, 30000);
	assert_int_equal(links[1].min_healthy, 100);
	assert_int_equal(links[2].min_healthy, 30);
	assert_int_equal(links[2].loss_hold_ms, 0);
	assert_int_equal(links[3].min_healthy, 0);
	assert_int_equal(links[3].loss_hold_ms, 120000);
	config_free(config);
	config = load_good(&(struct said){.registry = "file:f", .links = {"1=a"}});
	assert_int_equal(only_link(config)->min_healthy, 50);
	config_free(config);
	refuse_link(-EINVAL, "80=web,min_healthy=101", "min_healthy: '101' is not accepted: expected 0 to 100");
	refuse_link(-EINVAL, "80=web,min_healthy=-1", "min_healthy: '-1' is not accepted");
	refuse_link(-EINVAL, "80=web,min_healthy=", "min_healthy: '' is not accepted");
	refuse_link(-EINVAL, "80=web,loss_hold=30", "loss_hold: '30' is not accepted");
	refuse_file(-EINVAL, "{'links': [{'listen': '80', 'service': 'web', 'min_healthy': 49.5}]}",
		    "nuncio.json: links[0].min_healthy: '49.5' is not accepted");
	refuse_file(-EINVAL, "{'links': [{'listen': '80', 'service': 'web', 'loss_hold': 30}]}",
		    "nuncio.json: links[0].loss_hold");
}

static void link_strings_are_refused(void **state)
{
	(void)state;
	refuse_link(-EINVAL, "5432", "--link 5432: expected LISTEN=SERVICE[,option=value]..., such as 5432=postgres");
	refuse_link(-EINVAL, "", "--link : expected LISTEN=SERVICE");
	refuse_link(-EINVAL, "[::1]:80=web", "--link [::1]:80=web: listen: '[::1]:80': NAT cannot balance");
	refuse(-EINVAL, &(struct said){.env_links = "0=web"}, "NUNCIO_LINKS 0=web: listen: '0': port '0'");
	refuse_link(-EINVAL, "80=", "--link 80=: service: '' is not accepted: expected 1 to 255 visible");
	refuse_link(-EINVAL, "80=a b", "service: 'a b' is not accepted");
	refuse_link(-EINVAL, "80=w\xc3\xb6", "service: 'w\xc3\xb6' is not accepted");
	refuse_link(-EINVAL, "80=web,", "the option '' has no value");
	refuse_link(-EINVAL, "80=web,balance", "the option 'balance' has no value");
	refuse_link(-EINVAL, "80=web,color=red",
		    "--link 80=web,color=red: unknown key 'color': accepted are name, registry, balance, masquerade");
	refuse_link(-EINVAL, "80=web,listen=81", "'listen' cannot stand here: accepted are name, registry");
	refuse_link(-EINVAL, "80=web,name=a,name=a", "the option 'name' is given twice");
	refuse_link(-EINVAL, "80=web,name=a/b", "name: 'a/b' is not accepted: expected 1 to 64 of A-Z a-z 0-9 . _ -");
	refuse_link(-EINVAL, "80=web,name=", "name: '' is not accepted");
	refuse_link(-EINVAL, "80=web,balance=fast", "balance: 'fast' is not accepted: expected roundrobin, random");
	refuse_link(-EINVAL, "80=web,slow_start=0s", "slow_start: '0s' is not accepted: expected off, a number with");
	refuse_link(-EINVAL, "80=web,masquerade=no", "masquerade: 'no' is not accepted: expected auto, always, never");
	refuse_link(-EINVAL, "80=web,check=icmp",
		    "check: 'icmp' is not accepted: expected off, tcp, http:/PATH, or an");
	refuse_link(-EINVAL, "80=web,check=http:health", "check: 'http:health' is not accepted");
	refuse_link(-EINVAL, "80=web,check=http:/a b", "check: 'http:/a b' is not accepted");
	refuse_link(-EINVAL, "80=web,on_all_down=keep", "on_all_down: 'keep' is not accepted: expected serve, empty");
	refuse_link(-EINVAL, "80=web,retry=500ms", "'500ms' is not accepted: expected true, false or a number with s");
	refuse_link(-EINVAL, "80=web,retry=0s", "'0s' is not accepted: expected true, false");
	refuse_link(-EINVAL, "80=web,affinity=true", "'true' is not accepted: expected off or a number");
	refuse_link(-EINVAL, "80=web,registry=dc2",
		    "--link 80=web,registry=dc2: registry: 'dc2' is neither a name in 'registries' nor a URI");
	refuse_link(-EINVAL, "80=web,registry=docker:///s?n", "--link 80=web,registry=docker:///s?n: registry: ");
}

static const struct link_conf *first_link(const struct config *config)
{
	return &config->ambassadors[0].links[0];
}

static void shares_may_change_with_time(void **state)
{
	struct config *config =
		load_good(&(struct said){.registry = "file:x", .links = {"80=web,balance=leastconn,slow_start=30s"}});

	(void)state;
	assert_int_equal(first_link(config)->balance, BALANCE_LEASTCONN);
	assert_int_equal(first_link(config)->slow_start_ms, 30000);
	config_free(config);
}

static void a_check_is_a_word_or_an_object(void **state)
{
	static const char object[] =
		"{'registry': 'file:x', 'links': [{'listen': '80', 'service': 'web', 'on_all_down': 'empty', 'check': "
		"{'path': '/up', 'type': 'http', 'host': 'web.example', 'interval': '5s', 'fast_interval': '500ms', "
		"'timeout': '250ms', 'rise': 4, 'fall': '5', 'status': 204, 'body': 'all is \\'well\\'', 'tls': true, "
		"'tls_verify': true, 'port': 8081, 'initial': 'wait'}}]}";
	struct config *none = load_good(&(struct said){.registry = "file:x", .links = {"80=web,check=off"}});
	struct config *word = load_good(&(struct said){.registry = "file:x", .links = {"80=web,check=http:/a?b=c"}});
	struct config *full = load_good(&(struct said){.file = object});
	const struct link_check *check = &first_link(word)->check;
	const struct probe_conf *probe = &check->probe;

	(void)state;
	assert_int_equal(first_link(none)->check.probe.kind, PROBE_NONE);
	assert_int_equal(first_link(none)->on_all_down, ON_ALL_DOWN_SERVE);
	assert_int_equal(probe->kind, PROBE_HTTP);
	assert_string_equal(probe->path, "/a?b=c");
	assert_true(!probe->host && !probe->body && !probe->tls && !probe->port);
	assert_true(probe->status_first == 200 && probe->status_last == 399 && probe->timeout_ms == 1000);
	assert_true(check->interval_ms == 2000 && !check->fast_interval_ms && check->rise == 2 && check->fall == 3);
	assert_false(check->wait);
	check = &first_link(full)->check;
	probe = &check->probe;
	assert_int_equal(first_link(full)->on_all_down, ON_ALL_DOWN_EMPTY);
	assert_string_equal(probe->path, "/up");
	assert_string_equal(probe->host, "web.example");
	assert_string_equal(probe->body, "all is \"well\"");
	assert_true(probe->tls && probe->tls_verify && probe->port == 8081 && probe->timeout_ms == 250);
	assert_true(probe->status_first == 204 && probe->status_last == 204);
	assert_true(check->interval_ms == 5000 && check->fast_interval_ms == 500 && check->rise == 4);
	assert_true(check->fall == 5 && check->wait);
	config_free(none);
	config_free(word);
	config_free(full);
}

/* What a link's check does not say is as in the defaults. */
static void checks_begin_with_the_defaults(void **state)
{
	static const char file[] = "{'registry': 'file:x', 'defaults': {'check': {'type': 'http', 'path': '/up', "
				   "'interval': '9s'}}, 'links': "
				   "[{'listen': '80', 'service': 'web', 'check': {'type': 'tcp', 'rise': 1}}]}";
	struct config *config = load_good(&(struct said){.file = file, .links = {"81=mail", "82=db,check=off"}});
	const struct link_conf *links = config->ambassadors[0].links;

	(void)state;
	assert_int_equal(config->ambassadors[0].n_links, 3);
	assert_true(links[0].check.probe.kind == PROBE_TCP && links[0].check.rise == 1);
	assert_int_equal(links[0].check.interval_ms, 9000);
	assert_true(links[1].check.probe.kind == PROBE_HTTP && links[1].check.rise == 2);
	assert_string_equal(links[1].check.probe.path, "/up");
	assert_int_equal(links[2].check.probe.kind, PROBE_NONE);
	config_free(config);
}

static bool same_eject(const struct link_eject *eject, uint32_t failures, uint32_t within_ms, uint32_t for_ms,
		       uint8_t max_percent)
{
	return eject->failures == failures && eject->within_ms == within_ms && eject->for_ms == for_ms &&
	       eject->max_percent == max_percent;
}

static void eject_is_a_word_or_an_object(void **state)
{
	static const char file[] =
		"{'registry': 'file:x', 'links': [{'listen': '80', 'service': 'web', 'eject': {}}, {'listen': '81', "
		"'service': 'web', 'eject': {'failures': 3, 'within': '5s', 'for': '1m', 'max_percent': 100}}, "
		"{'listen': '82', 'service': 'web', 'eject': true}, {'listen': '83', 'service': 'web', 'eject': "
		"'9/1s'}, "
		"{'listen': '84', 'service': 'web', 'eject': false}]}";
	struct config *config =
		load_good(&(struct said){.file = file, .links = {"85=web,eject=5/10s", "86=web,eject=off", "87=web"}});
	const struct link_conf *links = config->ambassadors[0].links;

	(void)state;
	assert_int_equal(config->ambassadors[0].n_links, 8);
	assert_true(same_eject(&links[0].eject, 5, 10000, 10000, 50));
	assert_true(same_eject(&links[1].eject, 3, 5000, 60000, 100));
	assert_true(same_eject(&links[2].eject, 5, 10000, 10000, 50));
	assert_true(same_eject(&links[3].eject, 9, 1000, 10000, 50));
	assert_true(same_eject(&links[5].eject, 5, 10000, 10000, 50));
	assert_true(!links[4].eject.failures && !links[6].eject.failures && !links[7].eject.failures);
	config_free(config);
}

/* What a link does not say is as in the defaults, also where those are for links that eject nobody. */
static void eject_begins_with_the_defaults(void **state)
{
	static const char file[] =
		"{'registry': 'file:x', 'defaults': {'eject': {'failures': 7, 'for': '30s'}}, 'links': "
		"[{'listen': '80', 'service': 'web', 'eject': {'within': '2s'}}]}";
	struct config *config = load_good(
		&(struct said){.file = file, .links = {"81=web,eject=true", "82=web,eject=2/3s", "83=web,eject=off"}});
	const struct link_conf *links = config->ambassadors[0].links;

	(void)state;
	assert_true(same_eject(&links[0].eject, 7, 2000, 30000, 50));
	assert_true(same_eject(&links[1].eject, 7, 10000, 30000, 50));
	assert_true(same_eject(&links[2].eject, 2, 3000, 30000, 50));
	assert_int_equal(links[3].eject.failures, 0);
	config_free(config);
}

static void refuse_eject(const char *eject, const char *text)
{
	char *file = xasprintf("{'links': [{'listen': '80', 'service': 'web', 'eject': %s}]}", eject);
	char *sentence = xasprintf("nuncio.json: links[0].eject%s", text);

	refuse_file(-EINVAL, file, sentence);
	free(file);
	free(sentence);
}

static void wrong_ejects_have_their_path(void **state)
{
	(void)state;
	refuse_eject("1", ": 1 is not accepted: expected a string: off, true, COUNT/TIME, or an object");
	refuse_eject("{'failures': 0}", ".failures: '0' is not accepted: expected 1 to 32");
	refuse_eject("{'failures': 33}", ".failures: '33' is not accepted");
	refuse_eject("{'within': '999ms'}", ".within: '999ms' is not accepted: expected 1s or more");
	refuse_eject("{'for': '0s'}", ".for: '0s' is not accepted");
	refuse_eject("{'max_percent': 101}", ".max_percent: '101' is not accepted: expected 1 to 100");
	refuse_eject("{'percent': 10}", ": unknown key 'percent': accepted are failures, within, for, max_percent");
	refuse_link(-EINVAL, "80=web,eject=5", "eject: '5' is not accepted: expected off, true");
	refuse_link(-EINVAL, "80=web,eject=0/10s", "eject: '0/10s' is not accepted");
	refuse_link(-EINVAL, "80=web,eject=5/", "eject: '5/' is not accepted");
}

static void refuse_check(const char *check, const char *text)
{
	char *file = xasprintf("{'links': [{'listen': '80', 'service': 'web', 'check': %s}]}", check);
	char *sentence = xasprintf("nuncio.json: links[0].check%s", text);

	refuse_file(-EINVAL, file, sentence);
	free(file);
	free(sentence);
}

static void wrong_checks_have_their_path(void **state)
{
	(void)state;
	refuse_check("1", ": 1 is not accepted: expected a string: off, tcp, http:/PATH, or an object");
	refuse_check("{}", ": 'type' is missing: expected tcp, http");
	refuse_check("{'type': 'exec'}", ".type: 'exec' is not accepted: expected tcp, http");
	refuse_check("{'type': 'tcp', 'intervall': '1s'}", ": unknown key 'intervall': accepted are type, interval, ");
	refuse_check("{'type': 'tcp', 'type': 'tcp'}", ": the key 'type' is there twice");
	refuse_check("{'type': 'tcp', 'interval': 2}", ".interval: 2 is not accepted: expected a string: 100ms");
	refuse_check("{'type': 'tcp', 'interval': '99ms'}",
		     ".interval: '99ms' is not accepted: expected 100ms or more");
	refuse_check("{'type': 'tcp', 'fast_interval': '0s'}", ".fast_interval: '0s' is not accepted");
	refuse_check("{'type': 'tcp', 'timeout': '0s'}", ".timeout: '0s' is not accepted");
	refuse_check("{'type': 'tcp', 'rise': 0}", ".rise: '0' is not accepted: expected 1 to 100");
	refuse_check("{'type': 'tcp', 'fall': 1.5}", ".fall: '1.5' is not accepted");
	refuse_check("{'type': 'tcp', 'port': 65536}", ".port: '65536' is not accepted");
	refuse_check("{'type': 'tcp', 'initial': 'down'}", ".initial: 'down' is not accepted: expected serve, wait");
	refuse_check("{'type': 'tcp', 'path': '/up'}", ": 'path' is of no use to a check of type tcp");
	refuse_check("{'body': 'OK', 'type': 'tcp'}", ": 'body' is of no use to a check of type tcp");
	refuse_check("{'type': 'http', 'path': 'up'}", ".path: 'up' is not accepted: expected a path");
	refuse_check("{'type': 'http', 'host': 'a/b'}", ".host: 'a/b' is not accepted: expected a host name");
	refuse_check("{'type': 'http', 'status': '99'}",
		     ".status: '99' is not accepted: expected a status such as 200");
	refuse_check("{'type': 'http', 'status': '300-200'}", ".status: '300-200' is not accepted");
	refuse_check("{'type': 'http', 'status': '2000-3000'}", ".status: '2000-3000' is not accepted");
	refuse_check("{'type': 'http', 'body': ''}", ".body: '' is not accepted: expected 1 to 256 bytes");
	refuse_check("{'type': 'http', 'tls': 'yes'}", ".tls: 'yes' is not accepted: expected true, false");
}

static void syntax_errors_have_their_line(void **state)
{
	(void)state;
	refuse_file(-EINVAL, "", "nuncio.json:1: not JSON at the end of the line: expected an object");
	refuse_file(-EINVAL, "// nothing", "nuncio.json:1: not JSON");
	refuse_file(-EINVAL, "{\n// one\n'links': [\n{}}\n]}", "nuncio.json:4: not JSON at '}'");
	refuse_file(-EINVAL, "{\n\n'links' [] }", "nuncio.json:3: not JSON at '[] }'");
	refuse_file(-EINVAL, "{}\n\n{}", "nuncio.json:3: not JSON at '{}'");
	refuse_file(-EINVAL, "{} /* no */",
		    "nuncio.json:1: not JSON at '/* no */': expected an object, with // comments allowed");
	refuse_file(-EINVAL, "{'links': [']}", "nuncio.json:1: not JSON at ']}'");
}

static void wrong_shapes_have_their_path(void **state)
{
	(void)state;
	refuse_file(-EINVAL, "[]", "nuncio.json: [] is not accepted: expected an object");
	refuse_file(-EINVAL, "{'link': []}",
		    "nuncio.json: unknown key 'link': accepted are registry, registries, defaults, links, ambassadors");
	refuse_file(-EINVAL, "{'Links': []}", "unknown key 'Links'");
	refuse_file(-EINVAL, "{'links': [], 'links': []}", "nuncio.json: the key 'links' is there twice");
	refuse_file(-EINVAL, "{'links': {}}", "nuncio.json: links: {} is not accepted: expected a list of {'listen'");
	refuse_file(-EINVAL, "{'links': [7]}", "nuncio.json: links[0]: 7 is not accepted: expected an object");
	refuse_file(-EINVAL, "{'links': [{'listen': '80', 'service': 'web'}, {'listen': 5432, 'service': 'x'}]}",
		    "nuncio.json: links[1].listen: 5432 is not accepted: expected a string: [ADDR:]PORT");
	refuse_file(-EINVAL, "{'links': [{'listen': '80'}]}",
		    "nuncio.json: links[0]: 'service' is missing: expected 1 to 255");
	refuse_file(-EINVAL, "{'links': [{'service': 'web'}]}",
		    "nuncio.json: links[0]: 'listen' is missing: expected [ADDR:]PORT");
	refuse_file(-EINVAL, "{'links': [{'listen': '80', 'service': 'web', 'nmae': 'x'}]}",
		    "nuncio.json: links[0]: unknown key 'nmae': accepted are name, listen, service, registry, balance");
	refuse_file(-EINVAL, "{'links': [{'listen': '80', 'service': 'web', 'listen': '81'}]}",
		    "nuncio.json: links[0]: the key 'listen' is there twice");
	refuse_file(-EINVAL, "{'links': [{'listen': '80', 'service': 'web', 'balance': null}]}",
		    "nuncio.json: links[0].balance: null is not accepted: expected a string: roundrobin, random");
	refuse_file(-EINVAL, "{'defaults': []}", "nuncio.json: defaults: [] is not accepted: expected an object");
	refuse_file(-EINVAL, "{'defaults': {'listen': '80'}}",
		    "nuncio.json: defaults: 'listen' cannot stand here: accepted are balance, masquerade");
	refuse_file(-EINVAL, "{'defaults': {'balance': 'x'}}",
		    "nuncio.json: defaults.balance: 'x' is not accepted: expected roundrobin, random");
	refuse_file(-EINVAL, "{'ambassadors': {}}", "nuncio.json: ambassadors: {} is not accepted: expected a list");
	refuse_file(-EINVAL, "{'ambassadors': [[]]}", "nuncio.json: ambassadors[0]: [] is not accepted");
	refuse_file(
		-EINVAL, "{'ambassadors': [{'links': []}]}",
		"nuncio.json: ambassadors[0]: 'netns' is missing: expected a name under /run/netns, a path, or pid:N");
	refuse_file(-EINVAL, "{'ambassadors': [{'netns': 'app'}]}", "nuncio.json: ambassadors[0]: 'links' is missing");
	refuse_file(-EINVAL, "{'ambassadors': [{'netns': 1, 'links': []}]}",
		    "nuncio.json: ambassadors[0].netns: 1 is not accepted: expected a string: a name under");
	refuse_file(-EINVAL, "{'ambassadors': [{'netns': 'a', 'name': 'b', 'links': []}]}",
		    "nuncio.json: ambassadors[0]: unknown key 'name': accepted are netns, links");
	refuse_file(-EINVAL,
		    "{'ambassadors': [{'netns': 'a', 'links': [{'listen': '1', 'service': 'a'},{'listen': '[::1]:80', "
		    "'service': 'b'}]}]}",
		    "nuncio.json: ambassadors[0].links[1].listen: '[::1]:80': NAT cannot");
}

static void registries_are_checked(void **state)
{
	(void)state;
	refuse_link(-EINVAL, "80=web",
		    "--link 80=web: has no registry: give one with --registry, such as --registry file:services.json");
	refuse_file(-EINVAL, "{'links': [{'listen': '80', 'service': 'web'}]}",
		    "nuncio.json: links[0]: has no registry");
	refuse(-EINVAL, &(struct said){.registry = "dc2", .links = {"80=web"}}, "--registry: 'dc2' is neither a name");
	refuse(-EINVAL, &(struct said){.env_registry = "gopher://x", .links = {"80=web"}}, "NUNCIO_REGISTRY: ");
	refuse(-EINVAL, &(struct said){.file = "{'registry': 'docker:///s?n'}", .links = {"80=web"}},
	       "nuncio.json: registry: ");
	refuse_file(-EINVAL, "{'registry': {}}",
		    "nuncio.json: registry: {} is not accepted: expected a string: a URI such");
	refuse_file(-EINVAL, "{'registries': []}",
		    "nuncio.json: registries: [] is not accepted: expected an object of");
	refuse_file(-EINVAL, "{'registries': {'a': {'uri': 'file:a'}, 'a': {'uri': 'file:b'}}}",
		    "nuncio.json: registries: the key 'a' is there twice");
	refuse_file(-EINVAL, "{'registries': {'a': 'file:a'}}",
		    "nuncio.json: registries.a: 'file:a' is not accepted: expected an object");
	refuse_file(-EINVAL, "{'registries': {'a': {}}}",
		    "nuncio.json: registries.a: 'uri' is missing: expected a URI such as file:services.json");
	refuse_file(-EINVAL, "{'registries': {'a': {'uri': 1}}}",
		    "nuncio.json: registries.a.uri: 1 is not accepted: expected a string: a URI");
	refuse_file(-EINVAL, "{'registries': {'a': {'uri': 'a'}}}",
		    "nuncio.json: registries.a: registry 'a': no scheme");
	refuse_file(-EINVAL, "{'registries': {'a': {'uri': 'docker:///a?n'}}}",
		    "nuncio.json: registries.a: registry 'docker:");
	refuse_file(-EINVAL, "{'registries': {'a': {'uri': 'file:a', 'url': 'x'}}}",
		    "nuncio.json: registries.a: unknown key 'url': accepted are uri");
	refuse_file(-EINVAL, "{'registries': {'a:b': {'uri': 'file:a'}}}",
		    "nuncio.json: registries.a:b: a registry's name is not empty and has no ':'");
	refuse_file(-EINVAL, "{'registries': {'': {'uri': 'file:a'}}}", "a registry's name is not empty");
	refuse(-EINVAL, &(struct said){.registry = "file:f", .links = {"80=a/b,name=ab"}},
	       "--link 80=a/b,name=ab: service: 'a/b' is no service of a file registry: such a name has no '/'");
	refuse_file(-EINVAL,
		    "{'registry': 'file:f', 'links': [{'listen': '80', 'service': 'web', 'name': 'x'},{'listen': '81', "
		    "'service': '.hidden'}]}",
		    "nuncio.json: links[1].service: '.hidden' is no service of a file registry");
}

static void options_of_registries_are_checked(void **state)
{
	static const struct {
		const char *keys, *text;
	} cases[] = {
		{"'uri': 'file:a', 'ca': 'x'", "a file has no use for ca, cert, key, username, password_file or "},
		{"'uri': 'file:a', 'token_file': 'x'", "password_file or token_file"},
		{"'uri': 'etcd://h', 'token_file': 'x'", "etcd knows no token_file"},
		{"'uri': 'consul://h', 'username': 'x'", "Consul knows no username, but a token_file"},
		{"'uri': 'consul://h', 'ca': 'x'", "ca, cert and key are for TLS, which is consuls://"},
		{"'uri': 'consuls://h', 'key': 'x'", "cert and key are accepted together only"},
		{"'uri': 'consul://:t@h'", "a consul registry's URI with a token: give token_file"},
		{"'uri': 'consul://h1,h2'", "'h1,h2' is not HOST[:PORT]; consul://HOST"},
		{"'uri': 'consul://h/kv'", "'h/kv' is not HOST[:PORT]"},
		{"'uri': 'consul:h'", "registry 'consul:h': consul://HOST[:PORT]/[?dc=NAME][&tag=TAG]... is accepted"},
		{"'uri': 'consul://h/?x=1'", "x=1: dc, tag, filter, stale and wait are accepted"},
		{"'uri': 'consul://h/?dc'", "?dc: KEY=VALUE is accepted"},
		{"'uri': 'consul://h/?wait=11m'", "wait=11m: 1s to 10m is accepted"},
		{"'uri': 'consul://h/?wait=5'", "wait=5: 1s to 10m is accepted"},
		{"'uri': 'consul://h/?stale=1'", "stale=1: yes or no is accepted"},
		{"'uri': 'consul://h/?tag=a%22b'", "a text without quotes and backslashes is accepted"},
		{"'uri': 'etcd://h', 'ca': 'x'", "ca, cert and key are for TLS, which is etcds://"},
		{"'uri': 'etcds://h', 'cert': 'x'", "cert and key are accepted together only"},
		{"'uri': 'etcd://h', 'username': 'x'", "username needs a password_file"},
		{"'uri': 'etcd://h', 'password_file': 'x'", "password_file needs a username"},
		{"'uri': 'etcd://u:p@h'", "an etcd registry's URI with a user: give username and password_file"},
		{"'uri': 'etcd://h:0'", "'h:0' is not HOST[:PORT]; etcd://HOST"},
		{"'uri': 'etcd://h,'", "'' is not HOST[:PORT]"},
		{"'uri': 'etcd://[fd00::1'", "'[fd00::1' is not HOST[:PORT]"},
		{"'uri': 'etcd://h/a?x=1'", "?x=1: ?slash=no or ?slash=yes is accepted"},
		{"'uri': 'etcd:h'", "registry 'etcd:h': etcd://HOST[:PORT][,HOST[:PORT]]...[/PREFIX] is accepted"},
		{"'uri': 'etcds://h', 'ca': 7", "nuncio.json: registries.a.ca: 7 is not accepted: expected a string"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *file = xasprintf("{'registries': {'a': {%s}}}", cases[i].keys);

		refuse_file(-EINVAL, file, cases[i].text);
		free(file);
	}
}

static void registries_have_options(void **state)
{
	struct config *config = load_good(&(struct said){
		.file = "{'registries': {'a': {'uri': 'etcds://h1,h2:1/p', 'ca': 'ca.pem', 'cert': 'c.pem', 'key': "
			"'k.pem', 'username': 'u', 'password_file': 'pw'}}, 'links': [{'listen': '80', 'service': "
			"'web', "
			"'registry': 'a'}, {'listen': '81', 'service': 'web', 'registry': 'etcds://h1,h2:1/p'}]}"});
	const struct link_conf *links = config->ambassadors[0].links;
	const struct registry_conf *conf = links[0].registry_conf;

	(void)state;
	assert_string_equal(links[0].registry, "etcds://h1,h2:1/p");
	assert_string_equal(conf->uri, "etcds://h1,h2:1/p");
	assert_string_equal(conf->ca, "ca.pem");
	assert_string_equal(conf->cert, "c.pem");
	assert_string_equal(conf->key, "k.pem");
	assert_string_equal(conf->username, "u");
	assert_string_equal(conf->password_file, "pw");
	assert_null(conf->password);
	assert_true(registry_equal(conf, conf));
	assert_false(registry_equal(conf, links[1].registry_conf));
	config_free(config);
}

/* etcdctl's variables fill what nobody said. */
static void etcds_variables_are_used(void **state)
{
	struct config *config;
	const struct registry_conf *conf;

	(void)state;
	setenv("ETCDCTL_ENDPOINTS", "https://10.0.0.1:2379,https://10.0.0.2:2379", 1);
	setenv("ETCDCTL_USER", "root:se:cret", 1);
	setenv("ETCDCTL_CACERT", "ca.pem", 1);
	setenv("ETCDCTL_CERT", "c.pem", 1);
	setenv("ETCDCTL_KEY", "k.pem", 1);
	config = load_good(&(struct said){.registry = "etcd:///services?slash=no", .links = {"80=web"}});
	conf = only_link(config)->registry_conf;
	assert_string_equal(conf->uri, "etcds://10.0.0.1:2379,10.0.0.2:2379/services?slash=no");
	assert_string_equal(conf->username, "root");
	assert_string_equal(conf->password, "se:cret");
	assert_string_equal(conf->ca, "ca.pem");
	assert_string_equal(conf->cert, "c.pem");
	assert_string_equal(conf->key, "k.pem");
	config_free(config);
	/* Another etcd is told by its URI; files are for TLS, and a file registry takes nothing. */
	config = load_good(&(struct said){.registry = "etcd://h/x", .links = {"80=web", "81=b,registry=file:f"}});
	conf = config->ambassadors[0].links[0].registry_conf;
	assert_string_equal(conf->uri, "etcd://h/x");
	assert_string_equal(conf->username, "root");
	assert_null(conf->ca);
	assert_null(config->ambassadors[0].links[1].registry_conf->username);
	config_free(config);
	unsetenv("ETCDCTL_ENDPOINTS");
	unsetenv("ETCDCTL_USER");
	unsetenv("ETCDCTL_CACERT");
	unsetenv("ETCDCTL_CERT");
	unsetenv("ETCDCTL_KEY");
	config = load_good(&(struct said){.registry = "etcd:///services", .links = {"80=web"}});
	assert_string_equal(only_link(config)->registry, "etcd://127.0.0.1:2379/services");
	assert_null(only_link(config)->registry_conf->username);
	config_free(config);
}

/* The variables of Consul's own tools. */
static void consuls_variables_are_used(void **state)
{
	struct config *config;
	const struct registry_conf *conf;

	(void)state;
	setenv("CONSUL_HTTP_ADDR", "https://10.0.0.1:8501", 1);
	setenv("CONSUL_HTTP_TOKEN_FILE", "token", 1);
	setenv("CONSUL_CACERT", "ca.pem", 1);
	setenv("CONSUL_CLIENT_CERT", "c.pem", 1);
	setenv("CONSUL_CLIENT_KEY", "k.pem", 1);
	config = load_good(&(struct said){.registry = "consul:///?dc=eu", .links = {"80=web", "81=b,registry=file:f"}});
	conf = config->ambassadors[0].links[0].registry_conf;
	assert_string_equal(conf->uri, "consuls://10.0.0.1:8501/?dc=eu");
	assert_string_equal(conf->token_file, "token");
	assert_null(conf->token);
	assert_string_equal(conf->ca, "ca.pem");
	assert_string_equal(conf->cert, "c.pem");
	assert_string_equal(conf->key, "k.pem");
	assert_null(config->ambassadors[0].links[1].registry_conf->token_file);
	config_free(config);
	setenv("CONSUL_HTTP_TOKEN", "secret", 1);
	config = load_good(&(struct said){.registry = "consul://h:1", .links = {"80=web"}});
	conf = only_link(config)->registry_conf;
	assert_string_equal(conf->uri, "consul://h:1");
	assert_string_equal(conf->token, "secret");
	assert_null(conf->token_file);
	assert_null(conf->ca);
	config_free(config);
	config = load_good(
		&(struct said){.file = "{'registries': {'a': {'uri': 'consul://h', 'token_file': 'own'}}, 'links': "
				       "[{'listen': '80', 'service': 'web', 'registry': 'a'}]}"});
	conf = only_link(config)->registry_conf;
	assert_string_equal(conf->token_file, "own");
	assert_null(conf->token);
	config_free(config);
	unsetenv("CONSUL_HTTP_ADDR");
	unsetenv("CONSUL_HTTP_TOKEN");
	unsetenv("CONSUL_HTTP_TOKEN_FILE");
	unsetenv("CONSUL_CACERT");
	unsetenv("CONSUL_CLIENT_CERT");
	unsetenv("CONSUL_CLIENT_KEY");
	setenv("CONSUL_HTTP_SSL", "true", 1);
	config = load_good(&(struct said){.registry = "consul://", .links = {"80=web"}});
	assert_string_equal(only_link(config)->registry, "consuls://127.0.0.1:8500");
	assert_null(only_link(config)->registry_conf->token);
	config_free(config);
	unsetenv("CONSUL_HTTP_SSL");
}

/* An empty list says so on purpose. */
static void there_may_be_no_links_yet(void **state)
{
	struct config *config = load_good(&(struct said){.file = "{'links': []}"});

	(void)state;
	assert_int_equal(config->n_ambassadors, 0);
	config_free(config);
	refuse(-EINVAL, &(struct said){.file = "{'links': []}", .netns = "app"}, "--netns app: has no links");
}

static void ambassadors_are_checked(void **state)
{
	(void)state;
	refuse(-EINVAL, &(struct said){.registry = "file:f"},
	       "no links, so there is nothing to do: give one, such as --link 5432=postgres");
	refuse_file(-EINVAL, "{}", "no links, so there is nothing to do");
	refuse(-EINVAL, &(struct said){.netns = "app"}, "no links, so there is nothing to do");
	refuse(-EINVAL, &(struct said){.file = "{'ambassadors': [{'netns': 'app', 'links': []}]}", .links = {"80=web"}},
	       "nuncio.json: ambassadors[0]: has no links: give it one, such as {'listen': '5432'");
	refuse(-EINVAL,
	       &(struct said){
		       .file = "{'ambassadors': [{'netns': 'b', 'links': [{'listen': '80', 'service': 'web'}]}]}",
		       .netns = "app"},
	       "--netns app: has no links");
	refuse_file(-EINVAL,
		    "{'ambassadors': [{'netns': 'a', 'links': [{'listen': '80', 'service': 'web'}]}, {'netns': 'a', "
		    "'links': [{'listen': '81', 'service': 'web'}]}]}",
		    "nuncio.json: ambassadors[1]: the network namespace 'a' is that of nuncio.json: ambassadors[0] "
		    "already");
	refuse(-EINVAL,
	       &(struct said){
		       .file = "{'ambassadors': [{'netns': 'a', 'links': [{'listen': '80', 'service': 'web'}]}]}",
		       .netns = "a",
		       .links = {"80=web"}},
	       "nuncio.json: ambassadors[0]: the network namespace 'a' is that of --netns a already");
	refuse(-EINVAL, &(struct said){.netns = "", .links = {"80=web"}},
	       "--netns : the network namespace '' is not a name under /run/netns");
	refuse(-EINVAL, &(struct said){.netns = "pid:x", .links = {"80=web"}},
	       "--netns pid:x: the network namespace 'pid:x' is not");
	refuse(-EINVAL, &(struct said){.netns = "pid:0", .links = {"80=web"}}, "'pid:0' is not");
}

static void double_listens_and_names_are_refused(void **state)
{
	static const char long_name[] = "a23456789-b23456789-c23456789-d23456789-e23456789-f23456789-g23";
	char *links = xasprintf("80=%s 81=%s", long_name, long_name);

	(void)state;
	refuse(-EINVAL, &(struct said){.registry = "file:f", .links = {"80=web", "127.0.0.1:80/tcp=db"}},
	       "--link 127.0.0.1:80/tcp=db: listens on 127.0.0.1:80/tcp, and so does --link 80=web");
	refuse(-EINVAL, &(struct said){.registry = "file:f", .env_links = "80=web 80=db"},
	       "NUNCIO_LINKS 80=db: listens on 127.0.0.1:80/tcp, and so does NUNCIO_LINKS 80=web");
	/* Also where a flag replaces both. */
	refuse(-EINVAL,
	       &(struct said){.file = "{'links': [{'listen': '80', 'service': 'web'},{'listen': '127.0.0.1:80', "
				      "'service': 'db'}]}",
			      .links = {"80=web"}},
	       "nuncio.json: links[1]: listens on 127.0.0.1:80/tcp, and so does nuncio.json: links[0]");
	refuse(-EINVAL, &(struct said){.registry = "file:f", .links = {"80=web,name=a", "81=web,name=a"}},
	       "--link 81=web,name=a: the name 'a' is taken by --link 80=web,name=a: names are unique");
	refuse(-EINVAL, &(struct said){.registry = "file:f", .links = {"80=w@b"}},
	       "--link 80=w@b: 'w@b' would be its name, which is not 1 to 64 of A-Z a-z 0-9 . _ -: give the link a "
	       "'name'");
	refuse(-EINVAL, &(struct said){.registry = "file:f", .env_links = links},
	       "-81' would be its name, which is not");
	free(links);
}

static void services_and_names_have_a_longest_form(void **state)
{
	char service[SERVICE_NAME_MAX + 2], name[LINK_NAME_MAX + 2];
	struct said said = {.registry = "file:f"};
	struct config *config;
	char *link;

	(void)state;
	memset(service, 's', sizeof(service));
	memset(name, 'n', sizeof(name));
	service[SERVICE_NAME_MAX] = name[LINK_NAME_MAX] = '\0';
	said.links[0] = link = xasprintf("80=%s,name=%s", service, name);
	config = load_good(&said);
	assert_string_equal(only_link(config)->service, service);
	config_free(config);
	free(link);
	said.links[0] = link = xasprintf("80=%s,name=%sx", service, name);
	refuse(-EINVAL, &said, ": expected 1 to 64 of");
	free(link);
	said.links[0] = link = xasprintf("80=%sx,name=%s", service, name);
	refuse(-EINVAL, &said, ": expected 1 to 255 visible");
	free(link);
}

static void files_that_cannot_be_read_are_refused(void **state)
{
	struct config_args args = {.file = "missing.json"};
	struct config *config = NULL;
	struct error err;

	(void)state;
	assert_int_equal(config_load(&args, &config, &err), -ENOENT);
	assert_string_equal(err.text, "missing.json: cannot be read: No such file or directory");
	args.file = "/";
	assert_int_equal(config_load(&args, &config, &err), -EISDIR);
	assert_null(config);
	/* Whoever does not want the sentence passes NULL. */
	assert_int_equal(config_load(&args, &config, NULL), -EISDIR);
}

static void many_links_are_quick(void **state)
{
	enum { COUNT = 10000 };
	struct config *config;
	char *text;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	(void)state;
	fprintf(file, "{'registry': 'file:f', 'links': [");
	for (int i = 0; i < COUNT; i++)
		fprintf(file, "%s{'listen': '10.0.%d.%d:80', 'service': 's%d'}", i ? "," : "", i / 250, i % 250 + 1, i);
	fprintf(file, "]}");
	fclose(file);
	config = load_good(&(struct said){.file = text});
	assert_int_equal(config->ambassadors[0].n_links, COUNT);
	assert_string_equal(config->ambassadors[0].links[COUNT - 1].name, "s9999");
	config_free(config);
	free(text);
}

static void keys_are_printed(void **state)
{
	FILE *terminal = stdout;
	char *text;
	size_t size;

	(void)state;
	stdout = open_memstream(&text, &size);
	config_print_keys();
	fclose(stdout);
	stdout = terminal;
	assert_non_null(strstr(text, "  name         1 to 64 of"));
	assert_non_null(strstr(text, "roundrobin, random, source, leastconn (roundrobin)  "));
	assert_non_null(strstr(text, "(off)  "));
	assert_non_null(strstr(text, "Keys of \"check\" as an object:\n  type           tcp, http "));
	for (const char *line = text; *line; line = strchr(line, '\n') + 1)
		assert_true(strchr(line, '\n') - line <= 120);
	free(text);
}

/* A directory of its own, so that the file has the same short name in every message. */
static int enter_directory(void **state)
{
	char directory[] = "/tmp/nuncio-config-XXXXXX";

	if (!mkdtemp(directory) || chdir(directory) < 0)
		return -1;
	*state = xstrdup(directory);
	return 0;
}

static int leave_directory(void **state)
{
	int r;

	unlink(FILE_NAME);
	r = chdir("/") < 0 || rmdir(*state) < 0 ? -1 : 0;
	free(*state);
	return r;
}

/* Labels of containers */

static char refusals[2048];

static void note_refusal(void *context, const char *sentence)
{
	size_t used = strlen(refusals);

	(void)context;
	snprintf(refusals + used, sizeof(refusals) - used, "%s\n", sentence);
}

static void labels_start_from_the_configuration(void **state)
{
	static const struct label_conf labels[] = {
		{"app", "nuncio.link.5432", "5432", "db,registry=dc2"},
		{"app", "nuncio.link.0", "0", "db"},
		{"app", "connect.53/udp", "53/udp", "dns,name=db"},
		{"app", "nuncio.link.80", "80", "web,color=red"},
		{"side", "connect.5432", "5432", "other"},
		{"side", "connect.5433", "5433", "db,name=db"},
		{"side", "connect.5434", "5434", ""},
	};
	struct config *config = load_good(&(struct said){
		.file = "{'registry': 'file:a', 'registries': {'dc2': {'uri': 'file:b'}}, 'docker': '/run/d.sock',"
			"'defaults': {'balance': 'random'}}"});
	struct ambassador_conf conf = {0};
	struct arena arena = {0};

	(void)state;
	assert_int_equal(config->n_ambassadors, 0);
	assert_string_equal(config->docker, "docker:///run/d.sock");
	refusals[0] = '\0';
	config_read_labels(config, labels, ARRAY_SIZE(labels), &arena, &conf, note_refusal, NULL);
	assert_int_equal(conf.n_links, 2);
	assert_string_equal(conf.links[0].registry, "file:b");
	assert_string_equal(conf.links[0].name, "db-5432");
	assert_int_equal(conf.links[0].balance, BALANCE_RANDOM);
	assert_string_equal(conf.links[1].registry, "file:a");
	assert_string_equal(conf.links[1].name, "db");
	assert_non_null(strstr(refusals, "container app: label nuncio.link.0=db: listen: "));
	assert_non_null(strstr(refusals, "container app: label nuncio.link.80=web,color=red: unknown key \"color\""));
	assert_non_null(strstr(refusals, "container side: label connect.5432=other: listens on 127.0.0.1:5432/tcp, and "
					 "so does container app: label nuncio.link.5432=db,registry=dc2"));
	assert_non_null(strstr(refusals, "container side: label connect.5433=db,name=db: the name \"db\" is taken"));
	assert_non_null(strstr(refusals, "container side: label connect.5434=: service: \"\" is not accepted"));
	arena_free(&arena);
	config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(listen_is_parsed),
		cmocka_unit_test(listen_is_refused),
		cmocka_unit_test(listen_that_is_far_too_long_is_refused),
		cmocka_unit_test(listens_compare),
		cmocka_unit_test(flags_alone_are_enough),
		cmocka_unit_test(environment_alone_is_enough),
		cmocka_unit_test(file_has_everything),
		cmocka_unit_test(escaped_string_ends_where_it_ends),
		cmocka_unit_test(higher_levels_replace_lower_ones),
		cmocka_unit_test(replaced_link_leaves_nothing_behind),
		cmocka_unit_test(registry_levels),
		cmocka_unit_test(empty_variables_count_as_unset),
		cmocka_unit_test(netns_takes_the_top_level_links),
		cmocka_unit_test(own_namespace_without_links_is_left_out),
		cmocka_unit_test(unnamed_links_get_names),
		cmocka_unit_test(any_service_will_do_with_a_name),
		cmocka_unit_test(what_an_empty_link_does),
		cmocka_unit_test(what_becomes_of_connections_of_a_removed_endpoint),
		cmocka_unit_test(when_a_loss_is_held),
		cmocka_unit_test(link_strings_are_refused),
		cmocka_unit_test(shares_may_change_with_time),
		cmocka_unit_test(a_check_is_a_word_or_an_object),
		cmocka_unit_test(eject_is_a_word_or_an_object),
		cmocka_unit_test(eject_begins_with_the_defaults),
		cmocka_unit_test(wrong_ejects_have_their_path),
		cmocka_unit_test(checks_begin_with_the_defaults),
		cmocka_unit_test(wrong_checks_have_their_path),
		cmocka_unit_test(syntax_errors_have_their_line),
		cmocka_unit_test(wrong_shapes_have_their_path),
		cmocka_unit_test(registries_are_checked),
		cmocka_unit_test(options_of_registries_are_checked),
		cmocka_unit_test(registries_have_options),
		cmocka_unit_test(etcds_variables_are_used),
		cmocka_unit_test(consuls_variables_are_used),
		cmocka_unit_test(there_may_be_no_links_yet),
		cmocka_unit_test(ambassadors_are_checked),
		cmocka_unit_test(double_listens_and_names_are_refused),
		cmocka_unit_test(services_and_names_have_a_longest_form),
		cmocka_unit_test(files_that_cannot_be_read_are_refused),
		cmocka_unit_test(many_links_are_quick),
		cmocka_unit_test(keys_are_printed),
		cmocka_unit_test(labels_start_from_the_configuration),
	};

	return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
