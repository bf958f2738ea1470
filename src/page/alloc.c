/* SPDX-License-Identifier: MIT */
/* Runs of pages are handed out: the theory is at the head of buddy.h. */
#include "base/probe.h"
#include "map/map.h"
#include "os/bug.h"
#include "os/nodes.h"
#include "os/options.h"
#include "os/os.h"
#include "os/thread.h"
#include "page/blocks.h"
#include "page/buddies.h"
#include "page/compactable.h"
#include "page/find.h"
#include "page/huge.h"
#include "page/purge.h"
#include "page/zonelist.h"

/* How far a search for warm pages goes before fresh ones are taken: so many blocks for rows, and for pieces. */
#define MAX_WARM_SEARCH 16
/* And before a request is refused. */
#define MAX_STEAL_SEARCH 1024
/* From so many pages on a run may begin anywhere: smaller ones would cut up the pieces that slabs want. */
#define MIN_ROW_PAGES 17
/* Buddies of threads that are looked at for warm pages, one's own among them, and the dirty pages that they have to have. */
#define MAX_OTHERS 8
#define MIN_SPARE_PAGES 32

/* Linux: fallbacks[MIGRATE_TYPES][MIGRATE_PCPTYPES - 1] */
static const enum migratetype fallbacks[MIGRATE_HIGHATOMIC][2] = {
    [MIGRATE_UNMOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE},
    [MIGRATE_RECLAIMABLE] = {MIGRATE_UNMOVABLE, MIGRATE_MOVABLE},
    [MIGRATE_MOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE},
};

struct request {
	unsigned nr_pages, align_order;
	enum migratetype type;
	unsigned flags;
	bool *zeroed;
	size_t *nr_fresh; /* out: pages that will fault */
	unsigned *nr_got; /* NULL: all of them; else what one piece has, from 2^align_order on: out, how many that are */
};

static unsigned at_least(const struct request *q)
{
	return q->nr_got ? 1u << q->align_order : q->nr_pages;
}

static unsigned request_order(const struct request *q)
{
	unsigned order = order_of(at_least(q));

	return order > q->align_order ? order : q->align_order;
}

/* Wherever it begins; not within a page of the machine, where those are larger. */
static bool takes_rows(const struct request *q)
{
	return !q->align_order && !q->nr_got && q->nr_pages >= MIN_ROW_PAGES && os_page_size() == BSLAB_PAGE_SIZE;
}

/* Of a block in which the request's order fits: what the largest piece has, of the warm ones if one fits. */
static unsigned nr_to_take(const struct pageblock *blk, const struct request *q)
{
	unsigned max = pageblock_max_order(blk), order, n;

	if (!q->nr_got)
		return q->nr_pages;
	for (order = max + 1; order-- > q->align_order;) {
		n = (unsigned)min_size(q->nr_pages, 1u << order);
		if (pageblock_find_warm(blk, n, order) >= 0)
			return *q->nr_got = n;
	}
	return *q->nr_got = (unsigned)min_size(q->nr_pages, 1u << max);
}

/* Where addresses are tight (5 in region.h) a row of clean pages will do as well: aligned runs leave gaps between them. */
static bool takes_free_rows(const struct request *q)
{
	return takes_rows(q) && unlikely(regions_are_tight());
}

static int find_row(struct pageblock *blk, const struct request *q)
{
	int row = takes_rows(q) ? pageblock_find_row(blk, q->nr_pages) : -1;

	return row < 0 && takes_free_rows(q) ? pageblock_find_free_row(blk, q->nr_pages) : row;
}

/* row: where one was found for the request, or -1. */
static void *block_take(struct buddy *b, struct pageblock *blk, const struct request *q, int row)
{
	int index = row < 0 ? find_row(blk, q) : row;
	unsigned nr_pages = q->nr_pages, nr_dirty;

	if (index >= 0) {
		nr_dirty = pageblock_take_row(blk, (unsigned)index, nr_pages);
	} else {
		nr_pages = nr_to_take(blk, q);
		index = pageblock_alloc(blk, nr_pages, q->align_order, &nr_dirty);
	}
	bslab_assert(index >= 0 && lock_is_held(&b->lock) && blk->state == PAGEBLOCK_BUDDY);
	bslab_assert(pageblock_is_valid(blk));
	block_relist(b, blk, true);
	buddy_count_free(b, -(int)nr_pages, -(int)nr_dirty);
	buddy_note_peak(b);
	b->count.nr_allocs++;
	b->count.nr_alloc_pages += nr_pages;
	b->count.nr_fresh_pages += nr_pages - nr_dirty;
	block_count_pieces(b, blk);
	blk->users |= (uint8_t)(1u << q->type);
	blk->was_large |= nr_pages == PAGEBLOCK_PAGES;
	*q->nr_fresh = nr_pages - nr_dirty;
	b->nr_recycled += nr_dirty - block_use(blk, nr_dirty);
	*q->zeroed = nr_dirty == 0;
	return (void *)(pageblock_address(blk) + ((size_t)index << PAGE_SHIFT));
}

