/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "fake_os.h"
#include "malloc/clear.h"
#include "os/os.h"
#include "os/touch.h"

#define SIZE (5 * MIB)

static char *block;
static size_t nr_purges;

static void setup(void)
{
	block = os_map(SIZE);
	fake.nr_resident = 0;
}

TestSuite(clear, .init = setup);

/* By memcmp(), for what sanitizers make of a loop over bytes takes minutes. */
static bool is_all(const char *p, size_t size, int c)
{
	return !size || (*p == (char)c && !memcmp(p, p + 1, size - 1));
}

/* Clears, and says whether the kernel was asked for zero pages since the last call. */
static bool clears_by_kernel(size_t offset, size_t size)
{
	size_t before = nr_purges;

	memset(block, 0xff, SIZE);
	block_clear(block + offset, size);
	cr_assert(is_all(block, offset, 0xff) && is_all(block + offset, size, 0) && is_all(block + offset + size, SIZE - offset - size, 0xff),
		  "a block at %zu with %zu bytes", offset, size);
	nr_purges = fake.nr_calls[FAKE_PURGE];
	return nr_purges != before;
}

Test(clear, what_is_hardly_resident_is_given_back)
{
	cr_assert(clears_by_kernel(0, MIN_KERNEL_CLEAR));
	cr_assert(clears_by_kernel(0, SIZE));
	cr_assert_eq(nr_purges, 4, "a pageblock at a time");
	fake.nr_resident = 8; /* of 128 */
	cr_assert(clears_by_kernel(0, MIN_KERNEL_CLEAR));
}

Test(clear, what_is_resident_is_written)
{
	fake.nr_resident = 9;
	cr_assert_not(clears_by_kernel(0, MIN_KERNEL_CLEAR));
}

Test(clear, small_blocks_are_written)
{
	cr_assert_not(clears_by_kernel(0, MIN_KERNEL_CLEAR - 1));
	cr_assert_not(clears_by_kernel(0, 1));
}

Test(clear, edges_are_written)
{
	cr_assert(clears_by_kernel(0, MIN_KERNEL_CLEAR + 1));
	cr_assert(clears_by_kernel(100, MIN_KERNEL_CLEAR + 5000));
	fake.page_size = 64 * KIB;
	cr_assert(clears_by_kernel(4 * BSLAB_PAGE_SIZE, MIB));
}

Test(clear, where_the_kernel_does_not_say_or_refuses)
{
	fake.nr_resident = SIZE_MAX;
	cr_assert_not(clears_by_kernel(0, SIZE));
	fake.nr_resident = 0;
	fake_fail_at(1u << FAKE_PURGE, 1, true);
	for (int i = 0; i < 100; i++)
		clears_by_kernel(0, MIN_KERNEL_CLEAR); /* zero all the same */
}

/* Blocks until the next one that the kernel is asked about, as the answer then is "sparse". */
static unsigned nr_until_asked(void)
{
	unsigned n = 1;

	while (!clears_by_kernel(0, MIN_KERNEL_CLEAR))
		n++;
	return n;
}

Test(clear, full_blocks_are_asked_about_less_and_less)
{
	fake.nr_resident = 100;
	for (int i = 0; i < 200; i++)
		cr_assert_not(clears_by_kernel(0, MIN_KERNEL_CLEAR));
	fake.nr_resident = 0;
	cr_assert_leq(nr_until_asked(), 17);
	cr_assert_eq(nr_until_asked(), 1, "a sparse one: the next is asked about");
	fake.nr_resident = 100;
	clears_by_kernel(0, MIN_KERNEL_CLEAR);
	fake.nr_resident = 0;
	cr_assert_eq(nr_until_asked(), 2);
}

/* A wrong guess would write, and make resident, all of a block of which hardly anything was. */
Test(clear, blocks_above_a_piece_are_always_asked_about)
{
	fake.nr_resident = SIZE_MAX - 1;
	for (int i = 0; i < 100; i++)
		cr_assert_not(clears_by_kernel(0, i % 2 ? SIZE : PAGEBLOCK_SIZE));
	fake.nr_resident = 0;
	cr_assert(clears_by_kernel(0, SIZE));
	cr_assert(clears_by_kernel(0, PAGEBLOCK_SIZE + 1));
}

Test(clear, each_size_has_its_own_history)
{
	fake.nr_resident = SIZE_MAX - 1;
	for (int i = 0; i < 20; i++)
		cr_assert_not(clears_by_kernel(0, MIB));
	fake.nr_resident = 0;
	cr_assert(clears_by_kernel(0, MIN_KERNEL_CLEAR));
	cr_assert(clears_by_kernel(0, PAGEBLOCK_SIZE));
	cr_assert_not(clears_by_kernel(0, MIB));
	cr_assert(clears_by_kernel(0, MIB + 64 * KIB));
}

/* 512 KiB, a 16th, 32 bytes a nanosecond: 1024 ns. */
Test(clear, no_question_a_moment_after_it_was_given_back)
{
	fake.clock_ns = 5000;
	cr_assert(clears_by_kernel(0, MIN_KERNEL_CLEAR));
	fake.nr_resident = SIZE_MAX - 1; /* what the answer would be */
	for (int i = 0; i < 3; i++) {
		fake.clock_ns += 1024;
		cr_assert(clears_by_kernel(0, MIN_KERNEL_CLEAR));
	}
	fake.clock_ns += 1025;
	cr_assert_not(clears_by_kernel(0, MIN_KERNEL_CLEAR));
	cr_assert_not(clears_by_kernel(0, MIN_KERNEL_CLEAR), "written meanwhile: nothing is known of it");
}

Test(clear, of_another_block_nothing_is_known)
{
	fake.clock_ns = 5000;
	cr_assert(clears_by_kernel(0, MIN_KERNEL_CLEAR));
	fake.nr_resident = SIZE_MAX - 1;
	cr_assert_not(clears_by_kernel(PAGEBLOCK_SIZE, MIN_KERNEL_CLEAR));
	fake.nr_resident = 0;
	cr_assert(clears_by_kernel(0, SIZE));
	fake.nr_resident = SIZE_MAX - 1;
	cr_assert_not(clears_by_kernel(0, SIZE), "above a piece it is asked each time");
}

Test(clear, a_refusal_a_moment_later_writes)
{
	fake.clock_ns = 5000;
	cr_assert(clears_by_kernel(0, MIN_KERNEL_CLEAR));
	fake_fail_at(1u << FAKE_PURGE, 1, true);
	clears_by_kernel(0, MIN_KERNEL_CLEAR);
}

Test(clear, a_clock_that_stands_still_or_goes_back_says_nothing)
{
	fake.clock_ns = 5000;
	cr_assert(clears_by_kernel(0, MIN_KERNEL_CLEAR));
	fake.nr_resident = SIZE_MAX - 1;
	cr_assert_not(clears_by_kernel(0, MIN_KERNEL_CLEAR));
	fake.nr_resident = 0;
	cr_assert(clears_by_kernel(0, MIB));
	fake.nr_resident = SIZE_MAX - 1;
	fake.clock_ns--;
	cr_assert_not(clears_by_kernel(0, MIB));
}

Test(clear, time_bounds_what_can_have_been_touched)
{
	cr_assert_eq(touched_at_most(0), 0);
	cr_assert_eq(touched_at_most(10), 320);
	cr_assert_eq(touched_at_most(UINT64_MAX), SIZE_MAX);
}
