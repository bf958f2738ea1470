/* SPDX-License-Identifier: MIT */
/* kmalloc and what goes with it; bslab/kmalloc.h documents each call. */
#include "bslab/kmalloc.h"

#include <errno.h>
#include <string.h>

#include "heap/pool.h"
#include "large/large.h"
#include "malloc/fast.h"
#include "malloc/internal.h"
#include "malloc/reports.h"
#include "os/bug.h"
#include "os/os.h"

/* --- the reserve ----------------------------------------------------------------------------- */

#define MAX_RESERVES 16

/* Filled from the front, and never emptied; read without a lock. */
static _Atomic(struct pool *) reserves[MAX_RESERVES];

static bool reserve_add(struct pool *p)
{
	struct pool *none;
	unsigned i;

	for (i = 0; i < MAX_RESERVES; i++) {
		none = NULL;
		if (atomic_compare_exchange_strong(&reserves[i], &none, p))
			return true;
	}
	return false;
}

int bslab_reserve(size_t size, size_t nr, int lock)
{
	struct pool *p;
	int fault = 0;

	if (!size || size > PAGEBLOCK_SIZE || !nr || nr > MAX_POOL_ELEMENTS)
		return EINVAL;
	process_boot();
	p = pool_create("reserve", size, nr, lock);
	if (!p)
		return ENOMEM;
	p->is_mallocs = true;
	if (lock && !p->is_locked)
		fault = EPERM;
	else if (!reserve_add(p))
		fault = ENOSPC;
	if (fault)
		pool_destroy(p);
	return fault;
}

/* The smallest that fits, of those not tried. */
static int best_reserve(size_t size, unsigned tried)
{
	struct pool *p, *best = NULL;
	int i, found = -1;

	for (i = 0; i < MAX_RESERVES && (p = atomic_load(&reserves[i])); i++)
		if (!(tried & 1u << i) && p->size >= size && (!best || p->size < best->size)) {
			best = p;
			found = i;
		}
	return found;
}

static void *reserve_take(size_t size)
{
	unsigned tried = 0;
	void *p = NULL;
	int i;

	while (!p && (i = best_reserve(size, tried)) >= 0) {
		p = pool_take(atomic_load(&reserves[i]));
		tried |= 1u << i;
	}
	return p;
}

/* --- kmalloc ----------------------------------------------------------------------------------- */

static void *alloc_without_retry(size_t size, bool *zeroed)
{
	void *p = malloc_quick(size);

	*zeroed = false;
	return p ? p : alloc_slow(&(struct alloc_request){size, 1, size, CALLER(), false, true}, zeroed);
}

static void *alloc_waiting(size_t size, unsigned gfp)
{
	void *p;

	do {
		p = gfp & BSLAB_GFP_ZERO ? bslab_calloc(1, size) : bslab_malloc(size);
		if (p || !(gfp & BSLAB_GFP_NOFAIL) || size > PTRDIFF_MAX)
			return p;
		os_yield();
	} while (true);
}

void *bslab_kmalloc(size_t size, unsigned gfp)
{
	bool zeroed = false;
	void *p;

	if (gfp & BSLAB_GFP_NOWAIT)
		p = reserve_take(size);
	else if (gfp & BSLAB_GFP_NORETRY && !(gfp & BSLAB_GFP_NOFAIL))
		p = alloc_without_retry(size, &zeroed);
	else
		return alloc_waiting(size, gfp);
	if (unlikely(!p))
		errno = ENOMEM;
	else if (gfp & BSLAB_GFP_ZERO && !zeroed)
		memset(p, 0, size);
	return p;
}

static void *realloc_from_reserve(void *ptr, size_t old_size, size_t size)
{
	void *p = reserve_take(size);

	if (!p) {
		errno = ENOMEM;
		return NULL;
	}
	memcpy(p, ptr, min_size(old_size, size));
	bslab_free(ptr);
	return p;
}

void *bslab_krealloc(void *ptr, size_t size, unsigned gfp)
{
	size_t old_size;
	void *p;

	if (!ptr)
		return bslab_kmalloc(size, gfp);
	if (!size) {
		bslab_free(ptr);
		return NULL;
	}
	old_size = block_size(ptr, "krealloc");
	if (!old_size) {
		errno = EINVAL;
		return NULL;
	}
	if (gfp & BSLAB_GFP_NOWAIT && size > old_size)
		p = realloc_from_reserve(ptr, old_size, size);
	else
		p = gfp & BSLAB_GFP_NOWAIT ? ptr : bslab_realloc(ptr, size);
	if (p && gfp & BSLAB_GFP_ZERO && size > old_size)
		memset((char *)p + old_size, 0, size - old_size);
	return p;
}

void bslab_kfree_sensitive(void *ptr)
{
	size_t size = ptr ? block_size(ptr, "kfree_sensitive") : 0;

	if (!size)
		return;
	memset(ptr, 0, size);
	__asm__ volatile("" : : "r"(ptr) : "memory"); /* it is read, as far as the compiler knows */
	bslab_free(ptr);
}

