/* SPDX-License-Identifier: MIT */
/* Every pageblock that was committed, by looking through the fake's whole window. */
#ifndef UNIT_EVERY_BLOCK_H
#define UNIT_EVERY_BLOCK_H

#include "fake_os.h"
#include "map/map.h"
#include "map/pageblock.h"

static inline void for_each_block(void (*f)(struct pageblock *b, void *arg), void *arg)
{
	uintptr_t addr = fake_window(), end = addr + FAKE_PAGES * BSLAB_PAGE_SIZE;

	for (; addr < end; addr += PAGEBLOCK_SIZE) {
		struct pageblock *b = map_pageblock(addr);

		if (b && b->state != PAGEBLOCK_ABSENT)
			f(b, arg);
	}
}

#endif
