/* SPDX-License-Identifier: MIT */
#include "page/huge.h"

#include "base/probe.h"
#include "os/options.h"
#include "os/os.h"
#include "page/limit.h"
#include "page/purge.h"
#include "page/zone.h"

/*
 * Where one takes longer than small pages would, a virtual machine's host has none at hand, or the kernel has to look for
 * it: so many pageblocks go without, twice as many the next time, for it stays so for a while.
 */
#define MAX_COST_US 1000
/* Of one huge page, in faults of small ones: for the watermarks, which learn from refaults. */
#define FAULT_COST (PAGEBLOCK_PAGES / 4)
#define MIN_SKIP 64u
#define MAX_SKIP 1024u

static struct {
	uint32_t nr_skip, next_skip; /* hints: threads may miss each other's */
	size_t nr_in_flight;
} huge;

/* Its unused pages would be given back at once where the buddy has little else. */
static bool fits_watermark(struct buddy *b)
{
	bool fits;

	lock_take(&b->lock, RANK_BUDDY);
	fits = b->nr_dirty_free + PAGEBLOCK_PAGES <= purge_high_pages(b);
	lock_drop(&b->lock, RANK_BUDDY);
	return fits;
}

/* Cheap first: most processes stay below. Blocks that other threads populate now are in no buddy yet. */
static bool is_worth_it(struct buddy *b, enum migratetype type)
{
	size_t nr_used, nr_dirty;

	if (type != MIGRATE_UNMOVABLE || !bslab_options.huge || zone_nr_used() <= HUGE_SHARE)
		return false;
	pages_count_used(&nr_used, &nr_dirty);
	nr_dirty += zone_nr_dirty() + (READ_ONCE(huge.nr_in_flight) + 1) * PAGEBLOCK_PAGES;
	return nr_dirty * HUGE_SHARE <= nr_used && fits_watermark(b) && limit_is_far();
}

static bool may_try(void)
{
	uint32_t n = READ_ONCE(huge.nr_skip);

	if (n)
		WRITE_ONCE(huge.nr_skip, n - 1);
	return n == 0;
}

static void note_cost(void)
{
	uint32_t n = READ_ONCE(huge.next_skip);

	n = n ? n : MIN_SKIP;
	WRITE_ONCE(huge.nr_skip, n);
	WRITE_ONCE(huge.next_skip, 2 * n < MAX_SKIP ? 2 * n : MAX_SKIP);
}

void huge_fork_child(void)
{
	__atomic_store_n(&huge.nr_in_flight, 0, __ATOMIC_RELAXED);
}

void huge_populate(struct buddy *b, struct pageblock *blk, enum migratetype type)
{
	uint64_t began;
	bool got;

	if (likely(!is_worth_it(b, type)) || !may_try())
		return;
	__atomic_fetch_add(&huge.nr_in_flight, 1, __ATOMIC_RELAXED);
	began = os_clock_us();
	got = os_populate_huge((void *)pageblock_address(blk), PAGEBLOCK_SIZE);
	if (got && os_clock_us() - began < MAX_COST_US)
		WRITE_ONCE(huge.next_skip, 0);
	else
		note_cost();
	if (got) {
		blk->is_huge = true;
		blk->nr_unused = PAGEBLOCK_PAGES;
		pageblock_set_dirty(blk, 0, PAGEBLOCK_PAGES, true);
	}
	PROBE(huge_alloc, pageblock_address(blk), PAGEBLOCK_SIZE, got);
	zone_note_huge(got);
	zone_note_fresh(got ? FAULT_COST : 0);
	__atomic_fetch_sub(&huge.nr_in_flight, 1, __ATOMIC_RELAXED);
}
