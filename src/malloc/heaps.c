/* SPDX-License-Identifier: MIT */
/* Heaps for programs; bslab/heap.h documents each call, heap/heap.h how they are made. */
#include "bslab/heap.h"

#include <errno.h>
#include <string.h>

#include "heap/heap.h"
#include "malloc/internal.h"
#include "malloc/reports.h"
#include "os/bug.h"

struct bslab_heap *bslab_heap_create(const char *name, size_t limit, unsigned flags)
{
	struct bslab_heap *h;

	if (!name || !*name || flags & ~(unsigned)BSLAB_HEAP_UNLOCKED) {
		errno = EINVAL;
		return NULL;
	}
	process_boot();
	h = heap_create(name, limit, flags & BSLAB_HEAP_UNLOCKED);
	if (!h)
		errno = ENOMEM;
	return h;
}

static cold_path void report_destroyed(struct bslab_heap *h, const char *what)
{
	bug_caller("%s: the heap '%s' was destroyed", what, h->name);
}

struct bslab_heap *bslab_heap_create_in(const char *name, void *addr, size_t size, unsigned flags)
{
	static const int errors[] = {[DEVICE_SMALL] = EINVAL, [DEVICE_BUSY] = EBUSY, [DEVICE_NO_MEMORY] = ENOMEM};
	struct bslab_heap *h;
	enum device_fault fault;

	if (!name || !*name || !addr || flags & ~(unsigned)BSLAB_HEAP_UNLOCKED) {
		errno = EINVAL;
		return NULL;
	}
	process_boot();
	h = heap_create_in(name, (uintptr_t)addr, size, flags & BSLAB_HEAP_UNLOCKED, &fault);
	if (!h)
		errno = errors[fault];
	return h;
}

void bslab_heap_destroy(struct bslab_heap *heap)
{
	if (heap && !heap_destroy(heap))
		report_destroyed(heap, "bslab_heap_destroy");
	reports_poll();
}

static cold_path void *alloc_failed(struct bslab_heap *h)
{
	if (!h->is_live)
		report_destroyed(h, "bslab_heap_alloc");
	errno = ENOMEM;
	return NULL;
}

static void *alloc(struct bslab_heap *h, size_t size, size_t align, bool *zeroed)
{
	struct heap_result result = {0};
	void *p = NULL;
	unsigned round;

	/* What a file or a device has is no question of the machine's memory. */
	if (likely(!(h->is_device ? size > MAX_REQUEST : is_too_much(size)) && align <= MAX_REQUEST)) {
		p = heap_alloc(h, size, align, &result);
		for (round = 0; unlikely(!p && !result.has_limit) && reclaim_more(round, size); round++)
			p = heap_alloc(h, size, align, &result);
	}
	if (likely(!result.has_limit))
		reclaim_if_due(); /* not before: a heap at its limit asks nobody */
	*zeroed = result.zeroed;
	process_hook_thread();
	reports_poll();
	return likely(p != NULL) ? p : alloc_failed(h);
}

static out_of_line void *heap_alloc_slow(struct bslab_heap *h, size_t size)
{
	bool zeroed;

	return alloc(h, size, 1, &zeroed);
}

static out_of_line void *heap_alloc_shared(struct bslab_heap *h, size_t size)
{
	void *p = heap_pop_shared(h, size_class(size));

	return likely(p != NULL) ? p : heap_alloc_slow(h, size);
}

/* What is at hand, of a heap without a lock, or that is biased to this thread. All else leaves by a jump: it needs no frame. */
void *bslab_heap_alloc(struct bslab_heap *heap, size_t size)
{
	void *p;

	if (unlikely(size > SMALL_MAX))
		return heap_alloc_slow(heap, size);
	if (heap->is_unlocked) {
		p = heap_pop(heap, size_class(size));
	} else {
		if (!biased_enter(&heap->lock, RANK_HEAP))
			return heap_alloc_shared(heap, size);
		p = heap_pop(heap, size_class(size));
		biased_leave(&heap->lock, RANK_HEAP);
	}
	return likely(p != NULL) ? p : heap_alloc_slow(heap, size);
}

