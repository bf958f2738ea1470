/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "boot/boot.h"
#include "fake_os.h"
#include "map/map.h"
#include "os/options.h"
#include "os/os.h"
#include "os/thread.h"
#include "page/buddy.h"
#include "page/zone.h"
#include "page/every_block.h"
#include "page/purge_lists.h"

static void setup(void)
{
	bslab_options.region_size = 64 * MIB;
	bslab_options.dirty_size = 8 * MIB;
	fake.nr_cpus = 2;
}

TestSuite(buddy, .init = setup);

static bool zeroed;

static struct pages_info snapshot(void)
{
	struct pages_info info;

	pages_snapshot(&info);
	return info;
}

static struct zone_info zone(void)
{
	struct zone_info info;

	zone_snapshot(&info);
	return info;
}

static void check_block(struct pageblock *b, void *arg)
{
	size_t *sums = arg;

	if (b->state != PAGEBLOCK_BUDDY)
		return;
	cr_assert(pageblock_is_valid(b));
	cr_assert_neq(b->nr_free, PAGEBLOCK_PAGES, "a whole free block stays in its buddy");
	sums[0] += b->nr_free;
	sums[1] += b->nr_dirty_free;
	sums[2]++;
}

static void check(void)
{
	struct pages_info i = snapshot();
	size_t sums[3] = {0}, listed = 0;

	for_each_block(check_block, sums);
	for (unsigned t = 0; t < NR_MIGRATETYPES; t++)
		for (unsigned o = 0; o < NR_ORDERS; o++)
			listed += i.types.free_area[t][o] << o;
	cr_assert_eq(i.nr_free, sums[0]);
	cr_assert_eq(i.nr_dirty_free, sums[1]);
	cr_assert_eq(i.nr_blocks, sums[2]);
	cr_assert_eq(i.nr_free, listed, "%zu free pages, %zu in lists", i.nr_free, listed);
	cr_assert_eq(zone().nr_committed, zone().nr_used + zone().nr_free);
	check_purge_lists();
}

static void *get(unsigned nr_pages, enum migratetype type)
{
	return pages_alloc(nr_pages, 0, type, 0, &zeroed);
}

static bool reads_as_zero(const char *p, size_t size)
{
	for (size_t i = 0; i < size; i += sizeof(uint64_t))
		if (*(const uint64_t *)(p + i))
			return false;
	return true;
}

/* --- one buddy ----------------------------------------------------------------------- */

Test(buddy, runs_are_exact)
{
	size_t before;

	get(1, MIGRATE_MOVABLE);
	before = snapshot().nr_free;
	cr_assert_not_null(get(33, MIGRATE_MOVABLE));
	cr_assert_eq(snapshot().nr_free, before - 33);
	check();
}

Test(buddy, aligned_as_asked_for)
{
	for (unsigned order = 0; order <= PAGEBLOCK_ORDER; order++)
		for (unsigned n = 1; n <= PAGEBLOCK_PAGES; n = n * 3 + 1) {
			void *p = pages_alloc(n, order, MIGRATE_MOVABLE, 0, &zeroed);

			cr_assert_not_null(p);
			cr_assert_eq((uintptr_t)p % (BSLAB_PAGE_SIZE << order), 0);
		}
	check();
}

Test(buddy, an_empty_block_goes_back_to_the_zone)
{
	void *a = get(10, MIGRATE_MOVABLE), *b = get(100, MIGRATE_MOVABLE);

	cr_assert_eq(zone().nr_used, 1);
	pages_free(a, 10);
	cr_assert_eq(zone().nr_used, 1);
	pages_free(b, 100);
	cr_assert_eq(zone().nr_used, 0);
	cr_assert_eq(snapshot().nr_blocks, 0);
	check();
}

Test(buddy, extends_into_free_pages_only)
{
	char *a = get(4, MIGRATE_MOVABLE), *b;

	cr_assert(pages_extend(a, 4, 4, &zeroed));
	cr_assert(zeroed);
	b = get(PAGEBLOCK_PAGES - 8, MIGRATE_MOVABLE);
	if (b == a + 8 * BSLAB_PAGE_SIZE)
		cr_assert_not(pages_extend(a, 8, 1, &zeroed));
	check();
	pages_free(a, 8);
	pages_free(b, PAGEBLOCK_PAGES - 8);
	cr_assert_eq(zone().nr_used, 0);
}

Test(buddy, does_not_extend_behind_its_block)
{
	char *a = get(PAGEBLOCK_PAGES, MIGRATE_MOVABLE);

	cr_assert_not(pages_extend(a, PAGEBLOCK_PAGES, 1, &zeroed));
}

Test(buddy, what_it_calls_zeroed_is)
{
	char *p = get(64, MIGRATE_MOVABLE), *keep = get(1, MIGRATE_MOVABLE);

	cr_assert(zeroed);
	cr_assert(reads_as_zero(p, 64 * BSLAB_PAGE_SIZE));
	memset(p, 1, 64 * BSLAB_PAGE_SIZE);
	pages_free(p, 64);
	p = get(64, MIGRATE_MOVABLE);
	cr_assert_not(zeroed, "dirty pages called zeroed");
	pages_free(p, 64);
	cr_assert_geq(pages_purge(), 64);
	check();
	p = get(64, MIGRATE_MOVABLE);
	cr_assert(zeroed, "purged pages not called zeroed");
	cr_assert(reads_as_zero(p, 64 * BSLAB_PAGE_SIZE));
	(void)keep;
}

