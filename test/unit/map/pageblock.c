/* SPDX-License-Identifier: MIT */
/* The buddy system of one pageblock against a plain array of which page is whose. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "fake_os.h"
#include "map/map.h"
#include "map/pageblock.h"

#define BLOCK_ADDRESS ((uintptr_t)0x7f1234600000)
#define MAX_RUNS 256

static struct pageblock *b;
static uint16_t owner[PAGEBLOCK_PAGES]; /* number of the run, 0: free */
static bool dirty[PAGEBLOCK_PAGES];
static struct {
	unsigned index, nr_pages;
} runs[MAX_RUNS + 1];

static void setup(void)
{
	cr_assert(map_ensure(BLOCK_ADDRESS, PAGEBLOCK_SIZE));
	b = map_pageblock(BLOCK_ADDRESS);
	b->number = (uint32_t)(BLOCK_ADDRESS >> PAGEBLOCK_SHIFT);
	pageblock_init_free(b);
}

TestSuite(pageblock, .init = setup);

static unsigned nr_free(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PAGEBLOCK_PAGES; i++)
		n += owner[i] == 0;
	return n;
}

static void check(void)
{
	unsigned n = 0;

	cr_assert(pageblock_is_valid(b));
	cr_assert_eq(b->nr_free, nr_free());
	for (unsigned i = 0; i < PAGEBLOCK_PAGES; i++) {
		n += !owner[i] && dirty[i];
		cr_assert_eq(pageblock_nr_dirty(b, i, 1), dirty[i]);
	}
	cr_assert_eq(b->nr_dirty_free, n);
}

/* Is there an aligned free page block of the order in the model? The buddy system finds one exactly then. */
static bool model_fits(unsigned order)
{
	for (unsigned i = 0; i < PAGEBLOCK_PAGES; i += 1u << order) {
		unsigned j = 0;

		while (j < 1u << order && !owner[i + j])
			j++;
		if (j == 1u << order)
			return true;
	}
	return false;
}

/* The length of the shortest row of free pages, all dirty, of at least nr_pages; 0: there is none. */
static unsigned model_shortest_row(unsigned nr_pages)
{
	unsigned n = 0, best = 0;

	for (unsigned i = 0; i <= PAGEBLOCK_PAGES; i++) {
		if (i < PAGEBLOCK_PAGES && !owner[i] && dirty[i]) {
			n++;
			continue;
		}
		if (n >= nr_pages && (!best || n < best))
			best = n;
		n = 0;
	}
	return best;
}

static void take(unsigned run, unsigned index, unsigned nr_pages, unsigned nr_dirty)
{
	unsigned n = 0;

	for (unsigned i = index; i < index + nr_pages; i++) {
		cr_assert_eq(owner[i], 0, "page %u is in run %u already", i, owner[i]);
		owner[i] = (uint16_t)run;
		n += dirty[i];
		dirty[i] = true;
	}
	cr_assert_eq(nr_dirty, n);
}

static void enter(unsigned run, unsigned index, unsigned nr_pages, unsigned nr_dirty)
{
	take(run, index, nr_pages, nr_dirty);
	map_set_range(BLOCK_ADDRESS + ((uintptr_t)index << PAGE_SHIFT), nr_pages, desc_of_number(1, PAGE_RUN_BODY));
	runs[run].index = index;
	runs[run].nr_pages = nr_pages;
}

static void try_alloc(unsigned run, unsigned nr_pages, unsigned align_order)
{
	unsigned order = order_of(nr_pages), nr_dirty;
	int index = pageblock_alloc(b, nr_pages, align_order, &nr_dirty);

	if (order < align_order)
		order = align_order;
	cr_assert_eq(index >= 0, model_fits(order), "order %u", order);
	if (index < 0)
		return;
	cr_assert_eq((unsigned)index % (1u << align_order), 0);
	enter(run, (unsigned)index, nr_pages, nr_dirty);
}

static int alloc_row(unsigned nr_pages)
{
	int index = pageblock_find_row(b, nr_pages);

	if (index >= 0)
		cr_assert_eq(pageblock_take_row(b, (unsigned)index, nr_pages), nr_pages);
	return index;
}

