/* SPDX-License-Identifier: MIT */
/* Large blocks that are mappings of their own: 2 and 3 in large.h. */
#include <string.h>

#include "base/probe.h"
#include "large/area.h"
#include "os/options.h"
#include "os/os.h"
#include "os/place.h"
#include "page/limit.h"
#include "page/zone.h"

static size_t guard_size(void)
{
	return bslab_options.guard ? os_page_size() : 0;
}

/* Whatever of the mapping is not the user's: a page on either side, or only behind a block that left its region. */
static bool guards_set(struct vm_area *a, bool set)
{
	size_t head = a->addr - a->map_addr, tail = a->map_size - head - a->size;
	int (*change)(void *, size_t) = set ? os_guard : os_unguard;
	bool ok = true;

	if (head)
		ok = change((void *)a->map_addr, head) == 0;
	if (tail)
		ok = change((void *)(a->addr + a->size), tail) == 0 && ok;
	return ok;
}

/* Trims a mapping to [addr - guard, addr + size + guard). */
static void mapping_trim(struct vm_area *a, char *map, size_t map_size, size_t g)
{
	char *start = (char *)a->addr - g, *end = (char *)a->addr + a->size + g;

	if (start > map)
		os_unmap(map, (size_t)(start - map));
	if (map + map_size > end)
		os_unmap(end, (size_t)(map + map_size - end));
	a->map_addr = (uintptr_t)start;
	a->map_size = (size_t)(end - start);
}

static void count(uint64_t *counter)
{
	lock_take(&large.lock, RANK_LARGE);
	++*counter;
	lock_drop(&large.lock, RANK_LARGE);
}

/* As one mapping: what has advice of its own would be another to the kernel, which mremap() does not take. */
static void mapping_populate_huge(const struct vm_area *a)
{
	size_t offset;

	for (offset = 0; offset + PAGEBLOCK_SIZE <= a->size; offset += PAGEBLOCK_SIZE)
		if (!os_populate_huge((char *)a->addr + offset, PAGEBLOCK_SIZE))
			break;
	os_no_huge_pages((void *)a->map_addr, a->map_size);
}

static void count_mapping(struct vm_area *a)
{
	PROBE(large_map, a->addr, a->size);
	lock_take(&large.lock, RANK_LARGE);
	large.info.nr_maps++;
	lock_drop(&large.lock, RANK_LARGE);
	limit_note_mapped(0, a->size >> PAGE_SHIFT);
}

static bool hugetlb_map(struct vm_area *a, size_t page_size)
{
	size_t size = align_up(a->size, page_size);
	void *map = os_map_huge(size, page_size);

	if (!map)
		return false;
	if (!map_ensure((uintptr_t)map, BSLAB_PAGE_SIZE)) {
		os_unmap(map, size);
		return false;
	}
	a->addr = a->map_addr = (uintptr_t)map;
	a->size = a->map_size = size;
	a->is_hugetlb = true;
	return true;
}

bool hugetlb_alloc(struct vm_area *a, bool *zeroed)
{
	bool is_gigantic = align_up(a->size, GIGANTIC_SIZE) - a->size <= a->size / 8; /* not much more than was asked for */

	if (a->align > PAGEBLOCK_SIZE ||
	    (!(is_gigantic && hugetlb_map(a, GIGANTIC_SIZE)) && !hugetlb_map(a, PAGEBLOCK_SIZE))) {
		count(&large.info.nr_map_failures);
		return false;
	}
	*zeroed = true;
	count_mapping(a);
	return true;
}

bool mapping_alloc(struct vm_area *a, unsigned flags, bool *zeroed)
{
	size_t g = flags & LARGE_GUARD ? os_page_size() : guard_size(), slack = a->align > os_page_size() ? a->align : 0, total;
	char *map;

	a->size = align_up(a->size, os_page_size());
	if (__builtin_add_overflow(a->size, slack + 2 * g, &total))
		return false;
	map = os_map(total);
	if (!map) {
		count(&large.info.nr_map_failures);
		return false;
	}
	a->addr = align_up((uintptr_t)map + g, slack ? a->align : os_page_size());
	if (!map_ensure(a->addr, BSLAB_PAGE_SIZE)) {
		os_unmap(map, total);
		return false;
	}
	mapping_trim(a, map, total, g);
	if (!guards_set(a, true) && flags & LARGE_GUARD) {
		os_unmap((void *)a->map_addr, a->map_size);
		count(&large.info.nr_map_failures);
		return false;
	}
	if (flags & LARGE_HUGE)
		mapping_populate_huge(a);
	os_name((void *)a->map_addr, a->map_size, "bslab:large");
	*zeroed = true;
	count_mapping(a);
	return true;
}

