/* SPDX-License-Identifier: MIT */
/*
 * Blocks of more than a pageblock (Linux: mm/vmalloc.c, vm_area).
 *
 * 1. Up to bslab_options.large_size a large block is a range of contiguous
 *    pageblocks of the zone: no system call once the zone is warm, no mapping
 *    of its own, and freed it is what the next one reuses.
 * 2. Above, or when it is realigned beyond a pageblock, or when it outgrows its
 *    place, it becomes a mapping of its own, with a guard page on either side.
 *    realloc() then is mremap(): page tables move, bytes do not.
 * 3. Leaving the region is a move of pages that keeps the range mapped
 *    (MREMAP_DONTUNMAP), so the region stays one mapping; where the kernel
 *    cannot, the caller copies.
 *
 * 4. The two blocks that were freed last are kept as they are, where the zone would
 *    not give their pages back either: a loop over blocks of one size takes one
 *    lock. A request for another size sends them to the zone first; so do reclaim, the
 *    watermark, which counts them, and the second look that finds them there: calls
 *    that deal with runs, and slow paths of small objects, look every 40 ms.
 *
 * 5. A mapping that is freed is kept among these as long as each owner had it for a fraction of a
 *    microsecond, and all together for some. To make one and take it away costs 3 to 8 us, which is much for such
 *    owners alone; and in so short a time more than a MiB cannot have become
 *    resident, nor can an owner have protected, locked or advised it. It is malloc's to take, not calloc's, for it
 *    may not read as zero; none is kept where addresses are limited or charged for, or the heap is.
 *
 * The descriptor of the first page leads to the struct vm_area; the others are 0.
 * A vm_area is owned by whoever owns the block; its list by the large lock.
 */
#ifndef BSLAB_LARGE_H
#define BSLAB_LARGE_H

#include "base/list.h"
#include "map/map.h"
#include "os/lock.h"

struct vm_area {
	struct list_node node;
	uintptr_t addr;
	size_t size;	     /* bytes that the user may touch, whole pages */
	size_t room;	     /* of that, what realloc() has put by and nobody asked for yet; the owner's, of mappings only */
	size_t align;	     /* as asked for, for a move */
	struct pageblock *first; /* NULL: a mapping of its own */
	unsigned nr_blocks;
	bool is_explicit; /* of a zone that malloc does not take from */
	bool is_hugetlb;  /* a mapping of explicit huge pages, which the kernel does not resize */
	bool was_run;	  /* a mapping into which large_adopt() moved a run */
	bool has_grown; /* the owner's: so that it grows with room the next time */
	bool was_seen; /* by large_reap(): of a freed block that is kept; under the lock */
	bool may_stay; /* a mapping of malloc's of which time tells what may be resident */
	void *sample; /* the owner's: what the profile knows of the block, NULL if nothing */
	bool has_handle; /* the owner's: none of malloc's, whatever address it has just now */
	uintptr_t map_addr; /* the mapping, guards included */
	size_t map_size;
	uint64_t owned_at; /* by this owner, by os_counter() */
	size_t touched;	      /* bytes at most, of owners before */
};

/* From now on a block of up to a GiB is a mapping only where the zone has no room for it: what is freed is unmapped no more. */
void large_avoid_mappings(bool avoid);
/* *zeroed: reads as zero. NULL when the kernel refuses. align is a power of two. */
void *large_alloc(size_t size, size_t align, bool *zeroed);
/*
 * Whether a mapping of its own is better for a run of pages: where addresses are tight (5 in region.h) and it would leave nearly
 * half of a pageblock to nobody.
 */
bool large_wants_mapping(size_t size);
/* One of those that are kept, of more than a pageblock, not zero; else NULL. */
void *large_take_kept(size_t size);
/* The same of an explicit zone: pageblocks, never a mapping. pages_flags: page/buddy.h. */
void *large_alloc_explicit(size_t size, size_t align, unsigned pages_flags, bool *zeroed);
enum large_map_flags {
	LARGE_GUARD = 1, /* with guard pages whatever the option says, or not at all */
	LARGE_HUGE = 2,	 /* resident by huge pages, where the kernel has them; for an align of a pageblock */
	LARGE_HUGETLB = 4, /* of explicit huge pages, or not at all; without guards */
};
/* The same as a mapping of its own, whatever its size. */
void *large_map(size_t size, size_t align, unsigned flags, bool *zeroed);
void large_free(struct vm_area *a);
/*
 * Frees a block that is a mapping but keeps its addresses, guards and all, which trap from now on: the caller's to
 * os_unmap(). False when they are gone, or the block was no mapping.
 */
