/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fake_os.h"
#include "map/map.h"
#include "os/options.h"
#include "os/thread.h"
#include "page/runs.h"

static void setup(void)
{
	bslab_options.region_size = 64 * MIB;
	bslab_options.dirty_size = 8 * MIB;
	fake.nr_cpus = 2;
}

TestSuite(runs, .init = setup);

static void *get(unsigned nr_pages)
{
	bool zeroed;

	return run_alloc(nr_pages, 0, 0, &zeroed);
}

static page_desc_t desc_at(const void *p, unsigned page)
{
	return map_lookup((uintptr_t)p + ((uintptr_t)page << PAGE_SHIFT));
}

static struct pages_info snapshot(void)
{
	struct pages_info info;

	pages_snapshot(&info);
	return info;
}

Test(runs, all_pages_lead_to_the_head)
{
	char *p = get(33);

	cr_assert_eq(desc_type(desc_at(p, 0)), PAGE_RUN);
	cr_assert_eq(desc_number(desc_at(p, 0)), 33);
	for (unsigned i = 1; i < 33; i++) {
		cr_assert_eq(desc_type(desc_at(p, i)), PAGE_RUN_BODY);
		cr_assert_eq(desc_number(desc_at(p, i)), i);
	}
}

Test(runs, the_one_freed_last_comes_back_as_it_was)
{
	bool zeroed = true;
	char *p = get(16);

	memset(p, 0x5a, 16 * BSLAB_PAGE_SIZE);
	run_free(p, 16);
	cr_assert_eq(desc_type(desc_at(p, 0)), PAGE_RUN_HOT);
	cr_assert_eq(snapshot().nr_hot, 16);
	cr_assert_eq(run_alloc(16, 0, 0, &zeroed), p);
	cr_assert_not(zeroed);
	cr_assert_eq(desc_type(desc_at(p, 0)), PAGE_RUN);
	cr_assert_eq(desc_number(desc_at(p, 0)), 16);
	cr_assert_eq(snapshot().nr_hot, 0);
}

Test(runs, alignment_counts)
{
	bool zeroed;
	char *odd = get(5), *p;

	while ((uintptr_t)odd % (16 * BSLAB_PAGE_SIZE) == 0)
		odd = get(5);
	run_free(odd, 5);
	p = run_alloc(5, 4, 0, &zeroed);
	cr_assert_eq((uintptr_t)p % (16 * BSLAB_PAGE_SIZE), 0);
	cr_assert_neq(p, odd);
}

Test(runs, only_a_few_are_kept_and_the_oldest_goes)
{
	void *p[NR_HOT_RUNS + 1];

	for (unsigned i = 0; i <= NR_HOT_RUNS; i++)
		p[i] = get(10 + i);
	for (unsigned i = 0; i <= NR_HOT_RUNS; i++)
		run_free(p[i], 10 + i);
	cr_assert_neq(desc_type(desc_at(p[0], 0)), PAGE_RUN_HOT);
	for (unsigned i = 1; i <= NR_HOT_RUNS; i++)
		cr_assert_eq(desc_type(desc_at(p[i], 0)), PAGE_RUN_HOT, "%u", i);
}

Test(runs, few_pages_are_kept)
{
	void *large = get(MAX_HOT_PAGES + 1), *half = get(MAX_HOT_PAGES / 2), *most = get(MAX_HOT_PAGES - 1);

	run_free(large, MAX_HOT_PAGES + 1);
	cr_assert_eq(snapshot().nr_hot, 0);
	run_free(half, MAX_HOT_PAGES / 2);
	run_free(most, MAX_HOT_PAGES - 1);
	cr_assert_eq(snapshot().nr_hot, MAX_HOT_PAGES - 1);
	cr_assert_neq(desc_type(desc_at(half, 0)), PAGE_RUN_HOT);
}

/* 48 and then 40 pages out of 100: were the kept 100 not sent home first, they would be fresh ones. */
Test(runs, what_is_kept_serves_other_sizes_too)
{
	char *p = get(100), *q;

	run_free(p, 100);
	q = get(48);
	cr_assert_eq(snapshot().nr_hot, 0);
	cr_assert(q >= p && q < p + 100 * BSLAB_PAGE_SIZE);
	q = get(40);
	cr_assert(q >= p && q < p + 100 * BSLAB_PAGE_SIZE);
}

Test(runs, what_rests_goes_home_at_the_second_look)
{
	void *p = get(20);

	run_free(p, 20);
	runs_reap(1000);
	runs_reap(1001); /* another CPU's, of the same look */
	runs_reap(999); /* and of one that read the clock before */
	cr_assert_eq(snapshot().nr_hot, 20);
	run_free(get(20), 20); /* in use between two looks: stays */
	runs_reap(1100);
	cr_assert_eq(snapshot().nr_hot, 20);
	runs_reap(1200);
	cr_assert_eq(snapshot().nr_hot, 0);
	cr_assert_eq(snapshot().nr_blocks, 0);
}

Test(runs, drained_pages_are_whole_blocks_again)
{
	void *p[3] = {get(9), get(17), get(30)};

	for (unsigned i = 0; i < 3; i++)
		run_free(p[i], (unsigned)desc_number(desc_at(p[i], 0)));
	cr_assert_eq(snapshot().nr_hot, 56);
	runs_drain();
	cr_assert_eq(snapshot().nr_hot, 0);
	cr_assert_eq(snapshot().nr_blocks, 0);
}

enum { NR_THREADS = 4, NR_STEPS = 20000, NR_HELD = 8 };

/* Each run is written at both ends and checked when it is freed, by whoever frees it. */
static _Atomic(uintptr_t *) shared[NR_HELD];

static void check_and_free(uintptr_t *p)
{
	if (!p)
		return;
	cr_assert_eq(p[0], (uintptr_t)p);
	cr_assert_eq(p[p[1] * BSLAB_PAGE_SIZE / sizeof *p - 1], (uintptr_t)p);
	run_free(p, (unsigned)p[1]);
}

static void *churn(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (int i = 0; i < NR_STEPS; i++) {
		unsigned n = 9 + (unsigned)rand_r(&seed) % 6;
		uintptr_t *p = get(n);

		if (p) {
			p[0] = (uintptr_t)p;
			p[1] = n;
			p[n * BSLAB_PAGE_SIZE / sizeof *p - 1] = (uintptr_t)p;
		}
		check_and_free(atomic_exchange(&shared[rand_r(&seed) % NR_HELD], p));
		if (i % 1024 == 0)
			runs_reap((uint64_t)i);
		if (i % 4096 == 0)
			runs_drain();
	}
	pages_thread_exit();
	return NULL;
}

Test(runs, threads_free_each_others)
{
	pthread_t t[NR_THREADS];

	for (uintptr_t i = 0; i < NR_THREADS; i++)
		pthread_create(&t[i], NULL, churn, (void *)(i + 1));
	for (unsigned i = 0; i < NR_THREADS; i++)
		pthread_join(t[i], NULL);
	for (unsigned i = 0; i < NR_HELD; i++)
		check_and_free(shared[i]);
	runs_drain();
	cr_assert_eq(snapshot().nr_blocks, 0);
	cr_assert_eq(snapshot().nr_hot, 0);
}
