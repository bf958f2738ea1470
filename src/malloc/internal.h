/* SPDX-License-Identifier: MIT */
/*
 * The api floor's own parts: process life, slow paths, reclaim. Nothing below
 * calls up here: a floor that cannot go on returns NULL, and this one shrinks
 * the caches and tries once more.
 */
#ifndef BSLAB_MALLOC_INTERNAL_H
#define BSLAB_MALLOC_INTERNAL_H

#include <errno.h>

#include "map/map.h"
#include "profile/unwind.h"

/* Makes the allocator ready; cheap once it is. */
void process_boot(void);
/* Has a function called when the process ends by exit(); in the boot. */
#define MAX_AT_END 3
void process_at_end(void (*call)(void));
/* Called on slow paths: has the thread's end hooked if it holds something by then. */
void process_hook_thread(void);

/* Gives back what nobody uses: caches, empty slabs, free pages beyond nr_keep. How many pages. */
size_t reclaim(size_t nr_keep);
/* The same near a soft limit, when it is time. */
void reclaim_if_due(void);
/*
 * Before another try of what failed for want of size bytes: caches are emptied, and from round 1 on programs' shrinkers are
 * asked first. False where there is no more to hope for.
 */
bool reclaim_more(unsigned round, size_t size);

#define MAX_REQUEST ((size_t)1 << (ADDRESS_BITS - 1))

/* Beyond any address space, or beyond the machine: not worth a reclaim. */
bool size_is_too_much(size_t size);

static force_inline bool is_too_much(size_t size)
{
	return unlikely(size >= GIB) && size_is_too_much(size);
}

struct alloc_request {
	size_t size, align;  /* any; a power of two */
	size_t asked;	     /* by the program: realloc() may want more room */
	struct caller by;    /* for a sample of it */
	bool is_counted;     /* the profile's sampler has let it pass */
	bool is_mapping;     /* a mapping of its own, whatever its size; hardened mode */
	bool no_retry;	     /* NULL rather than a reclaim */
	unsigned pages_flags; /* enum pages_flags, more than the call has of itself */
};
/* A block. Sets errno when it returns NULL. *zeroed: reads as zero. */
void *alloc_slow(const struct alloc_request *r, bool *zeroed);
/* realloc() of a live block of old_size bytes; NULL where there is no memory, and errno is set. */
void *realloc_live(void *ptr, size_t old_size, size_t size, struct caller by, bool no_retry);
/* The bytes of a live block; false after a report, `what` names the call. */
bool block_size(void *ptr, const char *what, size_t *size);
/* What is returned, when a first try may have set errno: a call that succeeds leaves it as it was. */
static inline void *with_errno(int saved, void *p)
{
	if (likely(p != NULL))
		errno = saved;
	return p;
}
/* Whether an address is where an element of a NOWAIT pool starts; free() of any address of a pool. */
bool is_reserved(page_desc_t d, const void *ptr);
void free_reserved(page_desc_t d, void *ptr);
/* Reports a pointer that is no live block. */
void report_pointer(void *ptr, const char *what) __attribute__((cold));
void report_size(void *ptr, size_t size, size_t align, size_t have) __attribute__((cold));
void report_alignment(void *ptr, size_t align) __attribute__((cold));
/* The size to take for a block that realloc() moves: more than was asked for if it is likely to grow on. */
size_t size_with_room(void *ptr, size_t old_size, size_t size);
/* ptr, whose block is left in place although it may be more than twice what is asked for now: sized frees look less closely from then on. */
void *block_stays(void *ptr);
bool any_block_stayed(void);
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
	SLOW_HARDENED = 8, /* hardened=yes */
	SLOW_GUARDED = 16, /* allocations are counted, and some guarded */
};
/* Once booted; from any thread. Allowing is also what makes the fast paths work at boot. */
void slow_path_force(enum slow_reason why);
void slow_path_allow(enum slow_reason why);

/* M_PERTURB: 0 or the byte that is complemented into new blocks. */
void perturb_set(int byte);

#endif
