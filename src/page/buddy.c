/* SPDX-License-Identifier: MIT */
/* Counts; runs come back, grow, and are given back to the kernel. alloc.c hands them out. */
#include "page/buddy.h"

#include "base/probe.h"
#include "map/map.h"
#include "os/os.h"
#include "os/thread.h"
#include "page/blocks.h"
#include "page/buddies.h"
#include "page/compactable.h"
#include "page/purge.h"

/* --- counts ----------------------------------------------------------------- */

void pages_count_free(size_t *nr_free, size_t *nr_dirty_free)
{
	struct buddy *b;

	*nr_free = *nr_dirty_free = 0;
	for_each_buddy(b) {
		*nr_free += READ_ONCE(b->nr_free);
		*nr_dirty_free += READ_ONCE(b->nr_dirty_free);
	}
}

void pages_count_used(size_t *nr_used, size_t *nr_dirty_free)
{
	size_t nr_pages = 0, nr_free;
	struct buddy *b;

	for_each_buddy(b)
		nr_pages += READ_ONCE(b->nr_blocks) * PAGEBLOCK_PAGES;
	pages_count_free(&nr_free, nr_dirty_free);
	*nr_used = nr_pages - min_size(nr_pages, nr_free);
}

static void note_partial_free(void)
{
	size_t nr_free, nr_dirty_free;

	pages_count_free(&nr_free, &nr_dirty_free);
	zone_note_partial_free(nr_free);
}

/*
 * All pass their watermarks together, when what was learned is forgotten, and one call does not pay for all of them: the next
 * window's goes on behind.
 */
static void balance_some(uint64_t now)
{
	static struct buddy *next; /* a hint */
	struct buddy *first = READ_ONCE(next), *b;
	unsigned nr_blocks = 0;

	b = first = first ? first : buddy_first();
	if (!b) /* large blocks only */
		return;
	do {
		nr_blocks += purge_rested(b, now);
		b = buddy_behind(b);
	} while (nr_blocks < MAX_AUTO_BLOCKS && b != first);
	WRITE_ONCE(next, b);
}

void pages_rest(uint64_t now)
{
	struct buddy *b;

	for_each_buddy(b)
		purge_rested(b, now);
}

void pages_tick_slow(void)
{
	struct buddy *b;
	size_t n = 0, nr_spare = 0, nr_pages;

	if (!zone_window_is_over())
		return;
	for_each_buddy(b) {
		lock_take(&b->lock, RANK_BUDDY);
		n += b->nr_recycled;
		b->nr_recycled = 0;
		nr_pages = (size_t)b->nr_blocks << PAGEBLOCK_ORDER;
		nr_spare += nr_pages - min_size(nr_pages, b->nr_peak);
		WRITE_ONCE(b->nr_peak_before, b->nr_peak);
		WRITE_ONCE(b->nr_peak, buddy_in_use(b));
		b->retry_at = min_size(b->retry_at, 2 * b->nr_dirty_free);
		lock_drop(&b->lock, RANK_BUDDY);
	}
	note_partial_free();
	zone_next_window(n, nr_spare);
	balance_some(os_coarse_clock_ms());
}

/* --- free ------------------------------------------------------------------ */

static unsigned page_index(const void *addr)
{
	return (unsigned)((uintptr_t)addr >> PAGE_SHIFT) % PAGEBLOCK_PAGES;
}

static void free_pages(void *addr, unsigned nr_pages, bool dirty)
{
	struct pageblock *blk = map_pageblock((uintptr_t)addr);
	struct buddy *b = block_lock_owner(blk);
	bool over, whole;

	if (!dirty)
		pageblock_set_dirty(blk, page_index(addr), nr_pages, false);
	whole = block_free_pages(b, blk, page_index(addr), nr_pages);
	over = !b->is_purging && b->nr_dirty_free > purge_high_pages(b) && b->nr_dirty_free >= b->retry_at;
	b->count.nr_frees++;
	b->count.nr_free_pages += nr_pages;
	if (b != thread_state.buddy && b != &compactable) {
		b->count.nr_remote_frees++;
		PROBE(run_free_remote, addr, nr_pages, b);
	}
	lock_drop(&b->lock, RANK_BUDDY);
	if (whole) {
		zone_free(blk, 1);
		note_partial_free();
		zone_balance();
	}
	pages_tick();
	if (unlikely(over))
		purge_balance(b);
}

void pages_free(void *addr, unsigned nr_pages)
{
	free_pages(addr, nr_pages, true);
}

void pages_free_clean(void *addr, unsigned nr_pages)
{
	free_pages(addr, nr_pages, false);
}

bool pages_extend(void *addr, unsigned nr_pages, unsigned nr_more, bool *zeroed)
{
	struct pageblock *blk = map_pageblock((uintptr_t)addr);
	struct buddy *b = block_lock_owner(blk);
	unsigned nr_dirty = 0;
	bool ok = blk->nr_free >= nr_more && pageblock_extend(blk, page_index(addr) + nr_pages, nr_more, &nr_dirty);

	if (ok) {
		block_relist(b, blk, true);
		buddy_count_free(b, -(int)nr_more, -(int)nr_dirty);
		buddy_note_peak(b);
		b->nr_recycled += nr_dirty - block_use(blk, nr_dirty);
		b->count.nr_extends++;
		b->count.nr_alloc_pages += nr_more;
		b->count.nr_fresh_pages += nr_more - nr_dirty;
		block_count_pieces(b, blk);
		*zeroed = nr_dirty == 0;
	}
	lock_drop(&b->lock, RANK_BUDDY);
	zone_note_fresh(ok ? nr_more - nr_dirty : 0);
	return ok;
}

/* --- giving pages back ---------------------------------------------------- */

size_t pages_purge(void)
{
	uint64_t before = pages_nr_given_back();
	struct buddy *b;

	for_each_buddy(b)
		purge_all(b);
	return (size_t)(pages_nr_given_back() - before);
}

uint64_t pages_nr_given_back(void)
{
	struct buddy *b;
	uint64_t n = 0;

	for_each_buddy(b)
		n += READ_ONCE(b->count.nr_purged_pages);
	return n;
}

/* --- the reserve ------------------------------------------------------------ */

unsigned pages_reserve_highatomic(unsigned nr_blocks)
{
	unsigned i;

	for (i = 0; i < nr_blocks; i++) {
		size_t nr_dirty;
		struct pageblock *blk = zone_alloc(1, PAGEBLOCK_BUDDY, &nr_dirty);

		if (!blk)
			break;
		if (os_populate((void *)pageblock_address(blk), PAGEBLOCK_SIZE) != 0) {
			zone_free(blk, 1);
			break;
		}
		lock_take(&highatomic.lock, RANK_BUDDY);
		block_enter(&highatomic, blk, MIGRATE_HIGHATOMIC);
		lock_drop(&highatomic.lock, RANK_BUDDY);
	}
	return highatomic.nr_blocks;
}
