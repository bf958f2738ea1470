/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "bslab/bslab.h"
#include "stay.h"

TestSuite(realloc, .init = stay);

static unsigned char byte_at(size_t i)
{
	return (unsigned char)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

static void fill(unsigned char *p, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		p[i] = byte_at(i);
}

static void expect_contents(const unsigned char *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (p[i] != byte_at(i))
			cr_assert_fail("byte %zu of %zu is %#x, not %#x", i, size, p[i], byte_at(i));
}

static unsigned char *resize(unsigned char *p, size_t old_size, size_t size)
{
	p = bslab_realloc(p, size);
	cr_assert_not_null(p, "%zu to %zu", old_size, size);
	cr_assert_geq(bslab_malloc_usable_size(p), size);
	expect_contents(p, old_size < size ? old_size : size);
	fill(p, old_size < size ? old_size : size, size);
	return p;
}

/* From every kind of block to every other: slab object, page run, pageblocks, own mapping. */
static const size_t sizes[] = {1,	8,	  17,	    100,      1000,	   5000,	 20000,	      32768,	  32769,
			       40000,	132 * KIB, 133 * KIB, 900 * KIB, 2 * MIB - 1, 2 * MIB,	 2 * MIB + 1, 5 * MIB,	  5 * MIB + 4097,
			       11 * MIB, 260 * MIB, 300 * MIB};
#define NR_SIZES (sizeof sizes / sizeof *sizes)

Test(realloc, every_kind_to_every_kind)
{
	for (size_t i = 0; i < NR_SIZES; i++)
		for (size_t j = 0; j < NR_SIZES; j++) {
			unsigned char *p;

			if (sizes[i] > 20 * MIB && sizes[j] > 20 * MIB && i != j)
				continue; /* in its own test */
			p = bslab_malloc(sizes[i]);
			fill(p, 0, min_size(sizes[i], 12 * MIB));
			p = bslab_realloc(p, sizes[j]);
			cr_assert_not_null(p);
			expect_contents(p, min_size(min_size(sizes[i], sizes[j]), 12 * MIB));
			bslab_free(p);
		}
}

/* At a quarter's growth 16 bytes become 4 KiB in 25 moves; the first is exact, and small sizes are rounded. */
Test(realloc, appending_moves_seldom)
{
	unsigned nr_moves = 0;
	char *p = bslab_malloc(16), *q;
	size_t size;

	for (size = 40; size <= 4096; size += 24, p = q) {
		q = bslab_realloc(p, size);
		nr_moves += q != p;
	}
	cr_assert_leq(nr_moves, 30, "%u moves", nr_moves);
	bslab_free(p);
}

/* The block that grew last gives its memory back when it shrinks. */
Test(realloc, shrinking_after_growth)
{
	static const size_t grown[] = {2000, 200 * KIB, 5 * MIB}, shrunk[] = {10, 100, 100 * KIB};

	for (int i = 0; i < 3; i++) {
		char *p = bslab_malloc(100);

		p = bslab_realloc(p, grown[i]);
		p = bslab_realloc(p, shrunk[i]);
		cr_assert_leq(bslab_malloc_usable_size(p), shrunk[i] * 9 / 8 + 6);
		bslab_free_sized(p, shrunk[i]);
	}
}

/* Where there is no memory for a smaller block, the one that there is stays, and goes by its last size. */
Test(realloc, less_is_not_refused)
{
	enum { MAX = 60000 };
	static char *p[MAX];
	int n = 0;

	cr_assert_eq(bslab_set_limits(0, 32 * MIB), 0);
	while (n < MAX && (p[n] = bslab_malloc(1000)))
		p[n++][99] = 7;
	cr_assert(n > 1000 && n < MAX);
	for (int i = 0; i < n; i += 97) { /* apart, so that no page comes free by it */
		char *q = bslab_realloc(p[i], 100);

		cr_assert(q && q[99] == 7);
		bslab_free_sized(q, 100);
		p[i] = NULL;
	}
	bslab_set_limits(0, 0);
	while (n)
		bslab_free(p[--n]);
}

/* A block that grows once gets what was asked for: no quarter more. */
Test(realloc, growing_once_is_exact)
{
	char *p = bslab_malloc(1000), *other = bslab_malloc(1000);

	p = bslab_realloc(p, 1100);
	other = bslab_realloc(other, 1100);
	p = bslab_realloc(p, 1200);
	cr_assert_leq(bslab_malloc_usable_size(p), 1280);
	cr_assert_leq(bslab_malloc_usable_size(other), 1152);
	bslab_free(p);
	bslab_free(other);
}

Test(realloc, own_mapping_grows_and_shrinks)
{
	unsigned char *p = bslab_malloc(260 * MIB);

	fill(p, 0, 10 * MIB);
	for (int i = 0; i < 10; i++) {
		p = bslab_realloc(p, (260 + (size_t)(i % 3) * 50) * MIB);
		cr_assert_not_null(p);
		expect_contents(p, MIB);
		p[259 * MIB] = 1;
	}
	p = bslab_realloc(p, 10 * MIB);
	cr_assert_not_null(p);
	expect_contents(p, 10 * MIB);
	p = bslab_realloc(p, 100);
	cr_assert_not_null(p);
	expect_contents(p, 100);
	bslab_free(p);
}

/* Once exactly, then with an eighth in which it stays where it is; and less is less. */
Test(realloc, own_mapping_that_grows_by_little_has_room)
{
	const char *conf = getenv("BSLAB_CONF");
	bool has_room = !conf || (!strstr(conf, "hardened") && !strstr(conf, "hard_limit"));
	size_t size = 260 * MIB, page = 64 * KIB; /* any machine's */
	char *p = bslab_malloc(size), *stays;

	cr_assert_not_null(p);
	p[0] = 1;
	p = bslab_realloc(p, size + page);
	cr_assert_not_null(p);
	cr_assert_lt(bslab_malloc_usable_size(p), size + 2 * page);
	stays = p = bslab_realloc(p, size + 2 * page);
	cr_assert_not_null(p);
	cr_assert_leq(bslab_malloc_usable_size(p), (size + 2 * page) / 8 * 9);
	for (size_t more = 3 * page; more < size / 9 && has_room; more += page) {
		p = bslab_realloc(p, size + more);
		cr_assert_eq(p, stays, "a page more is no system call");
		cr_assert_geq(bslab_malloc_usable_size(p), size + more);
	}
	p = bslab_realloc(p, size + page);
	cr_assert_not_null(p);
	cr_assert_lt(bslab_malloc_usable_size(p), size + 2 * page);
	cr_assert_eq(p[0], 1);
	p = bslab_realloc(p, 2 * size); /* more than a little */
	cr_assert_not_null(p);
	cr_assert_lt(bslab_malloc_usable_size(p), 2 * size + page);
	bslab_free(p);
}

/*
 * A run that has no room left behind it moves into a mapping by its pages, and grows on there: back in a run it would be copied. Once
 * it shrinks it is a run again.
 */
Test(realloc, a_run_that_moved_out_grows_without_a_copy)
{
	const char *conf = getenv("BSLAB_CONF");
	size_t size = MIB, nr_mapped = bslab_mallinfo2().hblks;
	unsigned char *p = bslab_malloc(size), *behind = bslab_malloc(size), *t;

	if (p > behind) {
		t = p;
		p = behind;
		behind = t;
	}
	fill(p, 0, size);
	for (size_t more = 4 * KIB; more <= 100 * KIB; more += 4 * KIB) {
		p = bslab_realloc(p, size + more);
		cr_assert_not_null(p);
	}
	if (!conf || !strstr(conf, "hardened")) /* there it moves */
		cr_assert_eq(bslab_mallinfo2().hblks, nr_mapped + 1);
	expect_contents(p, size);
	p = bslab_realloc(p, size + 90 * KIB); /* it may go up and down from now on, which as a run costs no system call */
	cr_assert_not_null(p);
	expect_contents(p, size);
	cr_assert_eq(bslab_mallinfo2().hblks, nr_mapped);
	bslab_free(p);
	bslab_free(behind);
}

Test(realloc, null_is_malloc)
{
	unsigned char *p = bslab_realloc(NULL, 100);

	cr_assert_not_null(p);
	bslab_free(p);
	cr_assert_not_null(bslab_realloc(NULL, 0));
}

Test(realloc, zero_frees)
{
	struct bslab_mallinfo before = bslab_mallinfo2();

	errno = 77;
	cr_assert_null(bslab_realloc(bslab_malloc(100), 0));
	cr_assert_null(bslab_realloc(bslab_malloc(MIB), 0));
	cr_assert_null(bslab_realloc(bslab_malloc(5 * MIB), 0));
	cr_assert_eq(errno, 77);
	cr_assert_eq(bslab_mallinfo2().uordblks, before.uordblks);
}

Test(realloc, failure_leaves_the_block)
{
	volatile size_t huge = SIZE_MAX;
	unsigned char *p = bslab_malloc(5000);

	fill(p, 0, 5000);
	errno = 0;
	cr_assert_null(bslab_realloc(p, huge));
	cr_assert_eq(errno, ENOMEM);
	errno = 0;
	cr_assert_null(bslab_realloc(p, huge / 2));
	cr_assert_eq(errno, ENOMEM);
	errno = 0;
	cr_assert_null(bslab_realloc(p, (size_t)1 << 47));
	cr_assert_eq(errno, ENOMEM);
	errno = 0;
	cr_assert_null(bslab_reallocarray(p, huge, 2));
	cr_assert_eq(errno, ENOMEM);
	expect_contents(p, 5000);
	p = bslab_reallocarray(p, 100, 100);
	cr_assert_not_null(p);
	expect_contents(p, 5000);
	bslab_free(p);
}

Test(realloc, a_block_that_still_fits_stays)
{
	char *p = bslab_malloc(1000), *run = bslab_malloc(100 * KIB);

	cr_assert_eq(bslab_realloc(p, 900), p);
	cr_assert_eq(bslab_realloc(p, 1024), p);
	cr_assert_eq(bslab_realloc(run, 60 * KIB), run);
	cr_assert_eq(bslab_malloc_usable_size(run), 60 * KIB);
	cr_assert_eq(bslab_realloc(run, 100 * KIB), run, "the pages behind it are free");
}

Test(realloc, a_shrunk_run_gives_pages_back)
{
	void *run = bslab_malloc(MIB);
	struct bslab_mallinfo before = bslab_mallinfo2();

	run = bslab_realloc(run, 64 * KIB);
	cr_assert_not_null(run);
	cr_assert_eq(before.uordblks - bslab_mallinfo2().uordblks, MIB - 64 * KIB);
}

static size_t random_size(void)
{
	size_t limit = (size_t)1 << (4 + rand() % 20);

	return 1 + (size_t)rand() % limit;
}

static void play(unsigned seed, int nr_steps)
{
	static unsigned char *p[20];
	static size_t size[20];

	srand(seed);
	for (int step = 0; step < nr_steps; step++) {
		int i = rand() % 20;
		size_t want = random_size();

		p[i] = resize(p[i], size[i], want);
		size[i] = want;
		if (rand() % 8 == 0) {
			bslab_free(p[i]);
			p[i] = NULL;
			size[i] = 0;
		}
		if (rand() % 256 == 0)
			bslab_malloc_trim(0);
	}
	for (int i = 0; i < 20; i++)
		bslab_free(p[i]);
}

Test(realloc, random_sizes)
{
	play(7, 3000);
}

/* Own mappings from 2 MiB up: pages move between regions and mappings all the time. */
Test(realloc, random_sizes_with_small_mappings)
{
	bslab_mallopt(-3 /* M_MMAP_THRESHOLD */, 3 << 20);
	play(8, 3000);
}
