/* SPDX-License-Identifier: MIT */
/*
 * A heap of bslab's in memory that is not ours.
 *
 * 1. Found by its anchor (malloc/anchor.h): an ELF note of the library or of the
 *    program, looked for where ELF images begin in the memory, so that neither a
 *    path nor a symbol table is needed.
 * 2. The heap is not stopped: what is read together need not belong together.
 *    A pageblock is read twice, and again while it differs. A list may change
 *    under the walk, so walks end by themselves: after as many nodes as there
 *    can be, or when they go round. A large block counts only if the page map leads
 *    back to it, and their list is walked again while it changes. What could not be
 *    had twice alike is counted in nr_doubts.
 * 3. No pointer is followed before it is looked at, and none is trusted: all
 *    that a wrong one leads to is a wrong number, a doubt.
 */
#ifndef BSLAB_INSIGHT_HEAP_H
#define BSLAB_INSIGHT_HEAP_H

#include "insight/memory.h"
#include "malloc/anchor.h"

struct heap {
	struct memory *memory;
	uint64_t root[NR_ROOTS]; /* addresses */
	unsigned nr_heaps;	 /* how many were found; this is the first that is in use */
	size_t nr_doubts;
	/* Read at once: */
	struct options options;
	struct percpu percpu;
	struct zone zone;
	uint64_t none_top; /* the top of a sheaf that is none */
	uint64_t section; /* the last one looked up: number + 1, and its root entry */
	uint64_t section_root;
	struct region *regions; /* as many as were found; freed by heap_close() */
	size_t nr_regions;
	uint64_t *buddies; /* addresses, oldest first: their numbers; freed by heap_close() */
	size_t nr_buddies;
};

/* Finds the roots; false with a fault in memory. heap_open() calls it. */
bool heap_find_anchor(struct heap *h);
/* Finds the heap and reads its roots, regions and the list of buddies. False with a fault in memory. */
bool heap_open(struct heap *h, struct memory *memory);
void heap_close(struct heap *h);
/* Reads them anew where they were found: cheap. False, as after heap_close(), when they are there no more. */
bool heap_reopen(struct heap *h);

/* Reads a structure of the heap: false where the address cannot be that of one. */
bool heap_read(struct heap *h, uint64_t addr, void *buf, size_t size);

/* The descriptor of an address; 0 where no section is. */
page_desc_t heap_desc(struct heap *h, uint64_t addr);

/* A buddy's, or of the contiguous reserve: its pages have descriptors, and what is free is in lists, and counted. */
static inline bool has_free_lists(const struct pageblock *b)
{
	return b->state == PAGEBLOCK_BUDDY || b->state == PAGEBLOCK_CONTIG;
}

struct block_copy {
	struct pageblock b;
	page_desc_t desc[PAGEBLOCK_PAGES];
};
/* The pageblock of an address and, where has_free_lists(), its pages' descriptors; else those are 0. */
bool heap_block(struct heap *h, uint64_t addr, struct block_copy *copy);
/* The pageblocks from an address on, without descriptors, each as it was at some moment: how many of them were had. */
unsigned heap_pageblocks(struct heap *h, uint64_t addr, unsigned nr, struct pageblock *out);
/* The region that an address is in, in its committed part, or NULL. */
const struct region *heap_region(const struct heap *h, uint64_t addr);

/* The number of a buddy, or one of these. */
#define BUDDY_UNKNOWN -1
#define BUDDY_RESERVE -2 /* HIGHATOMIC */
int heap_buddy_number(const struct heap *h, uint64_t buddy);

/* All large blocks, newest first, to be freed; *nr of them. NULL when there are none. *large: as it was then. */
struct vm_area *heap_large(struct heap *h, struct large *large, size_t *nr);

/* Freed large blocks that are kept as they are: free to everyone but the zone. */
struct kept_large {
	struct vm_area area[NR_HOT];
	unsigned nr;
};
void heap_kept_large(struct heap *h, struct kept_large *kept);
/* The one whose pageblocks, or mapping, the address is in; or NULL. */
const struct vm_area *kept_large_at(const struct kept_large *kept, uint64_t addr);

/* Copies of a slab's header, as far as it is of use, with its bits, and of a cache. */
struct slab_copy {
	uint64_t addr, base;
	unsigned nr_objects;
	uint64_t free[MAX_SLAB_WORDS];
};
bool heap_cache(struct heap *h, unsigned class, struct kmem_cache *c, uint64_t *addr);
/* The name of a typed cache, "" of malloc's. */
void heap_cache_name(struct heap *h, const struct kmem_cache *c, char name[CACHE_NAME_SIZE]);
/* The slab must be one of the class. */
bool heap_slab(struct heap *h, uint64_t addr, unsigned class, struct slab_copy *copy);

#define MAX_SHEAF_SLOTS 1024 /* more than any has: sheaf.c, NR_SHEAF_SIZES */

struct sheaf_copy {
	uint64_t addr; /* 0: the CPU has none of this class */
	unsigned nr, capacity;
	uint64_t object[MAX_SHEAF_SLOTS];
};
/* The sheaf that a CPU works on, by its top. False when it changed under the eye. */
bool heap_sheaf_of_top(struct heap *h, uint64_t top, struct sheaf_copy *copy);
/* One in a barn; *next is the one behind it. */
bool heap_sheaf(struct heap *h, uint64_t addr, struct sheaf_copy *copy, uint64_t *next);

/* The CPUs' areas, by slot: calls visit with each, until it returns false. Orphans of fork have slot -1. */
typedef bool heap_area_visit(void *arg, int slot, const struct percpu_area *area);
void heap_areas(struct heap *h, heap_area_visit *visit, void *arg);

/*
 * A list with a bound. Each node begins with a pointer to the next at `offset`. Brent's algorithm: the walk remembers
 * one node, a later one each time the distance has doubled; who meets it again goes round.
 */
struct list_walk {
	struct heap *heap;
	uint64_t next, seen;
	size_t offset, nr, power, limit;
};
void list_walk_begin(struct list_walk *w, struct heap *h, uint64_t first, size_t offset, size_t limit);
/* The address of the next node; 0 at the end. After a doubt, too. */
uint64_t list_walk_next(struct list_walk *w);

#endif
