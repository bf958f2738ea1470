/* SPDX-License-Identifier: MIT */
#include "page/zonelist.h"

#include "os/os.h"
#include "page/buddy.h"

/* By its own node's number alone, or by distance from here. */
void zonelist_make(unsigned flags, struct zonelist *list)
{
	enum zone_type type = pages_zone_type(flags);
	unsigned here = 0, i;

	list->nr = 0;
	if ((flags & PAGES_NODE_MASK) == PAGES_NODE_MASK)
		return;
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

/* Their pages count as dirty, though they may read as zero: the limits and the watermarks have to see them. */
static void set_resident(struct pageblock *first, unsigned nr_blocks, bool resident)
{
	uintptr_t addr = pageblock_address(first), end = addr + ((uintptr_t)nr_blocks << PAGEBLOCK_SHIFT);

	for (; addr < end; addr += PAGEBLOCK_SIZE)
		pageblock_set_dirty(map_pageblock(addr), 0, PAGEBLOCK_PAGES, resident);
}

/* Clean, where it was given back. */
static bool hold(struct pageblock *first, unsigned nr_blocks, unsigned zone_nr, size_t *nr_dirty)
{
	bool may_purge = zone_type_of(zone_nr) != ZONE_HUGE;
	void *addr = (void *)pageblock_address(first);
	size_t size = (size_t)nr_blocks << PAGEBLOCK_SHIFT;
	enum node_result result = nodes_hold(addr, size, zone_node_of(zone_nr), may_purge);

	if (result == NODE_UNTOUCHED)
		return true;
	if (result == NODE_HAS_IT_ZEROED)
		*nr_dirty = 0;
	set_resident(first, nr_blocks, result != NODE_IS_FULL || !may_purge || os_purge(addr, size) != 0);
	return result != NODE_IS_FULL;
}

/* A page of the machine that is larger than ours, and has others' beside them, is not given back. */
bool zonelist_hold(unsigned zone_nr, unsigned flags, void *addr, size_t size)
{
	bool may_purge = zone_type_of(zone_nr) != ZONE_HUGE && ((uintptr_t)addr | size) % os_page_size() == 0;

	if (!(flags & PAGES_NODE_MASK) || nodes_hold(addr, size, zone_node_of(zone_nr), may_purge) != NODE_IS_FULL)
		return true;
	if (may_purge)
		os_purge(addr, size);
	return false;
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
