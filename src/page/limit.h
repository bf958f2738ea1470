/* SPDX-License-Identifier: MIT */
/*
 * What the heap may take (Linux: memory.high and memory.max of a cgroup,
 * mm/memcontrol.c).
 *
 * 1. The footprint, in pages: those of blocks in use that are not free, free
 *    ones that may be resident, mappings of large blocks in full, and metadata.
 *    Resident is less, but for the page map's 0.2 %. It is read without a lock.
 * 2. Soft limit: from 15/16 of it on the floors above give back what caches hold
 *    and what is free before they take more, once for each 1/32 of it that the
 *    footprint grows by from the least that it was since, and by one thread. It
 *    refuses nothing. The memory limits of the process's
 *    cgroup are one more soft limit: what goes beyond those, the kernel throttles
 *    or kills. They are read when the heap has reached some size.
 * 3. Hard limit: what would pass it is refused, after such a reclaim: NULL with
 *    ENOMEM. Memory that was freed serves again. Threads that ask at the same
 *    moment may pass it together, by what they ask for.
 *
 * Without limits this costs a comparison for each slab, run and large block.
 */
#ifndef BSLAB_LIMIT_H
#define BSLAB_LIMIT_H

#include "base/base.h"

/* In bytes, 0: none. Replaces those set before. */
void limit_set(size_t soft_size, size_t hard_size);
/* Whether so many pages more may be taken. */
bool limit_allows(size_t nr_pages);
/* Below the hard limit, and not near a soft one. Asks for nothing. */
bool limit_is_far(void);
/* Whether there is a hard one. */
bool limit_is_hard(void);
/* Mappings of large blocks come, grow, shrink and go. */
void limit_note_mapped(size_t nr_old_pages, size_t nr_new_pages);
/* True, for one caller, when it is time for a reclaim; tell when it is done. Until then others have to grow by 1/32, too. */
bool limit_take_reclaim(void);
void limit_reclaimed(void);
/* Bytes by which the footprint is too near to a soft limit. */
size_t limit_excess(void);

#endif
