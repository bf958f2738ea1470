/* SPDX-License-Identifier: MIT */
#include "heap/device.h"

#include "base/bits.h"
#include "heap/pool.h"
#include "large/large.h"
#include "map/map.h"
#include "os/bug.h"

static struct pageblock *block_at(const struct device *d, size_t i)
{
	return map_pageblock(d->first_block + (i << PAGEBLOCK_SHIFT));
}

/* --- as a whole --------------------------------------------------------------------- */

static bool claim(struct pageblock *b, uintptr_t addr)
{
	uint8_t absent = PAGEBLOCK_ABSENT;

	if (!__atomic_compare_exchange_n(&b->state, &absent, PAGEBLOCK_DEVICE, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return false;
	b->number = (uint32_t)(addr >> PAGEBLOCK_SHIFT);
	return true;
}

/* No page of it is free any more, and no list has one: as it was before. */
static void disclaim(struct pageblock *b)
{
	unsigned order;

	b->nr_free = b->nr_dirty_free = b->orders = b->warm_row = 0;
	bits_change(b->free, 0, PAGEBLOCK_PAGES, false);
	for (order = 0; order < NR_ORDERS; order++)
		b->head[order] = 0;
	pageblock_set_dirty(b, 0, PAGEBLOCK_PAGES, false);
	__atomic_store_n(&b->state, PAGEBLOCK_ABSENT, __ATOMIC_RELEASE);
}

/* The pages of a block that are in the memory. */
static void free_inside(const struct device *d, struct pageblock *b)
{
	uintptr_t start = pageblock_address(b), end = start + PAGEBLOCK_SIZE;
	uintptr_t from = max_size(start, d->base), to = min_size(end, d->end);

	pageblock_free(b, (unsigned)((from - start) >> PAGE_SHIFT), (unsigned)((to - from) >> PAGE_SHIFT));
}

/* No page has a descriptor, and none is inside a mapping of its own, where only the first has one. */
static bool is_unknown(const struct device *d)
{
	uintptr_t addr;

	if (large_overlaps(d->base, d->end - d->base) || pools_overlap(d->base, d->end - d->base))
		return false;

	for (addr = d->base; addr < d->end; addr += BSLAB_PAGE_SIZE)
		if (map_lookup(addr))
			return false;
	return true;
}

static size_t claim_all(const struct device *d)
{
	size_t n = 0;

	while (n < d->nr_blocks && claim(block_at(d, n), d->first_block + (n << PAGEBLOCK_SHIFT)))
		n++;
	return n;
}

enum device_fault device_add(struct device *d, uintptr_t addr, size_t size)
{
	uintptr_t end;
	size_t i, n;
	bool good;

	if (__builtin_add_overflow(addr, size, &end) || end > (uintptr_t)1 << ADDRESS_BITS)
		return DEVICE_BUSY;
	*d = (struct device){.base = align_up(addr, BSLAB_PAGE_SIZE), .end = align_down(end, BSLAB_PAGE_SIZE)};
	if (d->base >= d->end)
		return DEVICE_SMALL;
	d->first_block = align_down(d->base, PAGEBLOCK_SIZE);
	d->nr_blocks = (align_up(d->end, PAGEBLOCK_SIZE) - d->first_block) >> PAGEBLOCK_SHIFT;
	if (!map_ensure(d->first_block, d->nr_blocks << PAGEBLOCK_SHIFT))
		return DEVICE_NO_MEMORY;
	n = claim_all(d);
	good = n == d->nr_blocks && is_unknown(d);
	for (i = 0; i < n; i++)
		if (good)
			free_inside(d, block_at(d, i));
		else
			disclaim(block_at(d, i));
	return good ? DEVICE_GOOD : DEVICE_BUSY;
}

void device_remove(struct device *d)
{
	size_t i;

	map_clear_range(d->base, (d->end - d->base) >> PAGE_SHIFT);
	for (i = 0; i < d->nr_blocks; i++)
		disclaim(block_at(d, i));
}

/* --- pages ---------------------------------------------------------------------------- */

static void *take(struct pageblock *b, unsigned nr_pages, unsigned align_order)
{
	unsigned nr_dirty;
	int index = b->nr_free >= nr_pages ? pageblock_alloc(b, nr_pages, align_order, &nr_dirty) : -1;

	return index < 0 ? NULL : (void *)(pageblock_address(b) + ((uintptr_t)index << PAGE_SHIFT));
}

static void *alloc_in_block(struct device *d, unsigned nr_pages, unsigned align_order)
{
	void *p = NULL;
	size_t i;

	while (d->lowest < d->nr_blocks && !block_at(d, d->lowest)->nr_free)
		d->lowest++;
	for (i = d->lowest; !p && i < d->nr_blocks; i++)
		p = take(block_at(d, i), nr_pages, align_order);
	return p;
}

/* Pages of the block number i of a row that begins at a block's first page. */
static unsigned nr_in_row(size_t nr_pages, size_t i)
{
	return (unsigned)min_size(PAGEBLOCK_PAGES, nr_pages - (i << PAGEBLOCK_ORDER));
}

/* Whole blocks, and the beginning of one. */
static void *alloc_row(struct device *d, size_t nr_pages)
{
	size_t nr_blocks = (nr_pages + PAGEBLOCK_PAGES - 1) >> PAGEBLOCK_ORDER, i, nr_free = 0;
	void *first = NULL;

	for (i = d->lowest; i < d->nr_blocks && nr_free < nr_blocks; i++)
		nr_free = block_at(d, i)->nr_free == PAGEBLOCK_PAGES ? nr_free + 1 : 0;
	if (nr_free < nr_blocks)
		return NULL;
	while (nr_free--) {
		first = take(block_at(d, --i), nr_in_row(nr_pages, nr_free), 0);
		bslab_assert((uintptr_t)first == pageblock_address(block_at(d, i)));
	}
	return first;
}

void *device_alloc(struct device *d, size_t nr_pages, unsigned align_order)
{
	if (align_order > PAGEBLOCK_ORDER)
		return NULL;
	return nr_pages <= PAGEBLOCK_PAGES ? alloc_in_block(d, (unsigned)nr_pages, align_order) : alloc_row(d, nr_pages);
}

void device_free(struct device *d, void *addr, size_t nr_pages)
{
	uintptr_t at = (uintptr_t)addr;

	while (nr_pages) {
		size_t i = (at - d->first_block) >> PAGEBLOCK_SHIFT;
		unsigned index = (unsigned)((at & (PAGEBLOCK_SIZE - 1)) >> PAGE_SHIFT);
		unsigned n = (unsigned)min_size(nr_pages, PAGEBLOCK_PAGES - index);

		pageblock_free(block_at(d, i), index, n);
		d->lowest = min_size(d->lowest, i);
		nr_pages -= n;
		at += (uintptr_t)n << PAGE_SHIFT;
	}
}
