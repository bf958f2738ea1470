/* SPDX-License-Identifier: MIT */
#include "page/zone.h"

#include <errno.h>

#include "base/bits.h"
#include "base/probe.h"
#include "map/map.h"
#include "os/bug.h"
#include "os/options.h"
#include "os/os.h"
#include "os/place.h"
#include "page/purging.h"
#include "page/watermark.h"

/* Blocks purged by one system call: bounds the time that they are out of reach. */
#define PURGE_BATCH 64

struct zone zone reader_root(zone);

/* --- bits --------------------------------------------------------------- */

/* The first run of n set bits, or -1. */
static int bits_find_run(const uint64_t *bits, unsigned nr, unsigned n)
{
	unsigned from, end = 0;

	while (bits_next_row(bits, nr, &from, &end))
		if (end - from >= n)
			return (int)from;
	return -1;
}

/* --- taking and giving back, under the lock ------------------------------ */

static size_t block_dirty_pages(const struct pageblock *b)
{
	return pageblock_nr_dirty(b, 0, PAGEBLOCK_PAGES);
}

static void count_dirty(const struct region *r, size_t nr_pages)
{
	WRITE_ONCE(zone.nr_dirty_pages, zone.nr_dirty_pages + nr_pages);
	WRITE_ONCE(zone.nr_dirty_in[r->zone], zone.nr_dirty_in[r->zone] + nr_pages);
}

static size_t take_blocks(struct region *r, unsigned index, unsigned n, enum pageblock_state state)
{
	size_t nr_dirty = 0;
	unsigned i;

	for (i = index; i < index + n; i++) {
		struct pageblock *b = region_block(r, i);

		b->state = (uint8_t)state;
		b->was_large |= state == PAGEBLOCK_LARGE;
		if (state == PAGEBLOCK_ISOLATE)
			b->migratetype = MIGRATE_ISOLATE;
		if (bit_is_set(r->dirty, i)) {
			nr_dirty += block_dirty_pages(b);
			r->nr_dirty--;
			zone.count.nr_dirty_blocks--;
		}
	}
	bits_change(r->free, index, n, false);
	bits_change(r->dirty, index, n, false);
	r->nr_free -= n;
	count_dirty(r, -nr_dirty);
	WRITE_ONCE(zone.nr_used, zone.nr_used + n);
	if (state != PAGEBLOCK_ISOLATE)
		zone.nr_peak = max_size(zone.nr_peak, zone.nr_used);
	return nr_dirty;
}

static void give_blocks(struct region *r, unsigned index, unsigned n)
{
	unsigned i;

	for (i = index; i < index + n; i++) {
		struct pageblock *b = region_block(r, i);
		size_t nr_dirty = block_dirty_pages(b);

		b->state = PAGEBLOCK_FREE;
		if (nr_dirty) {
			bits_change(r->dirty, i, 1, true);
			r->nr_dirty++;
			zone.count.nr_dirty_blocks++;
			count_dirty(r, nr_dirty);
		}
	}
	bits_change(r->free, index, n, true);
	r->nr_free += n;
	WRITE_ONCE(zone.nr_used, zone.nr_used - n);
}

static bool commit_more(struct region *r, unsigned n)
{
	unsigned first = r->nr_committed, got = region_commit(r, n), i;

	if (!got) {
		zone.count.nr_commit_failures++;
		return false;
	}
	zone.count.nr_commits++;
	zone.count.nr_commit_blocks += got;
	for (i = first; i < first + got; i++)
		region_block(r, i)->state = PAGEBLOCK_FREE;
	bits_change(r->free, first, got, true);
	r->nr_free += got;
	return true;
}

enum tail { TAIL_TOO_SHORT, TAIL_REFUSED, TAIL_FREE };

/* Frees n blocks at the region's end: those that are free before its committed end, and more behind it. */
static enum tail commit_tail(struct region *r, unsigned n, unsigned *index)
{
	unsigned start = r->nr_committed;

	while (start && bit_is_set(r->free, start - 1))
		start--;
	*index = start;
	if (start + n > r->nr_blocks)
		return TAIL_TOO_SHORT;
	if (start + n <= r->nr_committed || commit_more(r, start + n - r->nr_committed))
		return TAIL_FREE;
	return TAIL_REFUSED;
}

