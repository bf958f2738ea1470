/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "fake_os.h"
#include "map/map.h"
#include "map/pageblock.h"

#define SECTION_SIZE ((size_t)1 << SECTION_SHIFT)
#define ADDRESS_END ((uintptr_t)1 << ADDRESS_BITS)

static uint64_t random_state = 88172645463325252ull;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	return random_state ^= random_state << 17;
}

Test(map, any_value_may_be_looked_up)
{
	const uintptr_t values[] = {0, 1, 4095, ADDRESS_END - 1, ADDRESS_END, ADDRESS_END + 1, ADDRESS_END << 1,
				    (uintptr_t)1 << 63, UINTPTR_MAX, UINTPTR_MAX - 4095, 0x800000000000};

	cr_assert(map_ensure(0x7f0000000000, SECTION_SIZE));
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		cr_assert_eq(map_lookup(values[i]), 0);
		map_pageblock(values[i]);
	}
	for (int i = 0; i < 1000000; i++) {
		uintptr_t value = next_random() >> (i % 40);

		cr_assert_eq(map_lookup(value), 0, "%#lx", value);
		map_pageblock(value);
	}
}

Test(map, no_section_no_slot)
{
	cr_assert_null(map_slot(0x7f0000000000));
	cr_assert_null(map_pageblock(0x7f0000000000));
	cr_assert_eq(map_reserved(), 0);
}

Test(map, sections_at_both_ends_of_the_address_space)
{
	cr_assert(map_ensure(0, SECTION_SIZE));
	cr_assert(map_ensure(ADDRESS_END - SECTION_SIZE, SECTION_SIZE));
	map_set(0, desc_of_number(1, PAGE_RUN));
	map_set(ADDRESS_END - 1, desc_of_number(2, PAGE_RUN));
	cr_assert_eq(desc_number(map_lookup(0xfff)), 1);
	cr_assert_eq(desc_number(map_lookup(ADDRESS_END - BSLAB_PAGE_SIZE)), 2);
	cr_assert_eq(map_lookup(0x1000), 0);
	cr_assert_eq(map_lookup(ADDRESS_END - BSLAB_PAGE_SIZE - 1), 0);
}

/* Behind a section's descriptors stand its pageblocks. */
Test(map, ranges_go_on_in_the_next_section)
{
	uintptr_t start = 0x7f0000000000, end = start + SECTION_SIZE, from = end - 3 * BSLAB_PAGE_SIZE;
	struct pageblock *first;
	size_t i;

	cr_assert(map_ensure(start, 3 * SECTION_SIZE));
	first = map_pageblock(start);
	map_set_range(from, 5, desc_of_number(7, PAGE_RUN));
	for (i = 0; i < 5; i++)
		cr_assert_eq(desc_number(map_lookup(from + i * BSLAB_PAGE_SIZE)), 7);
	cr_assert(!map_lookup(from - 1) && !map_lookup(from + 5 * BSLAB_PAGE_SIZE));
	for (i = 0; i < sizeof *first; i++)
		cr_assert_eq(((char *)first)[i], 0);
	map_set_range(end - BSLAB_PAGE_SIZE, SECTION_PAGES + 2, desc_of_number(8, PAGE_RUN));
	cr_assert_eq(desc_number(map_lookup(end + SECTION_SIZE)), 8);
	map_clear_range(end - BSLAB_PAGE_SIZE, SECTION_PAGES + 1);
	cr_assert_eq(desc_number(map_lookup(end - BSLAB_PAGE_SIZE - 1)), 7);
	for (i = 0; i <= SECTION_PAGES; i++)
		cr_assert_eq(map_lookup(end - BSLAB_PAGE_SIZE + i * BSLAB_PAGE_SIZE), 0);
	cr_assert_eq(desc_number(map_lookup(end + SECTION_SIZE)), 8);
}

Test(map, refuses_what_is_beyond_the_address_space)
{
	cr_assert_not(map_ensure(ADDRESS_END, 1));
	cr_assert_not(map_ensure(ADDRESS_END - BSLAB_PAGE_SIZE, 2 * BSLAB_PAGE_SIZE));
	cr_assert_not(map_ensure(UINTPTR_MAX - 10, 100));
	cr_assert_eq(map_reserved() % SECTION_SIZE, map_reserved(), "sections were made for nothing");
}

