/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bslab/bslab.h"
#include "bslab/insight.h"
#include "bslab/profile.h"
#include "os/options.h"
#include "slab/sheaf.h"
#include "slab/slab.h"
#include "stay.h"

TestSuite(defrag, .init = stay);

enum { NR = 20000, SIZE = 96 };
static unsigned char *held[NR];

static struct cache_info snapshot(void)
{
	struct cache_info info;

	cr_assert(cache_snapshot(size_class(SIZE), &info));
	return info;
}

/* One in ten survives, at random. */
static unsigned fragment(size_t size)
{
	unsigned seed = 5, nr_live = 0;

	for (int i = 0; i < NR; i++) {
		held[i] = bslab_malloc(size);
		memset(held[i], i, size);
	}
	for (int i = 0; i < NR; i++) {
		if (rand_r(&seed) % 10) {
			bslab_free(held[i]);
			held[i] = NULL;
		} else {
			nr_live++;
		}
	}
	bslab_malloc_trim(0);
	return nr_live;
}

Test(defrag, survivors_are_packed)
{
	unsigned nr_live = fragment(SIZE), nr_moved = 0;
	size_t before = snapshot().nr_pages;

	for (int round = 0; round < 4; round++)
		for (int i = 0; i < NR; i++) {
			unsigned char *p;

			if (!held[i] || bslab_defrag_hint(held[i]) == BSLAB_DEFRAG_NO)
				continue;
			p = bslab_defrag_move(held[i]);
			if (p) {
				held[i] = p;
				nr_moved++;
			}
		}
	bslab_malloc_trim(0);
	cr_assert_gt(nr_moved, nr_live / 2);
	cr_assert_lt(snapshot().nr_pages, before / 3, "%zu pages, %zu before", snapshot().nr_pages, before);
	for (int i = 0; i < NR; i++)
		for (int k = 0; held[i] && k < SIZE; k++)
			cr_assert_eq(held[i][k], (unsigned char)i);
	for (int i = 0; i < NR; i++)
		bslab_free(held[i]);
	bslab_malloc_trim(0);
	cr_assert_eq(snapshot().nr_slabs, 0);
}

Test(defrag, the_last_of_a_slab_is_told)
{
	unsigned nr_last = 0, nr_live = fragment(5000);

	for (int i = 0; i < NR; i++)
		nr_last += held[i] && bslab_defrag_hint(held[i]) == BSLAB_DEFRAG_LAST;
	/* A slab has eight objects or more; of eight, four in ten of those with survivors have a single one. */
	cr_assert_gt(nr_last, nr_live / 50);
}

Test(defrag, full_slabs_stay)
{
	unsigned nr_hints = 0;

	for (int i = 0; i < NR; i++)
		held[i] = bslab_malloc(SIZE);
	for (int i = 0; i < NR; i++)
		nr_hints += bslab_defrag_hint(held[i]) != BSLAB_DEFRAG_NO;
	/* Only the slab that objects are taken from is not full. */
	cr_assert_leq(nr_hints, 512);
}

Test(defrag, runs_and_large_blocks)
{
	char *run = bslab_malloc(100000), *large = bslab_malloc(5 * MIB);

	cr_assert_neq(bslab_defrag_hint(run), BSLAB_DEFRAG_NO, "the only one in its pageblock, or nearly");
	cr_assert_eq(bslab_defrag_hint(large), BSLAB_DEFRAG_NO);
	cr_assert_null(bslab_defrag_move(run));
	cr_assert_null(bslab_defrag_move(large));
	bslab_free(run);
	bslab_free(large);
}

Test(defrag, a_run_among_many_is_sparse)
{
	char *run[60];
	unsigned nr[3] = {0};

	for (int i = 0; i < 60; i++)
		run[i] = bslab_malloc(100000); /* 25 pages, some twenty in a pageblock */
	for (int i = 0; i < 60; i++)
		nr[bslab_defrag_hint(run[i])]++;
	cr_assert_gt(nr[BSLAB_DEFRAG_NO], 30);
	for (int i = 0; i < 60; i++)
		if (i % 10)
			bslab_free(run[i]);
	memset(nr, 0, sizeof nr);
	for (int i = 0; i < 60; i += 10)
		nr[bslab_defrag_hint(run[i])]++;
	cr_assert_gt(nr[BSLAB_DEFRAG_SPARSE], 0);
	cr_assert_eq(nr[BSLAB_DEFRAG_NO], 0);
	for (int i = 0; i < 60; i += 10)
		bslab_free(run[i]);
}

Test(defrag, samples_are_runs)
{
	char *p;

	cr_assert_eq(bslab_profile_start(1), 0);
	p = bslab_malloc(64);
	cr_assert_neq(bslab_defrag_hint(p), BSLAB_DEFRAG_NO);
	cr_assert_eq(bslab_defrag_hint(p + 1), BSLAB_DEFRAG_NO);
	bslab_profile_stop();
	bslab_free(p);
}

Test(defrag, what_is_no_block)
{
	char on_stack, *p = bslab_malloc(64);

	cr_assert_eq(bslab_defrag_hint(NULL), BSLAB_DEFRAG_NO);
	cr_assert_eq(bslab_defrag_hint(&on_stack), BSLAB_DEFRAG_NO);
	cr_assert_eq(bslab_defrag_hint(p + 8), BSLAB_DEFRAG_NO);
	cr_assert_eq(bslab_defrag_hint((void *)~0ul), BSLAB_DEFRAG_NO);
	cr_assert_null(bslab_defrag_move(p + 8));
	cr_assert_null(bslab_defrag_move(NULL));
	bslab_free(p);
}
