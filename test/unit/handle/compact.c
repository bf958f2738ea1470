/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "fake_os.h"
#include "handle/compact.h"
#include "handle/get.h"
#include "handle/handle.h"
#include "handle/move.h"
#include "os/options.h"
#include "page/compactable.h"
#include "page/zone.h"

static void setup(void)
{
	bslab_options.region_size = 64 * MIB;
	bslab_options.dirty_size = MIB;
	bslab_options.large_size = 64 * MIB;
	fake.nr_cpus = 2;
}

TestSuite(compact, .init = setup);

/* A heap of objects that know their size and number; 0: a hole. */
enum { N = 40000 };
static uint64_t handle[N];
static size_t size[N];

static void make(unsigned i, size_t bytes)
{
	size_t n;
	char *p;

	handle[i] = get(bytes);
	size[i] = bytes;
	cr_assert(handle[i]);
	p = handle_map(handle[i]);
	for (n = 0; n + 8 <= bytes; n += 8)
		memcpy(p + n, &handle[i], 8);
	handle_unmap(handle[i]);
}

static void check(unsigned i)
{
	const char *p = handle_map(handle[i]);
	size_t n;

	for (n = 0; n + 8 <= size[i]; n += 8)
		cr_assert_eq(memcmp(p + n, &handle[i], 8), 0);
	handle_unmap(handle[i]);
}

static void drop(unsigned i)
{
	put(handle[i]);
	handle[i] = 0;
}

/* Each block that was isolated came to one end. */
static void check_counts(void)
{
	const struct compact_counts *c = &compact_counts;

	cr_assert_eq(c->nr_isolated, c->nr_released + c->nr_pinned + c->nr_void + c->nr_no_room + c->nr_deferred);
}

static void check_all(unsigned n)
{
	unsigned i;

	check_counts();
	for (i = 0; i < n; i++)
		if (handle[i])
			check(i);
}

static size_t nr_blocks(void)
{
	return compactable_nr_pages() / PAGEBLOCK_PAGES;
}

/* n objects, of which each keep-th stays. */
static void fragment(unsigned n, unsigned keep, size_t bytes)
{
	unsigned i;

	for (i = 0; i < n; i++)
		make(i, bytes);
	for (i = 0; i < n; i++)
		if (i % keep)
			drop(i);
	handles_drain();
}

Test(compact, nothing_to_do)
{
	cr_assert_eq(handles_compact(), 0);
	make(0, 100);
	cr_assert_eq(handles_compact(), 0);
	check(0);
	cr_assert_eq(compact_counts.nr_released, 0);
}

Test(compact, a_sparse_heap_is_packed)
{
	size_t before, after;

	fragment(N, 8, 500);
	before = nr_blocks();
	cr_assert_gt(before, 8);
	after = before - handles_compact();
	cr_assert_eq(nr_blocks(), after);
	cr_assert_leq(after, before / 8 + 2, "%zu of %zu blocks", after, before);
	check_all(N);
	cr_assert_eq(compact_counts.nr_released, before - after);
	cr_assert_eq(compact_counts.nr_successes, 1);
	cr_assert_gt(compact_counts.nr_moved, 100);
}

Test(compact, many_sizes)
{
	size_t before, released, bytes = 0;
	unsigned i;

	srand(1);
	for (i = 0; i < 6000; i++)
		make(i, 16 + (size_t)rand() % (rand() % 10 ? 2000 : 60000));
	for (i = 0; i < 6000; i++)
		if (rand() % 6)
			drop(i);
		else
			bytes += size[i];
	handles_drain();
	before = nr_blocks();
	released = handles_compact();
	cr_assert_eq(nr_blocks(), before - released);
	cr_assert_leq(nr_blocks(), bytes / PAGEBLOCK_SIZE + 4, "%zu blocks for %zu bytes", nr_blocks(), bytes);
	check_all(6000);
	for (i = 0; i < 6000; i++)
		if (handle[i])
			drop(i);
	handles_drain();
	handle_caches_shrink();
	cr_assert_eq(nr_blocks(), 0);
	cr_assert_eq(objects_bytes(), 0);
}

Test(compact, runs_move)
{
	size_t before;

	fragment(400, 4, 100000);
	before = nr_blocks();
	cr_assert_gt(before, 18);
	handles_compact();
	cr_assert_leq(nr_blocks(), 7);
	check_all(400);
}

Test(compact, mapped_objects_stay_and_so_do_their_blocks)
{
	size_t before, n;
	void *p, *q;

	fragment(N, 16, 500);
	before = nr_blocks();
	p = handle_map(handle[0]);
	q = handle_map(handle[N / 2]);
	n = handles_compact();
	cr_assert_eq(handle_map(handle[0]), p);
	cr_assert_eq(handle_map(handle[N / 2]), q);
	cr_assert_gt(n, 0);
	cr_assert_gt(compact_counts.nr_pinned, 0);
	cr_assert_eq(nr_blocks(), before - n);
	check_all(N);
	handle_unmap(handle[0]);
	handle_unmap(handle[0]);
	handle_unmap(handle[N / 2]);
	handle_unmap(handle[N / 2]);
	cr_assert_gt(handles_compact(), 0, "now one of the two blocks goes, too");
	check_all(N);
}

