/* SPDX-License-Identifier: MIT */
/* What a pointer is: the size of its block, or a report of what is wrong with it. */
#include "malloc/explicit.h"
#include "malloc/guarded.h"
#include "malloc/hardened.h"
#include "malloc/internal.h"
#include "malloc/profile.h"

#include "handle/objects.h"
#include "heap/heap.h"
#include "heap/pool.h"
#include "large/large.h"
#include "os/bug.h"
#include "os/options.h"
#include "page/contig.h"
#include "page/runs.h"
#include "slab/typed.h"

static void report_interior(void *ptr, const char *what, size_t size, uintptr_t base)
{
	bug_caller("invalid %s of %p: inside a block of %z bytes at %p", what, ptr, size, (void *)base);
}

static bool address_is_ours(uintptr_t addr)
{
	struct pageblock *b = map_pageblock(addr);

	return b && b->state != PAGEBLOCK_ABSENT;
}

void report_pointer(void *ptr, const char *what)
{
	uintptr_t addr = (uintptr_t)ptr, page = align_down(addr, BSLAB_PAGE_SIZE);
	page_desc_t d = map_lookup(addr);
	struct vm_area *a;

	if (desc_type(d) == PAGE_RUN_BODY)
		page -= (uintptr_t)desc_number(d) << PAGE_SHIFT;
	d = map_lookup(page);
	if (desc_type(d) == PAGE_RUN) {
		report_interior(ptr, what, (size_t)desc_number(d) << PAGE_SHIFT, page);
		return;
	}
	if (desc_type(d) == PAGE_RUN_HOT) {
		bug_caller("invalid %s of %p: freed before, or never allocated", what, ptr);
		return;
	}
	if (sampled_of(d)) {
		report_interior(ptr, what, sampled_size(sampled_of(d)), page);
		return;
	}
	if (desc_type(d) == PAGE_FOLIO && !desc_class(d)) {
		bug_caller("invalid %s of %p: in a run of pages at %p", what, ptr, (void *)page);
		return;
	}
	if (movable_of(d)) {
		bug_caller("invalid %s of %p: in a movable run at %p", what, ptr, (void *)page);
		return;
	}
	if (desc_type(d) == PAGE_CONTIG && !desc_class(d)) {
		bug_caller("invalid %s of %p: in a range of the contiguous reserve at %p", what, ptr, (void *)page);
		return;
	}
	if (pool_of(d)) {
		bug_caller("invalid %s of %p: an element of pool '%s'", what, ptr, pool_of(d)->name);
		return;
	}
	if (heap_of(d)) {
		bug_caller("invalid %s of %p: a block of heap '%s'", what, ptr, heap_of(d)->name);
		return;
	}
	if (desc_cache(d) >= NR_CLASSES) {
		bug_caller("invalid %s of %p: an object of cache '%s'", what, ptr, typed_name(slab_cache(slab_of(d))));
		return;
	}
	a = large_find(addr);
	if (handle_slab_of(d) || (a && a->has_handle))
		bug_caller("invalid %s of %p: an object that has a handle", what, ptr);
	else if (a)
		report_interior(ptr, what, a->size, a->addr);
	else if (address_is_ours(addr))
		bug_caller("invalid %s of %p: freed before, or never allocated", what, ptr);
	else
		bug_caller("invalid %s of %p: not a pointer from bslab", what, ptr);
}

bool is_reserved(page_desc_t d, const void *ptr)
{
	const struct pool *p = pool_of(d);

	return p && p->is_mallocs && ((uintptr_t)ptr - p->base) % p->size == 0;
}

/* 0: it was reported. In the hardened mode a block may have no bytes. */
static size_t plain_size(void *ptr, const char *what)
{
	page_desc_t d = map_lookup((uintptr_t)ptr);
	struct vm_area *a = large_of_malloc(d, ptr);
	size_t size;

	if (desc_class(d)) {
		struct slab *s = slab_of(d);

		switch (slab_check_object(s, (uintptr_t)ptr)) {
		case OBJECT_INTERIOR:
			report_interior(ptr, what, slab_cache(s)->size, slab_object_base(s, (uintptr_t)ptr));
			return 0;
		case OBJECT_FREE:
			bug_caller("invalid %s of %p: freed before, or never allocated", what, ptr);
			return 0;
		default:
			return slab_cache(s)->size;
		}
	}
	if (is_reserved(d, ptr))
		return pool_of(d)->size;
	if (heap_of_malloc(d))
		return explicit_size(heap_of_malloc(d), ptr, what);
	if (guarded_of(d))
		return guarded_size(d, ptr, what, &size) ? size : 0;
	if (desc_type(d) == PAGE_RUN && (uintptr_t)ptr % BSLAB_PAGE_SIZE == 0)
		return (size_t)desc_number(d) << PAGE_SHIFT;
	if (a)
		return a->size;
	if (sampled_of(d) && (uintptr_t)ptr % BSLAB_PAGE_SIZE == 0)
		return sampled_size(sampled_of(d));
	report_pointer(ptr, what);
	return 0;
}

bool block_size(void *ptr, const char *what, size_t *size)
{
	if (unlikely(bslab_options.hardened))
		return hardened_size(ptr, what, size);
	*size = plain_size(ptr, what);
	return *size != 0;
}

void report_size(void *ptr, size_t size, size_t align, size_t have)
{
	bug_caller("sized free of %p: asked for %z bytes aligned to %z, but the block has %z", ptr, size, align, have);
}

void report_alignment(void *ptr, size_t align)
{
	bug_caller("sized free of %p: %z is no alignment", ptr, align);
}

static bool any_stayed; /* atomic */

void *block_stays(void *ptr)
{
	WRITE_ONCE(any_stayed, true);
	return ptr;
}

bool any_block_stayed(void)
{
	return READ_ONCE(any_stayed);
}

bool size_is_plausible(void *ptr, size_t size, size_t align)
{
	size_t have, want;
	bool is_exact; /* a class for each size */

	if (unlikely(bslab_options.hardened))
		return hardened_size_is_right(ptr, size, align);
	if (!block_size(ptr, "free", &have))
		return false;
	if (!is_power_of_2(align)) {
		report_alignment(ptr, align);
		return false;
	}
	want = align > 16 ? align_up(size + !size, align) : size;
	is_exact = desc_class(map_lookup((uintptr_t)ptr)) && have > 16;
	/* realloc() leaves a small block in place down to half its size, and where it cannot be moved, whatever its size. */
	if (size <= have && (want >= have / 2 || !is_exact || any_block_stayed()) && (uintptr_t)ptr % align == 0)
		return true;
	report_size(ptr, size, align, have);
	return false;
}
