/* SPDX-License-Identifier: MIT */
/*
 * Memory that the caller brings: a file, shared memory, a mapping of a device, a static array (Linux: ZONE_DEVICE,
 * mm/memremap.c).
 *
 * 1. Its whole pages are cut into the pageblocks that the page map has for these addresses anyway, each with a buddy
 *    system of its own. A block that is only partly in the memory begins with the other pages taken.
 *
 * 2. They are never bslab's: no limit counts them, nothing purges them, and what they hold at first is kept, so they
 *    do not read as zero.
 *
 * 3. A pageblock has one owner. Memory that shares one with a region, or with other brought memory, is refused: the
 *    state says so, and changes from ABSENT by compare and exchange.
 *
 * No lock: the heap's, which is its only user.
 */
#ifndef BSLAB_DEVICE_H
#define BSLAB_DEVICE_H

#include "map/pageblock.h"

struct device {
	uintptr_t base, end;	/* whole pages */
	uintptr_t first_block;	/* address of the first pageblock */
	size_t nr_blocks;
	size_t lowest;		/* no block before it has free pages */
};

enum device_fault {
	DEVICE_GOOD,
	DEVICE_SMALL,	  /* not a page in it */
	DEVICE_BUSY,	  /* somebody else's, or beyond any address */
	DEVICE_NO_MEMORY, /* for descriptors */
};
enum device_fault device_add(struct device *d, uintptr_t addr, size_t size);
/* Whatever was taken from it. */
void device_remove(struct device *d);

/* nr_pages, of any number, aligned to 2^align_order pages, up to a pageblock; NULL when there are none. */
void *device_alloc(struct device *d, size_t nr_pages, unsigned align_order);
void device_free(struct device *d, void *addr, size_t nr_pages);

#endif
