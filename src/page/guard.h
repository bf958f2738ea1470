/* SPDX-License-Identifier: MIT */
/*
 * Pages inside the regions that trap when they are touched: before and behind
 * slabs and page runs, and all of a freed run, in the hardened mode.
 *
 * 1. The kernel's guard markers (MADV_GUARD_INSTALL, Linux 6.13) stand in the
 *    page tables and cost no mapping. Where it has none, or refuses them
 *    (memory that is locked), mprotect() does the same and splits the region:
 *    up to two mappings more for each, of which a process has 65,530 by default.
 *    MAX_SPLITS of them are made; what comes then stays accessible.
 * 2. What stood in the pages is lost either way, and they read as zero
 *    afterwards.
 * 3. Which way a page was made to trap stands in its descriptor, PAGE_GUARD; that of
 *    the page behind tells it of the pages between, too. As what was done is undone
 *    it is noted there, so that a second try does the rest.
 * 4. A kernel that is short of memory may refuse to open a page again. Pages that
 *    are to be freed then wait for a later time.
 * 5. Some that were freed, of slabs for the most part, are kept between their guards
 *    for the next: a slab that comes and goes makes no system call. Where other
 *    threads run, each that takes a page away interrupts their CPUs.
 */
#ifndef BSLAB_GUARD_H
#define BSLAB_GUARD_H

#include "page/buddy.h"

/*
 * Pages of a buddy between two more, which trap where that is to be had: not where pages of the machine are larger than
 * ours. Aligned to more than a page they have none before them. NULL where there is no memory.
 */
void *guard_alloc_pages(unsigned nr_pages, unsigned align_order, enum migratetype type, unsigned flags, bool *zeroed);
/* All of them trap from now on, and hold no memory. False where that is not to be had: they are as they were. */
bool guard_close(void *addr, unsigned nr_pages);
/* Opens all that guard_close() closed, and leaves the guards. They read as zero. False where the kernel refuses. */
bool guard_reopen(void *addr, unsigned nr_pages);
/* Whether a page stands before them that traps, or would where that is to be had. */
bool guard_has_before(void *addr, unsigned nr_pages);
/* Opens what traps, and frees all, or keeps it. */
void guard_free_pages(void *addr, unsigned nr_pages);
/* Frees what is kept, and tries those again that wait. */
void guard_drain(void);

/* Pages of buddies that the program does not hold. */
struct guard_info {
	size_t nr_guards; /* that stand before and behind others */
	size_t nr_waiting, nr_waiting_dirty; /* kept, or freed by the program and not yet given to guard_free_pages() */
};
void guard_snapshot(struct guard_info *info);
/* Pages that begin to wait, or end it: fewer. */
void guard_count_waiting(ptrdiff_t nr_pages, bool are_dirty);

void guard_fork_prepare(void);
void guard_fork_done(bool child);

#endif