/* Where the pool has fewer huge pages than that, a region of them would be addresses only. */
static bool has_pages(unsigned zone_nr, unsigned nr_blocks)
{
	size_t size = (size_t)nr_blocks << PAGEBLOCK_SHIFT;
	void *p;

	if (zone_type_of(zone_nr) != ZONE_HUGE)
		return true;
	p = os_map_huge(size, PAGEBLOCK_SIZE);
	if (p)
		os_unmap(p, size);
	return p;
}

static struct region *find_blocks(unsigned zone_nr, unsigned n, unsigned *index)
{
	struct region *r;
	int i;

	for (r = zone.regions; r; r = r->next)
		if (r->zone == zone_nr && r->nr_dirty >= n && (i = bits_find_run(r->dirty, r->nr_committed, n)) >= 0)
			goto found;
	for (r = zone.regions; r; r = r->next)
		if (r->zone == zone_nr && r->nr_free >= n && (i = bits_find_run(r->free, r->nr_committed, n)) >= 0)
			goto found;
	/* Where the kernel refuses to commit, another region would be refused too, and its address space lost. */
	for (r = zone.regions; r; r = r->next)
		switch (r->zone == zone_nr ? commit_tail(r, n, index) : TAIL_TOO_SHORT) {
		case TAIL_FREE:
			return r;
		case TAIL_REFUSED:
			return NULL;
		case TAIL_TOO_SHORT:
			break;
		}
	r = has_pages(zone_nr, n) ? region_create(zone_nr, n) : NULL;
	if (!r)
		return NULL;
	r->next = zone.regions;
	zone.regions = r;
	zone.count.nr_regions++;
	zone.count.nr_reserved += r->nr_blocks;
	return commit_tail(r, n, index) == TAIL_FREE ? r : NULL;
found:
	*index = (unsigned)i;
	return r;
}

/* --- explicit huge pages: one stands behind a free block exactly when it is dirty, and then all of it counts as such -------- */

static bool is_huge(const struct region *r)
{
	return zone_type_of(r->zone) == ZONE_HUGE;
}

static bool purge_blocks(struct region *r, unsigned index, unsigned n)
{
	void *start = (void *)pageblock_address(region_block(r, index));
	size_t size = (size_t)n << PAGEBLOCK_SHIFT;
	bool ok = (is_huge(r) ? os_seal : os_purge)(start, size) == 0, was_large = false;
	unsigned i;

	PROBE(purge, start, size, ok);
	if (!ok)
		return false;
	for (i = index; i < index + n; i++) {
		struct pageblock *b = region_block(r, i);

		pageblock_set_dirty(b, 0, PAGEBLOCK_PAGES, false);
		was_large |= b->was_large;
		b->was_large = false;
	}
	/* Their descriptors are 0, and as many pages as pageblocks. */
	map_purge_range((uintptr_t)start, size >> PAGE_SHIFT);
	/* numpy asks for huge pages: they would stand behind whatever comes here next. */
	if (was_large && !is_huge(r))
		os_no_huge_pages(start, size);
	return true;
}

static bool is_backed(struct region *r, unsigned i)
{
	return block_dirty_pages(region_block(r, i)) != 0;
}

static int back_run(struct region *r, unsigned index, unsigned n)
{
	void *start = (void *)pageblock_address(region_block(r, index));
	size_t size = (size_t)n << PAGEBLOCK_SHIFT;
	int ret = os_back_huge(start, size);

	if (ret == 0)
		nodes_prefer(start, size, zone_node_of(r->zone));
	else
		zone.count.nr_commit_failures++;
	return ret;
}

/* The n blocks go back, but for those that are not the process's any more; what was put behind those before `stop` first. */
static void unback_blocks(struct region *r, unsigned index, unsigned n, unsigned stop, unsigned nr_lost, const uint64_t *fresh)
{
	unsigned i;

	for (i = index; i < stop; i++)
		if (bit_is_set(fresh, i)) {
			pageblock_set_dirty(region_block(r, i), 0, PAGEBLOCK_PAGES, true);
			purge_blocks(r, i, 1); /* refused: it keeps its page */
		}
	give_blocks(r, index, stop - index);
	for (i = stop; i < stop + nr_lost; i++)
		region_block(r, i)->state = PAGEBLOCK_ISOLATE;
	WRITE_ONCE(zone.nr_used, zone.nr_used - nr_lost);
	zone.nr_lost += nr_lost;
	r->nr_lost += nr_lost;
	give_blocks(r, stop + nr_lost, index + n - stop - nr_lost);
}

