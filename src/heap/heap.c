/* SPDX-License-Identifier: MIT */
#include "heap/heap.h"

#include <string.h>

#include "boot/boot.h"
#include "os/bug.h"
#include "slab/typed.h"

_Static_assert(HEAP_NAME_SIZE == CACHE_NAME_SIZE, "names are copied as those of caches");

struct metadata {
	struct metadata *next; /* first: as a pool has it */
};

/* Of the smallest two to a page: boot/boot.c leaves out the first lines of each. */
#define METADATA_BLOCK 1920
static const uint16_t metadata_sizes[NR_METADATA] = {METADATA_BLOCK, sizeof(struct metadata) + STACK_BYTES(MOST_ROOM / 4),
						     sizeof(struct metadata) + METADATA_MAX};
_Static_assert(sizeof(struct metadata) + STACK_BYTES(SECOND_ROOM) <= METADATA_BLOCK, "a block has room for a small stack");
_Static_assert(sizeof(struct heap_class) <= STACK_BYTES(SECOND_ROOM), "and for a class");

static struct {
	struct lock lock; /* RANK_HEAPS */
	struct list all;
	unsigned nr; /* read without the lock */
	struct boot_pool heaps, metadata[NR_METADATA];
} heaps;

/* --- metadata --------------------------------------------------------------------- */

static struct metadata *metadata_get(struct bslab_heap *h, unsigned kind)
{
	struct metadata *m = boot_pool_get(&heaps.metadata[kind], metadata_sizes[kind], CACHE_LINE);

	if (m) {
		m->next = h->metadata[kind];
		h->metadata[kind] = m;
	}
	return m;
}

void *heap_metadata(struct bslab_heap *h, size_t size)
{
	struct metadata *m = h->metadata[0];
	unsigned kind = 0;

	bslab_assert(size <= METADATA_MAX && size % sizeof(void *) == 0);
	while (sizeof *m + size > metadata_sizes[kind])
		kind++;
	if (kind) {
		m = metadata_get(h, kind);
		return m ? m + 1 : NULL;
	}
	if (!m || h->metadata_used + size > METADATA_BLOCK) {
		m = metadata_get(h, 0);
		if (!m)
			return NULL;
		h->metadata_used = sizeof *m;
	}
	h->metadata_used += size;
	return (char *)m + h->metadata_used - size;
}

static void metadata_put(struct bslab_heap *h)
{
	unsigned kind;

	for (kind = 0; kind < NR_METADATA; kind++) {
		struct metadata *last = h->metadata[kind];

		if (!last)
			continue;
		while (last->next)
			last = last->next;
		boot_pool_put_many(&heaps.metadata[kind], h->metadata[kind], last);
		h->metadata[kind] = NULL;
	}
}

/* --- blocks ----------------------------------------------------------------------------- */

static void heap_lock(struct bslab_heap *h)
{
	if (!h->is_unlocked)
		biased_take(&h->lock, RANK_HEAP);
}

/* To look, or for others' sake: who uses it keeps the bias. */
static void heap_visit(struct bslab_heap *h)
{
	if (!h->is_unlocked)
		biased_visit(&h->lock, RANK_HEAP);
}

static void heap_unlock(struct bslab_heap *h)
{
	if (!h->is_unlocked)
		biased_drop(&h->lock, RANK_HEAP);
}

void *heap_pop_shared(struct bslab_heap *h, unsigned class)
{
	int held = biased_try(&h->lock, RANK_HEAP);
	void *p;

	if (held < 0)
		return NULL;
	p = heap_pop(h, class);
	biased_try_end(&h->lock, held, RANK_HEAP);
	return p;
}

bool heap_push_shared(struct bslab_heap *h, void *ptr)
{
	int held = biased_try(&h->lock, RANK_HEAP);
	bool good;

	if (held < 0)
		return false;
	good = heap_push_live(h, ptr);
	biased_try_end(&h->lock, held, RANK_HEAP);
	return good;
}

static void *alloc_small(struct bslab_heap *h, unsigned class)
{
	void *p = heap_pop(h, class);

	return p || !class_refill(h, class) ? p : heap_pop(h, class);
}

static out_of_line void *alloc_pages(struct bslab_heap *h, size_t size, size_t align, bool *zeroed)
{
	size_t nr_pages = pages_for(size);
	struct chunk *c = chunk_create(h, &(struct chunk_shape){nr_pages << PAGE_SHIFT, nr_pages, 1, 0, 1}, align, zeroed);

	return c ? (void *)c->base : NULL;
}

static force_inline void *take(struct bslab_heap *h, size_t size, size_t align, bool *zeroed)
{
	return size <= SMALL_MAX && align <= BSLAB_PAGE_SIZE ? alloc_small(h, size_class(size))
							     : alloc_pages(h, size, align, zeroed);
}

