/* SPDX-License-Identifier: MIT */
/* Bitmaps against an array of bools. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/bits.h"

#define N 192

static uint64_t bits[N / 64];
static bool model[N];

static void change(unsigned from, unsigned n, bool set)
{
	bits_change(bits, from, n, set);
	for (unsigned i = from; i < from + n; i++)
		model[i] = set;
}

static unsigned model_next(unsigned from, unsigned end, bool set)
{
	while (from < end && model[from] != set)
		from++;
	return from;
}

static unsigned model_row_start(unsigned end)
{
	while (end && model[end - 1])
		end--;
	return end;
}

static void check(void)
{
	unsigned from, end = 0, stop = 0;

	for (unsigned i = 0; i <= N; i++) {
		cr_assert(i == N || bit_is_set(bits, i) == model[i]);
		cr_assert_eq(bits_row_start(bits, i), model_row_start(i));
		for (int set = 0; set < 2; set++) {
			cr_assert_eq(bits_next(bits, i, N, set), model_next(i, N, set));
			cr_assert_eq(bits_next(bits, i, i + (N - i) / 2, set), model_next(i, i + (N - i) / 2, set));
		}
	}
	while (bits_next_row(bits, N, &from, &end)) {
		cr_assert_eq(from, model_next(stop, N, true));
		stop = model_next(from, N, false);
		cr_assert_eq(end, stop);
	}
	cr_assert_eq(model_next(stop, N, true), N);
}

Test(bits, at_the_edges_of_words)
{
	static const unsigned edges[] = {0, 1, 63, 64, 65, 127, 128, N - 1, N};

	for (unsigned i = 0; i < 9; i++)
		for (unsigned j = i; j < 9; j++) {
			change(edges[i], edges[j] - edges[i], true);
			check();
			change(0, N, true);
			change(edges[i], edges[j] - edges[i], false);
			check();
			change(0, N, false);
		}
}

Test(bits, random_changes)
{
	srand(1);
	for (int i = 0; i < 1000; i++) {
		unsigned from = (unsigned)rand() % N;

		change(from, (unsigned)rand() % (N - from + 1), rand() % 2);
		check();
	}
}
