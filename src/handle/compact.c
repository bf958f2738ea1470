/* SPDX-License-Identifier: MIT */
#include "handle/compact.h"

#include "base/probe.h"
#include "handle/objects.h"
#include "os/options.h"
#include "page/movable.h"
#include "page/zone.h"

/* Candidates of one pass, on the stack. */
#define NR_CANDIDATES 64
/* Blocks that a free empties by the watermark: some 100 us each. */
#define COMPACT_STEP 4

struct compact_counts compact_counts reader_root(compact_counts);
static struct lock compact_lock; /* RANK_COMPACT */
static size_t retry_at;		 /* free bytes from which the watermark may try again; atomic, a hint */

static void count(uint64_t *counter, uint64_t n)
{
	WRITE_ONCE(*counter, *counter + n);
}

/* --- slabs of a pageblock ------------------------------------------------------------------------------------------------ */

struct slab_walk {
	const struct pageblock *blk;
	unsigned next;
	uintptr_t base; /* of the slab that was returned */
};

/* Slabs come and go meanwhile: whoever uses one looks under its lock whether it is there. */
static struct handle_slab *slab_walk_next(struct slab_walk *w)
{
	while (w->next < PAGEBLOCK_PAGES) {
		uintptr_t addr = pageblock_address(w->blk) + ((uintptr_t)w->next++ << PAGE_SHIFT);
		struct handle_slab *s = handle_slab_of(map_lookup(addr));

		if (s && __atomic_load_n(&s->base, __ATOMIC_ACQUIRE) == addr) {
			w->base = addr;
			return s;
		}
	}
	return NULL;
}

#define for_each_slab(s, w) while (((s) = slab_walk_next(&(w))))

/* --- 1: the survey ------------------------------------------------------------------------------------------------------- */

struct candidate {
	struct pageblock *blk;
	size_t used; /* bytes of objects, as they were */
};

struct survey {
	size_t nr_blocks, room; /* of all blocks; bytes that no object takes */
	unsigned nr;
	struct candidate block[NR_CANDIDATES]; /* the sparsest, sorted */
};

static size_t bytes_used(const struct pageblock *blk)
{
	struct slab_walk w = {.blk = blk};
	struct handle_slab *s;
	size_t n = 0;

	for_each_slab(s, w)
		n += READ_ONCE(s->nr_taken) * handle_object_size(s);
	return min_size(n, PAGEBLOCK_SIZE);
}

static void survey_add(struct survey *v, struct candidate c)
{
	unsigned i = v->nr;

	if (v->nr == NR_CANDIDATES) {
		if (v->block[--i].used <= c.used)
			return;
	} else {
		v->nr++;
	}
	for (; i > 0 && v->block[i - 1].used > c.used; i--)
		v->block[i] = v->block[i - 1];
	v->block[i] = c;
}

static void survey_take(struct survey *v)
{
	struct zone_walk walk = {0};
	struct pageblock *blk;

	v->nr = 0;
	v->nr_blocks = v->room = 0;
	while ((blk = zone_walk_next(&walk)))
		if (movable_owns(blk)) {
			struct candidate c = {blk, bytes_used(blk)};

			v->nr_blocks++;
			v->room += PAGEBLOCK_SIZE - c.used;
			survey_add(v, c);
		}
	count(&compact_counts.nr_free_scanned, v->nr_blocks);
}

/* How many of the sparsest have room in the others, for a sixteenth of which nobody vouches: sizes differ. */
static unsigned survey_suitable(const struct survey *v, size_t max)
{
	size_t room = v->room, used = 0;
	unsigned n = 0;

	while (n < v->nr && n < max) {
		used += v->block[n].used;
		room -= PAGEBLOCK_SIZE - v->block[n].used;
		if (used > room - room / 16)
			break;
		n++;
	}
	return n;
}

/* --- 2: isolation ---------------------------------------------------------------------------------------------------------- */

static bool isolate(struct pageblock *blk)
{
	struct slab_walk w = {.blk = blk};
	struct handle_slab *s;

	if (!movable_isolate(blk))
		return false;
	for_each_slab(s, w)
		handle_slab_isolate(s, w.base);
	PROBE(compact_isolated, pageblock_address(blk));
	count(&compact_counts.nr_isolated, 1);
	return true;
}

/* True when there is nothing to be put back: it was released. */
static bool putback(struct pageblock *blk)
{
	struct slab_walk w = {.blk = blk};
	struct handle_slab *s;

	if (movable_owns(blk))
		for_each_slab(s, w)
			handle_slab_putback(s, w.base);
	if (movable_putback(blk))
		return false;
	count(&compact_counts.nr_released, 1);
	PROBE(compact_released, pageblock_address(blk));
	return true;
}

/* --- 3: moving -------------------------------------------------------------------------------------------------------------- */

/* Takes away what threads keep of the block. False when an object that is left cannot be moved. */
static bool block_strip(const struct pageblock *blk, unsigned *nr_objects)
{
	struct slab_walk w = {.blk = blk};
	struct handle_slab *s;
	bool is_busy = false;

	for_each_slab(s, w)
		handle_slab_strip(s, w.base, nr_objects, &is_busy);
	return !is_busy;
}

static enum move slab_evacuate(struct handle_slab *s, uintptr_t base)
{
	size_t size = handle_object_size(s);
	unsigned i, n = s->cache->nr_objects;

