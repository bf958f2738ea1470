/* SPDX-License-Identifier: MIT */
/*
 * malloc's blocks of explicit zones (page/zonelist.h): what kmalloc takes of them, and bslab_free() gives.
 *
 * 1. Small ones are objects of caches, one for each size class of a zone (Linux: kmalloc_caches[KMALLOC_DMA][]; of a node, struct
 *    kmem_cache_node). Its number stands in a table, and is malloc's class in all else: an alloc pops from its sheaf, and free()
 *    finds it as any class. Made when the zone is first asked for the size, and has a page; from then on it is there.
 * 2. A sheaf has objects of one node alone, so THISNODE looks for the node and not at the objects (Linux: node_match(), which
 *    looks at the slab of each): rseq tells it, where the index is mm_cid.
 * 3. All others come from a heap of the zone: larger ones; of the hardened mode, whose blocks it knows one by one; and of sizes
 *    beyond MAX_EXPLICIT_CACHES, so that typed caches do not run out of numbers.
 */
#ifndef BSLAB_MALLOC_EXPLICIT_H
#define BSLAB_MALLOC_EXPLICIT_H

#include "arch/arch.h"
#include "heap/heap.h"
#include "os/nodes.h"
#include "page/buddy.h"
#include "slab/typed.h"

#define MAX_EXPLICIT_CACHES 80

/* Kernel's numbers of nodes, or of CPUs where the nodes are made up, that the fast path knows. */
#define MAX_HERE 256u
/* More than there are classes, so that a row is found by a shift. */
#define CLASS_ROW 128
_Static_assert(CLASS_ROW >= NR_CLASSES, "a row has all classes");

/*
 * The caches' numbers by the zone's type; the node + 1, or 0 for whatever is nearest; and the size class. 0, which no object has:
 * none yet. The type behind the last has none, and the last row.
 */
enum { EXPLICIT_ROW_OF_NONE = MAX_NODES + 1, NR_EXPLICIT_ROWS };
typedef _Atomic uint8_t explicit_row[CLASS_ROW];

struct explicit_hot {
	/* From the thread pointer to the word that tells where a thread runs; 0: not known. Read before `row`, and set after it. */
	_Atomic uintptr_t here;
	_Atomic(const explicit_row *) row[MAX_HERE]; /* by that word; of ZONE_NORMAL, and the other types' stand behind */
	_Atomic unsigned no_effect; /* BSLAB_GFP_THISNODE, once it is known that there is one node */
	explicit_row class[NR_ZONE_TYPES + 1][NR_EXPLICIT_ROWS];
};
extern struct explicit_hot explicit_hot __attribute__((visibility("hidden")));

static force_inline unsigned explicit_class(const explicit_row *row, unsigned class)
{
	return atomic_load_explicit(&(*row)[class], memory_order_relaxed);
}

/* The row of ZONE_NORMAL for the node that this thread runs on; that of none where only a call tells. */
static force_inline const explicit_row *explicit_row_here(void)
{
	const explicit_row *none = &explicit_hot.class[ZONE_NORMAL][EXPLICIT_ROW_OF_NONE];
	uintptr_t here = atomic_load_explicit(&explicit_hot.here, memory_order_acquire);
	uint32_t word;

	if (unlikely(!here))
		return none;
	word = arch_thread_word(here);
	return likely(word < MAX_HERE) ? atomic_load_explicit(&explicit_hot.row[word], memory_order_relaxed) : none;
}

/* The explicit zone that a block of malloc's is of, by PAGES_EXPLICIT; 0: none. */
static inline unsigned explicit_zone_of(page_desc_t d)
{
	struct bslab_heap *h;

	if (desc_class(d))
		return desc_class(d) < NR_CLASSES ? 0 : cache_pages_flags(slab_cache(slab_of(d)));
	h = heap_of_malloc(d);
	return h ? h->pages_flags : 0;
}

/* pages_flags: some of PAGES_EXPLICIT. NULL where the zone has no more. *zeroed: reads as zero. */
void *explicit_alloc(size_t size, unsigned pages_flags, bool no_retry, bool *zeroed);
/* The flag for memory of this node alone; 0 where there is one node, and all is. Of a node without memory no zone has any. */
unsigned explicit_this_node(void) __attribute__((visibility("hidden")));
/*
 * Before another try of what failed for want of size bytes, as reclaim_more(); of an explicit zone only that is emptied, unless a
 * limit refuses. Whatever the flags.
 */
bool explicit_make_room(unsigned pages_flags, unsigned round, size_t size);
/* Blocks of heaps that are malloc's: heap_of_malloc(). The size is 0 after a report. */
void explicit_free(struct bslab_heap *h, void *ptr);
size_t explicit_size(struct bslab_heap *h, void *ptr, const char *what);
/* A live block of old_size bytes, of the explicit zone of pages_flags: one that moves stays there. */
void *explicit_realloc(void *ptr, size_t old_size, size_t size, unsigned pages_flags, bool no_retry);

#endif
