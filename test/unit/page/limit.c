/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "fake_os.h"
#include "os/options.h"
#include "page/limit.h"
#include "page/runs.h"
#include "page/zone.h"

static void setup(void)
{
	bslab_options.region_size = 64 * MIB;
	bslab_options.dirty_size = 8 * MIB;
	fake.nr_cpus = 2;
}

TestSuite(limit, .init = setup);

enum { RUN = 100, MAX_RUNS = 4000 };
static void *runs[MAX_RUNS];
static unsigned nr_runs;

/* As many runs as are given, up to `most`. */
static void fill(unsigned most)
{
	bool zeroed;

	while (nr_runs < most && (runs[nr_runs] = run_alloc(RUN, 0, 0, &zeroed)))
		nr_runs++;
}

static void drop(unsigned nr_keep)
{
	while (nr_runs > nr_keep)
		run_free(runs[--nr_runs], RUN);
}

static size_t filled_size(void)
{
	return (size_t)nr_runs * RUN * BSLAB_PAGE_SIZE;
}

Test(limit, none)
{
	fill(MAX_RUNS);
	cr_assert_eq(nr_runs, MAX_RUNS);
	cr_assert_not(limit_take_reclaim());
}

Test(limit, hard_refuses_what_would_pass_it)
{
	limit_set(0, 64 * MIB);
	fill(MAX_RUNS);
	cr_assert_leq(filled_size(), 64 * MIB);
	cr_assert_geq(filled_size(), 60 * MIB);
	cr_assert_not(limit_take_reclaim(), "the hard limit alone asks for nothing");
	limit_set(0, 0);
	fill(MAX_RUNS);
	cr_assert_eq(nr_runs, MAX_RUNS);
}

Test(limit, what_was_freed_serves_again)
{
	unsigned nr_full;

	limit_set(0, 64 * MIB);
	fill(MAX_RUNS);
	nr_full = nr_runs;
	for (int i = 0; i < 10; i++) {
		drop(nr_full / 3);
		runs_drain();
		pages_purge();
		zone_purge(0);
		fill(MAX_RUNS);
		cr_assert_geq(nr_runs, nr_full - 1);
	}
}

Test(limit, mappings_count)
{
	limit_set(0, 64 * MIB);
	limit_note_mapped(0, 60 * MIB >> PAGE_SHIFT);
	cr_assert_not(limit_allows(5 * MIB >> PAGE_SHIFT));
	limit_note_mapped(60 * MIB >> PAGE_SHIFT, 10 * MIB >> PAGE_SHIFT);
	cr_assert(limit_allows(50 * MIB >> PAGE_SHIFT));
	cr_assert_not(limit_allows(SIZE_MAX));
	cr_assert_not(limit_allows(SIZE_MAX >> PAGE_SHIFT));
}

Test(limit, soft_asks_for_a_reclaim_now_and_then)
{
	unsigned nr_asked = 0;

	limit_set(32 * MIB, 0);
	fill(32 * MIB / (RUN * BSLAB_PAGE_SIZE) / 2);
	cr_assert_not(limit_take_reclaim());
	for (unsigned most = nr_runs; most < MAX_RUNS / 4; most++) {
		fill(most);
		if (limit_take_reclaim()) {
			nr_asked++;
			limit_reclaimed();
			cr_assert_not(limit_take_reclaim(), "it is one caller's");
		}
	}
	cr_assert_eq(nr_runs, MAX_RUNS / 4 - 1, "it refuses nothing");
	/* 390 MiB were taken: once for each 2 MiB at most, which is more than a 32nd of it. */
	cr_assert_geq(nr_asked, 5);
	cr_assert_leq(nr_asked, 390 / 2);
}

Test(limit, the_cgroups_is_a_soft_one)
{
	static const struct fake_file files[] = {
	    {"/proc/self/cgroup", "0::/\n"}, {"/sys/fs/cgroup/memory.max", "67108864\n"}, {NULL, NULL}};

	fake.files = files;
	fill(20 * MIB / (RUN * BSLAB_PAGE_SIZE));
	cr_assert_not(limit_take_reclaim());
	fill(70 * MIB / (RUN * BSLAB_PAGE_SIZE));
	cr_assert(limit_take_reclaim());
	fill(MAX_RUNS);
	cr_assert_eq(nr_runs, MAX_RUNS);
}

/* What a peak far above it left behind does not turn it off. */
Test(limit, soft_asks_again_after_a_peak)
{
	limit_set(64 * MIB, 0);
	fill(200 * MIB / (RUN * BSLAB_PAGE_SIZE));
	cr_assert(limit_take_reclaim());
	limit_reclaimed();
	drop(0);
	runs_drain();
	zone_purge(0);
	fill(40 * MIB / (RUN * BSLAB_PAGE_SIZE));
	cr_assert_not(limit_take_reclaim());
	fill(70 * MIB / (RUN * BSLAB_PAGE_SIZE));
	cr_assert(limit_take_reclaim());
}

/* Up to where it asks, in a heap of one thread. */
static void fill_until_asked(unsigned most)
{
	bool zeroed;

	while (nr_runs < most && !limit_take_reclaim())
		runs[nr_runs++] = run_alloc(RUN, 0, 0, &zeroed);
	cr_assert_lt(nr_runs, most);
}

static void give_back(unsigned nr_less)
{
	drop(nr_runs - nr_less);
	runs_drain();
	pages_purge();
	zone_purge(0);
}

/* A reclaim leads below the line, as a rule: from there on it is 1/32 as well. */
Test(limit, soft_asks_after_growth_below_the_line_too)
{
	unsigned nr_first, step = 256 * MIB / 32 / (RUN * BSLAB_PAGE_SIZE);

	limit_set(256 * MIB, 0);
	fill_until_asked(MAX_RUNS);
	nr_first = nr_runs;
	for (unsigned below = 1; below < step; below += 6) {
		give_back(below);
		limit_reclaimed();
		fill_until_asked(nr_first + 2 * step);
		cr_assert_geq(nr_runs, nr_first - below + step - 1, "%u below the line", below);
		cr_assert_leq(nr_runs, nr_first - below + step + 2, "%u below the line", below);
		give_back(nr_runs - nr_first);
	}
	/* What it had grown by and lost again counts as well. */
	give_back(3 * step);
	fill_until_asked(nr_first + 2);
}

Test(limit, who_reclaims_does_so_alone)
{
	limit_set(256 * MIB, 0);
	fill_until_asked(MAX_RUNS);
	fill(nr_runs + 3);
	cr_assert_not(limit_take_reclaim(), "one is under way");
	fill(nr_runs + 256 * MIB / 32 / (RUN * BSLAB_PAGE_SIZE));
	cr_assert(limit_take_reclaim(), "it grew by a step meanwhile");
}
