/* SPDX-License-Identifier: GPL-2.0-or-later */
/* balance=leastconn against connections that come and go, in simulated time. */
#include "unit.h"

#include <math.h>

#include "balance/leastconn.h"
#include "balance/plan.h"
#include "random.h"

#define MOST 8
#define STEPS_A_SECOND 100

/* Connections come at random; each goes where shares and weights send it, and stays there for a random time. */
struct world {
	uint32_t n;
	double rate;		/* connections a second */
	double holding_s[MOST]; /* on the average, by endpoint */
	struct load each[MOST];
	struct loads loads;
	bool fixed; /* shares stay: round robin by weight */
	unsigned int changes;
	int period_s;  /* how often connections are counted; 0: each second */
	double spread; /* of live connections per weight, largest by smallest; average of the last seconds */
};

static double uniform(void)
{
	return (random_between(0, 999999) + 0.5) / 1e6;
}

static uint32_t draw(const struct world *world)
{
	double sum = 0, at;

	for (uint32_t i = 0; i < world->n; i++)
		sum += (double)world->each[i].weight * (world->each[i].share ? world->each[i].share : 1);
	at = uniform() * sum;
	for (uint32_t i = 0; i < world->n; i++) {
		at -= (double)world->each[i].weight * (world->each[i].share ? world->each[i].share : 1);
		if (at < 0)
			return i;
	}
	return world->n - 1;
}

static void live_on(struct world *world)
{
	for (int step = 0; step < STEPS_A_SECOND; step++) {
		if (uniform() < world->rate / STEPS_A_SECOND || world->rate > STEPS_A_SECOND) {
			for (int k = 0; k < (int)ceil(fmax(1, world->rate / STEPS_A_SECOND)); k++) {
				struct load *load = &world->each[draw(world)];

				load->live++;
				load->arrived++;
			}
		}
		for (uint32_t i = 0; i < world->n; i++) {
			uint64_t live = world->each[i].live;

			for (uint64_t k = 0; k < live; k++)
				world->each[i].live -= uniform() < 1 / world->holding_s[i] / STEPS_A_SECOND;
		}
	}
}

static double spread_of(const struct world *world)
{
	double least = INFINITY, most = 0;

	for (uint32_t i = 0; i < world->n; i++) {
		double live = (double)world->each[i].live / world->each[i].weight;

		least = fmin(least, live);
		most = fmax(most, live);
	}
	return most / fmax(least, 0.5);
}

static void count(struct world *world, int period, bool measured)
{
	world->changes += leastconn_step(&world->loads, world->each, world->n, period) && measured;
	for (uint32_t i = 0; i < world->n; i++)
		world->each[i].arrived = 0;
}

static void run(struct world *world, int seconds, int measured)
{
	int period = world->period_s ? world->period_s : 1;

	world->changes = 0;
	world->spread = 0;
	for (int second = 0; second < seconds; second++) {
		live_on(world);
		if (!world->fixed && second % period == 0)
			count(world, period, second >= seconds - measured);
		if (second >= seconds - measured)
			world->spread += spread_of(world) / measured;
	}
}

static struct world make(uint32_t n, double rate, double holding_s)
{
	struct world world = {.n = n, .rate = rate};

	for (uint32_t i = 0; i < n; i++) {
		world.holding_s[i] = holding_s;
		world.each[i] = (struct load){.weight = 1, .share = SHARE_FULL};
	}
	return world;
}

static void report(const char *name, const struct world *world)
{
	print_message("%s: spread %.2f, %u changes;", name, world->spread, world->changes);
	for (uint32_t i = 0; i < world->n; i++)
		print_message(" %llu", (unsigned long long)world->each[i].live);
	print_message("\n");
}

static void one_that_holds_ten_times_as_long(void **state)
{
	struct world world = make(4, 80, 2), fixed;

	(void)state;
	world.holding_s[3] = 20;
	fixed = world;
	fixed.fixed = true;
	run(&fixed, 180, 60);
	run(&world, 180, 60);
	report("roundrobin", &fixed);
	report("leastconn", &world);
	assert_true(fixed.spread > 7);
	assert_true(world.spread < 2);
	run(&world, 120, 120);
	report("on", &world);
	assert_true(world.changes < 20);
}

/* A machine with so many flows that counting takes long. */
static void counted_seldom_it_does_not_swing(void **state)
{
	struct world world = make(4, 80, 2);

	(void)state;
	world.holding_s[3] = 20;
	world.period_s = 10;
	run(&world, 400, 100);
	report("each 10 s", &world);
	assert_true(world.spread < 2.2);
}

static void even_load_is_left_alone(void **state)
{
	struct world world = make(5, 100, 3);

	(void)state;
	run(&world, 60, 60);
	run(&world, 240, 240);
	report("even", &world);
	assert_true(world.changes <= 24);
	assert_true(world.spread < 1.8);
}

static void weights_count(void **state)
{
	struct world world = make(3, 90, 4);

	(void)state;
	world.each[0].weight = 4;
	world.each[1].weight = 2;
	world.holding_s[2] = 20;
	run(&world, 200, 60);
	report("weights 4 2 1", &world);
	assert_true(world.spread < 2.2);
}

/* Connections that outlast everything: the next ones go where there are fewer. */
static void who_comes_late_catches_up(void **state)
{
	struct world world = make(3, 5, 1e6);

	(void)state;
	world.each[2].weight = 0;
	run(&world, 60, 1);
	world.each[2].weight = 1;
	run(&world, 240, 30);
	report("late", &world);
	assert_true(world.spread < 1.35);
}

static void a_burst_does_not_hit_one_alone(void **state)
{
	struct world world = make(4, 20, 1e6);

	(void)state;
	world.each[3].weight = 0;
	run(&world, 50, 1);
	world.each[3].weight = 1;
	world.rate = 0;
	run(&world, 20, 1);
	world.rate = 400;
	run(&world, 5, 1);
	report("burst", &world);
	assert_true(world.each[3].live < 1400);
}

static void idleness_brings_whole_weights(void **state)
{
	struct world world = make(3, 50, 1);

	(void)state;
	world.holding_s[2] = 15;
	run(&world, 60, 60);
	assert_true(world.each[2].share < SHARE_FULL / 2);
	world.rate = 0;
	for (uint32_t i = 0; i < 3; i++)
		world.each[i].live = 0;
	run(&world, LEASTCONN_IDLE_S, LEASTCONN_IDLE_S);
	assert_int_equal(world.changes, 1);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(world.each[i].share, SHARE_FULL);
	run(&world, 20, 20);
	assert_int_equal(world.changes, 0);
}

static void few_connections_change_nothing(void **state)
{
	struct world world = make(3, 0, 1e6);

	(void)state;
	world.each[0].live = 2;
	run(&world, 30, 30);
	assert_int_equal(world.changes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_holds_ten_times_as_long), cmocka_unit_test(counted_seldom_it_does_not_swing),
		cmocka_unit_test(even_load_is_left_alone),	    cmocka_unit_test(weights_count),
		cmocka_unit_test(who_comes_late_catches_up),	    cmocka_unit_test(a_burst_does_not_hit_one_alone),
		cmocka_unit_test(idleness_brings_whole_weights),    cmocka_unit_test(few_connections_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
