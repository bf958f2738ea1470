/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "base/probe.h"
#include "heap/heap.h"
#include "heap/pool.h"
#include "large/large.h"
#include "malloc/clear.h"
#include "malloc/explicit.h"
#include "malloc/fast.h"
#include "malloc/guarded.h"
#include "malloc/hardened.h"
#include "malloc/internal.h"
#include "malloc/profile.h"
#include "malloc/reports.h"
#include "os/bug.h"
#include "os/options.h"
#include "page/runs.h"
#include "profile/sampler.h"
#include "slab/kept.h"
#include "slab/percpu.h"

/* --- page runs --------------------------------------------------------------------- */

static unsigned pages_of(size_t size)
{
	return (unsigned)((size + BSLAB_PAGE_SIZE - 1) >> PAGE_SHIFT);
}

static void *run_of_size(size_t size, size_t align, unsigned flags, bool *zeroed)
{
	unsigned align_order = align > BSLAB_PAGE_SIZE ? ilog2(align) - PAGE_SHIFT : 0;

	return run_alloc(pages_of(size), align_order, flags, zeroed);
}

/* --- allocation of any size ---------------------------------------------------------- */

/* size: what the request is rounded to. */
static void *alloc_once(const struct alloc_request *r, size_t size, unsigned flags, bool *zeroed)
{
	size_t align = r->align;
	struct kmem_cache *c;
	void *p;

	*zeroed = bslab_options.hardened;
	if (unlikely(bslab_options.hardened))
		return hardened_alloc(r, flags);
	if (size <= SMALL_MAX && align <= BSLAB_PAGE_SIZE) {
		c = cache_of(size_class(size));
		return c ? percpu_alloc_slow(c, flags) : NULL;
	}
	if (size <= PAGEBLOCK_SIZE && align <= PAGEBLOCK_SIZE) {
		if (unlikely(large_wants_mapping(size)) && (p = large_alloc(size, align, zeroed)))
			return p;
		large_tick();
		kept_yield(pages_of(size));
		return run_of_size(size, align, flags, zeroed);
	}
	return large_alloc(size, align, zeroed);
}

struct slow_counts counts reader_root(slow_counts);

/* --- whether the fast paths may be taken -------------------------------------------------- */

static _Atomic unsigned slow_reasons; /* mask of enum slow_reason */

/*
 * Whoever stores looks again whether it stored what the reasons say, so the last to store has it right. Release: behind
 * what the fast paths read.
 */
static void slow_reasons_apply(void)
{
	unsigned r;

	do {
		r = atomic_load(&slow_reasons);
		sampler_allow_medium(r == SLOW_PROFILE);
		guarded_allow_medium(r == SLOW_GUARDED ? SMALL_MAX + 1 : 0);
		kept_allow(!(r & ~(unsigned)SLOW_GUARDED));
		__atomic_store_n(&bslab_hot.small_limit, r ? 0 : SMALL_MAX + 1, __ATOMIC_SEQ_CST);
	} while (atomic_load(&slow_reasons) != r);
}

void slow_path_force(enum slow_reason why)
{
	atomic_fetch_or(&slow_reasons, why);
	slow_reasons_apply();
}

void slow_path_allow(enum slow_reason why)
{
	atomic_fetch_and(&slow_reasons, ~(unsigned)why);
	slow_reasons_apply();
}

/* 0, or the byte whose complement new blocks are filled with. */
static _Atomic uint8_t perturb;

void perturb_set(int byte)
{
	atomic_store(&perturb, (uint8_t)byte);
	if (byte)
		slow_path_force(SLOW_PERTURB);
	else
		slow_path_allow(SLOW_PERTURB);
}

/* --- slow paths of malloc and its kin ---------------------------------------------------------- */

static size_t size_of_block(size_t size, size_t align)
{
	size += !size; /* a block of its own, at any alignment */
	/* Class sizes are naturally aligned, so a size that is a multiple of the alignment is enough. */
	return align > 8 && align <= BSLAB_PAGE_SIZE && size <= SMALL_MAX ? align_up(size, align) : size;
}

