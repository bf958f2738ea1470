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

#include "map/map.h"
#include "os/os.h"

/* GUARD_NONE where the pages stay as they are: no guard is to be had, or pages of the machine are larger than ours. */
enum guard_kind guard_install(void *addr, unsigned nr_pages);

/* Of the last page: which guards it and the pages before it have. */
static inline page_desc_t desc_of_guards(enum guard_kind body, enum guard_kind last)
{
	return desc_of_number((uint64_t)body << 8 | last, PAGE_GUARD);
}

static inline enum guard_kind body_guard(page_desc_t d)
{
	return (enum guard_kind)(desc_number(d) >> 8);
}

static inline enum guard_kind last_guard(page_desc_t d)
{
	return (enum guard_kind)(desc_number(d) & 0xff);
}

/* Pages of a buddy. What guard_install() said of the last of them, and of all before it. */
struct guarded_pages {
	char *addr;
	unsigned nr_pages;
	enum guard_kind body, last;
};
/* Opens them, and frees all. */
void guard_free(struct guarded_pages g);
/* Tries those again that wait. */
void guard_retry(void);

void guard_fork_prepare(void);
void guard_fork_done(bool child);

#endif
