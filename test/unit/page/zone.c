/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "fake_os.h"
#include "os/options.h"
#include "os/os.h"
#include "page/zone.h"
#include "page/every_block.h"

static void setup(void)
{
	bslab_options.region_size = 64 * MIB;
	bslab_options.dirty_size = 8 * MIB;
}

TestSuite(zone, .init = setup);

static size_t ignored;

static struct zone_info snapshot(void)
{
	struct zone_info info;

	zone_snapshot(&info);
	return info;
}

static void counter(struct pageblock *b, void *arg)
{
	++*(size_t *)arg;
	(void)b;
}

/* The numbers of a snapshot against each other. */
static void check(void)
{
	struct zone_info i = snapshot();
	size_t nr_blocks = 0;

	for_each_block(counter, &nr_blocks);
	cr_assert_eq(i.nr_committed, nr_blocks);
	cr_assert_eq(i.nr_committed, i.nr_used + i.nr_free, "%zu != %zu + %zu", i.nr_committed, i.nr_used, i.nr_free);
	cr_assert_leq(i.nr_dirty_blocks, i.nr_free);
	cr_assert_leq(i.nr_committed, i.nr_reserved);
	cr_assert_leq(i.nr_dirty_pages, i.nr_dirty_blocks * PAGEBLOCK_PAGES);
}

static void write_block(struct pageblock *b)
{
	memset((void *)pageblock_address(b), 0xa5, PAGEBLOCK_SIZE);
	pageblock_set_dirty(b, 0, PAGEBLOCK_PAGES, true);
}

static bool block_is_zero(const struct pageblock *b)
{
	const uint64_t *p = (const uint64_t *)pageblock_address(b);

	for (size_t i = 0; i < PAGEBLOCK_SIZE / sizeof *p; i++)
		if (p[i])
			return false;
	return true;
}

Test(zone, first_block_is_zero_and_usable)
{
	size_t nr_dirty = 7;
	struct pageblock *b = zone_alloc(1, PAGEBLOCK_BUDDY, &nr_dirty);

	cr_assert_not_null(b);
	cr_assert_eq(nr_dirty, 0);
	cr_assert_eq(b->state, PAGEBLOCK_BUDDY);
	cr_assert(block_is_zero(b));
	check();
}

Test(zone, dirty_blocks_come_first)
{
	struct pageblock *a = zone_alloc(1, PAGEBLOCK_BUDDY, &ignored), *b = zone_alloc(1, PAGEBLOCK_BUDDY, &ignored);
	size_t nr_dirty;

	zone_free(a, 1); /* clean, at the lower address */
	write_block(b);
	zone_free(b, 1);
	check();
	cr_assert_eq(zone_alloc(1, PAGEBLOCK_LARGE, &nr_dirty), b);
	cr_assert_eq(nr_dirty, PAGEBLOCK_PAGES);
	cr_assert_eq(b->state, PAGEBLOCK_LARGE);
	check();
}

Test(zone, contiguous_blocks_at_the_lowest_address)
{
	struct pageblock *blocks[8];

	for (int i = 0; i < 8; i++)
		blocks[i] = zone_alloc(1, PAGEBLOCK_BUDDY, &ignored);
	for (int i = 1; i < 8; i++)
		cr_assert_eq(pageblock_address(blocks[i]), pageblock_address(blocks[i - 1]) + PAGEBLOCK_SIZE);
	zone_free(blocks[1], 2);
	zone_free(blocks[4], 3);
	cr_assert_eq(zone_alloc(3, PAGEBLOCK_LARGE, &ignored), blocks[4]);
	cr_assert_eq(zone_alloc(2, PAGEBLOCK_LARGE, &ignored), blocks[1]);
	check();
}

Test(zone, free_tail_counts_for_a_larger_range)
{
	struct pageblock *b = zone_alloc(4, PAGEBLOCK_LARGE, &ignored);

	zone_free(b, 4);
	cr_assert_eq(zone_alloc(10, PAGEBLOCK_LARGE, &ignored), b);
	check();
}

