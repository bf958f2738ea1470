/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "fake_os.h"
#include "profile/samples.h"
#include "profile/sort.h"

static struct sample *create(uintptr_t first, unsigned nr_frames, size_t size)
{
	uintptr_t pc[MAX_FRAMES];
	struct sample *s;

	for (unsigned i = 0; i < nr_frames; i++)
		pc[i] = first + i;
	s = sample_create(pc, nr_frames, size, size + 1, 1000);
	if (s)
		sample_place(s, 0x1000, 1, 1);
	return s;
}

static size_t nr_stacks(void)
{
	size_t n, bytes;

	stacks_count(&n, &bytes);
	return n;
}

static size_t nr_lost(void)
{
	size_t live, lost;

	samples_count(&live, &lost);
	return lost;
}

static size_t nr_dumped(void)
{
	static struct sample out[DUMP_BATCH];
	size_t places = samples_begin(), n = 0;

	for (size_t from = 0; from < places; from += DUMP_BATCH)
		n += samples_copy(from, out);
	samples_end();
	return n;
}

Test(samples, stacks_are_kept_once)
{
	struct sample *a, *b, *c;

	cr_assert(samples_init());
	a = create(100, 10, 5);
	b = create(100, 10, 6);
	c = create(100, 11, 7);
	cr_expect_eq(a->stack, b->stack);
	cr_expect_neq(a->stack, c->stack);
	cr_expect_eq(nr_stacks(), 2);
	cr_expect_eq(a->stack->nr_frames, 10);
	cr_expect_eq(a->stack->pc[9], 109);
	sample_destroy(a);
	cr_expect_eq(nr_stacks(), 2);
	sample_destroy(b);
	cr_expect_eq(nr_stacks(), 1);
	sample_destroy(c);
	cr_expect_eq(nr_stacks(), 0);
	cr_expect_eq(create(100, 64, 1)->stack->nr_frames, 64);
}

Test(samples, pending_ones_are_not_dumped)
{
	uintptr_t pc = 1;
	struct sample *s;

	cr_assert(samples_init());
	s = sample_create(&pc, 1, 100, 101, 1000);
	cr_expect_eq(nr_dumped(), 0);
	sample_place(s, 0x5000, 1, 9);
	cr_expect_eq(nr_dumped(), 1);
	sample_destroy(s);
	cr_expect_eq(nr_dumped(), 0);
}

Test(samples, many)
{
	static struct sample *s[5000];

	cr_assert(samples_init());
	for (int i = 0; i < 5000; i++)
		s[i] = create((uintptr_t)i % 100 * 1000, 1 + (unsigned)i % 100 % 64, (size_t)i);
	cr_expect_eq(nr_dumped(), 5000);
	cr_expect_eq(nr_stacks(), 100);
	for (int i = 0; i < 5000; i += 2)
		sample_destroy(s[i]);
	cr_expect_eq(nr_dumped(), 2500);
	cr_expect_eq(nr_stacks(), 50);
	for (int i = 1; i < 5000; i += 2)
		cr_expect_eq(s[i]->size, (size_t)i);
	for (int i = 0; i < 2500; i++)
		create(1, 1, 1);
	cr_expect_eq(samples_begin(), 5000, "places are used again");
}

/* Stacks stay as long as a dump reads; those that came to life again stay behind it too. */
Test(samples, a_dump_holds_stacks)
{
	struct sample *a, *b;
	struct stack *stack;

	cr_assert(samples_init());
	a = create(1, 5, 1);
	b = create(2, 5, 1);
	stack = a->stack;
	samples_begin();
	samples_begin();
	sample_destroy(a);
	sample_destroy(b);
	cr_expect_eq(nr_stacks(), 2);
	a = create(1, 5, 1);
	cr_expect_eq(a->stack, stack);
	sample_destroy(a);
	a = create(1, 5, 1);
	samples_end();
	cr_expect_eq(nr_stacks(), 2);
	samples_end();
	cr_expect_eq(nr_stacks(), 1);
	cr_expect_eq(a->stack, stack);
	sample_destroy(a);
	cr_expect_eq(nr_stacks(), 0);
}

Test(samples, in_the_child_of_fork_nobody_dumps)
{
	struct sample *a;

	cr_assert(samples_init());
	a = create(1, 5, 1);
	samples_begin();
	sample_destroy(a);
	samples_fork_prepare();
	samples_fork_done(true);
	cr_expect_eq(nr_stacks(), 0);
	samples_end(); /* of a dump that the fork interrupted */
	a = create(1, 5, 1);
	sample_destroy(a);
	cr_expect_eq(nr_stacks(), 0);
}

/* Memory is bounded; what is full is told, and is room again when samples go. */
Test(samples, full)
{
	size_t size = sizeof(struct stack) + MAX_FRAMES * sizeof(uintptr_t), max = MAX_STACK_BYTES / size, n, bytes;
	struct sample **s = calloc(max, sizeof *s);

	cr_assert(samples_init());
	for (size_t i = 0; i < max; i++) {
		s[i] = create(i * 1000, MAX_FRAMES, 1);
		cr_assert_not_null(s[i], "%zu", i);
	}
	cr_expect_null(create(1, MAX_FRAMES, 1));
	cr_expect_eq(nr_lost(), 1);
	cr_expect_not_null(create(0, MAX_FRAMES, 1), "a stack that is there");
	stacks_count(&n, &bytes);
	cr_expect_eq(n, max);
	cr_expect_leq(bytes, MAX_STACK_BYTES);
	sample_destroy(s[5]);
	cr_expect_not_null(create(1, MAX_FRAMES, 1));
	cr_expect_null(create(2, MAX_FRAMES, 1));
	free(s);
}

Test(samples, no_memory)
{
	uintptr_t pc = 1;

	fake_fail_at(FAKE_ALL, 1, true);
	/* The first chunk of metadata needs no system call: it is used up. */
	if (samples_init())
		for (int i = 0; i < 100000 && sample_create(&pc, 1, 1, 1, 1); i++)
			;
	fake_fail_at(FAKE_ALL, 0, false);
	cr_assert(samples_init());
	cr_expect_not_null(sample_create(&pc, 1, 1, 1, 1));
}

static bool before(const void *a, const void *b)
{
	return memcmp(a, b, 4) < 0;
}

Test(sort, all_lengths)
{
	for (size_t n = 0; n < 200; n++) {
		unsigned char items[200 * 12];
		unsigned sum = 0, after = 0;

		for (size_t i = 0; i < n * 12; i++)
			sum += items[i] = (unsigned char)(rand() % 3);
		sort(items, n, 12, before);
		for (size_t i = 0; i < n * 12; i++)
			after += items[i];
		cr_assert_eq(sum, after);
		for (size_t i = 1; i < n; i++)
			cr_assert(!before(items + i * 12, items + (i - 1) * 12));
	}
}
