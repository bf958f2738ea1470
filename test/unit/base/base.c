/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "base/base.h"

Test(base, aligns_to_powers_of_two)
{
	cr_assert_eq(align_down(4097, 4096), 4096);
	cr_assert_eq(align_down(4095, 4096), 0);
	cr_assert_eq(align_up(4097, 4096), 8192);
	cr_assert_eq(align_up(4096, 4096), 4096);
	cr_assert_eq(align_up(0, 16), 0);
}

Test(base, knows_powers_of_two)
{
	cr_assert_not(is_power_of_2(0));
	for (unsigned i = 0; i < 64; i++) {
		cr_assert(is_power_of_2((size_t)1 << i));
		cr_assert_eq(ilog2((size_t)1 << i), i);
		if (i > 1) {
			cr_assert_not(is_power_of_2(((size_t)1 << i) - 1));
			cr_assert_eq(ilog2(((size_t)1 << i) - 1), i - 1);
		}
	}
}

Test(base, order_is_the_smallest_that_holds_the_pages)
{
	for (size_t n = 1; n <= 2 * PAGEBLOCK_PAGES; n++) {
		unsigned order = order_of(n);

		cr_assert(((size_t)1 << order) >= n, "%zu pages, order %u", n, order);
		cr_assert(order == 0 || ((size_t)1 << (order - 1)) < n, "%zu pages, order %u", n, order);
	}
}
