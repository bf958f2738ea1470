/* SPDX-License-Identifier: MIT */
/*
 * A pageblock: 2 MiB of pages with one owner and one migratetype (Linux:
 * include/linux/pageblock-flags.h). Its struct stands in its section.
 *
 *   state      owner   who may touch the fields          free pages
 *   ---------  ------  --------------------------------  -------------------------------
 *   ABSENT     NULL    zone lock                         (not committed yet)
 *   FREE       NULL    zone lock                         all; bit set in region->free
 *   BUDDY      buddy   the owner's lock                  nr_free, in lists by order
 *   LARGE      NULL    the large block's owner           none
 *   ISOLATE    NULL    whoever isolated it               none: being given back to the OS
 *   CONTIG     NULL    the reserve's lock                nr_free, in its own lists alone
 *
 * Invariants: nr_free = sum over orders of 2^order * length of that list;
 * nr_dirty_free = number of free pages whose dirty bit is set; bit o of orders is set exactly when head[o] is not 0; a page whose dirty bit
 * is clear reads as zero; a free page block with a page whose dirty bit is set is of an order below dirty_orders; the bit of
 * a page in free is set exactly when it is in such a list; no row of free dirty pages is longer than warm_row.
 */
#ifndef BSLAB_PAGEBLOCK_H
#define BSLAB_PAGEBLOCK_H

#include "base/list.h"
#include "map/map.h"

#define NR_ORDERS (PAGEBLOCK_ORDER + 1)

enum pageblock_state {
	PAGEBLOCK_ABSENT,
	PAGEBLOCK_FREE,
	PAGEBLOCK_BUDDY,
	PAGEBLOCK_LARGE,
	PAGEBLOCK_ISOLATE,
	PAGEBLOCK_DEVICE, /* of a heap in memory that the program brought: heap/device.h */
	PAGEBLOCK_CONTIG, /* of the contiguous reserve: page/contig.h */
};

/*
 * Pages are grouped by how soon they come back, for a user's pointer cannot move
 * (Linux: enum migratetype, mm/page_alloc.c).
 */
enum migratetype {
	MIGRATE_UNMOVABLE,   /* slabs of many objects: one survivor pins the page */
	MIGRATE_RECLAIMABLE, /* slabs of few objects */
	MIGRATE_MOVABLE,     /* page runs: freed whole */
	MIGRATE_HIGHATOMIC,  /* the resident reserve */
	NR_MIGRATETYPES,
	MIGRATE_ISOLATE = NR_MIGRATETYPES, /* on no list: being given back */
};

struct buddy;
struct region;

struct pageblock {
	struct hlist_node node;	      /* in owner->area[migratetype][fullness][max order] */
	_Atomic(struct buddy *) owner; /* read without lock; changes only under the old owner's lock */
	struct region *region;	      /* constant once the block is present */
	struct hlist_node purge_node; /* in owner->purgeable[listed_purge - 1][fullness] */
	uint32_t number;	      /* address >> PAGEBLOCK_SHIFT, constant */
	uint8_t state;		      /* enum pageblock_state */
	uint8_t migratetype;
	uint8_t listed_fullness, listed_order; /* the list that node is on */
	uint16_t nr_free;
	uint16_t nr_dirty_free; /* free pages that may be non-zero */
	uint16_t orders;
	uint8_t dirty_orders; /* of free page blocks with dirty pages: all are of orders below; may be too high, pageblock_has_dirty() */
	uint8_t listed_purge; /* the list that purge_node is on, 0: none */
	uint16_t nr_splits, nr_merges; /* since the owner last added them to its own */
	uint16_t nr_unused; /* of the dirty pages: made resident by huge_populate(), and nobody had them yet */
	uint8_t is_huge; /* one huge page, as far as bslab knows: made so, and nothing of it was given back since */
	uint8_t users; /* bit t: pages of it went to migratetype t since it was last wholly free */
	uint16_t head[NR_ORDERS]; /* index of the first free page block + 1, 0: none */
	uint8_t is_isolated; /* on no list: no page of it is handed out while its objects are moved away; page/compactable.h */
	uint8_t was_large; /* of a large block, or a run of all of it, since it was purged last: its user may have given advice (madvise) of his own */
	uint16_t compact_round; /* in which it was put back; the compactor's, src/handle/compact.c */
	_Atomic uint32_t object_bytes; /* of objects with handles; relaxed */
	uint16_t warm_row; /* may be too high: pageblock_find_row() */
	uint32_t refused_purge; /* the number of the last purge that was refused a piece of it, 0: none; page/purge.c */
	uint64_t dirty[PAGEBLOCK_PAGES / 64];
	uint64_t free[PAGEBLOCK_PAGES / 64];
};

