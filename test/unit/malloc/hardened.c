/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bslab/bslab.h"
#include "bslab/kmalloc.h"
#include "bslab/profile.h"
#include "large/large.h"
#include "os/options.h"
#include "page/guard.h"
#include "stay.h"

TestSuite(hardened, .init = stay);

static void harden(void)
{
	const char *mode = getenv("BSLAB_CONF");
	char conf[100];

	snprintf(conf, sizeof conf, "%s,hardened=yes", mode ? mode : "index=mm_cid");
	setenv("BSLAB_CONF", conf, 1);
	bslab_free(bslab_malloc(1));
	cr_assert(bslab_options.hardened);
}

static uint64_t nr_remaps(void)
{
	struct large_info info;

	large_snapshot(&info);
	return info.nr_remaps;
}

#define MAX_BUFFERS 3

/* Some buffers by turns, to a size, by steps. How often one moved. */
static unsigned grow(unsigned nr_buffers, size_t to, size_t step)
{
	char *p[MAX_BUFFERS] = {NULL};
	unsigned nr_moves = 0, i;
	size_t size, at;

	for (size = step; size <= to; size += step)
		for (i = 0; i < nr_buffers; i++) {
			char *q = bslab_realloc(p[i], size);

			cr_assert_not_null(q);
			cr_assert_eq(bslab_malloc_usable_size(q), size);
			nr_moves += q != p[i];
			memset(q + size - step, (int)(size / step % 251), step);
			p[i] = q;
		}
	for (i = 0; i < nr_buffers; i++) {
		for (at = 0; at + step <= to; at += step)
			cr_assert_eq((unsigned char)p[i][at], (at / step + 1) % 251);
		bslab_free(p[i]);
	}
	return nr_moves;
}

/* A mapping costs seven system calls each time that it is resized: not for each of 110,000 steps. */
Test(hardened, small_steps_fit_most_times, .init = harden, .timeout = 60)
{
	uint64_t before = nr_remaps();

	grow(1, 2 * MIB, 16);
	cr_assert_lt(nr_remaps() - before, 600, "%u remaps", (unsigned)(nr_remaps() - before));
}

/* The thread knows one that grows: the others have room too. */
Test(hardened, buffers_that_grow_in_turn, .init = harden, .timeout = 60)
{
	uint64_t before = nr_remaps();
	unsigned nr_moves = grow(MAX_BUFFERS, 2 * MIB, 4096);

	cr_assert_lt(nr_moves, 100 * MAX_BUFFERS, "%u moves", nr_moves);
	cr_assert_lt(nr_remaps() - before, 60 * MAX_BUFFERS, "%u remaps", (unsigned)(nr_remaps() - before));
}

/* What is given up again is so: room is no more than the word behind can say. */
Test(hardened, mappings_shrink, .init = harden, .timeout = 60)
{
	struct large_info info;
	char *p = bslab_malloc(8 * MIB);
	size_t size;

	for (size = 8 * MIB; size > 3 * MIB; size -= 1000) {
		p = bslab_realloc(p, size);
		large_snapshot(&info);
		cr_assert_leq(info.mapped_bytes, size + 72 * KIB);
	}
	bslab_free(p);
}

/* No address space has them; the block stays as it was. */
Test(hardened, sizes_that_cannot_be, .init = harden, .timeout = 60)
{
	static const size_t from[] = {100, 5000, 200 * KIB, 3 * MIB}, to[] = {(size_t)1 << 47, (size_t)1 << 62, PTRDIFF_MAX, SIZE_MAX - 4};

	for (size_t i = 0; i < sizeof from / sizeof *from; i++) {
		char *p = bslab_malloc(from[i]);

		memset(p, 7, from[i]);
		for (size_t j = 0; j < sizeof to / sizeof *to; j++)
			cr_assert_null(bslab_realloc(p, to[j]));
		cr_assert_eq(bslab_malloc_usable_size(p), from[i]);
		cr_assert_eq(p[0], 7);
		cr_assert_eq(p[from[i] - 1], 7);
		bslab_free(p);
	}
}

/* More bytes than 32 bits count. */
Test(hardened, four_gib_and_more, .init = harden, .timeout = 60)
{
	size_t size = 4 * GIB + 100;
	char *p = bslab_malloc(size);

	if (!p)
		cr_skip("no such addresses");
	p[0] = p[size - 1] = 7;
	for (int i = 0; i < 100; i++) {
		p = bslab_realloc(p, size += 5000);
		cr_assert_not_null(p);
		cr_assert_eq(p[size - 1], 0);
		p[size - 1] = 7;
	}
	cr_assert_eq(p[0], 7);
	cr_assert_eq(p[4 * GIB + 99], 7);
	p = bslab_realloc(p, 2 * GIB);
	cr_assert_eq(p[0], 7);
	bslab_free(p);
}