static void try_alloc_row(unsigned run, unsigned nr_pages)
{
	bool has_row = model_shortest_row(nr_pages) > 0;
	int index = alloc_row(nr_pages);

	cr_assert_eq(index >= 0, has_row, "%u pages", nr_pages);
	if (index >= 0)
		enter(run, (unsigned)index, nr_pages, nr_pages);
}

static void free_pages(unsigned index, unsigned nr_pages)
{
	pageblock_free(b, index, nr_pages);
	for (unsigned i = index; i < index + nr_pages; i++)
		owner[i] = 0;
}

static void try_extend(unsigned run, unsigned nr_more)
{
	unsigned end = runs[run].index + runs[run].nr_pages, nr_dirty, i = end;
	bool fits;

	while (i < end + nr_more && i < PAGEBLOCK_PAGES && !owner[i])
		i++;
	fits = i == end + nr_more;
	cr_assert_eq(pageblock_extend(b, end, nr_more, &nr_dirty), fits, "%u pages at %u", nr_more, end);
	if (!fits)
		return;
	take(run, end, nr_more, nr_dirty);
	map_set_range(BLOCK_ADDRESS + ((uintptr_t)end << PAGE_SHIFT), nr_more, desc_of_number(1, PAGE_RUN_BODY));
	runs[run].nr_pages += nr_more;
}

/* Gives back the tail, or all. */
static void shrink(unsigned run, unsigned nr_keep)
{
	free_pages(runs[run].index + nr_keep, runs[run].nr_pages - nr_keep);
	runs[run].nr_pages = nr_keep;
}

/* What a purge does: out of the lists, clean, back again. */
static void purge_one(void)
{
	for (unsigned order = NR_ORDERS; order-- > 0;) {
		unsigned index, i;

		if (!b->head[order])
			continue;
		index = b->head[order] - 1u;
		pageblock_isolate(b, index, order);
		cr_assert(pageblock_is_valid(b));
		pageblock_set_dirty(b, index, 1u << order, false);
		pageblock_free(b, index, 1u << order);
		for (i = index; i < index + (1u << order); i++)
			dirty[i] = false;
		return;
	}
}

static bool model_has_dirty(unsigned min_order)
{
	for (unsigned order = min_order; order < NR_ORDERS; order++)
		for (unsigned link = b->head[order]; link; link = pageblock_next_free(b, link))
			for (unsigned i = 0; i < 1u << order; i++)
				if (dirty[link - 1 + i])
					return true;
	return false;
}

static void try_has_dirty(unsigned min_order)
{
	bool has = model_has_dirty(min_order);

	cr_assert_eq(pageblock_has_dirty(b, min_order), has, "order %u", min_order);
	cr_assert_eq(b->dirty_orders > min_order, has);
}

static void try_find_row(unsigned nr_pages)
{
	unsigned length = model_shortest_row(nr_pages), i;
	int index = pageblock_find_row(b, nr_pages);

	cr_assert_eq(index >= 0, length > 0, "%u pages", nr_pages);
	cr_assert(!index || index < 0 || owner[index - 1] || !dirty[index - 1], "there is a page before %d", index);
	for (i = 0; i < length; i++)
		cr_assert(!owner[(unsigned)index + i] && dirty[(unsigned)index + i]);
	i += (unsigned)index;
	cr_assert(index < 0 || i == PAGEBLOCK_PAGES || owner[i] || !dirty[i], "it is longer than %u", length);
	cr_assert(!b->warm_row || !model_shortest_row(b->warm_row + 1u));
}

