/* SPDX-License-Identifier: MIT */
/*
 * Zeroing a block that has been used before (calloc).
 *
 * A program may make a large table and use little of it. Of such a block few
 * pages are resident, and to write zeros over all of it would fault in the
 * others, each of them dearer than clearing 40. So where the kernel says that at
 * most a 16th is resident, it is asked for zero pages instead: two system calls
 * for each 2 MiB. Where the answer was that writing is right, the next blocks of this
 * size are written without a question, more of them each time. Nor is there one where the
 * block was given back so short a time ago that hardly any of it can have been used since (os/touch.h).
 * Of blocks above 2 MiB it is always asked: there the question takes a tenth of the writing at most.
 */
#ifndef BSLAB_CLEAR_H
#define BSLAB_CLEAR_H

#include "base/base.h"

/* From this size on the kernel may be asked: writing zeros takes 5 us, the question 1 to 2. */
#define MIN_KERNEL_CLEAR (512 * KIB)

/* Makes the first `size` bytes of a block zero. From MIN_KERNEL_CLEAR on, whole pages are the block's. */
void block_clear(void *block, size_t size);

#endif