/* Behind blocks that were taken, where none is; else they go back. */
static bool back_blocks(struct region *r, unsigned index, unsigned n)
{
	uint64_t fresh[REGION_MAX_BLOCKS / 64] = {0};
	unsigned i = index, end = index + n, stop;
	int ret;

	for (; i < end; i = stop) {
		for (stop = i; stop < end && !is_backed(r, stop); stop++)
			;
		ret = stop > i ? back_run(r, i, stop - i) : 0;
		if (ret != 0) {
			unback_blocks(r, index, n, i, ret == -EEXIST ? stop - i : 0, fresh);
			return false;
		}
		bits_change(fresh, i, stop - i, true);
		while (stop < end && is_backed(r, stop))
			stop++;
	}
	for (i = index; i < end; i++)
		region_block(r, i)->is_huge = true;
	return true;
}

/* --- calls --------------------------------------------------------------- */

struct pageblock *zone_alloc_in(unsigned zone_nr, unsigned nr_blocks, enum pageblock_state state, size_t *nr_dirty)
{
	uint64_t now = zone_learning_clock(state);
	struct pageblock *b = NULL;
	struct region *r;
	unsigned index;

	lock_take(&zone.lock, RANK_ZONE);
	r = find_blocks(zone_nr, nr_blocks, &index);
	if (r) {
		*nr_dirty = take_blocks(r, index, nr_blocks, state);
		if (is_huge(r) && !back_blocks(r, index, nr_blocks))
			r = NULL;
	}
	if (r) {
		zone_learn_blocks(nr_blocks, *nr_dirty, now);
		b = region_block(r, index);
		zone.count.nr_allocs++;
		PROBE(zone_alloc, pageblock_address(b), nr_blocks, *nr_dirty);
	}
	lock_drop(&zone.lock, RANK_ZONE);
	return b;
}

bool zone_extend(struct pageblock *last, unsigned nr_blocks, enum pageblock_state state, size_t *nr_dirty)
{
	struct region *r = last->region;
	unsigned index = region_index(r, last) + 1, end;
	uint64_t now = zone_learning_clock(state);
	bool ok;

	bslab_assert(!is_huge(r)); /* nobody asks for it, and nothing would stand behind them */
	lock_take(&zone.lock, RANK_ZONE);
	end = bits_next(r->free, index, r->nr_committed, false);
	ok = end - index >= nr_blocks;
	if (!ok && end == r->nr_committed && index + nr_blocks <= r->nr_blocks)
		ok = commit_more(r, index + nr_blocks - end);
	if (ok) {
		*nr_dirty = take_blocks(r, index, nr_blocks, state);
		zone_learn_blocks(nr_blocks, *nr_dirty, now);
	}
	lock_drop(&zone.lock, RANK_ZONE);
	return ok;
}

bool zone_has_dirty_in(unsigned zone_nr)
{
	return READ_ONCE(zone.nr_dirty_in[zone_nr]) >= PAGEBLOCK_PAGES / 2;
}

void zone_free(struct pageblock *first, unsigned nr_blocks)
{
	struct region *r = first->region;
	unsigned i;

	for (i = 0; is_huge(r) && i < nr_blocks; i++)
		pageblock_set_dirty(region_block(r, region_index(r, first) + i), 0, PAGEBLOCK_PAGES, true);
	PROBE(zone_free, pageblock_address(first), nr_blocks);
	lock_take(&zone.lock, RANK_ZONE);
	give_blocks(r, region_index(r, first), nr_blocks);
	zone.count.nr_frees++;
	lock_drop(&zone.lock, RANK_ZONE);
}

/* --- purging: `types` is a mask of enum zone_type ------------------------------------------------------- */

#define ALL_TYPES ((1u << NR_ZONE_TYPES) - 1)

