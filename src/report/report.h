/* SPDX-License-Identifier: MIT */
/*
 * Statistics, pulled: each floor below fills a snapshot of its own under its
 * own lock, so the whole is consistent per floor, not across floors.
 */
#ifndef BSLAB_REPORT_H
#define BSLAB_REPORT_H

#include "large/large.h"
#include "page/buddy.h"
#include "page/zone.h"
#include "slab/percpu.h"

struct class_report {
	struct cache_info cache;
	size_t nr_cached; /* objects in CPU sheaves and in the barn */
	size_t nr_used;	  /* objects that the program holds */
};

struct heap_report {
	enum index_mode mode;
	unsigned nr_areas; /* CPUs, or threads, with a cache */
	struct zone_info zone;
	struct pages_info pages;
	struct large_info large;
	struct class_report class[NR_CLASSES];
	size_t slab_pages;
	/* Bytes: committed = used + free; small, runs and large make up used. */
	size_t committed, used, free;
	size_t small_used, small_free, run_used;
	size_t nr_small_free; /* objects */
	size_t dirty_free;    /* free and perhaps resident */
	size_t metadata;      /* boot allocator */
};

/* Takes some 15 KiB, so callers keep it in static storage under their own lock or on a large stack. */
void report_take(struct heap_report *r);
/* Text for malloc_stats, in lines of at most 255 bytes, each handed to put. */
void report_text(const struct heap_report *r, void (*put)(const char *line, void *arg), void *arg);
/* XML for malloc_info. */
void report_xml(const struct heap_report *r, void (*put)(const char *line, void *arg), void *arg);

#endif
