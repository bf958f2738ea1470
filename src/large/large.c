/* SPDX-License-Identifier: MIT */
#include "large/area.h"

#include "boot/boot.h"
#include "os/options.h"
#include "os/os.h"
#include "os/overcommit.h"
#include "page/buddy.h"
#include "page/limit.h"
#include "page/zonelist.h"

struct large large;

/* More than any address space has, and small enough to calculate with. */
#define MAX_SIZE ((size_t)1 << (ADDRESS_BITS - 1))

static struct boot_pool vm_area_pool;

static struct vm_area *area_get(void)
{
	struct vm_area *a = boot_pool_get(&vm_area_pool, sizeof *a, _Alignof(struct vm_area));

	if (a)
		*a = (struct vm_area){0};
	return a;
}

static void *area_publish(struct vm_area *a)
{
	lock_take(&large.lock, RANK_LARGE);
	area_enter(a);
	lock_drop(&large.lock, RANK_LARGE);
	return area_describe(a);
}

static void area_delist(struct vm_area *a)
{
	lock_take(&large.lock, RANK_LARGE);
	area_leave(a);
	lock_drop(&large.lock, RANK_LARGE);
}

/* --- pageblocks -------------------------------------------------------------- */

void blocks_mark(struct vm_area *a, size_t from)
{
	size_t at;

	for (at = align_down(from, PAGEBLOCK_SIZE); at < a->size; at += PAGEBLOCK_SIZE) {
		struct pageblock *b = map_pageblock(a->addr + at);

		pageblock_set_dirty(b, 0, (unsigned)(min_size(a->size - at, PAGEBLOCK_SIZE) >> PAGE_SHIFT), true);
	}
}

static bool blocks_alloc(struct vm_area *a, unsigned pages_flags, bool *zeroed)
{
	unsigned n = blocks_of(a->size);
	size_t nr_dirty;
	struct pageblock *b = zonelist_alloc(pages_flags, n, PAGEBLOCK_LARGE, &nr_dirty);

	if (!b)
		return false;
	a->first = b;
	a->nr_blocks = n;
	a->addr = pageblock_address(b);
	*zeroed = nr_dirty == 0;
	blocks_mark(a, 0);
	return true;
}

static void blocks_free(struct pageblock *first, unsigned n)
{
	zone_free(first, n);
	if (hot_is_too_much())
		hot_release(true);
	zone_balance();
	pages_tick();
}

/* --- calls ------------------------------------------------------------------------ */

static bool avoids_mappings; /* atomic */

void large_avoid_mappings(bool avoid)
{
	WRITE_ONCE(avoids_mappings, avoid);
}

static bool fits_zone(size_t size)
{
	return (size < bslab_options.large_size || READ_ONCE(avoids_mappings)) && size <= GIB;
}

void *large_take_kept(size_t size)
{
	return size <= MAX_SIZE ? hot_take(align_up(size, BSLAB_PAGE_SIZE), 1, fits_zone(size)) : NULL;
}

/* Mappings of which the process may have 65,530, guards apart. */
#define MAX_TIGHT_MAPPINGS 8192

bool large_wants_mapping(size_t size)
{
	return size > PAGEBLOCK_SIZE / 2 && size <= PAGEBLOCK_SIZE - PAGEBLOCK_SIZE / 8 && regions_are_tight() &&
	       READ_ONCE(large.info.nr_mapped) < MAX_TIGHT_MAPPINGS && !READ_ONCE(avoids_mappings);
}

void *large_alloc(size_t size, size_t align, bool *zeroed)
{
	bool of_zone = fits_zone(size) && align <= PAGEBLOCK_SIZE;
	struct vm_area *a;
	uint64_t since;
	void *p;

	if (size > MAX_SIZE || align > MAX_SIZE)
		return NULL;
	size = align_up(size, BSLAB_PAGE_SIZE);
	if (of_zone && (p = hot_take(size, align, true))) {
		*zeroed = false;
		return p;
	}
	hot_release(true); /* what is kept is warm, and fits in other ways too */
	a = limit_allows(size >> PAGE_SHIFT) ? area_get() : NULL;
	if (!a)
		return NULL;
	a->size = size;
	a->align = align;
	if (of_zone && !large_wants_mapping(size) && blocks_alloc(a, 0, zeroed))
		return area_publish(a);
	since = os_counter();
	if (mapping_alloc(a, 0, zeroed)) {
		p = area_publish(a);
		if (!fits_zone(size))
			hot_note_fresh(a, since);
		return p;
	}
	boot_pool_put(&vm_area_pool, a);
	return NULL;
}