void *alloc_slow(const struct alloc_request *r, bool *zeroed)
{
	size_t size = size_of_block(r->size, r->align);
	void *p = NULL;
	unsigned round;

	process_boot();
	if (likely(!r->no_retry))
		reclaim_if_due();
	if (likely(!is_too_much(size) && r->align <= MAX_REQUEST)) {
		if (unlikely(guarded_is_on()) && !r->is_counted && guarded_hits() && (p = guarded_alloc(r, zeroed)))
			size = r->asked; /* what stands behind that is not to be written */
		if (!p && unlikely(sampler_interval()) && !r->is_counted && sampler_hits(sampler_bytes(r->size)))
			p = sampled_alloc(r, size, zeroed);
		if (likely(!p))
			p = alloc_once(r, size, r->pages_flags, zeroed);
		for (round = 0; unlikely(!p && !r->no_retry) && reclaim_more(round, size); round++)
			p = alloc_once(r, size, PAGES_HIGHATOMIC | r->pages_flags, zeroed);
	}
	process_hook_thread();
	reports_poll();
	if (unlikely(!p)) {
		PROBE(alloc_fail, r->size, r->align);
		atomic_fetch_add_explicit(&counts.nr_failures, 1, memory_order_relaxed);
		errno = ENOMEM;
	} else if (unlikely(atomic_load_explicit(&perturb, memory_order_relaxed))) {
		memset(p, ~atomic_load_explicit(&perturb, memory_order_relaxed), size);
		*zeroed = false;
	}
	return p;
}

out_of_line void *malloc_rest(size_t size)
{
	bool zeroed;

	return alloc_slow(&(struct alloc_request){.size = size, .align = 1, .asked = size, .by = CALLER()}, &zeroed);
}

out_of_line void *malloc_counted(size_t size)
{
	bool zeroed;

	return alloc_slow(&(struct alloc_request){.size = size, .align = 1, .asked = size, .by = CALLER(), .is_counted = true}, &zeroed);
}

/* A request that the run which this CPU freed last may serve: it is aligned to a page at least. */
static bool wants_run(size_t size, size_t align)
{
	return size > SMALL_MAX && size <= PAGEBLOCK_SIZE && align <= BSLAB_PAGE_SIZE;
}

static out_of_line void *take_quick(size_t size)
{
	return kept_take_quick(pages_of(size));
}

static void *take_kept(size_t size, size_t align)
{
	if (!wants_run(size, align))
		return NULL;
	return likely(percpu_mode() != INDEX_CPU_ID) ? take_quick(size) : kept_take(pages_of(size), BSLAB_PAGE_SIZE);
}

/* A block of pageblocks that was freed not long ago, where no call is to be counted. */
static force_inline void *take_kept_large(size_t size)
{
	return size > PAGEBLOCK_SIZE && likely(READ_ONCE(bslab_hot.kept_limit) != 0) ? large_take_kept(size) : NULL;
}

static out_of_line void *malloc_past_run(size_t size)
{
	void *obj = NULL;

	if (unlikely(percpu_mode() == INDEX_CPU_ID) && wants_run(size, 1)) /* by any other it was tried */
		obj = kept_take(pages_of(size), BSLAB_PAGE_SIZE);
	if (!obj)
		obj = take_kept_large(size);
	return obj ? obj : malloc_rest(size);
}

void *malloc_slow(size_t size)
{
	return bslab_options.hardened ? hardened_malloc(size) : malloc_rest(size);
}

void *malloc_pages(size_t size)
{
	void *run = kept_take_quick(((size - 1) >> PAGE_SHIFT) + 1); /* no size is so large that this wraps */

	return likely(run != NULL) ? run : malloc_past_run(size);
}

void *malloc_medium_shared(size_t size)
{
	if (bslab_options.hardened)
		return hardened_malloc(size);
	return malloc_medium(size);
}

void *malloc_by(size_t size, struct caller by, bool is_counted)
{
	bool zeroed;

	return alloc_slow(&(struct alloc_request){.size = size, .align = 1, .asked = size, .by = by, .is_counted = is_counted}, &zeroed);
}

static out_of_line void *calloc_rest(size_t size, bool is_counted)
{
	bool zeroed = false;
	void *p = alloc_slow(&(struct alloc_request){.size = size, .align = 1, .asked = size, .by = CALLER(), .is_counted = is_counted}, &zeroed);

	if (p && !zeroed)
		block_clear(p, size);
	return p;
}

void *calloc_slow(size_t size)
{
	return bslab_options.hardened ? hardened_malloc(size) : calloc_rest(size, false);
}

void *calloc_counted(size_t size)
{
	return calloc_rest(size, true);
}

void *memalign_slow(size_t size, size_t align)
{
	void *p = take_kept(size, align);

	return likely(p != NULL) ? p : memalign_by(size, align, CALLER());
}

void *memalign_by(size_t size, size_t align, struct caller by)
{
	bool zeroed;

	return alloc_slow(&(struct alloc_request){.size = size, .align = align, .asked = size, .by = by}, &zeroed);
}

