/* SPDX-License-Identifier: MIT */
/*
 * All pageblocks, a few bytes each. The structs of a whole region are read at once and no descriptor is, so that it
 * costs little to look again every second: some 200 bytes for each 2 MiB, a few system calls for each GiB.
 */
#ifndef BSLAB_INSIGHT_SURVEY_H
#define BSLAB_INSIGHT_SURVEY_H

#include "insight/fill.h"

#define RESIDENCE_UNKNOWN 0xffff

struct block_mark {
	uint64_t addr;
	uint8_t state, migratetype; /* enum pageblock_state, enum migratetype */
	bool is_mixed;		    /* another type got pages of it, too */
	uint16_t nr_free, nr_dirty; /* pages; dirty: of the free ones, those that may be resident */
	uint16_t nr_resident, nr_huge; /* as the kernel says, where it was asked: else RESIDENCE_UNKNOWN */
};

struct survey {
	struct block_mark *block; /* by address */
	size_t nr, capacity;
	bool is_short; /* there was no memory for more */
};

/* Fills a report as report_fill() does, but for the free page blocks by order, which stay 0; and the survey with it. */
void survey_take(struct survey *s, struct heap *h, struct heap_report *r);
void survey_free(struct survey *s);
/* Of one pageblock. */
struct block_mark survey_mark(const struct pageblock *b, uint64_t addr);

#endif
