/* SPDX-License-Identifier: MIT */
#include "page/buddy.h"

#include <limits.h>

#include "boot/boot.h"
#include "map/map.h"
#include "os/bug.h"
#include "os/os.h"
#include "os/thread.h"
#include "page/zone.h"

/* Below this many blocks a buddy does not keep migratetypes apart: 16 MiB. */
#define MIN_GROUPED_BLOCKS 8
#define BUDDIES_PER_CPU 4
#define MIN_BUDDIES 8
/* Free page blocks isolated together for one round of purging. */
#define PURGE_BATCH 32
/*
 * 64 KiB, the largest page of a machine: below that a system call costs more than the pages are worth, unless far too
 * many are dirty, or they are asked for.
 */
#define MIN_AUTO_PURGE_ORDER 4
/* Rounds of one purge by watermark: what a single free may cost. */
#define MAX_AUTO_BATCHES 16
/* Page allocations and frees between two looks at the clock. */
#define TICK_EVENTS 16

/* Linux: fallbacks[MIGRATE_TYPES][MIGRATE_PCPTYPES - 1] */
static const enum migratetype fallbacks[MIGRATE_HIGHATOMIC][2] = {
    [MIGRATE_UNMOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE},
    [MIGRATE_RECLAIMABLE] = {MIGRATE_UNMOVABLE, MIGRATE_MOVABLE},
    [MIGRATE_MOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE},
};

static struct {
	struct lock lock; /* RANK_THREAD: the lists and nr_users of all buddies */
	struct buddy *all, *orphans, *next_shared;
	unsigned nr_buddies;
} threads;

static struct buddy highatomic; /* owns the reserve */

/* --- lists of one buddy, under its lock ----------------------------------- */

static void block_list(struct buddy *b, struct pageblock *blk)
{
	unsigned order = pageblock_max_order(blk), fullness = blk->nr_free / (PAGEBLOCK_PAGES / 8);

	blk->listed_order = (uint8_t)order;
	blk->listed_fullness = (uint8_t)fullness;
	hlist_add(&b->area[blk->migratetype][fullness][order], &blk->node);
	b->orders[blk->migratetype][fullness] |= (uint16_t)(1u << order);
}

static void block_unlist(struct buddy *b, struct pageblock *blk)
{
	unsigned type = blk->migratetype, fullness = blk->listed_fullness, order = blk->listed_order;

	hlist_del(&blk->node);
	if (!b->area[type][fullness][order].first)
		b->orders[type][fullness] &= (uint16_t) ~(1u << order);
}

/* Call after free pages changed; was_listed: it had free pages before. */
static void block_relist(struct buddy *b, struct pageblock *blk, bool was_listed)
{
	if (was_listed) {
		if (blk->nr_free && blk->listed_order == pageblock_max_order(blk) &&
		    blk->listed_fullness == blk->nr_free / (PAGEBLOCK_PAGES / 8))
			return;
		block_unlist(b, blk);
	}
	if (blk->nr_free)
		block_list(b, blk);
}

/* The fullest block of the type in which the order fits. */
static struct pageblock *block_find(struct buddy *b, enum migratetype type, unsigned order)
{
	unsigned f;

	for (f = 0; f < NR_FULLNESS; f++) {
		unsigned fitting = b->orders[type][f] & ~((1u << order) - 1);

		if (fitting)
			return container_of(b->area[type][f][__builtin_ctz(fitting)].first, struct pageblock, node);
	}
	return NULL;
}

/* How far a search for warm pages goes before fresh ones are taken. */
#define MAX_WARM_SEARCH 16

/* A block of the type in which the order fits and some free pages are dirty; the fullest of those looked at. */
static struct pageblock *block_find_warm(struct buddy *b, enum migratetype type, unsigned order, int *nr_looks)
{
	unsigned f, orders;
	struct hlist_node *n;

