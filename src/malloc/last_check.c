/* SPDX-License-Identifier: MIT */
/* The hardened mode's last look at the heap: damaged blocks that nobody freed, and what was written after its free. */
#include <stdlib.h>

#include "large/large.h"
#include "malloc/hardened.h"
#include "malloc/hardened_pages.h"
#include "os/bug.h"
#include "os/os.h"
#include "os/thread.h"
#include "page/zone.h"
#include "slab/hardened.h"
#include "slab/percpu.h"
#include "slab/sheaf.h"

static void report_at_exit(void *ptr, size_t size)
{
	if (size == SIZE_MAX)
		bug_caller("exit with %p: what stands behind the block was written", ptr);
	else
		bug_caller("exit with %p: what stands behind the block of %z bytes was written", ptr, size);
}

/* A word of 0 where there was one is one written over. */
static void used_check_last(uintptr_t start, uintptr_t end)
{
	size_t size;

	switch (block_check(start, end, &size)) {
	case BLOCK_DAMAGED:
	case BLOCK_UNUSED:
		report_at_exit((void *)start, size);
		return;
	case BLOCK_FREED:
		if (!block_is_clean(start, end))
			report_write_after_free((void *)start);
		return;
	default:
		return;
	}
}

static void object_check_last(struct slab *s, uintptr_t start)
{
	uintptr_t end = start + slab_cache(s)->size;

	if (block_is_moving(end))
		return;
	if (slab_check_object(s, start) == OBJECT_GOOD)
		used_check_last(start, end);
	else if (!object_is_clean(start, end))
		report_write_after_free((void *)start);
}

static void slab_check_last(struct slab *s)
{
	const struct kmem_cache *c = slab_cache(s);
	unsigned i;

	for (i = 0; c->class != ZERO_CLASS && i < s->nr_objects; i++)
		object_check_last(s, s->base + (uintptr_t)i * c->size);
}

static void larger_check_last(uintptr_t addr, size_t room)
{
	if (!block_is_moving(addr + room))
		used_check_last(addr, addr + room);
}

static void page_check_last(uintptr_t page)
{
	page_desc_t d = map_lookup(page);

	if (desc_is_hardened(d) && slab_of(d)->base == page)
		slab_check_last(slab_of(d));
	else if (desc_type(d) == PAGE_RUN)
		larger_check_last(page, desc_number(d) << PAGE_SHIFT);
}

static void pageblock_check_last(const struct pageblock *b)
{
	unsigned i;

	for (i = 0; b->state == PAGEBLOCK_BUDDY && i < PAGEBLOCK_PAGES; i++)
		page_check_last(pageblock_address(b) + ((uintptr_t)i << PAGE_SHIFT));
}

static void all_check_last(void)
{
	const struct vm_area *a = NULL;
	struct zone_walk walk = {0};
	struct pageblock *b;

	while ((b = zone_walk_next(&walk)))
		pageblock_check_last(b);
	hardened_runs_check_last();
	while ((a = large_next(a)))
		if (large_of(map_lookup(a->addr)) == a && !a->has_handle) /* not a heap's */
			larger_check_last(a->addr, a->size);
}

static void cache_check_last(struct kmem_cache *c)
{
	void *written[MAX_WRITTEN];
	unsigned n = cache_find_written(c, written), i;

	for (i = 0; i < n; i++)
		report_write_after_free(written[i]);
}

/* Other threads may be at work, but not in what is free in slabs. */
static void free_check_last(void)
{
	unsigned class;

	percpu_drain();
	hardened_drain();
	for (class = 1; class < NR_CLASSES; class++) {
		struct kmem_cache *c = cache_if_used(class);

		if (!c)
			continue;
		barn_drain(c);
		cache_check_last(c);
	}
}

static unsigned process; /* that began with this heap */

/*
 * What nobody would free, or use again, is looked at when the process ends. Where other threads may be at work, only what
 * waits is. Not in a child of fork, which would pay for its parent's heap, and answer for its parent's faults; nor in a
 * signal handler that interrupted one of our locks, or a change to a run or a mapping.
 */
static void check_last(void)
{
	if (thread_state.nr_locks || os_pid() != process)
		return;
	if (os_is_single_threaded())
		all_check_last();
	else
		free_check_last();
}

void hardened_at_exit(void)
{
	process = os_pid();
	process_at_end(check_last);
}
