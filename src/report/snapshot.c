/* SPDX-License-Identifier: MIT */
#include "report/snapshot.h"

/* Parts are taken one after the other, so a difference may come out below zero: then it is 0. */
static size_t minus(size_t a, size_t b)
{
	return a > b ? a - b : 0;
}

/* Bytes behind the last object of its slabs. */
static size_t slab_tails(const struct cache_info *c)
{
	return minus(c->nr_pages << PAGE_SHIFT, c->nr_objects * c->size);
}

/* nr_cached: in sheaves, or kept by threads. */
static void derive_class(struct heap_report *r, struct class_report *c, size_t nr_cached, size_t *pages, size_t *used)
{
	c->nr_cached = c->nr_used = 0;
	if (!c->cache.size)
		return;
	c->nr_cached = nr_cached + c->cache.nr_barn_objects;
	c->nr_used = minus(c->cache.nr_objects, c->cache.nr_free + c->nr_cached);
	*pages += c->cache.nr_pages;
	*used += c->nr_used * c->cache.size;
	r->cached += c->nr_cached * c->cache.size;
	r->slab_free += c->cache.nr_free * c->cache.size;
	r->nr_small_free += c->nr_cached + c->cache.nr_free;
	r->slack += slab_tails(&c->cache);
}

static void derive_sums(struct heap_report *r)
{
	size_t large_in_blocks = minus(r->large.bytes, r->large.mapped_bytes);
	size_t buddy_pages = minus(r->pages.nr_blocks * PAGEBLOCK_PAGES, r->pages.nr_free + r->pages.nr_hot + r->percpu.nr_kept_pages);

	r->small_free = r->cached + r->slab_free;
	r->cma = r->pages.nr_cma_blocks << PAGEBLOCK_SHIFT;
	r->cma_free = min_size(r->pages.nr_cma_free << PAGE_SHIFT, r->cma);
	r->run_used = (minus(buddy_pages, r->slab_pages + r->handle_pages + r->guards.nr_guards + r->guards.nr_waiting) << PAGE_SHIFT) +
		      r->cma - r->cma_free;
	r->used = r->small_used + r->handle_used + r->run_used + r->large.bytes;
	r->committed = (r->zone.nr_committed << PAGEBLOCK_SHIFT) + r->large.mapped_bytes + r->large.kept_mapped_bytes;
	r->reserved = (r->zone.nr_reserved << PAGEBLOCK_SHIFT) + r->large.mapped_bytes + r->large.kept_mapped_bytes;
	r->free = minus(r->committed, r->used);
	r->slack += minus(r->large.nr_blocks << PAGEBLOCK_SHIFT, large_in_blocks);
	r->slack += r->guards.nr_guards << PAGE_SHIFT;
	r->dirty_free = (r->pages.nr_dirty_free + r->pages.nr_cma_dirty + r->guards.nr_waiting_dirty + r->pages.nr_hot +
			 r->percpu.nr_kept_pages + r->large.nr_hot_pages + r->large.nr_kept_touched +
			 r->zone.nr_dirty_pages) << PAGE_SHIFT;
	r->clean_free = minus(r->free, r->small_free + r->slack + r->dirty_free);
	r->huge = r->pages.nr_huge_blocks << PAGEBLOCK_SHIFT;
	r->watermark = r->zone.high_pages << PAGE_SHIFT;
	r->given_back = (size_t)(r->zone.nr_purged_pages + r->pages.count.nr_purged_pages) << PAGE_SHIFT;
}

/* In place: on a signal there is not the stack for one more. */
static void derive_zones(struct heap_report *r)
{
	struct zone_row *all = &r->all_zones;

	all->zone = zone_number(ZONE_NORMAL, 0);
	all->nr_reserved = r->zone.nr_reserved;
	all->nr_committed = r->zone.nr_committed;
	all->nr_free_blocks = r->zone.nr_free;
	all->nr_dirty_blocks = r->zone.nr_dirty_blocks;
	all->nr_dirty_pages = r->zone.nr_dirty_pages;
	all->nr_free = r->pages.nr_free;
	all->types = r->pages.types;
}

static void count_caches(struct heap_report *r)
{
	uint64_t *e = r->vm_event;
	unsigned class;

	for (class = 1; class < NR_CACHES; class++) {
		const struct cache_info *c = &r->class[class].cache;

		e[BARN_GET] += c->nr_gets + c->past.nr_gets;
		e[BARN_PUT] += c->nr_puts + c->past.nr_puts;
		e[SHEAF_REFILL] += c->nr_refills + c->past.nr_refills;
		e[SHEAF_FULL] += c->nr_overs + c->past.nr_overs;
		e[SHEAF_FLUSH] += c->nr_drains + c->past.nr_drains;
		e[ALLOC_UNCACHED] += c->nr_uncached_allocs + c->past.nr_uncached_allocs;
		e[FREE_UNCACHED] += c->nr_uncached_frees + c->past.nr_uncached_frees;
		e[SLAB_CREATE] += c->nr_slab_creates + c->past.nr_slab_creates;
		e[SLAB_DESTROY] += c->nr_slab_destroys + c->past.nr_slab_destroys;
	}
	e[ALLOC_SLOWPATH] = e[BARN_GET] + e[SHEAF_REFILL] + e[ALLOC_UNCACHED];
	e[FREE_SLOWPATH] = e[SHEAF_FULL] + e[FREE_UNCACHED];
	e[SHEAF_REAP] = r->percpu.nr_sheaf_reaps;
	e[BARN_REAP] = r->percpu.nr_barn_reaps;
	e[CPU_DRAIN] = r->percpu.nr_drains;
}

