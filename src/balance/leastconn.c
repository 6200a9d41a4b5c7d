/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "balance/leastconn.h"

#include <math.h>
#include <stdlib.h>

#include "balance/plan.h"
#include "base/mem.h"

/* Rates are smoothed over about so long, seconds. */
#define SMOOTH_S 4.0

/* Fewer than so many arrivals, as a part of what is live, are not reckoned with: a burst may follow. */
#define BURST_PART 0.02

/* Parts of all connections that are too small a change to be sent. */
#define STEP_LEAST 0.01
#define STEP_PART 0.1

/* Counted seldom, they come near in so many steps at least: what was counted is old then. */
#define LEAST_STEPS 3

/* The level is searched for in so many halvings. */
#define LEVEL_STEPS 40

static void smooth(double *value, double now, double seconds)
{
	*value += (now - *value) * (1 - exp(-seconds / SMOOTH_S));
}

/* Returns what all have together, of those that serve. */
struct sums {
	double weight, live, arrived;
};

static struct sums take_in(struct load *each, uint32_t n, double seconds)
{
	struct sums sums = {0};

	for (uint32_t i = 0; i < n; i++) {
		struct load *load = &each[i];
		double ended = (double)load->live_before + (double)load->arrived - (double)load->live;

		if (load->known)
			smooth(&load->ends, ended > 0 ? ended / seconds : 0, seconds);
		load->known = true;
		load->live_before = load->live;
		if (!load->weight)
			continue;
		sums.weight += load->weight;
		sums.live += (double)load->live;
		sums.arrived += (double)load->arrived;
	}
	return sums;
}

/* How far from its part of all connections may an endpoint be by chance? `strictness`: 1, or more. */
static bool is_near(const struct load *load, const struct sums *sums, double strictness)
{
	double target = sums->live * load->weight / sums->weight;
	double band = fmax(fmax(3, 3 * sqrt(target)), 0.1 * target);

	return fabs((double)load->live - target) <= band / strictness;
}

static bool all_near(const struct load *each, uint32_t n, const struct sums *sums, double strictness)
{
	for (uint32_t i = 0; i < n; i++) {
		if (each[i].weight && !is_near(&each[i], sums, strictness))
			return false;
	}
	return true;
}

static double wanted(const struct load *load, double level, double horizon)
{
	double rate = load->ends + (level * load->weight - (double)load->live) / horizon;

	return load->weight && rate > 0 ? rate : 0;
}

static double sum_wanted(const struct load *each, uint32_t n, double level, double horizon)
{
	double sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += wanted(&each[i], level, horizon);
	return sum;
}

/* The level of live connections per weight at which the endpoints want what arrives. */
static double find_level(const struct load *each, uint32_t n, double arrivals, double horizon)
{
	double low = 0, high = arrivals * horizon + 1;

	for (uint32_t i = 0; i < n; i++)
		high += (double)each[i].live;
	for (int i = 0; i < LEVEL_STEPS; i++) {
		double middle = (low + high) / 2;

		if (sum_wanted(each, n, middle, horizon) < arrivals)
			low = middle;
		else
			high = middle;
	}
	return (low + high) / 2;
}

/* Shares of what is wanted: the largest per weight is whole. */
static void share_out(const struct load *each, uint32_t n, double level, double horizon, uint16_t *ret_shares)
{
	double most = 0;

	for (uint32_t i = 0; i < n; i++)
		if (each[i].weight)
			most = fmax(most, wanted(&each[i], level, horizon) / each[i].weight);
	for (uint32_t i = 0; i < n; i++)
		ret_shares[i] = each[i].weight && most > 0 ? (uint16_t)lround(wanted(&each[i], level, horizon) /
									      each[i].weight / most * SHARE_FULL)
							   : SHARE_FULL;
}

static double part_of(const struct load *each, uint32_t n, const uint16_t *shares, uint32_t index)
{
	double sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += (double)each[i].weight * (shares ? shares[i] : each[i].share);
	return sum > 0 ? (double)each[index].weight * (shares ? shares[index] : each[index].share) / sum : 0;
}

static bool is_worth_it(const struct load *each, uint32_t n, const uint16_t *shares)
{
	for (uint32_t i = 0; i < n; i++) {
		double before = part_of(each, n, NULL, i), after = part_of(each, n, shares, i);

		if (fabs(after - before) > fmax(STEP_LEAST, STEP_PART * before))
			return true;
	}
	return false;
}

static bool take_over(struct load *each, uint32_t n, const uint16_t *shares)
{
	bool changed = false;

	for (uint32_t i = 0; i < n; i++) {
		changed |= each[i].weight && each[i].share != shares[i];
		each[i].share = shares[i];
	}
	return changed;
}

/* All have their whole weight again. */
static bool come_to_rest(struct loads *loads, struct load *each, uint32_t n)
{
	bool changed = false;

	for (uint32_t i = 0; i < n; i++) {
		changed |= each[i].weight && each[i].share != SHARE_FULL;
		each[i].share = SHARE_FULL;
		each[i].ends = 0;
	}
	loads->steering = false;
	loads->arrivals = 0;
	return changed;
}

bool leastconn_step(struct loads *loads, struct load *each, uint32_t n, double seconds)
{
	struct sums sums = take_in(each, n, seconds);
	double arrivals, horizon = fmax(LEASTCONN_HORIZON_S, LEAST_STEPS * seconds);
	uint16_t *shares;
	bool changed;

	smooth(&loads->arrivals, sums.arrived / seconds, seconds);
	loads->idle_s = sums.live > 0 || sums.arrived > 0 ? 0 : loads->idle_s + seconds;
	if (loads->idle_s >= LEASTCONN_IDLE_S)
		return come_to_rest(loads, each, n);
	if (!sums.weight || !(sums.live > 0))
		return false;
	loads->steering = !all_near(each, n, &sums, loads->steering ? 1.5 : 1);
	if (!loads->steering)
		return false;
	arrivals = fmax(fmax(loads->arrivals, BURST_PART * sums.live), 1);
	shares = xcalloc(n, sizeof(*shares));
	share_out(each, n, find_level(each, n, arrivals, horizon), horizon, shares);
	changed = is_worth_it(each, n, shares) && take_over(each, n, shares);
	free(shares);
	return changed;
}
