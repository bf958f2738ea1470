/* SPDX-License-Identifier: MIT */
#include "page/purge.h"

#include <limits.h>

#include "base/probe.h"
#include "map/map.h"
#include "os/os.h"
#include "page/blocks.h"
#include "page/buddies.h"
#include "page/purging.h"
#include "page/zone.h"

/* Free page blocks isolated together for one round of purging. */
#define PURGE_BATCH 32
/* From so many pageblocks: all in one stretch under the lock. */
#define PURGE_BLOCKS 4
/*
 * 64 KiB, the largest page of a machine: below that a system call costs more than the pages are worth, unless far too
 * many are dirty, or they are asked for.
 */
#define MIN_AUTO_PURGE_ORDER 4

struct isolated {
	struct pageblock *blk;
	unsigned index, order;
	bool is_huge; /* the block was, before any of its pieces is given back */
	bool is_refused;
};

/*
 * Each purge has a number, by which it knows the blocks of which a piece was refused, to it or a later one: it does not look at
 * them again. So purges by several threads end.
 */
static _Atomic uint32_t nr_purges; /* relaxed */

static bool was_refused(const struct pageblock *blk, uint32_t purge)
{
	return unlikely(blk->refused_purge) && (int32_t)(blk->refused_purge - purge) >= 0;
}

/* Free page blocks below this order are smaller than a page of the machine. */
static unsigned min_purge_order(void)
{
	return ilog2(os_page_size() >> PAGE_SHIFT);
}

/* Takes up to max dirty free page blocks from min_order on of one pageblock out of the lists. */
static unsigned isolate_block(struct buddy *b, struct pageblock *blk, struct isolated *out, unsigned max, unsigned min_order)
{
	unsigned n = 0, order, link, next;

	buddy_count_free(b, -blk->nr_free, -blk->nr_dirty_free);
	for (order = NR_ORDERS; order-- > min_order;)
		for (link = blk->head[order]; link && n < max; link = next) {
			next = pageblock_next_free(blk, link);
			if (!pageblock_nr_dirty(blk, link - 1, 1u << order))
				continue;
			pageblock_isolate(blk, link - 1, order);
			out[n++] = (struct isolated){blk, link - 1, order, blk->is_huge, false};
		}
	buddy_count_free(b, blk->nr_free, blk->nr_dirty_free);
	if (n)
		block_relist(b, blk, true);
	return n;
}

/*
 * A block with dirty pieces of at least min_order; of those on one list the emptiest first: their pages come back in the
 * largest pieces. A block that stands where it no longer belongs, since its pieces were taken, moves to the list where it
 * does: each once for what was freed there (where pages are of 8 or 32 KiB, whose orders no list begins at, each time).
 */
static struct pageblock *find_dirty_block(struct buddy *b, unsigned min_order, uint32_t purge)
{
	struct hlist_node *n, *next;
	unsigned list, f;

	for (list = 0; list < NR_PURGE_LISTS && (!list || purge_list_order(list - 1) > min_order); list++)
		for (f = NR_FULLNESS; f-- > 0;)
			for (n = b->purgeable[list][f].first; n; n = next) {
				struct pageblock *blk = container_of(n, struct pageblock, purge_node);

				next = n->next;
				if (was_refused(blk, purge))
					continue;
				if (pageblock_has_dirty(blk, min_order))
					return blk;
				block_relist(b, blk, true);
			}
	return NULL;
}

/* As far as the nr_keep pages allow: one system call gives them all back. Counts the pageblocks that it looked for. */
static unsigned isolate_batch(struct buddy *b, struct isolated *out, size_t nr_keep, unsigned min_order, uint32_t purge, unsigned *nr_blocks)
{
	struct pageblock *blk;
	unsigned n = 0, i;

	lock_take(&b->lock, RANK_BUDDY);
	for (i = 0; i < PURGE_BLOCKS && n < PURGE_BATCH && b->nr_dirty_free > nr_keep; i++) {
		blk = find_dirty_block(b, min_order, purge);
		if (!blk)
			break;
		n += isolate_block(b, blk, out + n, PURGE_BATCH - n, min_order);
	}
	lock_drop(&b->lock, RANK_BUDDY);
	*nr_blocks += i;
	return n;
}

static struct os_range range_of(const struct isolated *i)
{
	return (struct os_range){(void *)(pageblock_address(i->blk) + ((uintptr_t)i->index << PAGE_SHIFT)), BSLAB_PAGE_SIZE << i->order};
}

static void purge_batch(struct isolated *batch, unsigned n)
{
	struct os_range ranges[PURGE_BATCH];
	unsigned i;

	for (i = 0; i < n; i++) {
		ranges[i] = range_of(&batch[i]);
		if (batch[i].is_huge)
			os_split_huge(ranges[i].addr, ranges[i].size);
	}
	for (i = 0; i < n; i++) { /* behind the one that was refused */
		i += os_purge_ranges(ranges + i, n - i);
		if (i < n)
			batch[i].is_refused = true;
	}
}

/* Gives it back to its owner, who may have changed meanwhile. */
static void give_back(const struct isolated *i, uint32_t purge)
{
	struct buddy *b = block_lock_owner(i->blk);
	bool whole;

	PROBE(purge, pageblock_address(i->blk) + ((uintptr_t)i->index << PAGE_SHIFT), BSLAB_PAGE_SIZE << i->order, !i->is_refused);
	b->count.nr_purge_calls++;
	b->count.nr_purge_failures += i->is_refused;
	if (i->is_refused && !was_refused(i->blk, purge))
		i->blk->refused_purge = purge;
	if (!i->is_refused)
		pageblock_set_dirty(i->blk, i->index, 1u << i->order, false);
	whole = block_free_pages(b, i->blk, i->index, 1u << i->order);
	if (i->blk->nr_unused > i->blk->nr_dirty_free)
		i->blk->nr_unused = i->blk->nr_dirty_free;
	lock_drop(&b->lock, RANK_BUDDY);
	if (whole)
		zone_free(i->blk, 1);
}