	for (f = 0; f < NR_FULLNESS; f++)
		for (orders = b->orders[type][f] & ~((1u << order) - 1); orders; orders &= orders - 1)
			for (n = b->area[type][f][__builtin_ctz(orders)].first; n; n = n->next) {
				struct pageblock *blk = container_of(n, struct pageblock, node);

				if (blk->nr_dirty_free >> order)
					return blk;
				if (--*nr_looks == 0)
					return NULL;
			}
	return NULL;
}

static void block_set_owner(struct pageblock *blk, struct buddy *b)
{
	atomic_store_explicit(&blk->owner, b, memory_order_release);
}

static void block_enter(struct buddy *b, struct pageblock *blk, enum migratetype type)
{
	pageblock_init_free(blk);
	blk->migratetype = (uint8_t)type;
	block_set_owner(blk, b);
	block_list(b, blk);
	b->nr_blocks++;
	WRITE_ONCE(b->nr_free, b->nr_free + blk->nr_free);
	b->nr_dirty_free += blk->nr_dirty_free;
	b->count.nr_blocks_in++;
}

static void block_leave(struct buddy *b, struct pageblock *blk)
{
	block_unlist(b, blk);
	b->nr_blocks--;
	WRITE_ONCE(b->nr_free, b->nr_free - blk->nr_free);
	b->nr_dirty_free -= blk->nr_dirty_free;
	pageblock_fini_free(blk);
	block_set_owner(blk, NULL);
	b->count.nr_blocks_out++;
}

struct request {
	unsigned nr_pages, align_order;
	enum migratetype type;
	unsigned flags;
	bool *zeroed;
	size_t *nr_fresh; /* out: pages that will fault */
};

static unsigned request_order(const struct request *q)
{
	unsigned order = order_of(q->nr_pages);

	return order > q->align_order ? order : q->align_order;
}

static void *block_take(struct buddy *b, struct pageblock *blk, const struct request *q)
{
	unsigned nr_dirty;
	int index = pageblock_alloc(blk, q->nr_pages, q->align_order, &nr_dirty);

	bslab_assert(index >= 0 && lock_is_held(&b->lock) && blk->state == PAGEBLOCK_BUDDY);
	bslab_assert(pageblock_is_valid(blk));
	block_relist(b, blk, true);
	WRITE_ONCE(b->nr_free, b->nr_free - q->nr_pages);
	b->nr_dirty_free -= nr_dirty;
	b->count.nr_allocs++;
	*q->nr_fresh = q->nr_pages - nr_dirty;
	b->nr_recycled += nr_dirty;
	*q->zeroed = nr_dirty == 0;
	return (void *)(pageblock_address(blk) + ((size_t)index << PAGE_SHIFT));
}

static void block_claim(struct buddy *b, struct pageblock *blk, enum migratetype type)
{
	block_unlist(b, blk);
	blk->migratetype = (uint8_t)type;
	block_list(b, blk);
	b->count.nr_claims++;
}

/* Steps a and b of the theory at the head of buddy.h. */
static struct pageblock *fallback_find(struct buddy *b, enum migratetype type, unsigned order)
{
	bool small = b->nr_blocks < MIN_GROUPED_BLOCKS;
	unsigned fitting = small || order > PAGEBLOCK_ORDER - 1 ? order : PAGEBLOCK_ORDER - 1;
	struct pageblock *blk;
	unsigned i;

	for (i = 0; i < 2; i++) {
		blk = block_find(b, fallbacks[type][i], fitting);
		if (!blk || (!small && blk->nr_free < PAGEBLOCK_PAGES / 2))
			continue;
		if (small)
			b->count.nr_steals++;
		else
			block_claim(b, blk, type);
		return blk;
	}
	return NULL;
}

static struct pageblock *steal_find(struct buddy *b, enum migratetype type, unsigned order)
{
	struct pageblock *blk = NULL;
	unsigned t;

	for (t = 0; t < MIGRATE_HIGHATOMIC && !blk; t++)
		blk = block_find(b, t ? fallbacks[type][t - 1] : type, order);
	b->count.nr_steals += blk != NULL;
	return blk;
}

