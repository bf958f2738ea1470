/* SPDX-License-Identifier: MIT */
/* In the mode that BSLAB_CONF names; in mode thread nothing is kept. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_os.h"
#include "page/runs.h"
#include "slab/kept.h"
#include "stay.h"

static void setup(void)
{
	char fault[160];

	stay();
	cr_assert(options_parse(&bslab_options, getenv("BSLAB_CONF") ? getenv("BSLAB_CONF") : "", fault, sizeof fault));
	percpu_boot();
	kept_allow(true);
}

TestSuite(kept, .init = setup);

/* The paths of malloc/slow.c. */
static bool quick_free(void *p)
{
	_Atomic page_desc_t *slot = map_slot((uintptr_t)p);
	page_desc_t d = slot ? *slot : 0;

	if (percpu_mode() == INDEX_CPU_ID)
		return kept_free(p);
	return kept_may_put(p, d) && (kept_put_quick(p, d, slot) || (kept_put_slow(p, desc_number(d)), true));
}

static void *take(size_t nr_pages)
{
	return percpu_mode() == INDEX_CPU_ID ? kept_take(nr_pages, BSLAB_PAGE_SIZE) : kept_take_quick(nr_pages);
}

static void *get(unsigned nr_pages)
{
	void *p = take(nr_pages);
	bool zeroed;

	if (!p) {
		kept_yield(nr_pages);
		p = run_alloc(nr_pages, 0, 0, &zeroed);
	}
	return p;
}

static void put(void *p)
{
	if (!quick_free(p))
		run_free(p, (unsigned)desc_number(map_lookup((uintptr_t)p)));
}

static size_t nr_kept(void)
{
	static struct percpu_info info;

	percpu_snapshot(&info);
	return info.nr_kept_pages;
}

static struct pages_info pages(void)
{
	struct pages_info info;

	pages_snapshot(&info);
	return info;
}

/* An area, and some frees to go until the next one that is not quick. */
static void begin(void)
{
	if (bslab_options.check || percpu_mode() == INDEX_THREAD)
		cr_skip("nothing is kept");
	percpu_current_top(KEPT_VALUE);
	thread_state.nr_kept_frees = 0;
}

Test(kept, the_one_freed_last_comes_back)
{
	void *p = get(16);

	begin();
	cr_assert(quick_free(p));
	cr_assert_eq(nr_kept(), 16);
	cr_assert_eq(pages().nr_hot, 0);
	cr_assert_eq(desc_type(map_lookup((uintptr_t)p)), PAGE_RUN_HOT);
	cr_assert_null(take(15));
	cr_assert_null(take(17));
	cr_assert_eq(take(16), p);
	cr_assert_eq(map_lookup((uintptr_t)p), desc_of_number(16, PAGE_RUN));
	cr_assert_eq(nr_kept(), 0);
	cr_assert_null(take(16));
}

Test(kept, a_second_free_is_not_taken)
{
	void *p = get(16);

	begin();
	cr_assert(quick_free(p));
	cr_assert_not(quick_free(p));
	cr_assert_eq(nr_kept(), 16);
}

Test(kept, only_what_is_a_run_is_taken)
{
	char *p = get(16), *large = get(MAX_HOT_PAGES + 1);
	int foreign;

	begin();
	cr_assert_not(quick_free(NULL));
	cr_assert_not(quick_free((void *)UINTPTR_MAX));
	cr_assert_not(quick_free(&foreign));
	cr_assert_not(quick_free(p + 8));
	cr_assert_not(quick_free(p + BSLAB_PAGE_SIZE));
	cr_assert_not(quick_free(large));
	cr_assert_null(take(MAX_HOT_PAGES + 1));
	cr_assert_eq(nr_kept(), 0);
}

Test(kept, the_one_before_goes_to_the_buddys)
{
	void *a = get(16), *b = get(20);

	begin();
	put(a);
	put(b);
	cr_assert_eq(nr_kept(), 20);
	cr_assert_eq(pages().nr_hot, 16);
	cr_assert_eq(get(16), a);
	cr_assert_eq(get(20), b);
}

Test(kept, it_serves_other_sizes_too)
{
	char *p = get(100), *q;

	begin();
	put(p);
	q = get(48);
	cr_assert_eq(nr_kept(), 0);
	cr_assert(q >= p && q < p + 100 * BSLAB_PAGE_SIZE);
	put(q);
	cr_assert_eq(nr_kept(), 48);
	kept_yield(49); /* is not enough */
	cr_assert_eq(nr_kept(), 48);
}

/* Frees of which every KEPT_LOOK_FREES'th is not quick, and looks at the clock. */
static void free_some(void **runs, unsigned n)
{
	for (unsigned i = 1; i <= n; i++) {
		void *p = runs ? runs[i - 1] : get(16);
		uint16_t before;

		cr_assert_eq(quick_free(p), i % KEPT_LOOK_FREES != 0, "free %u", i);
		if (i % KEPT_LOOK_FREES)
			continue;
		before = thread_state.nr_page_events;
		run_free(p, 16);
		cr_assert_neq(before / TICK_EVENTS, thread_state.nr_page_events / TICK_EVENTS);
	}
}

