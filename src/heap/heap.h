/* SPDX-License-Identifier: MIT */
/*
 * Heaps of libraries: blocks that come from pages of their own and go all at once.
 *
 * 1. A heap has chunks: slabs of one of malloc's size classes, each with a
 *    bitmap of its free objects, a single block of pages, or a single large
 *    block. All stand in the heap's list, so that its end is a walk over chunks
 *    and not over blocks.
 *
 * 2. The descriptor of every page of a chunk, of a large block the first,
 *    leads to the chunk, and the chunk to its heap: type PAGE_HEAP. So a block
 *    of another heap, or malloc's, is found at once, and free() does not take one of a heap.
 *
 * 3. One lock a heap, and no sheaves: objects are taken from and given to the
 *    bitmap itself, so that a second free is found at once. A heap that its user
 *    locks himself, or that one thread uses, takes none.
 *
 * 4. Slabs grow: a class's next slab is twice as large as the one before, from
 *    a page on; near the limit it is as large as there is room for. The last one
 *    that is wholly free stays, until the heap comes to its limit or memory is
 *    short.
 *
 * 5. Chunks are taken from the buddies, or from memory that the program brought (heap/device.h), which is the
 *    heap's limit then. Headers and bitmaps never stand in it.
 *
 * 6. What every call does is inline in it (heap_take_small(), heap_free()): it finds an
 *    object in the class's first slab, or returns one to a slab that is neither
 *    full nor about to be empty. All else is out of line. What is live is not counted there: chunks are added up when it is asked.
 *
 * 7. A zone that malloc does not take from has a heap for what kmalloc wants of it: is_mallocs. bslab_free() frees its
 *    blocks, and its slabs, pages and large blocks are taken by pages_flags.
 *
 * Invariants: nr_free = number of bits set, none in a word before first_word; a slab is
 * on its class's partial list exactly when nr_free > 0; size_bytes = sum over chunks of
 * nr_pages * 4096; nr_empty = number of slabs with nr_free = nr_objects.
 */
#ifndef BSLAB_HEAP_HEAP_H
#define BSLAB_HEAP_HEAP_H

#include "base/list.h"
#include "heap/device.h"
#include "large/large.h"
#include "map/map.h"
#include "os/lock.h"
#include "slab/sizes.h"

#define HEAP_NAME_SIZE 32
#define MAX_CHUNK_OBJECTS 512
/* Offsets are below 2^18 and sizes at most 2^15: slab.c derives that this is enough. */
#define HEAP_RECIPROCAL_SHIFT 40

struct chunk {
	struct list_node node; /* in the class's partial list; first, so that a pooled header keeps the rest */
	struct list_node all;  /* in heap->chunks */
	struct bslab_heap *heap; /* NULL: freed */
	uintptr_t base;
	size_t size;	     /* of an object */
	size_t nr_pages;
	uint64_t reciprocal; /* ceil(2^40 / size), as in slab.c; 0 where there is a single object */
	struct vm_area *large; /* NULL: pages of a buddy's */
	uint16_t class;      /* 0: a block of pages, or large */
	uint16_t nr_objects, nr_free;
	uint16_t first_word; /* of free[] that may have a bit */
	uint64_t free[];
};

struct heap_class {
	struct list partial;
	unsigned next_order; /* of the next slab's pages */
};

struct bslab_heap {
	struct list_node node; /* of all heaps */
	struct lock lock;      /* RANK_HEAP: all of this, unless is_unlocked */
	bool is_live;	       /* false once it was destroyed, until it is another one; under heaps.lock */
	/* Constant: */
	bool is_unlocked;
	char name[HEAP_NAME_SIZE];
	size_t limit; /* bytes; 0: none */
	bool is_device;
	bool is_mallocs;
	unsigned pages_flags; /* enum pages_flags */
	/* Under lock: */
	struct list chunks;
	size_t size_bytes, peak_bytes; /* of the chunks */
	size_t nr_empty;	       /* slabs that are wholly free */
	struct device device; /* where is_device */
	struct heap_class class[NR_CLASSES];
};

/* NULL when there is no memory. */
struct bslab_heap *heap_create(const char *name, size_t limit, bool is_unlocked);
/* In memory that the caller brings. NULL, and *fault says why. */
struct bslab_heap *heap_create_in(const char *name, uintptr_t addr, size_t size, bool is_unlocked, enum device_fault *fault);
/* Of an explicit zone. */
struct bslab_heap *heap_create_explicit(const char *name, unsigned pages_flags);
/* With all its blocks. False for one that was destroyed before. */
bool heap_destroy(struct bslab_heap *h);