Test(buddy, refused_purge_keeps_pages_dirty_and_whole)
{
	char *p = get(64, MIGRATE_MOVABLE), *keep = get(1, MIGRATE_MOVABLE);

	memset(p, 1, 64 * BSLAB_PAGE_SIZE);
	pages_free(p, 64);
	fake_fail_at(1u << FAKE_PURGE, 1, true);
	pages_purge();
	cr_assert_eq(snapshot().nr_dirty_free, 64);
	cr_assert_eq(snapshot().count.nr_purged_pages, 0, "counts refused pages as given back");
	check();
	pages_free(keep, 1);
	cr_assert_eq(zone().nr_used, 0);
}

/* Ranges of several pageblocks go at once: what stands before and behind one that was refused is given back, too, and the purge ends. */
Test(buddy, a_locked_page_keeps_no_other)
{
	enum { NR = 8, PAGES = 200 };
	char *p[NR], *keep[NR];

	for (int i = 0; i < NR; i++) {
		p[i] = get(PAGES, MIGRATE_MOVABLE);
		keep[i] = get(1, MIGRATE_MOVABLE);
		memset(p[i], 1, PAGES * BSLAB_PAGE_SIZE);
	}
	for (int i = 0; i < NR; i++)
		pages_free(p[i], PAGES);
	cr_assert_eq(snapshot().nr_dirty_free, NR * PAGES);
	os_lock(p[NR / 2] + BSLAB_PAGE_SIZE, BSLAB_PAGE_SIZE);
	for (int i = 0; i < 2; i++) { /* those of a block that was refused are looked at by the next purge */
		pages_purge();
		cr_assert_gt(snapshot().count.nr_purged_pages, (NR - 1) * PAGES);
		cr_assert_gt(snapshot().nr_dirty_free, 0);
		cr_assert_eq(snapshot().count.nr_purge_failures, 1u + (unsigned)i);
		check();
	}
	os_unlock(p[NR / 2] + BSLAB_PAGE_SIZE, BSLAB_PAGE_SIZE);
	pages_purge();
	cr_assert_eq(snapshot().nr_dirty_free, 0);
	cr_assert_eq(snapshot().count.nr_purge_failures, 2);
	check();
	for (int i = 0; i < NR; i++)
		pages_free(keep[i], 1);
	cr_assert_eq(zone().nr_used, 0);
}

Test(buddy, purges_in_pages_of_the_machine)
{
	char *p[8];

	fake.page_size = 16 * KIB;
	for (int i = 0; i < 8; i++)
		p[i] = get(1, MIGRATE_MOVABLE);
	for (int i = 0; i < 8; i += 2)
		pages_free(p[i], 1);
	pages_purge(); /* fake_os breaks off on a purge that is not of whole pages */
	check();
}

/* Half of the pages, none beside another: below a multiple of the watermark they stay, above it they go. */
Test(buddy, pieces_are_given_back_when_there_are_far_too_many)
{
	enum { NR = 16 * PAGEBLOCK_PAGES, FLOOR = 256 };
	static char *p[NR];
	size_t nr_calls;

	bslab_options.dirty_size = FLOOR * BSLAB_PAGE_SIZE;
	for (int i = 0; i < NR; i++)
		p[i] = get(1, MIGRATE_UNMOVABLE);
	for (int i = 0; i < NR; i += 2) {
		nr_calls = fake.nr_calls[FAKE_PURGE];
		pages_free(p[i], 1);
		cr_assert_leq(snapshot().nr_dirty_free, 4 * (FLOOR + NR / 8) * 9 / 8 + 1);
		cr_assert_leq(fake.nr_calls[FAKE_PURGE] - nr_calls, NR);
	}
	cr_assert_gt(snapshot().count.nr_purged_pages, 0);
	/* What fell short is not tried again at each free. */
	cr_assert_leq(fake.nr_calls[FAKE_PURGE], NR / 2);
	check();
}

static void count_listed(struct pageblock *b, void *arg)
{
	unsigned *n = arg;

	if (b->state == PAGEBLOCK_BUDDY && b->nr_free)
		n[b->listed_purge]++;
}

/* Blocks are listed by the largest piece that a purge may take: single pages, four, sixteen. */
Test(buddy, blocks_are_listed_by_what_may_be_given_back)
{
	enum { BLOCKS = 8, NR = BLOCKS * PAGEBLOCK_PAGES };
	static char *p[NR];
	char *run;
	unsigned n[NR_PURGE_LISTS + 1] = {0};

	for (int i = 0; i < NR; i++)
		p[i] = get(1, MIGRATE_UNMOVABLE);
	run = get(64, MIGRATE_UNMOVABLE);
	for (int i = 0; i < NR; i += 2)
		pages_free(p[i], 1);
	for_each_block(count_listed, n);
	cr_assert_eq(n[3], BLOCKS, "%u blocks with single pages", n[3]);
	cr_assert_eq(n[0], 1, "the clean rest of the run's");
	pages_free(p[1], 1);
	for (int i = 5; i < 8; i += 2)
		pages_free(p[i], 1);
	memset(n, 0, sizeof n);
	for_each_block(count_listed, n);
	cr_assert_eq(n[2], 1, "%u blocks with pieces of 4 pages", n[2]);
	cr_assert_eq(n[1], 0);
	for (int i = 8; i < 32; i++)
		if (i % 2)
			pages_free(p[i], 1);
	memset(n, 0, sizeof n);
	for_each_block(count_listed, n);
	cr_assert_eq(n[1], 1, "%u blocks with pieces of 16 pages", n[1]);
	cr_assert_eq(pages_alloc(16, 4, MIGRATE_UNMOVABLE, 0, &zeroed), p[16]);
	check();
	pages_free(run, 64);
	cr_assert_eq(pages_purge(), NR / 2 - 1);
	memset(n, 0, sizeof n);
	for_each_block(count_listed, n);
	cr_assert_eq(n[1] + n[2] + n[3], 0);
	check();
}

