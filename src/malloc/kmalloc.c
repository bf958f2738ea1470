/* SPDX-License-Identifier: MIT */
/* kmalloc and what goes with it; bslab/kmalloc.h documents each call. */
#include "bslab/kmalloc.h"

#include <errno.h>
#include <string.h>

#include "heap/pool.h"
#include "large/large.h"
#include "malloc/explicit.h"
#include "malloc/fast.h"
#include "malloc/hardened.h"
#include "malloc/internal.h"
#include "malloc/reports.h"
#include "os/bug.h"
#include "os/options.h"
#include "os/os.h"
#include "page/buddy.h"

/* NULL: there is no memory. */
static struct pool *make_pool(const char *name, size_t size, size_t nr, unsigned flags)
{
	struct pool *p;
	unsigned round;

	process_boot();
	reclaim_if_due();
	p = pool_create(name, size, nr, flags);
	for (round = 0; unlikely(!p) && reclaim_more(round, size * nr); round++)
		p = pool_create(name, size, nr, flags);
	reports_poll();
	return p;
}

/* --- NOWAIT pools ---------------------------------------------------------------------------- */

#define MAX_NOWAIT_POOLS 16

/* Filled from the front, and never emptied; read without a lock. */
static _Atomic(struct pool *) nowait_pools[MAX_NOWAIT_POOLS];

static bool nowait_add(struct pool *p)
{
	struct pool *none;
	unsigned i;

	for (i = 0; i < MAX_NOWAIT_POOLS; i++) {
		none = NULL;
		if (atomic_compare_exchange_strong(&nowait_pools[i], &none, p))
			return true;
	}
	return false;
}

int bslab_nowait_pool(size_t size, size_t nr, int lock)
{
	struct pool *p;
	int fault = 0;

	if (!size || size > PAGEBLOCK_SIZE || !nr || nr > MAX_POOL_ELEMENTS)
		return EINVAL;
	p = make_pool("nowait", size, nr, POOL_MALLOCS | (lock ? POOL_LOCK : 0));
	if (!p)
		return ENOMEM;
	if (lock && !p->is_locked)
		fault = EPERM;
	else if (!nowait_add(p))
		fault = ENOSPC;
	if (fault)
		pool_destroy(p);
	return fault;
}

/* The smallest that fits, of those not tried. */
static int best_pool(size_t size, unsigned tried)
{
	struct pool *p, *best = NULL;
	int i, found = -1;

	for (i = 0; i < MAX_NOWAIT_POOLS && (p = atomic_load(&nowait_pools[i])); i++)
		if (!(tried & 1u << i) && p->size >= size && (!best || p->size < best->size)) {
			best = p;
			found = i;
		}
	return found;
}

static void *nowait_take(size_t size)
{
	unsigned tried = 0;
	void *p = NULL;
	int i;

	while (!p && (i = best_pool(size, tried)) >= 0) {
		p = pool_take(atomic_load(&nowait_pools[i]));
		tried |= 1u << i;
	}
	return p;
}

/* --- flags ------------------------------------------------------------------------------------- */

#define ALL_GFP                                                                                    \
	(BSLAB_GFP_ZERO | BSLAB_GFP_NOWAIT | BSLAB_GFP_NOFAIL | BSLAB_GFP_NORETRY | BSLAB_GFP_MOVABLE |        \
	 BSLAB_GFP_RECLAIMABLE | BSLAB_GFP_THISNODE | BSLAB_GFP_HUGE | BSLAB_GFP_DMA32 | BSLAB_GFP_HUGETLB)
#define BOTH_TYPES (BSLAB_GFP_MOVABLE | BSLAB_GFP_RECLAIMABLE)
/* Not hints: pools are where they are, and no memory is both of the first two. */
#define STRICT_GFP (BSLAB_GFP_DMA32 | BSLAB_GFP_HUGETLB)
#define PLACE_GFP (STRICT_GFP | BSLAB_GFP_THISNODE)
#define SPECIAL_GFP (PLACE_GFP | BSLAB_GFP_HUGE)

static bool gfp_is_good(unsigned gfp)
{
	if (likely(!(gfp & ~(unsigned)ALL_GFP) && (gfp & BOTH_TYPES) != BOTH_TYPES) &&
	    (likely(!(gfp & STRICT_GFP)) || ((gfp & STRICT_GFP) != STRICT_GFP && !(gfp & BSLAB_GFP_NOWAIT))))
		return true;
	errno = EINVAL;
	return false;
}

