/* SPDX-License-Identifier: MIT */
#include "page/runs.h"

#include "map/map.h"
#include "os/options.h"
#include "os/os.h"
#include "os/thread.h"
#include "page/limit.h"

/* Between two looks for runs that nobody took. */
#define REST_MS 40

void run_describe(void *addr, unsigned from, unsigned nr_pages)
{
	unsigned i;

	for (i = max_size(from, 1); i < nr_pages; i++)
		map_set((uintptr_t)addr + ((uintptr_t)i << PAGE_SHIFT), desc_of_number(i, PAGE_RUN_BODY));
	map_set((uintptr_t)addr, desc_of_number(nr_pages, PAGE_RUN));
}

/* --- the runs that a buddy keeps, under hot->lock ---------------------------- */

static void hot_remove(struct hot_runs *hot, unsigned i, struct hot_run *out)
{
	*out = hot->run[i];
	WRITE_ONCE(hot->nr_pages, hot->nr_pages - out->nr_pages);
	WRITE_ONCE(hot->nr_runs, hot->nr_runs - 1);
	hot->run[i] = hot->run[hot->nr_runs];
}

static unsigned oldest(const struct hot_runs *hot)
{
	unsigned i, best = 0;

	for (i = 1; i < hot->nr_runs; i++)
		if ((int32_t)(hot->run[i].freed_at - hot->run[best].freed_at) < 0)
			best = i;
	return best;
}

static bool hot_take(struct hot_runs *hot, unsigned nr_pages, unsigned align_order, struct hot_run *out)
{
	unsigned i;

	for (i = 0; i < hot->nr_runs; i++)
		if (hot->run[i].nr_pages == nr_pages && !(hot->run[i].addr & ((BSLAB_PAGE_SIZE << align_order) - 1))) {
			hot_remove(hot, i, out);
			return true;
		}
	return false;
}

/* Takes out those that the last look saw, or all; the others are seen now. How many. */
static unsigned hot_take_resting(struct hot_runs *hot, bool all, struct hot_run out[NR_HOT_RUNS])
{
	unsigned i, n = 0;

	lock_take(&hot->lock, RANK_RUNS);
	for (i = hot->nr_runs; i-- > 0;) {
		if (all || hot->run[i].was_seen)
			hot_remove(hot, i, &out[n++]);
		else
			hot->run[i].was_seen = true;
	}
	lock_drop(&hot->lock, RANK_RUNS);
	return n;
}

static void send_home(const struct hot_run *runs, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		pages_free((void *)runs[i].addr, runs[i].nr_pages);
}

static void hot_empty(struct hot_runs *hot, bool all)
{
	struct hot_run out[NR_HOT_RUNS];

	if (READ_ONCE(hot->nr_runs))
		send_home(out, hot_take_resting(hot, all, out));
}

/* --- calls ------------------------------------------------------------------ */

/* NULL for a thread that has not needed pages yet. */
static struct hot_runs *hot_self(void)
{
	return thread_state.buddy && !bslab_options.check ? &thread_state.buddy->hot : NULL;
}

static enum migratetype type_of_run(unsigned flags)
{
	return flags & PAGES_RECLAIMABLE ? MIGRATE_RECLAIMABLE : MIGRATE_MOVABLE;
}

void *run_alloc(unsigned nr_pages, unsigned align_order, unsigned flags, bool *zeroed)
{
	struct hot_runs *hot = flags & PAGES_EXPLICIT ? NULL : hot_self();
	struct hot_run run;
	bool found;
	void *p;

	if (hot && READ_ONCE(hot->nr_pages) >= nr_pages) {
		lock_take(&hot->lock, RANK_RUNS);
		found = hot_take(hot, nr_pages, align_order, &run);
		lock_drop(&hot->lock, RANK_RUNS);
		if (found) {
			map_set(run.addr, desc_of_number(nr_pages, PAGE_RUN));
			*zeroed = false;
			pages_tick();
			return (void *)run.addr;
		}
		hot_empty(hot, true);
	}
	p = limit_allows(nr_pages) ? pages_alloc(nr_pages, align_order, type_of_run(flags), flags, zeroed) : NULL;
	if (p)
		run_describe(p, 1, nr_pages);
	return p;
}

void run_free(void *addr, unsigned nr_pages)
{
	struct hot_runs *hot = hot_self();
	struct hot_run out[NR_HOT_RUNS];
	unsigned n = 0;

	if (!hot || nr_pages > MAX_HOT_PAGES || unlikely(pages_are_explicit(addr))) {
		pages_free(addr, nr_pages);
		return;
	}
	map_set((uintptr_t)addr, desc_of_number(nr_pages, PAGE_RUN_HOT));
	lock_take(&hot->lock, RANK_RUNS);
	while (hot->nr_runs == NR_HOT_RUNS || hot->nr_pages + nr_pages > MAX_HOT_PAGES)
		hot_remove(hot, oldest(hot), &out[n++]);
	hot->run[hot->nr_runs] = (struct hot_run){(uintptr_t)addr, hot->nr_freed++, (uint16_t)nr_pages, false};
	WRITE_ONCE(hot->nr_runs, hot->nr_runs + 1);
	WRITE_ONCE(hot->nr_pages, hot->nr_pages + nr_pages);
	lock_drop(&hot->lock, RANK_RUNS);
	send_home(out, n);
	pages_tick();
}

void runs_reap(uint64_t now_ms)
{
	static uint64_t reaped_at_ms; /* atomic */
	struct buddy *b;

	if (ms_since(READ_ONCE(reaped_at_ms), now_ms) < REST_MS)
		return;
	WRITE_ONCE(reaped_at_ms, now_ms);
	for_each_buddy(b)
		hot_empty(&b->hot, false);
}

void runs_drain(void)
{
	struct buddy *b;

	for_each_buddy(b)
		hot_empty(&b->hot, true);
}
