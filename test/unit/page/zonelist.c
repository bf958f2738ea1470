/* SPDX-License-Identifier: MIT */
/* Explicit zones: their buddies, and which zones a request goes through. */
#include <criterion/criterion.h>
#include <string.h>

#include "boot/boot.h"
#include "fake_os.h"
#include "map/map.h"
#include "os/options.h"
#include "os/thread.h"
#include "page/buddy.h"
#include "page/runs.h"
#include "page/zonelist.h"

static void setup(void)
{
	bslab_options.region_size = 64 * MIB;
	bslab_options.dirty_size = 8 * MIB;
}

TestSuite(zonelist, .init = setup);

static bool zeroed;

static unsigned zone_at(const void *p)
{
	return map_pageblock((uintptr_t)p)->region->zone;
}

static void *take(unsigned nr_pages, unsigned flags)
{
	return pages_alloc(nr_pages, 0, MIGRATE_MOVABLE, flags, &zeroed);
}

Test(zonelist, low_pages_are_apart)
{
	char *low = take(3, PAGES_DMA32), *p = take(3, 0), *more = take(100, PAGES_DMA32);

	cr_assert_eq(zone_at(low), ZONE_DMA32);
	cr_assert_eq(zone_at(p), ZONE_NORMAL);
	cr_assert_eq(zone_at(more), ZONE_DMA32);
	cr_assert(pages_are_explicit(low) && !pages_are_explicit(p));
	cr_assert_eq(map_pageblock((uintptr_t)low), map_pageblock((uintptr_t)more), "one buddy, whatever the type");
	memset(low, 1, 3 * BSLAB_PAGE_SIZE);
	pages_free(low, 3);
	pages_free(more, 100);
	cr_assert_eq(map_pageblock((uintptr_t)low)->state, PAGEBLOCK_FREE);
	cr_assert_eq(take(512, PAGES_DMA32), low, "its own block again");
	cr_assert_not(zeroed);
	cr_assert_neq(zone_at(take(512, 0)), ZONE_DMA32);
}

/* No thread takes what a zone's buddy has, even if it gets nothing elsewhere. */
Test(zonelist, nobody_steals_from_a_zone)
{
	cr_assert_not_null(take(1, PAGES_DMA32));
	cr_assert_not_null(take(1, 0));
	fake_fail_at(1u << FAKE_COMMIT | 1u << FAKE_RESERVE, 1, true);
	for (;;) {
		char *p = take(1, 0);

		if (!p)
			break;
		cr_assert_eq(zone_at(p), ZONE_NORMAL);
	}
	cr_assert_not_null(take(1, PAGES_DMA32));
}

Test(zonelist, a_full_zone_gives_what_is_left)
{
	size_t n = 0;
	char *p;

	fake.low_size = 4 * MIB;
	while ((p = take(100, PAGES_DMA32))) {
		n++;
		cr_assert_eq(zone_at(p), ZONE_DMA32);
	}
	cr_assert_eq(n, 8);
	while (take(1, PAGES_DMA32))
		n++;
	cr_assert_eq(n, 8 + 2 * (512 - 400));
	cr_assert_null(take(1, PAGES_DMA32));
	cr_assert_not_null(take(1, 0));
}

Test(zonelist, a_buddy_that_cannot_be_made)
{
	size_t n = 0;

	fake_fail_at(1u << FAKE_MAP, 1, true);
	while (boot_alloc(64, 64))
		n++;
	cr_assert_gt(n, 0);
	cr_assert_null(take(1, PAGES_DMA32));
	fake_fail_at(0, 0, false);
	cr_assert_not_null(take(1, PAGES_DMA32));
}

/* What reports say of all zones is what their rows say. */
static void check_sums(struct pages_info *info)
{
	const size_t *all = (const size_t *)&info->types;

	for (size_t k = 0; k < sizeof info->types / sizeof *all; k++) {
		size_t sum = 0;

		for (unsigned i = 0; i < info->zones.nr; i++)
			sum += ((const size_t *)&info->zones.row[i].types)[k];
		cr_assert_eq(sum, all[k], "%zu", k);
	}
}

