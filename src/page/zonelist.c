/* SPDX-License-Identifier: MIT */
#include "page/zonelist.h"

#include "page/buddy.h"

/* By its own node's number alone, or by distance from here. */
void zonelist_make(unsigned flags, struct zonelist *list)
{
	enum zone_type type = pages_zone_type(flags);
	unsigned here = 0, i;

	if (flags & PAGES_NODE_MASK) {
		*list = (struct zonelist){1, {(uint8_t)zone_number(type, pages_node_of(flags))}};
		return;
	}
	if (zone_nr_used() >= NODES_FROM)
		nodes_read();
	list->nr = nodes_nr();
	if (list->nr > 1)
		here = nodes_here();
	for (i = 0; i < list->nr; i++)
		list->zone[i] = (uint8_t)zone_number(type, nodes_by_distance(here, i));
}

/* Clean, where it was given back. */
static bool hold(struct pageblock *first, unsigned nr_blocks, unsigned zone_nr, size_t *nr_dirty)
{
	size_t size = (size_t)nr_blocks << PAGEBLOCK_SHIFT;
	unsigned i;

	switch (nodes_hold((void *)pageblock_address(first), size, zone_node_of(zone_nr), zone_type_of(zone_nr) != ZONE_HUGE)) {
	case NODE_HAS_IT:
		return true;
	case NODE_HAS_IT_ZEROED:
		for (i = 0; i < nr_blocks; i++)
			pageblock_set_dirty(map_pageblock(pageblock_address(first) + ((uintptr_t)i << PAGEBLOCK_SHIFT)), 0,
					    PAGEBLOCK_PAGES, false);
		*nr_dirty = 0;
		return true;
	default:
		return false;
	}
}

struct pageblock *zonelist_take(unsigned zone_nr, unsigned flags, unsigned nr_blocks, enum pageblock_state state, size_t *nr_dirty)
{
	struct pageblock *b = zone_alloc_in(zone_nr, nr_blocks, state, nr_dirty);

	if (!b || !(flags & PAGES_NODE_MASK) || hold(b, nr_blocks, zone_nr, nr_dirty))
		return b;
	zone_free(b, nr_blocks);
	return NULL;
}

struct pageblock *zonelist_alloc(unsigned flags, unsigned nr_blocks, enum pageblock_state state, size_t *nr_dirty)
{
	struct pageblock *b = NULL;
	struct zonelist list;
	unsigned i;

	zonelist_make(flags, &list);
	for (i = 0; i < list.nr && !b; i++)
		b = zonelist_take(list.zone[i], flags, nr_blocks, state, nr_dirty);
	return b;
}

struct pageblock *zone_alloc(unsigned nr_blocks, enum pageblock_state state, size_t *nr_dirty)
{
	return zonelist_alloc(0, nr_blocks, state, nr_dirty);
}

bool zone_has_dirty(void)
{
	return zone_has_dirty_in(zone_number(ZONE_NORMAL, nodes_nr() > 1 ? nodes_here() : 0));
}
