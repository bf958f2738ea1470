/* SPDX-License-Identifier: MIT */
#include "map/map.h"

#include "map/pageblock.h"
#include "os/bug.h"
#include "os/lock.h"
#include "os/os.h"

static struct lock map_lock;
size_t nr_sections_live reader_root(nr_sections);
static struct section *spare; /* under the lock */

/* The root holds section - bias, so that lookups need not mask the section's number out of the page number. */
static uintptr_t section_bias(size_t index)
{
	return (uintptr_t)(index * SECTION_PAGES * sizeof(page_desc_t));
}

static void section_publish(size_t index, struct section *s)
{
	bslab_assert(lock_is_held(&map_lock));
	os_no_huge_pages(s, sizeof *s);
	os_name(s, sizeof *s, "bslab:map");
	nr_sections_live++;
	__atomic_store_n(&bslab_hot.root[index], (uintptr_t)s - section_bias(index), __ATOMIC_RELEASE);
}

static bool section_create(size_t index)
{
	struct section *s = os_map(sizeof *s);

	if (s)
		section_publish(index, s);
	return s != NULL;
}

bool map_ensure(uintptr_t addr, size_t size)
{
	size_t first = addr >> SECTION_SHIFT, last = (addr + size - 1) >> SECTION_SHIFT, i;
	bool ok = true;

	if (last >= NR_SECTIONS || last < first)
		return false;
	lock_take(&map_lock, RANK_MAP);
	for (i = first; ok && i <= last; i++)
		/* Not a plain read, which would fault the entry's page in once more than the write does.  */
		if (!__atomic_fetch_or(&bslab_hot.root[i], 0, __ATOMIC_RELAXED))
			ok = section_create(i);
	lock_drop(&map_lock, RANK_MAP);
	return ok;
}

struct section *map_spare_get(void)
{
	struct section *s;

	lock_take(&map_lock, RANK_MAP);
	s = spare;
	spare = NULL;
	lock_drop(&map_lock, RANK_MAP);
	return s ? s : os_map(sizeof *s);
}

void map_ensure_with(uintptr_t addr, struct section *s)
{
	size_t index = addr >> SECTION_SHIFT;

	lock_take(&map_lock, RANK_MAP);
	if (!bslab_hot.root[index]) {
		section_publish(index, s);
		s = NULL;
	} else if (!spare) {
		spare = s;
		s = NULL;
	}
	lock_drop(&map_lock, RANK_MAP);
	if (s)
		os_unmap(s, sizeof *s);
}

struct pageblock *map_pageblock(uintptr_t addr)
{
	size_t index = addr >> SECTION_SHIFT;
	struct section *s;

	if (index >= NR_SECTIONS || !READ_ONCE(bslab_hot.root[index]))
		return NULL;
	s = (struct section *)(READ_ONCE(bslab_hot.root[index]) + section_bias(index));
	return &s->block[(addr >> PAGEBLOCK_SHIFT) % SECTION_BLOCKS];
}

/* Pages of a range that are described in its first page's section. */
static size_t nr_in_section(uintptr_t addr, size_t nr_pages)
{
	return min_size(nr_pages, SECTION_PAGES - (addr >> PAGE_SHIFT) % SECTION_PAGES);
}

static void set_in_section(_Atomic page_desc_t *slot, size_t nr_pages, page_desc_t desc)
{
	size_t i;

	for (i = 0; i < nr_pages; i++)
		atomic_store_explicit(&slot[i], desc, memory_order_relaxed);
}

void map_set_range(uintptr_t addr, size_t nr_pages, page_desc_t desc)
{
	size_t n;

	for (; nr_pages; nr_pages -= n, addr += n << PAGE_SHIFT) {
		n = nr_in_section(addr, nr_pages);
		set_in_section(map_slot(addr), n, desc);
	}
}

static void purge_in_section(_Atomic page_desc_t *slot, size_t nr_pages)
{
	uintptr_t from = align_up((uintptr_t)slot, os_page_size());
	uintptr_t to = align_down((uintptr_t)(slot + nr_pages), os_page_size());

	if (from < to)
		os_purge((void *)from, to - from);
}

void map_purge_range(uintptr_t addr, size_t nr_pages)
{
	size_t n;

	for (; nr_pages; nr_pages -= n, addr += n << PAGE_SHIFT) {
		n = nr_in_section(addr, nr_pages);
		purge_in_section(map_slot(addr), n);
	}
}

void map_clear_range(uintptr_t addr, size_t nr_pages)
{
	map_set_range(addr, nr_pages, 0);
	map_purge_range(addr, nr_pages);
}

size_t map_reserved(void)
{
	return nr_sections_live * sizeof(struct section);
}

void map_fork_prepare(void)
{
	lock_take_nested(&map_lock);
}

void map_fork_done(bool child)
{
	if (child)
		lock_reset(&map_lock);
	else
		lock_drop_nested(&map_lock);
}
