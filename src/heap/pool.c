/* SPDX-License-Identifier: MIT */
#include "heap/pool.h"

#include <errno.h>
#include <string.h>

#include "boot/boot.h"
#include "os/os.h"

#define LIVE UINT32_MAX

static struct boot_pool pools;

/* Before Linux 5.14 by hand. */
static bool make_resident(volatile char *map, size_t size)
{
	int result = os_populate((void *)map, size);
	size_t i;

	if (result != -EINVAL)
		return result == 0;
	for (i = 0; i < size; i += BSLAB_PAGE_SIZE)
		map[i] = 0;
	return true;
}

static bool map_elements(struct pool *p, bool lock)
{
	void *map = os_map(p->map_size);

	if (!map)
		return false;
	p->base = (uintptr_t)map;
	if (!map_ensure(p->base, p->map_size) || !make_resident(map, p->map_size)) {
		os_unmap(map, p->map_size);
		return false;
	}
	p->is_locked = lock && os_lock(map, p->map_size) == 0;
	os_name(map, p->map_size, "bslab:pool");
	return true;
}

struct pool *pool_create(const char *name, size_t size, size_t nr, bool lock)
{
	struct pool *p = boot_pool_get(&pools, sizeof *p, 64);
	size_t bytes, i;

	if (!p)
		return NULL;
	memset(p, 0, sizeof *p);
	p->size = align_up(size, 16);
	p->nr = nr;
	bytes = align_up(p->size * nr, BSLAB_PAGE_SIZE);
	p->map_size = align_up(bytes + nr * sizeof *p->next, os_page_size());
	if (!map_elements(p, lock)) {
		boot_pool_put(&pools, p);
		return NULL;
	}
	for (i = 0; i < POOL_NAME_SIZE - 1 && name[i]; i++)
		p->name[i] = name[i];
	p->next = (_Atomic uint32_t *)(p->base + bytes);
	for (i = 0; i < nr; i++)
		atomic_store_explicit(&p->next[i], i + 1 < nr ? (uint32_t)i + 2 : 0, memory_order_relaxed);
	atomic_store(&p->head, 1);
	map_set_range(p->base, bytes >> PAGE_SHIFT, desc_of_pointer(p, PAGE_POOL, 0));
	return p;
}

void pool_destroy(struct pool *p)
{
	map_set_range(p->base, align_up(p->size * p->nr, BSLAB_PAGE_SIZE) >> PAGE_SHIFT, 0);
	os_unmap((void *)p->base, p->map_size);
	boot_pool_put(&pools, p);
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
