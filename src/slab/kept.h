/* SPDX-License-Identifier: MIT */
/*
 * The page run that each CPU freed last, kept whole (Linux: struct per_cpu_pages,
 * mm/page_alloc.c).
 *
 * 1. A word of the CPU's area has its address and, in the low bits, its number of
 *    pages; 0 where there is none. It is put and taken by the sequence that
 *    changes tops, so a buffer that is taken and freed in turn costs no lock and no
 *    atomic operation. The run that another one drives out goes to those that the
 *    buddy keeps (page/runs.h), and so does one that is large enough for a request
 *    of another size, of malloc's or of the calls for pages (kept_yield()).
 *
 * 2. Its head's descriptor is PAGE_RUN_HOT, written before the word: whoever takes
 *    the run may write it from then on. So a second free is told.
 *
 * 3. It goes home with what else the area holds: at the second look that finds
 *    it there, when the CPU is idle or drained (slab/percpu.h); what fork left behind,
 *    at the child's first look. Nobody can empty the
 *    area of a thread that sleeps, so in mode thread none is kept; nor is any from when
 *    membarrier was refused (percpu_reach(); as in slab/pcp.h), nor where the fast paths may not be taken (kept_allow()).
 *
 * 4. A folio's run is taken and kept as malloc's are. Those of up to PCP_MAX_ORDER have sheaves of their
 *    own, slab/pcp.h, and others of no more pages go to the buddy's.
 *
 * 5. kept_free() leaves every KEPT_LOOK_FREES'th of a thread to the way past it, where the
 *    clock is looked at and reports are written. The CPU looks for what rests then too,
 *    so one that does nothing but this is not idle.
 */
#ifndef BSLAB_KEPT_H
#define BSLAB_KEPT_H

#include "map/map.h"
#include "page/buddy.h"
#include "slab/percpu.h"

/* The low bits of the word: pages, and whether a look has seen the run there. */
#define KEPT_NR_PAGES 0x7ffu
#define KEPT_WAS_SEEN 0x800u
_Static_assert(MAX_HOT_PAGES <= KEPT_NR_PAGES && (KEPT_NR_PAGES | KEPT_WAS_SEEN) < BSLAB_PAGE_SIZE, "the word");

static force_inline size_t kept_nr_pages(void **word)
{
	return (uintptr_t)word & KEPT_NR_PAGES;
}

static force_inline void *kept_address(void **word)
{
	return (void *)align_down((uintptr_t)word, BSLAB_PAGE_SIZE);
}

/* by_mode: not by mm_cid and inlined, but as the mode wants it, by a call. */
static force_inline void **kept_here(const bool by_mode)
{
	return READ_ONCE((by_mode ? percpu_here() : percpu_area_by(RSEQ_MM_CID))->run);
}

static force_inline bool kept_swap(void **old, void **new, const bool by_mode)
{
	return by_mode ? percpu_swap_top(KEPT_RUN, old, new) : percpu_cmpxchg(KEPT_RUN, old, new, &none_area, RSEQ_MM_CID);
}

static force_inline void *kept_take_from(size_t nr_pages, size_t align, const bool by_mode)
{
	void **word;

	if (nr_pages > READ_ONCE(bslab_hot.kept_limit))
		return NULL;
	word = kept_here(by_mode);
	if (kept_nr_pages(word) != nr_pages || (uintptr_t)kept_address(word) & (align - 1) || unlikely(!kept_swap(word, NULL, by_mode)))
		return NULL;
	map_set((uintptr_t)kept_address(word), desc_of_number(nr_pages, PAGE_RUN));
	return kept_address(word);
}

/* Whether runs are kept from now on: no call is to be counted but those for which guarded blocks are too small. */
static inline void kept_allow(bool allow)
{
	WRITE_ONCE(bslab_hot.kept_limit, allow ? MAX_HOT_PAGES : 0);
}

/* A kept run of so many pages, aligned to a page at least, or NULL. */
void *kept_take(size_t nr_pages, size_t align) __attribute__((visibility("hidden")));
static force_inline void *kept_take_quick(size_t nr_pages)
{
	return likely(percpu_mode() == INDEX_MM_CID) ? kept_take_from(nr_pages, BSLAB_PAGE_SIZE, false) : NULL;
}

/* Looks for what rests; the next page event of this thread looks at the clock too. */
void kept_look(void) __attribute__((visibility("hidden")));

/* Frees of a thread between two looks: one costs as much as forty. */
#define KEPT_LOOK_FREES 64

/* Of one that was found to be such a run: counts it. */
static force_inline bool kept_count_free(void)
{
	if (likely(++thread_state.nr_kept_frees % KEPT_LOOK_FREES))
		return true;
	kept_look();
	return false;
}

/* Whether a pointer is a run's, which kept_free() may take now; counts it then. */
static force_inline bool kept_may_free(const void *ptr, size_t *nr_pages)
{
	const _Atomic page_desc_t *slot = map_slot((uintptr_t)ptr);
	page_desc_t d = likely(slot != NULL) ? atomic_load_explicit(slot, memory_order_relaxed) : 0;

	*nr_pages = (size_t)desc_number(d);
	if (d != desc_of_number(*nr_pages, PAGE_RUN) || *nr_pages > READ_ONCE(bslab_hot.kept_limit) || (uintptr_t)ptr % BSLAB_PAGE_SIZE)
		return false;
	return kept_count_free();
}

enum kept_free {
	KEPT_NOT,	/* no run, or one to be freed in another way: nothing was done */
	KEPT_ALONE,
	KEPT_BY_A_LOCK, /* a run went to the buddy's: a report may have become due meanwhile */
};

/* The rest of kept_free() where there was another run, and where the word could not be changed. */
enum kept_free kept_displace(void **word) __attribute__((visibility("hidden")));
enum kept_free kept_free_first(void *addr, size_t nr_pages) __attribute__((visibility("hidden")));

static force_inline enum kept_free kept_put(void *ptr, size_t nr_pages, const bool by_mode)
{
	void **old = kept_here(by_mode);

	map_set((uintptr_t)ptr, desc_of_number(nr_pages, PAGE_RUN_HOT));
	if (unlikely(!kept_swap(old, (void **)((uintptr_t)ptr + nr_pages), by_mode)))
		return kept_free_first(ptr, nr_pages);
	return likely(!old) ? KEPT_ALONE : kept_displace(old);
}

static force_inline enum kept_free kept_free_to(void *ptr, const bool by_mode)
{
	size_t nr_pages;

	return kept_may_free(ptr, &nr_pages) ? kept_put(ptr, nr_pages, by_mode) : KEPT_NOT;
}

/* free() of a run. */
enum kept_free kept_free(void *ptr) __attribute__((visibility("hidden")));
static force_inline enum kept_free kept_free_quick(void *ptr)
{
	return likely(percpu_reach() == INDEX_MM_CID) ? kept_free_to(ptr, false) : KEPT_NOT;
}

/* The same of a folio that its holder puts, who has the one reference. */
enum kept_free kept_free_folio(void *head);

/* Makes what this CPU keeps a part of the free pages where it is enough for a request. */
void kept_yield(size_t nr_pages);

/* A word that is nobody's any more. */
void kept_send_home(void **word);
/* Of an area: sends home the run that the last look saw, or any that nobody can take meanwhile. */
void kept_reap(struct percpu_area *a);
void kept_empty(struct percpu_area *a);
/* Of this CPU, whoever may be at work there. */
void kept_drain_own(void);

#endif
