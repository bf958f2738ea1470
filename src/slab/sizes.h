/* SPDX-License-Identifier: MIT */
/*
 * Size classes: 8, then steps of 16 up to 128, then eight steps to each
 * doubling up to 32 KiB. From 1 KiB on the first of the eight is cut behind its
 * first quarter: a buffer of 2^k bytes with a small header is what programs ask for
 * most. At 4 KiB it is cut in four, for a page with its header: databases hold
 * little else. More of them would waste less inside objects, and more in what each
 * class holds for itself: docs/decisions/0038-small-heaps.md.
 *
 * Waste: a request in (2^k, 2^(k+1)] is rounded up by less than a step of
 * 2^(k-3), and is more than 2^k: less than 1/8 of it, and from 1 KiB on 1/32 just
 * above a power of two.
 *
 * Natural alignment: let the request be a multiple of 2^j. Where 2^j is at most
 * the step, the class is a multiple of the step and so of 2^j; where it is
 * more, the request is itself a multiple of the step, and so a class. (The first
 * quarter of a step that is cut ends at a multiple of 2^(k-5) and holds none of a
 * larger power of two; the rest ends where the whole step does.) Objects
 * stand at multiples of the class size from a page boundary, hence at multiples
 * of 2^j as long as that is at most a page.
 */
#ifndef BSLAB_SIZES_H
#define BSLAB_SIZES_H

#include "base/base.h"

#define SMALL_MAX (32 * KIB)
#define NR_CLASSES 81 /* class 0 is "not a slab": no object has it */
#define PCP_CACHE NR_CLASSES /* + order: of page runs, slab/pcp.h */
#define PCP_MAX_ORDER 3
#define FIRST_TYPED (PCP_CACHE + PCP_MAX_ORDER + 1)
#define NR_CACHES 256 /* those, and typed caches behind them: slab/typed.h */

static force_inline bool is_pcp_cache(unsigned number)
{
	return number - PCP_CACHE <= PCP_MAX_ORDER;
}

/* Class of a size in units of 8 bytes, rounded up; for sizes up to SMALL_MAX. */
extern const uint8_t bslab_size_class[SMALL_MAX / 8 + 1]
    __attribute__((visibility("hidden"), aligned(4096))); /* boot/boot.c says why */

static force_inline unsigned size_class(size_t size)
{
	return bslab_size_class[(size + 7) / 8];
}

size_t class_size(unsigned class);

#endif
