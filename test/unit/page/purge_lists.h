/* SPDX-License-Identifier: MIT */
/* Every pageblock stands in the purge list where it belongs, those that are isolated in none. */
#ifndef UNIT_PURGE_LISTS_H
#define UNIT_PURGE_LISTS_H

#include <criterion/criterion.h>

#include "page/blocks.h"
#include "page/every_block.h"

static inline void count_purgeable(struct pageblock *b, void *arg)
{
	size_t *nr = arg;
	unsigned list = b->listed_purge;

	if (b->state != PAGEBLOCK_BUDDY || !b->nr_free || b->is_isolated)
		return;
	cr_assert_eq(!list, !b->nr_dirty_free);
	cr_assert(!list || b->dirty_orders > purge_list_order(list - 1));
	cr_assert(list < 2 || b->dirty_orders <= purge_list_order(list - 2));
	*nr += list != 0;
}

static inline size_t nr_in_purge_lists(const struct buddy *b)
{
	size_t n = 0;

	for (unsigned list = 0; list < NR_PURGE_LISTS; list++)
		for (unsigned f = 0; f < NR_FULLNESS; f++)
			for (const struct hlist_node *node = b->purgeable[list][f].first; node; node = node->next) {
				const struct pageblock *blk = container_of(node, struct pageblock, purge_node);

				cr_assert_eq(blk->listed_purge, list + 1);
				cr_assert_eq(blk->listed_fullness, f);
				cr_assert_eq(atomic_load(&blk->owner), b);
				cr_assert_not(blk->is_isolated);
				n++;
			}
	return n;
}

static inline void check_purge_lists(void)
{
	size_t nr = 0, nr_listed = nr_in_purge_lists(&highatomic);
	struct buddy *b;

	for_each_block(count_purgeable, &nr);
	for_each_buddy(b)
		nr_listed += nr_in_purge_lists(b);
	cr_assert_eq(nr_listed, nr);
}

#endif
