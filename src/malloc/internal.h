/* SPDX-License-Identifier: MIT */
/*
 * The api floor's own parts: process life, slow paths, reclaim. Nothing below
 * calls up here: a floor that cannot go on returns NULL, and this one shrinks
 * the caches and tries once more.
 */
#ifndef BSLAB_MALLOC_INTERNAL_H
#define BSLAB_MALLOC_INTERNAL_H

#include "profile/unwind.h"

/* Makes the allocator ready; cheap once it is. */
void process_boot(void);
/* Called on slow paths: has the thread's end hooked if it holds something by then. */
void process_hook_thread(void);

/* Gives back what nobody uses: caches, empty slabs, free pages beyond nr_keep. How many pages. */
size_t reclaim(size_t nr_keep);
/* Where a soft limit has asked for it. */
void reclaim_if_due(void);

struct alloc_request {
	size_t size, align;  /* any; a power of two */
	size_t asked;	     /* by the program: realloc() may want more room */
	struct caller by;    /* for a sample of it */
	bool is_counted;     /* the profile's sampler has let it pass */
};
/* A block. Sets errno when it returns NULL. *zeroed: reads as zero. */
void *alloc_slow(const struct alloc_request *r, bool *zeroed);
/* The bytes of a live block; 0 after a report, `what` names the call. */
size_t block_size(void *ptr, const char *what);
/* Reports a pointer that is no live block. */
void report_pointer(void *ptr, const char *what) __attribute__((cold));
/* False after a report when the block cannot have been asked for with this size (and alignment). */
bool size_is_plausible(void *ptr, size_t size, size_t align);

/* Since the start: times that reclaim() was called, and that a call failed for want of memory. */
struct slow_counts {
	_Atomic uint64_t nr_reclaims, nr_failures; /* relaxed */
};
extern struct slow_counts counts reader_root(slow_counts);

/* Why malloc and its kin may not take their fast paths: any of these. */
enum slow_reason {
	SLOW_CHECK = 1,	  /* check=yes */
	SLOW_PERTURB = 2, /* M_PERTURB */
	SLOW_PROFILE = 4, /* bytes are counted */
};
/* Once booted; from any thread. Allowing is also what makes the fast paths work at boot. */
void slow_path_force(enum slow_reason why);
void slow_path_allow(enum slow_reason why);

/* M_PERTURB: 0 or the byte that is complemented into new blocks. */
void perturb_set(int byte);

#endif
