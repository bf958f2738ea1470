/* SPDX-License-Identifier: MIT */
/* What bslab-stat prints besides the reports of report/format.h. */
#ifndef BSLAB_INSIGHT_VIEW_H
#define BSLAB_INSIGHT_VIEW_H

#include <stdio.h>

#include "insight/heap.h"

/* What stands at an address: lines of a name and its value. */
void view_pointer(struct heap *h, uint64_t addr, FILE *out);
/* All pageblocks, a line each. */
void view_blocks(struct heap *h, FILE *out);

const char *view_migratetype(unsigned type);
/* Of the pageblock's owner, into name. */
void view_owner(const struct heap *h, const struct pageblock *b, char *name, size_t size);

struct pages_use {
	unsigned nr_free, nr_dirty; /* pages; dirty: of the free ones, those that may be resident */
	unsigned nr_slab, nr_run;
};
struct pages_use view_pages(const struct block_copy *copy);

#endif