Test(zone, extends_into_free_and_uncommitted_blocks_only)
{
	struct pageblock *a = zone_alloc(2, PAGEBLOCK_LARGE, &ignored), *b = zone_alloc(2, PAGEBLOCK_LARGE, &ignored);

	cr_assert_not(zone_extend(a + 1, 1, PAGEBLOCK_LARGE, &ignored));
	zone_free(b, 2);
	cr_assert(zone_extend(a + 1, 2, PAGEBLOCK_LARGE, &ignored));
	cr_assert_eq(b->state, PAGEBLOCK_LARGE);
	cr_assert(zone_extend(a + 3, 5, PAGEBLOCK_LARGE, &ignored), "behind what is committed");
	cr_assert_not(zone_extend(a + 8, 32, PAGEBLOCK_LARGE, &ignored), "behind the end of the region");
	check();
}

Test(zone, more_regions_when_one_is_full)
{
	for (int i = 0; i < 100; i++)
		cr_assert_not_null(zone_alloc(1, PAGEBLOCK_BUDDY, &ignored));
	cr_assert_geq(snapshot().nr_regions, 4);
	cr_assert_leq(snapshot().nr_regions, 5);
	check();
}

Test(zone, a_thousand_live_blocks_are_few_mappings)
{
	bslab_options.region_size = GIB;
	for (int i = 0; i < 2000; i++)
		cr_assert_not_null(zone_alloc(1, PAGEBLOCK_BUDDY, &ignored));
	cr_assert_leq(fake_mappings(), 64, "%zu mappings", fake_mappings());
}

Test(zone, purged_blocks_read_as_zero)
{
	struct pageblock *b = zone_alloc(6, PAGEBLOCK_LARGE, &ignored);
	size_t nr_dirty;

	for (int i = 0; i < 6; i++)
		write_block(b + i);
	zone_free(b, 6);
	cr_assert_eq(zone_purge(3 * PAGEBLOCK_PAGES + 1) % PAGEBLOCK_PAGES, 0);
	cr_assert_leq(snapshot().nr_dirty_pages, 3 * PAGEBLOCK_PAGES + 1);
	check();
	zone_purge(0);
	cr_assert_eq(snapshot().nr_dirty_pages, 0);
	cr_assert_eq(snapshot().nr_purged_pages, 6 * PAGEBLOCK_PAGES);
	cr_assert_eq(zone_alloc(6, PAGEBLOCK_LARGE, &nr_dirty), b);
	cr_assert_eq(nr_dirty, 0);
	for (int i = 0; i < 6; i++)
		cr_assert(block_is_zero(b + i));
	check();
}

Test(zone, refused_purge_keeps_pages_dirty)
{
	struct pageblock *b = zone_alloc(1, PAGEBLOCK_BUDDY, &ignored);
	size_t nr_dirty;

	write_block(b);
	zone_free(b, 1);
	fake_fail_at(1u << FAKE_PURGE, 1, true);
	cr_assert_eq(zone_purge(0), 0);
	cr_assert_eq(snapshot().nr_purge_failures, 1);
	check();
	cr_assert_eq(zone_alloc(1, PAGEBLOCK_BUDDY, &nr_dirty), b);
	cr_assert_eq(nr_dirty, PAGEBLOCK_PAGES);
}

/* The others of the batch go, and those below it, at once and again. */
Test(zone, a_locked_block_keeps_no_other)
{
	enum { NR = 28 };
	struct pageblock *b = zone_alloc(NR, PAGEBLOCK_LARGE, &ignored), *in_use = b + 20;
	char *page = (char *)pageblock_address(b + 24) + 7 * BSLAB_PAGE_SIZE;

	for (int n = 0; n < NR; n++)
		write_block(b + n);
	os_lock(page, BSLAB_PAGE_SIZE);
	zone_free(b, 20);
	zone_free(b + 21, NR - 21);
	cr_assert_eq(zone_purge(0), (NR - 2) * PAGEBLOCK_PAGES);
	cr_assert_eq(snapshot().nr_dirty_pages, PAGEBLOCK_PAGES);
	cr_assert(fake_is_locked(page));
	for (int n = 0; n < NR; n++)
		cr_assert_eq(block_is_zero(b + n), n != 20 && n != 24);
	check();
	zone_alloc(20, PAGEBLOCK_LARGE, &ignored);
	for (int n = 0; n < 20; n++)
		write_block(b + n);
	zone_free(b, 20);
	zone_balance();
	cr_assert_leq(snapshot().nr_dirty_pages, snapshot().low_pages, "the watermark holds");
	os_unlock(page, BSLAB_PAGE_SIZE);
	zone_free(in_use, 1);
	zone_purge(0);
	cr_assert_eq(snapshot().nr_dirty_pages, 0);
	check();
}