Test(buddy, the_emptiest_block_is_given_back_first)
{
	enum { FULLER = 64, EMPTIER = 192 };
	char *p[2];

	for (int i = 0; i < 2; i++) {
		p[i] = get(i ? EMPTIER : FULLER, MIGRATE_MOVABLE);
		for (unsigned n = i ? EMPTIER : FULLER; n < PAGEBLOCK_PAGES; n++)
			get(1, MIGRATE_MOVABLE);
	}
	pages_free(p[1], EMPTIER);
	cr_assert_eq(snapshot().nr_dirty_free, EMPTIER);
	bslab_options.dirty_size = FULLER * BSLAB_PAGE_SIZE;
	pages_free(p[0], FULLER);
	cr_assert_eq(snapshot().nr_dirty_free, FULLER);
	check();
}

/* --- migratetypes ------------------------------------------------------------------------ */

/* More blocks than one that does not keep types apart. */
static void grow(enum migratetype type, unsigned nr_blocks)
{
	for (unsigned i = 0; i < nr_blocks; i++)
		cr_assert_not_null(get(PAGEBLOCK_PAGES - 1, type));
}

static enum migratetype type_of(const void *p)
{
	return (enum migratetype)map_pageblock((uintptr_t)p)->migratetype;
}

Test(buddy, a_small_buddy_does_not_keep_types_apart)
{
	get(1, MIGRATE_MOVABLE);
	get(1, MIGRATE_UNMOVABLE);
	get(1, MIGRATE_RECLAIMABLE);
	cr_assert_eq(snapshot().nr_blocks, 1);
	check();
}

/* Pages of other types serve before a block of the zone: 0038. */
Test(buddy, nor_does_one_of_some_dozens_of_blocks)
{
	void *r, *u;

	grow(MIGRATE_MOVABLE, MIN_GROUPED_BLOCKS - 2);
	r = get(300, MIGRATE_RECLAIMABLE);
	u = get(100, MIGRATE_UNMOVABLE); /* most of the block is taken: it is not claimed */
	cr_assert_eq(map_pageblock((uintptr_t)u), map_pageblock((uintptr_t)r));
	cr_assert_eq(snapshot().nr_blocks, MIN_GROUPED_BLOCKS - 1);
	check();
}

Test(buddy, a_large_one_does)
{
	void *u, *r, *m;

	grow(MIGRATE_MOVABLE, MIN_GROUPED_BLOCKS + 2);
	u = get(300, MIGRATE_UNMOVABLE); /* too much of the block to claim it */
	r = get(300, MIGRATE_RECLAIMABLE);
	m = get(1, MIGRATE_MOVABLE);
	cr_assert_eq(type_of(m), MIGRATE_MOVABLE);
	cr_assert_eq(type_of(u), MIGRATE_UNMOVABLE);
	cr_assert_eq(type_of(r), MIGRATE_RECLAIMABLE);
	check();
}

Test(buddy, claims_a_mostly_free_block_of_another_type)
{
	void *first;

	grow(MIGRATE_MOVABLE, MIN_GROUPED_BLOCKS + 2);
	first = get(2, MIGRATE_RECLAIMABLE);
	cr_assert_not_null(get(1, MIGRATE_UNMOVABLE));
	cr_assert_eq(snapshot().count.nr_claims, 1);
	cr_assert_eq(type_of(first), MIGRATE_UNMOVABLE);
	check();
}

Test(buddy, does_not_claim_a_block_in_which_the_run_does_not_fit)
{
	char *first, *run;

	grow(MIGRATE_MOVABLE, MIN_GROUPED_BLOCKS + 2);
	first = get(2, MIGRATE_RECLAIMABLE);
	run = get(PAGEBLOCK_PAGES / 2 + 1, MIGRATE_MOVABLE);
	cr_assert_not_null(run);
	cr_assert_neq(map_pageblock((uintptr_t)run), map_pageblock((uintptr_t)first));
	cr_assert_eq(map_pageblock((uintptr_t)run), map_pageblock((uintptr_t)run + PAGEBLOCK_SIZE / 2));
	check();
}

Test(buddy, steals_from_any_type_when_the_zone_has_none)
{
	void *first;

	grow(MIGRATE_MOVABLE, MIN_GROUPED_BLOCKS + 2);
	first = get(300, MIGRATE_RECLAIMABLE);
	fake_fail_at(FAKE_ALL, 1, true);
	for (int i = 0; i < 10; i++) /* the last blocks that are committed */
		get(PAGEBLOCK_PAGES, MIGRATE_MOVABLE);
	cr_assert_not_null(get(100, MIGRATE_UNMOVABLE));
	cr_assert_geq(snapshot().count.nr_steals, 1);
	cr_assert_eq(type_of(first), MIGRATE_RECLAIMABLE);
	check();
	cr_assert_null(get(PAGEBLOCK_PAGES, MIGRATE_UNMOVABLE));
	check();
}

