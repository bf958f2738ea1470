/* SPDX-License-Identifier: MIT */
/*
 * What a heap's blocks stand in: chunks. One is a slab of one of malloc's size classes, a single block of pages, or a single
 * large block.
 *
 * 1. Each block has a byte in the chunk's header, so that what a pointer is can be told at once, and exactly:
 *
 *      state    block                from      to
 *      -------  -------------------  --------  ------------------------------------------------
 *      FREE     in the slab          WAITING   WAITING: taken out, with others, for the class's stack
 *      LIVE     the program's        WAITING   WAITING: freed
 *      WAITING  in the class's stack FREE,     LIVE: allocated; FREE: given back, with others
 *                                    LIVE
 *
 *    (A single block is LIVE from FREE, and its chunk goes with it.)
 *
 * 2. A block's number is found by one multiplication: the product's upper half is the quotient, and its lower half is below
 *    the multiplier exactly for a multiple of the size (Lemire, Kaser and Kurz 2019, "Faster remainder by direct computation").
 *    Let M = ceil(2^64 / size), so size * M = 2^64 + e with e < size, and n = q * size + r an offset. Then n * M = q * 2^64 + q * e
 *    + r * M. Offsets are below 2^18 and sizes at most 2^15, so q * e < q * size <= n < 2^18 and M >= 2^49. For r = 0 the lower
 *    half is q * e < M. For others it is at least M, and there is no carry: (size - 1) * M + q * e = 2^64 + e - M + q * e < 2^64.
 *    A single block has M = 1: the lower half is the offset, which is below 1 for 0 alone.
 *
 * 3. The end of a slab may have room for a part of a block. It has a byte too, which is never LIVE.
 *
 * Invariant: nr_free = number of FREE states, none before first_free.
 */
#ifndef BSLAB_CHUNK_H
#define BSLAB_CHUNK_H

#include "base/list.h"
#include "map/map.h"

struct bslab_heap;
struct vm_area;

#define MAX_CHUNK_OBJECTS 512

enum chunk_state { CHUNK_FREE, CHUNK_LIVE, CHUNK_WAITING };

/* Under the heap's lock; what leads from a block to its state is constant while it is live. */
struct chunk {
	struct list_node node; /* in the class's partial list; first, so that a pooled header keeps the rest */
	struct list_node all;  /* in heap->chunks */
	struct bslab_heap *heap; /* NULL: freed */
	uintptr_t base;
	uint64_t reciprocal;
	size_t size;	     /* of a block */
	size_t nr_pages;
	struct vm_area *large; /* NULL: pages of a buddy's */
	uint16_t class;      /* 0: a block of pages, or large */
	uint16_t nr_objects, nr_free;
	uint16_t first_free;
	uint8_t state[]; /* enum chunk_state, and one for the end */
};

struct chunk_shape {
	size_t size, nr_pages;
	uint64_t reciprocal;
	uint16_t class, nr_objects;
};

/* A slab, all of it FREE, or a single block, which is LIVE. NULL where there is no memory, or the heap's limit is reached. */
struct chunk *chunk_create(struct bslab_heap *h, const struct chunk_shape *shape, size_t align, bool *zeroed);
void chunk_destroy(struct bslab_heap *h, struct chunk *c);
/* All of a heap that goes. */
void chunks_destroy(struct bslab_heap *h);

/* The number of the block at an address in the chunk; false inside of one. */
static force_inline bool chunk_index(const struct chunk *c, uintptr_t addr, size_t *index)
{
	unsigned __int128 product = (unsigned __int128)(addr - c->base) * c->reciprocal;

	*index = (size_t)(product >> 64);
	return (uint64_t)product < c->reciprocal;
}

static inline size_t pages_for(size_t bytes)
{
	return (bytes + BSLAB_PAGE_SIZE - 1) >> PAGE_SHIFT;
}

#endif