/* 0: malloc's are as good. */
static unsigned explicit_flags_of(unsigned gfp)
{
	process_boot();
	return (gfp & BSLAB_GFP_DMA32 ? PAGES_DMA32 : 0) | (gfp & BSLAB_GFP_THISNODE ? explicit_this_node() : 0);
}

/* Zones have no more than a gibibyte in a row, and where blocks are checked, or of one node, no huge page stands elsewhere. */
static bool can_never_be(size_t size, unsigned gfp)
{
	unsigned explicit;

	if (size < GIB)
		return false;
	if (is_too_much(size))
		return true;
	if (!(gfp & PLACE_GFP))
		return false;
	explicit = explicit_flags_of(gfp);
	if (gfp & BSLAB_GFP_HUGETLB)
		return explicit || bslab_options.hardened;
	return explicit && size > GIB;
}

/* Once more, for those that must not fail: after a while that grows, so that others may free something. */
#define MAX_PAUSE_MS 100

static bool try_again(size_t size, unsigned gfp, unsigned *pause_ms)
{
	if ((gfp & (BSLAB_GFP_NOFAIL | BSLAB_GFP_NOWAIT)) != BSLAB_GFP_NOFAIL || can_never_be(size, gfp))
		return false;
	os_sleep_ms(*pause_ms);
	*pause_ms = (unsigned)min_size(2 * *pause_ms, MAX_PAUSE_MS);
	return true;
}

static unsigned pages_flags_of(unsigned gfp)
{
	return gfp & BSLAB_GFP_RECLAIMABLE ? PAGES_RECLAIMABLE : 0;
}

/* NULL rather than a reclaim. */
static bool is_content(unsigned gfp)
{
	return (gfp & (BSLAB_GFP_NORETRY | BSLAB_GFP_NOFAIL)) == BSLAB_GFP_NORETRY;
}

/* --- what the flags want more than malloc --------------------------------------------------------- */

/* A mapping of its own, for it has to be fresh; NULL where it cannot be had, and small pages will do. */
static void *alloc_transparent(size_t size, bool *zeroed)
{
	return bslab_options.huge && !bslab_options.hardened && size >= PAGEBLOCK_SIZE && !is_too_much(size)
		       ? large_map(size, PAGEBLOCK_SIZE, LARGE_HUGE, zeroed)
		       : NULL;
}

/* Where a hint found no explicit huge page, so many go without asking. */
#define HUGETLB_SKIP 256
static _Atomic unsigned hugetlb_skip;

static bool skips_hugetlb(void)
{
	unsigned n = atomic_load_explicit(&hugetlb_skip, memory_order_relaxed);

	if (n)
		atomic_store_explicit(&hugetlb_skip, n - 1, memory_order_relaxed);
	return n || !bslab_options.huge || bslab_options.hardened; /* where malloc's blocks are checked, a hint's are, too */
}

/* From a gibibyte on a mapping of its own, perhaps of pages of that size. */
static void *alloc_hugetlb(size_t size, unsigned explicit, bool no_retry, bool *zeroed)
{
	if (size < GIB)
		return explicit_alloc(size, explicit | PAGES_HUGE, no_retry, zeroed);
	return explicit || bslab_options.hardened ? NULL : large_map(size, PAGEBLOCK_SIZE, LARGE_HUGETLB, zeroed);
}

static void *hint_hugetlb(size_t size, unsigned explicit, bool *zeroed)
{
	void *p;

	if (skips_hugetlb())
		return NULL;
	p = alloc_hugetlb(size, explicit, true, zeroed);
	if (!p)
		atomic_store_explicit(&hugetlb_skip, HUGETLB_SKIP, memory_order_relaxed);
	return p;
}

/* NULL and *is_final: malloc's memory will not do. */
static out_of_line void *alloc_special(size_t size, unsigned gfp, bool *zeroed, bool *is_final)
{
	unsigned explicit = explicit_flags_of(gfp);
	void *p = NULL;

	*is_final = explicit || gfp & BSLAB_GFP_HUGETLB;
	if (gfp & BSLAB_GFP_HUGETLB)
		return alloc_hugetlb(size, explicit, is_content(gfp), zeroed);
	if (gfp & BSLAB_GFP_HUGE && !(gfp & BSLAB_GFP_DMA32))
		p = hint_hugetlb(size, explicit, zeroed);
	if (!p && explicit)
		p = explicit_alloc(size, explicit, is_content(gfp), zeroed);
	return !p && !explicit && gfp & BSLAB_GFP_HUGE ? alloc_transparent(size, zeroed) : p;
}

