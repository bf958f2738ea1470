/* SPDX-License-Identifier: MIT */
#include "heap/pool.h"

#include <errno.h>
#include <string.h>

#include "boot/boot.h"
#include "os/os.h"
#include "page/limit.h"
#include "slab/typed.h"

_Static_assert(POOL_NAME_SIZE == CACHE_NAME_SIZE && sizeof(struct pool) <= BSLAB_PAGE_SIZE, "a page each, named as caches");

#define LIVE UINT32_MAX

static struct boot_pool headers;
struct pools pools;

/* Pages of the map that describe a page of their own size each describe so many bytes. */
#define DESCRIBED_BYTES (BSLAB_PAGE_SIZE / sizeof(page_desc_t) * BSLAB_PAGE_SIZE)

/* Before Linux 5.14 by hand: nothing is changed, whoever uses the pages meanwhile. */
static bool make_resident(void *map, size_t size)
{
	int result = os_populate(map, size);
	size_t i;

	if (result != -EINVAL)
		return result == 0;
	for (i = 0; i < size; i += BSLAB_PAGE_SIZE)
		__atomic_fetch_or((char *)map + i, 0, __ATOMIC_RELAXED);
	return true;
}

/* Each page of the map that describes some of it, until change() says no. */
static bool each_described(const struct pool *p, int (*change)(void *, size_t))
{
	uintptr_t addr;

	for (addr = align_down(p->base, DESCRIBED_BYTES); addr < p->base + p->map_size; addr += DESCRIBED_BYTES)
		if (change((void *)align_down((uintptr_t)map_slot(addr), BSLAB_PAGE_SIZE), BSLAB_PAGE_SIZE) != 0)
			return false;
	return true;
}

static bool lock_own(struct pool *p)
{
	return os_lock((void *)p->base, p->map_size) == 0 && os_lock(p, BSLAB_PAGE_SIZE) == 0;
}

/* What describes other pools as well is locked again, of all that are listed: the kernel does not count. */
static void unlock_all(struct pool *p)
{
	struct list_node *n;

	os_unlock((void *)p->base, p->map_size);
	os_unlock(p, BSLAB_PAGE_SIZE);
	each_described(p, os_unlock);
	lock_take(&pools.lock, RANK_HEAPS);
	for (n = pools.all.first; n; n = n->next) {
		struct pool *other = container_of(n, struct pool, node);

		if (other->is_locked)
			each_described(other, os_lock);
	}
	lock_drop(&pools.lock, RANK_HEAPS);
}

static bool map_elements(struct pool *p)
{
	void *map = limit_allows(p->map_size >> PAGE_SHIFT) ? os_map_accounted(p->map_size) : NULL;

	if (!map)
		return false;
	p->base = (uintptr_t)map;
	if (!map_ensure(p->base, p->map_size) || !make_resident(map, p->map_size)) {
		os_unmap(map, p->map_size);
		return false;
	}
	os_name(map, p->map_size, "bslab:pool");
	return true;
}

static void pools_add(struct pool *p)
{
	limit_note_mapped(0, p->map_size >> PAGE_SHIFT);
	lock_take(&pools.lock, RANK_HEAPS);
	p->is_live = true;
	/* Listed at once: what another one unlocks before that it does not lock again for this one. */
	p->is_locked = p->is_locked && each_described(p, os_lock);
	list_add(&pools.all, &p->node);
	WRITE_ONCE(pools.nr_pools, pools.nr_pools + 1);
	__atomic_fetch_add(&pools.map_bytes, p->map_size, __ATOMIC_RELAXED);
	lock_drop(&pools.lock, RANK_HEAPS);
}

/* True for one caller. */
static bool pools_remove(struct pool *p)
{
	bool was_live;

	lock_take(&pools.lock, RANK_HEAPS);
	was_live = p->is_live;
	p->is_live = false;
	if (was_live) {
		list_del(&pools.all, &p->node);
		WRITE_ONCE(pools.nr_pools, pools.nr_pools - 1);
		__atomic_fetch_sub(&pools.map_bytes, p->map_size, __ATOMIC_RELAXED);
	}
	lock_drop(&pools.lock, RANK_HEAPS);
	if (was_live)
		limit_note_mapped(p->map_size >> PAGE_SHIFT, 0);
	return was_live;
}

struct pool *pool_create(const char *name, size_t size, size_t nr, unsigned flags)
{
	struct pool *p = boot_pool_get(&headers, BSLAB_PAGE_SIZE, BSLAB_PAGE_SIZE);
	size_t bytes, i;