struct heap_result {
	bool zeroed;	/* reads as zero */
	bool has_limit; /* there is none because the heap's limit is reached: nobody else's memory would help */
};
/* align: a power of two. NULL when there is no memory or the limit is reached. */
void *heap_alloc(struct bslab_heap *h, size_t size, size_t align, struct heap_result *result);
/* Slabs that are wholly free go, of all heaps that have a lock. Call without a lock. */
void heaps_shrink(void);

enum heap_fault {
	HEAP_GOOD,
	HEAP_FOREIGN,  /* not a block of this heap */
	HEAP_INTERIOR, /* inside a block */
	HEAP_FREE,     /* freed before */
};
/* The bytes of a live block. */
enum heap_fault heap_block_size(struct bslab_heap *h, void *ptr, size_t *size);
/* The heap of a block of any heap's, for messages; NULL for other pointers. */
static inline struct bslab_heap *heap_of(page_desc_t d)
{
	return desc_type(d) == PAGE_HEAP && !desc_class(d) ? ((struct chunk *)desc_pointer(d))->heap : NULL;
}

/* Of one that is malloc's, whatever the address in it; else NULL. */
static inline struct bslab_heap *heap_of_malloc(page_desc_t d)
{
	struct bslab_heap *h = heap_of(d);

	return h && h->is_mallocs ? h : NULL;
}

struct heap_info {
	size_t nr_blocks, block_bytes, size_bytes, peak_bytes, limit;
};
/* A walk over its chunks, under its lock. */
void heap_snapshot(struct bslab_heap *h, struct heap_info *info);

void heap_fork_prepare(void);
void heap_fork_done(bool child);

/* --- inline in the calls -------------------------------------------------------------------------- */

static force_inline void heap_lock(struct bslab_heap *h)
{
	if (!h->is_unlocked)
		lock_take(&h->lock, RANK_HEAP);
}

static force_inline void heap_unlock(struct bslab_heap *h)
{
	if (!h->is_unlocked)
		lock_drop(&h->lock, RANK_HEAP);
}

/* The chunk has no object left, or was wholly free: off the list, out of the count. */
void chunk_taken(struct bslab_heap *h, struct chunk *c, bool was_empty) __attribute__((visibility("hidden")));
/* It has its first free object, or all of them. */
void chunk_given(struct bslab_heap *h, struct chunk *c) __attribute__((visibility("hidden")));

static force_inline void *chunk_take(struct bslab_heap *h, struct chunk *c)
{
	unsigned w = c->first_word, nr_free = c->nr_free--;
	uint64_t word = c->free[w];

	while (!word)
		word = c->free[++w];
	c->first_word = (uint16_t)w;
	c->free[w] = word & (word - 1);
	if (unlikely(nr_free == 1 || nr_free == c->nr_objects))
		chunk_taken(h, c, nr_free == c->nr_objects);
	return (void *)(c->base + (w * 64u + (unsigned)__builtin_ctzll(word)) * c->size);
}

/* An object of a size class, if there is a slab of it that has one. */
static force_inline void *heap_take_small(struct bslab_heap *h, size_t size)
{
	struct list_node *n;
	void *p = NULL;

	heap_lock(h);
	n = h->class[size_class(size)].partial.first;
	if (likely(n != NULL))
		p = chunk_take(h, container_of(n, struct chunk, node));
	heap_unlock(h);
	return p;
}

/* The chunk and the index of a live block; under lock. */
static force_inline enum heap_fault heap_find(struct bslab_heap *h, void *ptr, struct chunk **chunk, unsigned *index)
{
	page_desc_t d = map_lookup((uintptr_t)ptr);
	struct chunk *c = desc_pointer(d);

	if (unlikely(heap_of(d) != h))
		return HEAP_FOREIGN;
	*chunk = c;
	*index = (unsigned)((((uintptr_t)ptr - c->base) * c->reciprocal) >> HEAP_RECIPROCAL_SHIFT);
	if (unlikely(*index >= c->nr_objects || c->base + *index * c->size != (uintptr_t)ptr))
		return HEAP_INTERIOR;
	return likely(!(c->free[*index / 64] >> (*index % 64) & 1)) ? HEAP_GOOD : HEAP_FREE;
}

static force_inline void chunk_give(struct bslab_heap *h, struct chunk *c, unsigned index)
{
	unsigned w = index / 64, nr_free = ++c->nr_free;

	c->free[w] |= 1ull << (index % 64);
	if (w < c->first_word)
		c->first_word = (uint16_t)w;
	if (unlikely(nr_free == 1 || nr_free == c->nr_objects))
		chunk_given(h, c);
}

static force_inline enum heap_fault heap_free(struct bslab_heap *h, void *ptr)
{
	enum heap_fault fault;
	struct chunk *c = NULL;
	unsigned index = 0;

	heap_lock(h);
	fault = heap_find(h, ptr, &c, &index);
	if (likely(fault == HEAP_GOOD))
		chunk_give(h, c, index);
	heap_unlock(h);
	return fault;
}

#endif