static void play(unsigned seed, unsigned nr_steps, unsigned max_pages)
{
	srand(seed);
	for (unsigned step = 0; step < nr_steps; step++) {
		unsigned run = 1 + (unsigned)rand() % MAX_RUNS, n = 1 + (unsigned)rand() % max_pages;

		if (!runs[run].nr_pages)
			rand() % 4 ? try_alloc(run, n, rand() % 4 ? 0 : (unsigned)rand() % NR_ORDERS) : try_alloc_row(run, n);
		else if (rand() % 4 == 0)
			try_extend(run, n);
		else
			shrink(run, rand() % 3 ? 0 : (unsigned)rand() % runs[run].nr_pages);
		if (rand() % 16 == 0)
			purge_one();
		if (rand() % 16 == 0)
			try_has_dirty((unsigned)rand() % NR_ORDERS);
		if (rand() % 16 == 0)
			try_find_row(n);
		check();
	}
	for (unsigned run = 1; run <= MAX_RUNS; run++)
		if (runs[run].nr_pages)
			shrink(run, 0);
	check();
	cr_assert_eq(b->orders, 1u << PAGEBLOCK_ORDER, "all is free, and not one page block");
	pageblock_fini_free(b);
	for (unsigned i = 0; i < PAGEBLOCK_PAGES; i++)
		cr_assert_eq(map_lookup(BLOCK_ADDRESS + ((uintptr_t)i << PAGE_SHIFT)), 0, "page %u keeps a descriptor", i);
}

Test(pageblock, random_small_runs)
{
	play(1, 6000, 8);
}

Test(pageblock, random_runs)
{
	play(2, 6000, 60);
}

Test(pageblock, random_large_runs)
{
	play(3, 6000, PAGEBLOCK_PAGES);
}

Test(pageblock, the_whole_block_and_one_page_more)
{
	unsigned nr_dirty;

	cr_assert_eq(pageblock_alloc(b, PAGEBLOCK_PAGES, 0, &nr_dirty), 0);
	cr_assert_eq(nr_dirty, 0);
	cr_assert_eq(pageblock_alloc(b, 1, 0, &nr_dirty), -1);
	cr_assert_eq(b->orders, 0);
	pageblock_free(b, 0, PAGEBLOCK_PAGES);
	cr_assert(pageblock_is_valid(b));
	cr_assert_eq(pageblock_alloc(b, PAGEBLOCK_PAGES, PAGEBLOCK_ORDER, &nr_dirty), 0);
	cr_assert_eq(nr_dirty, PAGEBLOCK_PAGES);
}

Test(pageblock, runs_are_exact)
{
	unsigned nr_dirty;

	cr_assert_geq(pageblock_alloc(b, 33, 0, &nr_dirty), 0);
	cr_assert_eq(b->nr_free, PAGEBLOCK_PAGES - 33);
	for (unsigned i = 1; i < PAGEBLOCK_PAGES / 33; i++)
		pageblock_alloc(b, 33, 0, &nr_dirty);
	cr_assert(pageblock_is_valid(b));
}

Test(pageblock, dirty_bits_across_words)
{
	pageblock_set_dirty(b, 60, 140, true);
	cr_assert_eq(pageblock_nr_dirty(b, 0, PAGEBLOCK_PAGES), 140);
	cr_assert_eq(pageblock_nr_dirty(b, 0, 60), 0);
	cr_assert_eq(pageblock_nr_dirty(b, 200, 312), 0);
	cr_assert_eq(pageblock_nr_dirty(b, 63, 2), 2);
	pageblock_set_dirty(b, 64, 64, false);
	cr_assert_eq(pageblock_nr_dirty(b, 0, PAGEBLOCK_PAGES), 76);
	pageblock_set_dirty(b, 0, PAGEBLOCK_PAGES, true);
	cr_assert_eq(pageblock_nr_dirty(b, 511, 1), 1);
	pageblock_set_dirty(b, 511, 1, false);
	cr_assert_eq(pageblock_nr_dirty(b, 0, PAGEBLOCK_PAGES), 511);
}

/* Behind others of its order, which are not. */
Test(pageblock, warm_pages_are_looked_for)
{
	enum { N = 16 };
	unsigned nr_dirty, i;

	for (i = 0; i < PAGEBLOCK_PAGES; i += N)
		cr_assert_eq((unsigned)pageblock_alloc(b, N, 0, &nr_dirty), i);
	pageblock_free(b, 2 * N, N);
	for (i = 4 * N; i <= 12 * N; i += 2 * N) {
		pageblock_set_dirty(b, i, N, false);
		pageblock_free(b, i, N);
	}
	cr_assert_eq(pageblock_alloc(b, N - 1, 0, &nr_dirty), 2 * N);
	cr_assert_eq(nr_dirty, N - 1);
	cr_assert_geq(pageblock_alloc(b, N, 0, &nr_dirty), 4 * N);
	cr_assert_eq(nr_dirty, 0);
}

