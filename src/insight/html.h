/* SPDX-License-Identifier: MIT */
/*
 * A heap as one page of HTML: nothing is fetched, nothing is executed.
 *
 * 1. A picture is taken once (picture_take()): the report, and what each page of
 *    each pageblock is. While samples are asked for, reports alone are taken.
 * 2. The page is bounded however large the heap is: at most MAX_CELLS cells, each
 *    of as many pageblocks as that takes; the pages of at most MAX_DETAILED
 *    pageblocks, evenly spread; at most MAX_POINTS points of a curve. What was
 *    left out is said on the page. All in all less than 4 MiB.
 */
#ifndef BSLAB_INSIGHT_HTML_H
#define BSLAB_INSIGHT_HTML_H

#include <stdio.h>

#include "insight/heap.h"
#include "insight/procinfo.h"
#include "insight/survey.h"

#define MAX_CELLS 4096
#define MAX_DETAILED 256
#define MAX_POINTS 1000

struct html_request {
	const char *path; /* "-": standard output */
	const char *core; /* NULL: a process */
	int pid;
	bool has_interval;
	double interval;
	unsigned long count; /* 0: until the process ends, or SIGINT */
};
/* Looks, and writes the page: the exit status. A line on stderr says why it is not 0. */
int html_run(const struct html_request *q, struct memory *memory);

/* --- what a page of memory is ------------------------------------------------------------------ */

enum page_kind {
	KIND_SLAB_64,	/* of objects of up to so many bytes */
	KIND_SLAB_256,
	KIND_SLAB_1K,
	KIND_SLAB_4K,
	KIND_SLAB_32K,
	KIND_RUN,
	KIND_LARGE,
	KIND_CONTIG, /* of the contiguous reserve, and handed out */
	KIND_OTHER, /* being given back, or in motion */
	KIND_DIRTY, /* free, and may be resident */
	KIND_CLEAN, /* free, and not resident */
	NR_KINDS,
};
extern const char *const kind_names[NR_KINDS];
void page_kinds(const struct block_copy *copy, uint8_t kind[PAGEBLOCK_PAGES]);

struct block_picture {
	struct block_mark mark;
	uint16_t nr[NR_KINDS]; /* pages */
};

struct block_detail {
	size_t block; /* its index */
	uint8_t kind[PAGEBLOCK_PAGES];
};

struct picture {
	struct heap_report report;
	struct procinfo process;
	bool has_process; /* a live one: RSS is known */
	bool has_map;	  /* blocks were taken */
	struct block_picture *block; /* by address */
	size_t nr_blocks;
	struct block_detail *detail;
	size_t nr_details;
	size_t nr_pages[NR_KINDS];
	size_t nr_doubts;
};
/* The blocks of the heap. False when there is no memory. */
bool picture_take(struct picture *p, struct heap *h);
void picture_free(struct picture *p);

/* --- samples ------------------------------------------------------------------------------------- */

enum curve { CURVE_RSS, CURVE_LIVE, CURVE_CACHED, CURVE_DIRTY, NR_CURVES };
struct point {
	double at; /* seconds */
	double bytes[NR_CURVES];
};
/* When it is full every other point goes, and from then on every other sample. */
struct series {
	struct point point[MAX_POINTS];
	size_t nr, stride, nr_seen; /* stride 0: none yet */
};
void series_add(struct series *s, const struct point *p);

/* --- the page ------------------------------------------------------------------------------------ */

/* Text that may hold anything: as HTML text, or within an attribute's quotes. */
void html_escape(const char *text, FILE *out);
/* "1.5 KiB" */
void html_bytes(double bytes, FILE *out);

void html_map(const struct picture *p, FILE *out);
void html_series(const struct series *s, bool has_rss, FILE *out);
/* source: for people, what was looked at. */
void html_page(const struct picture *p, const struct series *s, const char *source, FILE *out);

#endif
