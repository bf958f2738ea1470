/* SPDX-License-Identifier: MIT */
/*
 * Giving back the dirty free pages of partly used pageblocks (MADV_DONTNEED).
 *
 * A purge isolates free page blocks under the buddy's lock, drops it for the
 * system calls, and frees them again, clean, to whoever owns the pageblock by
 * then. One at a time for each buddy. By watermark it begins with pieces of
 * 64 KiB and more, goes on to smaller ones where the watermark is passed by
 * far, or by less where hardly anything of the pageblocks is in use, and makes
 * a bounded number of rounds: the next free, or window, goes on.
 *
 * Call with no lock held.
 */
#ifndef BSLAB_PURGE_H
#define BSLAB_PURGE_H

#include "page/buddy.h"

/* Dirty free pages that the buddy may have; needs its lock, or a stale answer will do. */
size_t purge_high_pages(const struct buddy *b);
/* Pageblocks that one purge by watermark looks for: what a single call of the program may cost. */
#define MAX_AUTO_BLOCKS 16
/* Purges if there are more. */
void purge_balance(struct buddy *b);
/*
 * The same now and then, where what no thread uses, or used for a second, has no floor: how many pageblocks it looked for, at most
 * MAX_AUTO_BLOCKS.
 */
unsigned purge_rested(struct buddy *b, uint64_t now_ms);
/* All of them. */
void purge_all(struct buddy *b);

#endif
