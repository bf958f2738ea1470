/* SPDX-License-Identifier: MIT */
/*
 * Zonelists: the zones that may serve a request, best first (Linux: struct zonelist, include/linux/mmzone.h).
 *
 * 1. Zones share a lock and the watermarks of page/zone.h: whole free blocks are few and seldom asked for, and what the
 *    process holds without need is one sum. What makes a zone is that its blocks stand in regions of its own.
 *
 * 2. Each node has a set of zones. A whole block comes from the node of the CPU that asks, or else from the next by distance.
 *    What a thread's buddy has of it stays the thread's, wherever that runs later. THISNODE is the one node or nothing,
 *    and its pages are made resident to see that they are there.
 *
 * 3. A process does not look what nodes there are before it has NODES_FROM blocks, or asks for one: until then its blocks
 *    are of the first, and the kernel places a page where it is touched.
 *
 * 4. malloc takes from the zones NORMAL alone. A request that names a zone, or a node, is explicit: it is served by
 *    that zone's own buddy, which has blocks of no other, and never by a thread's.
 */
#ifndef BSLAB_ZONELIST_H
#define BSLAB_ZONELIST_H

#include "page/zone.h"

struct zonelist {
	unsigned nr;
	uint8_t zone[MAX_NODES]; /* numbers */
};

_Static_assert(NR_ZONES <= UINT8_MAX, "a number fits");

#define NODES_FROM 8

/* flags: enum pages_flags. */
void zonelist_make(unsigned flags, struct zonelist *list);
/* zone_alloc_in(); of a request for one node the blocks are resident there. */
struct pageblock *zonelist_take(unsigned zone, unsigned flags, unsigned nr_blocks, enum pageblock_state state, size_t *nr_dirty);
/* Pages that such a request got of a block that it shares: they may have been purged since, or be of another request. */
bool zonelist_hold(unsigned zone, unsigned flags, void *addr, size_t size);
/* Contiguous blocks, as zone_alloc_in(), of the first zone that has them. */
struct pageblock *zonelist_alloc(unsigned flags, unsigned nr_blocks, enum pageblock_state state, size_t *nr_dirty);

#endif
