/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a Docker engine says, and the services that follow from it. */
#include "unit.h"

#include "discovery/docker/services.h"
#include "discovery/docker/uri.h"
#include "docker-answers.h"

static const char *uri_text(const char *uri)
{
	static char line[600];
	struct docker_uri parsed;
	struct error err;

	if (docker_uri_parse(uri, &parsed, &err) < 0)
		snprintf(line, sizeof(line), "! %s", err.text);
	else
		snprintf(line, sizeof(line), "%s %s %s", parsed.socket ? parsed.socket : "-", parsed.base,
			 parsed.network ? parsed.network : "-");
	arena_free(&parsed.arena);
	return line;
}

static void uris_say_where_the_engine_is(void **state)
{
	char longest[200] = "docker:///";

	(void)state;
	assert_string_equal(uri_text("docker:///run/docker.sock"), "/run/docker.sock http://docker -");
	assert_string_equal(uri_text("docker:///run/d.sock?network=a%20b"), "/run/d.sock http://docker a b");
	assert_string_equal(uri_text("docker:///"), "/var/run/docker.sock http://docker -");
	assert_string_equal(uri_text("docker:///?network=x"), "/var/run/docker.sock http://docker x");
	assert_string_equal(uri_text("docker://10.0.0.1/"), "- http://10.0.0.1:2375 -");
	assert_string_equal(uri_text("docker://[fd00::1]:99/?network=n"), "- http://[fd00::1]:99 n");
	assert_string_equal(uri_text("docker:///s?net=x"),
			    "! registry \"docker:///s?net=x\": ?net: network=NAME is accepted");
	assert_string_equal(uri_text("docker:///s?network="),
			    "! registry \"docker:///s?network=\": ?network: network=NAME is accepted");
	assert_string_equal(uri_text("docker:/s"), "! registry \"docker:/s\": " DOCKER_URI_FORM " is accepted");
	assert_non_null(strstr(uri_text("docker://a b/"), "docker://HOST[:PORT]/ is accepted"));
	memset(longest + 10, 'x', 110);
	assert_non_null(strstr(uri_text(longest), "up to 107 bytes"));
}

static void hosts_of_dockers_own_tools_are_uris(void **state)
{
	struct arena arena = {0};

	(void)state;
	assert_string_equal(docker_uri_of_host(&arena, "unix:///run/d.sock"), "docker:///run/d.sock");
	assert_string_equal(docker_uri_of_host(&arena, "/run/d.sock"), "docker:///run/d.sock");
	assert_string_equal(docker_uri_of_host(&arena, "tcp://10.0.0.1:2375"), "docker://10.0.0.1:2375/");
	assert_string_equal(docker_uri_of_host(&arena, "tcp://10.0.0.1:2375/"), "docker://10.0.0.1:2375/");
	assert_string_equal(docker_uri_of_host(&arena, "docker:///s?network=n"), "docker:///s?network=n");
	arena_free(&arena);
}

static void versions_are_the_older_of_both(void **state)
{
	char buffer[DOCKER_VERSION_TEXT];

	(void)state;
	assert_string_equal(docker_version("1.41", buffer), "1.41");
	assert_string_equal(docker_version("1.52", buffer), "1.52");
	assert_string_equal(docker_version("1.60", buffer), "1.52");
	assert_string_equal(docker_version("2.0", buffer), "1.52");
	assert_null(docker_version(NULL, buffer));
	assert_null(docker_version("", buffer));
	assert_null(docker_version("1", buffer));
	assert_null(docker_version("1.41.2", buffer));
}

/* A copy without a NUL behind it, so that whoever reads too far is seen. */
static char *bare(const char *text, size_t *ret_length)
{
	*ret_length = strlen(text);
	return memcpy(xrealloc(NULL, *ret_length + !*ret_length, 1), text, *ret_length);
}

static void lists_name_those_of_interest(void **state)
{
	struct docker_list list;
	size_t length;
	char *text = bare(list_answer, &length);

	(void)state;
	assert_int_equal(docker_list_parse(text, length, &list, NULL), 0);
	assert_int_equal(list.count, 5);
	for (size_t i = 0; i < list.count; i++)
		assert_true(list.items[i].counts);
	assert_true(strncmp(list.items[1].id, "6cd18ce9", 8) == 0);
	assert_string_equal(list.items[1].shares, list.items[4].id);
	assert_null(list.items[0].shares);
	docker_list_clear(&list);
	free(text);
}