	for (i = 0; i < n && READ_ONCE(s->base) == base; i++) {
		enum move m = handle_object_move(s, base, i);

		if (m != MOVE_DONE && m != MOVE_NOTHING)
			return m;
		if (m == MOVE_DONE) {
			count(&compact_counts.nr_moved, 1);
			count(&compact_counts.nr_moved_bytes, size);
		}
	}
	return MOVE_NOTHING;
}

static enum move block_evacuate(struct pageblock *blk)
{
	struct slab_walk w = {.blk = blk};
	struct handle_slab *s;
	unsigned nr_objects = 0;
	bool is_movable = block_strip(blk, &nr_objects);

	count(&compact_counts.nr_migrate_scanned, nr_objects);
	if (!is_movable)
		return MOVE_BUSY;
	for_each_slab(s, w) {
		enum move m = slab_evacuate(s, w.base);

		if (m != MOVE_NOTHING)
			return m;
	}
	return MOVE_NOTHING;
}

/* --- 4: a pass over the candidates -------------------------------------------------------------------------------------------- */

static unsigned isolate_candidates(struct survey *v, unsigned n)
{
	unsigned i, nr = 0;

	for (i = 0; i < n; i++)
		if (isolate(v->block[i].blk))
			v->block[nr++] = v->block[i];
	return nr;
}

/* Evacuates the first; where room is short, the densest of the others is put back for it. Its end. */
static enum move evacuate_first(struct survey *v, unsigned first, unsigned *end)
{
	enum move m;

	while ((m = block_evacuate(v->block[first].blk)) == MOVE_NO_ROOM && *end > first + 1)
		putback(v->block[--*end].blk);
	return m;
}

/* How many blocks were released. */
static size_t compact_pass(struct survey *v, size_t max)
{
	unsigned i, end;
	size_t nr_released = 0;

	survey_take(v);
	end = isolate_candidates(v, survey_suitable(v, max));
	for (i = 0; i < end; i++) {
		enum move m = evacuate_first(v, i, &end);

		count(&compact_counts.nr_pinned, m == MOVE_BUSY);
		count(&compact_counts.nr_void, m == MOVE_VOID);
		count(&compact_counts.nr_no_room, m == MOVE_NO_ROOM);
		nr_released += putback(v->block[i].blk);
	}
	return nr_released;
}

/* As long as passes release blocks; at most max. */
static size_t compact(size_t max)
{
	struct survey v;
	size_t total = 0, n;

	handle_caches_shrink();
	do {
		n = compact_pass(&v, max - total);
		total += n;
	} while (n && total < max);
	if (total || v.nr)
		count(total ? &compact_counts.nr_successes : &compact_counts.nr_failures, 1);
	PROBE(compact_end, total);
	return total;
}

/* --- who asks ------------------------------------------------------------------------------------------------------------------ */

static bool try_lock(void)
{
	lock_count_up();
	if (!lock_try(&compact_lock)) {
		lock_count_down();
		return false;
	}
	lock_rank_push(RANK_COMPACT);
	return true;
}

size_t handles_compact(void)
{
	size_t n;

	if (!movable_nr_pages())
		return 0;
	lock_take(&compact_lock, RANK_COMPACT);
	count(&compact_counts.nr_runs, 1);
	n = compact(SIZE_MAX);
	lock_drop(&compact_lock, RANK_COMPACT);
	return n;
}

static void strip_all(void)
{
	struct zone_walk walk = {0};
	struct pageblock *blk;
	unsigned unused;

	while ((blk = zone_walk_next(&walk)))
		if (movable_owns(blk))
			block_strip(blk, &unused);
}

size_t handles_reclaim(void)
{
	size_t n;

	if (!movable_nr_pages() || !try_lock())
		return 0;
	count(&compact_counts.nr_runs, 1);
	strip_all();
	n = compact(SIZE_MAX);
	lock_drop(&compact_lock, RANK_COMPACT);
	return n;
}

static size_t free_bytes(void)
{
	size_t total = movable_nr_pages() << PAGE_SHIFT;

	return total - min_size(total, objects_bytes());
}

static size_t high_watermark(void)
{
	return PAGEBLOCK_SIZE + bslab_options.dirty_size + objects_bytes() / 4;
}

void handles_balance(void)
{
	size_t n = free_bytes();

	if (likely(n <= high_watermark() || n < READ_ONCE(retry_at)) || !try_lock())
		return;
	count(&compact_counts.nr_balances, 1);
	n = compact(COMPACT_STEP);
	WRITE_ONCE(retry_at, n ? 0 : free_bytes() + free_bytes() / 8);
	lock_drop(&compact_lock, RANK_COMPACT);
}

void compact_snapshot(struct compact_counts *c)
{
	const uint64_t *from = (const uint64_t *)&compact_counts;
	uint64_t *to = (uint64_t *)c;
	size_t i;

	for (i = 0; i < sizeof *c / sizeof *to; i++)
		to[i] = READ_ONCE(from[i]);
}

void compact_fork_prepare(void)
{
	lock_take_nested(&compact_lock);
}

void compact_fork_done(bool child)
{
	if (child)
		lock_reset(&compact_lock);
	else
		lock_drop_nested(&compact_lock);
}