Test(zonelist, each_zone_has_a_row)
{
	struct pages_info info;
	char *low = take(3, PAGES_DMA32), *p = take(1, 0), *q;
	unsigned type = map_pageblock((uintptr_t)low)->migratetype;
	const struct zone_row *row = &info.zones.row[1];

	pages_snapshot(&info);
	cr_assert_eq(info.zones.nr, 2);
	cr_assert_eq(info.zones.row[0].nr_free, 511);
	cr_assert_eq(row->nr_free, 509);
	cr_assert_eq(row->types.free_area[type][8], 1);
	cr_assert_eq(row->types.free_pages[type], 509);
	cr_assert_eq(row->types.blocks[type], 1);
	cr_assert_eq(row->types.resident_area[type][0], 0);
	cr_assert_eq(info.nr_free, 511 + 509);
	check_sums(&info);
	q = take(1, PAGES_DMA32);
	memset(low, 1, 3 * BSLAB_PAGE_SIZE);
	pages_free(low, 3);
	pages_snapshot(&info);
	cr_assert_eq(row->types.dirty_pages[type], 3);
	cr_assert_eq(row->types.resident_area[type][0] + row->types.resident_area[type][1], 2);
	check_sums(&info);
	pages_free(q, 1);
	pages_snapshot(&info);
	cr_assert_eq(row->nr_dirty_pages, 4);
	cr_assert_eq(row->nr_dirty_blocks, 1);
	cr_assert_eq(row->types.blocks[type], 0);
	cr_assert_eq(row->nr_free_blocks, row->nr_committed);
	check_sums(&info);
	pages_free(p, 1);
}

/* Warm blocks that malloc cannot have do not lead it away from the pages that it has. */
Test(zonelist, what_is_warm_elsewhere)
{
	char *low = take(512, PAGES_DMA32), *p = take(1, 0);

	memset(low, 1, PAGEBLOCK_SIZE);
	pages_free(low, 512);
	cr_assert(zone_has_dirty_in(ZONE_DMA32) && !zone_has_dirty_in(ZONE_NORMAL));
	for (int i = 0; i < 511; i++)
		cr_assert_eq(map_pageblock((uintptr_t)take(1, 0)), map_pageblock((uintptr_t)p));
}

/* --- nodes ----------------------------------------------------------------------------------- */

#define NODES "/sys/devices/system/node/"

/* Node 1 has CPUs only; 0 and 3 are near each other. */
static const struct fake_file machine[] = {{NODES "has_memory", "0,2-3\n"},
					   {NODES "online", "0-3\n"},
					   {NODES "node0/distance", "10 15 30 20\n"},
					   {NODES "node2/distance", "30 15 10 25\n"},
					   {NODES "node3/distance", "20 15 25 10\n"},
					   {0}};

static void several(void)
{
	setup();
	fake.files = machine;
	nodes_read();
}

TestSuite(nodes, .init = several);

static unsigned node_at(const void *p)
{
	return zone_node_of(zone_at(p));
}

static void expect_order(unsigned node, unsigned flags, unsigned first, unsigned second, unsigned third)
{
	struct zonelist list;

	fake.node = node;
	zonelist_make(flags, &list);
	cr_assert_eq(list.nr, 3);
	cr_assert_eq(zone_node_of(list.zone[0]), first);
	cr_assert_eq(zone_node_of(list.zone[1]), second);
	cr_assert_eq(zone_node_of(list.zone[2]), third);
}

Test(nodes, local_first_then_by_distance)
{
	expect_order(0, 0, 0, 2, 1);
	expect_order(2, 0, 1, 2, 0);
	expect_order(3, 0, 2, 0, 1);
	expect_order(1, 0, 0, 2, 1); /* without memory of its own: the first */
	expect_order(2, PAGES_DMA32, 1, 2, 0);
}

