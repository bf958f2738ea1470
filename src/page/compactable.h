/* SPDX-License-Identifier: MIT */
/*
 * Pageblocks for pages whose contents we can move (Linux: ZONE_MOVABLE, and mm/page_isolation.c). Runs that their program moves
 * are another matter: page/contig.h.
 *
 * 1. A buddy of their own, which no thread uses, owns them. So nothing else stands in these blocks, and one of which all
 *    is moved away goes back to the zone. Its pages come from the fullest block in which they fit, whether they are warm
 *    or not.
 * 2. A block that is to be emptied is isolated: it is on no list of the buddy, so that no page of it is handed out; frees
 *    go on. When its last page is freed it goes to the zone by itself.
 *
 * To reports and purges it is a buddy as any other.
 */
#ifndef BSLAB_COMPACTABLE_H
#define BSLAB_COMPACTABLE_H

#include "page/buddy.h"

/* nr_pages, at most a pageblock's; may_grow: from another block of the zone if need be. pages_free() takes them back. */
void *pages_alloc_compactable(unsigned nr_pages, bool may_grow);
/* Is it a block of theirs? A hint: without the lock. */
bool compactable_owns(const struct pageblock *blk);
/* False when it is none of theirs. Only one thread at a time may isolate. */
bool compactable_isolate(struct pageblock *blk);
/* The block serves again. False when its last page was freed meanwhile: it is the zone's, or somebody's, by now. */
bool compactable_putback(struct pageblock *blk);
/* Pages of the blocks, free ones among them; hints. */
size_t compactable_nr_pages(void);

#endif