Test(compact, all_are_mapped)
{
	unsigned i;

	fragment(N, 8, 500);
	for (i = 0; i < N; i += 8)
		cr_assert(handle_map(handle[i]));
	cr_assert_eq(handles_compact(), 0);
	cr_assert_eq(compact_counts.nr_failures, 1);
	cr_assert_eq(compact_counts.nr_moved, 0);
	for (i = 0; i < N; i += 8)
		handle_unmap(handle[i]);
	/* Blocks that were put back serve again. */
	for (i = 1; i < 1000; i++)
		if (!handle[i])
			make(i, 500);
	check_all(N);
	cr_assert_gt(handles_compact(), 0);
	check_all(N);
}

/* What a thread keeps hinders nothing, and the thread finds its handles without objects. */
Test(compact, takes_what_threads_keep)
{
	struct handle_info info;
	unsigned i;

	fragment(N, 8, 500);
	for (i = 1; i < 200; i++)
		if (!handle[i])
			make(i, 500);
	for (i = 1; i < 200; i++)
		if (i % 8)
			drop(i);
	handles_snapshot(&info);
	cr_assert_gt(info.nr_cached[size_class(500)], 10);
	cr_assert_gt(handles_reclaim(), 0);
	handles_snapshot(&info);
	cr_assert_eq(info.nr_cached[size_class(500)], 0);
	for (i = 1; i < 200; i++)
		if (!handle[i])
			make(i, 500);
	check_all(N);
	for (i = 0; i < N; i++)
		if (handle[i])
			drop(i);
	handles_drain();
	handle_caches_shrink();
	cr_assert_eq(objects_bytes(), 0);
	cr_assert_eq(nr_blocks(), 0);
	handles_snapshot(&info);
	cr_assert_eq(info.nr_free, info.nr_entries);
}

/* A full heap: nothing is isolated for nothing. */
Test(compact, no_room)
{
	size_t before;

	fragment(N, 1, 500);
	before = nr_blocks();
	handles_compact();
	cr_assert_geq(nr_blocks(), before - 1);
	check_all(N);
}

Test(compact, asks_the_kernel_for_nothing)
{
	fragment(N, 8, 500);
	fake_fail_at(FAKE_ALL & ~(1u << FAKE_PURGE), 1, true);
	cr_assert_gt(handles_compact(), 0);
	cr_assert_eq(fake.nr_failed, 0);
	check_all(N);
}

Test(compact, by_the_watermark)
{
	size_t before;
	unsigned i;

	for (i = 0; i < N; i++)
		make(i, 500);
	for (i = 0; i < N; i++) {
		if (i % 8) {
			drop(i);
			if (i % 64 == 1)
				handles_balance();
		}
	}
	before = N / 4000;
	cr_assert_gt(compact_counts.nr_balances, 0);
	cr_assert_gt(compact_counts.nr_released, 0);
	cr_assert_leq(nr_blocks(), before / 2 + 1, "%zu blocks", nr_blocks());
	check_all(N);
}

/* "dirty" and M_TRIM_THRESHOLD: so much may be free. */
Test(compact, by_no_watermark)
{
	static const size_t dirty[] = {SIZE_MAX, SIZE_MAX - PAGEBLOCK_SIZE, GIB};
	unsigned i;

	fragment(N, 16, 500);
	for (i = 0; i < 6; i++) {
		bslab_options.dirty_size = i < 3 ? dirty[i] : 0;
		if (i >= 3)
			zone_set_dirty_floor(dirty[i - 3]);
		handles_balance();
		cr_assert_eq(compact_counts.nr_balances, 0, "%u", i);
	}
	zone_set_dirty_floor(0);
	handles_balance();
	cr_assert_eq(compact_counts.nr_balances, 1);
	check_all(N);
}

/* All mapped: looks in vain come to an end, until time has passed. Then nothing is mapped any more, and it goes on. */
Test(compact, by_the_watermark_after_a_while)
{
	size_t before, n;
	unsigned i;

	fake.clock_ms = 1000;
	fragment(N, 16, 500);
	for (i = 0; i < N; i += 16)
		cr_assert(handle_map(handle[i]));
	for (i = 0; i < 100; i++)
		handles_balance();
	before = nr_blocks();
	n = compact_counts.nr_balances;
	cr_assert_lt(n, 50);
	for (i = 0; i < 100; i++)
		handles_balance();
	cr_assert_eq(compact_counts.nr_balances, n);
	cr_assert_eq(nr_blocks(), before);
	for (i = 0; i < N; i += 16)
		handle_unmap(handle[i]);
	handles_balance();
	cr_assert_eq(compact_counts.nr_balances, n, "not yet");
	for (i = 0; i < N / 4; i += 16) /* whole blocks: less is free between objects */
		drop(i);
	handles_drain();
	handle_caches_shrink();
	for (i = 0; i < 4; i++)
		handles_balance();
	cr_assert_gt(compact_counts.nr_balances, n);
	for (i = 0; i < 100; i++) {
		fake.clock_ms += 50;
		handles_balance();
	}
	cr_assert_leq(nr_blocks(), 4, "%zu of %zu blocks", nr_blocks(), before);
	check_all(N);
}