Test(pageblock, and_among_larger_ones)
{
	enum { N = 16 };
	unsigned nr_dirty, i;

	for (i = 0; i < PAGEBLOCK_PAGES; i += N)
		pageblock_alloc(b, N, 0, &nr_dirty);
	pageblock_free(b, 0, 2 * N);
	for (i = 4 * N; i < PAGEBLOCK_PAGES; i += 2 * N) {
		pageblock_set_dirty(b, i, N, false);
		pageblock_free(b, i, N);
	}
	cr_assert_eq(pageblock_alloc(b, N, 0, &nr_dirty), 0);
	cr_assert_eq(nr_dirty, N);
}

/* The shortest that will do, where no free page block of the order is. */
Test(pageblock, a_row_of_warm_pages_begins_anywhere)
{
	enum { N = 16 };
	unsigned nr_dirty, i;

	for (i = 0; i < PAGEBLOCK_PAGES; i += N)
		pageblock_alloc(b, N, 0, &nr_dirty);
	pageblock_free(b, 7 * N, 5 * N);
	pageblock_free(b, 3 * N, 3 * N);
	cr_assert_eq(pageblock_find_row(b, 5 * N + 1), -1);
	cr_assert_eq(b->warm_row, 5 * N);
	cr_assert_eq(pageblock_alloc(b, 5 * N, 0, &nr_dirty), -1);
	cr_assert_eq(alloc_row(3 * N - 1), 3 * N);
	cr_assert_eq(alloc_row(5 * N), 7 * N);
	cr_assert_eq(alloc_row(2), -1);
	cr_assert_eq(alloc_row(1), 6 * N - 1);
	cr_assert_eq(b->nr_free, 0);
	cr_assert(pageblock_is_valid(b));
}

/* Clean or dirty: how many of the pages were dirty is told. */
Test(pageblock, a_row_of_free_pages)
{
	enum { N = PAGEBLOCK_PAGES / 8 };
	unsigned nr_dirty;

	pageblock_alloc(b, 2 * N, 0, &nr_dirty);
	pageblock_alloc(b, N, 0, &nr_dirty);
	pageblock_free(b, N, N);
	cr_assert_eq(pageblock_find_free_row(b, N), N, "the shortest");
	cr_assert_eq(pageblock_find_free_row(b, N + 1), 3 * N);
	cr_assert_eq(pageblock_find_free_row(b, 5 * N + 1), -1);
	cr_assert_eq(pageblock_take_row(b, 3 * N, N + 1), 0);
	cr_assert_eq(pageblock_find_free_row(b, N + 1), 4 * N + 1);
	cr_assert_eq(pageblock_take_row(b, N, N), N);
	cr_assert_eq(pageblock_find_free_row(b, 1), 4 * N + 1);
	cr_assert(pageblock_is_valid(b));
}

Test(pageblock, a_clean_page_ends_a_row)
{
	enum { N = 40 };
	unsigned nr_dirty;

	cr_assert_eq(pageblock_alloc(b, PAGEBLOCK_PAGES, 0, &nr_dirty), 0);
	pageblock_set_dirty(b, 100, 1, false);
	pageblock_free(b, 100 - N + 1, 2 * N);
	cr_assert_eq(pageblock_find_row(b, N + 1), -1);
	cr_assert_eq(pageblock_find_row(b, N), 101);
	cr_assert_eq(pageblock_find_row(b, N - 1), 100 - N + 1);
}

Test(pageblock, walk_meets_every_free_page_block_of_an_order)
{
	unsigned nr_dirty, n = 0, link;

	for (unsigned i = 0; i < PAGEBLOCK_PAGES; i++)
		pageblock_alloc(b, 1, 0, &nr_dirty);
	for (unsigned i = 0; i < PAGEBLOCK_PAGES; i += 2)
		pageblock_free(b, i, 1);
	for (link = b->head[0]; link; link = pageblock_next_free(b, link)) {
		cr_assert_eq((link - 1) % 2, 0);
		n++;
	}
	cr_assert_eq(n, PAGEBLOCK_PAGES / 2);
}
