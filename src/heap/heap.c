/* SPDX-License-Identifier: MIT */
#include "heap/heap.h"

#include <string.h>

#include "boot/boot.h"
#include "os/bug.h"
#include "page/buddy.h"
#include "page/limit.h"
#include "slab/typed.h"

_Static_assert(HEAP_NAME_SIZE == CACHE_NAME_SIZE, "names are copied as those of caches");

#define MAX_CHUNK_ORDER 6
#define NR_WORDS(nr_objects) (((nr_objects) + 63u) / 64u)

static struct {
	struct lock lock; /* RANK_HEAPS */
	struct list all;
	unsigned nr; /* read without the lock */
	struct boot_pool heaps, chunks[NR_WORDS(MAX_CHUNK_OBJECTS) + 1]; /* the latter by number of words */
} heaps;

/* --- chunks ---------------------------------------------------------------------- */

static size_t pages_for(size_t bytes)
{
	return (bytes + BSLAB_PAGE_SIZE - 1) >> PAGE_SHIFT;
}

static struct chunk *chunk_header(unsigned nr_objects)
{
	unsigned nr_words = NR_WORDS(nr_objects);

	return boot_pool_get(&heaps.chunks[nr_words], sizeof(struct chunk) + nr_words * sizeof(uint64_t), 8);
}

static void chunk_put(struct chunk *c)
{
	c->heap = NULL;
	boot_pool_put(&heaps.chunks[NR_WORDS(c->nr_objects)], c);
}

static bool has_room(const struct bslab_heap *h, size_t nr_pages)
{
	size_t size_bytes = nr_pages << PAGE_SHIFT;

	return h->is_live && (!h->limit || (size_bytes <= h->limit && h->size_bytes <= h->limit - size_bytes));
}

static void count_chunk(struct bslab_heap *h, const struct chunk *c, bool in)
{
	size_t bytes = c->nr_pages << PAGE_SHIFT;

	h->size_bytes += in ? bytes : -bytes;
	h->peak_bytes = max_size(h->peak_bytes, h->size_bytes);
}

static void *pages_of_heap(struct bslab_heap *h, size_t nr_pages, unsigned align_order, bool *zeroed)
{
	unsigned n = (unsigned)nr_pages;

	if (h->is_device)
		return device_alloc(&h->device, nr_pages, align_order);
	return limit_allows(n) ? pages_alloc(n, align_order, MIGRATE_RECLAIMABLE, h->pages_flags, zeroed) : NULL;
}

static bool chunk_pages(struct bslab_heap *h, struct chunk *c, unsigned align_order, bool *zeroed)
{
	void *p = pages_of_heap(h, c->nr_pages, align_order, zeroed);

	if (!p)
		return false;
	c->base = (uintptr_t)p;
	map_set_range(c->base, c->nr_pages, desc_of_pointer(c, PAGE_HEAP, 0));
	return true;
}

static bool chunk_large(const struct bslab_heap *h, struct chunk *c, size_t align, bool *zeroed)
{
	void *p = h->pages_flags ? large_alloc_explicit(c->size, align, h->pages_flags, zeroed) : large_alloc(c->size, align, zeroed);

	if (!p)
		return false;
	c->base = (uintptr_t)p;
	c->large = large_of(map_lookup(c->base));
	map_set(c->base, desc_of_pointer(c, PAGE_HEAP, 0));
	return true;
}

/* A chunk without objects taken; NULL where there is no memory. */
static struct chunk *chunk_create(struct bslab_heap *h, const struct chunk *like, size_t align, bool *zeroed)
{
	struct chunk *c = has_room(h, like->nr_pages) ? chunk_header(like->nr_objects) : NULL;
	unsigned w;

