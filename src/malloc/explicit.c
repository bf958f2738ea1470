/* SPDX-License-Identifier: MIT */
#include "malloc/explicit.h"

#include <errno.h>
#include <string.h>

#include "bslab/kmalloc.h"
#include "malloc/internal.h"
#include "malloc/reports.h"
#include "os/bug.h"
#include "os/options.h"
#include "page/buddy.h"
#include "page/limit.h"
#include "page/purging.h"
#include "page/zone.h"
#include "region/region.h"
#include "slab/percpu.h"
#include "slab/sheaf.h"

struct explicit_hot explicit_hot;

static unsigned row_of(unsigned pages_flags)
{
	return pages_flags >> PAGES_NODE_SHIFT;
}

/* --- heaps --------------------------------------------------------------------------------------- */

/* NULL: not used yet. */
static _Atomic(struct bslab_heap *) heaps[NR_ZONE_TYPES][MAX_NODES + 1];

/* Who comes second takes the first one's. */
static struct bslab_heap *heap_publish(_Atomic(struct bslab_heap *) *slot, struct bslab_heap *h)
{
	struct bslab_heap *none = NULL;

	if (!h || atomic_compare_exchange_strong(slot, &none, h))
		return h;
	heap_destroy(h);
	return none;
}

static _Atomic(struct bslab_heap *) *heap_slot(unsigned pages_flags)
{
	return &heaps[pages_zone_type(pages_flags)][row_of(pages_flags)];
}

static struct bslab_heap *heap_for(unsigned pages_flags)
{
	struct bslab_heap *h = atomic_load_explicit(heap_slot(pages_flags), memory_order_acquire);
	const char *name = zone_type_name(pages_zone_type(pages_flags));

	return likely(h != NULL) ? h : heap_publish(heap_slot(pages_flags), heap_create_explicit(name, pages_flags));
}

static void *heap_take(unsigned pages_flags, unsigned class)
{
	struct bslab_heap *h = atomic_load_explicit(heap_slot(pages_flags), memory_order_acquire);

	return h ? heap_pop_locked(h, class) : NULL;
}

/* --- caches -------------------------------------------------------------------------------------- */

static _Atomic unsigned nr_caches;

static explicit_row *row_for(unsigned pages_flags)
{
	return &explicit_hot.class[pages_zone_type(pages_flags)][row_of(pages_flags)];
}

/* What is at hand, of the cache or, where there is none, of the heap. */
static void *take(unsigned pages_flags, unsigned class)
{
	unsigned number = explicit_class(row_for(pages_flags), class);

	return number ? percpu_pop(number, RSEQ_MM_CID) : heap_take(pages_flags, class);
}

/* "DMA32-64", "Normal-node1-64" */
static struct kmem_cache *cache_create(unsigned pages_flags, size_t size)
{
	const char *type = zone_type_name(pages_zone_type(pages_flags));
	struct typed_args args = {.object_size = size, .size = size, .flags = TYPED_NO_MERGE, .pages_flags = pages_flags};
	char name[CACHE_NAME_SIZE];
	bool is_full;

	if (pages_flags & PAGES_NODE_MASK)
		bug_format(name, sizeof name, "%s-node%u-%z", type, pages_node_of(pages_flags), size);
	else
		bug_format(name, sizeof name, "%s-%z", type, size);
	args.name = name;
	return typed_create(&args, &is_full);
}

/* Caches stay, and there are not many numbers: a zone without a page gets none. */
static bool zone_has_page(unsigned pages_flags)
{
	bool zeroed;
	void *p = limit_allows(1) ? pages_alloc(1, 0, MIGRATE_UNMOVABLE, pages_flags, &zeroed) : NULL;

	if (p)
		pages_free(p, 1);
	return p;
}

/* Who comes second takes the first one's. NULL where there are no more of them, or no memory. */
static struct kmem_cache *cache_publish(_Atomic uint8_t *number, unsigned pages_flags, size_t size)
{
	struct kmem_cache *c = NULL;
	uint8_t none = 0;

	if (atomic_fetch_add(&nr_caches, 1) < MAX_EXPLICIT_CACHES && zone_has_page(pages_flags))
		c = cache_create(pages_flags, size);
	if (c && atomic_compare_exchange_strong(number, &none, c->class))
		return c;
	if (c)
		typed_release(c);
	atomic_fetch_sub(&nr_caches, 1); /* not before: the one that is not needed has a number until then */
	return none ? cache_if_used(none) : NULL;
}

static struct kmem_cache *cache_for(unsigned pages_flags, size_t size)
{
	unsigned class = size_class(size);
	_Atomic uint8_t *number = &(*row_for(pages_flags))[class];
	unsigned n = atomic_load_explicit(number, memory_order_acquire);

	if (unlikely(bslab_options.hardened))
		return NULL;
	return likely(n) ? cache_if_used(n) : cache_publish(number, pages_flags, class_size(class));
}

/*
 * What they have free goes to the buddy, as far as it can be had. Sheaves are emptied of all CPUs and all caches at once, so only
 * where one of these has something in them.
 */
static void caches_shrink(enum zone_type type)
{
	bool is_drained = false;
	unsigned row, class, n;

	for (row = 0; row <= MAX_NODES; row++)
		for (class = 1; class < NR_CLASSES; class++) {
			n = explicit_class(&explicit_hot.class[type][row], class);
			if (!n)
				continue;
			if (!is_drained && percpu_nr_cached(n)) {
				percpu_drain();
				is_drained = true;
			}
			barn_drain(cache_if_used(n));
			cache_shrink(cache_if_used(n));
		}
}

