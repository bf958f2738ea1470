/* SPDX-License-Identifier: MIT */
/* The malloc family under its own names; bslab.h documents each call. */
#include "bslab/bslab.h"

#include <errno.h>
#include <string.h>

#include "heap/pool.h"
#include "large/large.h"
#include "malloc/explicit.h"
#include "malloc/fast.h"
#include "malloc/guarded.h"
#include "malloc/hardened.h"
#include "malloc/internal.h"
#include "malloc/profile.h"
#include "malloc/reports.h"
#include "os/options.h"
#include "os/os.h"
#include "os/thread.h"
#include "page/limit.h"
#include "page/runs.h"
#include "page/zone.h"
#include "profile/sampler.h"
#include "slab/slab.h"

void *bslab_malloc(size_t size)
{
	return malloc_fast(size);
}

out_of_line void bslab_free(void *ptr)
{
	free_fast(ptr, HOME_BSLAB_FREE);
}

void *bslab_calloc(size_t count, size_t size)
{
	size_t total;
	void *p;

	if (unlikely(__builtin_mul_overflow(count, size, &total))) {
		errno = ENOMEM;
		return NULL;
	}
	if (unlikely(total >= bslab_hot.small_limit) && !malloc_passes(total))
		return calloc_slow(total);
	p = malloc_small(total);
	return likely(p != NULL) ? memset(p, 0, total) : calloc_counted(total);
}

/* --- realloc -------------------------------------------------------------------------------- */

/*
 * Room for a block that moves a second time in a row because it grew by a little: a string that is appended to would
 * be copied at each size class, of which there are eight or more to a doubling. So it gets a quarter more, and is
 * copied three times to a doubling (as vectors grow; gperftools' do_realloc() does so at the first move already).
 */
size_t size_with_room(void *ptr, size_t old_size, size_t size)
{
	size_t roomy = old_size + old_size / 4;

	return ptr == thread_state.grown && size > old_size && size < roomy ? roomy : size;
}

static void *move_block(void *ptr, size_t old_size, size_t size, struct caller by, bool no_retry)
{
	size_t roomy = size_with_room(ptr, old_size, size);
	void *p = bslab_hot.small_limit ? malloc_quick(roomy) : malloc_medium_shared(roomy);
	bool zeroed;

	if (!is_object(p))
		p = alloc_slow(&(struct alloc_request){.size = roomy, .align = 1, .asked = size, .by = by, .is_counted = p != NULL, .no_retry = no_retry}, &zeroed);
	if (!p && roomy > size)
		p = alloc_slow(&(struct alloc_request){.size = size, .align = 1, .asked = size, .by = by, .no_retry = no_retry}, &zeroed);
	if (!p)
		return NULL;
	memcpy(p, ptr, old_size < size ? old_size : size);
	bslab_free(ptr);
	thread_state.grown = size > old_size ? p : NULL;
	return p;
}

/* A block stays where it is as long as it fits and more than half of it is used. */
static bool small_stays(size_t old_size, size_t size)
{
	return size <= old_size && (size >= old_size / 2 || old_size <= 16);
}

/* Page runs shrink and grow in place, by whole pages. */
static bool run_resize(char *ptr, size_t old_size, size_t size)
{
	unsigned old_pages = (unsigned)(old_size >> PAGE_SHIFT);
	unsigned nr_pages = (unsigned)(align_up(size, BSLAB_PAGE_SIZE) >> PAGE_SHIFT);
	bool zeroed;

	if (size <= SMALL_MAX || size > PAGEBLOCK_SIZE)
		return false;
	if (nr_pages > old_pages && (!limit_allows(nr_pages - old_pages) ||
				     !pages_extend(ptr, old_pages, nr_pages - old_pages, &zeroed)))
		return false;
	run_describe(ptr, old_pages, nr_pages);
	if (nr_pages < old_pages)
		pages_free(ptr + ((size_t)nr_pages << PAGE_SHIFT), old_pages - nr_pages);
	return true;
}