static void refuse_list(const char *text, const char *why)
{
	struct docker_list list;
	struct error err;

	assert_int_equal(docker_list_parse(text, strlen(text), &list, &err), -EINVAL);
	assert_non_null(strstr(err.text, why));
	docker_list_clear(&list);
}

static void what_is_no_list_is_refused(void **state)
{
	static const char no_labels[] = "[{\"Id\": \"ab\", \"Labels\": null}]";
	struct docker_list list;

	(void)state;
	refuse_list("", "a value or its end is missing");
	refuse_list("{}", "not a list");
	refuse_list("[{\"Id\": \"ab\"}, 1]", "without a usable id");
	refuse_list("[{\"Id\": \"../x\"}]", "without a usable id");
	assert_int_equal(docker_list_parse(no_labels, strlen(no_labels), &list, NULL), 0);
	assert_int_equal(list.count, 1);
	assert_false(list.items[0].counts);
	docker_list_clear(&list);
}

static void events_tell_which_container(void **state)
{
	/* Of each line, whether it counts. */
	static const struct {
		const char *id;
		uint64_t second;
	} expected[] = {
		{"e9ea4887", 1795392205}, /* start */
		{"", 0},		  /* exec_create */
		{"2ef4e6bf", 0},	  /* health_status: healthy */
		{"e9ea4887", 0},	  /* rename */
		{"e9ea4887", 0},	  /* network connect */
		{"e9ea4887", 0},	  /* network disconnect */
		{"b75d35ae", 0},	  /* pause */
		{"b75d35ae", 0},	  /* die */
	};
	static const char image_event[] = "{\"Type\":\"image\",\"Action\":\"pull\"}";
	const char *line = events_answer;
	struct docker_event event;

	(void)state;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		size_t length = strcspn(line, "\n");

		assert_int_equal(docker_event_parse(line, length, &event, NULL), 0);
		assert_int_equal(event.counts, *expected[i].id != '\0');
		assert_true(strncmp(event.container, expected[i].id, 8) == 0);
		if (expected[i].second)
			assert_int_equal(event.nanoseconds / 1000000000, expected[i].second);
		line += length + 1;
	}
	assert_int_equal(docker_event_parse("{\"Type\": 1", 10, &event, NULL), -EINVAL);
	assert_int_equal(docker_event_parse(image_event, strlen(image_event), &event, NULL), 0);
	assert_false(event.counts);
}

static void a_container_is_read(void **state)
{
	struct docker_container *container;
	char at[IP_ADDR_TEXT];
	size_t length;
	char *text = bare(health_answer, &length);

	(void)state;
	assert_int_equal(docker_container_parse(text, length, &container, NULL), 0);
	assert_string_equal(container->name, "hc");
	assert_true(container->running && container->healthy && !container->paused && !container->of_host);
	assert_int_equal(container->pid, 25034);
	assert_string_equal(container->sandbox, "/run/docker/netns/99bb12fefd4f");
	assert_null(container->shares);
	assert_int_equal(container->n_labels, 1);
	assert_string_equal(docker_label(container, "nuncio.service"), "web");
	assert_null(docker_label(container, "nuncio.port"));
	assert_int_equal(container->n_networks, 1);
	assert_string_equal(container->networks[0].name, "bridge");
	assert_string_equal(ip_addr_text(&container->networks[0].v4, at), "172.17.0.3");
	assert_int_equal(container->networks[0].v6.family, 0);
	assert_int_equal(container->n_ports, 1);
	assert_int_equal(container->ports[0].port, 80);
	docker_container_free(container);
	free(text);
}

/* Services */

/* A container in short: state, labels, networks and exposed ports as JSON, quotes as '. */
struct said {
	const char *name, *state, *labels, *networks, *ports;
};

#define RUNNING "'Running':true,'Pid':7"
#define ON_BRIDGE "'bridge':{'IPAddress':'10.0.0.5'}"

