/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "malloc/yard.h"

static unsigned nr_released;
static uintptr_t last_released;

static void release(const struct grave *g)
{
	nr_released++;
	last_released = g->addr;
}

static struct grave graves[8];
static struct yard yard;

static void setup(void)
{
	yard_setup(&yard, graves, 8, 1000, release);
}

TestSuite(yard, .init = setup);

static void put(uintptr_t addr, size_t size)
{
	yard_put(&yard, (struct grave){.addr = addr, .size = size});
}

Test(yard, first_in_first_out_by_number)
{
	for (uintptr_t i = 1; i <= 8; i++)
		put(i, 10);
	cr_assert_eq(nr_released, 0);
	put(9, 10);
	cr_assert_eq(nr_released, 1);
	cr_assert_eq(last_released, 1);
	yard_drain(&yard);
	cr_assert_eq(nr_released, 9);
	cr_assert_eq(last_released, 9);
	cr_assert_eq(yard.bytes, 0);
}

Test(yard, bounded_by_bytes)
{
	put(1, 400);
	put(2, 400);
	put(3, 300);
	cr_assert_eq(nr_released, 1);
	put(4, 1000);
	cr_assert_eq(nr_released, 3);
	cr_assert_eq(yard.bytes, 1000);
	put(5, 1001);
	cr_assert_eq(last_released, 5, "more than there is room for");
	cr_assert_eq(yard.bytes, 1000);
}

Test(yard, knows_when_it_is_half_full)
{
	for (uintptr_t i = 1; i <= 3; i++)
		put(i, 10);
	cr_assert_not(yard_is_half_full(&yard));
	put(4, 10);
	cr_assert(yard_is_half_full(&yard), "by number");
	yard_drain(&yard);
	put(1, 499);
	cr_assert_not(yard_is_half_full(&yard));
	put(2, 1);
	cr_assert(yard_is_half_full(&yard), "by bytes");
	yard_drain(&yard);
}

Test(yard, takes_from_the_older_half)
{
	struct grave g;

	for (uintptr_t round = 0; round < 5; round++) { /* over the end of the ring */
		for (uintptr_t i = 1; i <= 6; i++)
			put(i * 64, i % 2 ? 20 : 30);
		cr_assert_not(yard_take(&yard, 40, 1, &g));
		cr_assert(yard_take(&yard, 30, 1, &g));
		cr_assert_eq(g.addr, 128);
		cr_assert_not(yard_take(&yard, 30, 1, &g), "the others of this size are too young");
		cr_assert(yard_take(&yard, 20, 64, &g));
		cr_assert_eq(g.addr, 64);
		cr_assert_not(yard_take(&yard, 20, 128, &g), "not aligned");
		cr_assert_eq(yard.n, 4);
		cr_assert_eq(yard.bytes, 100);
		yard_drain(&yard);
	}
}

/* One that was freed by who wanted it aligned has no page before it that traps. */
Test(yard, bare_ones_are_for_those_who_align)
{
	struct grave g;

	for (uintptr_t i = 1; i <= 2; i++)
		yard_put(&yard, (struct grave){.addr = i << 16, .size = 20, .is_bare = true});
	put(3 << 16, 20);
	put(4 << 16, 20);
	cr_assert_not(yard_take(&yard, 20, 16, &g));
	cr_assert_not(yard_take(&yard, 20, BSLAB_PAGE_SIZE, &g));
	cr_assert(yard_take(&yard, 20, 2 * BSLAB_PAGE_SIZE, &g));
	cr_assert_eq(g.addr, 1 << 16);
}