void *large_alloc_explicit(size_t size, size_t align, unsigned pages_flags, bool *zeroed)
{
	struct vm_area *a = size <= GIB && align <= PAGEBLOCK_SIZE && limit_allows(size >> PAGE_SHIFT) ? area_get() : NULL;

	if (!a)
		return NULL;
	a->size = align_up(size, BSLAB_PAGE_SIZE);
	a->align = align;
	a->is_explicit = true;
	if (blocks_alloc(a, pages_flags, zeroed))
		return area_publish(a);
	boot_pool_put(&vm_area_pool, a);
	return NULL;
}

void *large_map(size_t size, size_t align, unsigned flags, bool *zeroed)
{
	struct vm_area *a;

	if (size > MAX_SIZE || align > MAX_SIZE)
		return NULL;
	size = align_up(size, BSLAB_PAGE_SIZE);
	a = limit_allows(size >> PAGE_SHIFT) ? area_get() : NULL;
	if (!a)
		return NULL;
	a->size = size;
	a->align = align;
	if (flags & LARGE_HUGETLB ? hugetlb_alloc(a, zeroed) : mapping_alloc(a, flags, zeroed))
		return area_publish(a);
	boot_pool_put(&vm_area_pool, a);
	return NULL;
}

void area_release(struct vm_area *a)
{
	if (a->first)
		blocks_free(a->first, a->nr_blocks);
	else
		mapping_release(a);
	boot_pool_put(&vm_area_pool, a);
}

void large_free(struct vm_area *a)
{
	bool keep = hot_admits(a);

	map_set(a->addr, 0);
	if (keep) {
		hot_keep(a);
	} else {
		area_delist(a);
		area_release(a);
	}
}

bool large_free_sealed(struct vm_area *a, uintptr_t *addr, size_t *size)
{
	if (a->first || os_seal((void *)a->map_addr, a->map_size) != 0) {
		large_free(a);
		return false;
	}
	*addr = a->map_addr;
	*size = a->map_size;
	map_set(a->addr, 0);
	area_delist(a);
	mapping_uncount(a);
	zone_note_unmapped(a->size >> PAGE_SHIFT);
	boot_pool_put(&vm_area_pool, a);
	return true;
}

/* In its place: the tail goes back to the zone, or free blocks behind it are taken. */
static bool blocks_resize(struct vm_area *a, size_t size)
{
	unsigned n = blocks_of(size);
	size_t old_size = a->size, nr_dirty;

	if (n > a->nr_blocks) {
		struct pageblock *last = map_pageblock(a->addr + ((size_t)(a->nr_blocks - 1) << PAGEBLOCK_SHIFT));

		if (!zone_extend(last, n - a->nr_blocks, PAGEBLOCK_LARGE, &nr_dirty))
			return false;
	} else if (n < a->nr_blocks) {
		blocks_free(map_pageblock(a->addr + ((size_t)n << PAGEBLOCK_SHIFT)), a->nr_blocks - n);
	}
	lock_take(&large.lock, RANK_LARGE);
	large.info.nr_blocks += (size_t)n - a->nr_blocks; /* modulo 2^64 where it shrinks: the sum is right */
	large.info.nr_block_resizes++;
	a->nr_blocks = n;
	area_set_size(a, size);
	lock_drop(&large.lock, RANK_LARGE);
	if (size > old_size)
		blocks_mark(a, old_size);
	return true;
}

static bool blocks_to_mapping(struct vm_area *a, size_t size)
{
	struct pageblock *first = a->first;
	size_t old_size = a->size, at;
	uintptr_t old_addr = a->addr;
	unsigned nr_blocks = a->nr_blocks;

	if (a->align > os_page_size() || (READ_ONCE(avoids_mappings) && size <= GIB) || !range_to_mapping(a, old_addr, old_size, size))
		return false;
	for (at = 0; at < old_size; at += PAGEBLOCK_SIZE)
		pageblock_set_dirty(map_pageblock(old_addr + at), 0,
				    (unsigned)(min_size(old_size - at, PAGEBLOCK_SIZE) >> PAGE_SHIFT), false);
	zone_free(first, nr_blocks);
	return true;
}

/* Of new blocks the caller has seen to it that they are no more than the machine has. */
static out_of_line bool may_grow(size_t by)
{
	return !overcommit_refuses(by) && limit_allows(by >> PAGE_SHIFT);
}

