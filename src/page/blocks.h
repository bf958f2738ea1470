/* SPDX-License-Identifier: MIT */
/*
 * The pageblocks of a buddy: its lists, and the ways into a buddy and out of it.
 * For the page floor alone; page/buddy.h says what buddies are.
 *
 * With the buddy's lock held, unless it is said otherwise.
 */
#ifndef BSLAB_BLOCKS_H
#define BSLAB_BLOCKS_H

#include "page/buddy.h"

extern struct buddies threads reader_root(buddies);
extern struct buddy highatomic reader_root(highatomic); /* owns the reserve */
extern struct buddy compactable; /* page/compactable.h */

/* Pieces of at least this order may be found on the list; those of the last on any. */
static inline unsigned purge_list_order(unsigned list)
{
	return 2 * (NR_PURGE_LISTS - 1 - list);
}

void block_list(struct buddy *b, struct pageblock *blk);
void block_unlist(struct buddy *b, struct pageblock *blk);
/* Call after free pages changed; was_listed: it had free pages before. */
void block_relist(struct buddy *b, struct pageblock *blk, bool was_listed);

/* Free pages come or, below 0, go. Their numbers are also read without the lock, as hints. */
static inline void buddy_count_free(struct buddy *b, int nr_pages, int nr_dirty)
{
	WRITE_ONCE(b->nr_free, b->nr_free + (size_t)nr_pages);
	WRITE_ONCE(b->nr_dirty_free, b->nr_dirty_free + (size_t)nr_dirty);
}

/* Pages in use; a hint without the lock. */
static inline size_t buddy_in_use(const struct buddy *b)
{
	size_t nr_pages = (size_t)READ_ONCE(b->nr_blocks) << PAGEBLOCK_ORDER;

	return nr_pages - min_size(nr_pages, READ_ONCE(b->nr_free));
}

/* Behind each time that pages are taken. */
static inline void buddy_note_peak(struct buddy *b)
{
	size_t n = buddy_in_use(b);

	if (n > b->nr_peak)
		WRITE_ONCE(b->nr_peak, n);
}

/* Of so many dirty pages that are handed out: how many are used for the first time. */
static inline unsigned block_use(struct pageblock *blk, unsigned nr_dirty)
{
	unsigned n = blk->nr_unused < nr_dirty ? blk->nr_unused : nr_dirty;

	blk->nr_unused -= (uint16_t)n;
	return n;
}

void block_set_owner(struct pageblock *blk, struct buddy *b);
/* A block of the zone, all free, comes in; one that came free leaves. */
void block_enter(struct buddy *b, struct pageblock *blk, enum migratetype type);
void block_leave(struct buddy *b, struct pageblock *blk);
/* The block's own count of pieces, of this call only, becomes the buddy's. */
void block_count_pieces(struct buddy *b, struct pageblock *blk);

/* Takes the lock of the block's owner, and returns the owner; NULL, and no lock, when there is none. */
struct buddy *block_lock_owner(struct pageblock *blk);
/* Of the block's owner. True when the whole block came free and has left the buddy: the caller gives it to the zone. */
bool block_free_pages(struct buddy *b, struct pageblock *blk, unsigned index, unsigned nr_pages);

#endif
