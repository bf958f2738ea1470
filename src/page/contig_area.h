/* SPDX-License-Identifier: MIT */
/*
 * What the files of the contiguous reserve share: its state, and what is done to its pages. contig.c has the requests, contig_take.c
 * how one takes a range, movable.c the runs that the reserve is lent to.
 */
#ifndef BSLAB_PAGE_CONTIG_AREA_H
#define BSLAB_PAGE_CONTIG_AREA_H

#include "boot/boot.h"
#include "os/thread.h"
#include "page/contig.h"

struct contig_area {
	struct contig_area *next; /* constant, as are */
	uintptr_t base, end;
	bool is_lazy; /* of huge pages, of which no part is given back */
};

struct contig {
	struct lock lock; /* RANK_BUDDY: it is one, and never taken with another */
	_Atomic uintptr_t owner; /* the thread whose request is at work, by its thread_state, as in a child of fork; 0: none */
	_Atomic(struct contig_area *) areas; /* changed under lock */
	/* Under lock: */
	uintptr_t taking_from, taking_to; /* the range that a request is taking: what comes free in it is the request's */
	uint64_t nr_requests;		  /* so far */
	uint64_t number;		  /* of the one that is at work */
	bool is_short;			  /* there was no memory to move a run to */
	uint64_t nr_given_back; /* pages, so far; read without it */
	struct contig_info info;
};

extern struct contig contig;

static inline void contig_lock(void)
{
	lock_take(&contig.lock, RANK_BUDDY);
}

static inline void contig_unlock(void)
{
	lock_drop(&contig.lock, RANK_BUDDY);
}

/* Without the lock, too: areas stay. */
static inline struct contig_area *contig_first_area(void)
{
	return atomic_load_explicit(&contig.areas, memory_order_acquire);
}

/* Within the program's function that moves a run. */
static inline bool contig_owner_is_self(void)
{
	return atomic_load(&contig.owner) == (uintptr_t)&thread_state;
}

static inline uintptr_t page_at(uintptr_t addr, size_t nr_pages)
{
	return addr + (nr_pages << PAGE_SHIFT);
}

/* --- contig_take.c: under the lock ------------------------------------------------------------------------ */

/* Pages within one pageblock, or whole ones: to the lists, but for what a request is taking. */
void contig_release(uintptr_t from, uintptr_t to);
/* A range of an area, taken, or 0. Where runs may be moved, the lock is dropped while the program does so. */
uintptr_t contig_take(const struct contig_area *a, size_t size, size_t align, bool may_move);

/* --- movable.c --------------------------------------------------------------------------------------------- */

/* Without the lock: to memory outside the reserve, whose address it returns; 0: refused, or there was none. */
uintptr_t movable_move_out(struct movable *m, uintptr_t from, bool *is_short);

#endif