void *large_adopt(void *addr, size_t old_size, size_t size)
{
	bool avoid = READ_ONCE(avoids_mappings) && size <= GIB;
	struct vm_area *a = size <= MAX_SIZE && !avoid && may_grow(size - old_size) ? area_get() : NULL;

	if (!a)
		return NULL;
	a->was_run = true;
	if (range_to_mapping(a, (uintptr_t)addr, old_size, size))
		return area_publish(a);
	boot_pool_put(&vm_area_pool, a);
	return NULL;
}

void large_set_room(struct vm_area *a, size_t size)
{
	a->room = a->size - align_up(size, os_page_size());
}

bool large_room_takes(struct vm_area *a, size_t size)
{
	bool fits = a->room && size <= a->size && align_up(size, os_page_size()) >= a->size - a->room;

	if (fits)
		large_set_room(a, size);
	return fits;
}

void *large_resize(struct vm_area *a, size_t size)
{
	uintptr_t old_addr = a->addr;
	bool ok;

	if (size > MAX_SIZE || (size > a->size && !may_grow(size - a->size)))
		return NULL;
	if (a->is_hugetlb)
		return size <= a->size && size >= a->size / 2 ? (void *)a->addr : NULL;
	size = align_up(size, a->first ? BSLAB_PAGE_SIZE : os_page_size());
	if (size == a->size)
		return (void *)a->addr;
	if (a->first && blocks_resize(a, size))
		return (void *)a->addr;
	/* The address may change and be given to another thread at once: no descriptor may be left behind. */
	map_set(old_addr, 0);
	a->may_stay = false; /* where page tables move, time says nothing */
	a->room = 0;
	ok = a->first ? blocks_to_mapping(a, size) : mapping_resize(a, size);
	map_set(a->addr, desc_of_pointer(a, PAGE_LARGE, 0));
	return ok ? (void *)a->addr : NULL;
}

struct vm_area *large_find(uintptr_t addr)
{
	struct list_node *n;
	struct vm_area *found = NULL;

	lock_take(&large.lock, RANK_LARGE);
	for (n = large.areas.first; n && !found; n = n->next) {
		struct vm_area *a = container_of(n, struct vm_area, node);

		if (addr - a->addr < a->size)
			found = a;
	}
	lock_drop(&large.lock, RANK_LARGE);
	return found;
}

bool large_overlaps(uintptr_t addr, size_t size)
{
	struct list_node *n;
	bool found = false;

	lock_take(&large.lock, RANK_LARGE);
	for (n = large.areas.first; n && !found; n = n->next) {
		struct vm_area *a = container_of(n, struct vm_area, node);
		uintptr_t begin = a->first ? a->addr : a->map_addr, end = begin + (a->first ? a->size : a->map_size);

		found = addr < end && begin < addr + size;
	}
	lock_drop(&large.lock, RANK_LARGE);
	return found;
}

const struct vm_area *large_next(const struct vm_area *a)
{
	struct list_node *n = a ? a->node.next : large.areas.first;

	return n ? container_of(n, struct vm_area, node) : NULL;
}

void large_snapshot(struct large_info *info)
{
	lock_take(&large.lock, RANK_LARGE);
	*info = large.info;
	info->nr_hot_pages = large.nr_hot_pages;
	lock_drop(&large.lock, RANK_LARGE);
}

void large_list(struct large_list *list)
{
	struct list_node *n;

	list->nr_listed = 0;
	lock_take(&large.lock, RANK_LARGE);
	list->nr_areas = large.info.nr_areas;
	for (n = large.areas.first; n && list->nr_listed < MAX_LARGE_LISTED; n = n->next) {
		struct vm_area *a = container_of(n, struct vm_area, node);
		struct large_block *b = &list->block[list->nr_listed++];

		*b = (struct large_block){.addr = a->addr, .size = a->size, .nr_blocks = a->nr_blocks};
		if (!a->first) {
			b->guard_before = a->addr - a->map_addr;
			b->guard_behind = a->map_size - b->guard_before - a->size;
		}
	}
	lock_drop(&large.lock, RANK_LARGE);
}

void large_fork_prepare(void)
{
	lock_take_nested(&large.lock);
}

void large_fork_done(bool child)
{
	if (child)
		lock_reset(&large.lock);
	else
		lock_drop_nested(&large.lock);
}