static void block_claim(struct buddy *b, struct pageblock *blk, enum migratetype type)
{
	PROBE(pageblock_claim, pageblock_address(blk), blk->migratetype, type);
	block_unlist(b, blk);
	blk->migratetype = (uint8_t)type;
	block_list(b, blk);
	b->count.nr_claims++;
}

static void count_steal(struct buddy *b, const struct pageblock *blk, enum migratetype type)
{
	PROBE(pageblock_steal, pageblock_address(blk), blk->migratetype, type);
	b->count.nr_steals++;
}

/* Steps a and b of the theory at the head of buddy.h. */
static struct pageblock *fallback_find(struct buddy *b, enum migratetype type, unsigned order)
{
	bool small = b->nr_blocks < MIN_GROUPED_BLOCKS;
	unsigned fitting = small || order > PAGEBLOCK_ORDER - 1 ? order : PAGEBLOCK_ORDER - 1;
	struct pageblock *blk;
	unsigned i;

	for (i = 0; i < 2; i++) {
		blk = buddy_find(b, fallbacks[type][i], fitting);
		if (!blk || (!small && blk->nr_free < PAGEBLOCK_PAGES / 2))
			continue;
		if (small)
			count_steal(b, blk, type);
		else
			block_claim(b, blk, type);
		return blk;
	}
	return NULL;
}

/* Nothing else is left: what is free beside each other will do, aligned or not. */
static struct pageblock *steal_find(struct buddy *b, const struct request *q, int *row)
{
	struct search s = {q->nr_pages, MAX_STEAL_SEARCH, -1};
	struct pageblock *blk = NULL;
	unsigned t;

	for (t = 0; t < MIGRATE_HIGHATOMIC && !blk; t++)
		blk = buddy_find(b, t ? fallbacks[q->type][t - 1] : q->type, request_order(q));
	for (t = 0; takes_rows(q) && t < MIGRATE_HIGHATOMIC && !blk && s.nr_looks; t++)
		blk = buddy_find_free_row(b, t ? fallbacks[q->type][t - 1] : q->type, &s);
	*row = s.row;
	if (blk)
		count_steal(b, blk, q->type);
	return blk;
}

/* --- allocation ------------------------------------------------------------ */

typedef struct pageblock *find_in_type(struct buddy *b, enum migratetype type, struct search *s);

/* In a block of the type, or in any block while the buddy is small. */
static struct pageblock *find_in_types(struct buddy *b, enum migratetype type, find_in_type *find, unsigned n, int *row)
{
	struct search s = {n, MAX_WARM_SEARCH, -1};
	struct pageblock *blk = find(b, type, &s);
	unsigned t;

	if (b->nr_blocks < MIN_GROUPED_BLOCKS)
		for (t = 0; t < 2 && !blk && s.nr_looks; t++)
			blk = find(b, fallbacks[type][t], &s);
	*row = s.row;
	return blk;
}

static struct pageblock *find_warm(struct buddy *b, const struct request *q, int *row)
{
	struct pageblock *blk = NULL;

	*row = -1;
	if (b->nr_dirty_free < at_least(q))
		return NULL;
	if (takes_rows(q))
		blk = find_in_types(b, q->type, buddy_find_row, q->nr_pages, row);
	return blk ? blk : find_in_types(b, q->type, buddy_find_warm, request_order(q), row);
}

/* Without a guess. */
static bool has_warm(struct pageblock *blk, const struct request *q, int row)
{
	return row >= 0 || pageblock_find_warm(blk, at_least(q), request_order(q)) >= 0;
}

static bool zone_is_warmer(const struct buddy *b)
{
	return !b->is_zones && zone_has_dirty_in(b->zone);
}

/*
 * Not for a whole block, which no thread's buddy has free, nor before the zone for pages in advance, which it has together.
 */
static bool asks_others(const struct buddy *own, const struct request *q)
{
	bool needs_block = takes_rows(q) ? q->nr_pages == PAGEBLOCK_PAGES : request_order(q) == PAGEBLOCK_ORDER;

	return !own->is_zones && !(q->flags & PAGES_OWN) && !needs_block && READ_ONCE(threads.nr_buddies) > 1 &&
	       !(q->nr_got && zone_is_warmer(own));
}

/* Of threads that get their blocks from the same node; where there are several, one without blocks does not know its own yet. */
static bool may_give(const struct buddy *b, const struct buddy *to, const struct request *q)
{
	return b != to && READ_ONCE(b->nr_dirty_free) >= max_size(MIN_SPARE_PAGES, at_least(q)) &&
	       READ_ONCE(b->zone) == READ_ONCE(to->zone) && (nodes_nr() == 1 || READ_ONCE(to->nr_blocks));
}