/* Bytes that the program holds, as mallinfo2() has them: in objects, runs and mappings. */
static size_t nr_used(void)
{
	return bslab_mallinfo2().uordblks + bslab_mallinfo2().hblkhd;
}

/* Objects, runs that are wiped, runs that trap, mappings: free as soon as they are freed, and not at the next trim. */
Test(hardened, what_waits_counts_as_free, .init = harden, .timeout = 60)
{
	static const size_t sizes[] = {40, 5000, 40 * KIB, 300 * KIB, 3 * MIB};
	char *p[5];
	size_t before, all = 0, held;

	for (int round = 0; round < 2; round++) {
		before = nr_used();
		for (int i = 0; i < 5; i++) {
			p[i] = bslab_malloc(sizes[i]);
			all += round ? 0 : sizes[i];
		}
		held = nr_used() - before;
		cr_assert(held >= all && held < all + all / 8, "%zu of %zu", held, all);
		for (int i = 0; i < 5; i++)
			bslab_free(p[i]);
		cr_assert_eq(nr_used(), before, "round %d", round);
	}
	bslab_malloc_trim(0);
	cr_assert_eq(nr_used(), before);
}

/* The end of a string, written before a block or behind one, is seen: no word begins or ends with it. */
Test(hardened, no_word_begins_or_ends_with_a_zero, .init = harden, .timeout = 60)
{
	enum { SIZE = 24, NR = 10000 };
	static char *blocks[NR];

	for (int i = 0; i < NR; i++) {
		const char *word = blocks[i] = bslab_malloc(SIZE);

		__asm__("" : "+r"(word)); /* compilers do not let pass what stands behind a block */
		cr_assert_neq(word[SIZE], 0);
		cr_assert_neq(word[SIZE + 7], 0);
	}
	for (int i = 0; i < NR; i++)
		bslab_free(blocks[i]);
}

/* Runs that trap serve again once half of the yard is full, zeroed, and not before. */
Test(hardened, closed_runs_serve_again, .init = harden, .timeout = 60)
{
	enum { SIZE = 300 * 1024, NR = 400 };
	unsigned i, k, nr_again = 0;
	static char *seen[NR];

	for (i = 0; i < NR; i++) {
		bool is_again = false;
		char *p = bslab_malloc(SIZE);

		cr_assert(p[0] == 0 && p[SIZE / 2] == 0 && p[SIZE - 1] == 0);
		for (k = 0; k < i && !is_again; k++)
			is_again = seen[k] == p;
		cr_assert(!is_again || i >= 32 * MIB / (SIZE + BSLAB_PAGE_SIZE), "the %u-th", i);
		nr_again += is_again;
		seen[i] = p;
		memset(p, 'x', SIZE);
		bslab_free(p);
	}
	cr_assert_gt(nr_again, NR / 2);
}

static int traps(const char *p)
{
	int fd[2], n;

	cr_assert_eq(pipe(fd), 0);
	n = (int)write(fd[1], p, 1);
	close(fd[0]);
	close(fd[1]);
	return n < 0;
}

/* A run that was aligned to more than a page has no page that traps before it: it is not for who would want one. */
Test(hardened, a_page_traps_before_what_serves_again, .init = harden, .timeout = 60)
{
	static const size_t sizes[] = {9 * BSLAB_PAGE_SIZE - 8, 60 * BSLAB_PAGE_SIZE - 8};
	enum { NR = 300 };
	static void *aligned[NR];

	if (!traps((char *)bslab_malloc(sizes[1]) - 1))
		cr_skip("no page traps here");
	for (unsigned k = 0; k < 2; k++) {
		for (unsigned i = 0; i < NR; i++)
			aligned[i] = bslab_memalign(16 * BSLAB_PAGE_SIZE, sizes[k]);
		for (unsigned i = 0; i < NR; i++)
			bslab_free(aligned[i]);
		for (unsigned i = 0; i < 50; i++)
			cr_assert(traps((char *)bslab_malloc(sizes[k]) - 1), "%u, %u", k, i);
	}
}

/* Blocks have no place for a sample. */
Test(hardened, no_heap_profile)
{
	harden();
	errno = 0;
	cr_assert_eq(bslab_profile_start(0), -1);
	cr_assert_eq(errno, ENOTSUP);
}

/* Such a block has no bytes at all here, and yet is one. */
Test(hardened, blocks_of_no_size)
{
	enum { MANY = 100000 };
	char *p, *q;
	int i;

	harden();
	p = bslab_kmalloc(0, 0);
	q = bslab_krealloc(p, 10, 0);
	cr_assert_not_null(q);
	memset(q, 1, 10);
	bslab_kfree_sensitive(q);
	p = bslab_kmalloc(0, 0);
	bslab_kfree_sensitive(p);
	for (i = 0; i < MANY && (q = bslab_kmalloc(0, 0)) != p; i++)
		bslab_free(q);
	cr_assert_lt(i, MANY, "it was not freed");
}
