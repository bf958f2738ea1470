/* SPDX-License-Identifier: MIT */
/*
 * The contiguous reserve, and page runs that can be moved out of it (Linux: mm/cma.c, struct movable_operations).
 *
 * 1. The reserve is made of areas: pageblocks side by side, of state CONTIG, each with its own free lists, under one lock.
 *    A request takes any range of an area's pages, across pageblocks.
 *
 * 2. Meanwhile its free pages are lent, to movable runs only. malloc's pointers cannot change, so nothing of malloc's
 *    is lent to, whatever its migratetype: one block would keep the range for good. A movable run has a function of the
 *    program's that moves it: it copies, changes the program's pointers, and says 0, or refuses.
 *
 * 3. A request first looks for a range where all is free. Then for one with movable runs only: the free pages in it are
 *    taken away at once (their descriptors say PAGE_CONTIG, of no pages), each run is moved to memory outside the
 *    reserve, and where one refuses, what lies before is put back and the search goes on behind it. So no page is looked at
 *    more than a few times, and each request ends. Where there was no memory to move a run to, the caller may make some and
 *    try again: a run that has refused a request is not asked by it again.
 *
 * 4. One request at a time, and fork waits for it: `owner`, which is not a lock, for the program's function runs
 *    within it, without any lock. A free of a run that is being moved waits, and then frees what became of it.
 *
 * 5. Movable runs are lent pages from the top, requests look from the bottom.
 *
 * Descriptors: a run's head PAGE_MOVABLE leads to its struct; a taken range's head PAGE_CONTIG has its number of
 * pages; other pages of both the distance to the head, as those of any run.
 *
 * Invariant: nr_pages = nr_taken + nr_lent + sum of the blocks' nr_free, while no request is at work.
 */
#ifndef BSLAB_PAGE_CONTIG_H
#define BSLAB_PAGE_CONTIG_H

#include "map/pageblock.h"
#include "os/lock.h"

/* 0: the contents are at `to`, and nobody uses `from` any more; else all is as it was. */
typedef int movable_migrate(void *to, void *from, size_t size, void *arg);

struct movable {
	/* Constant: */
	unsigned nr_pages;
	movable_migrate *migrate;
	void *arg;
	/* Under the lock: */
	uintptr_t addr;
	bool is_lent;	 /* of the reserve */
	bool is_moving;
	uint64_t refused; /* the number of the last request that it refused */
};

/* One more area. False where that is not to be had. pages_flags: page/buddy.h, of explicit zones. */
bool contig_add(unsigned nr_blocks, unsigned pages_flags);
/* A request, over its tries. */
struct contig_request {
	size_t nr_pages, align; /* a power of two, of a page at least */
	uint64_t number;	/* 0 before the first try */
	bool is_short; /* the last try failed for want of memory that a run could be moved to: another may do */
};
/* A range of the reserve, or NULL. */
void *contig_alloc(struct contig_request *r);
/* A request was not served: for the count. */
void contig_give_up(void);
/* False where no such range begins. */
bool contig_free(uintptr_t addr);
/* Gives the free pages of the reserve back to the system; they stay the reserve's. */
void contig_purge(void);
/* Pages, so far. */
uint64_t contig_nr_given_back(void);

void *movable_alloc(unsigned nr_pages, movable_migrate *migrate, void *arg);
enum movable_fault {
	MOVABLE_GOOD,
	MOVABLE_FOREIGN, /* not the head of a movable run */
	MOVABLE_BUSY,	 /* from within the function that moves it */
};
enum movable_fault movable_free(uintptr_t addr);

static inline struct movable *movable_of(page_desc_t d)
{
	return desc_type(d) == PAGE_MOVABLE && !desc_class(d) ? desc_pointer(d) : NULL;
}

struct contig_info {
	size_t nr_pages, nr_taken, nr_lent; /* now */
	/* Since the start: requests that got a range, and that did not; runs that were moved, and that refused. */
	uint64_t nr_allocs, nr_failures, nr_moved, nr_refused;
	uint64_t nr_looks; /* at pages and at runs: what requests cost */
};
void contig_snapshot(struct contig_info *info);

/* The first before any lock is taken, the last after all are dropped: a request that is served may need each of them. */
void contig_fork_wait(void);
void contig_fork_prepare(void);
void contig_fork_done(bool child);
void contig_fork_end(void);

#endif