static out_of_line int posix_memalign_by(void **ptr, size_t size, size_t align, struct caller by)
{
	int saved = errno;
	void *p = memalign_by(size, align, by);

	if (unlikely(!p)) {
		errno = saved;
		return ENOMEM;
	}
	*ptr = p;
	return 0;
}

int posix_memalign_slow(void **ptr, size_t size, size_t align)
{
	void *p = take_kept(size, align);

	if (unlikely(!p))
		return posix_memalign_by(ptr, size, align, CALLER());
	*ptr = p;
	return 0;
}

/* --- free ------------------------------------------------------------------------------ */

static bool free_slab_object(page_desc_t d, void *ptr)
{
	struct slab *s = slab_of(d);

	/* Only here does it cost nothing to look: the fast paths leave these two to the drain. */
	switch (slab_check_object(s, (uintptr_t)ptr)) {
	case OBJECT_INTERIOR:
		bug_caller("invalid free of %p: inside a block of %z bytes at %p", ptr, (size_t)slab_cache(s)->size,
			   (void *)slab_object_base(s, (uintptr_t)ptr));
		return true;
	case OBJECT_FREE:
		bug_caller("double free of %p", ptr);
		return true;
	default:
		percpu_free_slow(slab_cache(s), ptr);
		return true;
	}
}

static bool free_run(page_desc_t d, void *ptr)
{
	if (desc_type(d) != PAGE_RUN || (uintptr_t)ptr % BSLAB_PAGE_SIZE)
		return false;
	run_free(ptr, (unsigned)desc_number(d));
	large_tick();
	return true;
}

static bool free_large(page_desc_t d, void *ptr)
{
	struct vm_area *a = large_of_malloc(d, ptr);

	if (!a)
		return false;
	if (unlikely(a->sample != NULL)) {
		sampled_forget(a->sample);
		a->sample = NULL; /* the block may be kept as it is */
	}
	large_free(a);
	return true;
}

/* No lock, no system call, and no report that is due either: whoever may not wait for memory may give it back. */
void free_reserved(page_desc_t d, void *ptr)
{
	struct pool *p = pool_of(d);

	if (!p->is_mallocs)
		report_pointer(ptr, "free");
	else if (pool_give(p, ptr) != POOL_GOOD)
		bug_caller("invalid free of %p: freed before, or inside a block of %z bytes of a NOWAIT pool", ptr, p->size);
}

static force_inline bool was_kept(enum kept_free how)
{
	if (unlikely(how == KEPT_BY_A_LOCK))
		reports_poll();
	return how != KEPT_NOT;
}

static out_of_line void free_rest(void *ptr)
{
	page_desc_t d;

	if (!ptr || (unlikely(percpu_mode() == INDEX_CPU_ID) && was_kept(kept_free(ptr))))
		return;
	d = map_lookup((uintptr_t)ptr);
	if (unlikely(guarded_of(d) != NULL)) {
		guarded_free(d, ptr);
		return;
	}
	if (desc_class(d)) {
		free_slab_object(d, ptr);
		process_hook_thread();
	} else if (pool_of(d)) {
		free_reserved(d, ptr);
		return;
	} else if (heap_of_malloc(d)) {
		explicit_free(heap_of_malloc(d), ptr);
	} else if (!free_run(d, ptr) && !free_large(d, ptr) && !sampled_free(d, ptr)) {
		report_pointer(ptr, "free");
	}
	reports_poll();
}

/* A large block of which nothing is known but its size; else the rest. */
static out_of_line void free_past_run(void *ptr)
{
	struct vm_area *a = large_of_malloc(map_lookup((uintptr_t)ptr), ptr);

	if (!a || unlikely(a->sample != NULL)) {
		free_rest(ptr);
		return;
	}
	large_free(a);
	reports_poll();
}

void free_foreign(void *ptr)
{
	if (unlikely(bslab_options.hardened))
		hardened_free(ptr);
	else
		free_past_run(ptr);
}

static out_of_line void free_displacing(void *run, size_t nr_pages)
{
	kept_put_slow(run, nr_pages);
	reports_poll();
}

void free_slow(void *ptr, const uint8_t *class)
{
	_Atomic page_desc_t *slot = (_Atomic page_desc_t *)(uintptr_t)class;
	page_desc_t d = atomic_load_explicit(slot, memory_order_relaxed);

	if (unlikely(!kept_may_put(ptr, d))) /* in the hardened mode nothing is a run */
		free_foreign(ptr);
	else if (unlikely(!kept_put_quick(ptr, d, slot)))
		free_displacing(ptr, (size_t)desc_number(d));
}
