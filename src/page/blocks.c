/* SPDX-License-Identifier: MIT */
#include "page/blocks.h"

#include "base/probe.h"
#include "os/bug.h"
#include "os/options.h"

struct buddies threads reader_root(buddies);
struct buddy highatomic reader_root(highatomic); /* owns the reserve */
struct buddy compactable; /* owns what can be moved by us */

/* --- lists of one buddy, under its lock ----------------------------------- */

/* 0: it is on none. */
static unsigned purge_list_of(const struct pageblock *blk)
{
	unsigned list = 0;

	if (!blk->nr_dirty_free)
		return 0;
	bslab_assert(blk->dirty_orders);
	while (list < NR_PURGE_LISTS - 1 && blk->dirty_orders <= purge_list_order(list))
		list++;
	return list + 1;
}

static void purge_list(struct buddy *b, struct pageblock *blk)
{
	blk->listed_purge = (uint8_t)purge_list_of(blk);
	if (blk->listed_purge)
		hlist_add(&b->purgeable[blk->listed_purge - 1][blk->listed_fullness], &blk->purge_node);
}

static void purge_unlist(struct pageblock *blk)
{
	if (blk->listed_purge)
		hlist_del(&blk->purge_node);
}

/* In eighths; not told apart where the option says so. */
static unsigned fullness_of(const struct pageblock *blk)
{
	return likely(bslab_options.grouping) ? blk->nr_free / (PAGEBLOCK_PAGES / 8) : 0;
}

void block_list(struct buddy *b, struct pageblock *blk)
{
	unsigned order = pageblock_max_order(blk), fullness = fullness_of(blk);

	if (unlikely(blk->is_isolated))
		return;
	blk->listed_order = (uint8_t)order;
	blk->listed_fullness = (uint8_t)fullness;
	hlist_add(&b->area[blk->migratetype][fullness][order], &blk->node);
	purge_list(b, blk);
	b->orders[blk->migratetype][fullness] |= (uint16_t)(1u << order);
}

void block_unlist(struct buddy *b, struct pageblock *blk)
{
	unsigned type = blk->migratetype, fullness = blk->listed_fullness, order = blk->listed_order;

	if (unlikely(blk->is_isolated))
		return;
	hlist_del(&blk->node);
	purge_unlist(blk);
	if (!b->area[type][fullness][order].first)
		b->orders[type][fullness] &= (uint16_t) ~(1u << order);
}

void block_relist(struct buddy *b, struct pageblock *blk, bool was_listed)
{
	if (was_listed) {
		if (blk->nr_free && blk->listed_order == pageblock_max_order(blk) &&
		    blk->listed_fullness == fullness_of(blk)) {
			if (blk->listed_purge != purge_list_of(blk) && !blk->is_isolated) {
				purge_unlist(blk);
				purge_list(b, blk);
			}
			return;
		}
		block_unlist(b, blk);
	}
	if (blk->nr_free)
		block_list(b, blk);
}

void block_set_owner(struct pageblock *blk, struct buddy *b)
{
	atomic_store_explicit(&blk->owner, b, memory_order_release);
}

void block_enter(struct buddy *b, struct pageblock *blk, enum migratetype type)
{
	PROBE(pageblock_in, pageblock_address(blk), type, b);
	pageblock_init_free(blk);
	blk->migratetype = (uint8_t)type;
	blk->users = 0;
	WRITE_ONCE(blk->compact_round, 0);
	block_set_owner(blk, b);
	block_list(b, blk);
	WRITE_ONCE(b->nr_blocks, b->nr_blocks + 1);
	buddy_count_free(b, blk->nr_free, blk->nr_dirty_free);
	b->count.nr_blocks_in++;
}

void block_leave(struct buddy *b, struct pageblock *blk)
{
	PROBE(pageblock_out, pageblock_address(blk), blk->migratetype, b);
	block_unlist(b, blk);
	WRITE_ONCE(blk->is_isolated, false);
	WRITE_ONCE(b->nr_blocks, b->nr_blocks - 1);
	blk->nr_unused = 0;
	buddy_count_free(b, -blk->nr_free, -blk->nr_dirty_free);
	pageblock_fini_free(blk);
	block_set_owner(blk, NULL);
	b->count.nr_blocks_out++;
}

void block_count_pieces(struct buddy *b, struct pageblock *blk)
{
	b->count.nr_splits += blk->nr_splits;
	b->count.nr_merges += blk->nr_merges;
	blk->nr_splits = blk->nr_merges = 0;
}

/* --- by any thread ---------------------------------------------------------- */

/* The owner may change until its lock is held: another thread adopts, a block comes and goes. NULL where there is none. */
struct buddy *block_lock_owner(struct pageblock *blk)
{
	for (;;) {
		struct buddy *b = atomic_load_explicit(&blk->owner, memory_order_acquire);

		if (unlikely(!b))
			return NULL;
		lock_take(&b->lock, RANK_BUDDY);
		if (likely(atomic_load_explicit(&blk->owner, memory_order_relaxed) == b))
			return b;
		lock_drop(&b->lock, RANK_BUDDY);
	}
}

bool block_free_pages(struct buddy *b, struct pageblock *blk, unsigned index, unsigned nr_pages)
{
	bool was_listed = blk->nr_free != 0;
	int nr_dirty = blk->nr_dirty_free;

	pageblock_free(blk, index, nr_pages);
	bslab_assert(pageblock_is_valid(blk));
	buddy_count_free(b, (int)nr_pages, blk->nr_dirty_free - nr_dirty);
	block_count_pieces(b, blk);
	block_relist(b, blk, was_listed);
	if (blk->nr_free < PAGEBLOCK_PAGES)
		return false;
	blk->users = 0;
	if (b == &highatomic)
		return false;
	block_leave(b, blk);
	return true;
}
