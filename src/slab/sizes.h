/* SPDX-License-Identifier: MIT */
/*
 * Size classes: 8, then steps of 16 up to 128, then eight steps to each
 * doubling up to 1 KiB, then sixteen up to 32 KiB, the first of which is cut in
 * two: a buffer of 2^k bytes with a small header is what programs ask for most.
 * From 4 to 8 KiB there are thirty-two, for a page with its header: databases
 * hold little else.
 *
 * Waste: a request in (2^k, 2^(k+1)] is rounded up by less than a step of
 * 2^(k-3), and is more than 2^k: less than 1/8 of it, from 1 KiB on 1/16, and
 * 1/32 just above a power of two.
 *
 * Natural alignment: let the request be a multiple of 2^j. Where 2^j is at most
 * the step, the class is a multiple of the step and so of 2^j; where it is
 * more, the request is itself a multiple of the step, and so a class. (In the
 * half step behind 2^k only its end is a multiple of that.) Objects stand at
 * multiples of the class size from a page boundary, hence at multiples of 2^j as
 * long as that is at most a page.
 */
#ifndef BSLAB_SIZES_H
#define BSLAB_SIZES_H

#include "base/base.h"

#define SMALL_MAX (32 * KIB)
#define NR_CLASSES 134 /* class 0 is "not a slab": no object has it */
#define NR_CACHES 256  /* the size classes', and typed caches behind them: slab/typed.h */

/* Class of a size in units of 8 bytes, rounded up; for sizes up to SMALL_MAX. */
extern const uint8_t bslab_size_class[SMALL_MAX / 8 + 1]
    __attribute__((visibility("hidden"), aligned(4096))); /* boot/boot.c says why */

static force_inline unsigned size_class(size_t size)
{
	return bslab_size_class[(size + 7) / 8];
}

size_t class_size(unsigned class);

#endif