/* --- which buddy ----------------------------------------------------------- */

static unsigned max_buddies(void)
{
	static unsigned max;

	if (!max) {
		unsigned n = os_nr_cpus_allowed() * BUDDIES_PER_CPU;

		max = n < MIN_BUDDIES ? MIN_BUDDIES : n;
	}
	return max;
}

static struct buddy *buddy_create(void)
{
	struct buddy *b = boot_alloc(sizeof *b, 64);

	if (b) {
		b->purge_order = NR_ORDERS;
		b->next = threads.all;
		__atomic_store_n(&threads.all, b, __ATOMIC_RELEASE); /* read without the lock by reports and purges */
		threads.nr_buddies++;
	}
	return b;
}

static struct buddy *orphan_pop(void)
{
	struct buddy *b = threads.orphans;

	if (b) {
		WRITE_ONCE(threads.orphans, b->next_orphan);
	}
	return b;
}

static struct buddy *buddy_share(void)
{
	struct buddy *b = threads.next_shared ? threads.next_shared : threads.all;

	if (b)
		threads.next_shared = b->next;
	return b;
}

static struct buddy *buddy_attach(void)
{
	struct buddy *b;

	lock_take(&threads.lock, RANK_THREAD);
	if (thread_state.exit_hooked == THREAD_ENDED) {
		/* The last calls of a thread that nobody will tell us about again: a guest of any buddy. */
		b = threads.all ? threads.all : buddy_create();
		lock_drop(&threads.lock, RANK_THREAD);
		return b;
	}
	b = orphan_pop();
	if (b)
		b->count.nr_adoptions++;
	else if (threads.nr_buddies < max_buddies())
		b = buddy_create();
	if (!b)
		b = buddy_share();
	if (b)
		b->nr_users++;
	lock_drop(&threads.lock, RANK_THREAD);
	thread_state.buddy = b;
	return b;
}

static struct buddy *buddy_self(void)
{
	return likely(thread_state.buddy != NULL) ? thread_state.buddy : buddy_attach();
}

void pages_thread_exit(void)
{
	struct buddy *b = thread_state.buddy;

	if (!b)
		return;
	thread_state.buddy = NULL;
	lock_take(&threads.lock, RANK_THREAD);
	if (--b->nr_users == 0) {
		b->next_orphan = threads.orphans;
		WRITE_ONCE(threads.orphans, b);
	}
	lock_drop(&threads.lock, RANK_THREAD);
}

/* Moves every block of one buddy to another. Both locks and the thread lock are held. */
static void blocks_move(struct buddy *to, struct buddy *from)
{
	unsigned t, f, o;

	for (t = 0; t < NR_MIGRATETYPES; t++)
		for (f = 0; f < NR_FULLNESS; f++)
			for (o = 0; o < NR_ORDERS; o++)
				while (from->area[t][f][o].first) {
					struct pageblock *blk = container_of(from->area[t][f][o].first,
									     struct pageblock, node);

					block_unlist(from, blk);
					block_set_owner(blk, to);
					block_list(to, blk);
					from->nr_blocks--;
					to->nr_blocks++;
				}
	WRITE_ONCE(to->nr_free, to->nr_free + from->nr_free);
	to->nr_dirty_free += from->nr_dirty_free;
	WRITE_ONCE(from->nr_free, 0);
	from->nr_dirty_free = 0;
	to->count.nr_adoptions++;
}

/*
 * Takes over the blocks with free pages of one orphan. Blocks without any stay
 * with it: the first page freed to one of them makes the orphan worth adopting
 * again, so it stays on the list.
 */
