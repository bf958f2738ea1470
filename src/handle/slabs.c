/* SPDX-License-Identifier: MIT */
#include "handle/slabs.h"

#include "base/probe.h"
#include "map/pageblock.h"
#include "os/bug.h"
#include "page/limit.h"
#include "page/compactable.h"

#define MAX_HANDLE_ORDER 4
#define MAX_KEPT_PAGES 8
#define RECIPROCAL_SHIFT 40 /* slab/slab.h shows that it is enough */

struct handle_cache *handle_caches[NR_CLASSES] reader_root(handle_caches); /* made under caches_lock */

static _Atomic size_t nr_taken_bytes; /* relaxed */

size_t objects_bytes(void)
{
	return atomic_load_explicit(&nr_taken_bytes, memory_order_relaxed);
}

size_t objects_bytes_of(struct pageblock *blk)
{
	return atomic_load_explicit(&blk->object_bytes, memory_order_relaxed);
}

/* --- geometry ------------------------------------------------------------------------------------------------------- */

static unsigned objects_in(size_t size, unsigned order)
{
	return (unsigned)min_size((BSLAB_PAGE_SIZE << order) / size, MAX_HANDLE_OBJECTS);
}

static size_t lost_in(size_t size, unsigned order)
{
	return (BSLAB_PAGE_SIZE << order) - objects_in(size, order) * size;
}

/* The fewest pages that hold 8 objects and lose at most 1/32 behind the last; or the most. */
static unsigned slab_order(size_t size)
{
	unsigned order = order_of((size + BSLAB_PAGE_SIZE - 1) >> PAGE_SHIFT);

	while (order < MAX_HANDLE_ORDER &&
	       (objects_in(size, order) < 8 || lost_in(size, order) > (BSLAB_PAGE_SIZE << order) / 32))
		order++;
	return order;
}

static struct handle_cache *cache_create(unsigned class)
{
	struct handle_cache *c = boot_alloc(sizeof *c, _Alignof(struct handle_cache));
	size_t size = class == RUN_CLASS ? 0 : class_size(class);
	unsigned order = size ? slab_order(size) : 0;

	if (!c)
		return NULL;
	c->class = (uint8_t)class;
	c->size = (uint32_t)size;
	c->nr_objects = size ? (uint16_t)objects_in(size, order) : 1;
	if (size) {
		c->nr_pages = (uint16_t)(align_up(c->nr_objects * size, BSLAB_PAGE_SIZE) >> PAGE_SHIFT);
		c->reciprocal = ((1ull << RECIPROCAL_SHIFT) + size - 1) / size;
	}
	return c;
}

struct handle_cache *handle_cache_if_used(unsigned class)
{
	return __atomic_load_n(&handle_caches[class], __ATOMIC_ACQUIRE);
}

struct handle_cache *handle_cache_of(unsigned class)
{
	struct handle_cache *c = handle_cache_if_used(class);

	if (unlikely(!c)) {
		lock_take(&caches_lock, RANK_CACHES);
		c = handle_caches[class];
		if (!c) {
			c = cache_create(class);
			__atomic_store_n(&handle_caches[class], c, __ATOMIC_RELEASE);
		}
		lock_drop(&caches_lock, RANK_CACHES);
	}
	return c;
}

unsigned handle_object_number(const struct handle_slab *s, uintptr_t addr)
{
	return (unsigned)((addr - s->base) * s->cache->reciprocal >> RECIPROCAL_SHIFT);
}

uintptr_t handle_object_address(const struct handle_slab *s, unsigned i)
{
	return s->base + (uintptr_t)i * s->cache->size;
}

/* --- slabs come and go; the lock is not held ------------------------------------------------------------------------ */

struct handle_slab *handle_slab_create(struct handle_cache *c, unsigned nr_pages, bool may_grow, uintptr_t *base)
{
	size_t header = sizeof(struct handle_slab) + c->nr_objects * sizeof(uint32_t);
	struct handle_slab *s = boot_pool_get(&c->pool, header, _Alignof(struct handle_slab));
	void *pages = NULL;
	bool zeroed;
	unsigned i;

	if (!s)
		return NULL;
	if (!may_grow || limit_allows(nr_pages)) /* room for what is moved is made up for by what moves away */
		pages = pages_alloc_compactable(nr_pages, may_grow);
	if (!pages && may_grow && limit_allows(nr_pages)) /* the zone is empty: what stands among malloc's does not move */
		pages = pages_alloc(nr_pages, 0, MIGRATE_MOVABLE, 0, &zeroed);
	if (!pages) {
		boot_pool_put(&c->pool, s);
		return NULL;
	}
	if (!s->cache) /* others may read it */
		s->cache = c;
	WRITE_ONCE(s->nr_pages, nr_pages);
	WRITE_ONCE(s->nr_taken, 0);
	s->list = 0;
	for (i = 0; i < MAX_HANDLE_OBJECTS / 64; i++) {
		unsigned rest = c->nr_objects > i * 64 ? c->nr_objects - i * 64 : 0;

		s->free[i] = rest >= 64 ? ~0ull : (1ull << rest) - 1;
	}
	*base = (uintptr_t)pages;
	map_set_range(*base, nr_pages, desc_of_pointer(s, PAGE_HANDLE, 0));
	PROBE(handle_slab_create, c->size, pages, c->nr_objects, nr_pages);
	return s;
}

