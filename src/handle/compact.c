/* SPDX-License-Identifier: MIT */
#include "handle/compact.h"

#include "base/probe.h"
#include "handle/handle.h"
#include "handle/move.h"
#include "os/bug.h"
#include "os/options.h"
#include "os/os.h"
#include "page/compactable.h"
#include "page/zone.h"

/* Candidates of one pass, on the stack. */
#define NR_CANDIDATES 32
/* What a free does by the watermark: bytes that it moves, some 0.5 ms, and blocks with mapped objects that it looks at. */
#define STEP_BYTES (256 * KIB)
#define STEP_LOOKS 4
/* Without success it is tried again so much later, with so many looks. */
#define WINDOW_MS 40
#define WINDOW_LOOKS 16

struct compact_counts compact_counts reader_root(compact_counts);

/* The thread that compacts. Who waits for it waits for nr_ended to change; nobody else does, a fork least of all. */
static _Atomic(struct thread_state *) compactor;
static _Atomic uint32_t nr_ended;

/* By the compactor. Zero at first: an initialized word would be a page of its own in each process. */
static uint16_t nr_rounds; /* modulo 2^16 - 1 */

/* Blocks of which this is compact_round have an object that was mapped, and are left out. Never 0, which a block begins with. */
static uint16_t round_now(void)
{
	return (uint16_t)(nr_rounds + 1);
}

/* Of the watermark; by the compactor, the first three read by others as hints. */
static struct {
	size_t retry_at, retry_below; /* free bytes from which it may try again, and up to which: much has changed */
	uint64_t failed_at; /* ms, when it got nothing for the last time */
	unsigned nr_looks;  /* in vain, since then */
} balance;

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

static void survey_take(struct survey *v, size_t max_used)
{
	struct zone_walk walk = {0};
	struct pageblock *blk;

	v->nr = 0;
	v->nr_blocks = v->room = 0;
	while ((blk = zone_walk_next(&walk)))
		if (compactable_owns(blk)) {
			struct candidate c = {blk, min_size(objects_bytes_of(blk), PAGEBLOCK_SIZE)};

			v->nr_blocks++;
			v->room += PAGEBLOCK_SIZE - c.used;
			if (c.used <= max_used && READ_ONCE(blk->compact_round) != round_now())
				survey_add(v, c);
		}
	count(&compact_counts.nr_free_scanned, v->nr_blocks);
}

/* How many of the sparsest have room in the others, for a sixteenth of which nobody vouches: sizes differ. */
static unsigned survey_suitable(const struct survey *v)
{
	size_t room = v->room, used = 0;
	unsigned n = 0;

	while (n < v->nr) {
		used += v->block[n].used;
		room -= PAGEBLOCK_SIZE - v->block[n].used;
		if (used > room - room / 16)
			break;
		n++;
	}
	return n;
}

/* --- 2: isolation ---------------------------------------------------------------------------------------------------------- */

/* Also those that were being made when it was done the last time, and frees those without objects. */
static void isolate_slabs(struct pageblock *blk)
{
	struct slab_walk w = {.blk = blk};
	struct handle_slab *s;

	for_each_slab(s, w)
		handle_slab_isolate(s, w.base);
}

static bool isolate(struct pageblock *blk)
{
	if (!compactable_isolate(blk))
		return false;
	atomic_thread_fence(memory_order_seq_cst); /* handle_slab_add() looks at the block after it stored its address */
	isolate_slabs(blk);
	PROBE(compact_isolated, pageblock_address(blk));
	count(&compact_counts.nr_isolated, 1);
	return true;
}

/* The block first, so that no slab is isolated anew behind the walk. True when it was released. */
static bool reopen(struct pageblock *blk)
{
	struct slab_walk w = {.blk = blk};
	bool was_released = !compactable_putback(blk);
	struct handle_slab *s;

	atomic_thread_fence(memory_order_seq_cst);
	if (compactable_owns(blk))
		for_each_slab(s, w)
			handle_slab_putback(s, w.base);
	return was_released;
}

/* How the emptying of a block ended. */
enum end { END_RELEASED, END_PINNED, END_VOID, END_NO_ROOM, END_DEFERRED };

/* Puts a block back, unless it was released; each that was isolated comes here once. What is the reason if not? */
static enum end putback(struct pageblock *blk, enum end why)
{
	static uint64_t *const counter[] = {
	    [END_RELEASED] = &compact_counts.nr_released, [END_PINNED] = &compact_counts.nr_pinned,
	    [END_VOID] = &compact_counts.nr_void,	  [END_NO_ROOM] = &compact_counts.nr_no_room,
	    [END_DEFERRED] = &compact_counts.nr_deferred,
	};