Test(kept, now_and_then_the_long_way_is_gone)
{
	begin();
	free_some(NULL, 10 * KEPT_LOOK_FREES);
}

static void *only_frees(void *runs)
{
	free_some(runs, 10 * KEPT_LOOK_FREES);
	pages_thread_exit();
	return NULL;
}

/* It has no buddy, so each free that drives another run out is an event of pages too. */
Test(kept, nor_does_a_thread_that_only_frees_miss_it)
{
	void *runs[10 * KEPT_LOOK_FREES];
	pthread_t thread;

	begin();
	for (unsigned i = 0; i < 10 * KEPT_LOOK_FREES; i++)
		runs[i] = get(16);
	cr_assert_eq(pthread_create(&thread, NULL, only_frees, runs), 0);
	pthread_join(thread, NULL);
}

Test(kept, not_where_the_fast_paths_are_not_to_be_taken)
{
	void *p = get(16), *q = get(16);

	begin();
	put(p);
	kept_allow(false);
	cr_assert_null(take(16));
	cr_assert_not(quick_free(q));
	cr_assert_eq(nr_kept(), 16);
}

/* The first run that a CPU frees finds no area; the next one does. */
Test(kept, a_cpu_without_an_area_gets_one)
{
	void *p = get(16), *q = get(17);

	if (bslab_options.check || percpu_mode() == INDEX_THREAD)
		cr_skip("nothing is kept");
	put(p);
	cr_assert_eq(pages().nr_hot, 16);
	cr_assert_eq(nr_kept(), 0);
	put(q);
	cr_assert_eq(nr_kept(), 17);
}

Test(kept, what_rests_goes_home_at_the_second_look)
{
	struct percpu_area *a;
	void *p = get(20);

	begin();
	put(p);
	a = percpu_here();
	kept_reap(a);
	cr_assert_eq(nr_kept(), 20);
	put(get(20)); /* in use between two looks: stays */
	kept_reap(a);
	cr_assert_eq(nr_kept(), 20);
	kept_reap(a);
	cr_assert_eq(nr_kept(), 0);
	kept_reap(a);
	runs_drain();
	cr_assert_eq(pages().nr_blocks, 0);
}

static void drained(void)
{
	begin();
	put(get(30));
	cr_assert_eq(nr_kept(), 30);
	percpu_drain();
	cr_assert_eq(nr_kept(), 0);
	percpu_drain();
	runs_drain();
	cr_assert_eq(pages().nr_blocks, 0);
}

Test(kept, drained_with_its_area)
{
	drained();
}

Test(kept, drained_without_the_barrier)
{
	fake_fail_at(1u << FAKE_BARRIER, 1, true);
	drained();
}

/* What others could not get at is not kept; what was kept before may be taken. */
static void none_is_kept(void)
{
	void *p = get(17);

	cr_assert_eq(percpu_reach(), INDEX_THREAD);
	cr_assert_not(quick_free(p));
	put(p);
	cr_assert_eq(nr_kept(), 0);
}

Test(kept, none_once_the_barrier_was_refused)
{
	void *p = get(16);

	begin();
	put(p);
	fake_fail_at(1u << FAKE_BARRIER, 1, true);
	percpu_find_reach();
	cr_assert_eq(nr_kept(), 16);
	cr_assert_eq(take(16), p);
	none_is_kept();
}

Test(kept, none_once_a_drain_was_refused)
{
	begin();
	fake_fail_at(1u << FAKE_BARRIER, 1, true);
	percpu_drain();
	none_is_kept();
}

/* Short of memory, the kernel has no barrier now, and may have one later. */
Test(kept, still_where_the_barrier_failed_for_want_of_memory)
{
	begin();
	fake.barrier_error = ENOMEM;
	fake_fail_at(1u << FAKE_BARRIER, 1, true);
	percpu_find_reach();
	percpu_drain();
	cr_assert_eq(percpu_reach(), percpu_mode());
	cr_assert(quick_free(get(16)));
}

Test(kept, a_thread_s_reach_is_its_own)
{
	if (percpu_mode() != INDEX_THREAD)
		cr_skip("runs are kept");
	percpu_find_reach();
	cr_assert_eq(percpu_reach(), INDEX_THREAD);
	cr_assert_eq(fake.nr_calls[FAKE_BARRIER], 0);
}

Test(kept, none_in_mode_thread)
{
	void *p = get(16);

	if (percpu_mode() != INDEX_THREAD)
		cr_skip("runs are kept");
	cr_assert_not(kept_free(p));
	cr_assert_not(quick_free(p));
	cr_assert_null(kept_take(16, BSLAB_PAGE_SIZE));
	cr_assert_null(kept_take_quick(16));
}

/* --- threads ---------------------------------------------------------------------------------- */

enum { NR_THREADS = 4, NR_STEPS = 50000, NR_HELD = 6 };

