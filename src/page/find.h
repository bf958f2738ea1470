/* SPDX-License-Identifier: MIT */
/*
 * Which pageblock of a buddy a request is served from. For the page floor alone, with the buddy's lock held.
 */
#ifndef BSLAB_FIND_H
#define BSLAB_FIND_H

#include "page/buddy.h"

/* The fullest block of the type in which the order fits. */
struct pageblock *buddy_find(struct buddy *b, enum migratetype type, unsigned order);

/* For warm pages: so many of them, or a free page block of an order. */
struct search {
	unsigned n;
	int nr_looks; /* blocks that are looked at, at most; falls */
	int row;      /* out: where the row begins in the block found, -1: none */
};

/*
 * The fullest of the first few blocks of the type that have n warm pages in a row (see pageblock_find_row()); or that have them in a
 * free page block of the order n, which is a guess for the small ones.
 */
struct pageblock *buddy_find_row(struct buddy *b, enum migratetype type, struct search *s);
struct pageblock *buddy_find_warm(struct buddy *b, enum migratetype type, struct search *s);
/* A row of free pages, warm or not. */
struct pageblock *buddy_find_free_row(struct buddy *b, enum migratetype type, struct search *s);

#endif