Test(buddy, allocates_from_the_fullest_block)
{
	char *p[4];

	for (int i = 0; i < 4; i++)
		p[i] = get(PAGEBLOCK_PAGES, MIGRATE_MOVABLE);
	pages_free(p[0], 300);
	pages_free(p[1], 100);
	pages_free(p[2], 400);
	check();
	cr_assert_eq(map_pageblock((uintptr_t)get(1, MIGRATE_MOVABLE)), map_pageblock((uintptr_t)p[1]));
}

/* --- the reserve ----------------------------------------------------------------------------- */

Test(buddy, the_reserve_is_for_the_last_resort)
{
	void *p;

	cr_assert_eq(pages_reserve_highatomic(2), 2);
	cr_assert_geq(fake.nr_calls[FAKE_POPULATE], 2);
	fake_fail_at(FAKE_ALL, 1, true);
	while (get(PAGEBLOCK_PAGES, MIGRATE_MOVABLE))
		;
	cr_assert_null(get(1, MIGRATE_MOVABLE));
	p = pages_alloc(1, 0, MIGRATE_MOVABLE, PAGES_HIGHATOMIC, &zeroed);
	cr_assert_not_null(p);
	cr_assert_eq(type_of(p), MIGRATE_HIGHATOMIC);
	cr_assert_not_null(pages_alloc(1, 0, MIGRATE_MOVABLE, PAGES_HIGHATOMIC, &zeroed));
	pages_free(p, 1);
	cr_assert_eq(type_of(p), MIGRATE_HIGHATOMIC, "the reserve was given away");
}

/* Also on a machine of larger pages, of which a piece cannot be given back without its neighbours. */
Test(buddy, the_reserve_stays_resident)
{
	enum { NR = 2 * PAGEBLOCK_PAGES };
	static char *p[NR];

	fake.page_size = 16 * KIB;
	bslab_options.dirty_size = 64 * BSLAB_PAGE_SIZE;
	cr_assert_eq(pages_reserve_highatomic(2), 2);
	fake_fail_at(FAKE_ALL & ~(1u << FAKE_PURGE), 1, true);
	while (get(PAGEBLOCK_PAGES, MIGRATE_MOVABLE))
		;
	while (get(1, MIGRATE_MOVABLE))
		;
	for (int i = 0; i < NR; i++)
		p[i] = pages_alloc(1, 0, MIGRATE_MOVABLE, PAGES_HIGHATOMIC, &zeroed);
	cr_assert_not_null(p[NR - 1]);
	for (int i = 0; i < NR; i += 2)
		pages_free(p[i], 1);
	for (int i = 1; i < NR; i += 2)
		pages_free(p[i], 1);
	cr_assert_eq(fake.nr_calls[FAKE_PURGE], 0, "%zu purges of the reserve", (size_t)fake.nr_calls[FAKE_PURGE]);
}

Test(buddy, a_reserve_that_cannot_be_populated_is_not_taken)
{
	fake_fail_at(1u << FAKE_POPULATE, 2, true);
	cr_assert_eq(pages_reserve_highatomic(3), 1);
}

/* --- threads ----------------------------------------------------------------------------------- */

static void *in_thread(void *(*f)(void *), void *arg)
{
	pthread_t thread;
	void *result;

	cr_assert_eq(pthread_create(&thread, NULL, f, arg), 0);
	pthread_join(thread, &result);
	return result;
}

static void *get_ten_and_exit(void *unused)
{
	bool z;
	void *p = pages_alloc(10, 0, MIGRATE_MOVABLE, 0, &z);

	(void)unused;
	pages_thread_exit();
	return p;
}

static void *free_ten(void *p)
{
	pages_free(p, 10);
	pages_thread_exit();
	return NULL;
}

enum { FREED_BLOCKS = 20, FREED_PAGES = FREED_BLOCKS * PAGEBLOCK_PAGES };
static pthread_barrier_t barrier;

/* Pageblocks that are free and dirty but for a page; nobody takes another's. */
static void *free_many(void *arg)
{
	char **p = calloc(FREED_PAGES, sizeof *p);
	bool z;

	for (unsigned i = 0; i < FREED_PAGES; i++)
		p[i] = pages_alloc(1, 0, MIGRATE_UNMOVABLE, 0, &z);
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < FREED_PAGES; i++)
		if ((uintptr_t)p[i] % PAGEBLOCK_SIZE)
			pages_free(p[i], 1);
	free(p);
	return arg;
}

