/* SPDX-License-Identifier: MIT */
/*
 * Heaps of libraries: blocks that come from pages of their own and go all at once.
 *
 * 1. A heap has chunks (heap/chunk.h), all of them in its list, so that its end is a walk over chunks and not over blocks.
 *
 * 2. The descriptor of every page of a chunk, of a large block the first,
 *    leads to the chunk, and the chunk to its heap: type PAGE_HEAP. So a block
 *    of another heap, or malloc's, is found at once, and free() does not take one of a heap.
 *
 * 3. Each size class in use has slabs and a stack of free blocks in front of them (heap/class.h). Each block has a state, so
 *    a second free is found at once, whether it waits in the stack or is back in its slab.
 *
 * 4. One lock a heap, biased towards the thread that uses it (os/biased.h): to that one it is no atomic operation. A heap that its
 *    user locks himself takes none.
 *
 * 5. Slabs grow: a class's next slab is twice as large as the one before, from
 *    a page on; near the limit it is as large as there is room for. The last one
 *    that is wholly free stays, until the heap comes to its limit or memory is
 *    short.
 *
 * 6. Chunks are taken from the buddies, or from memory that the program brought (heap/device.h), which is the
 *    heap's limit then. Headers, states and stacks never stand in it.
 *
 * 7. What every call does is inline in it (heap_pop(), heap_push_live()). All else is out of line. What is live is not
 *    counted there: chunks are added up when it is asked.
 *
 * 8. A zone that malloc does not take from has a heap for what kmalloc wants of it and no cache serves (malloc/explicit.h):
 *    is_mallocs. bslab_free() frees its blocks, and its slabs, pages and large blocks are taken by pages_flags.
 *
 * 9. Records of classes and stacks stand in blocks of metadata that go with the heap; what a stack has outgrown is lost until then. The
 *    small ones share blocks, two of which stand in a page; stacks of hundreds of entries have one each.
 *
 * Invariants: size_bytes = sum over chunks of nr_pages * 4096; nr_empty = number of slabs with nr_free = nr_objects; top[class]
 * lies in the stack of class[class], and is NO_TOP where that is NULL.
 */
#ifndef BSLAB_HEAP_HEAP_H
#define BSLAB_HEAP_HEAP_H

#include "heap/class.h"
#include "heap/device.h"
#include "large/large.h"
#include "os/biased.h"

#define HEAP_NAME_SIZE 32

struct metadata;
#define NR_METADATA 3

