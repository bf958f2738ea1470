/* SPDX-License-Identifier: MIT */
/* What rests goes home. */
#include "base/probe.h"
#include "large/large.h"
#include "os/os.h"
#include "page/runs.h"
#include "slab/area.h"
#include "slab/kept.h"
#include "slab/quarantine.h"
#include "slab/typed.h"

#define REAP_MS 40
/* Visits of slow paths between two looks at the clock, perhaps a system call: more, up to the most, when it was early. */
#define MIN_REAP_VISITS 16
#define MAX_REAP_VISITS 256

/* A run out of one, or NULL: no CPU would look at it. One at a time, since pages are freed past the lock. */
static void *orphan_run(size_t *nr_pages)
{
	struct percpu_area *a;
	void *run = NULL;

	if (likely(!READ_ONCE(percpu.orphans)))
		return NULL;
	lock_take(&percpu.lock, RANK_THREAD);
	for (a = percpu.orphans; a && !run; a = a->next_orphan)
		run = kept_detach(a, nr_pages);
	lock_drop(&percpu.lock, RANK_THREAD);
	return run;
}

/* Tops are even, multiples of eight: a sheaf that moved by a multiple of 512 KiB looks as if it rested. */
static uint16_t top_bits(void **top)
{
	return (uint16_t)((uintptr_t)top >> 3);
}

static void reap_sheaf(struct kmem_cache *c, void **top)
{
	drain_begin(cache_drains(c));
	if (percpu_swap_top(c->class, top, NONE_TOP)) {
		struct sheaf *s = sheaf_of_top(top);

		atomic_fetch_add_explicit(&percpu.nr_sheaf_reaps, 1, memory_order_relaxed);
		PROBE(sheaf_reap, c->size, s->nr);
		sheaf_empty(c, s);
	}
	drain_end(cache_drains(c));
}

static void reap_freed(struct percpu_area *a, struct kmem_cache *c)
{
	unsigned index = FREED_TOPS + c->class;
	void ***seen = area_top(a, FREED_SEEN + c->class), **top = READ_ONCE(*area_top(a, index));
	bool rests = top == READ_ONCE(*seen) && top != NONE_TOP && percpu_swap_top(index, top, NONE_TOP);

	WRITE_ONCE(*seen, top);
	if (!rests)
		return;
	atomic_fetch_add_explicit(&percpu.nr_sheaf_reaps, 1, memory_order_relaxed);
	quarantine_put(c, sheaf_of_top(top));
}

/* Of several CPUs one in REAP_MS, or two. */
static bool is_first_look(uint64_t now)
{
	static uint64_t looked_at_ms;

	if (ms_since(READ_ONCE(looked_at_ms), now) < REAP_MS)
		return false;
	WRITE_ONCE(looked_at_ms, now);
	return true;
}

/* Bytes of objects out, in use or in sheaves, and which part of the most is little. */
#define MIN_FALLEN_BYTES (4 * MIB)
#define FALLEN_PART 4
/* Where many threads come and go all the time: so often, but for the first few. */
#define SHED_MS 100
#define SHED_BURST 4

static size_t peak_bytes; /* out at any look since the heap fell last */
static uint64_t next_shed_ms; /* when one would be on time; 0: there was none */
static bool shed_is_due;
static bool is_watched; /* something is known of it, which each first look goes on with */

static cold_path void shed(void)
{
	unsigned class;

	WRITE_ONCE(shed_is_due, false);
	drain_fallen();
	for (class = 1; class < caches_end(); class++) {
		struct kmem_cache *c = cache_if_used(class);

		if (!c)
			continue;
		barn_drain(c);
		cache_shrink_kept(c);
	}
}

static bool may_shed(uint64_t now)
{
	uint64_t next = READ_ONCE(next_shed_ms);

	if (ms_since(next, now))
		next = now;
	if (next >= now + SHED_BURST * SHED_MS)
		return false;
	WRITE_ONCE(next_shed_ms, next + SHED_MS);
	return true;
}

