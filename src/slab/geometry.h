/* SPDX-License-Identifier: MIT */
/* How many pages and objects a slab has. */
#ifndef BSLAB_GEOMETRY_H
#define BSLAB_GEOMETRY_H

#include "slab/slab.h"

static inline size_t pages_for(size_t bytes)
{
	return (bytes + BSLAB_PAGE_SIZE - 1) >> PAGE_SHIFT;
}

/*
 * A slab is what fits into 2^order pages, so that the buddies split without
 * odd rests; pages behind the last object go back to them. The largest slabs
 * have one bitmap word's worth of objects up to 1 KiB, above it 8 or, from
 * 8 KiB, 4, or up to four times as many where a smaller slab loses more than
 * 1/64 behind its last object; the smallest have one page, or one object.
 */
static inline unsigned objects_in(size_t size, unsigned order)
{
	return (unsigned)min_size((BSLAB_PAGE_SIZE << order) / size, MAX_SLAB_OBJECTS);
}

#endif