void handle_slab_destroy(struct handle_slab *s, uintptr_t base, unsigned nr_pages)
{
	PROBE(handle_slab_destroy, s->cache->size, base, nr_pages);
	pages_free((void *)base, nr_pages);
	boot_pool_put(&s->cache->pool, s);
}

/* --- lists, and objects of a slab; the lock is held ------------------------------------------------------------------ */

static void slab_unlist(struct handle_slab *s)
{
	if (!s->list)
		return;
	list_del(&s->cache->list[s->list - 1], &s->node);
	s->cache->nr_partial--;
	s->list = 0;
}

void handle_slab_relist(struct handle_slab *s)
{
	struct handle_cache *c = s->cache;
	unsigned list = s->nr_taken ? 1 + s->nr_taken * 8u / c->nr_objects : 0;
	bool listed = s->nr_taken < c->nr_objects && !s->is_isolated;

	bslab_assert(lock_is_held(&c->lock));
	if (listed && s->list == list + 1)
		return;
	slab_unlist(s);
	if (listed) {
		s->list = (uint8_t)(list + 1);
		list_add(&c->list[list], &s->node);
		c->nr_partial++;
	}
}

void handle_slab_add(struct handle_slab *s, uintptr_t base)
{
	struct handle_cache *c = s->cache;

	__atomic_store_n(&s->base, base, __ATOMIC_RELEASE);
	/* Either the compactor, which marks the block and then looks for slabs, finds this one, or it is seen here. */
	atomic_thread_fence(memory_order_seq_cst);
	s->is_isolated = READ_ONCE(map_pageblock(base)->is_isolated);
	c->nr_slabs++;
	c->nr_empty++;
	c->nr_slab_pages += s->nr_pages;
	c->nr_slab_creates++;
	handle_slab_relist(s);
}

void handle_slab_remove(struct handle_slab *s)
{
	struct handle_cache *c = s->cache;

	bslab_assert(lock_is_held(&c->lock) && s->nr_taken == 0 && !s->is_source);
	slab_unlist(s);
	c->nr_slabs--;
	c->nr_empty--;
	c->nr_slab_pages -= s->nr_pages;
	c->nr_slab_destroys++;
	WRITE_ONCE(s->base, 0);
}

struct handle_slab *handle_slab_fullest(struct handle_cache *c)
{
	unsigned i;

	for (i = NR_HANDLE_LISTS; i-- > 0;)
		if (c->list[i].first)
			return container_of(c->list[i].first, struct handle_slab, node);
	return NULL;
}

static void count_taken(const struct handle_slab *s, int n)
{
	struct handle_cache *c = s->cache;
	size_t bytes = (size_t)n * handle_object_size(s); /* modulo 2^64 where they go: the sums are right */

	c->nr_taken += (size_t)n;
	atomic_fetch_add_explicit(&nr_taken_bytes, bytes, memory_order_relaxed);
	atomic_fetch_add_explicit(&map_pageblock(s->base)->object_bytes, (uint32_t)bytes, memory_order_relaxed);
}

unsigned handle_slab_take(struct handle_slab *s, const uint32_t *index, uintptr_t *addr, unsigned n)
{
	unsigned w, i, done = 0;

	for (w = 0; w < MAX_HANDLE_OBJECTS / 64 && done < n; w++)
		for (; s->free[w] && done < n; s->free[w] &= s->free[w] - 1) {
			i = w * 64 + (unsigned)__builtin_ctzll(s->free[w]);
			s->owner[i] = index[done];
			addr[done++] = handle_object_address(s, i);
		}
	if (!s->nr_taken && done)
		s->cache->nr_empty--;
	WRITE_ONCE(s->nr_taken, (uint16_t)(s->nr_taken + done));
	count_taken(s, (int)done);
	handle_slab_relist(s);
	return done;
}

/* One comes back. True when the slab was removed: the caller destroys it. */
static bool object_give(struct handle_slab *s, unsigned i)
{
	struct handle_cache *c = s->cache;

	bslab_assert(s->owner[i] && !(s->free[i / 64] >> i % 64 & 1));
	s->owner[i] = 0;
	s->free[i / 64] |= 1ull << i % 64;
	count_taken(s, -1);
	WRITE_ONCE(s->nr_taken, (uint16_t)(s->nr_taken - 1));
	if (s->nr_taken) {
		handle_slab_relist(s);
		return false;
	}
	c->nr_empty++;
	if (s->is_source || (!s->is_isolated && c->nr_empty == 1 && s->nr_pages <= MAX_KEPT_PAGES && c->size)) {
		handle_slab_relist(s);
		return false;
	}
	handle_slab_remove(s);
	return true;
}

void handle_slab_give(struct handle_slab *s, unsigned i)
{
	uintptr_t base = s->base;
	unsigned nr_pages = s->nr_pages;

	if (object_give(s, i)) {
		lock_drop(&s->cache->lock, RANK_CACHE);
		handle_slab_destroy(s, base, nr_pages);
		lock_take(&s->cache->lock, RANK_CACHE);
	}
}
