/* SPDX-License-Identifier: MIT */
/*
 * Free page runs of few pages by CPU (Linux: struct per_cpu_pages, mm/page_alloc.c).
 *
 * 1. Runs of 2^order pages, up to PCP_MAX_ORDER, aligned to their size, wait in
 *    sheaves for the calls for pages. Each order has a cache whose objects they are, so
 *    barns, hysteresis, what rests, drains and fork are those of small objects
 *    (slab/sheaf.h, slab/percpu.h). It has no slabs: sheaves are filled from the
 *    buddies and emptied into them, some runs at a time, neighbours as one.
 *
 * 2. A run's head has the descriptor of one that is kept whole, PAGE_RUN_HOT, while it
 *    waits: written before the push, so a second free is told wherever the
 *    run is by then; and that of a folio from when it is taken.
 *
 * 3. A sheaf's word is the run's address. PCP_ZEROED is set beside it where it came fresh
 *    from a buddy and reads as zero.
 *
 * 4. What is freed here had one reference, its holder's: nobody else may look at the
 *    count, so no compare and exchange is needed to make it none. What is FOLIO_APART
 *    is not freed here.
 *
 * 5. Where nobody can empty another CPU's area, or thread's, nothing waits (3 in slab/kept.h): runs come from the
 *    buddies and go back there. What waited before membarrier was refused stays until its CPU looks or drains itself,
 *    or takes it by mm_cid.
 */
#ifndef BSLAB_PCP_H
#define BSLAB_PCP_H

#include "page/folio.h"
#include "slab/percpu.h"

#define PCP_ZEROED 2u
/* Bit n: runs of n pages. */
#define PCP_NR_PAGES (1u << 1 | 1u << 2 | 1u << 4 | 1u << 8)
_Static_assert(PCP_MAX_ORDER == 3, "PCP_NR_PAGES");

static force_inline void *pcp_address(void *word)
{
	return (void *)align_down((uintptr_t)word, BSLAB_PAGE_SIZE);
}

static force_inline bool pcp_is_zeroed(void *word)
{
	return (uintptr_t)word & PCP_ZEROED;
}

/* See 5. */
static force_inline bool pcp_may_wait(void)
{
	return likely(percpu_reach() != INDEX_THREAD);
}

/* A word that is nobody's any more becomes a folio. */
static force_inline void *pcp_use(void *word, unsigned order)
{
	map_set_known((uintptr_t)word, folio_desc(1u << order, 1));
	return pcp_address(word);
}

/* A word that this CPU has at hand, or NULL; once booted. */
static force_inline void *pcp_pop(unsigned order)
{
	return percpu_pop(PCP_CACHE + order, RSEQ_MM_CID);
}

/* Past the sheaves where there is no memory for one, or nothing may wait. NULL when there are no pages. */
void *pcp_alloc(unsigned order, unsigned pages_flags, bool *zeroed);
/*
 * Up to nr runs of one page: through the sheaves or, of more than PCP_MAX_BULK, what this CPU has at hand; the
 * buddies have the others at once, side by side (folio_alloc_singles()). zero: they read as zero.
 */
#define PCP_MAX_BULK 32
unsigned pcp_alloc_singles(void **out, unsigned nr, bool zero);

/*
 * The order of a run for the sheaves where the caller's reference is the only one: it is free then, and has to go
 * there. Else -1.
 */
static force_inline int pcp_claim(uintptr_t addr)
{
	_Atomic page_desc_t *slot = map_slot(addr);
	page_desc_t d = likely(slot != NULL) ? atomic_load_explicit(slot, memory_order_acquire) : 0;
	uint64_t rest = d - folio_desc(0, 1), nr_pages = rest >> 16 | rest << 48; /* large where it is not that of one reference */
	int order;

	if (nr_pages > 1u << PCP_MAX_ORDER || !(PCP_NR_PAGES >> nr_pages & 1) || addr & ((nr_pages << PAGE_SHIFT) - 1))
		return -1;
	atomic_store_explicit(slot, desc_of_number(nr_pages, PAGE_RUN_HOT), memory_order_relaxed);
	order = (int)__builtin_ctzll(nr_pages);
	if (likely(nr_pages == 1)) {
		order = 0;
		__asm__("" : "+r"(order)); /* guessed by the branch: the sheaf need not wait for the descriptor */
	}
	return order;
}

/* False where this CPU has no room at hand. */
static force_inline bool pcp_free_quick(void *addr, unsigned order)
{
	return pcp_may_wait() && percpu_push(PCP_CACHE + order, addr, RSEQ_MM_CID);
}

/* The rest of it, of a run that was claimed. */
void pcp_free(void *addr, unsigned order);
/*
 * Frees the first of nr runs, up to what is no run of one page with one reference: what this CPU has room for at
 * hand; some to the buddies at once. How many.
 */
unsigned pcp_push_singles(void *const *pages, unsigned nr);
unsigned pcp_give_singles(void *const *pages, unsigned nr);

/* For slab.c, as slab_take() and slab_give(). */
unsigned pcp_take(struct kmem_cache *c, void **out, unsigned n, unsigned pages_flags);
void pcp_give(struct kmem_cache *c, void *const *objects, unsigned n);

#endif
