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
 * 6. A zone that malloc does not take from has a heap for what kmalloc wants of it: is_mallocs. bslab_free() frees its
 *    blocks, and its slabs, pages and large blocks are taken by pages_flags.
 *
 * Invariants: nr_free = number of bits set; a slab is on its class's partial list
 * exactly when nr_free > 0; size_bytes = sum over chunks of nr_pages * 4096;
 * nr_empty = number of slabs with nr_free = nr_objects.
 */
#ifndef BSLAB_HEAP_HEAP_H
#define BSLAB_HEAP_HEAP_H

#include "base/list.h"
#include "heap/device.h"
#include "large/large.h"
#include "os/lock.h"
#include "slab/sizes.h"

#define HEAP_NAME_SIZE 32
#define MAX_CHUNK_OBJECTS 512

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
	size_t nr_blocks, block_bytes; /* that the user holds */
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
enum heap_fault heap_free(struct bslab_heap *h, void *ptr);
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
void heap_snapshot(struct bslab_heap *h, struct heap_info *info);

void heap_fork_prepare(void);
void heap_fork_done(bool child);

#endif
