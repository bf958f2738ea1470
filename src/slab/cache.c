/* SPDX-License-Identifier: MIT */
/* The caches: their geometry, and the table of them. */
#include <string.h>

#include "boot/boot.h"
#include "os/bug.h"
#include "os/options.h"
#include "slab/geometry.h"
#include "slab/pcp.h"
#include "slab/sheaf.h"
#include "slab/typed.h"

struct kmem_cache *caches[NR_CACHES] reader_root(caches);
struct lock caches_lock; /* RANK_CACHES */
static unsigned end_of_caches; /* above FIRST_TYPED; read without the lock */

/* --- geometry ----------------------------------------------------------------- */

static size_t lost_in(size_t size, unsigned order)
{
	size_t bytes = objects_in(size, order) * size;

	return (pages_for(bytes) << PAGE_SHIFT) - bytes;
}

/* Hardened: more pages between two that trap, for each of which a system call is made. */
#define HARDENED_ORDER 3

static unsigned full_order(size_t size)
{
	size_t nr_objects = size <= KIB ? 64 : size <= 8 * KIB ? 8 : 4;
	unsigned first = order_of(pages_for(nr_objects * size)), order = first;

	while (order < first + 2 && order < MAX_SLAB_ORDER && lost_in(size, order) > (BSLAB_PAGE_SIZE << order) / 64)
		order++;
	return bslab_options.hardened ? (unsigned)max_size(order, HARDENED_ORDER) : order;
}

void cache_setup(struct kmem_cache *c, unsigned class, size_t size)
{
	c->class = (uint8_t)class;
	c->line_objects = (uint8_t)max_size(CACHE_LINE / (size & -size), 1);
	c->first_order = (uint8_t)order_of(pages_for(size));
	c->full_order = (uint8_t)full_order(size);
	c->reciprocal = ((1ull << RECIPROCAL_SHIFT) + size - 1) / size;
	c->migratetype = objects_in(size, c->full_order) >= 32 ? MIGRATE_UNMOVABLE : MIGRATE_RECLAIMABLE;
	barn_setup(&c->barn, size, is_pcp_cache(class));
	WRITE_ONCE(c->size, (uint32_t)size);
}

/* --- the table ------------------------------------------------------------------ */

static size_t object_size(unsigned class)
{
	if (is_pcp_cache(class))
		return BSLAB_PAGE_SIZE << (class - PCP_CACHE);
	return class == ZERO_CLASS ? ZERO_SIZE : class_size(class);
}

static struct kmem_cache *cache_create(unsigned class)
{
	struct kmem_cache *c = boot_alloc(sizeof *c, _Alignof(struct kmem_cache));

	if (c)
		cache_setup(c, class, object_size(class));
	return c;
}

/* Numbers of typed caches are used again, and their struct with them: without a cache its size is 0. */
struct kmem_cache *cache_if_used(unsigned class)
{
	struct kmem_cache *c = __atomic_load_n(&caches[class], __ATOMIC_ACQUIRE);

	return c && READ_ONCE(c->size) ? c : NULL;
}

size_t cache_size(unsigned class)
{
	struct kmem_cache *c = cache_if_used(class);

	return c ? c->size : 0;
}

unsigned caches_end(void)
{
	return (unsigned)max_size(FIRST_TYPED, READ_ONCE(end_of_caches));
}

void caches_raise_end(unsigned end)
{
	bslab_assert(lock_is_held(&caches_lock));
	WRITE_ONCE(end_of_caches, (unsigned)max_size(end, end_of_caches));
}

struct kmem_cache *cache_of(unsigned class)
{
	struct kmem_cache *c = cache_if_used(class);

	if (unlikely(!c)) {
		lock_take(&caches_lock, RANK_CACHES);
		c = caches[class];
		if (!c) {
			c = cache_create(class);
			__atomic_store_n(&caches[class], c, __ATOMIC_RELEASE);
		}
		lock_drop(&caches_lock, RANK_CACHES);
	}
	return c;
}

/* --- reports, fork ---------------------------------------------------------------- */

static void describe(const struct kmem_cache *c, size_t size, struct cache_info *info)
{
	info->size = size;
	if (c->typed)
		memcpy(info->name, c->typed->name, sizeof info->name);
	info->migratetype = c->migratetype;
	info->objects_per_slab = objects_in(size, c->full_order);
	info->pages_per_slab = pages_for(info->objects_per_slab * size);
}

bool cache_snapshot(unsigned class, struct cache_info *info)
{
	struct kmem_cache *c = __atomic_load_n(&caches[class], __ATOMIC_ACQUIRE);
	struct cache_counts past = {0};
	size_t nr_out, size;

	*info = (struct cache_info){0};
	if (!c || is_pcp_cache(class))
		return false;
	size = READ_ONCE(c->size);
	if (size)
		describe(c, size, info);
	lock_take(&c->lock, RANK_CACHE);
	info->nr_slabs = c->nr_slabs;
	info->nr_partial = c->nr_partial;
	info->nr_objects = c->nr_objects;
	info->nr_pages = c->nr_pages;
	info->nr_slab_creates = c->nr_slab_creates;
	info->nr_slab_destroys = c->nr_slab_destroys;
	if (c->typed)
		past = c->typed->past;
	/* Not a walk over the partial list, which may be long: it would keep the lock. */
	nr_out = atomic_load_explicit(&c->nr_out, memory_order_relaxed);
	lock_drop(&c->lock, RANK_CACHE);
	info->nr_free = info->nr_objects > nr_out ? info->nr_objects - nr_out : 0;
	info->nr_uncached_allocs = atomic_load_explicit(&c->nr_uncached_allocs, memory_order_relaxed);
	info->nr_uncached_frees = atomic_load_explicit(&c->nr_uncached_frees, memory_order_relaxed);
	barn_snapshot(&c->barn, info);
	cache_info_split(info, &past);
	return size != 0;
}

void slab_fork_prepare(void)
{
	unsigned i;

	lock_take_nested(&caches_lock);
	for (i = 0; i < caches_end(); i++)
		if (caches[i]) {
			lock_take_nested(&caches[i]->lock);
			lock_take_nested(&caches[i]->barn.lock);
		}
}

void slab_fork_done(bool child)
{
	unsigned i;

	for (i = 0; i < caches_end(); i++) {
		struct kmem_cache *c = caches[i];

		if (!c)
			continue;
		if (child) {
			if (c->typed)
				typed_fork_child(c);
			lock_reset(&c->barn.lock);
			lock_reset(&c->lock);
		} else {
			lock_drop_nested(&c->barn.lock);
			lock_drop_nested(&c->lock);
		}
	}
	if (child)
		lock_reset(&caches_lock);
	else
		lock_drop_nested(&caches_lock);
}
