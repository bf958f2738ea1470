/* SPDX-License-Identifier: MIT */
/*
 * Pools: a fixed number of elements, resident from the start, that are taken and given without a lock, a system call or
 * a page fault (Linux: mempool_t, mm/mempool.c, for the guaranteed minimum; the free list is Treiber's stack).
 *
 * 1. Elements are named by index + 1, 0 for none. next[i] leads from a free element to the next, and is LIVE in one
 *    that is taken: who gives an element back changes that first, by compare and exchange, so a second free is
 *    found at once.
 *
 * 2. The head is one word: the first free element, and a number that each change raises, so that
 *    a head that came back to the same element is another word (ABA). It takes 2^32 changes during one
 *    taker's few instructions to mislead it.
 *
 * 3. A taker that loses a race tries again: somebody else has got an element meanwhile. So all together never
 *    wait; one is as late as others are busy.
 *
 * 4. What is touched by a take and a give is resident with the elements, and locked with them: struct pool has a
 *    page of its own, and the page map's pages that describe the elements are locked, too. After a fork the
 *    first two would fault at their next write, in the parent as well: it makes those of NOWAIT pools its own again
 *    before fork() returns. Mempools fault: to copy all of them at each fork would cost more than they promise.
 *
 * Descriptors of all its pages are of type PAGE_POOL and lead to the pool. A destroyed pool's page stays a struct pool.
 */
#ifndef BSLAB_POOL_H
#define BSLAB_POOL_H

#include "base/list.h"
#include "map/map.h"
#include "os/lock.h"

#define POOL_NAME_SIZE 32
#define MAX_POOL_ELEMENTS ((size_t)1 << 24)

struct pool {
	struct list_node node; /* of all pools; first, so that a pooled one keeps the rest */
	bool is_live;	       /* under pools.lock; false once it was destroyed, until it is another one */
	_Atomic uint64_t head; /* changes << 32 | first */
	_Atomic uint32_t nr_taken;
	char pad[64 - 36];
	/* Constant: */
	uintptr_t base;
	size_t size, nr; /* bytes of an element, a multiple of 16; elements */
	size_t map_size; /* of elements and next[] */
	_Atomic uint32_t *next;
	bool is_locked;	 /* mlock() held; written under pools.lock */
	bool is_mallocs; /* a NOWAIT pool: bslab_free() takes its elements */
	char name[POOL_NAME_SIZE];
};

enum pool_flags {
	POOL_LOCK = 1, /* mlock() too, which may be refused: is_locked says */
	POOL_MALLOCS = 2,
};
/* NULL where the kernel has no memory, or does not make it resident. */
struct pool *pool_create(const char *name, size_t size, size_t nr, unsigned flags);
/* All its elements with it. False for one that was destroyed before. */
bool pool_destroy(struct pool *p);

/* NULL when there is none. */
void *pool_take(struct pool *p);

enum pool_fault {
	POOL_GOOD,
	POOL_INTERIOR, /* inside an element, or behind the last */
	POOL_FREE,     /* free already */
};
/* An address in the pool. */
enum pool_fault pool_give(struct pool *p, void *ptr);

struct pools {
	struct lock lock; /* RANK_HEAPS: all of this */
	struct list all;
	size_t nr_pools;  /* also read without the lock */
	size_t map_bytes; /* of elements and next[], and highmem's tables; atomic */
};
extern struct pools pools reader_root(pools); /* its lock guards the list of highmem.c, too */
size_t pools_bytes(void);
/* Whether some of a range is a pool's. */
bool pools_overlap(uintptr_t addr, size_t size);

/* fork: the lock is taken before and freed after on both sides; then the parent's NOWAIT pools are made resident again. */
void pool_fork_prepare(void);
void pool_fork_done(bool child);
void pools_populate(void);

static inline struct pool *pool_of(page_desc_t d)
{
	return desc_type(d) == PAGE_POOL && !desc_class(d) ? desc_pointer(d) : NULL;
}

#endif
