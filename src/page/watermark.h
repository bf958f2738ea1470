/* SPDX-License-Identifier: MIT */
/* How many dirty free pages are kept (3 in zone.h): what zone.c and watermark.c have between them. */
#ifndef BSLAB_WATERMARK_H
#define BSLAB_WATERMARK_H

#include "page/zone.h"

extern struct zone zone reader_root(zone);

/*
 * Whether blocks come round shows when large ones are taken; buddies count the pages of runs. The time, read before the lock is
 * taken, 0 where there is nothing to learn; and then, under the lock, what was taken.
 */
uint64_t zone_learning_clock(enum pageblock_state state);
void zone_learn_blocks(unsigned nr_blocks, size_t nr_dirty, uint64_t now);

#endif
