/* SPDX-License-Identifier: MIT */
#ifndef BSLAB_OVERCOMMIT_H
#define BSLAB_OVERCOMMIT_H

#include "base/base.h"

/*
 * Whether one request is for more than the machine has, memory and swap together, and the kernel is to refuse such ones
 * (vm.overcommit_memory is 0, as it comes). It would by itself, but our mappings are not charged for (MAP_NORESERVE), so that a
 * fork is not refused for what they might take.
 *
 * Below a gibibyte nothing is asked. Above, a system call or two; of a size that was once found to be there, none.
 */
bool overcommit_refuses_large(size_t size);

static inline bool overcommit_refuses(size_t size)
{
	return unlikely(size >= GIB) && overcommit_refuses_large(size);
}

#endif
