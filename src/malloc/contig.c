/* SPDX-License-Identifier: MIT */
/* The contiguous reserve for programs; bslab/contig.h documents each call, page/contig.h how it works. */
#include "bslab/contig.h"

#include <errno.h>

#include "malloc/explicit.h"
#include "malloc/internal.h"
#include "malloc/reports.h"
#include "os/bug.h"
#include "page/buddy.h"
#include "page/contig.h"

#define ALL_FLAGS (BSLAB_CONTIG_DMA32 | BSLAB_CONTIG_HUGETLB)

static size_t nr_pages_of(size_t size)
{
	return (size + BSLAB_PAGE_SIZE - 1) >> PAGE_SHIFT;
}

int bslab_contig_reserve(size_t size, unsigned flags)
{
	unsigned pages_flags = (flags & BSLAB_CONTIG_DMA32 ? PAGES_DMA32 : 0) | (flags & BSLAB_CONTIG_HUGETLB ? PAGES_HUGE : 0);
	unsigned nr_blocks = (unsigned)((size + PAGEBLOCK_SIZE - 1) >> PAGEBLOCK_SHIFT), round;
	bool ok;

	if (!size || size > GIB || flags & ~(unsigned)ALL_FLAGS || flags == ALL_FLAGS)
		return EINVAL;
	process_boot();
	reclaim_if_due();
	ok = contig_add(nr_blocks, pages_flags);
	for (round = 0; unlikely(!ok) && explicit_make_room(pages_flags, round, (size_t)nr_blocks << PAGEBLOCK_SHIFT); round++)
		ok = contig_add(nr_blocks, pages_flags);
	reports_poll();
	return ok ? 0 : ENOMEM;
}

static void *fail(int error)
{
	errno = error;
	return NULL;
}

/* Runs that are moved are this thread's allocations. */
void *bslab_contig_alloc(size_t size, size_t align)
{
	struct contig_request r;
	unsigned round;
	void *p;

	if (!size || !is_power_of_2(align))
		return fail(EINVAL);
	if (size > GIB || align > GIB)
		return fail(ENOMEM);
	r = (struct contig_request){.nr_pages = nr_pages_of(size), .align = max_size(align, BSLAB_PAGE_SIZE)};
	p = contig_alloc(&r);
	for (round = 0; unlikely(r.is_short) && reclaim_more(round, size); round++)
		p = contig_alloc(&r);
	if (unlikely(!p))
		contig_give_up();
	process_hook_thread();
	reports_poll();
	return p ? p : fail(ENOMEM);
}

void bslab_contig_free(void *ptr)
{
	if (ptr && !contig_free((uintptr_t)ptr))
		bug_caller("invalid bslab_contig_free of %p: not a range of the contiguous reserve", ptr);
	reports_poll();
}

void *bslab_movable_alloc(size_t size, bslab_move *move, void *arg)
{
	unsigned round;
	void *p;

	if (!size || size > PAGEBLOCK_SIZE || !move)
		return fail(EINVAL);
	process_boot();
	reclaim_if_due();
	p = movable_alloc((unsigned)nr_pages_of(size), move, arg);
	for (round = 0; unlikely(!p) && reclaim_more(round, size); round++)
		p = movable_alloc((unsigned)nr_pages_of(size), move, arg);
	process_hook_thread();
	reports_poll();
	return p ? p : fail(ENOMEM);
}

void bslab_movable_free(void *ptr)
{
	switch (ptr ? movable_free((uintptr_t)ptr) : MOVABLE_GOOD) {
	case MOVABLE_FOREIGN:
		bug_caller("invalid bslab_movable_free of %p: not a movable run", ptr);
		break;
	case MOVABLE_BUSY:
		bug_caller("invalid bslab_movable_free of %p: from within the function that moves it", ptr);
		break;
	default:
		break;
	}
	reports_poll();
}

void bslab_contig_info(struct bslab_contig_info *info)
{
	struct contig_info i;

	contig_snapshot(&i);
	*info = (struct bslab_contig_info){i.nr_pages << PAGE_SHIFT, i.nr_taken << PAGE_SHIFT, i.nr_lent << PAGE_SHIFT,
					   i.nr_allocs, i.nr_failures, i.nr_moved, i.nr_refused};
}
