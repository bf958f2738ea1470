/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "fake_os.h"
#include "map/map.h"
#include "os/options.h"
#include "region/region.h"

Test(region, as_large_as_the_options_say)
{
	struct region *r;

	bslab_options.region_size = 64 * MIB;
	r = region_create(0, 1);
	cr_assert_not_null(r);
	cr_assert_eq(r->nr_blocks, 32);
	cr_assert_eq(r->nr_committed, 0);
	cr_assert_eq(r->base % (64 * MIB), 0);
	cr_assert_eq(fake_page((void *)r->base), FAKE_RESERVED);
}

Test(region, larger_when_more_is_asked_for)
{
	struct region *r;

	bslab_options.region_size = 2 * MIB;
	r = region_create(0, 40);
	cr_assert_not_null(r);
	cr_assert_geq(r->nr_blocks, 40);
}

Test(region, at_most_a_gibibyte)
{
	cr_assert_not_null(region_create(0, REGION_MAX_BLOCKS));
	cr_assert_null(region_create(0, REGION_MAX_BLOCKS + 1));
}

Test(region, a_share_of_the_address_space_limit)
{
	struct region *r;

	fake.address_space_limit = 512 * MIB;
	r = region_create(0, 1);
	cr_assert_not_null(r);
	cr_assert_leq((size_t)r->nr_blocks << PAGEBLOCK_SHIFT, 512 * MIB / 32);
}

Test(region, smaller_when_refused)
{
	struct region *r;

	bslab_options.region_size = 64 * MIB;
	fake_fail_at(1u << FAKE_RESERVE, 1, false);
	r = region_create(0, 1);
	cr_assert_not_null(r);
	cr_assert_eq(r->nr_blocks, 16);
}

Test(region, not_smaller_than_asked_for)
{
	bslab_options.region_size = 64 * MIB;
	fake_fail_at(1u << FAKE_RESERVE, 1, false);
	cr_assert_null(region_create(0, 32));
}

Test(region, refusal_leaves_nothing_reserved)
{
	fake_fail_at(1u << FAKE_MAP, 1, true); /* no section */
	cr_assert_null(region_create(0, 1));
	cr_assert_eq(fake_count(FAKE_RESERVED), 0);
	fake_fail_at(1u << FAKE_RESERVE, 1, true);
	cr_assert_null(region_create(0, 1));
	cr_assert_eq(fake_count(FAKE_RESERVED), 0);
}

Test(region, regions_do_not_overlap_and_share_sections)
{
	uintptr_t bases[16];

	bslab_options.region_size = 64 * MIB;
	for (int i = 0; i < 16; i++) {
		bases[i] = region_create(0, 1)->base;
		for (int j = 0; j < i; j++)
			cr_assert(bases[i] + 64 * MIB <= bases[j] || bases[j] + 64 * MIB <= bases[i]);
	}
	cr_assert_leq(fake.nr_calls[FAKE_MAP], 3, "%zu maps for a GiB in regions", fake.nr_calls[FAKE_MAP]);
}

Test(region_commit, at_least_what_is_asked_for_from_the_start_up)
{
	struct region *r;
	unsigned done = 0;

	bslab_options.region_size = 256 * MIB;
	r = region_create(0, 1);
	for (unsigned n = 1; done + n <= r->nr_blocks; n = n * 2 + 1) {
		unsigned got = region_commit(r, n);

		cr_assert_geq(got, n);
		done += got;
		cr_assert_eq(r->nr_committed, done);
		cr_assert_eq(fake_page((char *)r->base + ((size_t)done << PAGEBLOCK_SHIFT) - 1), FAKE_COMMITTED);
		if (done < r->nr_blocks)
			cr_assert_eq(fake_page((char *)r->base + ((size_t)done << PAGEBLOCK_SHIFT)), FAKE_RESERVED);
		cr_assert_leq(fake_mappings(), 16, "a region is two mappings at most");
	}
	cr_assert_eq(region_commit(r, r->nr_blocks - done + 1), 0);
	while (done < r->nr_blocks)
		done += region_commit(r, 1);
	cr_assert_eq(done, r->nr_blocks, "committed behind the end");
	cr_assert_eq(region_commit(r, 1), 0);
}

Test(region_commit, just_what_is_asked_for_when_more_is_refused)
{
	struct region *r = region_create(0, 1);

	fake_fail_at(1u << FAKE_COMMIT, 1, false);
	cr_assert_eq(region_commit(r, 1), 1);
	fake_fail_at(1u << FAKE_COMMIT, 1, true);
	cr_assert_eq(region_commit(r, 1), 0);
	cr_assert_eq(r->nr_committed, 1);
}

/* From a quarter of the lesser limit on, which the program may change. */
Test(region_commit, tight_addresses)
{
	struct region *r = region_create(0, 64);

	region_commit(r, 8);
	cr_assert_not(regions_are_tight());
	fake.data_limit = 100 * MIB;
	region_commit(r, 2);
	cr_assert_not(regions_are_tight(), "it is looked at when twice as much is there");
	region_commit(r, 10);
	cr_assert(regions_are_tight());
	fake.data_limit = 0;
	region_commit(r, 20);
	cr_assert_not(regions_are_tight());
	fake.address_space_limit = 160 * MIB;
	cr_assert_not_null(region_create(0, 1));
	cr_assert(regions_are_tight(), "or with a new region");
}

Test(region_commit, blocks_know_where_they_are)
{
	struct region *r = region_create(0, 1);
	unsigned n = region_commit(r, 40);

	for (unsigned i = 0; i < n; i++) {
		struct pageblock *b = region_block(r, i);

		cr_assert_eq(b->region, r);
		cr_assert_eq(pageblock_address(b), r->base + ((uintptr_t)i << PAGEBLOCK_SHIFT));
		cr_assert_eq(region_index(r, b), i);
		cr_assert_eq(map_pageblock(pageblock_address(b) + PAGEBLOCK_SIZE - 1), b);
	}
}

Test(region, low_ones_are_small)
{
	struct region *r = region_create(ZONE_DMA32, 1);

	cr_assert_eq(r->zone, ZONE_DMA32);
	cr_assert_eq((size_t)r->nr_blocks << PAGEBLOCK_SHIFT, 256 * MIB);
	cr_assert_eq(region_create(ZONE_DMA32, 160)->nr_blocks, 512, "as large as it must be");
	cr_assert_eq(region_commit(r, 1), 2);
	cr_assert_eq(region_block(r, 0)->region, r);
}

Test(region, low_addresses_are_not_asked_for_again_at_once)
{
	size_t tries;

	fake.low_size = 6 * MIB;
	cr_assert_null(region_create(ZONE_DMA32, 4));
	tries = fake.nr_low_tries;
	cr_assert_null(region_create(ZONE_DMA32, 5));
	cr_assert_null(region_create(ZONE_DMA32, 4));
	cr_assert_eq(fake.nr_low_tries, tries, "nor as much, or more");
	cr_assert_eq(region_create(ZONE_DMA32, 1)->nr_blocks, 2);
	cr_assert_eq(region_create(ZONE_DMA32, 1)->nr_blocks, 1);
	cr_assert_null(region_create(ZONE_DMA32, 1));
	tries = fake.nr_low_tries;
	fake.low_size = GIB;
	for (int i = 0; i < 64; i++)
		cr_assert_null(region_create(ZONE_DMA32, 1));
	cr_assert_eq(fake.nr_low_tries, tries);
	cr_assert_not_null(region_create(ZONE_DMA32, 1));
}
