/* SPDX-License-Identifier: MIT */
#include "page/compactable.h"

#include "os/bug.h"
#include "page/blocks.h"

bool compactable_owns(const struct pageblock *blk)
{
	return atomic_load_explicit(&blk->owner, memory_order_relaxed) == &compactable;
}

/* With the lock held; NULL, and no lock, when it is another's. */
static struct buddy *lock_compactable(struct pageblock *blk)
{
	struct buddy *b = block_lock_owner(blk);

	if (b && b != &compactable) {
		lock_drop(&b->lock, RANK_BUDDY);
		b = NULL;
	}
	return b;
}

bool compactable_isolate(struct pageblock *blk)
{
	struct buddy *b = lock_compactable(blk);

	if (!b)
		return false;
	bslab_assert(!blk->is_isolated);
	if (blk->nr_free)
		block_unlist(b, blk);
	WRITE_ONCE(blk->is_isolated, true);
	lock_drop(&b->lock, RANK_BUDDY);
	return true;
}

bool compactable_putback(struct pageblock *blk)
{
	struct buddy *b = lock_compactable(blk);
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

size_t compactable_nr_pages(void)
{
	return (size_t)READ_ONCE(compactable.nr_blocks) * PAGEBLOCK_PAGES;
}