static bool adopt_orphan(struct buddy *b)
{
	struct buddy *o;
	bool found = false;

	if (!READ_ONCE(threads.orphans))
		return false;
	lock_take(&threads.lock, RANK_THREAD);
	for (o = threads.orphans; o && !found; o = o->next_orphan) {
		/* A thread that has ended may be the guest of an orphan. */
		if (o == b || !READ_ONCE(o->nr_free))
			continue;
		lock_take(&o->lock, RANK_BUDDY);
		lock_take(&b->lock, RANK_BUDDY_ADOPTER);
		found = o->nr_free != 0;
		blocks_move(b, o);
		lock_drop(&b->lock, RANK_BUDDY_ADOPTER);
		lock_drop(&o->lock, RANK_BUDDY);
	}
	lock_drop(&threads.lock, RANK_THREAD);
	return found;
}

/* Buddies are never removed, so their list is walked without the lock once its head is read. */
#define for_each_buddy(b) for ((b) = __atomic_load_n(&threads.all, __ATOMIC_ACQUIRE); (b); (b) = (b)->next)

static void buddy_balance(struct buddy *b);

void pages_tick(void)
{
	struct buddy *b;
	size_t n = 0;

	if (likely(++thread_state.nr_page_events % TICK_EVENTS) || !zone_window_is_over())
		return;
	for_each_buddy(b) {
		lock_take(&b->lock, RANK_BUDDY);
		n += b->nr_recycled;
		b->nr_recycled = 0;
		b->retry_at = min_size(b->retry_at, 2 * b->nr_dirty_free);
		lock_drop(&b->lock, RANK_BUDDY);
	}
	zone_next_window(n);
	for_each_buddy(b)
		buddy_balance(b);
}

/* --- allocation ------------------------------------------------------------ */

/* Warm pages in a block of the type, or in any block while the buddy is small; NULL where the zone has warmer. */
static struct pageblock *find_warm_first(struct buddy *b, const struct request *q, bool *zone_is_warmer)
{
	unsigned order = request_order(q), t;
	int nr_looks = MAX_WARM_SEARCH;
	struct pageblock *blk = NULL;

	if (b->nr_dirty_free >= q->nr_pages) {
		blk = block_find_warm(b, q->type, order, &nr_looks);
		if (b->nr_blocks < MIN_GROUPED_BLOCKS)
			for (t = 0; t < 2 && !blk && nr_looks; t++)
				blk = block_find_warm(b, fallbacks[q->type][t], order, &nr_looks);
	}
	*zone_is_warmer = !blk && zone_has_dirty();
	return blk;
}

static void *alloc_own(struct buddy *b, const struct request *q)
{
	unsigned order = request_order(q);
	struct pageblock *blk;
	bool zone_is_warmer;
	void *p = NULL;

	lock_take(&b->lock, RANK_BUDDY);
	blk = find_warm_first(b, q, &zone_is_warmer);
	if (zone_is_warmer) {
		lock_drop(&b->lock, RANK_BUDDY);
		return NULL;
	}
	if (!blk)
		blk = block_find(b, q->type, order);
	if (!blk)
		blk = fallback_find(b, q->type, order);
	if (blk)
		p = block_take(b, blk, q);
	lock_drop(&b->lock, RANK_BUDDY);
	return p;
}

static void *alloc_new_block(struct buddy *b, const struct request *q)
{
	size_t nr_dirty;
	struct pageblock *blk = zone_alloc(1, PAGEBLOCK_BUDDY, &nr_dirty);
	void *p;

	if (!blk)
		return NULL;
	lock_take(&b->lock, RANK_BUDDY);
	block_enter(b, blk, q->type);
	p = block_take(b, blk, q);
	lock_drop(&b->lock, RANK_BUDDY);
	return p;
}

static void *alloc_steal(struct buddy *b, const struct request *q)
{
	struct pageblock *blk;
	void *p = NULL;

	lock_take(&b->lock, RANK_BUDDY);
	blk = steal_find(b, q->type, request_order(q));
	if (blk)
		p = block_take(b, blk, q);
	lock_drop(&b->lock, RANK_BUDDY);
	return p;
}