bool large_free_sealed(struct vm_area *a, uintptr_t *addr, size_t *size);
/* The block's address at its new size, contents kept and no room; NULL when it cannot be had without copying. */
void *large_resize(struct vm_area *a, size_t size);
/* Of what the block has, so much is used by now; the rest is room. */
void large_set_room(struct vm_area *a, size_t size);
/* A size that differs by the room only: true, and there is less or more of that. */
bool large_room_takes(struct vm_area *a, size_t size);

/*
 * Makes a large block out of a page run by moving its pages. The run's pages are zero afterwards and still the
 * caller's to free. NULL when the kernel refuses: the run is then as it was.
 */
void *large_adopt(void *addr, size_t old_size, size_t size);

/*
 * Sends freed blocks that are kept to the zone: those that were there at the last look already, once in 40 ms, whoever
 * asks; or all. large_tick() looks at the clock for it, and costs a load where none is kept: call it often, holding no lock.
 */
void large_reap(uint64_t now_ms);
void large_tick(void);
void large_drain(void);

static inline struct vm_area *large_of(page_desc_t d)
{
	return desc_type(d) == PAGE_LARGE && !desc_class(d) ? desc_pointer(d) : NULL;
}

/* The block of malloc's that begins at ptr; NULL where there is none. */
static inline struct vm_area *large_of_malloc(page_desc_t d, const void *ptr)
{
	struct vm_area *a = large_of(d);

	return a && a->addr == (uintptr_t)ptr && !a->has_handle ? a : NULL;
}

/* The block that holds an address, head or inside; slow, for messages. */
struct vm_area *large_find(uintptr_t addr);
/* Whether some of a range is a large block's, or its guard pages'; as slow. */
bool large_overlaps(uintptr_t addr, size_t size);

/* The block behind one, or the first. Where no other thread is at work: no lock is taken. */
const struct vm_area *large_next(const struct vm_area *a);

struct large_info {
	size_t nr_areas, bytes;		/* all */
	size_t nr_mapped, mapped_bytes; /* of their own */
	size_t nr_blocks;		/* pageblocks of the others */
	size_t nr_hot_pages;		/* of freed ones that are kept: in use to the zone */
	size_t kept_mapped_bytes;	/* of freed mappings that are kept */
	size_t nr_kept_touched;		/* pages of these that may be resident */
	/* Since the start: */
	uint64_t nr_maps, nr_unmaps, nr_remaps, nr_moves; /* nr_moves: out of a region, into a mapping */
	uint64_t nr_map_failures, nr_unmap_failures;
	uint64_t nr_block_allocs, nr_block_frees, nr_block_resizes; /* blocks of pageblocks */
};
void large_snapshot(struct large_info *info);

/* Freed blocks that are kept as they are: see 4 above. */
#define NR_HOT 2

struct large {
	struct lock lock; /* RANK_LARGE: all of this */
	struct list areas;
	struct vm_area *hot[NR_HOT]; /* the one freed last first */
	unsigned nr_hot;	     /* read without the lock as a hint */
	size_t nr_hot_pages;	     /* of pageblocks; the same */
	struct large_info info;
};

/* Blocks that a report lists one by one: the newest. It bounds how long the lock is held, to some 100 us. */
#define MAX_LARGE_LISTED 1024

struct large_block {
	uintptr_t addr;
	size_t size;			  /* bytes that the user may touch */
	size_t nr_blocks;		  /* pageblocks; 0: a mapping of its own */
	size_t guard_before, guard_behind; /* bytes of guard pages */
};

struct large_list {
	size_t nr_listed, nr_areas;
	struct large_block block[MAX_LARGE_LISTED];
};
void large_list(struct large_list *list);

void large_fork_prepare(void);
void large_fork_done(bool child);

#endif