void mapping_uncount(const struct vm_area *a)
{
	count(&large.info.nr_unmaps);
	limit_note_mapped(a->size >> PAGE_SHIFT, 0);
}

void mapping_release(struct vm_area *a)
{
	PROBE(large_unmap, a->addr, a->size);
	mapping_uncount(a);
	(a->was_run ? zone_note_unmapped_run : zone_note_unmapped)(a->size >> PAGE_SHIFT);
	if (os_unmap((void *)a->map_addr, a->map_size) != 0) {
		/* max_map_count: the hole would need one mapping more. Give the pages back at least. */
		os_purge((void *)a->map_addr, a->map_size);
		count(&large.info.nr_unmap_failures);
	}
}

static void mapping_set(struct vm_area *a, char *map, size_t map_size, size_t head)
{
	a->map_addr = (uintptr_t)map;
	a->map_size = map_size;
	a->addr = (uintptr_t)map + head;
}

bool mapping_resize(struct vm_area *a, size_t size)
{
	size_t head = a->addr - a->map_addr, tail = a->map_size - head - a->size, map_size;
	struct section *spare = NULL;
	char *map = NULL;
	bool grows;

	size = align_up(size, os_page_size());
	if (__builtin_add_overflow(size, head + tail, &map_size))
		return false;
	grows = map_size > a->map_size;
	if (grows && !(spare = map_spare_get())) /* once moved, the block cannot be sent back */
		return false;
	if (guards_set(a, false)) /* else one would stand in the middle of the block */
		map = os_remap((void *)a->map_addr, a->map_size, map_size);
	if (map) {
		PROBE(large_remap, a->addr, map + head, size);
		lock_take(&large.lock, RANK_LARGE);
		mapping_set(a, map, map_size, head);
		area_set_size(a, size);
		large.info.nr_remaps++;
		lock_drop(&large.lock, RANK_LARGE);
	}
	if (grows)
		map_ensure_with(a->addr, spare);
	guards_set(a, true);
	return map != NULL;
}

bool range_to_mapping(struct vm_area *a, uintptr_t old_addr, size_t old_size, size_t size)
{
	size_t map_size;
	char *moved, *map;

	size = align_up(size, os_page_size());
	if (size < old_size || old_addr % os_page_size() || old_size % os_page_size() ||
	    __builtin_add_overflow(size, guard_size(), &map_size))
		return false;
	moved = os_move_pages((void *)old_addr, old_size);
	if (!moved)
		return false;
	map = os_remap(moved, old_size, map_size);
	if (!map || !map_ensure((uintptr_t)map, BSLAB_PAGE_SIZE)) {
		/* The old range is still mapped, empty: copying back needs nothing of the kernel. */
		memcpy((void *)old_addr, map ? map : moved, old_size);
		os_unmap(map ? map : moved, map ? map_size : old_size);
		return false;
	}
	PROBE(large_move, old_addr, map, size);
	os_no_huge_pages((void *)old_addr, old_size); /* whose advice it may have: clean now, it is not purged soon */
	lock_take(&large.lock, RANK_LARGE);
	if (a->first) { /* a published block of pageblocks; else a run, which is published later */
		large.info.bytes += size - a->size;
		large.info.nr_blocks -= a->nr_blocks;
		large.info.nr_mapped++;
		large.info.mapped_bytes += size;
	}
	a->first = NULL;
	a->nr_blocks = 0;
	a->size = size;
	mapping_set(a, map, map_size, 0);
	large.info.nr_moves++;
	lock_drop(&large.lock, RANK_LARGE);
	limit_note_mapped(0, size >> PAGE_SHIFT);
	guards_set(a, true);
	os_name(map, map_size, "bslab:large");
	return true;
}
