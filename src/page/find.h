/* SPDX-License-Identifier: MIT */
/*
 * Which pageblock of a buddy a request is served from. For the page floor alone, with the buddy's lock held.
 */
#ifndef BSLAB_FIND_H
#define BSLAB_FIND_H

#include "page/buddy.h"

/* The fullest block of the type in which the order fits. */
struct pageblock *buddy_find(struct buddy *b, enum migratetype type, unsigned order);

/*
 * The fullest of the first few blocks of the type that have nr_pages warm ones: in a row (see pageblock_find_row()); or in a
 * free page block of the order, which is a guess for the small ones. *nr_looks: how many blocks are looked at, at most.
 */
struct pageblock *buddy_find_row(struct buddy *b, enum migratetype type, unsigned nr_pages, int *nr_looks);
struct pageblock *buddy_find_warm(struct buddy *b, enum migratetype type, unsigned order, int *nr_looks);

#endif