Test(nodes, whole_blocks_are_local)
{
	char *a, *b;

	fake.node = 2;
	a = take(512, 0);
	fake.node = 3;
	b = take(512, 0);
	cr_assert_eq(node_at(a), 1);
	cr_assert_eq(node_at(b), 2);
	cr_assert_eq(fake.nr_prefers, 2, "each region is its node's");
	memset(a, 1, PAGEBLOCK_SIZE);
	pages_free(a, 512);
	cr_assert_neq(take(512, 0), a, "what node 1 freed is for node 1");
	fake.node = 2;
	cr_assert_eq(take(512, 0), a);
}

Test(nodes, others_when_the_local_one_has_none)
{
	char *far, *p;

	fake.node = 3;
	far = take(512, 0);
	cr_assert_not_null(take(512, 0));
	fake.node = 0;
	cr_assert_not_null(take(512, pages_node(0)));
	pages_free(far, 512);
	fake_fail_at(1u << FAKE_COMMIT | 1u << FAKE_RESERVE, 1, true);
	while ((p = take(512, pages_node(0))))
		;
	while ((p = take(512, 0)) && p != far)
		cr_assert_eq(node_at(p), 0);
	cr_assert_eq(p, far);
}

Test(nodes, this_node_or_none)
{
	size_t n = 0, populated = fake.nr_calls[FAKE_POPULATE];
	char *p = take(3, pages_node(1));

	cr_assert_eq(node_at(p), 1);
	cr_assert(pages_are_explicit(p));
	cr_assert_gt(fake.nr_calls[FAKE_POPULATE], populated, "resident");
	fake_fail_at(1u << FAKE_COMMIT | 1u << FAKE_RESERVE, 1, true);
	while ((p = take(512, pages_node(1)))) {
		cr_assert_eq(node_at(p), 1);
		n++;
	}
	cr_assert_leq(n, 1);
	cr_assert_not_null(take(1, pages_node(1)));
}

/* The kernel has put pages elsewhere: they are given back and asked for again, once. */
Test(nodes, pages_that_are_elsewhere)
{
	struct zone_info before, after;
	char *p = take(512, pages_node(1));

	memset(p, 1, PAGEBLOCK_SIZE);
	pages_free(p, 512);
	fake.nr_elsewhere = 1;
	cr_assert_eq(take(512, pages_node(1)), p);
	cr_assert(zeroed && p[0] == 0 && p[PAGEBLOCK_SIZE - 1] == 0);
	memset(p, 1, PAGEBLOCK_SIZE);
	pages_free(p, 512);
	fake.nr_elsewhere = 2;
	zone_snapshot(&before);
	cr_assert_null(take(512, pages_node(1)));
	zone_snapshot(&after);
	cr_assert_eq(after.nr_used, before.nr_used);
	fake.nr_elsewhere = 1;
	fake_fail_at(1u << FAKE_PURGE, 1, false);
	cr_assert_null(take(512, pages_node(1)));
	cr_assert_not_null(take(512, pages_node(1)));
	size_t nr_dirty;
	fake.nr_elsewhere = 1;
	cr_assert_not_null(zonelist_alloc(pages_node(2), 3, PAGEBLOCK_LARGE, &nr_dirty));
}

/* What a request for a node makes resident is seen by the limits, is given back, and is checked when it comes out again. */
Test(nodes, resident_pages_are_counted)
{
	char *p = take(1, pages_node(1)), *q;
	struct pageblock *b = map_pageblock((uintptr_t)p);
	size_t populated;

	cr_assert_eq(b->nr_dirty_free, 511);
	pages_purge();
	cr_assert_eq(b->nr_dirty_free, 0);
	populated = fake.nr_calls[FAKE_POPULATE];
	q = take(100, pages_node(1));
	cr_assert_eq(map_pageblock((uintptr_t)q), b);
	cr_assert_gt(fake.nr_calls[FAKE_POPULATE], populated, "resident again");
	pages_free(q, 100);
	fake.nr_elsewhere = 2;
	q = take(100, pages_node(1));
	cr_assert_neq(map_pageblock((uintptr_t)q), b, "pages of another node");
	cr_assert_eq(node_at(q), 1);
}