/*
 * From here on moving a run's pages to a mapping of its own costs less than copying them to fresh ones: two system
 * calls against a fault and a copy for each page. To a process that takes such memory back again and again it is
 * kept warm instead, and copied to.
 */
#define MIN_ADOPT (256 * KIB)

static void *run_adopt(void *ptr, size_t old_size, size_t size)
{
	void *p;

	if (old_size < MIN_ADOPT || size <= old_size || zone_learned_pages() >= size >> PAGE_SHIFT)
		return NULL;
	p = large_adopt(ptr, old_size, size);
	if (!p)
		return NULL;
	pages_free_clean(ptr, (unsigned)(old_size >> PAGE_SHIFT));
	return p;
}

/*
 * A mapping that grows a second time, and by little, gets an eighth more, which nobody touches as yet: else each page would be a
 * move of its page tables and its guards.
 */
static void *mapping_grow(struct vm_area *a, size_t size)
{
	size_t roomy = a->size + a->size / 8;
	void *p = a->has_grown && size < roomy ? large_resize(a, roomy) : NULL;

	if (p)
		large_set_room(a, size);
	else
		p = large_resize(a, size);
	a->has_grown |= p != NULL;
	return p;
}

static void *resize_large(struct vm_area *a, size_t size)
{
	/* A mapping that a run moved into grows there, for as a run it would be copied; what shrinks is a run again, if it may. */
	bool stays = !a->first && (align_up(size, BSLAB_PAGE_SIZE) >= a->size || large_wants_mapping(size));

	if (large_room_takes(a, size))
		return (void *)a->addr;
	if (size <= PAGEBLOCK_SIZE && !stays)
		return NULL;
	return !a->first && size > a->size ? mapping_grow(a, size) : large_resize(a, size);
}

/* Where it can stay, or can be moved without a copy: its address then; else NULL. */
static void *resize_uncopied(page_desc_t d, void *ptr, size_t old_size, size_t size)
{
	struct vm_area *a = large_of(d);

	if (a)
		return resize_large(a, size);
	if (desc_class(d) || pool_of(d))
		return NULL;
	return run_resize(ptr, old_size, size) ? ptr : run_adopt(ptr, old_size, size);
}

void *realloc_live(void *ptr, size_t old_size, size_t size, struct caller by, bool no_retry)
{
	page_desc_t d = map_lookup((uintptr_t)ptr);
	struct sample *s = sampled_find(d);
	size_t had = old_size - (large_of(d) ? large_of(d)->room : 0); /* what it was asked for */
	int saved = errno;
	void *p, *moved;

	if (explicit_zone_of(d))
		return explicit_realloc(ptr, old_size, size, explicit_zone_of(d), no_retry);
	if (sampled_is_small(s) && small_stays(old_size, size))
		return ptr;
	if (sampled_is_small(s) || guarded_of(d)) {
		p = move_block(ptr, old_size, size, by, no_retry);
		return with_errno(saved, p || size > old_size ? p : ptr);
	}
	p = resize_uncopied(d, ptr, old_size, size);
	if (!p) {
		moved = move_block(ptr, old_size, size, by, no_retry);
		if (moved)
			return with_errno(saved, moved);
		/* By now all that is free was given back: near a limit that may do. */
		p = resize_uncopied(d, ptr, old_size, size);
	}
	if (p && (s || unlikely(sampler_interval())))
		sampled_resize(s, p, had, size, by);
	if (!p && size <= old_size) /* as it is: a request for less is not refused */
		p = block_stays(ptr);
	return with_errno(saved, p);
}

/* A run that has as many pages as before, and no bytes behind its own to be looked at. */
static force_inline bool run_stays(page_desc_t d, const void *ptr, size_t size)
{
	return d == desc_of_number(align_up(size, BSLAB_PAGE_SIZE) >> PAGE_SHIFT, PAGE_RUN) && size > SMALL_MAX &&
	       size <= PAGEBLOCK_SIZE && likely((uintptr_t)ptr % BSLAB_PAGE_SIZE == 0) && likely(!bslab_options.hardened);
}

