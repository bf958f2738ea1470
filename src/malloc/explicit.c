/* SPDX-License-Identifier: MIT */
#include "malloc/explicit.h"

#include <errno.h>
#include <string.h>

#include "malloc/internal.h"
#include "malloc/reports.h"
#include "os/bug.h"
#include "os/nodes.h"
#include "os/os.h"
#include "os/place.h"
#include "page/buddy.h"
#include "page/limit.h"
#include "page/zone.h"
#include "region/region.h"

/* By type, and by node; the first of whatever node is nearest. */
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

/* Without a pool of huge pages, or with an empty one, a zone of them would be addresses only. */
static bool has_pages(enum zone_type type)
{
	void *p = type == ZONE_HUGE ? os_map_huge(PAGEBLOCK_SIZE, PAGEBLOCK_SIZE) : NULL;

	if (p)
		os_unmap(p, PAGEBLOCK_SIZE);
	return p || type != ZONE_HUGE;
}

static struct bslab_heap *heap_make(_Atomic(struct bslab_heap *) *slot, enum zone_type type, unsigned pages_flags)
{
	return has_pages(type) ? heap_publish(slot, heap_create_explicit(zone_type_name(type), pages_flags)) : NULL;
}

static struct bslab_heap *heap_for(unsigned pages_flags)
{
	enum zone_type type = pages_zone_type(pages_flags);
	_Atomic(struct bslab_heap *) *slot = &heaps[type][pages_flags >> PAGES_NODE_SHIFT];
	struct bslab_heap *h = atomic_load_explicit(slot, memory_order_acquire);

	return likely(h != NULL) ? h : heap_make(slot, type, pages_flags);
}

unsigned explicit_this_node(void)
{
	unsigned node;

	nodes_read();
	if (!nodes_find_here(&node))
		return PAGES_NODE_MASK;
	return nodes_nr() > 1 ? pages_node(node) : 0;
}

/* But for the limits only what the heaps and the zone have is of use to it: all else of the process's memory is elsewhere. */
static bool make_room(struct bslab_heap *h, unsigned round, size_t size)
{
	if (!limit_allows((size + BSLAB_PAGE_SIZE - 1) >> PAGE_SHIFT))
		return reclaim_more(round, size);
	if (round)
		return false;
	heaps_shrink();
	zone_purge_type(pages_zone_type(h->pages_flags));
	return true;
}

static void *alloc_from(struct bslab_heap *h, size_t size, bool no_retry, bool *zeroed)
{
	struct heap_result result;
	unsigned round;
	void *p;

	if (!no_retry)
		reclaim_if_due();
	p = heap_alloc(h, size, 1, &result);
	for (round = 0; unlikely(!p && !no_retry) && make_room(h, round, size); round++)
		p = heap_alloc(h, size, 1, &result);
	*zeroed = result.zeroed;
	reports_poll();
	return p;
}

void *explicit_alloc(size_t size, unsigned pages_flags, bool no_retry, bool *zeroed)
{
	struct bslab_heap *h;

	process_boot();
	h = size <= MAX_REQUEST && (pages_flags & PAGES_NODE_MASK) != PAGES_NODE_MASK ? heap_for(pages_flags) : NULL;
	return h ? alloc_from(h, size, no_retry, zeroed) : NULL;
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

void *explicit_realloc(struct bslab_heap *h, void *ptr, size_t size, bool no_retry)
{
	size_t old_size = explicit_size(h, ptr, "realloc");
	bool zeroed;
	void *p;

	if (!old_size) {
		errno = EINVAL;
		return NULL;
	}
	if (size <= old_size && size >= old_size / 2)
		return ptr;
	p = size <= MAX_REQUEST ? alloc_from(h, size, no_retry, &zeroed) : NULL;
	if (!p) {
		errno = ENOMEM;
		return NULL;
	}
	memcpy(p, ptr, min_size(old_size, size));
	heap_free(h, ptr);
	return p;
}
