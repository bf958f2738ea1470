/* SPDX-License-Identifier: MIT */
/* The rows of the table of caches, and their order. Pure functions. */
#ifndef BSLAB_INSIGHT_TOP_ROWS_H
#define BSLAB_INSIGHT_TOP_ROWS_H

#include "report/line.h"

struct cache_row {
	size_t object_size, objects_per_slab, pages_per_slab;
	size_t nr_objects, nr_active, nr_cached; /* active: the program holds them; cached: in sheaves and barns */
	size_t nr_slabs, nr_partial;
	size_t bytes, waste; /* of its pages; of them what the program does not hold */
	unsigned use;	     /* active of all objects, in 100ths */
	char name[CACHE_NAME_SIZE];
	double rate;	     /* sheaves filled from slabs and emptied into them, per second */
};

/* One for each cache with slabs, as slabinfo has them; how many. before: NULL, or the report `seconds` before, which rates are over. */
unsigned cache_rows(const struct heap_report *now, const struct heap_report *before, double seconds,
		    struct cache_row row[NR_LISTED]);

enum sort_key {
	SORT_BYTES,
	SORT_OBJECTS,
	SORT_ACTIVE,
	SORT_USE,
	SORT_WASTE,
	SORT_RATE,
	SORT_NAME,
	SORT_OBJECT_SIZE,
	SORT_SLABS,
	SORT_PARTIAL,
	SORT_OBJECTS_PER_SLAB,
	SORT_PAGES,
	SORT_CACHED,
	NR_SORT_KEYS,
};
/* By a key as slabtop has them ('c', 'o', ...) or a name ("size", "objects", ...): -1 for none. */
int sort_key_of(const char *text);
char sort_key_letter(enum sort_key key);
const char *sort_key_name(enum sort_key key);

/* The largest first, but names from the smallest object on; `reverse` turns it round. Equal ones by object size. */
void cache_rows_sort(struct cache_row *row, unsigned nr, enum sort_key key, bool reverse);

#endif