Test(nodes, what_is_refused_is_not_kept)
{
	size_t nr_dirty;

	fake.nr_elsewhere = 2;
	cr_assert_null(zonelist_alloc(pages_node(1), 3, PAGEBLOCK_LARGE, &nr_dirty));
	cr_assert_eq(zone_nr_dirty(), 0, "given back");
	cr_assert_eq(fake.nr_calls[FAKE_PURGE], 2);
	fake.nr_elsewhere = 2;
	fake_fail_at(1u << FAKE_PURGE, 2, false);
	cr_assert_null(zonelist_alloc(pages_node(1), 3, PAGEBLOCK_LARGE, &nr_dirty));
	cr_assert_eq(zone_nr_dirty(), 3 * 512, "locked, for one: known to be resident");
}

Test(nodes, of_a_node_without_memory)
{
	size_t nr_dirty;

	cr_assert_null(take(1, PAGES_NODE_MASK));
	cr_assert_null(zonelist_alloc(PAGES_NODE_MASK, 1, PAGEBLOCK_LARGE, &nr_dirty));
}

static unsigned nr_asked;

static void asked(void)
{
	cr_assert_not(lock_is_held(&thread_state.buddy->lock));
	nr_asked++;
}

Test(nodes, the_kernel_is_not_asked_under_a_lock)
{
	char *p = take(1, 0), *q;

	fake.node_asked = asked;
	q = take(512, 0);
	cr_assert_eq(nr_asked, 1);
	for (int i = 0; i < 100; i++)
		cr_assert_not_null(take(3, 0));
	cr_assert_eq(nr_asked, 1, "only where a block is taken");
	pages_free(q, 512);
	pages_free(p, 1);
}

Test(zonelist, nodes_are_read_late)
{
	size_t nr_dirty;

	fake.files = machine;
	fake.node = 3;
	for (int i = 0; i < NODES_FROM; i++) {
		cr_assert_eq(zone_alloc(1, PAGEBLOCK_LARGE, &nr_dirty)->region->zone, 0);
		cr_assert_eq(nodes_nr(), 1);
	}
	cr_assert_eq(zone_alloc(1, PAGEBLOCK_LARGE, &nr_dirty)->region->zone, zone_number(ZONE_NORMAL, 2));
	cr_assert_eq(nodes_nr(), 3);
}

/* A freed run is not kept for a thread, which would hand it to malloc. */
Test(zonelist, runs_go_home)
{
	char *p = take(1, 0), *low;

	low = run_alloc(16, 0, PAGES_DMA32, &zeroed);
	cr_assert_eq(zone_at(low), ZONE_DMA32);
	run_free(low, 16);
	cr_assert_eq(thread_state.buddy->hot.nr_runs, 0);
	cr_assert_eq(zone_at(run_alloc(16, 0, 0, &zeroed)), ZONE_NORMAL);
	pages_free(p, 1);
}

Test(zonelist, threads_share_no_zones_buddy)
{
	struct buddy *b;
	unsigned n = 0;

	cr_assert_not_null(take(1, PAGES_DMA32)); /* the first of all buddies */
	cr_assert_not_null(take(1, 0));
	cr_assert_not(thread_state.buddy->is_zones);
	thread_state.exit_hooked = THREAD_ENDED;
	thread_state.buddy = NULL;
	cr_assert_eq(zone_at(take(1, 0)), ZONE_NORMAL);
	for_each_buddy(b)
		n++;
	cr_assert_eq(n, 2);
}

