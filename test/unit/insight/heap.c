/* SPDX-License-Identifier: MIT */
/* A heap that is read by copy, of structures that were never a heap's. */
#include "insight/heap.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "insight/view.h"

TestSuite(heap);

/* --- this process's memory ------------------------------------------------------------------------ */

static bool read_own(struct memory *m, uint64_t addr, void *buf, size_t size)
{
	(void)m;
	memcpy(buf, (const void *)(uintptr_t)addr, size);
	return true;
}

static const struct memory_source own_source = {.read = read_own};

#define BASE 0x7f0000000000

/* All that heap_reopen() reads; what a test adds stands in these. */
struct invented {
	struct memory memory;
	struct options options;
	struct percpu percpu;
	struct zone zone;
	struct buddies buddies;
	struct large large;
	struct hot hot;
	struct section section; /* of BASE */
	struct kmem_cache cache;
	struct kmem_cache *caches[NR_CACHES];
	struct region region;
};

static struct invented *new_invented(struct heap *h)
{
	struct invented *i = calloc(1, sizeof *i);

	i->memory.source = &own_source;
	i->percpu.mode = INDEX_CPU_ID;
	i->region = (struct region){.base = BASE, .nr_blocks = 100, .nr_committed = 10, .nr_free = 4, .nr_dirty = 3};
	i->zone.regions = &i->region;
	i->zone.count.nr_commit_blocks = 10;
	i->hot.root[BASE >> SECTION_SHIFT] = (uintptr_t)i->section.desc - (BASE >> PAGE_SHIFT) * sizeof(page_desc_t);
	*h = (struct heap){.memory = &i->memory};
	h->root[ROOT_HOT] = (uintptr_t)&i->hot;
	h->root[ROOT_LARGE] = (uintptr_t)&i->large;
	h->root[ROOT_OPTIONS] = (uintptr_t)&i->options;
	h->root[ROOT_PERCPU] = (uintptr_t)&i->percpu;
	h->root[ROOT_ZONE] = (uintptr_t)&i->zone;
	h->root[ROOT_CACHES] = (uintptr_t)i->caches;
	h->root[ROOT_BUDDIES] = (uintptr_t)&i->buddies;
	return i;
}

/* --- numbers that do not belong together ---------------------------------------------------------- */

Test(heap, a_region_in_motion_has_no_more_than_its_own)
{
	struct heap h;
	struct invented *i = new_invented(&h);

	cr_assert(heap_reopen(&h));
	cr_assert(h.nr_regions == 1 && h.regions[0].nr_free == 4 && h.regions[0].nr_dirty == 3);
	i->region.nr_dirty = 9; /* counted before those that are free */
	cr_assert(heap_reopen(&h));
	cr_assert_eq(h.regions[0].nr_dirty, 4);
	i->region.nr_free = i->region.nr_lost = 20;
	cr_assert(heap_reopen(&h));
	cr_assert(h.regions[0].nr_free == 10 && h.regions[0].nr_dirty == 9 && h.regions[0].nr_lost == 10);
	heap_close(&h);
	free(i);
}

static bool cache_is_had(struct heap *h, struct invented *i, unsigned class, unsigned size)
{
	struct kmem_cache c;
	uint64_t addr;

	i->caches[class] = &i->cache;
	i->cache.class = (uint8_t)class;
	i->cache.size = size;
	return heap_cache(h, class, &c, &addr);
}

Test(heap, objects_of_a_cache_have_the_size_of_its_class)
{
	struct heap h;
	struct invented *i = new_invented(&h);

	cr_assert(cache_is_had(&h, i, ZERO_CLASS, ZERO_SIZE), "the hardened mode's, of blocks of no bytes");
	cr_assert_not(cache_is_had(&h, i, ZERO_CLASS, 0), "nothing can be divided by it");
	cr_assert(cache_is_had(&h, i, size_class(200), 208));
	cr_assert_not(cache_is_had(&h, i, size_class(200), 200));
	cr_assert(cache_is_had(&h, i, PCP_CACHE + 1, 2 * BSLAB_PAGE_SIZE));
	cr_assert(cache_is_had(&h, i, FIRST_TYPED, 200));
	cr_assert_not(cache_is_had(&h, i, FIRST_TYPED, SMALL_MAX + 1));
	free(i);
}

/* --- what stands at an address -------------------------------------------------------------------- */

static void check_pointer(struct heap *h, uint64_t addr, const char *part)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	view_pointer(h, addr, out);
	fclose(out);
	cr_assert(strstr(text, part), "no \"%s\" in\n%s", part, text);
	free(text);
}

Test(heap, a_page_that_nobody_has)
{
	struct heap h;
	struct invented *i = new_invented(&h);

	cr_assert(heap_reopen(&h));
	i->section.block[0].state = PAGEBLOCK_FREE;
	check_pointer(&h, BASE + 1, "in a free pageblock\n");
	i->section.block[0].state = PAGEBLOCK_ISOLATE;
	check_pointer(&h, BASE + 1, "in a pageblock that is being given back\n");
	i->section.block[0].state = PAGEBLOCK_CONTIG;
	i->section.desc[4] = desc_of_number(2, PAGE_FREE);
	check_pointer(&h, BASE + 5 * BSLAB_PAGE_SIZE, "free, in 4 free pages at 0x7f0000004000 (order 2), not resident\n");
	check_pointer(&h, BASE, "in nobody's hands");
	heap_close(&h);
	free(i);
}