static void purge_ended(struct buddy *b, size_t nr_keep, unsigned min_order, bool refused, bool cut_short)
{
	lock_take(&b->lock, RANK_BUDDY);
	b->is_purging = false;
	b->purge_order = cut_short ? (uint8_t)min_order : NR_ORDERS;
	b->retry_order = (uint8_t)min_order;
	if (refused) /* locked memory, for one */
		b->retry_at = 2 * b->nr_dirty_free;
	else if (!cut_short && b->nr_dirty_free > nr_keep)
		b->retry_at = b->nr_dirty_free + b->nr_dirty_free / 8;
	else
		b->retry_at = 0;
	lock_drop(&b->lock, RANK_BUDDY);
}

/* Not 0, which a block has that was never refused. */
static uint32_t purge_number(void)
{
	uint32_t n = atomic_fetch_add_explicit(&nr_purges, 1, memory_order_relaxed) + 1;

	return n ? n : 1;
}

/* Down to nr_keep dirty pages, in pieces of at least min_order; how many pageblocks it looked for. */
static unsigned purge_buddy(struct buddy *b, size_t nr_keep, unsigned min_order, unsigned max_blocks)
{
	uint32_t purge = purge_number();
	size_t nr_purged = 0, nr_refused = 0;
	struct isolated batch[PURGE_BATCH];
	unsigned nr_blocks = 0, n = 1, i;
	bool stopped = false;

	while (n && nr_blocks < max_blocks && !(stopped = !purging_begin())) {
		n = isolate_batch(b, batch, nr_keep, min_order, purge, &nr_blocks);
		purge_batch(batch, n);
		for (i = 0; i < n; i++) {
			give_back(&batch[i], purge);
			*(batch[i].is_refused ? &nr_refused : &nr_purged) += 1u << batch[i].order;
		}
		purging_end();
	}
	purge_ended(b, nr_keep, min_order, nr_refused > nr_purged, stopped || nr_blocks >= max_blocks);
	__atomic_fetch_add(&b->count.nr_purged_pages, nr_purged, __ATOMIC_RELAXED);
	zone_note_unmapped(nr_purged);
	return nr_blocks;
}

size_t purge_high_pages(const struct buddy *b)
{
	return zone_high_partial_pages(buddy_in_use(b), max_size(READ_ONCE(b->nr_peak), READ_ONCE(b->nr_peak_before)));
}

/*
 * Where the watermark is passed by far, memory is in pieces, between the last objects of many slabs. So it is, too, where hardly
 * anything of the blocks is in use: what is left of a heap.
 */
static unsigned auto_purge_order(const struct buddy *b, size_t high)
{
	size_t nr_pages = (size_t)b->nr_blocks << PAGEBLOCK_ORDER, nr_dirty = b->nr_dirty_free * (buddy_in_use(b) < nr_pages / 8 ? 2 : 1);
	unsigned order = nr_dirty <= 2 * high ? MIN_AUTO_PURGE_ORDER : nr_dirty <= 4 * high ? MIN_AUTO_PURGE_ORDER / 2 : 0;

	return order > min_purge_order() ? order : min_purge_order();
}

/* A huge page goes whole, and by the zone; the reserve is there to be resident. */
static bool keeps_pages(const struct buddy *b)
{
	return b == &highatomic || (b->is_zones && zone_type_of(b->zone) == ZONE_HUGE);
}

static unsigned balance(struct buddy *b, size_t high)
{
	unsigned order;
	bool purge;

	if (unlikely(keeps_pages(b)))
		return 0;
	lock_take(&b->lock, RANK_BUDDY);
	order = auto_purge_order(b, high);
	if (order > b->purge_order)
		order = b->purge_order;
	purge = !b->is_purging && b->nr_dirty_free > high &&
		(b->nr_dirty_free >= b->retry_at || order < b->retry_order);
	if (purge)
		b->is_purging = true;
	lock_drop(&b->lock, RANK_BUDDY);
	return purge ? purge_buddy(b, high / 2, order, MAX_AUTO_BLOCKS) : 0;
}

void purge_balance(struct buddy *b)
{
	balance(b, purge_high_pages(b));
}

#define REST_MS 1000
/* The default: who sets a higher one wants to keep it. */
#define MAX_RESTED_FLOOR MIB

/* No page came or went since a look REST_MS before `now`. */
static bool rests(struct buddy *b, uint64_t now)
{
	uint64_t nr_calls, seen_at_ms;

	lock_take(&b->lock, RANK_BUDDY);
	nr_calls = b->count.nr_allocs + b->count.nr_frees + b->count.nr_extends;
	if (nr_calls != b->seen_calls) {
		b->seen_calls = nr_calls;
		b->seen_at_ms = now;
	}
	seen_at_ms = b->seen_at_ms;
	lock_drop(&b->lock, RANK_BUDDY);
	return ms_since(seen_at_ms, now) > REST_MS;
}

unsigned purge_rested(struct buddy *b, uint64_t now)
{
	bool has_floor = buddy_is_apart(b) || zone_dirty_floor() > MAX_RESTED_FLOOR || (!rests(b, now) && READ_ONCE(b->nr_users));

	return balance(b, has_floor ? purge_high_pages(b) : zone_share_of_partial(buddy_in_use(b)));
}

void purge_all(struct buddy *b)
{
	if (!keeps_pages(b))
		purge_buddy(b, 0, min_purge_order(), UINT_MAX);
}