static void *alloc_from_anyone(const struct request *q)
{
	struct buddy *b;
	void *p = NULL;

	lock_take(&threads.lock, RANK_THREAD);
	for (b = threads.all; b && !p; b = b->next)
		p = alloc_steal(b, q);
	lock_drop(&threads.lock, RANK_THREAD);
	return p;
}

static void *alloc_reserve(const struct request *q)
{
	struct pageblock *blk;
	void *p = NULL;

	lock_take(&highatomic.lock, RANK_BUDDY);
	blk = block_find(&highatomic, MIGRATE_HIGHATOMIC, request_order(q));
	if (blk)
		p = block_take(&highatomic, blk, q);
	lock_drop(&highatomic.lock, RANK_BUDDY);
	return p;
}

void *pages_alloc(unsigned nr_pages, unsigned align_order, enum migratetype type, unsigned flags, bool *zeroed)
{
	size_t nr_fresh = 0;
	struct request q = {nr_pages, align_order, type, flags, zeroed, &nr_fresh};
	struct buddy *b = buddy_self();
	void *p = NULL;

	bslab_assert(nr_pages > 0 && nr_pages <= PAGEBLOCK_PAGES);
	if (!(flags & PAGES_NOWAIT))
		pages_tick();
	if (b) {
		p = alloc_own(b, &q);
		if (!p && adopt_orphan(b))
			p = alloc_own(b, &q);
		if (!p && !(flags & PAGES_NOWAIT && !zone_has_dirty()))
			p = alloc_new_block(b, &q);
		if (!p)
			p = alloc_steal(b, &q);
	}
	if (!p)
		p = alloc_from_anyone(&q);
	if (!p && (flags & (PAGES_NOWAIT | PAGES_HIGHATOMIC)))
		p = alloc_reserve(&q);
	zone_note_fresh(nr_fresh);
	return p;
}

/* --- free ------------------------------------------------------------------ */

/* The owner may change until its lock is held: another thread adopts, a block comes and goes. */
static struct buddy *owner_lock(struct pageblock *blk)
{
	for (;;) {
		struct buddy *b = atomic_load_explicit(&blk->owner, memory_order_acquire);

		lock_take(&b->lock, RANK_BUDDY);
		if (likely(atomic_load_explicit(&blk->owner, memory_order_relaxed) == b))
			return b;
		lock_drop(&b->lock, RANK_BUDDY);
	}
}

static unsigned page_index(const void *addr)
{
	return (unsigned)((uintptr_t)addr >> PAGE_SHIFT) % PAGEBLOCK_PAGES;
}

/* True when the whole block came free and has left the buddy. */
static bool free_locked(struct buddy *b, struct pageblock *blk, unsigned index, unsigned nr_pages)
{
	bool was_listed = blk->nr_free != 0;

	WRITE_ONCE(b->nr_free, b->nr_free + nr_pages);
	b->nr_dirty_free -= blk->nr_dirty_free;
	pageblock_free(blk, index, nr_pages);
	bslab_assert(pageblock_is_valid(blk));
	b->nr_dirty_free += blk->nr_dirty_free;
	block_relist(b, blk, was_listed);
	if (blk->nr_free < PAGEBLOCK_PAGES || b == &highatomic)
		return false;
	block_leave(b, blk);
	return true;
}

static size_t buddy_high_pages(const struct buddy *b)
{
	return zone_high_partial_pages(((size_t)b->nr_blocks << PAGEBLOCK_ORDER) - b->nr_free);
}

static void free_pages(void *addr, unsigned nr_pages, bool dirty)
{
	struct pageblock *blk = map_pageblock((uintptr_t)addr);
	struct buddy *b = owner_lock(blk);
	bool over, whole;

	if (!dirty)
		pageblock_set_dirty(blk, page_index(addr), nr_pages, false);
	whole = free_locked(b, blk, page_index(addr), nr_pages);
	over = !b->is_purging && b->nr_dirty_free > buddy_high_pages(b) && b->nr_dirty_free >= b->retry_at;
	b->count.nr_frees++;
	b->count.nr_remote_frees += b != thread_state.buddy;
	lock_drop(&b->lock, RANK_BUDDY);
	if (whole) {
		zone_free(blk, 1);
		zone_balance();
	}
	pages_tick();
	if (unlikely(over))
		buddy_balance(b);
}