/* See 4 in buddy.h: a lock that is nearly always free, instead of a fault, or of cutting up a whole block. */
static void *alloc_warm_of_others(struct buddy *own, const struct request *q)
{
	struct buddy *first = READ_ONCE(own->next_other), *b;
	unsigned nr_looks = MAX_OTHERS;
	struct pageblock *blk;
	void *p = NULL;
	int row;

	b = first = first ? first : buddy_first();
	do {
		if (buddy_is_apart(b))
			continue;
		nr_looks--;
		if (!may_give(b, own, q))
			continue;
		lock_take(&b->lock, RANK_BUDDY);
		blk = find_warm(b, q, &row);
		if (blk && has_warm(blk, q, row))
			p = block_take(b, blk, q, row);
		lock_drop(&b->lock, RANK_BUDDY);
	} while (!p && nr_looks && (b = buddy_behind(b)) != first);
	WRITE_ONCE(own->next_other, p ? b : buddy_behind(b));
	return p;
}

static void *alloc_own(struct buddy *b, const struct request *q)
{
	unsigned order = request_order(q);
	struct pageblock *blk;
	void *p = NULL;
	int row;

	lock_take(&b->lock, RANK_BUDDY);
	blk = find_warm(b, q, &row);
	if (!blk && asks_others(b, q)) {
		lock_drop(&b->lock, RANK_BUDDY);
		p = alloc_warm_of_others(b, q);
		if (p)
			return p;
		lock_take(&b->lock, RANK_BUDDY);
	}
	if (!blk && !zone_is_warmer(b)) {
		blk = buddy_find(b, q->type, order);
		if (!blk)
			blk = fallback_find(b, q->type, order);
		if (!blk && takes_free_rows(q))
			blk = find_in_types(b, q->type, buddy_find_free_row, q->nr_pages, &row);
	}
	if (blk)
		p = block_take(b, blk, q, row);
	lock_drop(&b->lock, RANK_BUDDY);
	return p;
}

static void *alloc_new_block(struct buddy *b, const struct request *q)
{
	size_t nr_dirty;
	struct pageblock *blk = b->is_zones ? zonelist_take(b->zone, q->flags, 1, PAGEBLOCK_BUDDY, &nr_dirty) :
					      zone_alloc(1, PAGEBLOCK_BUDDY, &nr_dirty);
	void *p;

	if (!blk)
		return NULL;
	if (!nr_dirty && !b->is_zones)
		huge_populate(b, blk, q->type);
	lock_take(&b->lock, RANK_BUDDY);
	WRITE_ONCE(b->zone, (uint8_t)blk->region->zone);
	block_enter(b, blk, q->type);
	p = block_take(b, blk, q, -1);
	*q->zeroed |= b->is_zones && !nr_dirty; /* what zonelist_take() made resident counts as dirty, but nobody had it */
	lock_drop(&b->lock, RANK_BUDDY);
	return p;
}

static void *alloc_steal(struct buddy *b, const struct request *q)
{
	struct pageblock *blk;
	void *p = NULL;
	int row;

	lock_take(&b->lock, RANK_BUDDY);
	blk = steal_find(b, q, &row);
	if (blk)
		p = block_take(b, blk, q, row);
	lock_drop(&b->lock, RANK_BUDDY);
	return p;
}

static void *alloc_from_anyone(const struct request *q)
{
	struct buddy *b;
	void *p = NULL;

	lock_take(&threads.lock, RANK_THREAD);
	for (b = threads.all; b && !p; b = b->next)
		p = buddy_is_apart(b) ? NULL : alloc_steal(b, q);
	lock_drop(&threads.lock, RANK_THREAD);
	return p;
}

static void *alloc_reserve(const struct request *q)
{
	struct pageblock *blk;
	void *p = NULL;

	lock_take(&highatomic.lock, RANK_BUDDY);
	blk = buddy_find(&highatomic, MIGRATE_HIGHATOMIC, request_order(q));
	if (blk)
		p = block_take(&highatomic, blk, q, -1);
	lock_drop(&highatomic.lock, RANK_BUDDY);
	return p;
}

/* --- explicit requests ------------------------------------------------------- */

/* Set once, under the thread lock. */
static struct buddy *zone_buddies[NR_ZONES];

static struct buddy *zone_buddy(unsigned zone)
{
	struct buddy *b = __atomic_load_n(&zone_buddies[zone], __ATOMIC_ACQUIRE);

