/* SPDX-License-Identifier: MIT */
/*
 * The fast paths, inlined into each entry point: malloc and bslab_malloc,
 * operator new and its kin, free and operator delete. docs/walkthrough.md
 * follows them; test/fastpath.sh pins how many instructions they take.
 */
#ifndef BSLAB_FAST_H
#define BSLAB_FAST_H

#include "arch/arch.h"
#include "map/map.h"
#include "slab/sizes.h"

/* src/malloc/slow.c */
void *malloc_slow(size_t size) __attribute__((visibility("hidden")));
void free_slow(void *ptr) __attribute__((visibility("hidden")));
/* src/malloc/malloc.c */
void free_sized_slow(void *ptr, size_t size) __attribute__((visibility("hidden")));

static force_inline void *malloc_small(size_t size)
{
	return percpu_pop(size_class(size), RSEQ_MM_CID);
}

static force_inline void *malloc_fast(size_t size)
{
	void *obj;

	if (likely(size < bslab_hot.small_limit)) {
		obj = malloc_small(size);
		if (likely(obj != NULL))
			return obj;
	}
	return malloc_slow(size);
}

/* A pointer that is not a slab object's has class 0, whose sheaf is always full. */
static force_inline void free_fast(void *ptr)
{
	const uint8_t *class = map_class_byte((uintptr_t)ptr);

	if (likely(class != NULL) && likely(percpu_push(__atomic_load_n(class, __ATOMIC_RELAXED), ptr, RSEQ_MM_CID)))
		return;
	free_slow(ptr);
}

/* What malloc() would take for the size is what the block has; anything else is looked at. */
static force_inline void free_sized_fast(void *ptr, size_t size)
{
	const uint8_t *byte = map_class_byte((uintptr_t)ptr);
	unsigned class;

	if (likely(byte != NULL) && likely(size <= SMALL_MAX)) {
		class = __atomic_load_n(byte, __ATOMIC_RELAXED);
		if (likely(class == size_class(size)) && likely(percpu_push(class, ptr, RSEQ_MM_CID)))
			return;
	}
	free_sized_slow(ptr, size);
}

#endif
