/* SPDX-License-Identifier: MIT */
/*
 * Objects that have handles, in slabs of their own (Linux: zspages, mm/zsmalloc.c).
 *
 * 1. A cache for each size class of slab/sizes.h from 16 bytes on, and one, of class 0, for runs of pages: a slab of one
 *    object. Slabs stand in the pageblocks of page/compactable.h.
 * 2. A slab knows whose its objects are: owner[i] is the index of the entry of object i, 0 where it is free. With the
 *    cache's lock held, owner[i] = e and e's place agree, but for an entry that is FREE (on its way between the two) and for
 *    the new place of an object that moves.
 * 3. Slabs with free objects stand in lists by fullness; the fullest serves first. A slab without objects is freed, but
 *    for one of each cache.
 * 4. A slab of a pageblock that is to be emptied is isolated: on no list, so nothing is taken from it. While an object of it is
 *    copied the slab stays, even without objects: its pages would be somebody's else, who may protect them.
 * 5. Headers are type-stable and stay in their cache, so whoever finds one by a page's descriptor takes the
 *    cache's lock and looks whether it is still that slab.
 */
#ifndef BSLAB_OBJECTS_H
#define BSLAB_OBJECTS_H

#include "base/list.h"
#include "boot/boot.h"
#include "map/map.h"
#include "os/lock.h"
#include "slab/slab.h"

#define MAX_HANDLE_OBJECTS 256 /* of a slab */
#define NR_HANDLE_LISTS 9      /* 0: without objects; then by eighths of the objects that are taken */

/* What threads put by for each other: so many chains of kept handles, or so many bytes of their objects. */
#define MAX_DEPOT 32
#define MAX_DEPOT_BYTES (256 * KIB)

struct handle_chain {
	uint32_t first, nr; /* index of an entry, the others linked by info */
};

#define RUN_CLASS 0u	  /* runs of pages */
#define LARGE_CLASS 255u  /* blocks of the large floor, which do not move */
#define HANDLE_MIN_SIZE 16u

struct handle_cache {
	/* Constant: */
	uint32_t size; /* bytes per object; 0: runs */
	uint8_t class;
	uint16_t nr_objects; /* per slab */
	uint16_t nr_pages;   /* per slab; 0: runs */
	uint64_t reciprocal; /* as in slab/slab.h */
	struct boot_pool pool; /* of headers */
	_Atomic size_t nr_stripped; /* entries that threads keep and that a compaction took the object from; relaxed */
	/* Under lock, RANK_CACHE: */
	struct lock lock __cacheline_aligned;
	uint32_t nr_slabs, nr_empty; /* nr_empty: of them, without objects that are taken */
	size_t nr_taken, nr_slab_pages; /* objects */
	size_t nr_partial; /* on the lists */
	size_t nr_depot; /* entries in all of its chains */
	unsigned nr_chains, nr_depot_visits, nr_visits_seen; /* the last: at the last look whether it rests */
	struct handle_chain depot[MAX_DEPOT]; /* the one put by last is the last */
	struct list list[NR_HANDLE_LISTS];
	uint64_t nr_slab_creates, nr_slab_destroys, nr_refills, nr_flushes; /* since the start */
};

struct handle_slab {
	struct list_node node; /* first, so that a pooled header keeps the rest */
	struct handle_cache *cache; /* constant */
	/* Under the cache's lock, but that whoever walks over pages reads the first three as hints: */
	uintptr_t base; /* 0: pooled, or being made; release and acquire */
	uint32_t nr_pages;
	uint16_t nr_taken;
	uint8_t list; /* 1 + that it is on, 0: on none */
	bool is_isolated : 1;
	bool is_source : 1; /* isolated, and an object of it is being copied: the mover frees it, and nobody else */
	uint64_t free[MAX_HANDLE_OBJECTS / 64];
	uint32_t owner[];
};

extern struct handle_cache *handle_caches[NR_CLASSES] reader_root(handle_caches);

/* The cache of a class, made at its first use; NULL where there is no memory. */
struct handle_cache *handle_cache_of(unsigned class);
struct handle_cache *handle_cache_if_used(unsigned class);

/*
 * Takes up to n objects for the entries of these indices, in their order. 0 where there is no memory, but for that of the
 * floors above to give back.
 */
unsigned objects_take(struct handle_cache *c, const uint32_t *index, uintptr_t *addr, unsigned n);
/* Gives objects back that were taken. */
void objects_give(struct handle_cache *c, const uintptr_t *addr, unsigned n);
/* Chains of kept handles. False when there is no room, or none. */
bool depot_put(struct handle_cache *c, struct handle_chain chain);
bool depot_get(struct handle_cache *c, struct handle_chain *chain);
/* It has chains, and nobody came since this was asked the last time. */
bool depot_has_rested(struct handle_cache *c);
/* A run of pages for an entry; 0 where there is none. */
uintptr_t run_take(uint32_t index, unsigned nr_pages);
/* Pages of the run. */
unsigned handle_run_pages(uintptr_t addr);

static force_inline struct handle_slab *handle_slab_of(page_desc_t d)
{
	return desc_type(d) == PAGE_HANDLE && !desc_class(d) ? desc_pointer(d) : NULL;
}

/* Bytes of an object of the slab. */
static inline size_t handle_object_size(const struct handle_slab *s)
{
	return s->cache->size ? s->cache->size : (size_t)READ_ONCE(s->nr_pages) << PAGE_SHIFT;
}

/* Bytes of all objects that are taken; a hint. */
size_t objects_bytes(void);
struct pageblock;
/* And of those in a block of pages that may be moved. */
size_t objects_bytes_of(struct pageblock *blk);

/* What a cache, or a copy of one, has to say. */
static inline void handle_cache_info(const struct handle_cache *c, struct cache_info *info)
{
	info->size = c->size;
	info->migratetype = MIGRATE_MOVABLE;
	info->objects_per_slab = c->nr_objects;
	info->pages_per_slab = c->nr_pages;
	info->nr_slabs = c->nr_slabs;
	info->nr_partial = c->nr_partial;
	info->nr_objects = (size_t)c->nr_slabs * c->nr_objects;
	info->nr_pages = c->nr_slab_pages;
	info->nr_free = info->nr_objects - min_size(info->nr_objects, c->nr_taken);
	info->nr_slab_creates = c->nr_slab_creates;
	info->nr_slab_destroys = c->nr_slab_destroys;
	info->nr_refills = c->nr_refills;
	info->nr_drains = c->nr_flushes;
	if (!c->size) { /* runs: by their pages */
		info->size = BSLAB_PAGE_SIZE;
		info->pages_per_slab = 1;
		info->nr_objects = info->nr_pages;
		info->nr_free = 0;
	}
}

void objects_snapshot(unsigned class, struct cache_info *info);

void objects_fork_prepare(void);
void objects_fork_done(bool child);

#endif