/* For all but kmalloc itself: each copy of a sequence is relocated at start. */
static out_of_line void *malloc_quick_shared(size_t size)
{
	return malloc_quick(size);
}

/* --- kmalloc ----------------------------------------------------------------------------------- */

/* Once, as malloc does it. *zeroed: reads as zero. */
static force_inline void *alloc_once(size_t size, unsigned gfp, bool *zeroed)
{
	bool is_final = false;
	void *p = NULL;

	*zeroed = false;
	if (unlikely(gfp & SPECIAL_GFP)) {
		p = alloc_special(size, gfp, zeroed, &is_final);
		if (p || is_final)
			return p;
		*zeroed = false;
	}
	p = malloc_quick_shared(size);
	return p ? p : alloc_slow(&(struct alloc_request){.size = size, .align = 1, .asked = size, .by = CALLER(),
							  .no_retry = is_content(gfp),
							  .pages_flags = pages_flags_of(gfp)}, zeroed);
}

static out_of_line void *kmalloc_slow(size_t size, unsigned gfp)
{
	int saved = errno;
	unsigned pause_ms = 1;
	bool zeroed = false;
	void *p;

	if (!gfp_is_good(gfp))
		return NULL;
	do
		p = gfp & BSLAB_GFP_NOWAIT ? nowait_take(size) : alloc_once(size, gfp, &zeroed);
	while (unlikely(!p) && try_again(size, gfp, &pause_ms));
	if (unlikely(!p))
		errno = ENOMEM;
	else if (gfp & BSLAB_GFP_ZERO && !zeroed)
		memset(p, 0, size);
	return with_errno(saved, p);
}

_Static_assert(BSLAB_GFP_DMA32 >> 8 == ZONE_DMA32 && BSLAB_GFP_HUGETLB >> 8 == ZONE_HUGE && STRICT_GFP >> 8 == NR_ZONE_TYPES,
	       "the type of a zone stands in the flags; both are none");

/* The number of the cache for a size class where the flags want it: malloc's class, of a zone, or 0. */
static force_inline unsigned class_in(unsigned place, unsigned class)
{
	unsigned no_effect = atomic_load_explicit(&explicit_hot.no_effect, memory_order_relaxed);
	const explicit_row *row;

	if (likely(place == BSLAB_GFP_DMA32))
		return explicit_class(&explicit_hot.class[ZONE_DMA32][0], class);
	if (place == no_effect)
		return class;
	if (place == BSLAB_GFP_THISNODE)
		return explicit_class(explicit_row_here(), class);
	row = place & BSLAB_GFP_THISNODE & ~no_effect ? explicit_row_here() : explicit_hot.class[ZONE_NORMAL];
	return explicit_class(row + (place >> 8) * NR_EXPLICIT_ROWS, class);
}

/*
 * As malloc_fast(), with the number of a zone's cache in place of the size's class where the flags name a zone and nothing
 * else but what to do without a block. Where there is no such cache yet it is 0, whose sheaf is always empty.
 */
void *bslab_kmalloc(size_t size, unsigned gfp)
{
	unsigned place = gfp & ~(unsigned)(BSLAB_GFP_NORETRY | BSLAB_GFP_NOFAIL), class;
	void *p;

	if (unlikely(size >= bslab_hot.small_limit))
		return kmalloc_slow(size, gfp);
	class = size_class(size);
	if (unlikely(place)) {
		if (place & ~(unsigned)PLACE_GFP)
			return kmalloc_slow(size, gfp);
		class = class_in(place, class);
	}
	p = percpu_pop(class, RSEQ_MM_CID);
	return likely(p != NULL) ? p : kmalloc_slow(size, gfp);
}

void *bslab_kmalloc_array(size_t count, size_t size, unsigned gfp)
{
	size_t total;

	if (unlikely(__builtin_mul_overflow(count, size, &total))) {
		errno = ENOMEM;
		return NULL;
	}
	return bslab_kmalloc(total, gfp);
}

/* Neither block may have a part that is not resident, and the old one has to go back without a lock. */
static void *realloc_nowait(void *ptr, size_t old_size, size_t size)
{
	void *p;

	if (size <= old_size)
		return size < old_size / 2 ? block_stays(ptr) : ptr;
	p = pool_of(map_lookup((uintptr_t)ptr)) ? nowait_take(size) : NULL;
	if (!p) {
		errno = ENOMEM;
		return NULL;
	}
	memcpy(p, ptr, old_size);
	bslab_free(ptr);
	return p;
}

