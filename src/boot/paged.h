/* SPDX-License-Identifier: MIT */
/*
 * Metadata that a large heap has by the hundred thousand, in pages that go back: headers of slabs.
 *
 * 1. The first few objects of a pool are boot_pool's, packed among other metadata: a small process has no page for each size. The
 *    others stand in pages of the pool's own, each with a list of its free objects at its start.
 * 2. A page whose objects are all free is empty. paged_trim() gives empty pages back beyond those that are to be kept; their
 *    addresses stand in ledgers meanwhile, and are handed out again before fresh ones.
 * 3. Type-stable, as a boot_pool: a page serves its pool for ever. What was given back reads as zero.
 * 4. Where an object came from its address says: those of pages are odd multiples of 8, those of a boot_pool even ones.
 *
 * All under the meta lock, but for the system call: meanwhile the pages are in no list, so the child of a fork amid it loses their
 * addresses.
 */
#ifndef BSLAB_PAGED_H
#define BSLAB_PAGED_H

#include "base/list.h"
#include "boot/boot.h"

struct ledger;

struct paged_pool {
	struct boot_pool packed;
	unsigned nr_packed;
	struct list partial, empty; /* pages with some free objects, and with all */
	size_t nr_empty;
	struct ledger *clean;
};

/* size: the same at each call on a pool, at most 1 KiB. Contents are as the last user left them, or zero. NULL when the kernel refuses. */
void *paged_get(struct paged_pool *pool, size_t size);
void paged_put(struct paged_pool *pool, void *obj);
/* Where the machine's pages are ours: gives empty pages back until nr_keep are left, PAGED_BATCH by one call; none for less than such a batch. Call with no lock held. */
#define PAGED_BATCH 32
void paged_trim(struct paged_pool *pool, size_t nr_keep);

static inline bool paged_has_empty(const struct paged_pool *pool, size_t nr_keep)
{
	return unlikely(READ_ONCE(pool->nr_empty) >= nr_keep + PAGED_BATCH);
}

#endif