struct zone_purge {
	unsigned types;
	size_t nr_keep;
	struct region *region; /* from here on */
	unsigned end;	       /* below it in the region */
	unsigned tried;	       /* of the types */
	size_t nr_refused[NR_ZONE_TYPES], nr_purged; /* pages */
};

/* The highest dirty free blocks below p->end in a row, so that the low addresses stay warm; no more than hold nr_pages. */
static unsigned highest_dirty(const struct zone_purge *p, size_t nr_pages, unsigned *index)
{
	struct region *r = p->region;
	size_t nr_found = 0;
	unsigned i = p->end < r->nr_committed ? p->end : r->nr_committed, n = 0;

	while (i && !bit_is_set(r->dirty, i - 1))
		i--;
	for (; i && n < PURGE_BATCH && nr_found < nr_pages && bit_is_set(r->dirty, i - 1); i--, n++)
		nr_found += block_dirty_pages(region_block(r, i - 1));
	*index = i;
	return n;
}

/* What is purged next: so many blocks of p->region from *index on. */
static unsigned next_batch(struct zone_purge *p, unsigned *index)
{
	unsigned n = 0;

	if (zone.nr_dirty_pages <= p->nr_keep)
		return 0;
	for (; p->region; p->region = p->region->next, p->end = REGION_MAX_BLOCKS) {
		if (p->types >> zone_type_of(p->region->zone) & 1)
			n = highest_dirty(p, zone.nr_dirty_pages - p->nr_keep, index);
		if (n) {
			p->end = *index; /* what is refused is not tried again */
			break;
		}
	}
	return n;
}

static size_t dirty_of(enum zone_type type)
{
	size_t n = 0;
	unsigned node;

	for (node = 0; node < MAX_NODES; node++)
		n += READ_ONCE(zone.nr_dirty_in[zone_number(type, node)]);
	return n;
}

/* The types that are worth a try; *nr_held: pages of the others. Reads without the lock. */
static unsigned types_to_purge(size_t *nr_held)
{
	unsigned types = 0, type;

	*nr_held = 0;
	for (type = 0; type < NR_ZONE_TYPES; type++) {
		size_t n = dirty_of((enum zone_type)type);

		if (n / 2 >= READ_ONCE(zone.refused_at[type]))
			types |= 1u << type;
		else
			*nr_held += n;
	}
	return types;
}

/* All together, or, where one of them is refused, each by itself: how many calls, and how many of them were refused. */
static unsigned purge_batch(struct region *r, unsigned index, unsigned n, unsigned *nr_refused)
{
	unsigned i;

	*nr_refused = !purge_blocks(r, index, n);
	if (!*nr_refused || n == 1)
		return 1;
	for (i = index; i < index + n; i++)
		*nr_refused += !purge_blocks(r, i, 1);
	return 1 + n;
}

/* With the lock held, which is dropped for the system calls. */
static void purge_some(struct zone_purge *p, unsigned index, unsigned n)
{
	struct region *r = p->region;
	enum zone_type type = zone_type_of(r->zone);
	size_t nr_dirty = take_blocks(r, index, n, PAGEBLOCK_ISOLATE), nr_left;
	unsigned nr_calls, nr_refused;

	lock_drop(&zone.lock, RANK_ZONE);
	nr_calls = purge_batch(r, index, n, &nr_refused);
	lock_take(&zone.lock, RANK_ZONE);
	nr_left = zone.nr_dirty_pages;
	give_blocks(r, index, n);
	nr_left = zone.nr_dirty_pages - nr_left;
	zone.count.nr_purge_calls += nr_calls;
	zone.count.nr_purge_failures += nr_refused;
	p->tried |= 1u << type;
	p->nr_refused[type] += nr_left;
	p->nr_purged += nr_dirty - nr_left;
}

/* After a refusal (locked memory, or of huge pages no mapping more) not again before there is twice as much to gain. */
static void purge_ended(const struct zone_purge *p)
{
	unsigned type;

	for (type = 0; type < NR_ZONE_TYPES; type++)
		if (p->tried >> type & 1)
			WRITE_ONCE(zone.refused_at[type], p->nr_refused[type]);
	WRITE_ONCE(zone.count.nr_purged_pages, zone.count.nr_purged_pages + p->nr_purged);
	WRITE_ONCE(zone.nr_purged, zone.nr_purged + p->nr_purged);
}

