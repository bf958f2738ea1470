/* SPDX-License-Identifier: MIT */
/*
 * Pages inside the regions that trap when they are touched: behind slabs and
 * page runs, and all of a freed run, in the hardened mode.
 *
 * 1. The kernel's guard markers (MADV_GUARD_INSTALL, Linux 6.13) stand in the
 *    page tables and cost no mapping. Where it has none, or refuses them
 *    (memory that is locked), mprotect() does the same and splits the region:
 *    up to two mappings more for each, of which a process has 65,530 by default.
 *    MAX_SPLITS of them are made; what comes then stays accessible.
 * 2. What stood in the pages is lost either way, and they read as zero
 *    afterwards.
 * 3. A kernel that is short of memory may refuse to open a page again. Pages that
 *    are to be freed then wait for a later time.
 */
#ifndef BSLAB_GUARD_H
#define BSLAB_GUARD_H

#include "base/base.h"

/* False where the pages stay as they are: no guard is to be had, or pages of the machine are larger than ours. */
bool guard_install(void *addr, unsigned nr_pages);

/* Pages of a buddy, of which those from `first` to the end trap by nr_installs calls of guard_install(). */
struct guarded_pages {
	char *addr;
	unsigned nr_pages, first, nr_installs;
	bool is_clean; /* those before `first` read as zero */
};
/* Opens them, and frees all. */
void guard_free(struct guarded_pages g);
/* Tries those again that wait. */
void guard_retry(void);

void guard_fork_prepare(void);
void guard_fork_done(bool child);

#endif
