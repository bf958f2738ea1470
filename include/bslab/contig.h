/* SPDX-License-Identifier: MIT */
/*
 * A contiguous reserve, as the kernel's CMA: memory side by side that is set aside for large buffers, and serves movable
 * runs of pages until a buffer needs it.
 *
 *     bslab_contig_reserve(64 << 20, 0);                              at the start of the program
 *     struct tile *t = ...;
 *     t->pixels = bslab_movable_alloc(128 << 10, tile_moved, t);      cached, for as long as it may stay
 *     char *frame = bslab_contig_alloc(48 << 20, 2 << 20);            tiles that are in the way are moved
 *     bslab_contig_free(frame);
 *
 * Why not a mapping: the reserve is there when it is needed, in the limits, and in explicit huge pages, below 4 GiB, or
 * registered with a device by the program if it is wanted so; and it is not idle meanwhile.
 *
 * Runs of these calls are theirs: bslab_free() and the like of one, and these calls on anything else, are reported by
 * one line on stderr, and the process aborts (bslab.h says how to survive that).
 *
 * Threads: all calls may be made from any thread. One request of bslab_contig_alloc() is served at a time. Signals, fork: as
 * for malloc; a fork waits for the request that is served. Cost: that of a look at each 4 KiB of what is asked for, and of
 * the moves.
 */
#ifndef BSLAB_CONTIG_H
#define BSLAB_CONTIG_H

#include <bslab/bslab.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum bslab_contig_flags {
	BSLAB_CONTIG_DMA32 = 1,	  /* below 4 GiB */
	BSLAB_CONTIG_HUGETLB = 2, /* of explicit huge pages (kmalloc.h) */
};

/*
 * Sets size bytes aside, rounded up to 2 MiB and at most 1 GiB, side by side and for good; another call adds another
 * such area. 0; EINVAL: no such size, unknown flags, or both; ENOMEM (the hard limit counts it).
 */
BSLAB_API int bslab_contig_reserve(size_t size, unsigned flags);
/*
 * size bytes, rounded up to 4 KiB, of the reserve, aligned to align (a power of two; at least 4 KiB is given). Moves what
 * movable runs are in the way, where that makes room. NULL with ENOMEM, or EINVAL: no size, no such alignment; within a
 * program's move function always ENOMEM.
 */
BSLAB_API void *bslab_contig_alloc(size_t size, size_t align) BSLAB_MALLOC __attribute__((alloc_size(1)));
/* Gives it to the reserve again. NULL is fine. */
BSLAB_API void bslab_contig_free(void *ptr);

/*
 * Called by bslab_contig_alloc(), in whatever thread: copies size bytes to `to`, makes the program use that from now on, and
 * returns 0; or, where the run is in use just now, does nothing and returns another number. It may allocate and free
 * other blocks, may try a lock of the program's, and must not wait for one: who frees this run holds it, perhaps, and
 * waits. It is not called any more once bslab_movable_free() has returned.
 */
typedef int bslab_move(void *to, void *from, size_t size, void *arg);
/*
 * A run of pages that may be moved: size bytes, rounded up to 4 KiB, at most 2 MiB. From the reserve where that has some, else
 * as bslab_pages_alloc_exact(). Who calls it must be ready to be asked to move it before the call returns. NULL with
 * ENOMEM or EINVAL.
 */
BSLAB_API void *bslab_movable_alloc(size_t size, bslab_move *move, void *arg) BSLAB_MALLOC __attribute__((alloc_size(1)));
/* By the address that it has now. While its function runs in another thread, it waits for that. NULL is fine. */
BSLAB_API void bslab_movable_free(void *ptr);

struct bslab_contig_info {
	size_t size_bytes;  /* of the reserve */
	size_t taken_bytes; /* by bslab_contig_alloc() */
	size_t lent_bytes;  /* to movable runs; the rest is free */
	/* Since the start: requests that were served, and that were not; runs that were moved, and that refused. */
	uint64_t nr_allocs, nr_failures, nr_moved, nr_refused;
};
BSLAB_API void bslab_contig_info(struct bslab_contig_info *info);

#ifdef __cplusplus
}
#endif

#endif