	if (reopen(blk)) {
		PROBE(compact_released, pageblock_address(blk));
		why = END_RELEASED;
	} else if (why != END_DEFERRED) {
		WRITE_ONCE(blk->compact_round, round_now());
	}
	count(counter[why], 1);
	return why;
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

/* NOTHING: it is empty, or as much was moved as may be. */
static enum move slab_evacuate(struct handle_slab *s, uintptr_t base, size_t *budget)
{
	size_t size = handle_object_size(s);
	unsigned i, n = s->cache->nr_objects;

	for (i = 0; i < n && *budget && __atomic_load_n(&s->base, __ATOMIC_RELAXED) == base; i++) {
		enum move m = handle_object_move(s, base, i);

		if (m != MOVE_DONE && m != MOVE_NOTHING)
			return m;
		if (m == MOVE_DONE) {
			count(&compact_counts.nr_moved, 1);
			count(&compact_counts.nr_moved_bytes, size);
			*budget -= min_size(*budget, size);
		}
	}
	return MOVE_NOTHING;
}

/* As END_PINNED where objects are left, for whatever reason: one more may have come in while it was being isolated. */
static enum end block_evacuate(struct pageblock *blk, size_t *budget)
{
	struct slab_walk w = {.blk = blk};
	struct handle_slab *s;
	unsigned nr_objects = 0;
	bool is_movable = block_strip(blk, &nr_objects);