/* What was learned is forgotten, and all pass their watermarks at once. */
Test(buddy, one_call_does_not_purge_for_all)
{
	enum { THREADS = 4, AT_ONCE = 16 * PAGEBLOCK_PAGES }; /* MAX_AUTO_BLOCKS */
	pthread_t thread[THREADS];
	unsigned nr_windows;

	fake.clock_ms = 1000;
	zone_set_dirty_floor(GIB);
	pthread_barrier_init(&barrier, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, free_many, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	cr_assert_gt(snapshot().nr_dirty_free, (THREADS - 1) * FREED_PAGES);
	zone_set_dirty_floor(MIB);
	for (nr_windows = 0; snapshot().nr_dirty_free > AT_ONCE; nr_windows++) {
		size_t before = snapshot().nr_dirty_free;

		fake.clock_ms += 100;
		pages_tick_slow();
		cr_assert_lt(snapshot().nr_dirty_free, before, "each goes on where the last one ended");
		cr_assert_leq(before - snapshot().nr_dirty_free, 2 * AT_ONCE);
	}
	cr_assert_leq(nr_windows, 2 * THREADS);
	check();
}

/* 100 dirty pages in one piece beside 64 that are in use, and then so many looks with 300 ms between them. */
static size_t dirty_after(unsigned nr_looks, bool works)
{
	static void *keep;
	char *p = get(100, MIGRATE_MOVABLE);

	if (!keep)
		keep = get(64, MIGRATE_MOVABLE);
	pages_free(p, 100);
	cr_assert_geq(snapshot().nr_dirty_free, 100);
	for (unsigned i = 0; i < nr_looks; i++) {
		fake.clock_ms += 300;
		if (works)
			pages_free(get(1, MIGRATE_MOVABLE), 1);
		pages_tick_slow();
	}
	return snapshot().nr_dirty_free;
}

/* A window in which many pages go round elsewhere. */
static void next_busy_window(void)
{
	zone_note_recycled(1 << 20);
	fake.clock_ms += 100;
	pages_tick_slow();
	cr_assert_gt(zone_learned_pages(), 20000);
}

Test(buddy, keeps_of_what_was_learned_no_more_than_it_had_in_use_at_once)
{
	enum { NR_RUNS = 64, RUN = 100, STAY = NR_RUNS / 4 * RUN, USED_AGAIN = 8 };
	char *p[NR_RUNS];
	size_t ignored, nr_dirty = NR_RUNS * RUN - STAY;

	fake.clock_ms = 1000;
	zone_set_dirty_floor(0);
	cr_assert_not_null(zone_alloc(64, PAGEBLOCK_LARGE, &ignored));
	for (int i = 0; i < NR_RUNS; i++)
		p[i] = get(RUN, MIGRATE_MOVABLE);
	next_busy_window();
	for (int i = 0; i < NR_RUNS; i++)
		if (i % 4) /* one or two of five stay in each block */
			pages_free(p[i], RUN);
	next_busy_window();
	cr_assert_eq(snapshot().nr_dirty_free, nr_dirty, "all were in use in this window");
	for (int window = 0; window < 4; window++) {
		for (int i = 0; i < USED_AGAIN; i++)
			p[i] = get(RUN, MIGRATE_MOVABLE);
		for (int i = 0; i < USED_AGAIN; i++)
			pages_free(p[i], RUN);
		next_busy_window();
	}
	cr_assert_leq(snapshot().nr_dirty_free, (STAY + USED_AGAIN * RUN) * 9 / 8);
	cr_assert_geq(snapshot().nr_dirty_free, USED_AGAIN * RUN, "it is used again and again");
	check();
}

Test(buddy, who_rests_for_a_second_keeps_no_floor)
{
	fake.clock_ms = 1000;
	zone_set_dirty_floor(MIB);
	cr_assert_geq(dirty_after(3, false), 100, "not yet");
	cr_assert_geq(dirty_after(8, true), 100, "it works");
	cr_assert_lt(dirty_after(8, false), 100);
	check();
}

Test(buddy, who_rests_keeps_a_floor_that_was_set)
{
	fake.clock_ms = 1000;
	zone_set_dirty_floor(SIZE_MAX); /* M_TRIM_THRESHOLD -1 */
	cr_assert_geq(dirty_after(8, false), 100);
	thread_state.buddy->nr_users = 0;
	cr_assert_geq(dirty_after(8, false), 100);
	check();
}

Test(buddy, a_window_may_end_before_there_is_a_buddy)
{
	fake.clock_ms = 1000;
	pages_tick_slow();
	cr_assert_not_null(get(1, MIGRATE_MOVABLE));
	fake.clock_ms = 2000;
	pages_tick_slow();
	check();
}

Test(buddy, another_thread_frees_to_the_owner)
{
	void *a = get(10, MIGRATE_MOVABLE), *b = get(10, MIGRATE_MOVABLE);

	in_thread(free_ten, a);
	cr_assert_eq(snapshot().count.nr_remote_frees, 1);
	check();
	in_thread(free_ten, b);
	cr_assert_eq(zone().nr_used, 0);
}

Test(buddy, threads_that_come_and_go_share_one_buddy)
{
	for (int i = 0; i < 200; i++)
		cr_assert_not_null(in_thread(get_ten_and_exit, NULL));
	cr_assert_eq(snapshot().nr_buddies, 1);
	cr_assert_leq(snapshot().nr_blocks, 7, "%zu blocks for 200 runs of order 4", snapshot().nr_blocks);
	check();
}

Test(buddy, orphans_blocks_are_adopted_before_new_ones_are_made)
{
	void *mine = get(PAGEBLOCK_PAGES, MIGRATE_MOVABLE), *theirs = in_thread(get_ten_and_exit, NULL);

	cr_assert_eq(snapshot().nr_buddies, 2);
	cr_assert_not_null(get(20, MIGRATE_MOVABLE));
	cr_assert_eq(snapshot().nr_blocks, 2);
	cr_assert_geq(snapshot().count.nr_adoptions, 1);
	check();
	pages_free(theirs, 10);
	pages_free(mine, PAGEBLOCK_PAGES);
	check();
}

/* A thread's buddy has a block of which most is free and dirty. */
static void *leave_warm(unsigned nr_pages)
{
	char *kept = get(1, MIGRATE_MOVABLE), *p = get(nr_pages, MIGRATE_MOVABLE);

	memset(p, 1, nr_pages * BSLAB_PAGE_SIZE);
	pages_free(p, nr_pages);
	return kept;
}

Test(buddy, warm_pages_of_others_come_before_fresh_ones)
{
	void *kept = leave_warm(100), *p;
	uint64_t nr_fresh = snapshot().count.nr_fresh_pages;

	p = in_thread(get_ten_and_exit, NULL);
	cr_assert_eq(snapshot().nr_buddies, 2);
	cr_assert_eq(snapshot().nr_blocks, 1, "the thread took a block of its own");
	cr_assert_eq(snapshot().count.nr_fresh_pages, nr_fresh);
	cr_assert_eq(map_pageblock((uintptr_t)p), map_pageblock((uintptr_t)kept));
	check();
	pages_free(p, 10);
	pages_free(kept, 1);
	cr_assert_eq(zone().nr_used, 0);
}

Test(buddy, and_before_a_dirty_block_of_the_zone)
{
	void *whole = get(PAGEBLOCK_PAGES, MIGRATE_MOVABLE), *kept = leave_warm(100), *p;

	pages_free(whole, PAGEBLOCK_PAGES);
	cr_assert_eq(zone().nr_dirty_pages, PAGEBLOCK_PAGES);
	p = in_thread(get_ten_and_exit, NULL);
	cr_assert_eq(map_pageblock((uintptr_t)p), map_pageblock((uintptr_t)kept));
	cr_assert_eq(snapshot().nr_blocks, 1);
	check();
}

/* Small warm pieces beside a large one that is not: no place for what the zone has warm pages for. */
Test(buddy, warm_pages_of_the_zone_come_before_a_clean_piece)
{
	enum { N = 256 };
	void *whole = get(PAGEBLOCK_PAGES, MIGRATE_MOVABLE), *half = get(N, MIGRATE_MOVABLE), *page[N], *p;
	uint64_t nr_fresh;

	for (int i = 0; i < N; i++)
		page[i] = get(1, MIGRATE_MOVABLE);
	cr_assert_eq(snapshot().nr_blocks, 2);
	pages_free(half, N);
	pages_purge();
	for (int i = 0; i < N; i += 2)
		pages_free(page[i], 1);
	pages_free(whole, PAGEBLOCK_PAGES);
	nr_fresh = snapshot().count.nr_fresh_pages;
	p = get(100, MIGRATE_MOVABLE);
	cr_assert_eq(snapshot().count.nr_fresh_pages, nr_fresh);
	cr_assert_neq(map_pageblock((uintptr_t)p), map_pageblock((uintptr_t)page[1]));
	check();
}

/* In the midst of a pageblock, more than half of it: no free page block is as large. */
static char *leave_row(void)
{
	enum { N = 16, FIRST = 7, LAST = 26 };
	char *run[PAGEBLOCK_PAGES / N], *base = NULL;

	for (unsigned i = 0; i < PAGEBLOCK_PAGES / N; i++) {
		run[i] = get(N, MIGRATE_MOVABLE);
		base = (char *)pageblock_address(map_pageblock((uintptr_t)run[i]));
		cr_assert_eq(run[i], base + i * N * BSLAB_PAGE_SIZE);
	}
	for (unsigned i = FIRST; i <= LAST; i++)
		pages_free(run[i], N);
	return run[FIRST];
}

Test(buddy, a_large_run_is_taken_from_a_row_of_warm_pages)
{
	char *row = leave_row();
	uint64_t nr_fresh = snapshot().count.nr_fresh_pages;

	cr_assert_eq(get(300, MIGRATE_MOVABLE), row);
	cr_assert_eq(get(20, MIGRATE_MOVABLE), row + 300 * BSLAB_PAGE_SIZE);
	cr_assert_eq(snapshot().count.nr_fresh_pages, nr_fresh);
	pages_free(row, 300);
	check();
}

static void *get_row(void *row)
{
	cr_assert_eq(get(300, MIGRATE_MOVABLE), row);
	return NULL;
}

Test(buddy, or_of_anothers)
{
	in_thread(get_row, leave_row());
	cr_assert_eq(snapshot().nr_blocks, 1);
	check();
}

Test(buddy, but_not_the_last_few)
{
	leave_warm(20);
	in_thread(get_ten_and_exit, NULL);
	cr_assert_eq(snapshot().nr_blocks, 2);
	check();
}

Test(buddy, nor_those_of_another_node)
{
	leave_warm(100);
	buddy_first()->zone = (uint8_t)zone_number(ZONE_NORMAL, 1);
	in_thread(get_ten_and_exit, NULL);
	cr_assert_eq(snapshot().nr_blocks, 2);
	check();
}

static void *ask_after_the_end(void *unused)
{
	bool z;
	void *mine = pages_alloc(300, 0, MIGRATE_MOVABLE, 0, &z), *last;

	(void)unused;
	thread_state.exit_hooked = THREAD_ENDED;
	pages_thread_exit();
	last = pages_alloc(400, 0, MIGRATE_MOVABLE, 0, &z); /* does not fit beside the other */
	pages_free(mine, 300);
	return last;
}

/* A late destructor allocates: its host may be the buddy that it has just left, which is an orphan by then. */
Test(buddy, guest_of_an_orphan_does_not_adopt_its_host, .timeout = 10)
{
	void *last = in_thread(ask_after_the_end, NULL);

	cr_assert_not_null(last);
	check();
	pages_free(last, 400);
	cr_assert_eq(zone().nr_used, 0);
}

static void *get_and_meet(void *unused)
{
	bool z;
	void *p = pages_alloc(3, 0, MIGRATE_MOVABLE, 0, &z);

	(void)unused;
	cr_assert_not_null(p);
	pthread_barrier_wait(&barrier);
	pages_free(p, 3);
	pages_thread_exit();
	return NULL;
}

Test(buddy, at_most_four_buddies_a_cpu)
{
	pthread_t threads[50];

	pthread_barrier_init(&barrier, NULL, 50);
	for (int i = 0; i < 50; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, get_and_meet, NULL), 0);
	for (int i = 0; i < 50; i++)
		pthread_join(threads[i], NULL);
	cr_assert_leq(snapshot().nr_buddies, 8);
	cr_assert_eq(zone().nr_used, 0);
	check();
}

