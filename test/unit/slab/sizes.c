/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "slab/sizes.h"

Test(sizes, class_holds_the_size_and_the_one_below_does_not)
{
	for (size_t size = 0; size <= SMALL_MAX; size++) {
		unsigned class = size_class(size);

		cr_assert(class >= 1 && class < NR_CLASSES, "%zu: class %u", size, class);
		cr_assert_geq(class_size(class), size);
		cr_assert(class == 1 || class_size(class - 1) < size, "%zu: class %u", size, class);
	}
	cr_assert_eq(size_class(SMALL_MAX), NR_CLASSES - 1);
	cr_assert_eq(class_size(NR_CLASSES - 1), SMALL_MAX);
}

Test(sizes, waste_at_most_an_eighth_above_128_bytes)
{
	for (size_t size = 129; size <= SMALL_MAX; size++) {
		size_t waste = class_size(size_class(size)) - size;

		cr_assert_leq(waste * 8, size, "%zu wastes %zu", size, waste);
	}
}

Test(sizes, a_power_of_two_with_a_small_header_wastes_a_32nd)
{
	for (size_t base = 1024; base < SMALL_MAX; base *= 2)
		for (size_t size = base + 1; size <= (base == BSLAB_PAGE_SIZE ? base / 8 * 9 : base / 32 * 33); size++)
			cr_assert_lt(class_size(size_class(size)) - size, base / 32, "%zu", size);
}

/* Each holds slabs and objects of its own: 0038. */
Test(sizes, are_no_more_than_that_takes)
{
	for (size_t base = 128; base < SMALL_MAX; base *= 2) {
		unsigned most = base < 1024 ? 8 : base == BSLAB_PAGE_SIZE ? 11 : 9;

		cr_assert_eq(size_class(2 * base) - size_class(base), most, "%zu", base);
	}
}

/* Objects stand at multiples of the class size from a page boundary. */
Test(sizes, a_multiple_of_a_power_of_two_is_aligned_to_it)
{
	for (size_t size = 1; size <= SMALL_MAX; size++)
		for (size_t align = 1; align <= BSLAB_PAGE_SIZE && size % align == 0; align *= 2)
			cr_assert_eq(class_size(size_class(size)) % align, 0, "%zu to %zu", size, align);
}

Test(sizes, sixteen_at_least_from_sixteen_bytes_up)
{
	for (size_t size = 9; size <= SMALL_MAX; size++)
		cr_assert_eq(class_size(size_class(size)) % 16, 0, "%zu", size);
	cr_assert_eq(class_size(1), 8);
}