	count(&compact_counts.nr_migrate_scanned, nr_objects);
	if (!is_movable)
		return END_PINNED;
	for_each_slab(s, w) {
		enum move m = slab_evacuate(s, w.base, budget);

		if (m != MOVE_NOTHING)
			return m == MOVE_BUSY ? END_PINNED : m == MOVE_VOID ? END_VOID : END_NO_ROOM;
		if (!*budget)
			return END_DEFERRED;
	}
	isolate_slabs(blk);
	return END_PINNED;
}

/* --- 4: passes ------------------------------------------------------------------------------------------------------------------- */

/* As many as have room. They are isolated together, so that none is filled which is to be emptied next. */
static unsigned isolate_candidates(struct survey *v)
{
	unsigned i, nr = 0, n = survey_suitable(v);

	for (i = 0; i < n; i++)
		if (isolate(v->block[i].blk))
			v->block[nr++] = v->block[i];
	return nr;
}

/* Evacuates the first; where room is short, the densest of the others is put back for it. */
static bool evacuate_first(struct survey *v, unsigned first, unsigned *end, size_t *nr_released)
{
	size_t no_limit = SIZE_MAX;
	enum end e;

	while ((e = block_evacuate(v->block[first].blk, &no_limit)) == END_NO_ROOM && *end > first + 1)
		*nr_released += putback(v->block[--*end].blk, END_NO_ROOM) == END_RELEASED;
	e = putback(v->block[first].blk, e);
	*nr_released += e == END_RELEASED;
	return e != END_NO_ROOM;
}

/* False when no further one would do better. */
static bool compact_pass(struct survey *v, size_t *nr_released)
{
	bool has_room = true;
	unsigned i, end;

	survey_take(v, PAGEBLOCK_SIZE);
	end = isolate_candidates(v);
	for (i = 0; i < end; i++)
		has_room &= evacuate_first(v, i, &end, nr_released);
	return end && has_room;
}

static void next_round(void)
{
	nr_rounds = nr_rounds == UINT16_MAX - 1 ? 0 : nr_rounds + 1;
}

/*
 * A block that could not be emptied is left out from then on, so each is isolated once, and this comes to an end; also while
 * others go on to make and to free objects: no pass begins once as many were isolated as there were at first.
 */
static size_t compact_all(void)
{
	uint64_t max = compact_counts.nr_isolated + compactable_nr_pages() / PAGEBLOCK_PAGES;
	struct survey v;
	size_t total = 0;
	bool tried = false;

	handle_caches_shrink();
	next_round();
	while (compact_pass(&v, &total) && compact_counts.nr_isolated < max)
		tried = true;
	if (total || tried || v.nr)
		count(total ? &compact_counts.nr_successes : &compact_counts.nr_failures, 1);
	PROBE(compact_end, total);
	return total;
}

/* --- by the watermark ---------------------------------------------------------------------------------------------------------------- */

static size_t free_bytes(void)
{
	size_t total = compactable_nr_pages() << PAGE_SHIFT;

	return total - min_size(total, objects_bytes());
}

static size_t high_watermark(void)
{
	size_t high = PAGEBLOCK_SIZE + objects_bytes() / 4;

	return high + min_size(zone_dirty_floor(), SIZE_MAX - high); /* any size may have been asked for */
}

static bool may_retry(size_t free)
{
	return free >= READ_ONCE(balance.retry_at) || free <= READ_ONCE(balance.retry_below);
}

static bool window_is_over(void)
{
	return ms_since(READ_ONCE(balance.failed_at), os_coarse_clock_ms()) >= WINDOW_MS;
}

static enum end evacuate_step(struct pageblock *blk, size_t *budget)
{
	return isolate(blk) ? putback(blk, block_evacuate(blk, budget)) : END_PINNED;
}

/* A share of what is to be done. One survey; *nr_looks: blocks in vain. How many came free. */
static size_t compact_step(size_t *budget, unsigned *nr_looks)
{
	struct survey v;
	unsigned i, n;
	size_t nr_released = 0;

	survey_take(&v, PAGEBLOCK_SIZE / 2);
	n = survey_suitable(&v);
	if (!n)
		next_round(); /* all were tried, and are again by and by */
	for (i = 0; i < n && *budget && *nr_looks < STEP_LOOKS; i++)
		switch (evacuate_step(v.block[i].blk, budget)) {
		case END_RELEASED:
			nr_released++;
			break;
		case END_DEFERRED:
			break;
		default:
			*nr_looks += 1;
		}
	PROBE(compact_end, nr_released);
	return nr_released;
}

static void balance_ended(bool got_on, unsigned nr_looks)
{
	size_t free = free_bytes();

	if (got_on || window_is_over())
		balance.nr_looks = 0;
	balance.nr_looks += nr_looks;
	if (got_on || (nr_looks && balance.nr_looks < WINDOW_LOOKS)) {
		WRITE_ONCE(balance.retry_at, 0);
		return;
	}
	WRITE_ONCE(balance.retry_at, free + free / 8);
	WRITE_ONCE(balance.retry_below, free - free / 8);
	WRITE_ONCE(balance.failed_at, os_coarse_clock_ms());
}

/* --- who asks ------------------------------------------------------------------------------------------------------------------ */

/* False when another thread compacts, and, in any case, when this one does: a signal handler may have come here. */
static bool begin(bool wait)
{
	for (;;) {
		uint32_t n = atomic_load(&nr_ended);
		struct thread_state *nobody = NULL;

		if (atomic_compare_exchange_strong(&compactor, &nobody, &thread_state))
			return true;
		if (!wait || nobody == &thread_state)
			return false;
		os_futex_wait(&nr_ended, n);
	}
}

static void end(void)
{
	atomic_store(&compactor, NULL);
	atomic_fetch_add(&nr_ended, 1);
	os_futex_wake(&nr_ended, INT32_MAX);
}

size_t handles_compact(void)
{
	size_t n;

	if (!compactable_nr_pages() || !begin(true))
		return 0;
	count(&compact_counts.nr_runs, 1);
	n = compact_all();
	end();
	return n;
}

size_t handles_reclaim(void)
{
	if (!compactable_nr_pages())
		return 0;
	handles_strip();
	return handles_compact();
}

void handles_balance(void)
{
	size_t n = free_bytes(), budget = STEP_BYTES;
	unsigned nr_looks = 0;

	if (likely(n <= high_watermark()) || (!may_retry(n) && !window_is_over()) || !begin(false))
		return;
	count(&compact_counts.nr_balances, 1);
	n = compact_step(&budget, &nr_looks);
	count(n ? &compact_counts.nr_successes : &compact_counts.nr_failures, n || (nr_looks && budget == STEP_BYTES));
	balance_ended(n || budget < STEP_BYTES, nr_looks);
	end();
}

void compact_snapshot(struct compact_counts *c)
{
	const uint64_t *from = (const uint64_t *)&compact_counts;
	uint64_t *to = (uint64_t *)c;
	size_t i;

	for (i = 0; i < sizeof *c / sizeof *to; i++)
		to[i] = READ_ONCE(from[i]);
}

/* A compaction of a thread that is not here is given up: its object goes back, and so do its blocks. */
void compact_fork_child(void)
{
	struct thread_state *who = atomic_load(&compactor);
	struct zone_walk walk = {0};
	struct pageblock *blk;

	if (!who || who == &thread_state)
		return;
	handle_move_cancel();
	while ((blk = zone_walk_next(&walk)))
		if (compactable_owns(blk))
			reopen(blk);
	atomic_store(&compactor, NULL);
}