/* In the child of a fork the other threads' buddies are orphans, a zone's is not. */
Test(zonelist, fork)
{
	char *low = take(1, PAGES_DMA32), *p = take(1, 0);
	struct buddy *mine = thread_state.buddy;

	thread_state.buddy = NULL;
	pages_fork_prepare();
	pages_fork_done(true);
	cr_assert_not_null(take(512, 0));
	cr_assert_eq(thread_state.buddy, mine);
	cr_assert_neq(take(1, PAGES_DMA32), NULL);
	pages_free(low, 1);
	pages_free(p, 1);
}

Test(zonelist, purged_as_others_are)
{
	char *low = take(256, PAGES_DMA32), *held = take(1, PAGES_DMA32);

	memset(low, 1, 256 * BSLAB_PAGE_SIZE);
	pages_free(low, 256);
	pages_purge();
	cr_assert_eq(take(256, PAGES_DMA32), low);
	cr_assert(zeroed && low[0] == 0 && low[100] == 0);
	cr_assert_not_null(held);
}

/* --- explicit huge pages ------------------------------------------------------------------------- */

/* But for the look into the pool before the zone was there. */
static size_t nr_backed(void)
{
	return fake.nr_calls[FAKE_BACK_HUGE] - 1;
}

Test(zonelist, a_huge_page_stands_behind_a_block_while_it_is_used)
{
	char *p = take(256, PAGES_HUGE), *q = take(256, PAGES_HUGE), *r;

	cr_assert_eq(zone_at(p), ZONE_HUGE);
	cr_assert(zeroed);
	cr_assert_eq(nr_backed(), 1);
	cr_assert_eq(map_pageblock((uintptr_t)q), map_pageblock((uintptr_t)p));
	cr_assert_eq(fake_page(p), FAKE_COMMITTED);
	cr_assert(map_pageblock((uintptr_t)p)->is_huge);
	r = take(1, PAGES_HUGE);
	cr_assert_eq(nr_backed(), 2);
	cr_assert_eq(fake_page(r + PAGEBLOCK_SIZE), FAKE_RESERVED, "the next one has none yet");
	memset(p, 1, 256 * BSLAB_PAGE_SIZE);
	pages_free(p, 256);
	pages_purge();
	cr_assert_eq(p[0], 1, "a part of a huge page is not given back");
	pages_free(q, 256);
	cr_assert_eq(take(512, PAGES_HUGE), p, "warm");
	cr_assert_not(zeroed);
	cr_assert_eq(nr_backed(), 2);
	pages_free(p, 512);
	cr_assert_gt(zone_purge(0), 0);
	cr_assert_eq(fake_page(p), FAKE_RESERVED, "the pool has it again");
	cr_assert_eq(take(512, PAGES_HUGE), p);
	cr_assert(zeroed);
	cr_assert_eq(nr_backed(), 3);
	cr_assert_eq(p[0], 0);
}

Test(zonelist, one_type_is_purged)
{
	char *p = take(512, PAGES_HUGE), *q = take(512, PAGES_DMA32);

	memset(p, 1, PAGEBLOCK_SIZE);
	memset(q, 1, PAGEBLOCK_SIZE);
	pages_free(p, 512);
	pages_free(q, 512);
	zone_purge_type(ZONE_HUGE);
	cr_assert_eq(fake_page(p), FAKE_RESERVED);
	cr_assert_eq(q[0], 1);
	cr_assert_eq(zone_nr_dirty(), 512);
}