static struct docker_container *make(const struct said *said)
{
	char *text = xasprintf("{'Id':'id%s','Name':'/%s','State':{%s},'Config':{'Labels':{%s},'ExposedPorts':{%s}},"
			       "'NetworkSettings':{'Networks':{%s}}}",
			       said->name, said->name, said->state ? said->state : RUNNING, said->labels,
			       said->ports ? said->ports : "'80/tcp':{}", said->networks ? said->networks : ON_BRIDGE);
	struct docker_container *container;
	struct error err;

	for (char *at = text; *at; at++)
		*at = *at == '\'' ? '"' : *at;
	if (docker_container_parse(text, strlen(text), &container, &err) < 0)
		fail_msg("%s: %s", err.text, text);
	free(text);
	return container;
}

/* One line: the endpoints of a service, what was skipped; or its error. */
static const char *view_of(const char *service, const char *network, const struct said *said, size_t count)
{
	static char line[2048];
	char at[IP_PORT_TEXT];
	struct docker_view view;
	struct records records;
	size_t used = 0;

	line[0] = '\0';
	docker_view_begin(&view, service, network, &records);
	for (size_t i = 0; i < count; i++) {
		struct docker_container *container = make(&said[i]);

		docker_view_add(&view, container, NULL);
		docker_container_free(container);
	}
	docker_view_end(&view);
	for (uint32_t i = 0; records.endpoints && i < records.endpoints->count; i++)
		used += (size_t)snprintf(line + used, sizeof(line) - used, "%s=%s*%u ", records.endpoints->items[i].id,
					 ip_port_text(&records.endpoints->items[i].at, at),
					 records.endpoints->items[i].weight);
	for (uint32_t i = 0; i < records.skipped; i++)
		used += (size_t)snprintf(line + used, sizeof(line) - used, "[%s] ", records.reports[i]);
	snprintf(line + used, sizeof(line) - used, "%s", records.error ? "error" : "");
	records_clear(&records);
	return line;
}

#define VIEW(service, network, ...) \
	view_of(service, network, (const struct said[]){__VA_ARGS__}, \
		sizeof((const struct said[]){__VA_ARGS__}) / sizeof(struct said))

#define WEB "'nuncio.service':'web'"

static void own_labels_make_endpoints(void **state)
{
	(void)state;
	assert_string_equal(VIEW("web", NULL, {"a", .labels = WEB}), "a=10.0.0.5:80*1 ");
	assert_string_equal(VIEW("db", NULL, {"a", .labels = WEB}), "");
	assert_string_equal(VIEW("web", NULL, {"a", .labels = WEB ",'nuncio.port':'81','nuncio.weight':'0'"}),
			    "a=10.0.0.5:81*0 ");
	assert_string_equal(VIEW("web", NULL, {"a", .labels = WEB, .ports = "'53/tcp':{},'53/udp':{}"}),
			    "a=10.0.0.5:53*1 ");
	assert_string_equal(VIEW("web", NULL, {"a", .labels = WEB, .networks = "'x':{'GlobalIPv6Address':'fd00::5'}"}),
			    "a=[fd00::5]:80*1 ");
	assert_string_equal(
		VIEW("web", "y", {"a", .labels = WEB, .networks = ON_BRIDGE ",'y':{'IPAddress':'10.1.0.5'}"}),
		"a=10.1.0.5:80*1 ");
}

static void who_cannot_serve_is_out(void **state)
{
	(void)state;
	assert_string_equal(VIEW("web", NULL, {"a", .labels = WEB, .state = "'Running':false,'Pid':0"},
				 {"b", .labels = WEB, .state = RUNNING ",'Paused':true"},
				 {"c", .labels = WEB, .state = RUNNING ",'Restarting':true"},
				 {"d", .labels = WEB, .state = RUNNING ",'Health':{'Status':'starting'}"},
				 {"e", .labels = WEB, .state = RUNNING ",'Health':{'Status':'unhealthy'}"},
				 {"f", .labels = WEB, .state = RUNNING ",'Health':{'Status':'healthy'}"}),
			    "f=10.0.0.5:80*1 ");
}