/* The first object of each pageblock, of those that stayed. */
static unsigned pin_first(unsigned max)
{
	const struct pageblock *last = NULL;
	unsigned i, n = 0;

	for (i = 0; i < N && n < max; i++)
		if (handle[i]) {
			const struct pageblock *blk = map_pageblock((uintptr_t)handle_map(handle[i]));

			if (blk != last)
				n++;
			else
				handle_unmap(handle[i]);
			last = blk;
		}
	return n;
}

/* A few sparse blocks that stay do not keep the others from going. */
Test(compact, pinned_blocks_do_not_stop_the_watermark)
{
	unsigned i, n;
	size_t before;

	fake.clock_ms = 1000;
	fragment(N, 16, 1000);
	before = nr_blocks();
	/* The blocks of the first quarter are the sparsest. */
	for (i = 0; i < N / 4; i++)
		if (handle[i] && i % 64)
			drop(i);
	handles_drain();
	n = pin_first((unsigned)before / 3);
	cr_assert_gt(n, 4);
	for (i = 0; i < 100; i++) {
		fake.clock_ms += 50;
		handles_balance();
	}
	cr_assert_leq(nr_blocks(), n + 2, "%zu of %zu blocks, %u pinned", nr_blocks(), before, n);
	check_all(N);
}

/* More of them than a pass has candidates. */
Test(compact, pinned_blocks_do_not_stop_a_call)
{
	enum { NR_RUNS = 400 };
	unsigned i;
	size_t before, n;

	for (i = 0; i < NR_RUNS; i++) /* each some more than a quarter of a pageblock: three to a block */
		make(i, 600 * KIB);
	for (i = 0; i < NR_RUNS; i++)
		if (i % 3)
			drop(i);
	before = nr_blocks();
	for (i = 0; i < NR_RUNS / 2; i += 3)
		cr_assert(handle_map(handle[i]));
	n = handles_compact();
	cr_assert_geq(n, before / 4, "%zu of %zu, half are pinned", n, before);
	cr_assert_gt(compact_counts.nr_pinned, 32);
	check_all(NR_RUNS);
}

/* What one free does is bounded, and what is more than half used is left alone. */
Test(compact, by_the_watermark_a_step_at_a_time)
{
	size_t before;
	unsigned i;

	fake.clock_ms = 1000;
	fragment(N, 4, 500);
	before = compact_counts.nr_moved_bytes;
	for (i = 0; i < 100; i++) {
		size_t moved = compact_counts.nr_moved_bytes;

		handles_balance();
		cr_assert_leq(compact_counts.nr_moved_bytes - moved, 257 * KIB);
	}
	cr_assert_gt(compact_counts.nr_moved_bytes, before);
	cr_assert_gt(compact_counts.nr_deferred, 0);
	cr_assert_leq(nr_blocks(), 5);
	check_all(N);
}

Test(compact, dense_blocks_are_left_to_calls)
{
	unsigned i;

	fake.clock_ms = 1000;
	for (i = 0; i < N; i++)
		make(i, 500);
	for (i = 0; i < N; i++)
		if (i % 8 < 3)
			drop(i);
	handles_drain();
	for (i = 0; i < 100; i++) {
		fake.clock_ms += 50;
		handles_balance();
	}
	cr_assert_gt(compact_counts.nr_balances, 0, "the watermark is passed");
	cr_assert_leq(compact_counts.nr_moved_bytes, PAGEBLOCK_SIZE / 2, "the last block, which was never full");
	cr_assert_gt(handles_compact(), 0);
	check_all(N);
}

/* A slab that is kept without objects goes when its block is to be emptied. */
Test(compact, empty_slabs_keep_no_block)
{
	struct handle_slab *s;
	uintptr_t base;
	size_t pages;

	make(0, 500);
	make(1, 5000);
	base = align_down((uintptr_t)handle_map(handle[0]), BSLAB_PAGE_SIZE);
	handle_unmap(handle[0]);
	drop(0);
	handles_drain();
	s = handle_slab_of(map_lookup(base));
	cr_assert(s);
	cr_assert_eq(s->nr_taken, 0, "kept");
	pages = map_pageblock(base)->nr_free;
	cr_assert(handle_slab_isolate(s, base));
	cr_assert_eq(map_pageblock(base)->nr_free, pages + handle_caches[size_class(500)]->nr_pages);
	cr_assert_not(handle_slab_of(map_lookup(base)));
}