void pages_free(void *addr, unsigned nr_pages)
{
	free_pages(addr, nr_pages, true);
}

void pages_free_clean(void *addr, unsigned nr_pages)
{
	free_pages(addr, nr_pages, false);
}

bool pages_extend(void *addr, unsigned nr_pages, unsigned nr_more, bool *zeroed)
{
	struct pageblock *blk = map_pageblock((uintptr_t)addr);
	struct buddy *b = owner_lock(blk);
	unsigned nr_dirty = 0;
	bool ok = blk->nr_free >= nr_more && pageblock_extend(blk, page_index(addr) + nr_pages, nr_more, &nr_dirty);

	if (ok) {
		block_relist(b, blk, true);
		WRITE_ONCE(b->nr_free, b->nr_free - nr_more);
		b->nr_dirty_free -= nr_dirty;
		b->nr_recycled += nr_dirty;
		*zeroed = nr_dirty == 0;
	}
	lock_drop(&b->lock, RANK_BUDDY);
	zone_note_fresh(ok ? nr_more - nr_dirty : 0);
	return ok;
}

/* --- giving pages back ------------------------------------------------------ */

struct isolated {
	struct pageblock *blk;
	unsigned index, order;
};

/* Free page blocks below this order are smaller than a page of the machine. */
static unsigned min_purge_order(void)
{
	return ilog2(os_page_size() >> PAGE_SHIFT);
}

/* Takes the dirty free page blocks from min_order on of one pageblock out of the lists. */
static unsigned isolate_block(struct buddy *b, struct pageblock *blk, struct isolated *out, unsigned min_order)
{
	unsigned n = 0, order, link, next;

	WRITE_ONCE(b->nr_free, b->nr_free - blk->nr_free);
	b->nr_dirty_free -= blk->nr_dirty_free;
	for (order = NR_ORDERS; order-- > min_order;)
		for (link = blk->head[order]; link && n < PURGE_BATCH; link = next) {
			next = pageblock_next_free(blk, link);
			if (!pageblock_nr_dirty(blk, link - 1, 1u << order))
				continue;
			pageblock_isolate(blk, link - 1, order);
			out[n++] = (struct isolated){blk, link - 1, order};
		}
	WRITE_ONCE(b->nr_free, b->nr_free + blk->nr_free);
	b->nr_dirty_free += blk->nr_dirty_free;
	if (n)
		block_relist(b, blk, true);
	return n;
}

static bool has_dirty_order(const struct pageblock *blk, unsigned min_order)
{
	unsigned order, link;

	for (order = NR_ORDERS; blk->nr_dirty_free && order-- > min_order;)
		for (link = blk->head[order]; link; link = pageblock_next_free(blk, link))
			if (pageblock_nr_dirty(blk, link - 1, 1u << order))
				return true;
	return false;
}

/*
 * A block not looked at in this round that has dirty pieces of at least min_order; the emptiest first: their pages come
 * back in the largest pieces.
 */
static struct pageblock *find_dirty_block(struct buddy *b, unsigned min_order)
{
	unsigned f, t, o;
	struct hlist_node *n;

	for (f = NR_FULLNESS; f-- > 0;)
		for (t = 0; t < MIGRATE_HIGHATOMIC; t++)
			for (o = NR_ORDERS; b->orders[t][f] && o-- > min_order;)
				for (n = b->area[t][f][o].first; n; n = n->next) {
					struct pageblock *blk = container_of(n, struct pageblock, node);

					if (blk->purge_round == b->purge_round)
						continue;
					if (has_dirty_order(blk, min_order))
						return blk;
					blk->purge_round = b->purge_round;
				}
	return NULL;
}

