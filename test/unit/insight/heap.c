/* SPDX-License-Identifier: MIT */
/* A heap that is read by copy, of structures that were never a heap's. */
#include "insight/heap.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(heap);

/* --- this process's memory ------------------------------------------------------------------------ */

static bool read_own(struct memory *m, uint64_t addr, void *buf, size_t size)
{
	(void)m;
	memcpy(buf, (const void *)(uintptr_t)addr, size);
	return true;
}

static const struct memory_source own_source = {.read = read_own};

/* All that heap_reopen() reads; what a test adds stands in these. */
struct invented {
	struct memory memory;
	struct options options;
	struct percpu percpu;
	struct zone zone;
	struct buddies buddies;
	struct region region;
};

static struct invented *new_invented(struct heap *h)
{
	struct invented *i = calloc(1, sizeof *i);

	i->memory.source = &own_source;
	i->percpu.mode = INDEX_CPU_ID;
	i->region = (struct region){.base = 0x7f0000000000, .nr_blocks = 100, .nr_committed = 10, .nr_free = 4, .nr_dirty = 3};
	i->zone.regions = &i->region;
	i->zone.count.nr_commit_blocks = 10;
	*h = (struct heap){.memory = &i->memory};
	h->root[ROOT_OPTIONS] = (uintptr_t)&i->options;
	h->root[ROOT_PERCPU] = (uintptr_t)&i->percpu;
	h->root[ROOT_ZONE] = (uintptr_t)&i->zone;
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
