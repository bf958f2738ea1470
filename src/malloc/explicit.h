/* SPDX-License-Identifier: MIT */
/*
 * malloc's blocks of explicit zones (page/zonelist.h): each such zone has a heap, from which kmalloc takes and to which
 * bslab_free() gives.
 */
#ifndef BSLAB_MALLOC_EXPLICIT_H
#define BSLAB_MALLOC_EXPLICIT_H

#include "heap/heap.h"

/* pages_flags: some of PAGES_EXPLICIT. NULL where the zone has no more. *zeroed: reads as zero. */
void *explicit_alloc(size_t size, unsigned pages_flags, bool no_retry, bool *zeroed);
/* The flag for memory of this node alone; 0 where there is one node, and all is. Of a node without memory no zone has any. */
unsigned explicit_this_node(void);
/* Blocks of heaps that are malloc's: heap_of_malloc(). The size is 0 after a report; a block that moves stays in its zone. */
void explicit_free(struct bslab_heap *h, void *ptr);
size_t explicit_size(struct bslab_heap *h, void *ptr, const char *what);
void *explicit_realloc(struct bslab_heap *h, void *ptr, size_t size, bool no_retry);

#endif
