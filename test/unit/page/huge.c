/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "fake_os.h"
#include "os/options.h"
#include "os/os.h"
#include "page/buddy.h"
#include "page/huge.h"
#include "page/limit.h"
#include "page/zone.h"

static void setup(void)
{
	bslab_options.region_size = GIB;
	bslab_options.dirty_size = MIB;
	bslab_options.huge = true;
	fake.nr_cpus = 2;
}

TestSuite(huge, .init = setup);

enum { FIRST = HUGE_SHARE }; /* whole pageblocks in use from which on there are huge ones */

static void *get(unsigned nr_pages, bool *zeroed)
{
	void *p = pages_alloc(nr_pages, 0, MIGRATE_UNMOVABLE, 0, zeroed);

	cr_assert_not_null(p);
	return p;
}

static void grow(unsigned nr_blocks)
{
	bool zeroed;

	for (unsigned i = 0; i < nr_blocks; i++)
		get(PAGEBLOCK_PAGES, &zeroed);
}

static struct zone_info zone(void)
{
	struct zone_info info;

	zone_snapshot(&info);
	return info;
}

static struct pages_info pages(void)
{
	struct pages_info info;

	pages_snapshot(&info);
	return info;
}

static size_t nr_asked(void)
{
	return fake.nr_calls[FAKE_POPULATE_HUGE];
}

Test(huge, a_small_heap_has_none)
{
	grow(FIRST);
	cr_assert_eq(nr_asked(), 0);
}

Test(huge, a_growing_heap_has)
{
	bool zeroed;

	grow(FIRST);
	cr_assert(bslab_options.huge);
	get(1, &zeroed);
	cr_assert_eq(nr_asked(), 1);
	cr_assert_eq(zone().nr_huge_allocs, 1);
	cr_assert_eq(pages().nr_huge_blocks, 1);
	cr_assert_not(zeroed, "its pages are resident, and nothing else is known of them");
	cr_assert_eq(pages().nr_dirty_free, PAGEBLOCK_PAGES - 1);
	cr_assert_eq(pages().count.nr_fresh_pages, FIRST * PAGEBLOCK_PAGES, "none of it faults");
}

Test(huge, only_for_small_objects)
{
	grow(FIRST);
	pages_alloc(1, 0, MIGRATE_MOVABLE, 0, &(bool){false});
	pages_alloc(1, 0, MIGRATE_RECLAIMABLE, 0, &(bool){false});
	cr_assert_eq(nr_asked(), 0);
}

Test(huge, off)
{
	bslab_options.huge = false;
	grow(2 * FIRST);
	cr_assert_eq(nr_asked(), 0);
}

Test(huge, unused_pages_are_a_small_share)
{
	bool zeroed;

	grow(4 * FIRST);
	cr_assert_eq(nr_asked(), 3 * FIRST);
	for (unsigned i = 0; i < 100; i++) {
		get(1 + i % 300, &zeroed);
		cr_assert_leq(pages().nr_dirty_free * HUGE_SHARE, zone().nr_used * PAGEBLOCK_PAGES);
	}
}

Test(huge, warm_pages_come_first)
{
	bool zeroed;
	void *p;

	grow(2 * FIRST);
	p = get(PAGEBLOCK_PAGES, &zeroed);
	pages_free(p, PAGEBLOCK_PAGES);
	get(1, &zeroed);
	cr_assert_eq(nr_asked(), FIRST + 1, "the freed block is used again, and is not made resident once more");
}

Test(huge, first_use_is_no_reuse)
{
	bool zeroed;

	grow(4 * FIRST);
	for (unsigned i = 0; i < 100; i++)
		get(64, &zeroed);
	fake.clock_ms = os_coarse_clock_ms() + 10000;
	for (unsigned i = 0; i < 10000; i++)
		pages_free(get(1, &zeroed), 1);
	cr_assert_eq(zone().learned_pages, 0);
}

Test(huge, refaults_are_learned)
{
	void *p[FIRST];
	bool zeroed;

	grow(4 * FIRST);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < FIRST; i++)
			p[i] = get(PAGEBLOCK_PAGES, &zeroed);
		for (int i = 0; i < FIRST; i++)
			pages_free(p[i], PAGEBLOCK_PAGES);
		zone_purge(0);
	}
	cr_assert_gt(zone().learned_pages, 0);
}

Test(huge, no_huge_page_to_be_had)
{
	bool zeroed;

	fake_fail_at(1u << FAKE_POPULATE_HUGE, 1, true);
	grow(FIRST);
	get(1, &zeroed);
	cr_assert(zeroed);
	cr_assert_eq(zone().nr_huge_fallbacks, 1);
	cr_assert_eq(pages().nr_huge_blocks, 0);
	cr_assert_eq(pages().nr_dirty_free, 0);
	get(PAGEBLOCK_PAGES, &zeroed);
	cr_assert_eq(nr_asked(), 1, "not again for a while");
	grow(1000);
	cr_assert_leq(nr_asked(), 5, "twice as long each time: %zu", nr_asked());
	cr_assert_geq(nr_asked(), 4);
}

Test(huge, costly_ones_are_few)
{
	fake.step_us = 2000;
	grow(FIRST + 100);
	cr_assert_eq(nr_asked(), 2, "%zu", nr_asked());
	fake.step_us = 10;
	grow(1000);
	cr_assert_gt(nr_asked(), 750, "cheap again: %zu", nr_asked());
}

Test(huge, not_beyond_a_limit)
{
	limit_set(0, (size_t)FIRST * PAGEBLOCK_SIZE + PAGEBLOCK_SIZE);
	grow(FIRST);
	pages_alloc(1, 0, MIGRATE_UNMOVABLE, 0, &(bool){false});
	cr_assert_eq(nr_asked(), 0);
}

Test(huge, not_near_a_soft_limit)
{
	limit_set(2 * (size_t)FIRST * PAGEBLOCK_SIZE, 0);
	grow(2 * FIRST);
	cr_assert_geq(nr_asked(), FIRST - 6, "%zu", nr_asked());
	cr_assert_leq(nr_asked(), FIRST - 3, "from 15/16 of it on none: %zu", nr_asked());
}

/* The kernel keeps a huge page whole until it is told that a part of it is not needed. */
Test(huge, pieces_are_split_off_before_they_are_given_back)
{
	void *p[4];
	bool zeroed;

	grow(4 * FIRST);
	for (int i = 0; i < 4; i++)
		p[i] = get(100, &zeroed);
	pages_free(p[1], 100);
	pages_purge();
	cr_assert_geq(fake.nr_splits, 1);
	cr_assert_eq(pages().nr_dirty_free, 0);
	fake.nr_splits = 0;
	pages_free(p[2], 100);
	pages_purge();
	cr_assert_eq(fake.nr_splits, 0, "it is none any more");
	for (int i = 0; i < 4; i += 3)
		pages_free(p[i], 100);
}

Test(huge, what_came_free_whole_is_dirty)
{
	bool zeroed;
	void *p;

	grow(FIRST);
	p = get(1, &zeroed);
	pages_free(p, 1);
	cr_assert_eq(zone().nr_dirty_pages, PAGEBLOCK_PAGES);
	cr_assert_eq(pages().nr_huge_blocks, 1);
	zone_purge(0);
	cr_assert_eq(pages().nr_huge_blocks, 0);
	cr_assert_eq(zone().nr_dirty_pages, 0);
}
