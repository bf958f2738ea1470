/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "os/options.h"
#include "profile/sampler.h"

#define NR_DRAWS 1000000

static double absolute(double x)
{
	return x < 0 ? -x : x;
}

/* The mean of n draws has a standard deviation of 1 / sqrt(n) of it: 0.001, so five of them are 0.005. */
Test(sampler, mean_and_variance)
{
	static const size_t means[] = {1000, 512 * KIB, MAX_PROFILE_INTERVAL};

	for (size_t m = 0; m < 3; m++) {
		double sum = 0, squares = 0;

		for (int i = 0; i < NR_DRAWS; i++) {
			double x = ((double)sampler_draw(means[m]) + 0.5) / (double)means[m];

			sum += x;
			squares += x * x;
		}
		cr_expect(absolute(sum / NR_DRAWS - 1) < 0.005, "mean %f of %zu", sum / NR_DRAWS, means[m]);
		/* E(x^2) = 2, Var(x^2) = 20 */
		cr_expect(absolute(squares / NR_DRAWS - 2) < 0.025, "mean square %f of %zu", squares / NR_DRAWS, means[m]);
	}
}

Test(sampler, quantiles)
{
	int above[5] = {0};

	for (int i = 0; i < NR_DRAWS; i++)
		for (size_t k = 0, x = sampler_draw(1 << 20); k < 5; k++)
			above[k] += x >= k << 20;
	/* exp(-k); deviations are below 0.5 / sqrt(n) = 0.0005. */
	cr_expect_eq(above[0], NR_DRAWS);
	cr_expect(absolute((double)above[1] / NR_DRAWS - 0.367879) < 0.0025);
	cr_expect(absolute((double)above[2] / NR_DRAWS - 0.135335) < 0.0025);
	cr_expect(absolute((double)above[3] / NR_DRAWS - 0.049787) < 0.0025);
	cr_expect(absolute((double)above[4] / NR_DRAWS - 0.018316) < 0.0025);
}

Test(sampler, weight)
{
	/* 1 / (1 - exp(-x)) by a table of another making */
	cr_expect(absolute(sampler_weight(524288, 524288) - 1.5819767068693265) < 1e-9);
	cr_expect(absolute(sampler_weight(1, 1 << 20) / 1048576.5 - 1) < 1e-9);
	cr_expect(absolute(sampler_weight(1 << 20, 1 << 16) - 1.0000001125351747) < 1e-12);
	cr_expect_eq(sampler_weight((size_t)1 << 40, 1), 1);
}

/* Allocations as a program makes them, counted as malloc counts: small ones by the medium path first. */
static bool sampled(size_t size)
{
	return !(size <= SMALL_MAX && sampler_passes(size)) && sampler_hits(sampler_bytes(size));
}

Test(sampler, without_bias)
{
	static const size_t sizes[] = {0, 8, 100, 1000, 30000, 100000, 5 * MIB};
	static const size_t counts[] = {4000000, 4000000, 4000000, 1000000, 100000, 30000, 3000};

	sampler_start(16 * KIB);
	sampler_allow_medium(true);
	for (int s = 0; s < 7; s++) {
		double estimate = 0, squares = 0, bound;

		for (size_t i = 0; i < counts[s]; i++)
			if (sampled(sizes[s])) {
				double w = sampler_weight(sampler_bytes(sizes[s]), 16 * KIB);

				estimate += w;
				squares += w * (w - 1); /* of a sample with chance 1/w: the variance is w - 1 for each object */
			}
		bound = 5;
		cr_expect((estimate - (double)counts[s]) * (estimate - (double)counts[s]) <= bound * bound * squares + 1,
			  "%zu objects of %zu bytes were taken for %f", counts[s], sizes[s], estimate);
	}
}

/* A thread that is new draws first: its first block is not more likely than another. */
Test(sampler, first_block)
{
	int n = 0;

	for (int i = 0; i < 100000; i++) {
		sampler_start(1000);
		sampler_allow_medium(true);
		n += sampled(99); /* 1 - exp(-0.1) = 0.095163, deviation 0.00093 */
	}
	cr_expect(absolute(n / 100000. - 0.095163) < 0.005, "%d", n);
}

Test(sampler, off)
{
	for (int i = 0; i < 1000; i++)
		cr_assert_not(sampled(MIB));
	sampler_start(1);
	sampler_allow_medium(true);
	cr_assert(sampled(MIB));
	thread_state.in_profile = true;
	cr_assert_not(sampled(MIB));
	thread_state.in_profile = false;
	sampler_stop();
	sampler_allow_medium(false);
	cr_assert_not(sampled(MIB));
}

/* What was drawn under another interval does not count. */
Test(sampler, interval_changes)
{
	int n = 0;

	sampler_start(MAX_PROFILE_INTERVAL);
	sampler_allow_medium(true);
	sampled(1);
	sampler_start(1);
	sampler_allow_medium(true);
	for (int i = 0; i < 100; i++)
		n += sampled(100);
	cr_expect_eq(n, 100);
}