struct bslab_heap {
	struct list_node node; /* of all heaps */
	struct biased_lock lock; /* RANK_HEAP: all of this, unless is_unlocked */
	bool is_live;	       /* false once it was destroyed, until it is another one; under heaps.lock */
	/* Constant: */
	bool is_unlocked;
	bool is_device;
	bool is_mallocs;
	unsigned pages_flags; /* enum pages_flags */
	size_t limit; /* bytes; 0: none */
	char name[HEAP_NAME_SIZE];
	/* Under lock: */
	struct list chunks;
	size_t size_bytes, peak_bytes; /* of the chunks */
	size_t nr_empty;	       /* slabs that are wholly free */
	struct device device; /* where is_device */
	struct metadata *metadata[NR_METADATA]; /* blocks of it, by size; of the smallest the one in use first */
	size_t metadata_used; /* bytes of that one */
	struct heap_class *classes; /* that are used */
	struct heap_class *class[NR_CLASSES]; /* NULL: not used yet */
	struct stack_entry *top[NR_CLASSES]; /* top[0] is NULL where the header was no heap before */
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
/* What is free goes, of all heaps that have a lock: blocks out of stacks, and slabs. Call without a lock. */
void heaps_shrink(void);
/* For what goes with the heap, up to METADATA_MAX bytes; under its lock. NULL where there is no memory. */
#define STACK_BYTES(room) (((room) + 2) * sizeof(struct stack_entry))
#define METADATA_MAX STACK_BYTES(MOST_ROOM)
void *heap_metadata(struct bslab_heap *h, size_t size);

enum heap_fault {
	HEAP_GOOD,
	HEAP_FOREIGN,  /* not a block of this heap */
	HEAP_INTERIOR, /* inside a block */
	HEAP_FREE,     /* freed before */
};
/* The bytes of a live block. */
enum heap_fault heap_block_size(struct bslab_heap *h, void *ptr, size_t *size);
enum heap_fault heap_free(struct bslab_heap *h, void *ptr);

static force_inline struct chunk *chunk_of(page_desc_t d)
{
	struct chunk *c = desc_pointer(d);

	if ((d & 0xffff) != desc_of_number(0, PAGE_HEAP))
		return NULL;
	if (!c)
		__builtin_unreachable(); /* so that callers test once */
	return c;
}

/* The heap of a block of any heap's, for messages; NULL for other pointers. */
static force_inline struct bslab_heap *heap_of(page_desc_t d)
{
	const struct chunk *c = chunk_of(d);

	return c ? c->heap : NULL;
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

/* --- inline in the calls, which hold the lock --------------------------------------------------------- */

static inline bool heap_has_room(const struct bslab_heap *h, size_t nr_pages)
{
	size_t size_bytes = nr_pages << PAGE_SHIFT;

	return h->is_live && (!h->limit || (size_bytes <= h->limit && h->size_bytes <= h->limit - size_bytes));
}

/* NULL where the stack is empty. */
static force_inline void *heap_pop(struct bslab_heap *h, unsigned class)
{
	struct stack_entry **slot = in_register(&h->top[class]), *top = *slot;
	void *p = top[-1].block;

	if (unlikely((uintptr_t)p & 1))
		return NULL;
	if (!p)
		__builtin_unreachable(); /* so that callers test once */
	*slot = top - 1;
	*top[-1].state = CHUNK_LIVE;
	return p;
}

/* A live block. False where the stack is full. */
static force_inline bool heap_push(struct bslab_heap *h, unsigned class, void *block, uint8_t *state)
{
	struct stack_entry **slot = in_register(&h->top[class]), *top = *slot;

	if (unlikely((uintptr_t)top->block & 1))
		return false;
	*state = CHUNK_WAITING;
	*top = (struct stack_entry){block, state};
	*slot = top + 1;
	return true;
}

/* The state of a live block of a slab; NULL where it is anything else. */
static force_inline uint8_t *heap_find_live(struct bslab_heap *h, void *ptr, unsigned *class)
{
	struct chunk *c = chunk_of(map_lookup((uintptr_t)ptr));
	size_t index;

	if (unlikely(!c) || unlikely(c->heap != h) || unlikely(!chunk_index(c, (uintptr_t)ptr, &index)) ||
	    unlikely(c->state[index] != CHUNK_LIVE))
		return NULL;
	*class = c->class;
	return &c->state[index];
}

/* The same for a block that is to be freed. False, and nothing is done, where it is not this simple. */
static force_inline bool heap_push_live(struct bslab_heap *h, void *ptr)
{
	unsigned class = 0;
	uint8_t *state = heap_find_live(h, ptr, &class);

	return likely(state != NULL) && heap_push(h, class, ptr, state);
}

/* Of a heap that has a lock. NULL or false also where somebody has it. */
void *heap_pop_shared(struct bslab_heap *h, unsigned class) __attribute__((visibility("hidden")));
bool heap_push_shared(struct bslab_heap *h, void *ptr) __attribute__((visibility("hidden")));

static force_inline void *heap_pop_locked(struct bslab_heap *h, unsigned class)
{
	void *p;

	if (!biased_enter(&h->lock, RANK_HEAP))
		return heap_pop_shared(h, class);
	p = heap_pop(h, class);
	biased_leave(&h->lock, RANK_HEAP);
	return p;
}

#endif