struct shared {
	_Atomic(void *) p[64];
	_Atomic unsigned n[64];
};

/* Each run carries its length in its first word; whoever takes it from the table checks and frees it. */
static void *exchange(void *arg)
{
	struct shared *s = arg;
	unsigned seed = (unsigned)(uintptr_t)&seed;

	for (int i = 0; i < 20000; i++) {
		unsigned slot = (unsigned)rand_r(&seed) % 64, n = 1 + (unsigned)rand_r(&seed) % 40;
		uintptr_t *p = NULL;
		bool z;

		if (rand_r(&seed) % 2) {
			p = pages_alloc(n, 0, (enum migratetype)(rand_r(&seed) % 3), 0, &z);
			cr_assert_not_null(p);
			cr_assert(!z || (!p[0] && !p[n * 512 - 1]));
			p[0] = n;
			p[n * 512 - 1] = (uintptr_t)p;
		}
		p = atomic_exchange(&s->p[slot], p);
		if (p) {
			cr_assert_eq(p[p[0] * 512 - 1], (uintptr_t)p);
			pages_free(p, (unsigned)p[0]);
		}
		if (i % 1000 == 0)
			pages_purge();
		if (i % 777 == 0)
			pages_thread_exit();
	}
	pages_thread_exit();
	return NULL;
}