/* --- the node ------------------------------------------------------------------------------------ */

/* So that the fast path knows from now on. Threads that come together do the same. */
static out_of_line void learn_nodes(void)
{
	unsigned word = nodes_are_fake() ? RSEQ_CPU_ID : RSEQ_NODE_ID, i, node, row;

	for (i = 0; i < MAX_HERE; i++) {
		row = nodes_find(i, i, &node) ? node + 1 : EXPLICIT_ROW_OF_NONE;
		atomic_store_explicit(&explicit_hot.row[i], &explicit_hot.class[ZONE_NORMAL][row], memory_order_relaxed);
	}
	atomic_store_explicit(&explicit_hot.here, (uintptr_t)bslab_hot.rseq_offset + word, memory_order_release);
}

unsigned explicit_this_node(void)
{
	unsigned cpu, id, node;

	nodes_wait();
	if (nodes_nr() == 1) {
		atomic_store_explicit(&explicit_hot.no_effect, BSLAB_GFP_THISNODE, memory_order_relaxed);
		return 0;
	}
	if (percpu_mode() == INDEX_MM_CID && !atomic_load_explicit(&explicit_hot.here, memory_order_relaxed))
		learn_nodes();
	if (!(percpu_is_on(&cpu, &id) ? nodes_find(cpu, id, &node) : nodes_find_here(&node)))
		return PAGES_NODE_MASK;
	return pages_node(node);
}

/* --- blocks -------------------------------------------------------------------------------------- */

/*
 * But for the limits only what the heaps and the zone have is of use below 4 GiB and to huge pages: all else of the process's memory is
 * elsewhere. A node's has all that malloc has there.
 */
static bool is_all_elsewhere(unsigned pages_flags)
{
	return pages_flags & PAGES_EXPLICIT && pages_zone_type(pages_flags) != ZONE_NORMAL;
}

bool explicit_make_room(unsigned pages_flags, unsigned round, size_t size)
{
	unsigned i = 0;
	uint32_t mark;

	if ((pages_flags & PAGES_NODE_MASK) == PAGES_NODE_MASK)
		return false;
	if (!is_all_elsewhere(pages_flags) || !limit_allows((size + BSLAB_PAGE_SIZE - 1) >> PAGE_SHIFT))
		return reclaim_more(round, size);
	if (round)
		return false;
	heaps_shrink();
	caches_shrink(pages_zone_type(pages_flags));
	do {
		mark = purging_mark();
		zone_purge_type(pages_zone_type(pages_flags));
	} while (purging_wait(mark) && ++i < MAX_PURGING_TRIES);
	return true;
}

static void *alloc_once(size_t size, unsigned pages_flags, bool *zeroed)
{
	struct kmem_cache *c = size <= SMALL_MAX ? cache_for(pages_flags, size) : NULL;
	struct heap_result result;
	struct bslab_heap *h;
	void *p;

	*zeroed = false;
	if (c)
		return percpu_alloc_slow(c, 0);
	h = heap_for(pages_flags);
	p = h ? heap_alloc(h, size, 1, &result) : NULL;
	*zeroed = p && result.zeroed;
	return p;
}

void *explicit_alloc(size_t size, unsigned pages_flags, bool no_retry, bool *zeroed)
{
	unsigned round;
	void *p;

	*zeroed = false;
	process_boot();
	if (size > GIB || (pages_flags & PAGES_NODE_MASK) == PAGES_NODE_MASK)
		return NULL;
	p = size <= SMALL_MAX ? take(pages_flags, size_class(size)) : NULL;
	if (likely(p != NULL))
		return p;
	if (!no_retry)
		reclaim_if_due();
	p = alloc_once(size, pages_flags, zeroed);
	for (round = 0; unlikely(!p && !no_retry) && explicit_make_room(pages_flags, round, size); round++)
		p = alloc_once(size, pages_flags, zeroed);
	process_hook_thread();
	reports_poll();
	return p;
}

static cold_path void report(struct bslab_heap *h, void *ptr, const char *what, enum heap_fault fault)
{
	if (fault == HEAP_FREE)
		bug_caller("invalid %s of %p: freed before, or never allocated", what, ptr);
	else
		bug_caller("invalid %s of %p: inside a block of zone %s, or behind it", what, ptr, h->name);
}

void explicit_free(struct bslab_heap *h, void *ptr)
{
	enum heap_fault fault = heap_free(h, ptr);

	if (unlikely(fault != HEAP_GOOD))
		report(h, ptr, "free", fault);
}

size_t explicit_size(struct bslab_heap *h, void *ptr, const char *what)
{
	size_t size = 0;
	enum heap_fault fault = heap_block_size(h, ptr, &size);

	if (unlikely(fault != HEAP_GOOD))
		report(h, ptr, what, fault);
	return size;
}

void *explicit_realloc(void *ptr, size_t old_size, size_t size, unsigned pages_flags, bool no_retry)
{
	bool shrinks = size <= old_size, zeroed;
	void *p;

	if (shrinks && size >= old_size / 2)
		return ptr;
	p = explicit_alloc(size, pages_flags, no_retry || shrinks, &zeroed);
	if (!p && shrinks)
		return block_stays(ptr); /* a smaller one would be better, and is not worth a reclaim */
	if (!p) {
		errno = ENOMEM;
		return NULL;
	}
	memcpy(p, ptr, min_size(old_size, size));
	bslab_free(ptr);
	return p;
}
