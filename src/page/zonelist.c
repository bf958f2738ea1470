/* SPDX-License-Identifier: MIT */
#include "page/zonelist.h"

#include "page/buddy.h"

void zonelist_make(unsigned flags, struct zonelist *list)
{
	*list = (struct zonelist){1, {(uint8_t)zone_number(flags & PAGES_DMA32 ? ZONE_DMA32 : ZONE_NORMAL, 0)}};
}

struct pageblock *zonelist_alloc(unsigned flags, unsigned nr_blocks, enum pageblock_state state, size_t *nr_dirty)
{
	struct pageblock *b = NULL;
	struct zonelist list;
	unsigned i;

	zonelist_make(flags, &list);
	for (i = 0; i < list.nr && !b; i++)
		b = zone_alloc_in(list.zone[i], nr_blocks, state, nr_dirty);
	return b;
}

struct pageblock *zone_alloc(unsigned nr_blocks, enum pageblock_state state, size_t *nr_dirty)
{
	return zonelist_alloc(0, nr_blocks, state, nr_dirty);
}
