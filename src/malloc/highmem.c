/* SPDX-License-Identifier: MIT */
/* Highmem for programs; bslab/highmem.h documents each call, heap/highmem.h how it is made. */
#include "bslab/highmem.h"

#include <errno.h>

#include "heap/highmem.h"
#include "malloc/internal.h"
#include "malloc/reports.h"
#include "os/bug.h"

_Static_assert(BSLAB_HIGHMEM_MAX == HIGHMEM_BLOCK, "the heap floor's");

static bool is_size(uint64_t size)
{
	return size >= HIGHMEM_BLOCK && size / HIGHMEM_BLOCK <= MAX_HIGHMEM_BLOCKS;
}

/* Call without the pool's lock. Whether it may be tried again: tables count, and memory may have come free. */
static bool may_retry(int error, unsigned *round)
{
	return unlikely(error == -ENOMEM) && reclaim_more((*round)++, 0);
}

struct bslab_highmem *bslab_highmem_create(const char *name, int fd, uint64_t size, size_t window)
{
	struct bslab_highmem *h;
	unsigned round = 0;
	int error;

	if (!name || !*name || !is_size(size) || !is_size(window)) {
		errno = EINVAL;
		return NULL;
	}
	process_boot();
	reclaim_if_due();
	do
		h = highmem_create(name, fd, size, window, &error);
	while (!h && may_retry(error, &round));
	if (!h)
		errno = -error;
	return h;
}

static cold_path void report(const struct bslab_highmem *h, uint64_t handle, const char *what, enum highmem_fault fault)
{
	void *shown = (void *)(uintptr_t)handle;

	if (fault == HIGHMEM_DESTROYED)
		bug_caller("%s: the pool '%s' was destroyed", what, h->name);
	else if (fault == HIGHMEM_FOREIGN)
		bug_caller("invalid %s of %p: no handle of pool '%s'", what, shown, h->name);
	else if (fault == HIGHMEM_FREE)
		bug_caller("invalid %s of %p: freed before, or never allocated", what, shown);
	else if (fault == HIGHMEM_UNMAPPED)
		bug_caller("invalid %s of %p: it is not mapped", what, shown);
	else
		bug_caller("invalid %s of %p: it is mapped", what, shown);
}

/* True for HIGHMEM_GOOD. */
static bool check(const struct bslab_highmem *h, uint64_t handle, const char *what, enum highmem_fault fault)
{
	if (likely(fault == HIGHMEM_GOOD))
		return true;
	report(h, handle, what, fault);
	return false;
}

void bslab_highmem_destroy(struct bslab_highmem *pool)
{
	if (pool && !highmem_destroy(pool))
		report(pool, 0, "bslab_highmem_destroy", HIGHMEM_DESTROYED);
	reports_poll();
}

int bslab_highmem_alloc(struct bslab_highmem *pool, size_t size, bslab_handle_t *handle)
{
	enum highmem_fault fault = HIGHMEM_GOOD;
	unsigned round = 0;
	int error = -EINVAL;

	reclaim_if_due();
	if (likely(size <= HIGHMEM_BLOCK))
		do
			fault = highmem_alloc(pool, size, handle, &error);
		while (may_retry(error, &round));
	reports_poll();
	if (!check(pool, 0, "bslab_highmem_alloc", fault))
		error = -EINVAL;
	if (likely(!error))
		return 0;
	errno = -error;
	return -1;
}

void bslab_highmem_free(struct bslab_highmem *pool, bslab_handle_t handle)
{
	check(pool, handle, "bslab_highmem_free", highmem_free(pool, handle));
	reports_poll();
}

void *bslab_highmem_map(struct bslab_highmem *pool, bslab_handle_t handle)
{
	enum highmem_fault fault;
	unsigned round = 0;
	int error;
	void *p;

	reclaim_if_due();
	do {
		error = -EINVAL;
		fault = highmem_map(pool, handle, &p, &error);
	} while (may_retry(error, &round));
	check(pool, handle, "bslab_highmem_map", fault);
	reports_poll();
	if (unlikely(!p))
		errno = -error;
	return p;
}

void bslab_highmem_unmap(struct bslab_highmem *pool, bslab_handle_t handle)
{
	check(pool, handle, "bslab_highmem_unmap", highmem_unmap(pool, handle));
	reports_poll();
}

size_t bslab_highmem_size(struct bslab_highmem *pool, bslab_handle_t handle)
{
	size_t size = 0;
	bool good = check(pool, handle, "bslab_highmem_size", highmem_size(pool, handle, &size));

	reports_poll();
	if (!good)
		errno = EINVAL;
	return size;
}

void bslab_highmem_info(struct bslab_highmem *pool, struct bslab_highmem_info *info)
{
	struct highmem_info i;

	if (!pool->is_live)
		report(pool, 0, "bslab_highmem_info", HIGHMEM_DESTROYED);
	highmem_snapshot(pool, &i);
	*info = (struct bslab_highmem_info){pool->name, i.nr_objects, i.object_bytes, i.file_bytes, i.window_bytes,
					    i.nr_maps,	i.nr_hits,    i.nr_misses};
	reports_poll();
}
