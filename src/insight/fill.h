/* SPDX-License-Identifier: MIT */
/* The snapshot that the library takes of itself (report/report.h), taken from outside. */
#ifndef BSLAB_INSIGHT_FILL_H
#define BSLAB_INSIGHT_FILL_H

#include "insight/heap.h"
#include "report/snapshot.h"

void report_fill(struct heap *h, struct heap_report *r);

/* Fills in what pageblocks have: report_count_block() does that of one, but for the free page blocks by order. */
typedef void report_blocks(struct heap *h, struct pages_info *info, void *arg);
/* The same as report_fill(), with another way to walk over the pageblocks. */
void report_fill_with(struct heap *h, struct heap_report *r, report_blocks *blocks, void *arg);
/* False where the pageblock cannot be right; it is then not counted. */
bool report_count_block(const struct pageblock *b, unsigned zone, struct pages_info *info);

#endif