/* Each run has its owner written into its first and last page. */
static void *get_and_put(void *arg)
{
	uintptr_t *held[NR_HELD] = {NULL};
	unsigned seed = (unsigned)(uintptr_t)held, nr[NR_HELD], i, k;

	for (i = 0; i < NR_STEPS; i++) {
		k = (unsigned)rand_r(&seed) % NR_HELD;
		if (held[k]) {
			cr_assert_eq(held[k][0], (uintptr_t)&held[k], "another thread has this run too");
			cr_assert_eq(held[k][nr[k] * 512 - 1], (uintptr_t)&held[k], "another thread has this run too");
			put(held[k]);
			held[k] = NULL;
		} else {
			nr[k] = 16 + (unsigned)rand_r(&seed) % 3;
			held[k] = get(nr[k]);
			cr_assert_not_null(held[k]);
			held[k][0] = held[k][nr[k] * 512 - 1] = (uintptr_t)&held[k];
		}
		if (arg && i % 500 == 0)
			percpu_drain();
	}
	for (k = 0; k < NR_HELD; k++)
		if (held[k])
			put(held[k]);
	percpu_thread_exit();
	pages_thread_exit();
	return NULL;
}

static void hammer(void *drain)
{
	pthread_t threads[NR_THREADS];

	roam();
	for (int i = 0; i < NR_THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, get_and_put, drain), 0);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	percpu_drain();
	runs_drain();
	cr_assert_eq(nr_kept(), 0);
	cr_assert_eq(pages().nr_blocks, 0, "%zu blocks have pages in use", pages().nr_blocks);
	cr_assert(none_area.run.key == UINTPTR_MAX && !none_area.run.value, "the area that all share was written");
}

Test(kept, threads)
{
	hammer(NULL);
}

Test(kept, threads_that_drain_each_other)
{
	hammer(&fake);
}

/* --- other CPUs ------------------------------------------------------------------------------- */

/* What this CPU has becomes another's, on which nothing runs. */
static void leave_to_another_cpu(void)
{
	bslab_hot.area[percpu.nr_slots++] = percpu_here();
	bslab_hot.area[percpu_slot()] = &none_area;
}

static void look_later(void)
{
	fake.clock_ms += 500;
	percpu_current_top(KEPT_VALUE);
	percpu_look();
}

/* In the child of fork: what this CPU kept, 20 pages, and what another did, 30. */
static void in_child(bool (*is_right)(void))
{
	void *p = get(30), *q = get(20);
	pid_t pid;
	int status;

	begin();
	fake.clock_ms = 1000;
	put(p);
	leave_to_another_cpu();
	percpu_current_top(KEPT_VALUE);
	put(q);
	percpu_fork_prepare();
	pid = fork();
	percpu_fork_done(pid == 0);
	if (pid == 0)
		_exit(nr_kept() == 50 && is_right() ? 0 : 1);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "status %#x", (unsigned)status);
	cr_assert_eq(nr_kept(), 50);
}

static bool a_drain_has_all(void)
{
	percpu_drain();
	runs_drain();
	return nr_kept() == 0 && pages().nr_blocks == 0;
}

Test(kept, a_drain_in_the_child_of_fork_has_all_that_was_kept)
{
	in_child(a_drain_has_all);
}

static bool looks_have_all(void)
{
	for (int i = 0; i < 3; i++)
		look_later();
	return nr_kept() == 0;
}

/* No CPU would ever come for the other's. */
Test(kept, looks_in_the_child_of_fork_have_all_that_was_kept)
{
	in_child(looks_have_all);
}

/* Whoever looks later finds it idle, and empties it. */
Test(kept, one_run_of_an_idle_cpu_is_worth_the_barrier)
{
	void *p = get(16);

	begin();
	fake.clock_ms = 1000;
	put(p);
	leave_to_another_cpu();
	for (int i = 0; i < 4; i++)
		look_later();
	cr_assert_gt(fake.nr_calls[FAKE_BARRIER], 0);
	cr_assert_eq(nr_kept(), 0);
}

/* A CPU that does nothing but take and free runs is not idle to others, and gives up what rests in its own area. */
Test(kept, pairs_of_runs_are_looks_too)
{
	struct kmem_cache *c = cache_of(size_class(1000));
	struct percpu_area *a;

	begin();
	fake.clock_ms = 1000;
	percpu_free_slow(c, percpu_alloc_slow(c, 0));
	a = percpu_here();
	cr_assert_gt(percpu_nr_cached(c->class), 0);
	for (int look = 0; look < 4; look++) {
		fake.clock_ms += 500;
		for (unsigned i = 0; i < KEPT_LOOK_FREES; i++)
			put(get(16));
		cr_assert_eq(a->looked_at_ms, fake.clock_ms);
	}
	cr_assert_eq(percpu_nr_cached(c->class), 0);
	leave_to_another_cpu();
	look_later();
	look_later();
	cr_assert_eq(fake.nr_calls[FAKE_BARRIER], 0, "it was not idle");
}