/* What one entry of the map's root leads to. */
struct section {
	_Atomic page_desc_t desc[SECTION_PAGES];
	struct pageblock block[SECTION_BLOCKS];
};

/*
 * The descriptor of the head of a free page block links it to others of its order in its pageblock, by index + 1, 0 for
 * none:
 *
 *     desc_number = order | prev << 4 | next << 14
 */
#define LINK_BITS 10
#define LINK_MASK ((1u << LINK_BITS) - 1)
#define ORDER_BITS 4
#define ORDER_MASK ((1u << ORDER_BITS) - 1)

struct free_links {
	unsigned order, prev, next;
};

/* False when the page is not the head of a free page block. */
static inline bool desc_links(page_desc_t d, struct free_links *l)
{
	uint64_t n = desc_number(d);

	if (desc_class(d) || desc_type(d) != PAGE_FREE)
		return false;
	l->order = n & ORDER_MASK;
	l->prev = (n >> ORDER_BITS) & LINK_MASK;
	l->next = (n >> (ORDER_BITS + LINK_BITS)) & LINK_MASK;
	return true;
}

static inline uintptr_t pageblock_address(const struct pageblock *b)
{
	return (uintptr_t)b->number << PAGEBLOCK_SHIFT;
}

/* All pages free, all in one block of the highest order. Writes the descriptor of page 0. */
void pageblock_init_free(struct pageblock *b);
/* Leaves the buddy's world: clears the descriptor of page 0. All pages must be free. */
void pageblock_fini_free(struct pageblock *b);

/*
 * Of the first few free page blocks of each order from this one on, one of the smallest whose first nr_pages are warm, half of
 * them at least: its index, or -1. A page that was touched before costs nothing, a fresh one a fault.
 */
int pageblock_find_warm(const struct pageblock *b, unsigned nr_pages, unsigned order);

/*
 * The first of the shortest row of free pages, all dirty, that nr_pages fit in, across free page blocks: or -1. Sets warm_row to
 * what it finds.
 */
int pageblock_find_row(struct pageblock *b, unsigned nr_pages);
/* The same of free pages, dirty or not. */
int pageblock_find_free_row(const struct pageblock *b, unsigned nr_pages);
/* Takes free pages, of such a row, say: how many of them were dirty. The rest of the free page blocks goes back to the lists. */
unsigned pageblock_take_row(struct pageblock *b, unsigned index, unsigned nr_pages);
/*
 * Takes nr_pages aligned to 2^align_order pages, warm ones if it finds them: the index of the first, or -1. The rest of
 * the block that was split goes back to the lists. *nr_dirty is how many of the pages may be non-zero; all are marked dirty.
 */
int pageblock_alloc(struct pageblock *b, unsigned nr_pages, unsigned align_order, unsigned *nr_dirty);
/* Takes a free page block that the walk below found. */
void pageblock_isolate(struct pageblock *b, unsigned index, unsigned order);
/* Gives pages back, merging with free neighbours. Clears their descriptors. */
void pageblock_free(struct pageblock *b, unsigned index, unsigned nr_pages);
/* Takes the pages right after a run, if all are free. */
bool pageblock_extend(struct pageblock *b, unsigned index, unsigned nr_pages, unsigned *nr_dirty);

static inline unsigned pageblock_max_order(const struct pageblock *b)
{
	return 31 - (unsigned)__builtin_clz(b->orders);
}

unsigned pageblock_nr_dirty(const struct pageblock *b, unsigned index, unsigned nr_pages);
void pageblock_set_dirty(struct pageblock *b, unsigned index, unsigned nr_pages, bool dirty);

/* Walks the free page blocks of an order: 0 ends. Pass b->head[order] first. */
unsigned pageblock_next_free(const struct pageblock *b, unsigned link);
/* Whether a free page block of at least min_order has dirty pages. Lowers dirty_orders to what it finds. */
bool pageblock_has_dirty(struct pageblock *b, unsigned min_order);
/* Checks the invariants above; for tests and debug builds. */
bool pageblock_is_valid(const struct pageblock *b);

#endif
