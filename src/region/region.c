/* SPDX-License-Identifier: MIT */
#include "region/region.h"

#include "base/probe.h"
#include "boot/boot.h"
#include "map/map.h"
#include "os/options.h"
#include "os/os.h"
#include "os/place.h"

/*
 * Commit steps grow with the region: a quarter of what is committed, at least
 * two blocks and at most 32, so that the cost of mprotect is a few per cent of
 * the cost of the faults behind it, and overcommit_memory=2 is charged for
 * little that is not used.
 */
#define MIN_COMMIT_BLOCKS 2u
#define MAX_COMMIT_BLOCKS 32u

/* A share of RLIMIT_AS that one region may take: the program maps other things too. */
#define LIMIT_SHARE 32

/* Of the addresses below 4 GiB, which the program and its libraries need as well. */
#define MAX_LOW_REGION (256 * MIB)
/* Where none of a size was free, as much is not asked for again at once: that takes some thousand system calls. */
#define LOW_SKIP 64u

/* Under the zone lock: */
static size_t nr_all_committed, looked_at; /* pageblocks */
static bool are_tight; /* atomic */
static uintptr_t lowest_base; /* of ordinary regions */
static unsigned nr_low_skip;
static size_t low_refused; /* the least size that was */

static size_t region_max_size(void)
{
	size_t limit = os_address_space_limit(), size = min_size(bslab_options.region_size, GIB);

	while (size > PAGEBLOCK_SIZE && size > limit / LIMIT_SHARE)
		size /= 2;
	return size;
}

/* Below the last region, so that they share sections; the first one well below this library. */
static uintptr_t region_hint(size_t size)
{
	uintptr_t below = lowest_base ? lowest_base : align_down((uintptr_t)&bslab_hot, GIB) - GIB;

	return below > size && below < (uintptr_t)1 << ADDRESS_BITS ? align_down(below - size, size) : 0;
}

static void *reserve_ordinary(size_t size)
{
	return os_reserve(size, size, region_hint(size));
}

static void *region_reserve(size_t *size, size_t min, void *(*reserve)(size_t size))
{
	void *p = NULL;

	for (; *size >= min && *size >= PAGEBLOCK_SIZE; *size /= 2) {
		p = reserve(*size);
		if (p && map_ensure((uintptr_t)p, *size))
			return p;
		if (p)
			os_unmap(p, *size);
	}
	return NULL;
}

static void *reserve_low(size_t size)
{
	return os_reserve_low(size, size);
}

static void *region_reserve_low(size_t *size, size_t min)
{
	void *p = NULL;

	if (nr_low_skip && min >= low_refused) {
		nr_low_skip--;
		return NULL;
	}
	if (min <= MAX_LOW_REGION)
		*size = min_size(*size, MAX_LOW_REGION);
	p = region_reserve(size, min, reserve_low);
	if (!p) {
		low_refused = min;
		nr_low_skip = LOW_SKIP;
	}
	return p;
}

static const char *region_name(unsigned zone)
{
	static const char names[NR_ZONE_TYPES][16] = {"bslab:heap", "bslab:dma32", "bslab:huge"};

	return names[zone_type_of(zone)];
}

/* Two system calls: at each new region, and when twice as much is committed. */
static void look_at_limits(void)
{
	looked_at = nr_all_committed;
	WRITE_ONCE(are_tight, nr_all_committed > min_size(os_address_space_limit(), os_data_limit()) >> PAGEBLOCK_SHIFT >> 2);
}

struct region *region_create(unsigned zone, unsigned nr_blocks)
{
	bool is_low = zone_type_of(zone) == ZONE_DMA32;
	size_t min = (size_t)nr_blocks << PAGEBLOCK_SHIFT, size = region_max_size();
	struct region *r;
	void *base;

	while (size < min)
		size *= 2;
	if (size > GIB)
		return NULL;
	base = is_low ? region_reserve_low(&size, min) : region_reserve(&size, min, reserve_ordinary);
	if (!base)
		return NULL;
	r = boot_alloc(sizeof *r, _Alignof(struct region));
	if (!r) {
		os_unmap(base, size);
		return NULL;
	}
	look_at_limits();
	PROBE(region_reserve, base, size);
	os_no_huge_pages(base, size);
	os_name(base, size, region_name(zone));
	nodes_prefer(base, size, zone_node_of(zone));
	r->base = (uintptr_t)base;
	r->nr_blocks = (uint32_t)(size >> PAGEBLOCK_SHIFT);
	r->zone = zone;
	if (!is_low && (!lowest_base || r->base < lowest_base))
		lowest_base = r->base;
	return r;
}

/* Of huge pages the zone sees to each block. */
static bool is_lazy(const struct region *r)
{
	return zone_type_of(r->zone) == ZONE_HUGE;
}

static bool commit(struct region *r, unsigned nr_blocks)
{
	void *start = (void *)(r->base + ((uintptr_t)r->nr_committed << PAGEBLOCK_SHIFT));
	bool ok = is_lazy(r) || os_commit(start, (size_t)nr_blocks << PAGEBLOCK_SHIFT) == 0;

	PROBE(commit, start, (size_t)nr_blocks << PAGEBLOCK_SHIFT, ok);
	return ok;
}

unsigned region_commit(struct region *r, unsigned nr_blocks)
{
	unsigned room = r->nr_blocks - r->nr_committed, step = r->nr_committed / 4, i;

	if (nr_blocks > room)
		return 0;
	step = step < MIN_COMMIT_BLOCKS ? MIN_COMMIT_BLOCKS : step > MAX_COMMIT_BLOCKS ? MAX_COMMIT_BLOCKS : step;
	step = step < nr_blocks || is_lazy(r) ? nr_blocks : step > room ? room : step;
	if (!commit(r, step)) {
		step = nr_blocks;
		if (!commit(r, step))
			return 0;
	}
	for (i = r->nr_committed; i < r->nr_committed + step; i++) {
		struct pageblock *b = map_pageblock(r->base + ((uintptr_t)i << PAGEBLOCK_SHIFT));

		b->region = r;
		b->number = (uint32_t)((r->base >> PAGEBLOCK_SHIFT) + i);
	}
	r->nr_committed += step;
	nr_all_committed += step;
	if (nr_all_committed >= 2 * looked_at)
		look_at_limits();
	return step;
}

bool regions_are_tight(void)
{
	return READ_ONCE(are_tight);
}

struct pageblock *region_block(struct region *r, unsigned index)
{
	return map_pageblock(r->base + ((uintptr_t)index << PAGEBLOCK_SHIFT));
}
