/* SPDX-License-Identifier: MIT */
#include "page/movable.h"

#include "os/bug.h"
#include "page/blocks.h"

bool movable_owns(const struct pageblock *blk)
{
	return atomic_load_explicit(&blk->owner, memory_order_relaxed) == &movable;
}

/* With the lock held; NULL, and no lock, when it is another's. */
static struct buddy *lock_movable(struct pageblock *blk)
{
	struct buddy *b = block_lock_owner(blk);

	if (b && b != &movable) {
		lock_drop(&b->lock, RANK_BUDDY);
		b = NULL;
	}
	return b;
}

bool movable_isolate(struct pageblock *blk)
{
	struct buddy *b = lock_movable(blk);

	if (!b)
		return false;
	bslab_assert(!blk->is_isolated);
	if (blk->nr_free)
		block_unlist(b, blk);
	WRITE_ONCE(blk->is_isolated, true);
	lock_drop(&b->lock, RANK_BUDDY);
	return true;
}

bool movable_putback(struct pageblock *blk)
{
	struct buddy *b = lock_movable(blk);
	bool was_isolated;

	if (!b)
		return false;
	was_isolated = blk->is_isolated;
	WRITE_ONCE(blk->is_isolated, false);
	if (was_isolated && blk->nr_free)
		block_list(b, blk);
	lock_drop(&b->lock, RANK_BUDDY);
	return was_isolated;
}

size_t movable_nr_pages(void)
{
	return (size_t)READ_ONCE(movable.nr_blocks) * PAGEBLOCK_PAGES;
}