void *bslab_vmalloc(size_t size)
{
	bool zeroed;
	void *p;

	process_boot();
	reclaim_if_due();
	p = large_map(size + !size, BSLAB_PAGE_SIZE, &zeroed);
	if (unlikely(!p)) {
		reclaim(0);
		p = large_map(size + !size, BSLAB_PAGE_SIZE, &zeroed);
	}
	reports_poll();
	if (unlikely(!p))
		errno = ENOMEM;
	return p;
}

void *bslab_kvmalloc(size_t size, unsigned gfp)
{
	void *p = bslab_kmalloc(size, gfp & BSLAB_GFP_NOWAIT ? gfp : gfp | BSLAB_GFP_NORETRY);

	return p || gfp & BSLAB_GFP_NOWAIT ? p : bslab_vmalloc(size);
}

/* --- mempools ------------------------------------------------------------------------------------ */

struct bslab_mempool {
	struct pool pool;
};

static struct pool *pool_in(struct bslab_mempool *pool)
{
	return &pool->pool;
}

struct bslab_mempool *bslab_mempool_create(size_t min_nr, size_t size)
{
	struct pool *p;

	if (!min_nr || min_nr > MAX_POOL_ELEMENTS || !size || size > PAGEBLOCK_SIZE) {
		errno = EINVAL;
		return NULL;
	}
	process_boot();
	p = pool_create("mempool", size, min_nr, false);
	if (!p)
		errno = ENOMEM;
	return (struct bslab_mempool *)p;
}

void *bslab_mempool_alloc(struct bslab_mempool *pool, unsigned gfp)
{
	struct pool *p = pool_in(pool);
	void *element = NULL;

	if (!(gfp & BSLAB_GFP_NOWAIT))
		element = bslab_kmalloc(p->size, (gfp & BSLAB_GFP_ZERO) | BSLAB_GFP_NORETRY);
	if (element)
		return element;
	element = pool_take(p);
	while (unlikely(!element && (gfp & (BSLAB_GFP_NOFAIL | BSLAB_GFP_NOWAIT)) == BSLAB_GFP_NOFAIL)) {
		os_yield();
		element = bslab_malloc(p->size);
		element = element ? element : pool_take(p);
	}
	if (unlikely(!element))
		errno = ENOMEM;
	else if (gfp & BSLAB_GFP_ZERO)
		memset(element, 0, p->size);
	return element;
}

void bslab_mempool_free(struct bslab_mempool *pool, void *element)
{
	struct pool *p = pool_of(map_lookup((uintptr_t)element));

	if (p && p != pool_in(pool) && !p->is_mallocs)
		bug_caller("invalid bslab_mempool_free of %p: another mempool's", element);
	else if (p != pool_in(pool))
		bslab_free(element);
	else if (pool_give(p, element) != POOL_GOOD)
		bug_caller("invalid bslab_mempool_free of %p: freed before, or inside an element", element);
}

size_t bslab_mempool_nr_taken(struct bslab_mempool *pool)
{
	return atomic_load(&pool_in(pool)->nr_taken);
}

size_t bslab_mempool_destroy(struct bslab_mempool *pool)
{
	size_t nr_taken = bslab_mempool_nr_taken(pool);

	if (!nr_taken)
		pool_destroy(pool_in(pool));
	return nr_taken;
}

/* --- scopes --------------------------------------------------------------------------------------- */

/* Stands before each block of a scope, and alone for an action. Its size keeps malloc's alignment. */
struct bslab_scope_entry {
	struct bslab_scope_entry *before;
	void (*end)(void *arg);
	void *arg;
	size_t unused;
};

_Static_assert(sizeof(struct bslab_scope_entry) % 16 == 0, "blocks behind it are aligned as malloc's");

static struct bslab_scope_entry *scope_push(struct bslab_scope *scope, size_t size, unsigned gfp)
{
	struct bslab_scope_entry *e;
	size_t total;

	if (__builtin_add_overflow(size, sizeof *e, &total)) {
		errno = ENOMEM;
		return NULL;
	}
	e = bslab_kmalloc(total, gfp);
	if (!e)
		return NULL;
	*e = (struct bslab_scope_entry){.before = scope->last};
	scope->last = e;
	return e;
}

void *bslab_scope_alloc(struct bslab_scope *scope, size_t size, unsigned gfp)
{
	struct bslab_scope_entry *e = scope_push(scope, size, gfp);

	return e ? e + 1 : NULL;
}

int bslab_scope_add(struct bslab_scope *scope, void (*end)(void *arg), void *arg)
{
	struct bslab_scope_entry *e = scope_push(scope, 0, 0);

	if (!e) {
		end(arg);
		return ENOMEM;
	}
	e->end = end;
	e->arg = arg;
	return 0;
}

void bslab_scope_end(struct bslab_scope *scope)
{
	struct bslab_scope_entry *e;

	while ((e = scope->last)) {
		scope->last = e->before;
		if (e->end)
			e->end(e->arg);
		bslab_free(e);
	}
}
