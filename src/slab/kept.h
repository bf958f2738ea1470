/* SPDX-License-Identifier: MIT */
/*
 * The page run that each CPU freed last, kept whole (Linux: struct per_cpu_pages,
 * mm/page_alloc.c).
 *
 * 1. A cell of the CPU's area has its address, and as the key its number of pages.
 *    It is put and taken by one sequence each (arch/percpu.h), so a buffer that is
 *    taken and freed in turn costs no lock and no atomic operation. The run that
 *    another one drives out goes to those that the buddy keeps (page/runs.h), and so
 *    does one that is large enough for a request of another size, of malloc's or of
 *    the calls for pages (kept_yield()).
 *
 * 2. Its head's descriptor is PAGE_RUN_HOT, written before it is put: whoever takes
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
 * 5. Every KEPT_LOOK_FREES'th of a thread's frees that may be kept goes the way past it, where the
 *    clock is looked at and reports are written. The CPU looks for what rests then too,
 *    so one that does nothing but this is not idle, if it does it so many times a second.
 */
#ifndef BSLAB_KEPT_H
#define BSLAB_KEPT_H

#include "map/map.h"
#include "page/buddy.h"
#include "slab/percpu.h"

/* A bit of the address: a look has seen the run there. */
#define KEPT_WAS_SEEN 1u

static force_inline void *kept_address(void *value)
{
	return (void *)((uintptr_t)value & ~(BSLAB_PAGE_SIZE - 1));
}

/* Whether runs are kept from now on: no call is to be counted but those for which guarded blocks are too small. */
static inline void kept_allow(bool allow)
{
	WRITE_ONCE(bslab_hot.kept_limit, allow ? MAX_HOT_PAGES : 0);
}

/* A kept run of so many pages, aligned to a page at least, or NULL. */
void *kept_take(size_t nr_pages, size_t align) __attribute__((visibility("hidden")));
/* The same for malloc, where the index is mm_cid: by any other this finds nothing. */
static force_inline void *kept_take_quick(size_t nr_pages)
{
	void *run;

	if (nr_pages > READ_ONCE(bslab_hot.kept_limit))
		return NULL;
	run = percpu_take(KEPT_RUN, nr_pages, RSEQ_MM_CID);
	if (unlikely(!run))
		return NULL;
	run = kept_address(run);
	map_set_known((uintptr_t)run, desc_of_number(nr_pages, PAGE_RUN));
	return run;
}

/* Looks for what rests; the next page event of this thread looks at the clock too. */
void kept_look(void) __attribute__((visibility("hidden")));

/* Frees of a thread between two looks: one costs as much as forty. Where nr_kept_frees wraps. */
#define KEPT_LOOK_FREES (UINT8_MAX + 1)
_Static_assert(sizeof((struct thread_state *)0)->nr_kept_frees == sizeof(uint8_t), "it wraps");

/* Of one that was found to be such a run: counts it. */
static force_inline bool kept_count_free(void)
{
	if (likely(!__builtin_add_overflow(thread_state.nr_kept_frees, 1, &thread_state.nr_kept_frees)))
		return true;
	kept_look();
	return false;
}

/* free() of a run where the index is mm_cid: whether it is one that may be put now, by its descriptor; counts it then. */
static force_inline bool kept_may_put(const void *ptr, page_desc_t d)
{
	return likely((uint16_t)d == desc_of_number(0, PAGE_RUN)) && likely(desc_number(d) <= READ_ONCE(bslab_hot.kept_limit)) &&
	       likely((uintptr_t)ptr % BSLAB_PAGE_SIZE == 0) && likely(percpu_reach() == INDEX_MM_CID) && kept_count_free();
}

/* False where it is for kept_put_slow() to do. */
static force_inline bool kept_put_quick(void *run, page_desc_t d, _Atomic page_desc_t *slot)
{
	atomic_store_explicit(slot, d ^ desc_of_number(0, PAGE_RUN) ^ desc_of_number(0, PAGE_RUN_HOT), memory_order_relaxed);
	return likely(percpu_put(KEPT_RUN, (size_t)desc_number(d), run, RSEQ_MM_CID));
}

enum kept_free {
	KEPT_NOT,	/* no run, or one to be freed in another way: nothing was done */
	KEPT_ALONE,
	KEPT_BY_A_LOCK, /* a run went to the buddy's: a report may have become due meanwhile */
};

/* The rest of a free that has marked the run and could not put it; by a lock. */
void kept_put_slow(void *run, size_t nr_pages) __attribute__((visibility("hidden")));

/* free() of a run, whatever the index. */
enum kept_free kept_free(void *ptr) __attribute__((visibility("hidden")));
/* The same of a folio that its holder puts, who has the one reference. */
enum kept_free kept_free_folio(void *head);

/* Makes what this CPU keeps a part of the free pages where it is enough for a request. */
void kept_yield(size_t nr_pages);

/* Pages of the run that an area has; racy. */
static inline size_t kept_nr_pages(const struct percpu_area *a)
{
	return READ_ONCE(a->run.key);
}
/* Of an area that nobody works on: what it had, of so many pages, or NULL. */
void *kept_detach(struct percpu_area *a, size_t *nr_pages);
void kept_send_home(void *run, size_t nr_pages);
/* Of this CPU's area: sends home the run that the last look saw. */
void kept_reap(struct percpu_area *a);
/* Of one that nobody works on. */
void kept_empty(struct percpu_area *a);
/* Of this CPU, whoever may be at work there. */
void kept_drain_own(void);

#endif
