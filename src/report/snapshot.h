/* SPDX-License-Identifier: MIT */
/*
 * A snapshot of the heap, and what follows from it.
 *
 * 1. Each floor fills its part under its own locks, each held for a bounded
 *    moment: of a pageblock, a cache, a barn, a thousand large blocks. So each
 *    part is consistent in itself; the whole is not while other threads run.
 * 2. report_derive() adds up. It knows nothing but the snapshot, like all the
 *    formatters, so a snapshot may come from another process or from a file.
 */
#ifndef BSLAB_SNAPSHOT_H
#define BSLAB_SNAPSHOT_H

#include "handle/compact.h"
#include "handle/handle.h"
#include "large/large.h"
#include "page/buddy.h"
#include "page/guard.h"
#include "page/zone.h"
#include "slab/percpu.h"

/* Counters since the start, one for each way out of a slow path (Linux: enum vm_event_item). format.c names them. */
enum vm_event {
	ALLOC_SLOWPATH, /* = BARN_GET + SHEAF_REFILL + ALLOC_UNCACHED */
	FREE_SLOWPATH,	/* = SHEAF_FULL + FREE_UNCACHED */
	BARN_GET, BARN_PUT,
	SHEAF_REFILL, SHEAF_FULL, SHEAF_FLUSH,
	ALLOC_UNCACHED, FREE_UNCACHED,
	SHEAF_REAP, BARN_REAP, CPU_DRAIN,
	SLAB_CREATE, SLAB_DESTROY,
	PGALLOC, PGFREE, PGFRESH,
	RUN_ALLOC, RUN_FREE, RUN_FREE_REMOTE, RUN_EXTEND,
	PGSPLIT, PGMERGE,
	PAGEBLOCK_CLAIM, PAGEBLOCK_STEAL, PAGEBLOCK_IN, PAGEBLOCK_OUT, BUDDY_ADOPT,
	ZONE_ALLOC, ZONE_FREE,
	COMMIT, COMMIT_BLOCKS, COMMIT_FAIL, HUGE_ALLOC, HUGE_FALLBACK,
	PURGE, PURGE_PAGES, PURGE_FAIL,
	LARGE_BLOCK_ALLOC, LARGE_BLOCK_FREE, LARGE_BLOCK_RESIZE,
	LARGE_MAP, LARGE_UNMAP, LARGE_REMAP, LARGE_MOVE, LARGE_MAP_FAIL, LARGE_UNMAP_FAIL,
	HANDLE_REFILL, HANDLE_FLUSH, HANDLE_SLAB_CREATE, HANDLE_SLAB_DESTROY,
	COMPACT_STALL, COMPACT_BALANCE, COMPACT_SUCCESS, COMPACT_FAIL,
	COMPACT_MIGRATE_SCANNED, COMPACT_FREE_SCANNED, COMPACT_ISOLATED, COMPACT_RELEASED,
	COMPACT_MOVED, COMPACT_MOVED_BYTES, COMPACT_PINNED, COMPACT_VOID, COMPACT_NO_ROOM, COMPACT_DEFERRED,
	RECLAIM, ALLOC_FAIL,
	NR_VM_EVENTS,
};

struct class_report {
	struct cache_info cache;
	/* Derived: */
	size_t nr_cached; /* objects in CPU sheaves and in the barn */
	size_t nr_used;	  /* objects that the program holds: nr_objects = nr_used + nr_cached + cache.nr_free */
};

struct heap_report {
	/* Taken: */
	struct percpu_info percpu;
	struct zone_info zone;
	struct pages_info pages;
	struct guard_info guards; /* hardened */
	struct large_info large;
	struct large_list large_list;
	struct class_report class[NR_CACHES]; /* of typed caches, too: a size class, or such a cache's number */
	struct class_report handle[NR_CLASSES]; /* of objects that have handles; 0: of runs, by their pages */
	struct handle_info handles;
	struct compact_counts compact;
	size_t metadata, metadata_mapped; /* bytes of the boot allocator: handed out, mapped */
	size_t pools;			  /* bytes of NOWAIT pools and mempools */
	uint64_t nr_reclaims, nr_failures; /* of the api floor: all caches emptied; calls that returned NULL */

	/*
	 * Derived, in bytes but for the counts:
	 *   committed = used + free;                       used = small_used + handle_used + run_used + large.bytes
	 *   free = cached + slab_free + slack + dirty_free + clean_free
	 */
	size_t slab_pages, handle_pages;
	size_t committed, used, free;
	size_t small_used, small_free, run_used; /* small_free = cached + slab_free */
	size_t handle_used;			 /* objects that have handles, but for large blocks */
	size_t nr_small_free;			 /* objects */
	size_t cached, slab_free;		 /* small objects in sheaves and barns; in slabs; and those for handles */
	size_t slack;	   /* behind the last object of slabs, and in the last pageblock of large blocks */
	size_t dirty_free; /* free pages that may be resident */
	size_t clean_free; /* free pages that are not: never touched, or given back */
	size_t reserved;   /* address space of regions, and mappings of large blocks */
	size_t watermark;  /* high: bytes of free pages of the zone that may be resident */
	size_t huge; /* pageblocks */
	size_t cma, cma_free; /* the contiguous reserve; what of it nobody has */
	size_t given_back; /* since the start, but for unmapped large blocks */
	struct zone_row all_zones; /* as if they were one: Normal */
	uint64_t vm_event[NR_VM_EVENTS];
};

/* Fills the derived part from the taken one. */
void report_derive(struct heap_report *r);

#endif
