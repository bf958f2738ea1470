/* SPDX-License-Identifier: MIT */
#include "arch/arch.h"
#include "base/probe.h"
#include "large/area.h"
#include "os/options.h"
#include "os/os.h"
#include "os/touch.h"
#include "page/buddy.h"
#include "page/limit.h"
#include "page/zone.h"

/* Between two looks for kept blocks that nobody took. */
#define REST_MS 40

/* --- mappings that cannot have been filled: 5 of large.h ----------------------------------------------- */

/*
 * Of a kept mapping, going by the time that its owners had it, by os_counter_span(): 33 us at most, all together. One of them
 * had it for less than a call takes (180 ns at least, 450 where a mapping is split), so it has not changed it by mprotect(),
 * mlock() or madvise() either, which would be the next one's too.
 */
#define MAX_TOUCHED MIB

/* Whether the kernel is asked to charge for addresses that nobody uses (vm.overcommit_memory). Where that cannot be read, yes. */
static bool addresses_are_charged_for(void)
{
	static enum { UNKNOWN, FREE, CHARGED } are; /* atomic */
	char text[8];

	if (READ_ONCE(are) == UNKNOWN)
		WRITE_ONCE(are, os_read_file("/proc/sys/vm/overcommit_memory", text, sizeof text) && text[0] != '2' ? FREE : CHARGED);
	return READ_ONCE(are) == CHARGED;
}

/* mlockall() makes all of it resident while it is made. */
void hot_note_fresh(struct vm_area *a, uint64_t since)
{
	a->may_stay = touched_at_most(os_counter_span(since, os_counter())) < a->size && !bslab_options.hardened && !limit_is_hard() &&
		      !addresses_are_charged_for() && os_address_space_limit() == SIZE_MAX && os_data_limit() == SIZE_MAX;
	if (a->may_stay)
		a->owned_at = os_counter();
}

static bool mapping_may_stay(struct vm_area *a)
{
	uint64_t span;

	if (!a->may_stay)
		return false;
	span = os_counter_span(a->owned_at, os_counter());
	a->may_stay = span <= ARCH_SPAN_BELOW_CALL && touched_at_most(span) <= MAX_TOUCHED - a->touched;
	if (a->may_stay)
		a->touched += touched_at_most(span);
	return a->may_stay;
}

/* --- what is kept --------------------------------------------------------------------------------------- */

static size_t area_pages(const struct vm_area *a)
{
	return (size_t)a->nr_blocks << PAGEBLOCK_ORDER;
}

static bool any_is_kept(void)
{
	return READ_ONCE(large.nr_hot) != 0;
}

bool hot_is_too_much(void)
{
	size_t nr_hot = READ_ONCE(large.nr_hot_pages);

	return nr_hot && zone_nr_dirty() + nr_hot > zone_high_pages();
}

/* Nothing is kept that the zone would purge, nor what malloc does not take from. */
bool hot_admits(struct vm_area *a)
{
	if (!a->first)
		return mapping_may_stay(a) && limit_is_far();
	return !a->is_explicit && zone_nr_dirty() + READ_ONCE(large.nr_hot_pages) + area_pages(a) <= zone_high_pages();
}

/* n: 1, or -1. */
static void hot_count(const struct vm_area *a, int n)
{
	WRITE_ONCE(large.nr_hot, large.nr_hot + (unsigned)n);
	if (!a->first) {
		large.info.kept_mapped_bytes += (size_t)n * a->size;
		large.info.nr_kept_touched += (size_t)n * (align_up(a->touched, BSLAB_PAGE_SIZE) >> PAGE_SHIFT);
		return;
	}
	WRITE_ONCE(large.nr_hot_pages, large.nr_hot_pages + (size_t)n * area_pages(a));
	zone_note_kept(large.nr_hot_pages);
}

static struct vm_area *hot_remove(unsigned i)
{
	struct vm_area *a = large.hot[i];

	bslab_assert(lock_is_held(&large.lock));
	if (a) {
		for (; i + 1 < NR_HOT; i++)
			large.hot[i] = large.hot[i + 1];
		large.hot[NR_HOT - 1] = NULL;
		hot_count(a, -1);
	}
	return a;
}

void hot_release(bool all)
{
	struct vm_area *out[NR_HOT];
	unsigned i, n = 0;

	if (!any_is_kept())
		return;
	lock_take(&large.lock, RANK_LARGE);
	for (i = NR_HOT; i-- > 0;) {
		if (large.hot[i] && (all || large.hot[i]->was_seen))
			out[n++] = hot_remove(i);
		else if (large.hot[i])
			large.hot[i]->was_seen = true;
	}
	lock_drop(&large.lock, RANK_LARGE);
	while (n)
		area_release(out[--n]);
}

/* The block that has to go for it, or NULL. */
static struct vm_area *hot_put(struct vm_area *a)
{
	struct vm_area *last = hot_remove(NR_HOT - 1);
	unsigned i;

	a->was_seen = false;
	for (i = NR_HOT - 1; i > 0; i--)
		large.hot[i] = large.hot[i - 1];
	large.hot[0] = a;
	PROBE(large_keep, a->addr, a->size);
	hot_count(a, 1);
	return last;
}

void hot_keep(struct vm_area *a)
{
	struct vm_area *out;

	lock_take(&large.lock, RANK_LARGE);
	area_leave(a);
	out = hot_put(a);
	lock_drop(&large.lock, RANK_LARGE);
	if (out)
		area_release(out);
	else
		pages_tick();
}

/* Not in the list as yet. */
static struct vm_area *hot_find(size_t size, bool of_zone)
{
	unsigned n = of_zone ? blocks_of(size) : 0, i;

	for (i = 0; i < NR_HOT; i++) {
		const struct vm_area *a = large.hot[i];

		if (a && a->nr_blocks == n && (n || a->size == size))
			return hot_remove(i);
	}
	return NULL;
}

void *hot_take(size_t size, size_t align, bool of_zone)
{
	struct vm_area *a;
	size_t old_size = 0;

	if (!any_is_kept())
		return NULL;
	if (!of_zone)
		size = align_up(size, os_page_size());
	lock_take(&large.lock, RANK_LARGE);
	a = hot_find(size, of_zone);
	if (a) {
		old_size = a->size;
		a->size = size;
		a->align = align;
		area_enter(a);
	}
	lock_drop(&large.lock, RANK_LARGE);
	if (!a)
		return NULL;
	PROBE(large_reuse, a->addr, size);
	if (a->first) {
		if (size > old_size)
			blocks_mark(a, old_size);
		zone_note_recycled(area_pages(a));
	}
	pages_tick();
	if (!a->first)
		a->owned_at = os_counter();
	return area_describe(a);
}

void large_reap(uint64_t now_ms)
{
	static uint64_t reaped_at_ms; /* atomic */

	if (hot_is_too_much())
		hot_release(true);
	if (ms_since(READ_ONCE(reaped_at_ms), now_ms) < REST_MS)
		return;
	WRITE_ONCE(reaped_at_ms, now_ms);
	hot_release(false);
}

void large_tick(void)
{
	if (likely(!any_is_kept()))
		return;
	pages_tick();
	large_reap(os_coarse_clock_ms());
}

void large_drain(void)
{
	hot_release(true);
}