Test(zone, balance_goes_from_the_high_to_the_low_watermark)
{
	struct pageblock *b = zone_alloc(12, PAGEBLOCK_LARGE, &ignored);
	struct zone_info i;

	for (int n = 0; n < 12; n++)
		write_block(b + n);
	zone_free(b, 3);
	zone_balance();
	cr_assert_eq(snapshot().nr_purged_pages, 0, "below the high watermark");
	zone_free(b + 3, 9);
	zone_balance();
	i = snapshot();
	cr_assert_leq(i.nr_dirty_pages, i.low_pages);
	cr_assert_gt(i.nr_purged_pages, 0);
	check();
}

Test(zone, purges_no_block_more_than_it_must)
{
	struct pageblock *b = zone_alloc(12, PAGEBLOCK_LARGE, &ignored);

	for (int n = 0; n < 12; n++)
		write_block(b + n);
	zone_free(b, 12);
	zone_purge(7 * PAGEBLOCK_PAGES);
	cr_assert_eq(snapshot().nr_dirty_pages, 7 * PAGEBLOCK_PAGES, "%zu blocks left of 7",
		     snapshot().nr_dirty_pages / PAGEBLOCK_PAGES);
}

Test(zone, dirty_floor_moves_the_watermarks)
{
	size_t before = snapshot().high_pages;

	zone_set_dirty_floor(64 * MIB);
	cr_assert_eq(snapshot().high_pages, before - (8 * MIB >> PAGE_SHIFT) + (64 * MIB >> PAGE_SHIFT));
	zone_set_dirty_floor(0);
	cr_assert_eq(snapshot().high_pages, 0);
}

static void turn_over(unsigned nr_blocks)
{
	struct pageblock *b = zone_alloc(nr_blocks, PAGEBLOCK_LARGE, &ignored);

	for (unsigned i = 0; i < nr_blocks; i++)
		write_block(b + i);
	zone_free(b, nr_blocks);
	zone_balance();
}

/* A loop over a buffer above the watermark: after some rounds it finds its pages warm. */
Test(zone, learns_to_keep_what_comes_back)
{
	uint64_t nr_purged;

	fake.clock_ms = 1000;
	turn_over(8);
	cr_assert_eq(zone_learned_pages(), 0, "once is no sign");
	cr_assert_gt(snapshot().nr_purged_pages, 0);
	for (int i = 0; i < 100; i++)
		turn_over(8);
	nr_purged = snapshot().nr_purged_pages;
	for (int i = 0; i < 100; i++)
		turn_over(8);
	cr_assert_eq(snapshot().nr_purged_pages, nr_purged);
	check();
	for (int i = 0; i < 16; i++) {
		fake.clock_ms += 128;
		cr_assert(zone_window_is_over());
		zone_next_window(0, 0);
		cr_assert_not(zone_window_is_over());
	}
	cr_assert_eq(zone_learned_pages(), 0, "nothing came back for two seconds");
	cr_assert_leq(snapshot().nr_dirty_pages, snapshot().high_pages);
}

/* The clock is read before the lock is taken: a thread may come with a time before the last window's end. */
Test(zone, a_late_thread_does_not_make_it_forget)
{
	size_t nr_learned;

	fake.clock_ms = 1000;
	for (int i = 0; i < 200; i++)
		turn_over(8);
	fake.clock_ms = 2000;
	zone_next_window(1 << 20, 0);
	nr_learned = zone_learned_pages();
	cr_assert_gt(nr_learned, 0);
	fake.clock_ms = 1999;
	zone_next_window(0, 0);
	cr_assert_eq(zone_learned_pages(), nr_learned);
	fake.clock_ms = 2031;
	cr_assert_not(zone_window_is_over());
}

/* What is kept in partly used blocks is no reason to keep as much again. */
Test(zone, learns_of_pages_in_use_and_not_of_blocks)
{
	fake.clock_ms = 1000;
	zone_next_window(0, 0);
	cr_assert_not_null(zone_alloc(8, PAGEBLOCK_BUDDY, &ignored));
	fake.clock_ms += 32;
	zone_next_window(1 << 20, 7 * PAGEBLOCK_PAGES + 100);
	cr_assert_eq(zone_learned_pages(), PAGEBLOCK_PAGES - 100);
	for (int i = 0; i < 16; i++) {
		fake.clock_ms += 32;
		zone_next_window(1 << 20, 0);
	}
	cr_assert_eq(zone_learned_pages(), 8 * PAGEBLOCK_PAGES);
}

