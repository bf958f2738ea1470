/* SPDX-License-Identifier: MIT */
#include "page/find.h"

#include "page/blocks.h"

/* Of pieces from 64 KiB on a block has few enough to look at them all. */
#define MIN_EXACT_ORDER 4

static unsigned orders_from(const struct buddy *b, enum migratetype type, unsigned fullness, unsigned order)
{
	return b->orders[type][fullness] & ~((1u << order) - 1);
}

struct pageblock *buddy_find(struct buddy *b, enum migratetype type, unsigned order)
{
	unsigned f, fitting;

	for (f = 0; f < NR_FULLNESS; f++) {
		fitting = orders_from(b, type, f, order);
		if (fitting)
			return container_of(b->area[type][f][__builtin_ctz(fitting)].first, struct pageblock, node);
	}
	return NULL;
}

typedef bool block_has(struct buddy *b, struct pageblock *blk, struct search *s);

static bool has_row(struct buddy *b, struct pageblock *blk, struct search *s)
{
	(void)b;
	s->row = pageblock_find_row(blk, s->n);
	return s->row >= 0;
}

static bool has_free_row(struct buddy *b, struct pageblock *blk, struct search *s)
{
	(void)b;
	s->row = pageblock_find_free_row(blk, s->n);
	return s->row >= 0;
}

/* Of this order, which fits. A guess for the small ones: dirty_orders may be too high. */
static bool has_warm_piece(struct buddy *b, struct pageblock *blk, struct search *s)
{
	unsigned order = s->n;
	bool yes = blk->nr_dirty_free >> order && blk->dirty_orders > order;

	if (!yes || order < MIN_EXACT_ORDER)
		return yes;
	yes = pageblock_has_dirty(blk, order);
	block_relist(b, blk, true); /* by dirty_orders: in the lists of purges alone */
	return yes;
}

/* Of those whose largest free page block is of the order at least: fullest first, and of these the least that will do. */
static struct pageblock *find(struct buddy *b, enum migratetype type, unsigned order, block_has *has, struct search *s)
{
	struct hlist_node *node;
	unsigned f, orders;

	for (f = 0; f < NR_FULLNESS; f++)
		for (orders = orders_from(b, type, f, order); orders; orders &= orders - 1)
			for (node = b->area[type][f][__builtin_ctz(orders)].first; node; node = node->next) {
				struct pageblock *blk = container_of(node, struct pageblock, node);

				if (has(b, blk, s))
					return blk;
				if (--s->nr_looks == 0)
					return NULL;
			}
	return NULL;
}

/* A row of 2^(k+1) - 1 pages has 2^k aligned ones in it. */
struct pageblock *buddy_find_row(struct buddy *b, enum migratetype type, struct search *s)
{
	return find(b, type, ilog2(s->n + 1) - 1, has_row, s);
}

struct pageblock *buddy_find_free_row(struct buddy *b, enum migratetype type, struct search *s)
{
	return find(b, type, ilog2(s->n + 1) - 1, has_free_row, s);
}

struct pageblock *buddy_find_warm(struct buddy *b, enum migratetype type, struct search *s)
{
	return find(b, type, s->n, has_warm_piece, s);
}
