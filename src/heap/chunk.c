/* SPDX-License-Identifier: MIT */
#include "heap/chunk.h"

#include <string.h>

#include "boot/boot.h"
#include "heap/heap.h"
#include "page/buddy.h"
#include "page/limit.h"

/* --- headers --------------------------------------------------------------------------------------- */

/* By the number of states: up to 8, then in steps of 64. */
#define SMALLEST_POOL 8
#define POOL_STEP 64
#define POOL_OF(nr_states) ((nr_states) <= SMALLEST_POOL ? 0 : ((nr_states) + POOL_STEP - 1) / POOL_STEP)

#define NR_POOLS (POOL_OF(MAX_CHUNK_OBJECTS + 1) + 1)

static struct boot_pool pools[NR_POOLS];

static unsigned pool_of_header(unsigned nr_objects)
{
	return POOL_OF(nr_objects + 1);
}

static struct chunk *header_get(unsigned nr_objects)
{
	unsigned pool = pool_of_header(nr_objects), nr_states = pool ? pool * POOL_STEP : SMALLEST_POOL;

	return boot_pool_get(&pools[pool], sizeof(struct chunk) + nr_states, _Alignof(struct chunk));
}

static void header_put(struct chunk *c)
{
	c->heap = NULL;
	boot_pool_put(&pools[pool_of_header(c->nr_objects)], c);
}

/* --- pages ----------------------------------------------------------------------------------------- */

static void *pages_of_heap(struct bslab_heap *h, size_t nr_pages, unsigned align_order, bool *zeroed)
{
	unsigned n = (unsigned)nr_pages;

	if (h->is_device)
		return device_alloc(&h->device, nr_pages, align_order);
	return limit_allows(n) ? pages_alloc(n, align_order, MIGRATE_RECLAIMABLE, h->pages_flags, zeroed) : NULL;
}

static bool take_pages(struct bslab_heap *h, struct chunk *c, unsigned align_order, bool *zeroed)
{
	void *p = pages_of_heap(h, c->nr_pages, align_order, zeroed);

	if (!p)
		return false;
	c->base = (uintptr_t)p;
	map_set_range(c->base, c->nr_pages, desc_of_pointer(c, PAGE_HEAP, 0));
	return true;
}

static bool take_large(const struct bslab_heap *h, struct chunk *c, size_t align, bool *zeroed)
{
	void *p = h->pages_flags ? large_alloc_explicit(c->size, align, h->pages_flags, zeroed) : large_alloc(c->size, align, zeroed);

	if (!p)
		return false;
	c->base = (uintptr_t)p;
	c->large = large_of(map_lookup(c->base));
	map_set(c->base, desc_of_pointer(c, PAGE_HEAP, 0));
	return true;
}

/* --- chunks ---------------------------------------------------------------------------------------- */

static void count(struct bslab_heap *h, const struct chunk *c, bool in)
{
	size_t bytes = c->nr_pages << PAGE_SHIFT;

	h->size_bytes += in ? bytes : -bytes;
	h->peak_bytes = max_size(h->peak_bytes, h->size_bytes);
}

struct chunk *chunk_create(struct bslab_heap *h, const struct chunk_shape *shape, size_t align, bool *zeroed)
{
	struct chunk *c = heap_has_room(h, shape->nr_pages) ? header_get(shape->nr_objects) : NULL;

	if (!c)
		return NULL;
	c->heap = h;
	c->reciprocal = shape->reciprocal;
	c->size = shape->size;
	c->nr_pages = shape->nr_pages;
	c->large = NULL;
	c->class = shape->class;
	c->nr_objects = shape->nr_objects;
	c->nr_free = shape->class ? shape->nr_objects : 0;
	c->first_free = 0;
	memset(c->state, CHUNK_FREE, c->nr_objects + 1u);
	if (!shape->class)
		c->state[0] = CHUNK_LIVE;
	if (!(!h->is_device && (c->nr_pages > PAGEBLOCK_PAGES || align > PAGEBLOCK_SIZE)
		      ? take_large(h, c, align, zeroed)
		      : take_pages(h, c, align > BSLAB_PAGE_SIZE ? ilog2(align) - PAGE_SHIFT : 0, zeroed))) {
		header_put(c);
		return NULL;
	}
	list_add(&h->chunks, &c->all);
	count(h, c, true);
	return c;
}

static void release(struct chunk *c)
{
	if (c->large) {
		map_set(c->base, desc_of_pointer(c->large, PAGE_LARGE, 0));
		large_free(c->large);
	} else if (c->heap->is_device) {
		device_free(&c->heap->device, (void *)c->base, c->nr_pages);
	} else {
		pages_free((void *)c->base, (unsigned)c->nr_pages);
	}
}

void chunk_destroy(struct bslab_heap *h, struct chunk *c)
{
	list_del(&h->chunks, &c->all);
	count(h, c, false);
	release(c);
	header_put(c);
}

void chunks_destroy(struct bslab_heap *h)
{
	void *first[NR_POOLS] = {0}, *last[NR_POOLS] = {0};
	struct list_node *n;
	unsigned i;

	for (n = h->chunks.first; n; n = n->next) {
		struct chunk *c = container_of(n, struct chunk, all);

		i = pool_of_header(c->nr_objects);
		release(c);
		c->heap = NULL;
		*(void **)c = first[i];
		first[i] = c;
		if (!last[i])
			last[i] = c;
	}
	for (i = 0; i < NR_POOLS; i++)
		if (first[i])
			boot_pool_put_many(&pools[i], first[i], last[i]);
	h->chunks = (struct list){0};
}