/* The child of a process that has changed its time namespace finds the clock hours back. */
Test(zone, a_clock_set_back_does_not_make_it_remember)
{
	fake.clock_ms = 1000000;
	for (int i = 0; i < 200; i++)
		turn_over(8);
	fake.clock_ms += 32;
	zone_next_window(1 << 20, 0);
	cr_assert_gt(zone_learned_pages(), 0);
	fake.clock_ms = 1000;
	for (int i = 0; i < 16; i++) {
		cr_assert(zone_window_is_over());
		zone_next_window(0, 0);
		fake.clock_ms += 32;
	}
	cr_assert_eq(zone_learned_pages(), 0);
}

/* Pageblocks for pages are no large blocks: the buddies count what comes round in them. */
Test(zone, learns_nothing_from_blocks_of_pages)
{
	fake.clock_ms = 1000;
	for (int i = 0; i < 100; i++) {
		struct pageblock *b = zone_alloc(8, PAGEBLOCK_BUDDY, &ignored);

		for (int n = 0; n < 8; n++)
			write_block(b + n);
		zone_free(b, 8);
		zone_balance();
	}
	cr_assert_eq(zone_learned_pages(), 0);
}

/* What comes back now and then costs less to fault in than to keep. */
Test(zone, does_not_keep_what_comes_back_seldom)
{
	fake.clock_ms = 1000;
	for (int i = 0; i < 50; i++) {
		turn_over(8);
		fake.clock_ms += 1000;
		if (zone_window_is_over())
			zone_next_window(0, 0);
	}
	cr_assert_lt(zone_learned_pages(), 8 * PAGEBLOCK_PAGES / 16);
}

Test(zone, refused_commit_is_null_and_not_for_ever)
{
	fake_fail_at(1u << FAKE_COMMIT, 1, true);
	cr_assert_null(zone_alloc(1, PAGEBLOCK_BUDDY, &ignored));
	check();
	fake_fail_at(0, 0, false);
	cr_assert_not_null(zone_alloc(1, PAGEBLOCK_BUDDY, &ignored));
	check();
}

/* RLIMIT_DATA or overcommit_memory=2: a process that lives with NULL must not use up its address space by asking. */
Test(zone, refused_commits_do_not_pile_up_regions)
{
	fake_fail_at(1u << FAKE_COMMIT, 1, true);
	for (int i = 0; i < 50; i++)
		cr_assert_null(zone_alloc(1, PAGEBLOCK_BUDDY, &ignored));
	cr_assert_leq(snapshot().nr_regions, 2, "%zu regions after 50 refusals", snapshot().nr_regions);
}

Test(zone, random_ranges)
{
	static struct {
		struct pageblock *first;
		unsigned n;
	} held[64];

	srand(4);
	for (int step = 0; step < 5000; step++) {
		int i = rand() % 64;
		size_t nr_dirty, n = 0;

		if (held[i].first) {
			zone_free(held[i].first, held[i].n);
			held[i].first = NULL;
			zone_balance();
		} else {
			held[i].n = 1 + (unsigned)rand() % 12;
			held[i].first = zone_alloc(held[i].n, PAGEBLOCK_LARGE, &nr_dirty);
			cr_assert_not_null(held[i].first);
			for (unsigned k = 0; k < held[i].n; k++) {
				uint64_t *word = (uint64_t *)pageblock_address(held[i].first + k);

				n += pageblock_nr_dirty(held[i].first + k, 0, PAGEBLOCK_PAGES);
				cr_assert(pageblock_nr_dirty(held[i].first + k, 0, 1) || !*word);
				*word = (uint64_t)step + 1;
				pageblock_set_dirty(held[i].first + k, 0, 1, true);
			}
			cr_assert_eq(nr_dirty, n);
		}
		for (int k = 0; k < 64; k++)
			cr_assert(k == i || !held[i].first || !held[k].first ||
				  held[k].first + held[k].n <= held[i].first ||
				  held[i].first + held[i].n <= held[k].first);
		check();
	}
}

Test(zone, fork_frees_the_lock_on_both_sides)
{
	zone_fork_prepare();
	zone_fork_done(false);
	cr_assert_not_null(zone_alloc(1, PAGEBLOCK_BUDDY, &ignored));
	zone_fork_prepare();
	zone_fork_done(true);
	cr_assert_not_null(zone_alloc(1, PAGEBLOCK_BUDDY, &ignored));
}
