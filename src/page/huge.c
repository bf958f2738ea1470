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
#define MIN_SKIP 8u
#define MAX_SKIP 1024u

static struct {
	uint32_t nr_skip, next_skip; /* hints: threads may miss each other's */
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

/* Cheap first: most processes stay below. */
static bool is_worth_it(struct buddy *b, enum migratetype type)
{
	size_t nr_in_use = zone_in_use() >> PAGE_SHIFT, nr_free, nr_dirty;

	if (type != MIGRATE_UNMOVABLE || !bslab_options.huge || nr_in_use < (HUGE_SHARE + 1) * PAGEBLOCK_PAGES)
		return false;
	pages_count_free(&nr_free, &nr_dirty);
	nr_in_use -= PAGEBLOCK_PAGES; /* without this one */
	return (nr_dirty + zone_nr_dirty() + PAGEBLOCK_PAGES) * HUGE_SHARE <= nr_in_use && fits_watermark(b) &&
	       limit_allows(PAGEBLOCK_PAGES);
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

void huge_populate(struct buddy *b, struct pageblock *blk, enum migratetype type)
{
	uint64_t began;
	size_t size;
	bool got;

	if (likely(!is_worth_it(b, type)) || !may_try())
		return;
	began = os_clock_us();
	size = os_populate_huge((void *)pageblock_address(blk), PAGEBLOCK_SIZE);
	got = size == PAGEBLOCK_SIZE;
	zone_note_huge(got);
	blk->is_huge = got;
	blk->nr_unused = (uint16_t)(size >> PAGE_SHIFT);
	pageblock_set_dirty(blk, 0, blk->nr_unused, true);
	PROBE(huge_alloc, pageblock_address(blk), PAGEBLOCK_SIZE, got);
	if (got && os_clock_us() - began < MAX_COST_US)
		WRITE_ONCE(huge.next_skip, 0);
	else
		note_cost();
}