/* What is empty makes room for what is asked for. */
static out_of_line void *take_after_shrink(struct bslab_heap *h, size_t size, size_t align, struct heap_result *result)
{
	size_t before = h->size_bytes;
	void *p = NULL;

	classes_shrink(h);
	if (h->size_bytes < before)
		p = take(h, size, align, &result->zeroed);
	result->has_limit = !p && (h->is_device || !heap_has_room(h, pages_for(size)));
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

/* The chunk and the number of a live block; under lock. */
static enum heap_fault find(struct bslab_heap *h, void *ptr, struct chunk **chunk, size_t *index)
{
	struct chunk *c = *chunk = chunk_of(map_lookup((uintptr_t)ptr));

	if (!c || c->heap != h)
		return HEAP_FOREIGN;
	if (!chunk_index(c, (uintptr_t)ptr, index) || *index >= c->nr_objects)
		return HEAP_INTERIOR;
	return c->state[*index] == CHUNK_LIVE ? HEAP_GOOD : HEAP_FREE;
}

static void give(struct bslab_heap *h, struct chunk *c, size_t index)
{
	void *block = (void *)(c->base + index * c->size);

	if (!c->class) {
		chunk_destroy(h, c);
	} else if (!heap_push(h, c->class, block, &c->state[index])) {
		class_spill(h, c->class);
		heap_push(h, c->class, block, &c->state[index]);
	}
}

enum heap_fault heap_free(struct bslab_heap *h, void *ptr)
{
	enum heap_fault fault;
	struct chunk *c;
	size_t index = 0;

	heap_lock(h);
	fault = find(h, ptr, &c, &index);
	if (likely(fault == HEAP_GOOD))
		give(h, c, index);
	heap_unlock(h);
	return fault;
}

enum heap_fault heap_block_size(struct bslab_heap *h, void *ptr, size_t *size)
{
	enum heap_fault fault;
	struct chunk *c;
	size_t index = 0;

	heap_lock(h);
	fault = find(h, ptr, &c, &index);
	if (fault == HEAP_GOOD)
		*size = c->size;
	heap_unlock(h);
	return fault;
}

/* --- heaps ---------------------------------------------------------------------------- */

static void classes_init(struct bslab_heap *h)
{
	unsigned class;

	for (class = 0; class < NR_CLASSES; class++) {
		h->class[class] = NULL;
		h->top[class] = NO_TOP;
	}
}

static struct bslab_heap *heap_get(const char *name, size_t limit, bool is_unlocked)
{
	struct bslab_heap *h = boot_pool_get(&heaps.heaps, sizeof *h, 64);

	if (!h)
		return NULL;
	memset(h, 0, offsetof(struct bslab_heap, class));
	classes_init(h);
	biased_init(&h->lock);
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
	if (!withdraw(h))
		return false;
	chunks_destroy(h);
	if (h->is_device)
		device_remove(&h->device);
	h->nr_empty = 0;
	classes_forget(h);
	metadata_put(h);
	boot_pool_put(&heaps.heaps, h);
	return true;
}

/* Blocks that wait count as taken out of their slabs. */
void heap_snapshot(struct bslab_heap *h, struct heap_info *info)
{
	const struct heap_class *k;
	struct list_node *n;

	heap_visit(h);
	*info = (struct heap_info){0, 0, h->size_bytes, h->peak_bytes, h->limit};
	for (n = h->chunks.first; n; n = n->next) {
		const struct chunk *c = container_of(n, struct chunk, all);
		size_t nr_blocks = (size_t)c->nr_objects - c->nr_free;

		info->nr_blocks += nr_blocks;
		info->block_bytes += nr_blocks * c->size;
	}
	for (k = h->classes; k; k = k->next) {
		size_t nr_waiting = class_nr_waiting(h, k);

		info->nr_blocks -= nr_waiting;
		info->block_bytes -= nr_waiting * k->size;
	}
	heap_unlock(h);
}

#define for_each_heap(h, n)                                                                        \
	for ((n) = heaps.all.first; (n) && ((h) = container_of((n), struct bslab_heap, node)); (n) = (n)->next)

/* Where a heap is biased to a thread that may be within, one barrier is for all of them. */
void heap_fork_prepare(void)
{
	struct bslab_heap *h;
	struct list_node *n;
	bool is_due = false;

	lock_take_nested(&heaps.lock);
	for_each_heap(h, n)
		if (!h->is_unlocked)
			is_due |= biased_fork_take(&h->lock);
	if (!is_due)
		return;
	biased_barrier();
	for_each_heap(h, n)
		if (!h->is_unlocked)
			biased_fork_wait(&h->lock);
}

void heap_fork_done(bool child)
{
	struct bslab_heap *h;
	struct list_node *n;

	for_each_heap(h, n)
		if (!h->is_unlocked)
			biased_fork_done(&h->lock, child);
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
		if (h->is_unlocked || biased_is_far(&h->lock))
			continue;
		heap_visit(h);
		classes_shrink(h);
		heap_unlock(h);
	}
	lock_drop(&heaps.lock, RANK_HEAPS);
}