static void *resize(void *ptr, size_t old_size, size_t size, bool no_retry)
{
	if (unlikely(bslab_options.hardened))
		return hardened_realloc(ptr, size, CALLER(), no_retry);
	return realloc_live(ptr, old_size, size, CALLER(), no_retry);
}

/* Whatever the flags say: it stays in its zone. */
static bool is_beyond_its_zone(void *ptr, size_t size)
{
	return size > GIB && explicit_zone_of(map_lookup((uintptr_t)ptr));
}

static void *realloc_waiting(void *ptr, size_t old_size, size_t size, unsigned gfp)
{
	unsigned pause_ms = 1;
	int saved = errno;
	void *p;

	do
		p = size <= MAX_REQUEST ? resize(ptr, old_size, size, is_content(gfp)) : NULL;
	while (unlikely(!p) && !is_beyond_its_zone(ptr, size) && try_again(size, gfp, &pause_ms));
	reports_poll();
	if (unlikely(!p))
		errno = ENOMEM;
	return with_errno(saved, p);
}

/* Not in the zone that the flags name, or it would not stay there. */
static bool is_elsewhere(void *ptr, size_t old_size, size_t size, unsigned gfp)
{
	unsigned wanted = explicit_flags_of(gfp) | (gfp & BSLAB_GFP_HUGETLB ? PAGES_HUGE : 0);
	page_desc_t d = map_lookup((uintptr_t)ptr);
	unsigned flags = explicit_zone_of(d);
	struct vm_area *a = large_of(d);

	if (wanted == PAGES_HUGE && a && a->is_hugetlb)
		return size > old_size || size < old_size / 2;
	if (wanted & PAGES_HUGE && size >= GIB)
		return true;
	return wanted & ~flags & (PAGES_DMA32 | PAGES_HUGE) ||
	       (wanted & PAGES_NODE_MASK && (wanted ^ flags) & PAGES_NODE_MASK);
}

static void *move_to_zone(void *ptr, size_t old_size, size_t size, unsigned gfp)
{
	void *p = bslab_kmalloc(size, gfp);

	if (!p)
		return NULL;
	memcpy(p, ptr, min_size(old_size, size));
	bslab_free(ptr);
	return p;
}

void *bslab_krealloc(void *ptr, size_t size, unsigned gfp)
{
	size_t old_size;
	void *p;

	if (!gfp_is_good(gfp))
		return NULL;
	if (!ptr)
		return bslab_kmalloc(size, gfp);
	if (!size) {
		bslab_free(ptr);
		return NULL;
	}
	if (!block_size(ptr, "krealloc", &old_size)) {
		errno = EINVAL;
		return NULL;
	}
	if (gfp & BSLAB_GFP_NOWAIT)
		p = realloc_nowait(ptr, old_size, size);
	else if (unlikely(gfp & PLACE_GFP) && is_elsewhere(ptr, old_size, size, gfp))
		p = move_to_zone(ptr, old_size, size, gfp);
	else if (size <= old_size && size >= old_size / 2 && old_size <= SMALL_MAX && !bslab_options.hardened)
		p = ptr;
	else
		p = realloc_waiting(ptr, old_size, size, gfp);
	if (p && gfp & BSLAB_GFP_ZERO && size > old_size)
		memset((char *)p + old_size, 0, size - old_size);
	return p;
}

void bslab_kfree_sensitive(void *ptr)
{
	size_t size;

	if (!ptr || !block_size(ptr, "kfree_sensitive", &size))
		return;
	memset(ptr, 0, size);
	__asm__ volatile("" : : "r"(ptr) : "memory"); /* it is read, as far as the compiler knows */
	bslab_free(ptr);
}

static void *map_once(size_t size)
{
	bool zeroed;

	return bslab_options.hardened ? hardened_map(size) : large_map(size + !size, BSLAB_PAGE_SIZE, LARGE_GUARD, &zeroed);
}

static void *map_block(size_t size, bool no_retry)
{
	void *p = NULL;
	unsigned round;

	process_boot();
	if (!no_retry)
		reclaim_if_due();
	if (likely(!is_too_much(size))) {
		p = map_once(size);
		for (round = 0; unlikely(!p && !no_retry) && reclaim_more(round, size); round++)
			p = map_once(size);
	}
	reports_poll();
	if (unlikely(!p))
		errno = ENOMEM;
	return p;
}