static void *get_meet_and_exit(void *nr_told)
{
	bool z;
	void *p = pages_alloc(1, 0, MIGRATE_MOVABLE, 0, &z);

	pthread_barrier_wait(&barrier);
	pages_free(p, 1);
	atomic_fetch_add((_Atomic int *)nr_told, pages_thread_exit());
	return NULL;
}

/* How many of so many that lived at once are told, as they end, that a quarter is left. */
static int nr_told(unsigned nr_threads)
{
	static _Atomic int nr;
	pthread_t threads[16];

	nr = 0;
	pthread_barrier_init(&barrier, NULL, nr_threads);
	for (unsigned i = 0; i < nr_threads; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, get_meet_and_exit, (void *)&nr), 0);
	for (unsigned i = 0; i < nr_threads; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&barrier);
	return nr;
}

Test(buddy, at_each_quarter_of_many_threads_one_is_told)
{
	bool z;

	cr_assert_eq(nr_told(3), 0);
	cr_assert_eq(nr_told(16), 2, "at 4 and at 1");
	pages_free(pages_alloc(1, 0, MIGRATE_MOVABLE, 0, &z), 1); /* one stays */
	cr_assert_eq(nr_told(2), 0, "there were many before");
	cr_assert_eq(nr_told(16), 2);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(nr_told(1), 0, "one at a time");
}

Test(buddy, many_threads_exchange_runs)
{
	static struct shared s;
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, exchange, &s), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 64; i++)
		if (s.p[i])
			pages_free(s.p[i], (unsigned)*(uintptr_t *)s.p[i]);
	check();
	cr_assert_eq(zone().nr_used, 0, "%zu blocks left", zone().nr_used);
}

/* --- random, against the memory itself ------------------------------------------------------------ */

static void play(unsigned seed, uint32_t nr_steps)
{
	static struct {
		uint32_t *p;
		unsigned n;
	} held[300];

	srand(seed);
	for (uint32_t step = 1; step < nr_steps; step++) {
		unsigned i = (unsigned)rand() % 300, n = 1 + (unsigned)rand() % (rand() % 8 ? 20 : PAGEBLOCK_PAGES);

		if (held[i].p) {
			for (unsigned k = 0; k < held[i].n; k++)
				cr_assert_eq(held[i].p[k * 1024], held[i].p[0]);
			pages_free(held[i].p, held[i].n);
			held[i].p = NULL;
		} else {
			held[i].p = get(n, (enum migratetype)(rand() % 3));
			if (!held[i].p)
				continue;
			held[i].n = n;
			if (rand() % 3 == 0 && pages_extend(held[i].p, n, 3, &zeroed))
				held[i].n += 3;
			for (unsigned k = 0; k < held[i].n; k++)
				held[i].p[k * 1024] = step;
		}
		if (step % 500 == 0)
			pages_purge();
		if (step % 50 == 0)
			check();
	}
	for (unsigned i = 0; i < 300; i++) {
		if (held[i].p)
			pages_free(held[i].p, held[i].n);
		held[i].p = NULL;
	}
	check();
	cr_assert_eq(zone().nr_used, 0);
}