	if (!c)
		return NULL;
	*c = *like;
	c->heap = h;
	for (w = 0; w < NR_WORDS(c->nr_objects); w++) {
		unsigned rest = c->nr_objects - w * 64u;

		c->free[w] = rest >= 64 ? ~0ull : (1ull << rest) - 1;
	}
	if (!(!h->is_device && (c->nr_pages > PAGEBLOCK_PAGES || align > PAGEBLOCK_SIZE)
		      ? chunk_large(h, c, align, zeroed)
		      : chunk_pages(h, c, align > BSLAB_PAGE_SIZE ? ilog2(align) - PAGE_SHIFT : 0, zeroed))) {
		chunk_put(c);
		return NULL;
	}
	list_add(&h->chunks, &c->all);
	count_chunk(h, c, true);
	return c;
}

static void chunk_release(struct chunk *c)
{
	if (c->large) {
		map_set(c->base, desc_of_pointer(c->large, PAGE_LARGE, 0));
		large_free(c->large);
	} else if (c->heap->is_device) {
		device_free(&c->heap->device, (void *)c->base, c->nr_pages);
	} else {
		pages_free((void *)c->base, (unsigned)c->nr_pages);
	}
	chunk_put(c);
}

static out_of_line void chunk_destroy(struct bslab_heap *h, struct chunk *c)
{
	list_del(&h->chunks, &c->all);
	count_chunk(h, c, false);
	chunk_release(c);
}

/* --- objects ------------------------------------------------------------------------ */

out_of_line void chunk_taken(struct bslab_heap *h, struct chunk *c, bool was_empty)
{
	if (!c->class)
		return;
	h->nr_empty -= was_empty;
	if (!c->nr_free)
		list_del(&h->class[c->class].partial, &c->node);
}

static void slab_destroy(struct bslab_heap *h, struct chunk *c)
{
	list_del(&h->class[c->class].partial, &c->node);
	h->nr_empty--;
	chunk_destroy(h, c);
}

/* One that came empty. Not the last one: the next allocation would make it anew. */
static void slab_settle(struct bslab_heap *h, struct chunk *c)
{
	const struct heap_class *k = &h->class[c->class];

	h->nr_empty++;
	if (k->partial.first != k->partial.last)
		slab_destroy(h, c);
}

out_of_line void chunk_given(struct bslab_heap *h, struct chunk *c)
{
	if (!c->class) {
		chunk_destroy(h, c);
		return;
	}
	if (c->nr_free == 1)
		list_add(&h->class[c->class].partial, &c->node);
	if (c->nr_free == c->nr_objects)
		slab_settle(h, c);
}

static unsigned objects_in(size_t size, unsigned order)
{
	return (unsigned)min_size((BSLAB_PAGE_SIZE << order) / size, MAX_CHUNK_OBJECTS);
}

static struct chunk *slab_of_order(struct bslab_heap *h, unsigned class, unsigned order)
{
	size_t size = class_size(class);
	unsigned nr_objects = objects_in(size, order);
	struct chunk like = {.size = size, .nr_pages = pages_for(nr_objects * size), .class = (uint16_t)class,
			     .nr_objects = (uint16_t)nr_objects, .nr_free = (uint16_t)nr_objects,
			     .reciprocal = ((1ull << HEAP_RECIPROCAL_SHIFT) + size - 1) / size};
	bool zeroed;

	return chunk_create(h, &like, 1, &zeroed);
}

/* Up to 64 objects, or 64 pages; fewer where there is no room for so many. */
static out_of_line struct chunk *slab_create(struct bslab_heap *h, unsigned class)
{
	struct heap_class *k = &h->class[class];
	unsigned first = order_of(pages_for(class_size(class))), order = k->next_order > first ? k->next_order : first;
	struct chunk *c = slab_of_order(h, class, order);

	while (!c && order > first)
		c = slab_of_order(h, class, --order);
	if (!c)
		return NULL;
	if (c->nr_objects < 64 && order < MAX_CHUNK_ORDER)
		k->next_order = order + 1;
	h->nr_empty++;
	list_add(&k->partial, &c->node);
	return c;
}