Test(map, a_range_across_sections_gets_all_of_them)
{
	uintptr_t addr = 5 * SECTION_SIZE - BSLAB_PAGE_SIZE;

	cr_assert(map_ensure(addr, SECTION_SIZE + 2 * BSLAB_PAGE_SIZE));
	cr_assert_eq(fake.nr_calls[FAKE_MAP], 3);
	for (uintptr_t a = 4 * SECTION_SIZE; a < 7 * SECTION_SIZE; a += PAGEBLOCK_SIZE)
		cr_assert_not_null(map_pageblock(a));
	cr_assert_null(map_slot(4 * SECTION_SIZE - 1));
	cr_assert_null(map_slot(7 * SECTION_SIZE));
}

Test(map, ensure_twice_is_once)
{
	cr_assert(map_ensure(SECTION_SIZE, 1));
	cr_assert(map_ensure(SECTION_SIZE, SECTION_SIZE));
	cr_assert_eq(fake.nr_calls[FAKE_MAP], 1);
}

Test(map, refusal_leaves_the_map_usable)
{
	fake_fail_at(1u << FAKE_MAP, 2, false);
	cr_assert_not(map_ensure(4 * SECTION_SIZE, 3 * SECTION_SIZE));
	cr_assert_not_null(map_slot(4 * SECTION_SIZE));
	cr_assert_null(map_slot(5 * SECTION_SIZE));
	cr_assert(map_ensure(4 * SECTION_SIZE, 3 * SECTION_SIZE));
	cr_assert_not_null(map_slot(6 * SECTION_SIZE));
}

Test(map, each_page_has_its_own_descriptor)
{
	uintptr_t base = 9 * SECTION_SIZE;

	cr_assert(map_ensure(base, SECTION_SIZE));
	for (size_t i = 0; i < SECTION_PAGES; i++)
		map_set(base + i * BSLAB_PAGE_SIZE, desc_of_number(i + 1, PAGE_RUN_BODY));
	for (size_t i = 0; i < SECTION_PAGES; i++)
		cr_assert_eq(desc_number(map_lookup(base + i * BSLAB_PAGE_SIZE + i % BSLAB_PAGE_SIZE)), i + 1);
}

Test(map, set_range_sets_that_range)
{
	uintptr_t base = 9 * SECTION_SIZE + 7 * BSLAB_PAGE_SIZE;

	cr_assert(map_ensure(base, SECTION_SIZE / 2));
	map_set_range(base, 5, desc_of_number(3, PAGE_RUN));
	cr_assert_eq(map_lookup(base - 1), 0);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(desc_number(map_lookup(base + (uintptr_t)i * BSLAB_PAGE_SIZE)), 3);
	cr_assert_eq(map_lookup(base + 5 * BSLAB_PAGE_SIZE), 0);
}

Test(map, neighbouring_pageblocks_differ)
{
	cr_assert(map_ensure(0, SECTION_SIZE));
	for (uintptr_t a = 0; a < SECTION_SIZE - PAGEBLOCK_SIZE; a += PAGEBLOCK_SIZE) {
		cr_assert_eq(map_pageblock(a), map_pageblock(a + PAGEBLOCK_SIZE - 1));
		cr_assert_eq(map_pageblock(a + PAGEBLOCK_SIZE), map_pageblock(a) + 1);
	}
}

Test(descriptor, keeps_what_it_is_made_of)
{
	void *pointer = (void *)0x7fffdeadbee8;
	page_desc_t d = desc_of_pointer(pointer, PAGE_NONE, 73);

	cr_assert_eq(desc_pointer(d), pointer);
	cr_assert_eq(desc_class(d), 73);
	d = desc_of_pointer(pointer, PAGE_LARGE, 0);
	cr_assert_eq(desc_pointer(d), pointer);
	cr_assert_eq(desc_type(d), PAGE_LARGE);
	cr_assert_eq(desc_class(d), 0);
	d = desc_of_number(512, PAGE_RUN);
	cr_assert_eq(desc_number(d), 512);
	cr_assert_eq(desc_type(d), PAGE_RUN);
	cr_assert_eq(desc_class(d), 0);
}