static void what_cannot_be_used_is_said(void **state)
{
	(void)state;
	assert_string_equal(
		VIEW("web", NULL, {"a", .labels = WEB}, {"b", .labels = WEB, .ports = "'80/tcp':{},'443/tcp':{}"}),
		"a=10.0.0.5:80*1 [container b: it exposes several ports (80, 443): choose one by the label "
		"nuncio.port] ");
	assert_string_equal(VIEW("web", NULL, {"a", .labels = WEB, .ports = ""}),
			    "[container a: it exposes no port: give it the label nuncio.port] error");
	assert_string_equal(VIEW("web", NULL, {"a", .labels = WEB ",'nuncio.port':'0'"}),
			    "[container a: label nuncio.port 0: 1-65535 is accepted] error");
	assert_string_equal(VIEW("web", NULL, {"a", .labels = WEB ",'nuncio.weight':'x'"}),
			    "[container a: label nuncio.weight x: 0-65535 is accepted] error");
	assert_string_equal(VIEW("web", "y", {"a", .labels = WEB}),
			    "[container a: it is not on the network y (but on bridge)] error");
	assert_string_equal(
		VIEW("web", NULL, {"a", .labels = WEB, .networks = ON_BRIDGE ",'y':{'IPAddress':'10.1.0.5'}"}),
		"[container a: it is on several networks (bridge, y): choose one with ?network=NAME] error");
	assert_string_equal(VIEW("web", NULL, {"a", .labels = WEB, .networks = "'host':{'IPAddress':''}"}),
			    "[container a: it has no address on the network host] error");
	assert_string_equal(VIEW("web", NULL, {"a", .labels = WEB}, {"b", .labels = WEB}),
			    "a=10.0.0.5:80*1 [container b: 10.0.0.5:80: \"a\" has this id or address already, each is "
			    "accepted once] ");
}

static void registrators_labels_make_endpoints(void **state)
{
	static const struct said one = {"r", .labels = "'SERVICE_NAME':'web'"};
	static const struct said two = {"r", .labels = "'SERVICE_NAME':'web','SERVICE_443_NAME':'tls'",
					.ports = "'80/tcp':{},'443/tcp':{},'9/udp':{}"};
	static const struct said same = {"r", .labels = "'SERVICE_80_NAME':'web','SERVICE_81_NAME':'web'",
					 .ports = "'80/tcp':{},'81/tcp':{}"};
	static const struct said ignored = {"r", .labels = "'SERVICE_NAME':'web','SERVICE_80_IGNORE':'yes'",
					    .ports = "'80/tcp':{},'81/tcp':{}"};

	(void)state;
	assert_string_equal(VIEW("web", NULL, one), "r=10.0.0.5:80*1 ");
	assert_string_equal(VIEW("web-80", NULL, two), "r=10.0.0.5:80*1 ");
	assert_string_equal(VIEW("web-9", NULL, two), "r=10.0.0.5:9*1 ");
	assert_string_equal(VIEW("tls", NULL, two), "r=10.0.0.5:443*1 ");
	assert_string_equal(VIEW("web", NULL, two), "");
	assert_string_equal(VIEW("web", NULL, same), "r=10.0.0.5:80*1 r:81=10.0.0.5:81*1 ");
	assert_string_equal(VIEW("web-80", NULL, ignored), "");
	assert_string_equal(VIEW("web-81", NULL, ignored), "r=10.0.0.5:81*1 ");
	assert_string_equal(VIEW("web", NULL, {"r", .labels = "'SERVICE_NAME':'web','SERVICE_IGNORE':'1'"}), "");
}

static void errors_are_one_printable_line(void **state)
{
	struct arena arena = {0};

	(void)state;
	assert_string_equal(docker_error_text("{\"message\":\"No such\\ncontainer\"}", 32, &arena), "No such");
	assert_string_equal(docker_error_text("404 page\x01 not found\n", 20, &arena), "404 page? not found");
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uris_say_where_the_engine_is),
		cmocka_unit_test(hosts_of_dockers_own_tools_are_uris),
		cmocka_unit_test(versions_are_the_older_of_both),
		cmocka_unit_test(lists_name_those_of_interest),
		cmocka_unit_test(what_is_no_list_is_refused),
		cmocka_unit_test(events_tell_which_container),
		cmocka_unit_test(a_container_is_read),
		cmocka_unit_test(own_labels_make_endpoints),
		cmocka_unit_test(who_cannot_serve_is_out),
		cmocka_unit_test(what_cannot_be_used_is_said),
		cmocka_unit_test(registrators_labels_make_endpoints),
		cmocka_unit_test(errors_are_one_printable_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