/* Purges what was isolated, if `try`, and gives it back to its owner, who may have changed meanwhile. */
static bool purge_isolated(const struct isolated *i, bool try)
{
	uintptr_t start = pageblock_address(i->blk) + ((uintptr_t)i->index << PAGE_SHIFT);
	bool ok = try && os_purge((void *)start, BSLAB_PAGE_SIZE << i->order) == 0, whole;
	struct buddy *b = owner_lock(i->blk);

	if (ok)
		pageblock_set_dirty(i->blk, i->index, 1u << i->order, false);
	whole = free_locked(b, i->blk, i->index, 1u << i->order);
	lock_drop(&b->lock, RANK_BUDDY);
	if (whole)
		zone_free(i->blk, 1);
	return ok;
}

static void purge_ended(struct buddy *b, size_t nr_keep, unsigned min_order, bool ok, bool cut_short)
{
	lock_take(&b->lock, RANK_BUDDY);
	b->is_purging = false;
	b->purge_order = cut_short ? (uint8_t)min_order : NR_ORDERS;
	b->retry_order = (uint8_t)min_order;
	if (!ok) /* locked memory, for one */
		b->retry_at = 2 * b->nr_dirty_free;
	else if (!cut_short && b->nr_dirty_free > nr_keep)
		b->retry_at = b->nr_dirty_free + b->nr_dirty_free / 8;
	else
		b->retry_at = 0;
	lock_drop(&b->lock, RANK_BUDDY);
}

/* Down to nr_keep dirty pages, in pieces of at least min_order. */
static void buddy_purge(struct buddy *b, size_t nr_keep, unsigned min_order, unsigned max_batches)
{
	struct isolated batch[PURGE_BATCH];
	size_t nr_purged = 0;
	unsigned nr_batches, n, i;
	bool ok = true;

	lock_take(&b->lock, RANK_BUDDY);
	b->purge_round++;
	lock_drop(&b->lock, RANK_BUDDY);
	for (nr_batches = 0; ok && nr_batches < max_batches; nr_batches++) {
		struct pageblock *blk;

		lock_take(&b->lock, RANK_BUDDY);
		blk = b->nr_dirty_free > nr_keep ? find_dirty_block(b, min_order) : NULL;
		n = blk ? isolate_block(b, blk, batch, min_order) : 0;
		lock_drop(&b->lock, RANK_BUDDY);
		if (!n)
			break;
		for (i = 0; i < n; i++) {
			ok = purge_isolated(&batch[i], ok);
			nr_purged += ok ? 1u << batch[i].order : 0;
		}
	}
	purge_ended(b, nr_keep, min_order, ok, nr_batches == max_batches);
	__atomic_fetch_add(&b->count.nr_purged_pages, nr_purged, __ATOMIC_RELAXED);
	zone_note_unmapped(nr_purged);
}

/* Where the watermark is passed by far, memory is in pieces, between the last objects of many slabs. */
static unsigned auto_purge_order(size_t nr_dirty, size_t high)
{
	unsigned order = nr_dirty <= 2 * high ? MIN_AUTO_PURGE_ORDER : nr_dirty <= 4 * high ? MIN_AUTO_PURGE_ORDER / 2 : 0;

	return order > min_purge_order() ? order : min_purge_order();
}

/* Purges if there are more dirty pages than the watermark allows. Call with no lock held. */
static void buddy_balance(struct buddy *b)
{
	unsigned order;
	size_t high;
	bool purge;

	lock_take(&b->lock, RANK_BUDDY);
	high = buddy_high_pages(b);
	order = auto_purge_order(b->nr_dirty_free, high);
	if (order > b->purge_order)
		order = b->purge_order;
	purge = !b->is_purging && b->nr_dirty_free > high &&
		(b->nr_dirty_free >= b->retry_at || order < b->retry_order);
	if (purge)
		b->is_purging = true;
	lock_drop(&b->lock, RANK_BUDDY);
	if (purge)
		buddy_purge(b, high / 2, order, MAX_AUTO_BATCHES);
}

