/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Endpoints that left, and the packet that makes a client's TCP tell its numbers. */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>

#include "daemon/draining.h"
#include "kernel/challenge.h"
#include "plans.h"

/* The leavers as "ID@SINCE", oldest first. */
static void check_leavers(const struct leavers *leavers, const char *expected)
{
	char text[128] = "";

	for (size_t i = 0; i < leavers->count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s@%u", i ? " " : "",
			 leavers->items[i].id, (unsigned int)leavers->items[i].since);
	assert_string_equal(text, expected);
}

static void step(struct leavers *leavers, struct link_plan *plan, const char *endpoints, uint64_t now)
{
	struct link_conf conf = conf_of("9000", "web");
	struct link_plan next = plan_after(plan, &conf, endpoints);

	leavers_note(leavers, plan, &next, now);
	plan_clear(plan);
	*plan = next;
}

static void endpoints_leave_and_come_back(void **state)
{
	struct link_conf conf = conf_of("9000", "web");
	struct link_plan plan = plan_after(NULL, &conf, "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80");
	struct leavers leavers = {0};

	(void)state;
	step(&leavers, &plan, "a=10.0.0.1:80 b=10.0.0.2:80 c=10.0.0.3:80*0", 1);
	check_leavers(&leavers, "c@1");
	/* From weight 0 to removed is no new departure, standing by is none, and a new name is the same endpoint. */
	step(&leavers, &plan, "A=10.0.0.1:80!1 b=10.0.0.2:80", 2);
	check_leavers(&leavers, "c@1");
	step(&leavers, &plan, "", 3);
	check_leavers(&leavers, "c@1 A@3 b@3");
	step(&leavers, &plan, "a=10.0.0.1:80 c=10.0.0.3:80", 4);
	check_leavers(&leavers, "b@3");
	step(&leavers, &plan, "a=10.0.0.1:80", 5);
	check_leavers(&leavers, "b@3 c@5");
	leavers_drop(&leavers, 6, 4); /* nothing happened before 0, and nothing is taken for that */
	check_leavers(&leavers, "b@3 c@5");
	leavers_drop(&leavers, 6, 3);
	check_leavers(&leavers, "c@5");
	assert_null(leavers_find(&leavers, &(struct ip_port){0}));
	assert_ptr_equal(leavers_find(&leavers, &leavers.items[0].at), &leavers.items[0]);
	leavers_clear(&leavers);
	plan_clear(&plan);
}

static void who_is_drained_by_hand_leaves(void **state)
{
	struct link_conf conf = conf_of("9000", "web");
	struct link_plan first = plan_after(NULL, &conf, "a=10.0.0.1:80 b=10.0.0.2:80");
	struct link_plan second = plan_by_hand(&first, &conf, "a=10.0.0.1:80*0 b=10.0.0.2:80"), third;
	struct leavers leavers = {0};

	(void)state;
	leavers_note(&leavers, &first, &second, 1);
	check_leavers(&leavers, "a@1");
	third = plan_after(&second, &conf, "b=10.0.0.2:80");
	leavers_note(&leavers, &second, &third, 2);
	check_leavers(&leavers, "a@1");
	leavers_note(&leavers, &third, &first, 3);
	check_leavers(&leavers, "");
	assert_null(leavers.items); /* nobody takes no room */
	leavers_clear(&leavers);
	plan_clear(&first);
	plan_clear(&second);
	plan_clear(&third);
}

static void the_oldest_is_forgotten_when_there_are_too_many(void **state)
{
	struct leavers leavers = {0};
	struct ip_port leaver = at("10.0.0.1:1");

	(void)state;
	for (uint16_t port = 1; port <= LEAVERS_MAX + 2; port++) {
		leaver.port = port;
		leavers_add(&leavers, &leaver, "x", port);
	}
	assert_int_equal(leavers.count, LEAVERS_MAX);
	assert_int_equal(leavers.items[0].at.port, 3);
	assert_int_equal(leavers.items[LEAVERS_MAX - 1].at.port, LEAVERS_MAX + 2);
	leavers_clear(&leavers);
}

/* The sum of the words of what TCP's checksum covers, folded: 0xffff where it is right (RFC 1071). */
static unsigned int checksum(const uint8_t *addresses, size_t address_bytes, const uint8_t *tcp)
{
	unsigned int sum = IPPROTO_TCP + 20;

	for (size_t i = 0; i < address_bytes; i += 2)
		sum += (unsigned int)addresses[i] << 8 | addresses[i + 1];
	for (size_t i = 0; i < 20; i += 2)
		sum += (unsigned int)tcp[i] << 8 | tcp[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void a_challenge_is_a_syn_from_the_peer(void **state)
{
	const struct ip_port peer = at("10.96.0.10:80"), client = at("10.78.0.2:40000");
	const struct ip_port peer6 = at("[fd00:aa::1]:80"), client6 = at("[fd00:78::2]:40000");
	uint8_t packet[CHALLENGE_MAX];
	struct tcphdr tcp;

	(void)state;
	assert_int_equal(challenge_packet(&peer, &client, packet), 40);
	assert_memory_equal(packet + 12, peer.addr.bytes, 4);
	assert_memory_equal(packet + 16, client.addr.bytes, 4);
	memcpy(&tcp, packet + 20, sizeof(tcp));
	assert_true(tcp.syn && !tcp.ack && !tcp.rst && tcp.doff == 5);
	assert_int_equal(ntohs(tcp.source), 80);
	assert_int_equal(ntohs(tcp.dest), 40000);
	assert_int_equal(checksum(packet + 12, 8, packet + 20), 0xffff);

	assert_int_equal(challenge_packet(&peer6, &client6, packet), 60);
	assert_memory_equal(packet + 8, peer6.addr.bytes, 16);
	assert_memory_equal(packet + 24, client6.addr.bytes, 16);
	assert_int_equal(checksum(packet + 8, 32, packet + 40), 0xffff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(endpoints_leave_and_come_back),
		cmocka_unit_test(who_is_drained_by_hand_leaves),
		cmocka_unit_test(the_oldest_is_forgotten_when_there_are_too_many),
		cmocka_unit_test(a_challenge_is_a_syn_from_the_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