static void *alloc_small(struct bslab_heap *h, unsigned class)
{
	struct list_node *n = h->class[class].partial.first;
	struct chunk *c = n ? container_of(n, struct chunk, node) : slab_create(h, class);

	return c ? chunk_take(h, c) : NULL;
}

static out_of_line void *alloc_pages(struct bslab_heap *h, size_t size, size_t align, bool *zeroed)
{
	size_t nr_pages = pages_for(size);
	struct chunk like = {.size = nr_pages << PAGE_SHIFT, .nr_pages = nr_pages, .nr_objects = 1, .nr_free = 1};
	struct chunk *c = chunk_create(h, &like, align, zeroed);

	return c ? chunk_take(h, c) : NULL;
}

static void shrink_class(struct bslab_heap *h, struct heap_class *k)
{
	struct list_node *n, *next;

	for (n = k->partial.first; n && h->nr_empty; n = next) {
		struct chunk *c = container_of(n, struct chunk, node);

		next = n->next;
		if (c->nr_free == c->nr_objects)
			slab_destroy(h, c);
	}
}

static void shrink(struct bslab_heap *h)
{
	unsigned class;

	for (class = 0; class < NR_CLASSES && h->nr_empty; class++)
		shrink_class(h, &h->class[class]);
}

static force_inline void *take(struct bslab_heap *h, size_t size, size_t align, bool *zeroed)
{
	return size <= SMALL_MAX && align <= BSLAB_PAGE_SIZE ? alloc_small(h, size_class(size))
							     : alloc_pages(h, size, align, zeroed);
}

/* What is empty makes room for what is asked for. */
static out_of_line void *take_after_shrink(struct bslab_heap *h, size_t size, size_t align, struct heap_result *result)
{
	void *p = NULL;

	if (h->nr_empty) {
		shrink(h);
		p = take(h, size, align, &result->zeroed);
	}
	result->has_limit = !p && (h->is_device || !has_room(h, pages_for(size)));
	return p;
}

void *heap_alloc(struct bslab_heap *h, size_t size, size_t align, struct heap_result *result)
{
	void *p;

	*result = (struct heap_result){0};
	size += !size;
	if (align > 8 && align <= BSLAB_PAGE_SIZE && size <= SMALL_MAX)
		size = align_up(size, align); /* class sizes are naturally aligned */
	heap_lock(h);
	p = take(h, size, align, &result->zeroed);
	if (unlikely(!p))
		p = take_after_shrink(h, size, align, result);
	heap_unlock(h);
	return p;
}

enum heap_fault heap_block_size(struct bslab_heap *h, void *ptr, size_t *size)
{
	enum heap_fault fault;
	struct chunk *c = NULL;
	unsigned index = 0;

	heap_lock(h);
	fault = heap_find(h, ptr, &c, &index);
	if (fault == HEAP_GOOD)
		*size = c->size;
	heap_unlock(h);
	return fault;
}

/* --- heaps ---------------------------------------------------------------------------- */

static struct bslab_heap *heap_get(const char *name, size_t limit, bool is_unlocked)
{
	struct bslab_heap *h = boot_pool_get(&heaps.heaps, sizeof *h, 64);

	if (!h)
		return NULL;
	memset(h, 0, sizeof *h);
	h->limit = limit;
	h->is_unlocked = is_unlocked;
	typed_copy_name(h->name, name);
	return h;
}

static struct bslab_heap *publish(struct bslab_heap *h)
{
	lock_take(&heaps.lock, RANK_HEAPS);
	h->is_live = true;
	list_add(&heaps.all, &h->node);
	WRITE_ONCE(heaps.nr, heaps.nr + 1);
	lock_drop(&heaps.lock, RANK_HEAPS);
	return h;
}

struct bslab_heap *heap_create(const char *name, size_t limit, bool is_unlocked)
{
	struct bslab_heap *h = heap_get(name, limit, is_unlocked);