void *bslab_vmalloc(size_t size)
{
	return map_block(size, false);
}

void *bslab_kvmalloc(size_t size, unsigned gfp)
{
	unsigned once = (gfp & ~(unsigned)BSLAB_GFP_NOFAIL) | BSLAB_GFP_NORETRY, pause_ms = 1;
	int saved = errno;
	void *p;

	if (!gfp_is_good(gfp) || gfp & (BSLAB_GFP_NOWAIT | STRICT_GFP) || explicit_flags_of(gfp))
		return bslab_kmalloc(size, gfp);
	if (!is_content(gfp))
		reclaim_if_due();
	do {
		p = bslab_kmalloc(size, once);
		p = p ? p : map_block(size, is_content(gfp));
	} while (unlikely(!p) && try_again(size, gfp, &pause_ms));
	return with_errno(saved, p);
}

/* --- mempools ------------------------------------------------------------------------------------ */

struct bslab_mempool {
	struct pool pool;
};

static struct pool *pool_in(struct bslab_mempool *pool)
{
	return &pool->pool;
}

struct bslab_mempool *bslab_mempool_create(size_t min_nr, size_t size)
{
	struct pool *p;

	if (!min_nr || min_nr > MAX_POOL_ELEMENTS || !size || size > PAGEBLOCK_SIZE) {
		errno = EINVAL;
		return NULL;
	}
	p = make_pool("mempool", size, min_nr, 0);
	if (!p)
		errno = ENOMEM;
	return (struct bslab_mempool *)p;
}

/* False after a report. */
static bool is_live(struct pool *p, const char *what)
{
	if (likely(p->is_live))
		return true;
	bug_caller("%s: the mempool was destroyed", what);
	errno = EINVAL;
	return false;
}

void *bslab_mempool_alloc(struct bslab_mempool *pool, unsigned gfp)
{
	struct pool *p = pool_in(pool);
	unsigned more = (gfp & ~(unsigned)BSLAB_GFP_NOFAIL) | BSLAB_GFP_NORETRY, pause_ms = 1;
	int saved = errno;
	void *element = NULL;

	if (likely(!gfp && p->is_live) && likely((element = malloc_quick_shared(p->size)) != NULL))
		return element;
	if (!gfp_is_good(gfp) || !is_live(p, "bslab_mempool_alloc"))
		return NULL;
	if (gfp & STRICT_GFP) {
		errno = EINVAL;
		return NULL;
	}
	if (!(gfp & BSLAB_GFP_NOWAIT) && !is_content(gfp))
		reclaim_if_due();
	do {
		if (!(gfp & BSLAB_GFP_NOWAIT))
			element = bslab_kmalloc(p->size, more);
		if (element)
			return with_errno(saved, element);
		element = pool_take(p);
	} while (unlikely(!element) && try_again(p->size, gfp, &pause_ms));
	if (unlikely(!element))
		errno = ENOMEM;
	else if (gfp & BSLAB_GFP_ZERO)
		memset(element, 0, p->size);
	return with_errno(saved, element);
}

void bslab_mempool_free(struct bslab_mempool *pool, void *element)
{
	struct pool *p = pool_of(map_lookup((uintptr_t)element));

	if (p && p != pool_in(pool) && !p->is_mallocs)
		bug_caller("invalid bslab_mempool_free of %p: another mempool's", element);
	else if (p != pool_in(pool))
		bslab_free(element);
	else if (pool_give(p, element) != POOL_GOOD)
		bug_caller("invalid bslab_mempool_free of %p: freed before, or inside an element", element);
}

size_t bslab_mempool_nr_taken(struct bslab_mempool *pool)
{
	return atomic_load(&pool_in(pool)->nr_taken);
}

size_t bslab_mempool_destroy(struct bslab_mempool *pool)
{
	size_t nr_taken;

	if (!pool || !is_live(pool_in(pool), "bslab_mempool_destroy"))
		return 0;
	nr_taken = bslab_mempool_nr_taken(pool);
	if (nr_taken)
		bug_say("bslab_mempool_destroy: of a mempool of %z bytes each %z elements are taken", pool_in(pool)->size, nr_taken);
	else
		pool_destroy(pool_in(pool));
	reports_poll();
	return nr_taken;
}
