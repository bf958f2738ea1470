/* SPDX-License-Identifier: MIT */
/*
 * Memory for bslab's own metadata (Linux: mm/memblock.c).
 *
 * 1. boot_alloc() bumps a pointer through a static first chunk, so that a small
 *    process makes no system call, and then through chunks of growing size.
 * 2. Nothing is ever given back. What comes and goes (sheaves, handles)
 *    goes through a boot_pool, a free list of one size. Type-stable: memory
 *    that held a struct sheaf holds a struct sheaf for ever, which is what lets
 *    a reader look at a stale one safely. Slab headers: boot/paged.h.
 */
#ifndef BSLAB_BOOT_H
#define BSLAB_BOOT_H

#include "base/base.h"
#include "os/lock.h"

/* Zeroed, aligned to align (a power of two, at most a page). NULL when the kernel refuses. */
void *boot_alloc(size_t size, size_t align);
/* Bytes handed out and bytes mapped so far. */
size_t boot_used(void);
size_t boot_mapped(void);

struct boot_pool {
	void *free; /* linked through the first word; under the meta lock */
};

/* size must be the same at each call on a pool, and at least a pointer's. Contents are as the last user left them. */
void *boot_pool_get(struct boot_pool *pool, size_t size, size_t align);
void boot_pool_put(struct boot_pool *pool, void *obj);
/* Many at once, linked through the first word, from first to last. */
void boot_pool_put_many(struct boot_pool *pool, void *first, void *last);

/* All under the lock; used and mapped are also read without it. used <= mapped. */
struct boot {
	struct lock lock; /* RANK_META */
	char *next, *end;
	size_t chunk_size;
	size_t used, mapped;
};

/* fork: the lock is taken before and freed after on both sides. */
void boot_fork_prepare(void);
void boot_fork_done(bool child);

#endif