/* The common cases: a block that still fits. False when there is more to see to. */
static force_inline bool realloc_stays(void *ptr, size_t size)
{
	page_desc_t d = map_lookup((uintptr_t)ptr);
	struct slab *s = slab_of(d);
	const struct kmem_cache *c;

	if (!desc_class(d))
		return run_stays(d, ptr, size);
	c = slab_cache(s);
	return small_stays(c->size, size) && object_find(s, c, (uintptr_t)ptr) == OBJECT_GOOD;
}

static out_of_line void *realloc_slow(void *ptr, size_t size)
{
	size_t old_size;
	void *p;

	if (unlikely(bslab_options.hardened))
		return hardened_realloc(ptr, size, CALLER(), false);
	if (unlikely(!block_size(ptr, "realloc", &old_size))) {
		errno = EINVAL;
		return NULL;
	}
	if (unlikely(size > PTRDIFF_MAX)) {
		errno = ENOMEM;
		return NULL;
	}
	p = realloc_live(ptr, old_size, size, CALLER(), false);
	reports_poll();
	return p;
}

void *bslab_realloc(void *ptr, size_t size)
{
	if (!ptr)
		return malloc_fast(size);
	if (!size) {
		bslab_free(ptr);
		return NULL;
	}
	if (likely(realloc_stays(ptr, size)))
		return ptr;
	return realloc_slow(ptr, size);
}

void *bslab_reallocarray(void *ptr, size_t count, size_t size)
{
	size_t total;

	if (unlikely(__builtin_mul_overflow(count, size, &total))) {
		errno = ENOMEM;
		return NULL;
	}
	return bslab_realloc(ptr, total);
}

/* --- aligned ----------------------------------------------------------------------------------- */

/* align is a power of two. */
static void *memalign_checked(size_t align, size_t size)
{
	void *p = memalign_fast(size, align);

	return likely(p != NULL) ? p : memalign_slow(size, align);
}

void *memalign_fast_shared(size_t size, size_t align)
{
	return memalign_fast(size, align);
}

void *bslab_aligned_alloc(size_t align, size_t size)
{
	if (unlikely(!is_power_of_2(align))) {
		errno = EINVAL;
		return NULL;
	}
	return memalign_checked(align, size);
}

void *bslab_memalign(size_t align, size_t size)
{
	if (unlikely(align > SIZE_MAX / 2 + 1)) {
		errno = EINVAL;
		return NULL;
	}
	if (unlikely(!is_power_of_2(align)))
		align = align ? (size_t)2 << ilog2(align) : 1;
	return memalign_checked(align, size);
}

int bslab_posix_memalign(void **ptr, size_t align, size_t size)
{
	void *p;

	if (unlikely(!is_power_of_2(align) || align % sizeof(void *)))
		return EINVAL;
	p = memalign_fast_shared(size, align);
	if (unlikely(!p))
		return posix_memalign_slow(ptr, size, align);
	*ptr = p;
	return 0;
}

void *bslab_valloc(size_t size)
{
	return memalign_checked(os_page_size(), size);
}

void *bslab_pvalloc(size_t size)
{
	size_t page = os_page_size();

	if (unlikely(size > SIZE_MAX - page)) {
		errno = ENOMEM;
		return NULL;
	}
	return memalign_checked(page, align_up(size ? size : 1, page));
}

/* --- sizes --------------------------------------------------------------------------------------- */

size_t bslab_malloc_usable_size(void *ptr)
{
	size_t size;

	return ptr && block_size(ptr, "malloc_usable_size", &size) ? size : 0;
}

void free_sized_slow(void *ptr, size_t size)
{
	if (bslab_options.hardened) {
		hardened_free_sized(ptr, size);
		return;
	}
	bslab_free_aligned_sized(ptr, 1, size);
}

void bslab_free_sized(void *ptr, size_t size)
{
	static const size_t limit = SMALL_MAX + 1;

	free_sized_fast(ptr, size, &limit, free_sized_slow);
}

void bslab_free_aligned_sized(void *ptr, size_t align, size_t size)
{
	if (ptr && likely(size_is_plausible(ptr, size, align)))
		bslab_free(ptr);
}
