/* SPDX-License-Identifier: MIT */
/*
 * Huge pages for a heap that grows (Linux: mm/huge_memory.c).
 *
 * 1. One fault for 2 MiB costs a fifth of 512 faults, and random access through one entry of the TLB instead of 512 a
 *    half to two thirds. The price is memory that may never be used.
 * 2. So a fresh pageblock is made resident as a whole only when that is a small share, 1 / HUGE_SHARE, of what slabs and
 *    runs have in use by then, together with all other free pages that are resident: 64 MiB for the first, fewer at a time
 *    the more threads there are. A small process never has one, and no process is more than that share larger for it.
 * 3. Only for slabs of many objects, whose pages are all touched soon. Of a run, or an object of several pages, a
 *    program may use the beginning only.
 * 4. The kernel is asked for this one page, at once, and told to make no more of them: the range's advice is as
 *    before afterwards, so that it stays one mapping with its neighbours, and khugepaged does not fill up again what
 *    was given back. MADV_COLLAPSE would need no advice, but waits for work on all CPUs: 0.3 to 8 ms, measured.
 * 5. Where pages of it are given back, or the process forks and writes, the kernel maps the rest by small pages: no
 *    more than a page is copied for a byte, or kept, if it is told so before (os_split_huge()).
 * 6. To the buddies the pages are dirty ones: they are taken first, and given back when they are too many.
 */
#ifndef BSLAB_HUGE_H
#define BSLAB_HUGE_H

#include "page/buddy.h"

#define HUGE_SHARE 32

/*
 * Makes a pageblock resident that nobody has used, if that is worth it, before it comes to b for pages of this type. The
 * block is the caller's. Call without a lock.
 */
void huge_populate(struct buddy *b, struct pageblock *blk, enum migratetype type);
/* In the child of a fork: other threads' are not under way there. */
void huge_fork_child(void);

#endif
