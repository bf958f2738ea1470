/* SPDX-License-Identifier: MIT */
#include "boot/locked.h"

#include "base/probe.h"
#include "os/os.h"

/* Enough for the metadata of a small process: some thirty sheaves and slabs. */
#define FIRST_CHUNK (48 * KIB)
#define HOT_LINES 256
#define MIN_CHUNK (256 * KIB)
#define MAX_CHUNK MIB /* below a huge page, so that metadata never becomes one */

static char first_chunk[FIRST_CHUNK] __attribute__((aligned(64)));

struct boot boot;

static bool boot_grow(size_t size)
{
	size_t want;
	char *chunk;

	if (!boot.next) {
		boot.next = first_chunk;
		boot.end = first_chunk + sizeof first_chunk;
		boot.chunk_size = MIN_CHUNK;
		boot.mapped = sizeof first_chunk;
		return true;
	}
	want = max_size(boot.chunk_size, align_up(size, MIN_CHUNK));
	chunk = os_map(want);
	if (!chunk) {
		want = align_up(size, os_page_size());
		chunk = os_map(want);
	}
	if (!chunk)
		return false;
	PROBE(metadata_map, chunk, want);
	if (chunk != boot.end) /* the kernel often places the next one right behind: then the rest is not lost */
		boot.next = chunk;
	boot.end = chunk + want;
	WRITE_ONCE(boot.mapped, boot.mapped + want);
	boot.chunk_size = min_size(boot.chunk_size * 2, MAX_CHUNK);
	return true;
}

/*
 * Keeps what fits into a page off the first cache lines of pages. The first
 * words of bslab_hot and of the size table stand there, every call loads them,
 * and a load whose address agrees in its low twelve bits with that of a store
 * just before, to a sheaf's slot or top, waits for that store. Seen: 15 ns for
 * a malloc and a free that take 5.
 */
static uintptr_t boot_place(uintptr_t p, size_t size, size_t align)
{
	p = align_up(p, align);
	if (size > BSLAB_PAGE_SIZE - HOT_LINES || align > HOT_LINES)
		return p;
	if (p % BSLAB_PAGE_SIZE < HOT_LINES || p % BSLAB_PAGE_SIZE + size > BSLAB_PAGE_SIZE)
		p = align_up(p + 1 - HOT_LINES, BSLAB_PAGE_SIZE) + HOT_LINES;
	return p;
}

void *boot_alloc_locked(size_t size, size_t align)
{
	for (;;) {
		uintptr_t p = boot_place((uintptr_t)boot.next, size, align);

		if (boot.next && size <= (size_t)(boot.end - boot.next) && p + size <= (uintptr_t)boot.end) {
			boot.next = (char *)p + size;
			WRITE_ONCE(boot.used, boot.used + size);
			return (void *)p;
		}
		if (!boot_grow(size + align + BSLAB_PAGE_SIZE))
			return NULL;
	}
}

void *boot_alloc(size_t size, size_t align)
{
	void *p;

	lock_take(&boot.lock, RANK_META);
	p = boot_alloc_locked(size, align);
	lock_drop(&boot.lock, RANK_META);
	return p;
}

size_t boot_used(void)
{
	return READ_ONCE(boot.used);
}

size_t boot_mapped(void)
{
	return READ_ONCE(boot.mapped);
}

void boot_count_used(size_t by)
{
	WRITE_ONCE(boot.used, boot.used + by);
}

void *boot_pool_get_locked(struct boot_pool *pool, size_t size, size_t align)
{
	void *obj = pool->free;

	if (!obj)
		return boot_alloc_locked(size, align);
	pool->free = *(void **)obj;
	return obj;
}

void *boot_pool_get(struct boot_pool *pool, size_t size, size_t align)
{
	void *obj;

	lock_take(&boot.lock, RANK_META);
	obj = boot_pool_get_locked(pool, size, align);
	lock_drop(&boot.lock, RANK_META);
	return obj;
}

void boot_pool_put_locked(struct boot_pool *pool, void *obj)
{
	*(void **)obj = pool->free;
	pool->free = obj;
}

void boot_pool_put_many(struct boot_pool *pool, void *first, void *last)
{
	lock_take(&boot.lock, RANK_META);
	*(void **)last = pool->free;
	pool->free = first;
	lock_drop(&boot.lock, RANK_META);
}

void boot_pool_put(struct boot_pool *pool, void *obj)
{
	boot_pool_put_many(pool, obj, obj);
}

void boot_fork_prepare(void)
{
	lock_take_nested(&boot.lock);
}

void boot_fork_done(bool child)
{
	if (child)
		lock_reset(&boot.lock);
	else
		lock_drop_nested(&boot.lock);
}
