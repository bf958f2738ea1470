/* SPDX-License-Identifier: MIT */
/* The hardened mode's last look at the heap: damaged blocks that nobody freed, and what was written after its free. */
#include <stdlib.h>

#include "large/large.h"
#include "malloc/hardened.h"
#include "os/bug.h"
#include "page/zone.h"
#include "slab/hardened.h"
#include "slab/percpu.h"
#include "slab/sheaf.h"

/* glibc 2.32 and later: true while no other thread can be at work. */
extern const char __libc_single_threaded __attribute__((weak));

static void report_at_exit(void *ptr, size_t size)
{
	if (size == SIZE_MAX)
		bug_caller("exit with %p: what stands behind the block was written", ptr);
	else
		bug_caller("exit with %p: what stands behind the block of %z bytes was written", ptr, size);
}

static void object_check_last(const struct kmem_cache *c, uintptr_t start)
{
	uintptr_t end = start + c->size;
	size_t size;

	switch (block_check(start, end, &size)) {
	case BLOCK_USED:
		return;
	case BLOCK_DAMAGED:
		report_at_exit((void *)start, size);
		return;
	default:
		if (!block_is_clean(start, end))
			report_write_after_free((void *)start);
	}
}

static void slab_check_last(const struct slab *s)
{
	const struct kmem_cache *c = s->cache;
	unsigned i;

	for (i = 0; c->class != ZERO_CLASS && i < s->nr_objects; i++)
		object_check_last(c, s->base + (uintptr_t)i * c->size);
}

static void larger_check_last(uintptr_t addr, size_t room)
{
	size_t size;

	if (block_check(addr, addr + room, &size) == BLOCK_DAMAGED)
		report_at_exit((void *)addr, size);
}

static void page_check_last(uintptr_t page)
{
	page_desc_t d = map_lookup(page);

	if (desc_is_hardened(d) && slab_of(d)->base == page)
		slab_check_last(slab_of(d));
	else if (desc_type(d) == PAGE_RUN)
		larger_check_last(page, desc_number(d) << PAGE_SHIFT);
	else if (desc_type(d) == PAGE_RUN_HOT && desc_number(d) <= MAX_WIPED_PAGES &&
		 !block_is_clean(page, page + (desc_number(d) << PAGE_SHIFT)))
		report_write_after_free((void *)page);
}

static void block_check_last(const struct pageblock *b)
{
	unsigned i;

	for (i = 0; b->state == PAGEBLOCK_BUDDY && i < PAGEBLOCK_PAGES; i++)
		page_check_last(pageblock_address(b) + ((uintptr_t)i << PAGE_SHIFT));
}

/* Other threads may be at work, but not in what is free in slabs. */
static void check_free_last(void)
{
	unsigned class;

	percpu_drain();
	hardened_drain();
	for (class = 1; class < NR_CLASSES; class++) {
		struct kmem_cache *c = cache_if_used(class);

		if (!c)
			continue;
		barn_drain(c);
		cache_check_clean(c);
	}
}

/*
 * What nobody would free, or use again, is looked at when the process ends. Where other threads may be at work, only what
 * waits is.
 */
static void check_last(void)
{
	struct zone_walk walk = {0};
	struct pageblock *b;

	if (!&__libc_single_threaded || !__libc_single_threaded) {
		check_free_last();
		return;
	}
	while ((b = zone_walk_next(&walk)))
		block_check_last(b);
	large_for_each(larger_check_last);
}

void hardened_at_exit(void)
{
	atexit(check_last);
}