static size_t purge(unsigned types, size_t nr_keep)
{
	struct zone_purge p = {.types = types, .nr_keep = nr_keep, .end = REGION_MAX_BLOCKS};
	unsigned index, n;

	lock_take(&zone.lock, RANK_ZONE);
	p.region = zone.regions;
	while (purging_begin()) {
		n = next_batch(&p, &index);
		if (n)
			purge_some(&p, index, n);
		purging_end();
		if (!n)
			break;
	}
	purge_ended(&p);
	lock_drop(&zone.lock, RANK_ZONE);
	return p.nr_purged;
}

size_t zone_purge(size_t nr_keep)
{
	return purge(ALL_TYPES, nr_keep);
}

void zone_purge_type(enum zone_type type)
{
	purge(1u << type, 0);
}

uint64_t zone_nr_given_back(void)
{
	return READ_ONCE(zone.count.nr_purged_pages);
}

size_t zone_nr_used(void)
{
	return READ_ONCE(zone.nr_used);
}

size_t zone_nr_dirty(void)
{
	return READ_ONCE(zone.nr_dirty_pages);
}

/* Of the types whose pages the kernel takes: the others are as if they were not there. */
static out_of_line void balance(size_t nr_kept)
{
	size_t nr_held, low = zone_low_pages_of(zone_high_pages());
	unsigned types = types_to_purge(&nr_held);

	if (READ_ONCE(zone.nr_dirty_pages) + nr_kept > zone_high_pages() + nr_held)
		purge(types, low - min_size(low, nr_kept) + nr_held);
}

/* Reads without the lock: a stale value only shifts the purge by one free. */
void zone_balance(void)
{
	size_t nr_kept = READ_ONCE(zone.nr_kept);

	if (unlikely(READ_ONCE(zone.nr_dirty_pages) + nr_kept > zone_high_pages()))
		balance(nr_kept);
}

void zone_note_huge(bool got)
{
	lock_take(&zone.lock, RANK_ZONE);
	zone.count.nr_huge_allocs += got;
	zone.count.nr_huge_fallbacks += !got;
	lock_drop(&zone.lock, RANK_ZONE);
}

void zone_snapshot(struct zone_info *info)
{
	lock_take(&zone.lock, RANK_ZONE);
	*info = zone.count;
	info->nr_committed = zone_committed_of(&zone);
	info->nr_used = zone.nr_used;
	info->nr_free = info->nr_committed - info->nr_used;
	info->nr_dirty_pages = zone.nr_dirty_pages;
	info->high_pages = zone_high_pages();
	info->low_pages = zone_low_pages_of(info->high_pages);
	info->learned_pages = zone_learned_pages();
	lock_drop(&zone.lock, RANK_ZONE);
}

void zone_rows_take(struct zone_rows *rows)
{
	const struct region *r;

	rows->nr = 0;
	lock_take(&zone.lock, RANK_ZONE);
	for (r = zone.regions; r; r = r->next)
		zone_rows_add(rows, r, zone.nr_dirty_in);
	lock_drop(&zone.lock, RANK_ZONE);
}

/* The next region with blocks behind those walked, which may be the same one, grown. */
static void walk_on(struct zone_walk *w)
{
	struct region *r = w->region;

	lock_take(&zone.lock, RANK_ZONE);
	if (!r || w->next == r->nr_committed) {
		r = r ? r->next : zone.regions;
		w->next = 0;
	}
	while (r && !r->nr_committed)
		r = r->next;
	w->region = r;
	w->end = r ? r->nr_committed : 0;
	lock_drop(&zone.lock, RANK_ZONE);
}

struct pageblock *zone_walk_next(struct zone_walk *w)
{
	if (w->next == w->end)
		walk_on(w);
	return w->region ? region_block(w->region, w->next++) : NULL;
}

void zone_fork_prepare(void)
{
	lock_take_nested(&zone.lock);
}

void zone_fork_done(bool child)
{
	if (child)
		lock_reset(&zone.lock);
	else
		lock_drop_nested(&zone.lock);
}