/* Sheds where most of what was out came home, and not for a moment: it was so at a look REAP_MS before, too. */
static cold_path void shed_if_fallen(size_t out_bytes, uint64_t now)
{
	static uint64_t low_since_ms; /* 0: it is not */
	uint64_t since = READ_ONCE(low_since_ms);
	size_t peak = max_size(READ_ONCE(peak_bytes), out_bytes);
	bool is_low = peak >= MIN_FALLEN_BYTES && out_bytes < peak / FALLEN_PART;
	bool fell = is_low && since && ms_since(since, now) >= REAP_MS;

	WRITE_ONCE(peak_bytes, fell ? 0 : peak);
	WRITE_ONCE(low_since_ms, !is_low || fell ? 0 : since ? since : now);
	WRITE_ONCE(is_watched, true);
	if (fell)
		WRITE_ONCE(shed_is_due, true);
	if (READ_ONCE(shed_is_due) && may_shed(now))
		shed();
	if (READ_ONCE(next_shed_ms)) /* who takes no page may be the only one who does anything */
		pages_tick_slow();
}

void percpu_threads_fell(void)
{
	uint64_t now = os_coarse_clock_ms();

	WRITE_ONCE(is_watched, true);
	if (!may_shed(now)) {
		WRITE_ONCE(shed_is_due, true);
		return;
	}
	shed();
	runs_drain();
	pages_rest(now);
}

/* Of the CPU's area or, if this thread moves meanwhile, of nobody's: tops are compared when they are swapped. */
static void reap(struct percpu_area *a, uint64_t now)
{
	bool is_first = is_first_look(now);
	size_t nr_pages, out_bytes = 0;
	unsigned class;
	void *run;

	for (class = 1; class < caches_end(); class++) {
		struct kmem_cache *c = cache_if_used(class);
		void **top = READ_ONCE(a->top[class]);
		bool rests = top_bits(top) == READ_ONCE(a->seen[class]);

		if (!c)
			continue;
		if (is_first) {
			cache_forget_peak(c);
			out_bytes += atomic_load_explicit(&c->nr_out, memory_order_relaxed) * READ_ONCE(c->size);
		}
		if (rests && top != NONE_TOP)
			reap_sheaf(c, top);
		WRITE_ONCE(a->seen[class], top_bits(top));
		if (unlikely(has_freed_tops(class)))
			reap_freed(a, c);
		if (barn_has_rested(c, now, REAP_MS)) {
			atomic_fetch_add_explicit(&percpu.nr_barn_reaps, 1, memory_order_relaxed);
			barn_drain(c);
			cache_shrink_kept(c);
		}
		if (unlikely(c->typed != NULL))
			typed_tend(c);
	}
	typed_bury();
	kept_reap(a);
	while (unlikely((run = orphan_run(&nr_pages)) != NULL))
		kept_send_home(run, nr_pages);
	runs_reap(now);
	large_reap(now);
	if (!is_first)
		return;
	if (unlikely(out_bytes >= MIN_FALLEN_BYTES || READ_ONCE(is_watched)))
		shed_if_fallen(out_bytes, now);
}

/* False when it was too early. */
static bool look(struct percpu_area *a)
{
	uint64_t now = os_coarse_clock_ms();

	if (ms_since(READ_ONCE(a->looked_at_ms), now) < REAP_MS)
		return false;
	WRITE_ONCE(a->looked_at_ms, now);
	reap(a, now);
	drain_idle(now);
	return true;
}

void percpu_look(void)
{
	struct percpu_area *a = own_area();

	if (a)
		look(a);
}

/* Other threads of this CPU may do the same at the same time; counts and times need not be exact. */
void reap_if_due(void)
{
	struct percpu_area *a = own_area();
	uint32_t nr_visits, interval;

	if (!a)
		return;
	nr_visits = READ_ONCE(a->nr_visits) + 1;
	interval = READ_ONCE(a->look_interval);
	WRITE_ONCE(a->nr_visits, nr_visits);
	if (likely(nr_visits < MIN_REAP_VISITS || nr_visits < interval))
		return;
	WRITE_ONCE(a->nr_visits, 0);
	WRITE_ONCE(a->look_interval, look(a) ? MIN_REAP_VISITS : (uint32_t)min_size(2 * nr_visits, MAX_REAP_VISITS));
}
