/* SPDX-License-Identifier: MIT */
/*
 * What the files of large/ share: the list of live blocks, and freed ones that are kept.
 */
#ifndef BSLAB_LARGE_AREA_H
#define BSLAB_LARGE_AREA_H

#include "large/large.h"
#include "os/bug.h"
#include "page/limit.h"

extern struct large large reader_root(large);

static inline void area_enter(struct vm_area *a)
{
	bslab_assert(lock_is_held(&large.lock));
	list_add(&large.areas, &a->node);
	large.info.nr_areas++;
	large.info.nr_blocks += a->nr_blocks;
	large.info.nr_block_allocs += a->first != NULL;
	large.info.nr_mapped += a->first == NULL;
	large.info.mapped_bytes += a->first ? 0 : a->size;
	large.info.bytes += a->size;
}

static inline void area_leave(struct vm_area *a)
{
	bslab_assert(lock_is_held(&large.lock));
	list_del(&large.areas, &a->node);
	large.info.nr_areas--;
	large.info.nr_blocks -= a->nr_blocks;
	large.info.nr_block_frees += a->first != NULL;
	large.info.nr_mapped -= a->first == NULL;
	large.info.mapped_bytes -= a->first ? 0 : a->size;
	large.info.bytes -= a->size;
}

/* Of a block in the list: after this, its address may be freed. */
static inline void *area_describe(struct vm_area *a)
{
	map_set(a->addr, desc_of_pointer(a, PAGE_LARGE, 0));
	return (void *)a->addr;
}

/* A published block changes under the lock: reports read it. */
static inline void area_set_size(struct vm_area *a, size_t size)
{
	bslab_assert(lock_is_held(&large.lock));
	large.info.bytes += size - a->size;
	if (!a->first) {
		large.info.mapped_bytes += size - a->size;
		limit_note_mapped(a->size >> PAGE_SHIFT, size >> PAGE_SHIFT);
	}
	a->size = size;
}

/* size: of a block there is, so the number fits. */
static inline unsigned blocks_of(size_t size)
{
	return (unsigned)((size + PAGEBLOCK_SIZE - 1) >> PAGEBLOCK_SHIFT);
}

/* Pages below the block's size are the user's from now on, those from `from` on are new; those behind keep their state. */
void blocks_mark(struct vm_area *a, size_t from);
/* Of a block that is in no list: its memory goes to the zone or the kernel. */
void area_release(struct vm_area *a);

/* --- large/mapping.c: 2 and 3 of large.h -------------------------------------------------------------- */

/* For a block whose size and align are set; it is in no list yet. flags: enum large_map_flags. */
bool mapping_alloc(struct vm_area *a, unsigned flags, bool *zeroed);
bool hugetlb_alloc(struct vm_area *a, bool *zeroed);
/* Takes it away; the struct stays. */
void mapping_release(struct vm_area *a);
/* It is no block any more, whatever becomes of its addresses. */
void mapping_uncount(const struct vm_area *a);
/* The whole mapping, guards and all, so that it stays one. The caller republishes: the address may change. */
bool mapping_resize(struct vm_area *a, size_t size);
/*
 * Moves a range out of its region into a mapping of its own and grows it to size. Zero pages stay behind. Moving out
 * keeps the region one mapping; growing then is what mremap does best. On failure all is as it was.
 */
bool range_to_mapping(struct vm_area *a, uintptr_t old_addr, size_t old_size, size_t size);

/* --- large/hot.c: 4 of large.h ------------------------------------------------------------------- */

/* Whether a block that is freed may be kept. */
bool hot_admits(struct vm_area *a);
/* Frees it so. Its descriptor is 0 already. */
void hot_keep(struct vm_area *a);
/* One of the same kind and as many pageblocks, or of that size; live again. size is in whole pages. */
void *hot_take(size_t size, size_t align, bool of_zone);
/* Those that the last look saw, or all; the others are seen now. */
void hot_release(bool all);
/* More than the zone's watermark allows? */
bool hot_is_too_much(void);
/* Of a fresh mapping that hot_take() may find; since: os_counter() before it was made. */
void hot_note_fresh(struct vm_area *a, uint64_t since);

#endif
