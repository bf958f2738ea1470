/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "fake_os.h"
#include "handle/compact.h"
#include "handle/handle.h"
#include "os/options.h"
#include "page/movable.h"
#include "page/zone.h"

static void setup(void)
{
	bslab_options.region_size = 64 * MIB;
	bslab_options.dirty_size = MIB;
	bslab_options.large_size = 64 * MIB;
	fake.nr_cpus = 2;
}

TestSuite(compact, .init = setup);

static uint64_t get(size_t size)
{
	uint64_t h = size <= SMALL_MAX ? handle_alloc_fast(size) : 0;

	return h ? h : handle_alloc_slow(size);
}

static void put(uint64_t h)
{
	if (!handle_free(h))
		handle_free_slow(h);
}

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

static void check_all(unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		if (handle[i])
			check(i);
}

static size_t nr_blocks(void)
{
	return movable_nr_pages() / PAGEBLOCK_PAGES;
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
	size_t before, n;
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
	/* With all mapped, a try is followed by none until more is free. */
	for (i = 0; i < N; i++)
		if (handle[i] && i % 16)
			drop(i);
		else if (handle[i])
			cr_assert(handle_map(handle[i]));
	handles_balance();
	n = compact_counts.nr_balances;
	for (i = 0; i < 100; i++)
		handles_balance();
	cr_assert_leq(compact_counts.nr_balances, n);
}