/* What the kernel refuses of one zone is not in the way of the others. */
Test(zonelist, purged_past_a_refusal)
{
	char *p = take(512, 0), *h = take(512, PAGES_HUGE), *many;

	memset(p, 1, PAGEBLOCK_SIZE);
	memset(h, 1, PAGEBLOCK_SIZE);
	pages_free(p, 512);
	pages_free(h, 512);
	fake_fail_at(1u << FAKE_MAP, 1, true); /* os_seal(): no mapping more */
	cr_assert_eq(zone_purge(0), 512);
	cr_assert_eq(p[0], 0);
	cr_assert_eq(zone_nr_dirty(), 512);
	cr_assert_eq(zone_purge(0), 0);
	/* Nor do the watermarks count it. */
	zone_set_dirty_floor(3 * MIB);
	many = take(512, 0);
	memset(many, 1, PAGEBLOCK_SIZE);
	pages_free(many, 512);
	zone_balance();
	cr_assert_eq(zone_nr_dirty(), 1024, "2 MiB are kept");
	zone_set_dirty_floor(MIB);
	zone_balance();
	cr_assert_eq(zone_nr_dirty(), 512);
	fake_fail_at(0, 0, false);
	cr_assert_eq(zone_purge(0), 512);
}

Test(zonelist, no_addresses_without_a_pool)
{
	struct zone_info info;
	size_t nr_dirty;

	fake_fail_at(1u << FAKE_BACK_HUGE, 1, true);
	cr_assert_null(take(1, PAGES_HUGE));
	cr_assert_null(zonelist_alloc(PAGES_HUGE, 3, PAGEBLOCK_LARGE, &nr_dirty));
	zone_snapshot(&info);
	cr_assert_eq(info.nr_regions, 0);
	cr_assert_eq(fake_count(FAKE_COMMITTED), 0);
}

Test(zonelist, the_pool_is_empty)
{
	struct zone_info before, after;
	size_t nr_dirty;
	char *p;

	pages_free(take(1, PAGES_HUGE), 1);
	zone_purge(0);
	fake_fail_at(1u << FAKE_BACK_HUGE, 1, true);
	cr_assert_null(take(1, PAGES_HUGE));
	zone_snapshot(&before);
	cr_assert_null(take(1, PAGES_HUGE));
	cr_assert_null(zonelist_alloc(PAGES_HUGE, 3, PAGEBLOCK_LARGE, &nr_dirty));
	zone_snapshot(&after);
	cr_assert_eq(after.nr_used, before.nr_used);
	cr_assert_eq(after.nr_dirty_pages, 0);
	fake_fail_at(0, 0, false);
	p = take(1, PAGES_HUGE);
	cr_assert_not_null(p);
	cr_assert_not_null(zonelist_alloc(PAGES_HUGE, 3, PAGEBLOCK_LARGE, &nr_dirty));
	cr_assert_eq(nr_dirty, 0);
}

static enum fake_state block_is(struct pageblock *b)
{
	return fake_page((void *)pageblock_address(b));
}

/* Contiguous blocks of which some have a page: the others get one, or all go back. */
Test(zonelist, huge_blocks_of_both_kinds)
{
	size_t nr_dirty;
	struct pageblock *b = zonelist_alloc(PAGES_HUGE, 5, PAGEBLOCK_LARGE, &nr_dirty);
	struct zone_info before, after;

	memset((void *)pageblock_address(b), 1, 5 * PAGEBLOCK_SIZE);
	zone_free(b + 1, 1);
	zone_free(b + 3, 2);
	zone_purge(0);
	zone_free(b, 1);
	zone_free(b + 2, 1);
	zone_snapshot(&before);
	fake_fail_at(1u << FAKE_BACK_HUGE, 2, false);
	cr_assert_null(zonelist_alloc(PAGES_HUGE, 5, PAGEBLOCK_LARGE, &nr_dirty));
	zone_snapshot(&after);
	cr_assert_eq(after.nr_used, before.nr_used);
	cr_assert_eq(after.nr_dirty_pages, before.nr_dirty_pages);
	cr_assert_eq(block_is(b + 1), FAKE_RESERVED, "what it got goes back to the pool");
	cr_assert_eq(*(char *)pageblock_address(b), 1);
	cr_assert_eq(*(char *)pageblock_address(b + 2), 1);
	cr_assert_eq(zonelist_alloc(PAGES_HUGE, 5, PAGEBLOCK_LARGE, &nr_dirty), b);
	cr_assert_eq(nr_dirty, 2 * 512);
	cr_assert_eq(*(char *)pageblock_address(b + 2), 1);
	cr_assert_eq(*(char *)pageblock_address(b + 4), 0);
	zone_free(b, 5);
	fake_fail_at(1u << FAKE_MAP, 1, true); /* os_seal() */
	cr_assert_eq(zone_purge(0), 0);
	fake_fail_at(0, 0, false);
	cr_assert_eq(zonelist_alloc(PAGES_HUGE, 5, PAGEBLOCK_LARGE, &nr_dirty), b);
	cr_assert_eq(nr_dirty, 5 * 512);
}

