/* SPDX-License-Identifier: MIT */
/*
 * The profile at a moment, added up by stack, as the writers want it. In
 * mappings of its own: nothing is allocated, and no lock is held while it is
 * written.
 */
#ifndef BSLAB_VIEW_H
#define BSLAB_VIEW_H

#include "profile/samples.h"
#include "profile/symbols.h"
#include "slab/sizes.h"

/*
 * What blocks of a kind pin on average: free memory that cannot be given back because blocks are where they are. Of a
 * class, the free bytes of its slabs over the objects that live in them. Of a run, for each of its pages, the free
 * pages that may be resident of runs' partly used pageblocks, over the pages in use there.
 */
struct pinning {
	double per_object[NR_CLASSES]; /* bytes */
	double per_run_page;
};

/* What the samples of a stack stand for. */
struct holder {
	const struct stack *stack;
	double objects, bytes, pinned; /* estimates */
	size_t nr_samples;
	size_t min_size, max_size; /* of the samples */
	uint64_t oldest_ms, newest_ms; /* os_coarse_clock_ms() when they were made */
};

struct view {
	uint64_t now_ms;
	size_t interval; /* of the sampler; 0: off */
	size_t nr_samples, nr_lost;
	double objects, bytes, pinned; /* of all holders */
	struct holder *holder; /* by bytes, most first */
	size_t nr_holders;
	struct symbols symbols; /* of all addresses in their stacks */
	/* Mappings: */
	struct sample *sample;
	size_t samples_size, holders_size;
};

/* False where there is no memory. */
bool view_take(struct view *v, const struct pinning *pinning);
void view_drop(struct view *v);

static inline size_t rounded(double x)
{
	return (size_t)(x + 0.5);
}

#endif