Test(buddy, random_runs)
{
	play(5, 20000);
}

Test(buddy, random_runs_while_the_kernel_refuses)
{
	for (unsigned n = 1; n < 12; n++) {
		fake_fail_at(FAKE_ALL & ~(1u << FAKE_UNMAP), n * 7, n % 2);
		play(n, 2000);
	}
}

Test(buddy, fork_leaves_the_childs_only_thread_everything)
{
	void *p = get(10, MIGRATE_MOVABLE), *q;

	in_thread(get_ten_and_exit, NULL);
	pages_fork_prepare();
	pages_fork_done(true);
	q = get(10, MIGRATE_MOVABLE);
	cr_assert_not_null(q);
	pages_free(p, 10);
	pages_free(q, 10);
	check();
	pages_fork_prepare();
	pages_fork_done(false);
	check();
}

/* What one piece has of them; the others stay whole where it has enough. */
Test(buddy, some_pages_are_those_of_a_piece)
{
	char *all = get(PAGEBLOCK_PAGES, MIGRATE_MOVABLE);
	unsigned nr = 16;

	pages_free(all + 100 * BSLAB_PAGE_SIZE, 1);
	cr_assert_eq(pages_alloc_some(&nr, 0, MIGRATE_MOVABLE, PAGES_OWN, &zeroed), all + 100 * BSLAB_PAGE_SIZE);
	cr_assert_eq(nr, 1);
	nr = 16;
	cr_assert_null(pages_alloc_some(&nr, 0, MIGRATE_MOVABLE, PAGES_OWN, &zeroed), "that is another block's");
	pages_free(all + 64 * BSLAB_PAGE_SIZE, 8);
	pages_free(all + 128 * BSLAB_PAGE_SIZE, 32);
	nr = 16;
	cr_assert_eq(pages_alloc_some(&nr, 1, MIGRATE_MOVABLE, 0, &zeroed), all + 128 * BSLAB_PAGE_SIZE);
	cr_assert_eq(nr, 16);
	nr = 20;
	cr_assert_eq(pages_alloc_some(&nr, 2, MIGRATE_MOVABLE, 0, &zeroed), all + 144 * BSLAB_PAGE_SIZE);
	cr_assert_eq(nr, 16);
	nr = 20;
	cr_assert_eq(pages_alloc_some(&nr, 2, MIGRATE_MOVABLE, 0, &zeroed), all + 64 * BSLAB_PAGE_SIZE);
	cr_assert_eq(nr, 8);
	check();
	nr = 20;
	cr_assert_not_null(pages_alloc_some(&nr, 2, MIGRATE_MOVABLE, 0, &zeroed));
	cr_assert_eq(nr, 20, "of a new block");
	check();
}

/* Though a larger piece is there, which is not. */
Test(buddy, some_pages_come_from_a_warm_piece)
{
	char *all = get(PAGEBLOCK_PAGES, MIGRATE_MOVABLE);
	unsigned nr = 16;
	bool zeroed;

	pages_free(all, 64);
	pages_purge();
	pages_free(all + 128 * BSLAB_PAGE_SIZE, 8);
	cr_assert_eq(pages_alloc_some(&nr, 0, MIGRATE_MOVABLE, 0, &zeroed), all + 128 * BSLAB_PAGE_SIZE);
	cr_assert_eq(nr, 8);
	cr_assert_not(zeroed);
	check();
}

static void *get_some(void *flags)
{
	unsigned nr = 16;
	bool zeroed;

	return pages_alloc_some(&nr, 0, MIGRATE_MOVABLE, *(const unsigned *)flags, &zeroed);
}

/* Nor are others asked for what is taken in advance, but for the first. */
Test(buddy, some_pages_of_others)
{
	static const unsigned own = PAGES_OWN, any;
	void *kept = leave_warm(100), *p;

	cr_assert_null(in_thread(get_some, (void *)&own));
	p = in_thread(get_some, (void *)&any);
	cr_assert_eq(map_pageblock((uintptr_t)p), map_pageblock((uintptr_t)kept));
	check();
}

/* Nor does it come to others' pages, and the reserve, who has none of its own because there is no memory for a buddy. */
Test(buddy, without_a_buddy_no_pages_are_its_own)
{
	unsigned nr = 1;

	cr_assert_eq(pages_reserve_highatomic(1), 1);
	cr_assert_null(thread_state.buddy);
	fake_fail_at(1u << FAKE_MAP, 1, true);
	for (size_t size = 64 * KIB; size >= 8; size /= 2)
		while (boot_alloc(size, 8))
			;
	cr_assert_null(pages_alloc_some(&nr, 0, MIGRATE_MOVABLE, PAGES_OWN | PAGES_HIGHATOMIC, &zeroed));
	cr_assert_null(thread_state.buddy);
	cr_assert_not_null(pages_alloc_some(&nr, 0, MIGRATE_MOVABLE, PAGES_HIGHATOMIC, &zeroed));
}
