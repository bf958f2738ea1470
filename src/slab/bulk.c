/* SPDX-License-Identifier: MIT */
/*
 * Many objects at once (Linux: kmem_cache_alloc_bulk(), mm/slub.c). The sheaf
 * is detached, as a slow path does, and is then this thread's alone: its objects
 * are copied by plain loads and stores, for the price of two sequences. Not by one
 * sequence that compares the top: it may come back to where it was with other
 * objects below it.
 */
#include "slab/percpu.h"
#include "slab/sheaf.h"

void percpu_reinstall(struct kmem_cache *c, void **top)
{
	atomic_thread_fence(memory_order_release); /* reports read sheaves of other CPUs */
	if (!percpu_swap_top(c->class, NONE_TOP, top))
		barn_put(c, sheaf_of_top(top));
}

unsigned percpu_pop_bulk(struct kmem_cache *c, void **out, unsigned n)
{
	void **top = percpu_current_top(c->class);
	unsigned done = 0;

	if (!top || word_is_sentinel(top[-1]) || !percpu_swap_top(c->class, top, NONE_TOP))
		return 0;
	while (done < n && !word_is_sentinel(top[-1]))
		out[done++] = *--top;
	percpu_reinstall(c, top);
	return done;
}

static bool page_is_of(const struct kmem_cache *c, uintptr_t addr)
{
	const uint16_t *tag = map_tag(addr);

	return tag && __atomic_load_n(tag, __ATOMIC_RELAXED) == desc_tag(c->class);
}

unsigned percpu_push_bulk(struct kmem_cache *c, void *const *objects, unsigned n)
{
	void **top = percpu_current_top(c->class);
	uintptr_t page, addr = (uintptr_t)objects[0];
	unsigned done = 0;

	if (!top || word_is_sentinel(top[0]) || !page_is_of(c, addr) || !percpu_swap_top(c->class, top, NONE_TOP))
		return 0;
	page = align_down(addr, BSLAB_PAGE_SIZE);
	for (; done < n && !word_is_sentinel(top[0]); done++) {
		addr = (uintptr_t)objects[done];
		if (unlikely(top[-1] == objects[done])) /* freed twice in a row: for the slow path to tell */
			break;
		if (unlikely(addr - page >= BSLAB_PAGE_SIZE || addr % 8)) { /* most are on the page of the one before */
			if (!page_is_of(c, addr))
				break;
			page = align_down(addr, BSLAB_PAGE_SIZE);
		}
		*top++ = objects[done];
	}
	percpu_reinstall(c, top);
	return done;
}
