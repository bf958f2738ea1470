/* SPDX-License-Identifier: MIT */
/*
 * Regions: huge reserved ranges that pageblocks are cut from (Linux: memory
 * sections coming online, mm/memory_hotplug.c).
 *
 * 1. A region is reserved without access (PROT_NONE, no commit charge) and made
 *    usable from its start upwards, in steps, so that it is two mappings at
 *    most however many of its blocks are in use, and overcommit_memory=2 or
 *    RLIMIT_DATA see what is used.
 * 2. Sizes: bslab_options.region_size (1 GiB), at most 1/32 of RLIMIT_AS, then
 *    halved down to one pageblock until the kernel agrees.
 * 3. Regions are never given back; their pages are.
 *
 * 4. A region is of one zone: memory of one kind, of one NUMA node (Linux: enum zone_type, pg_data_t). ZONE_DMA32 is
 *    wholly below 4 GiB. ZONE_HUGE has explicit huge pages: what is committed of it is addresses only, and the zone puts
 *    a page behind a block when it is taken, and takes it away when it is purged.
 *
 * 5. RLIMIT_AS and RLIMIT_DATA count addresses. Once more than a quarter of the lesser is committed, they are tight: floors above
 *    then waste fewer of them, at a price in time.
 *
 * Invariant: free is a subset of the first nr_committed blocks; dirty a subset of free.
 */
#ifndef BSLAB_REGION_H
#define BSLAB_REGION_H

#include "map/pageblock.h"
#include "os/nodes.h"

#define REGION_MAX_BLOCKS ((unsigned)(GIB >> PAGEBLOCK_SHIFT))

enum zone_type {
	ZONE_NORMAL,
	ZONE_DMA32,
	ZONE_HUGE,
	NR_ZONE_TYPES,
};
#define NR_ZONES (NR_ZONE_TYPES * MAX_NODES)

/* A zone's number. 0 is where malloc's memory is from on a machine of one node. */
static inline unsigned zone_number(enum zone_type type, unsigned node)
{
	return node * NR_ZONE_TYPES + type;
}

static inline enum zone_type zone_type_of(unsigned zone)
{
	return (enum zone_type)(zone % NR_ZONE_TYPES);
}

static inline unsigned zone_node_of(unsigned zone)
{
	return zone / NR_ZONE_TYPES;
}

static inline const char *zone_type_name(enum zone_type type)
{
	static const char names[NR_ZONE_TYPES][8] = {"Normal", "DMA32", "Huge"};

	return names[type];
}

struct region {
	struct region *next; /* newest first; constant once published */
	uintptr_t base;	     /* constant */
	uint32_t nr_blocks;  /* constant */
	uint32_t zone;	     /* its number; constant */
	/* The rest under the zone lock. */
	uint32_t nr_committed;
	uint32_t nr_free, nr_dirty; /* bits set in free, dirty */
	uint32_t nr_lost; /* committed blocks whose addresses may be another's by now */
	uint64_t free[REGION_MAX_BLOCKS / 64];
	uint64_t dirty[REGION_MAX_BLOCKS / 64]; /* free, and some page may be non-zero */
};

/* A new region of the zone, of at least nr_blocks, nothing committed. NULL when the kernel refuses. */
struct region *region_create(unsigned zone, unsigned nr_blocks);
/* Commits at least nr_blocks more, if the kernel agrees some more than that; the number, 0 when refused. */
unsigned region_commit(struct region *r, unsigned nr_blocks);
/* See 5: as of the last look at the limits, which the program may change. A hint, without the lock. */
bool regions_are_tight(void);
/* The pageblock at an index below nr_committed. */
struct pageblock *region_block(struct region *r, unsigned index);

static inline unsigned region_index(const struct region *r, const struct pageblock *b)
{
	return (unsigned)((pageblock_address(b) - r->base) >> PAGEBLOCK_SHIFT);
}

#endif
