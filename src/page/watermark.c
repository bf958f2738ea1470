/* SPDX-License-Identifier: MIT */
#include "page/watermark.h"

#include "os/options.h"
#include "os/os.h"
#include "os/shared.h"

#define WINDOW_MS 32
/* Pages that can be faulted in within a millisecond. */
#define FAULTS_PER_MS 512

/* --- what is learned, under the lock -------------------------------------- */

/* Pages to keep, going by this window's measurement; before it is over, as if the rest of it brought nothing. */
static size_t share_to_keep(uint64_t elapsed_ms)
{
	size_t nr_out = zone.nr_peak << PAGEBLOCK_ORDER, nr_in_use = nr_out - min_size(nr_out, zone.nr_spare);

	return min_size(nr_in_use, nr_in_use * zone.nr_recycled / (FAULTS_PER_MS * max_size(elapsed_ms, WINDOW_MS)));
}

/* See 3 in zone.h. Ends the window when it is time; each one halves what was learned, unless it supports it. */
static void learn(size_t nr_recycled, uint64_t now)
{
	/* 0: `now` was read before the lock was taken, and another thread may have ended a window since. */
	uint64_t elapsed = ms_since(zone.window_at_ms, now);

	if (!now) /* a seccomp filter refused the clock: then nothing is kept beyond the floor */
		return;
	zone.nr_recycled += nr_recycled;
	if (elapsed >= WINDOW_MS)
		WRITE_ONCE(zone.nr_learned, zone.nr_learned >> min_size(elapsed / WINDOW_MS, 63));
	WRITE_ONCE(zone.nr_learned, max_size(zone.nr_learned, share_to_keep(elapsed)));
	if (elapsed < WINDOW_MS)
		return;
	WRITE_ONCE(zone.window_at_ms, now);
	zone.nr_recycled = 0;
	WRITE_ONCE(zone.nr_purged, zone.nr_purged / 2);
	zone.nr_peak = zone.nr_used;
	zone.nr_spare = 0; /* nobody has counted them: zone_next_window() */
}

/* How many of the clean pages handed out would be warm had they not been purged. */
static size_t take_purged(size_t nr_clean)
{
	size_t n = min_size(nr_clean, zone.nr_purged);

	WRITE_ONCE(zone.nr_purged, zone.nr_purged - n);
	return n;
}

uint64_t zone_learning_clock(enum pageblock_state state)
{
	if (state != PAGEBLOCK_LARGE || !(READ_ONCE(zone.nr_dirty_pages) || READ_ONCE(zone.nr_purged)))
		return 0;
	return os_coarse_clock_ms(); /* perhaps a system call: not under the lock */
}

void zone_learn_blocks(unsigned nr_blocks, size_t nr_dirty, uint64_t now)
{
	if (now)
		learn(nr_dirty + take_purged(((size_t)nr_blocks << PAGEBLOCK_ORDER) - nr_dirty), now);
}

/* --- what goes round ------------------------------------------------------- */

void zone_note_unmapped(size_t nr_pages)
{
	if (!nr_pages)
		return;
	lock_take(&zone.lock, RANK_ZONE);
	WRITE_ONCE(zone.nr_purged, zone.nr_purged + nr_pages);
	lock_drop(&zone.lock, RANK_ZONE);
}

void zone_note_unmapped_run(size_t nr_pages)
{
	zone_note_unmapped(nr_pages);
	lock_take(&zone.lock, RANK_ZONE);
	zone.nr_peak = max_size(zone.nr_peak, zone.nr_used + 1);
	lock_drop(&zone.lock, RANK_ZONE);
}

void zone_note_fresh(size_t nr_pages)
{
	uint64_t now;

	if (likely(!nr_pages || !READ_ONCE(zone.nr_purged)))
		return;
	now = os_coarse_clock_ms();
	lock_take(&zone.lock, RANK_ZONE);
	learn(take_purged(nr_pages), now);
	lock_drop(&zone.lock, RANK_ZONE);
}

size_t zone_learned_pages(void)
{
	return READ_ONCE(zone.nr_learned);
}

void zone_note_kept(size_t nr_pages)
{
	WRITE_ONCE(zone.nr_kept, nr_pages);
}

bool zone_window_is_over(void)
{
	return ms_since(READ_ONCE(zone.window_at_ms), os_coarse_clock_ms()) >= WINDOW_MS;
}

void zone_next_window(size_t nr_recycled, size_t nr_spare)
{
	uint64_t now = os_coarse_clock_ms();

	nr_recycled += atomic_exchange_explicit(&zone.nr_recycled_outside, 0, memory_order_relaxed);
	lock_take(&zone.lock, RANK_ZONE);
	zone.nr_spare = nr_spare;
	learn(nr_recycled, now);
	zone.nr_spare = nr_spare; /* for the next one */
	lock_drop(&zone.lock, RANK_ZONE);
	zone_balance();
}

void zone_note_recycled(size_t nr_pages)
{
	shared_add(&zone.nr_recycled_outside, nr_pages);
}

void zone_set_dirty_floor(size_t size_bytes)
{
	zone.dirty_floor = size_bytes ? size_bytes : 1;
}

size_t zone_dirty_floor(void)
{
	return zone.dirty_floor ? zone.dirty_floor : bslab_options.dirty_size;
}

/* --- watermarks ------------------------------------------------------------ */

void zone_note_partial_free(size_t nr_pages)
{
	WRITE_ONCE(zone.nr_partial_free, nr_pages);
}

size_t zone_in_use(void)
{
	return zone_pages_in_use_of(&zone) << PAGE_SHIFT;
}

size_t zone_high_pages(void)
{
	return zone_high_pages_of(&zone, bslab_options.dirty_size);
}

size_t zone_high_partial_pages(size_t nr_in_use, size_t nr_peak)
{
	return (zone_dirty_floor() >> PAGE_SHIFT) + min_size(READ_ONCE(zone.nr_learned), nr_peak) + zone_share_of_partial(nr_in_use);
}