	if (likely(b != NULL))
		return b;
	lock_take(&threads.lock, RANK_THREAD);
	b = zone_buddies[zone];
	if (!b) {
		b = buddy_create(true, zone);
		__atomic_store_n(&zone_buddies[zone], b, __ATOMIC_RELEASE);
	}
	lock_drop(&threads.lock, RANK_THREAD);
	return b;
}

/* What comes of a block that is in use already is looked at anew. */
static void *hold_or_free(unsigned zone, const struct request *q, void *p)
{
	unsigned nr_pages = q->nr_got ? *q->nr_got : q->nr_pages;

	if (!p || zonelist_hold(zone, q->flags, p, (size_t)nr_pages << PAGE_SHIFT))
		return p;
	pages_free(p, nr_pages);
	return NULL;
}

static void *alloc_in_zone(unsigned zone, const struct request *q)
{
	struct buddy *b = zone_buddy(zone);
	void *p;

	if (!b)
		return NULL;
	p = hold_or_free(zone, q, alloc_own(b, q));
	if (!p)
		p = alloc_new_block(b, q);
	return p ? p : hold_or_free(zone, q, alloc_steal(b, q));
}

static void *alloc_explicit(const struct request *q)
{
	struct zonelist list;
	void *p = NULL;
	unsigned i;

	zonelist_make(q->flags, &list);
	for (i = 0; i < list.nr && !p; i++)
		p = alloc_in_zone(list.zone[i], q);
	zone_note_fresh(*q->nr_fresh);
	return p;
}

bool pages_are_explicit(const void *addr)
{
	return atomic_load_explicit(&map_pageblock((uintptr_t)addr)->owner, memory_order_relaxed)->is_zones;
}

/* --- of any kind --------------------------------------------------------------- */

static void *alloc_from_threads(const struct request *q)
{
	struct buddy *b = buddy_self();
	void *p = NULL;

	if (b)
		p = alloc_own(b, q);
	if (!p && q->flags & PAGES_OWN)
		return NULL;
	if (b && !p) {
		PROBE(pgalloc_slow, q->nr_pages, q->type, q->flags);
		if (buddy_adopt_orphan(b))
			p = alloc_own(b, q);
		if (!p)
			p = alloc_new_block(b, q);
		if (!p)
			p = alloc_steal(b, q);
	}
	if (!p)
		p = alloc_from_anyone(q);
	if (!p && q->flags & PAGES_HIGHATOMIC)
		p = alloc_reserve(q);
	zone_note_fresh(*q->nr_fresh);
	return p;
}

static void *alloc(const struct request *q)
{
	bslab_assert(q->nr_pages > 0 && q->nr_pages <= PAGEBLOCK_PAGES);
	pages_tick();
	return unlikely(q->flags & PAGES_EXPLICIT) ? alloc_explicit(q) : alloc_from_threads(q);
}

static enum migratetype grouped(enum migratetype type)
{
	return likely(bslab_options.grouping) ? type : MIGRATE_UNMOVABLE;
}

void *pages_alloc(unsigned nr_pages, unsigned align_order, enum migratetype type, unsigned flags, bool *zeroed)
{
	size_t nr_fresh = 0;

	return alloc(&(struct request){nr_pages, align_order, grouped(type), flags, zeroed, &nr_fresh, NULL});
}

void *pages_alloc_some(unsigned *nr_pages, unsigned order, enum migratetype type, unsigned flags, bool *zeroed)
{
	size_t nr_fresh = 0;

	return alloc(&(struct request){*nr_pages, order, grouped(type), flags, zeroed, &nr_fresh, nr_pages});
}

/* --- pages that may be moved: compactable.h ------------------------------------- */

static _Atomic bool compactable_is_listed; /* set under the thread lock */

static void compactable_attach(void)
{
	lock_take(&threads.lock, RANK_THREAD);
	if (!compactable_is_listed)
		buddy_add(&compactable);
	compactable_is_listed = true;
	lock_drop(&threads.lock, RANK_THREAD);
}

static void *alloc_packed(const struct request *q)
{
	struct pageblock *blk;
	void *p = NULL;

	lock_take(&compactable.lock, RANK_BUDDY);
	blk = buddy_find(&compactable, q->type, request_order(q));
	if (blk)
		p = block_take(&compactable, blk, q, -1);
	lock_drop(&compactable.lock, RANK_BUDDY);
	return p;
}

void *pages_alloc_compactable(unsigned nr_pages, bool may_grow)
{
	size_t nr_fresh = 0;
	bool zeroed;
	struct request q = {nr_pages, 0, MIGRATE_MOVABLE, 0, &zeroed, &nr_fresh, NULL};
	void *p;

	if (unlikely(!compactable_is_listed))
		compactable_attach();
	p = alloc_packed(&q);
	if (!p && may_grow) {
		pages_tick();
		p = alloc_new_block(&compactable, &q);
	}
	zone_note_fresh(nr_fresh);
	return p;
}
