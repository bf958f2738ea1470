/* SPDX-License-Identifier: MIT */
/* What buddies have, for reports. */
#include "page/blocks.h"
#include "page/zone.h"
#include "page/zonelist.h"

static void snapshot_counters(struct buddy *b, struct pages_info *info)
{
	const uint64_t *from = (const uint64_t *)&b->count;
	uint64_t *to = (uint64_t *)&info->count;
	size_t i;

	lock_take(&b->lock, RANK_BUDDY);
	info->nr_hot += READ_ONCE(b->hot.nr_pages);
	for (i = 0; i < sizeof b->count / sizeof *from; i++)
		to[i] += READ_ONCE(from[i]); /* one of them is counted without the lock */
	lock_drop(&b->lock, RANK_BUDDY);
}

/* Under the owner's lock: at most a pageblock's free pieces are walked. */
static void snapshot_block(const struct pageblock *blk, struct zone_row *row, struct pages_info *info)
{
	unsigned t = blk->migratetype, order, link;

	info->nr_huge_blocks += blk->is_huge;
	pages_info_add(info, row, blk);
	for (order = 0; order < NR_ORDERS; order++)
		for (link = blk->head[order]; link; link = pageblock_next_free(blk, link)) {
			/* The reserve was made resident, and is clean until it is used. */
			pages_info_add_free(info, row, t, order,
					    t == MIGRATE_HIGHATOMIC ||
						    (blk->nr_dirty_free && pageblock_nr_dirty(blk, link - 1, 1u << order)));
		}
}

/* Of a block that no buddy owns, which may become anything while we look. */
static looks_at_others void snapshot_other(const struct pageblock *blk, struct zone_row *row, struct pages_info *info)
{
	pages_info_add_other(info, row, READ_ONCE(blk->state), READ_ONCE(blk->nr_free), READ_ONCE(blk->nr_dirty_free));
	info->nr_huge_blocks += READ_ONCE(blk->is_huge);
}

void pages_snapshot(struct pages_info *info)
{
	struct zone_walk walk = {0};
	struct pageblock *blk;
	struct buddy *b;

	*info = (struct pages_info){0};
	zone_rows_take(&info->zones);
	for_each_buddy(b) {
		info->nr_buddies++;
		snapshot_counters(b, info);
	}
	snapshot_counters(&highatomic, info);
	while ((blk = zone_walk_next(&walk))) {
		struct zone_row *row = zone_row(&info->zones, walk.region->zone);

		b = block_lock_owner(blk);
		if (!b) {
			snapshot_other(blk, row, info);
			continue;
		}
		snapshot_block(blk, row, info);
		lock_drop(&b->lock, RANK_BUDDY);
	}
	info->nr_reserve_free = info->types.free_pages[MIGRATE_HIGHATOMIC];
}