size_t pages_purge(void)
{
	uint64_t before = pages_nr_given_back();
	struct buddy *b;

	for_each_buddy(b)
		buddy_purge(b, 0, min_purge_order(), UINT_MAX);
	return (size_t)(pages_nr_given_back() - before);
}

uint64_t pages_nr_given_back(void)
{
	struct buddy *b;
	uint64_t n = 0;

	for_each_buddy(b)
		n += __atomic_load_n(&b->count.nr_purged_pages, __ATOMIC_RELAXED);
	return n;
}

/* --- the reserve ------------------------------------------------------------ */

unsigned pages_reserve_highatomic(unsigned nr_blocks)
{
	unsigned i;

	for (i = 0; i < nr_blocks; i++) {
		size_t nr_dirty;
		struct pageblock *blk = zone_alloc(1, PAGEBLOCK_BUDDY, &nr_dirty);

		if (!blk)
			break;
		if (os_populate((void *)pageblock_address(blk), PAGEBLOCK_SIZE) != 0) {
			zone_free(blk, 1);
			break;
		}
		lock_take(&highatomic.lock, RANK_BUDDY);
		block_enter(&highatomic, blk, MIGRATE_HIGHATOMIC);
		lock_drop(&highatomic.lock, RANK_BUDDY);
	}
	return highatomic.nr_blocks;
}

/* --- reports and fork -------------------------------------------------------- */

static void snapshot_buddy(struct buddy *b, struct pages_info *info)
{
	const uint64_t *from = (const uint64_t *)&b->count;
	uint64_t *to = (uint64_t *)&info->count;
	unsigned t, f, o, order, link;
	struct hlist_node *n;
	size_t i;

	lock_take(&b->lock, RANK_BUDDY);
	info->nr_buddies++;
	info->nr_blocks += b->nr_blocks;
	info->nr_free += b->nr_free;
	info->nr_dirty_free += b->nr_dirty_free;
	for (i = 0; i < sizeof b->count / sizeof *from; i++)
		to[i] += from[i];
	for (t = 0; t < NR_MIGRATETYPES; t++)
		for (f = 0; f < NR_FULLNESS; f++)
			for (o = 0; o < NR_ORDERS; o++)
				for (n = b->area[t][f][o].first; n; n = n->next) {
					struct pageblock *blk = container_of(n, struct pageblock, node);

					info->blocks[t]++;
					for (order = 0; order < NR_ORDERS; order++)
						for (link = blk->head[order]; link;
						     link = pageblock_next_free(blk, link))
							info->free_area[t][order]++;
				}
	lock_drop(&b->lock, RANK_BUDDY);
}

void pages_snapshot(struct pages_info *info)
{
	struct buddy *b;

	*info = (struct pages_info){0};
	for_each_buddy(b)
		snapshot_buddy(b, info);
	if (highatomic.nr_blocks)
		snapshot_buddy(&highatomic, info);
}

void pages_fork_prepare(void)
{
	struct buddy *b;

	lock_take_nested(&threads.lock);
	/* All buddies at once: nobody else ever holds two without the thread lock. */
	for (b = threads.all; b; b = b->next)
		lock_take_nested(&b->lock);
	lock_take_nested(&highatomic.lock);
}

void pages_fork_done(bool child)
{
	struct buddy *b;

	if (child) {
		/* Only the forking thread is left: the other threads' buddies are orphans. */
		lock_reset(&highatomic.lock);
		threads.orphans = NULL;
		for (b = threads.all; b; b = b->next) {
			lock_reset(&b->lock);
			b->is_purging = false;
			b->nr_users = b == thread_state.buddy;
			if (!b->nr_users) {
				b->next_orphan = threads.orphans;
				threads.orphans = b;
			}
		}
		lock_reset(&threads.lock);
		return;
	}
	lock_drop_nested(&highatomic.lock);
	for (b = threads.all; b; b = b->next)
		lock_drop_nested(&b->lock);
	lock_drop_nested(&threads.lock);
}
