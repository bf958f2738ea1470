/* SPDX-License-Identifier: MIT */
/*
 * The fast paths, inlined into each entry point: malloc and bslab_malloc,
 * operator new and its kin, free and operator delete. docs/walkthrough.md
 * follows them; test/fastpath.sh pins how many instructions they take.
 */
#ifndef BSLAB_FAST_H
#define BSLAB_FAST_H

#include "arch/arch.h"
#include "guarded/count.h"
#include "map/map.h"
#include "profile/sampler.h"
#include "profile/unwind.h"
#include "slab/sizes.h"

/*
 * src/malloc/slow.c. Entry points leave for these by jumps, after which nothing of them is left on the stack: the
 * profile finds the caller so.
 */
void *malloc_slow(size_t size) __attribute__((visibility("hidden"))); /* of SMALL_MAX at most */
void *malloc_pages(size_t size) __attribute__((visibility("hidden"))); /* of more */
void *malloc_rest(size_t size) __attribute__((visibility("hidden"))); /* not counted yet */
void *malloc_counted(size_t size) __attribute__((visibility("hidden"))); /* by the profile, or for guarding */
void *calloc_slow(size_t size) __attribute__((visibility("hidden")));
void *calloc_counted(size_t size) __attribute__((visibility("hidden")));
void *memalign_slow(size_t size, size_t align) __attribute__((visibility("hidden")));
int posix_memalign_slow(void **ptr, size_t size, size_t align) __attribute__((visibility("hidden")));
void free_slow(void *ptr, const uint8_t *class) __attribute__((visibility("hidden"))); /* class: the byte in the page's descriptor */
void free_foreign(void *ptr) __attribute__((visibility("hidden"))); /* there is none */
/* malloc_medium() and memalign_fast() for all but the hottest callers: each copy of a sequence is relocated at start. */
void *malloc_medium_shared(size_t size) __attribute__((visibility("hidden")));
void *memalign_fast_shared(size_t size, size_t align) __attribute__((visibility("hidden")));
/* For those that were jumped to already: on behalf of their caller. */
void *malloc_by(size_t size, struct caller by, bool is_counted) __attribute__((visibility("hidden")));
void *memalign_by(size_t size, size_t align, struct caller by) __attribute__((visibility("hidden")));
/* src/malloc/malloc.c */
void free_sized_slow(void *ptr, size_t size) __attribute__((visibility("hidden")));

static force_inline void *malloc_small(size_t size)
{
	return percpu_pop(size_class(size), RSEQ_MM_CID);
}

/* NULL where the fast path does not serve it. */
static force_inline void *malloc_quick(size_t size)
{
	return likely(size < bslab_hot.small_limit) ? malloc_small(size) : NULL;
}

/*
 * The medium path: while the profile is on, or blocks are guarded, and nothing else is, it costs malloc its fast path and a
 * countdown of bytes or blocks. An object; or NULL; or ONLY_COUNTED where there is none, but it is counted. (Not by a
 * bool's address: no function whose variables others may know leaves by a jump.)
 */
#define ONLY_COUNTED ((void *)1)

static force_inline bool is_object(const void *p)
{
	return (uintptr_t)p > 1;
}

static force_inline bool malloc_passes(size_t size)
{
	return guarded_passes(size) || sampler_passes(size);
}

static force_inline void *malloc_medium(size_t size)
{
	void *obj;

	if (!malloc_passes(size))
		return NULL;
	obj = malloc_small(size);
	return likely(obj != NULL) ? obj : ONLY_COUNTED;
}

/*
 * malloc() itself. Behind the countdown comes the same sequence as without: an object; else malloc_counted(), which asks
 * nobody where nothing is counted.
 */
static force_inline void *malloc_fast(size_t size)
{
	void *obj;

	if (unlikely(size >= bslab_hot.small_limit)) {
		if (likely(size > SMALL_MAX))
			return malloc_pages(size);
		if (!malloc_passes(size))
			return malloc_slow(size);
	}
	obj = malloc_small(size);
	return likely(obj != NULL) ? obj : malloc_counted(size);
}

/* A small block of any alignment; what is no power of two is not served. */
static force_inline void *memalign_fast(size_t size, size_t align)
{
	if (likely(is_power_of_2(align) && align <= BSLAB_PAGE_SIZE && size <= SMALL_MAX - BSLAB_PAGE_SIZE &&
		   bslab_hot.small_limit))
		return malloc_small(align_up(size ? size : 1, align));
	return NULL;
}

/* A pointer that is not a slab object's has class 0, whose sheaf is always full. */
static force_inline void free_fast(void *ptr, const unsigned home)
{
	const struct hot *hot = hot_by_home(home);
	uintptr_t rotated, base;
	void *obj = ptr;

	__asm__("" : "+r"(obj)); /* for the compiler another one: the look-up rotates the argument where it stands */
	rotated = map_rotate((uintptr_t)ptr);
	base = map_base(hot, rotated);
	if (unlikely(!base))
		free_foreign(obj);
	else if (unlikely(!percpu_push_home(hot, __atomic_load_n(map_byte(base, map_page(rotated)), __ATOMIC_RELAXED), obj, home)))
		free_slow(obj, map_byte(base, (uintptr_t)obj >> PAGE_SHIFT)); /* by what is in a register still */
}

/* What malloc() would take for the size is what the block has; anything else is looked at, and sizes from *limit on. */
static force_inline void free_sized_fast(void *ptr, size_t size, const size_t *limit, void slow(void *, size_t))
{
	uintptr_t rotated, base;
	void *obj = ptr;
	unsigned class;

	__asm__("" : "+r"(obj)); /* as above */
	rotated = map_rotate((uintptr_t)ptr);
	base = map_base(&bslab_hot, rotated);
	if (likely(base) && likely(size < *limit)) {
		class = __atomic_load_n(map_byte(base, map_page(rotated)), __ATOMIC_RELAXED);
		if (likely(class == size_class(size)) && likely(percpu_push(class, obj, RSEQ_MM_CID)))
			return;
	}
	slow(obj, size);
}

#endif