	return h ? publish(h) : NULL;
}

struct bslab_heap *heap_create_explicit(const char *name, unsigned pages_flags)
{
	struct bslab_heap *h = heap_get(name, 0, false);

	if (!h)
		return NULL;
	h->pages_flags = pages_flags;
	h->is_mallocs = true;
	return publish(h);
}

struct bslab_heap *heap_create_in(const char *name, uintptr_t addr, size_t size, bool is_unlocked, enum device_fault *fault)
{
	struct bslab_heap *h = heap_get(name, 0, is_unlocked);

	*fault = h ? device_add(&h->device, addr, size) : DEVICE_NO_MEMORY;
	if (*fault == DEVICE_GOOD) {
		h->is_device = true;
		h->limit = h->device.end - h->device.base;
		return publish(h);
	}
	if (h)
		boot_pool_put(&heaps.heaps, h);
	return NULL;
}

/* True for one caller. */
static bool withdraw(struct bslab_heap *h)
{
	bool was_live;

	lock_take(&heaps.lock, RANK_HEAPS);
	was_live = h->is_live;
	h->is_live = false;
	if (was_live) {
		list_del(&heaps.all, &h->node);
		WRITE_ONCE(heaps.nr, heaps.nr - 1);
	}
	lock_drop(&heaps.lock, RANK_HEAPS);
	return was_live;
}

/* It is left without slabs, so that who still calls it comes to where he is told. */
bool heap_destroy(struct bslab_heap *h)
{
	struct list_node *n, *next;

	if (!withdraw(h))
		return false;
	for (n = h->chunks.first; n; n = next) {
		next = n->next;
		chunk_release(container_of(n, struct chunk, all));
	}
	if (h->is_device)
		device_remove(&h->device);
	h->chunks = (struct list){0};
	memset(h->class, 0, sizeof h->class);
	h->nr_empty = 0;
	boot_pool_put(&heaps.heaps, h);
	return true;
}

void heap_snapshot(struct bslab_heap *h, struct heap_info *info)
{
	struct list_node *n;

	heap_lock(h);
	*info = (struct heap_info){0, 0, h->size_bytes, h->peak_bytes, h->limit};
	for (n = h->chunks.first; n; n = n->next) {
		const struct chunk *c = container_of(n, struct chunk, all);
		size_t nr_blocks = (size_t)c->nr_objects - c->nr_free;

		info->nr_blocks += nr_blocks;
		info->block_bytes += nr_blocks * c->size;
	}
	heap_unlock(h);
}

#define for_each_heap(h, n)                                                                        \
	for ((n) = heaps.all.first; (n) && ((h) = container_of((n), struct bslab_heap, node)); (n) = (n)->next)

void heap_fork_prepare(void)
{
	struct bslab_heap *h;
	struct list_node *n;

	lock_take_nested(&heaps.lock);
	for_each_heap(h, n)
		if (!h->is_unlocked)
			lock_take_nested(&h->lock);
}

void heap_fork_done(bool child)
{
	struct bslab_heap *h;
	struct list_node *n;

	for_each_heap(h, n) {
		if (h->is_unlocked)
			continue;
		if (child)
			lock_reset(&h->lock);
		else
			lock_drop_nested(&h->lock);
	}
	if (child)
		lock_reset(&heaps.lock);
	else
		lock_drop_nested(&heaps.lock);
}

void heaps_shrink(void)
{
	struct bslab_heap *h;
	struct list_node *n;

	if (!READ_ONCE(heaps.nr))
		return;
	lock_take(&heaps.lock, RANK_HEAPS);
	for_each_heap(h, n) {
		if (h->is_unlocked)
			continue;
		lock_take(&h->lock, RANK_HEAP);
		shrink(h);
		lock_drop(&h->lock, RANK_HEAP);
	}
	lock_drop(&heaps.lock, RANK_HEAPS);
}