static void count_pages(struct heap_report *r)
{
	const struct buddy_counters *b = &r->pages.count;
	const struct zone_info *z = &r->zone;
	uint64_t *e = r->vm_event;

	e[PGALLOC] = b->nr_alloc_pages;
	e[PGFREE] = b->nr_free_pages;
	e[PGFRESH] = b->nr_fresh_pages;
	e[RUN_ALLOC] = b->nr_allocs;
	e[RUN_FREE] = b->nr_frees;
	e[RUN_FREE_REMOTE] = b->nr_remote_frees;
	e[RUN_EXTEND] = b->nr_extends;
	e[PGSPLIT] = b->nr_splits;
	e[PGMERGE] = b->nr_merges;
	e[PAGEBLOCK_CLAIM] = b->nr_claims;
	e[PAGEBLOCK_STEAL] = b->nr_steals;
	e[PAGEBLOCK_IN] = b->nr_blocks_in;
	e[PAGEBLOCK_OUT] = b->nr_blocks_out;
	e[BUDDY_ADOPT] = b->nr_adoptions;
	e[ZONE_ALLOC] = z->nr_allocs;
	e[ZONE_FREE] = z->nr_frees;
	e[COMMIT] = z->nr_commits;
	e[COMMIT_BLOCKS] = z->nr_commit_blocks;
	e[COMMIT_FAIL] = z->nr_commit_failures;
	e[HUGE_ALLOC] = z->nr_huge_allocs;
	e[HUGE_FALLBACK] = z->nr_huge_fallbacks;
	e[PURGE] = z->nr_purge_calls + b->nr_purge_calls;
	e[PURGE_PAGES] = z->nr_purged_pages + b->nr_purged_pages;
	e[PURGE_FAIL] = z->nr_purge_failures + b->nr_purge_failures;
}

static void count_large(struct heap_report *r)
{
	const struct large_info *l = &r->large;
	uint64_t *e = r->vm_event;

	e[LARGE_BLOCK_ALLOC] = l->nr_block_allocs;
	e[LARGE_BLOCK_FREE] = l->nr_block_frees;
	e[LARGE_BLOCK_RESIZE] = l->nr_block_resizes;
	e[LARGE_MAP] = l->nr_maps;
	e[LARGE_UNMAP] = l->nr_unmaps;
	e[LARGE_REMAP] = l->nr_remaps;
	e[LARGE_MOVE] = l->nr_moves;
	e[LARGE_MAP_FAIL] = l->nr_map_failures;
	e[LARGE_UNMAP_FAIL] = l->nr_unmap_failures;
}

static void count_handles(struct heap_report *r)
{
	const struct compact_counts *c = &r->compact;
	uint64_t *e = r->vm_event;
	unsigned class;

	for (class = 0; class < NR_CLASSES; class++) {
		const struct cache_info *i = &r->handle[class].cache;

		e[HANDLE_REFILL] += i->nr_refills;
		e[HANDLE_FLUSH] += i->nr_drains;
		e[HANDLE_SLAB_CREATE] += i->nr_slab_creates;
		e[HANDLE_SLAB_DESTROY] += i->nr_slab_destroys;
	}
	e[COMPACT_STALL] = c->nr_runs;
	e[COMPACT_BALANCE] = c->nr_balances;
	e[COMPACT_SUCCESS] = c->nr_successes;
	e[COMPACT_FAIL] = c->nr_failures;
	e[COMPACT_MIGRATE_SCANNED] = c->nr_migrate_scanned;
	e[COMPACT_FREE_SCANNED] = c->nr_free_scanned;
	e[COMPACT_ISOLATED] = c->nr_isolated;
	e[COMPACT_RELEASED] = c->nr_released;
	e[COMPACT_MOVED] = c->nr_moved;
	e[COMPACT_MOVED_BYTES] = c->nr_moved_bytes;
	e[COMPACT_PINNED] = c->nr_pinned;
	e[COMPACT_VOID] = c->nr_void;
	e[COMPACT_NO_ROOM] = c->nr_no_room;
	e[COMPACT_DEFERRED] = c->nr_deferred;
}

void report_derive(struct heap_report *r)
{
	unsigned class, i;

	r->slab_pages = r->small_used = r->cached = r->slab_free = r->nr_small_free = r->slack = 0;
	r->handle_pages = r->handle_used = 0;
	for (class = 1; class < NR_CACHES; class++)
		derive_class(r, &r->class[class], r->percpu.nr_cached[class], &r->slab_pages, &r->small_used);
	for (class = 0; class < NR_CLASSES; class++)
		derive_class(r, &r->handle[class], r->handles.nr_cached[class], &r->handle_pages, &r->handle_used);
	derive_sums(r);
	derive_zones(r);
	for (i = 0; i < NR_VM_EVENTS; i++)
		r->vm_event[i] = 0;
	count_caches(r);
	count_pages(r);
	count_large(r);
	count_handles(r);
	r->vm_event[RECLAIM] = r->nr_reclaims;
	r->vm_event[ALLOC_FAIL] = r->nr_failures;
}