/* A page that was put behind a block, and is not taken away again, is the zone's. */
Test(zonelist, huge_blocks_that_keep_their_page)
{
	size_t nr_dirty;
	struct pageblock *b = zonelist_alloc(PAGES_HUGE, 3, PAGEBLOCK_LARGE, &nr_dirty);

	zone_free(b, 1);
	zone_free(b + 2, 1);
	zone_purge(0);
	zone_free(b + 1, 1);
	fake_fail_at(1u << FAKE_BACK_HUGE | 1u << FAKE_MAP, 2, true);
	cr_assert_null(zonelist_alloc(PAGES_HUGE, 3, PAGEBLOCK_LARGE, &nr_dirty));
	cr_assert_eq(block_is(b), FAKE_COMMITTED);
	cr_assert_eq(zone_nr_dirty(), 2 * 512);
	fake_fail_at(0, 0, false);
	cr_assert_eq(zonelist_alloc(PAGES_HUGE, 2, PAGEBLOCK_LARGE, &nr_dirty), b);
	cr_assert_eq(nr_dirty, 2 * 512);
}

/* Another mapping may stand there by now. */
Test(zonelist, a_range_that_is_lost)
{
	size_t nr_dirty;
	struct pageblock *b = zonelist_alloc(PAGES_HUGE, 5, PAGEBLOCK_LARGE, &nr_dirty), *p;
	struct zone_info before, after;
	struct zone_rows rows;

	zone_free(b, 5);
	zone_purge(0);
	cr_assert_eq(zonelist_alloc(PAGES_HUGE, 1, PAGEBLOCK_LARGE, &nr_dirty), b);
	zone_free(b, 1);
	zone_snapshot(&before);
	fake_fail_at(1u << FAKE_LOSE_HUGE, 1, false);
	cr_assert_null(zonelist_alloc(PAGES_HUGE, 3, PAGEBLOCK_LARGE, &nr_dirty));
	zone_snapshot(&after);
	cr_assert_eq(after.nr_used, before.nr_used, "no limit counts what is lost");
	cr_assert_eq(after.nr_free, before.nr_free - 2);
	zone_rows_take(&rows);
	cr_assert_eq(rows.row[0].nr_committed, after.nr_committed);
	cr_assert_eq(block_is(b + 1), FAKE_FREE);
	cr_assert_eq((b + 1)->state, PAGEBLOCK_ISOLATE);
	zone_purge(0);
	while ((p = zonelist_alloc(PAGES_HUGE, 1, PAGEBLOCK_LARGE, &nr_dirty)) && p != b + 31)
		cr_assert(p != b + 1 && p != b + 2, "nobody gets it");
	cr_assert_eq(block_is(b + 1), FAKE_FREE);
}

Test(nodes, huge_pages_of_a_node)
{
	char *p = take(1, PAGES_HUGE | pages_node(2));
	size_t nr_prefers = fake.nr_prefers;

	cr_assert_eq(zone_at(p), zone_number(ZONE_HUGE, 2));
	fake.nr_elsewhere = 1;
	cr_assert_null(take(512, PAGES_HUGE | pages_node(2)), "not given back to be asked for again: the pool might have none then");
	cr_assert_gt(fake.nr_prefers, nr_prefers, "each new mapping is told");
	cr_assert_not_null(take(512, PAGES_HUGE | pages_node(2)));
}