void *bslab_heap_calloc(struct bslab_heap *heap, size_t count, size_t size)
{
	bool zeroed = false;
	size_t total;
	void *p;

	if (unlikely(__builtin_mul_overflow(count, size, &total))) {
		errno = ENOMEM;
		return NULL;
	}
	if (likely(total <= SMALL_MAX))
		p = bslab_heap_alloc(heap, total);
	else
		p = alloc(heap, total, 1, &zeroed);
	return p && !zeroed ? memset(p, 0, total) : p;
}

void *bslab_heap_aligned_alloc(struct bslab_heap *heap, size_t align, size_t size)
{
	bool zeroed;

	if (unlikely(!is_power_of_2(align))) {
		errno = EINVAL;
		return NULL;
	}
	return alloc(heap, size, align, &zeroed);
}

static cold_path void report(struct bslab_heap *h, void *ptr, const char *what, enum heap_fault fault)
{
	struct bslab_heap *other = heap_of(map_lookup((uintptr_t)ptr));

	if (!h->is_live)
		report_destroyed(h, what);
	else if (fault == HEAP_FREE)
		bug_caller("invalid %s of %p: freed before", what, ptr);
	else if (fault == HEAP_INTERIOR)
		bug_caller("invalid %s of %p: inside a block of heap '%s', or behind it", what, ptr, h->name);
	else if (other)
		bug_caller("invalid %s of %p: a block of heap '%s', not of '%s'", what, ptr, other->name, h->name);
	else
		bug_caller("invalid %s of %p: not a block of heap '%s'", what, ptr, h->name);
}

/* True for HEAP_GOOD. */
static bool check(struct bslab_heap *h, void *ptr, const char *what, enum heap_fault fault)
{
	if (likely(fault == HEAP_GOOD))
		return true;
	report(h, ptr, what, fault);
	return false;
}

static out_of_line void heap_free_slow(struct bslab_heap *h, void *ptr)
{
	if (!ptr)
		return;
	check(h, ptr, "bslab_heap_free", heap_free(h, ptr));
	reports_poll();
}

static out_of_line void heap_free_shared(struct bslab_heap *h, void *ptr)
{
	if (unlikely(!heap_push_shared(h, ptr)))
		heap_free_slow(h, ptr);
}

void bslab_heap_free(struct bslab_heap *heap, void *ptr)
{
	bool good;

	if (heap->is_unlocked) {
		good = heap_push_live(heap, ptr);
	} else {
		if (!biased_enter(&heap->lock, RANK_HEAP)) {
			heap_free_shared(heap, ptr);
			return;
		}
		good = heap_push_live(heap, ptr);
		biased_leave(&heap->lock, RANK_HEAP);
	}
	if (unlikely(!good))
		heap_free_slow(heap, ptr);
}

static bool find_size(struct bslab_heap *h, void *ptr, const char *what, size_t *size)
{
	return check(h, ptr, what, heap_block_size(h, ptr, size));
}

size_t bslab_heap_usable_size(struct bslab_heap *heap, void *ptr)
{
	size_t size = 0;

	return ptr && find_size(heap, ptr, "bslab_heap_usable_size", &size) ? size : 0;
}

void *bslab_heap_realloc(struct bslab_heap *heap, void *ptr, size_t size)
{
	size_t old_size;
	void *p;

	if (!ptr)
		return bslab_heap_alloc(heap, size);
	if (!size) {
		bslab_heap_free(heap, ptr);
		return NULL;
	}
	if (!find_size(heap, ptr, "bslab_heap_realloc", &old_size)) {
		errno = EINVAL;
		return NULL;
	}
	if (size <= old_size && size >= old_size / 2)
		return ptr;
	p = bslab_heap_alloc(heap, size);
	if (!p)
		return NULL;
	memcpy(p, ptr, min_size(old_size, size));
	bslab_heap_free(heap, ptr);
	return p;
}

void bslab_heap_info(struct bslab_heap *heap, struct bslab_heap_info *info)
{
	struct heap_info i;

	if (!heap->is_live)
		report_destroyed(heap, "bslab_heap_info");
	heap_snapshot(heap, &i);
	*info = (struct bslab_heap_info){heap->name, i.nr_blocks, i.block_bytes, i.size_bytes, i.peak_bytes, i.limit};
	reports_poll();
}