	if (!p)
		return NULL;
	memset(p, 0, sizeof *p);
	p->size = align_up(size, 16);
	p->nr = nr;
	bytes = align_up(p->size * nr, BSLAB_PAGE_SIZE);
	p->map_size = align_up(bytes + nr * sizeof *p->next, os_page_size());
	if (!map_elements(p)) {
		boot_pool_put(&headers, p);
		return NULL;
	}
	typed_copy_name(p->name, name);
	p->next = (_Atomic uint32_t *)(p->base + bytes);
	for (i = 0; i < nr; i++)
		atomic_store_explicit(&p->next[i], i + 1 < nr ? (uint32_t)i + 2 : 0, memory_order_relaxed);
	atomic_store(&p->head, 1);
	map_set_range(p->base, bytes >> PAGE_SHIFT, desc_of_pointer(p, PAGE_POOL, 0));
	p->is_mallocs = flags & POOL_MALLOCS;
	p->is_locked = flags & POOL_LOCK && lock_own(p);
	pools_add(p);
	if (flags & POOL_LOCK && !p->is_locked)
		unlock_all(p);
	return p;
}

/* Left empty, so that who still calls it gets nothing. */
bool pool_destroy(struct pool *p)
{
	if (!pools_remove(p))
		return false;
	atomic_store(&p->head, 0);
	if (p->is_locked)
		unlock_all(p);
	map_clear_range(p->base, align_up(p->size * p->nr, BSLAB_PAGE_SIZE) >> PAGE_SHIFT);
	os_unmap((void *)p->base, p->map_size);
	boot_pool_put(&headers, p);
	return true;
}

size_t pools_bytes(void)
{
	return READ_ONCE(pools.map_bytes);
}

bool pools_overlap(uintptr_t addr, size_t size)
{
	struct list_node *n;
	bool found = false;

	lock_take(&pools.lock, RANK_HEAPS);
	for (n = pools.all.first; n && !found; n = n->next) {
		struct pool *p = container_of(n, struct pool, node);

		found = addr < p->base + p->map_size && p->base < addr + size;
	}
	lock_drop(&pools.lock, RANK_HEAPS);
	return found;
}

void pool_fork_prepare(void)
{
	lock_take_nested(&pools.lock);
}

void pool_fork_done(bool child)
{
	if (child)
		lock_reset(&pools.lock);
	else
		lock_drop_nested(&pools.lock);
}

void pools_populate(void)
{
	struct list_node *n;

	if (likely(!READ_ONCE(pools.nr_pools)))
		return;
	lock_take(&pools.lock, RANK_HEAPS);
	for (n = pools.all.first; n; n = n->next) {
		struct pool *p = container_of(n, struct pool, node);

		if (!p->is_mallocs)
			continue;
		make_resident((void *)p->base, p->map_size);
		make_resident(p, BSLAB_PAGE_SIZE);
	}
	lock_drop(&pools.lock, RANK_HEAPS);
}

static uint64_t next_head(uint64_t head, uint32_t first)
{
	return ((head >> 32) + 1) << 32 | first;
}

void *pool_take(struct pool *p)
{
	uint64_t head = atomic_load(&p->head);
	uint32_t first, next;

	do {
		first = (uint32_t)head;
		if (!first)
			return NULL;
		/* Of an element that was taken meanwhile it is anything: the head has changed then. */
		next = atomic_load(&p->next[first - 1]);
	} while (!atomic_compare_exchange_weak(&p->head, &head, next_head(head, next)));
	atomic_store(&p->next[first - 1], LIVE);
	atomic_fetch_add_explicit(&p->nr_taken, 1, memory_order_relaxed);
	return (void *)(p->base + (first - 1) * p->size);
}

enum pool_fault pool_give(struct pool *p, void *ptr)
{
	size_t index = ((uintptr_t)ptr - p->base) / p->size;
	uint64_t head = atomic_load(&p->head);
	uint32_t live = LIVE;

	if (index >= p->nr || p->base + index * p->size != (uintptr_t)ptr)
		return POOL_INTERIOR;
	if (!atomic_compare_exchange_strong(&p->next[index], &live, (uint32_t)head))
		return POOL_FREE;
	while (!atomic_compare_exchange_weak(&p->head, &head, next_head(head, (uint32_t)index + 1)))
		atomic_store(&p->next[index], (uint32_t)head);
	atomic_fetch_sub_explicit(&p->nr_taken, 1, memory_order_relaxed);
	return POOL_GOOD;
}
