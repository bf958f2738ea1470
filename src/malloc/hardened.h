/* SPDX-License-Identifier: MIT */
/*
 * The hardened mode's malloc, free and realloc (docs/hardened.md, decisions/0018).
 *
 * 1. malloc comes here because small_limit is 0, free because slabs' pages have
 *    class 0. Neither costs the default mode an instruction. Both then work on
 *    sheaves by sequences of their own: one pops, the other pushes on the
 *    sheaf of freed objects (slab/percpu.h), and no lock is taken.
 * 2. Objects of slabs are wiped when they are freed, wait in the quarantine, and
 *    are looked at when they are handed out. What stands behind every block, and
 *    is checked when it is freed or resized, is told in slab/hardened.h; so are
 *    the states of a block.
 * 3. Page runs of up to 128 KiB are wiped too; larger ones trap from their free
 *    on. Both wait in yards, then serve again. Larger blocks are mappings of their own, whose addresses trap and wait in
 *    another. Nothing but addresses is held of what traps (malloc/yard.h).
 * 4. Before and behind each slab and each run is a page that traps (page/guard.h).
 */
#ifndef BSLAB_MALLOC_HARDENED_H
#define BSLAB_MALLOC_HARDENED_H

#include "malloc/internal.h"

/* At boot, before the first block. */
void hardened_start(void);
/* Once libc can be called: has what is left looked at when the process ends. */
void hardened_at_exit(void);

/* What malloc_slow() is in this mode. */
void *hardened_malloc(size_t size);
/* Of any size; all of it reads as zero. NULL when there is no memory. */
void *hardened_alloc(const struct alloc_request *r, unsigned pages_flags);
/* A mapping of its own, whatever its size, between pages that trap. */
void *hardened_map(size_t size);
void hardened_free(void *ptr);
void hardened_free_sized(void *ptr, size_t size);
void *hardened_realloc(void *ptr, size_t size, struct caller by, bool no_retry);
/* What was asked for. False after a report; `what` names the call. */
bool hardened_size(void *ptr, const char *what, size_t *size);
/* False after a report when the block was not asked for with this size, or has not this alignment. */
bool hardened_size_is_right(void *ptr, size_t size, size_t align);

/*
 * Up to this a freed run is wiped, as an object is: a fault for each of its pages, when it serves again, costs more than
 * ten times as much. What is larger traps.
 */
#define MAX_WIPED_PAGES ((unsigned)(128 * KIB >> PAGE_SHIFT))

/* What waits serves again at once; its addresses, too. */
void hardened_drain(void);

void hardened_fork_prepare(void);
void hardened_fork_done(bool child);

#endif
