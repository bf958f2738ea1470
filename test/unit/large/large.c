/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "fake_os.h"
#include "large/large.h"
#include "map/pageblock.h"
#include "os/options.h"
#include "page/buddy.h"
#include "page/limit.h"
#include "page/zone.h"
#include "region/region.h"

static void setup(void)
{
	bslab_options.large_size = 32 * MIB;
	bslab_options.dirty_size = 8 * MIB;
}

TestSuite(large, .init = setup);

static bool zeroed;

static struct large_info snapshot(void)
{
	struct large_info info;

	large_snapshot(&info);
	return info;
}

static struct vm_area *area_at(const void *p)
{
	struct vm_area *a = large_of(map_lookup((uintptr_t)p));

	cr_assert_not_null(a, "no descriptor leads to the block");
	cr_assert_eq(a->addr, (uintptr_t)p);
	return a;
}

static char *get(size_t size)
{
	char *p = large_alloc(size, 1, &zeroed);

	cr_assert_not_null(p);
	cr_assert_geq(area_at(p)->size, size);
	return p;
}

/* One word a page: enough to see where a page went. */
static void mark(char *p, size_t from, size_t to)
{
	for (size_t at = from; at < to; at += BSLAB_PAGE_SIZE)
		*(size_t *)(p + at) = at + 1;
}

static void expect_marks(const char *p, size_t size)
{
	for (size_t at = 0; at < size; at += BSLAB_PAGE_SIZE)
		cr_assert_eq(*(const size_t *)(p + at), at + 1, "page %zu", at >> PAGE_SHIFT);
}

static void expect_zeros(const char *p, size_t from, size_t to)
{
	for (size_t at = from; at < to; at += sizeof(size_t))
		cr_assert_eq(*(const size_t *)(p + at), 0, "byte %zu", at);
}

Test(large, pageblocks_up_to_the_limit_then_a_mapping)
{
	char *a = get(5 * MIB), *b = get(32 * MIB);

	cr_assert_not_null(area_at(a)->first);
	cr_assert_eq(area_at(a)->nr_blocks, 3);
	cr_assert_null(area_at(b)->first);
	cr_assert_eq(snapshot().nr_areas, 2);
	cr_assert_eq(snapshot().nr_mapped, 1);
	cr_assert_eq(snapshot().mapped_bytes, 32 * MIB);
}

Test(large, a_mapping_has_guards)
{
	char *p = get(32 * MIB);

	cr_assert_eq(fake_page(p - 1), FAKE_GUARDED);
	cr_assert_eq(fake_page(p), FAKE_COMMITTED);
	cr_assert_eq(fake_page(p + 32 * MIB - 1), FAKE_COMMITTED);
	cr_assert_eq(fake_page(p + 32 * MIB), FAKE_GUARDED);
	large_free(area_at(p));
	cr_assert_eq(fake_page(p - 1), FAKE_FREE);
	cr_assert_eq(fake_page(p), FAKE_FREE);
	cr_assert_eq(fake_page(p + 32 * MIB), FAKE_FREE);
}

/* Who asks for guards gets none of it without them, and nothing stays mapped; others do without. */
Test(large, a_guard_that_cannot_be_made)
{
	size_t before, nr_failures;
	char *p;

	large_free(area_at(large_map(5 * MIB, 1, LARGE_GUARD, &zeroed))); /* metadata is there from now on */
	before = fake_count(FAKE_FREE);
	nr_failures = snapshot().nr_map_failures;
	for (size_t n = 1; n <= 2; n++) {
		fake_fail_at(1u << FAKE_GUARD, n, true);
		cr_assert_null(large_map(5 * MIB, 1, LARGE_GUARD, &zeroed));
		cr_assert_eq(fake_count(FAKE_FREE), before);
		cr_assert_eq(snapshot().nr_map_failures, nr_failures + n);
	}
	p = large_map(5 * MIB, 1, 0, &zeroed);
	cr_assert_not_null(p);
	fake_fail_at(0, 0, false);
	large_free(area_at(p));
	cr_assert_eq(fake_count(FAKE_FREE), before);
}

Test(large, no_guards_when_told_so)
{
	bslab_options.guard = false;
	get(32 * MIB);
	cr_assert_eq(fake_count(FAKE_GUARDED), 0);
}

Test(large, aligned_as_asked_for)
{
	for (size_t align = 16; align <= 128 * MIB; align *= 2)
		for (size_t size = 3 * MIB; size < 50 * MIB; size = size * 3 + 4096) {
			char *p = large_alloc(size, align, &zeroed);

			cr_assert_not_null(p);
			cr_assert_eq((uintptr_t)p % align, 0);
			p[0] = p[size - 1] = 1;
			large_free(area_at(p));
		}
	cr_assert_eq(snapshot().nr_areas, 0);
	cr_assert_eq(snapshot().bytes, 0);
	cr_assert_eq(snapshot().mapped_bytes, 0);
}

Test(large, absurd_sizes_are_null)
{
	cr_assert_null(large_alloc(PTRDIFF_MAX, 1, &zeroed));
	cr_assert_null(large_alloc((size_t)1 << 47, 1, &zeroed));
	cr_assert_null(large_alloc(3 * MIB, (size_t)1 << 62, &zeroed));
	cr_assert_null(large_alloc((size_t)1 << 46, (size_t)1 << 47, &zeroed));
	cr_assert_eq(snapshot().nr_areas, 0);
}

Test(large, what_it_calls_zeroed_is)
{
	char *p = get(6 * MIB);

	cr_assert(zeroed);
	memset(p, 1, 6 * MIB);
	large_free(area_at(p));
	cr_assert_eq(get(6 * MIB), p, "the warm blocks are the next one's");
	cr_assert_not(zeroed);
	large_free(area_at(p));
	large_drain();
	zone_purge(0);
	cr_assert_eq(get(6 * MIB), p);
	cr_assert(zeroed);
	expect_zeros(p, 0, 6 * MIB);
}

Test(large, a_freed_block_is_unknown)
{
	char *p = get(6 * MIB);

	large_free(area_at(p));
	cr_assert_eq(map_lookup((uintptr_t)p), 0);
	cr_assert_null(large_find((uintptr_t)p));
}

Test(large, finds_the_block_around_an_address)
{
	char *p = get(6 * MIB), *q = get(40 * MIB);

	cr_assert_eq(large_find((uintptr_t)p), area_at(p));
	cr_assert_eq(large_find((uintptr_t)p + 5 * MIB), area_at(p));
	cr_assert_eq(large_find((uintptr_t)q + 40 * MIB - 1), area_at(q));
	cr_assert_null(large_find((uintptr_t)q + 40 * MIB));
	cr_assert_null(large_find((uintptr_t)q - 1));
}

/* --- resizing ------------------------------------------------------------------------------ */

Test(large, pageblocks_shrink_and_grow_in_place)
{
	char *p = get(10 * MIB);

	mark(p, 0, 10 * MIB);
	cr_assert_eq(large_resize(area_at(p), 3 * MIB), p);
	cr_assert_eq(area_at(p)->nr_blocks, 2);
	expect_marks(p, 3 * MIB);
	cr_assert_eq(large_resize(area_at(p), 20 * MIB), p);
	expect_marks(p, 3 * MIB);
	mark(p, 0, 20 * MIB);
	cr_assert_eq(snapshot().bytes, 20 * MIB);
	large_free(area_at(p));
	cr_assert_eq(snapshot().bytes, 0);
}

Test(large, moves_pages_out_of_pageblocks)
{
	char *p = get(10 * MIB), *behind = get(4 * MIB), *q;
	size_t maps = fake_mappings();

	mark(p, 0, 10 * MIB);
	q = large_resize(area_at(p), 20 * MIB);
	cr_assert_not_null(q);
	cr_assert_neq(q, p);
	expect_marks(q, 10 * MIB);
	expect_zeros(q, 10 * MIB, 20 * MIB);
	cr_assert_eq(map_lookup((uintptr_t)p), 0, "the old address is still known");
	cr_assert_eq(snapshot().nr_moves, 1);
	cr_assert_leq(fake_mappings(), maps + 3, "the region is not one mapping any more");
	cr_assert_eq(get(10 * MIB), p, "the blocks are back in the zone");
	cr_assert(zeroed);
	expect_zeros(p, 0, 10 * MIB);
	(void)behind;
}

/* It moves into a section that is not there yet, and no memory is to be had for that. */
Test(large, stays_when_its_new_place_cannot_be_described)
{
	char *p = get(40 * MIB), *q;

	get(2 * GIB); /* in its way; what comes behind it is the next section */
	mark(p, 0, 40 * MIB);
	fake_fail_at(1u << FAKE_MAP, 1, true);
	q = large_resize(area_at(p), 3 * GIB);
	cr_assert(!q);
	fake_fail_at(0, 0, false);
	area_at(p);
	expect_marks(p, 40 * MIB);
	q = large_resize(area_at(p), 3 * GIB);
	cr_assert_not_null(q);
	area_at(q);
	expect_marks(q, 40 * MIB);
}

Test(large, does_not_grow_over_a_guard_that_cannot_be_removed)
{
	char *p = get(40 * MIB), *q;

	for (size_t n = 1; n <= 2; n++) {
		mark(p, 0, 40 * MIB);
		fake_fail_at(1u << FAKE_UNGUARD, n, false);
		cr_assert_null(large_resize(area_at(p), 50 * MIB));
		area_at(p);
		expect_marks(p, 40 * MIB);
	}
	fake_fail_at(0, 0, false);
	q = large_resize(area_at(p), 50 * MIB);
	cr_assert_not_null(q);
	expect_marks(q, 40 * MIB);
	expect_zeros(q, 40 * MIB, 50 * MIB);
}

Test(large, counts_what_moved_to_a_mapping)
{
	char *p = get(10 * MIB), *behind = get(4 * MIB), *q;

	q = large_resize(area_at(p), 20 * MIB);
	cr_assert_eq(snapshot().nr_mapped, 1);
	cr_assert_eq(snapshot().mapped_bytes, 20 * MIB, "%zu", snapshot().mapped_bytes);
	large_free(area_at(q));
	cr_assert_eq(snapshot().mapped_bytes, 0);
	(void)behind;
}

Test(large, mappings_grow_and_shrink_by_pages)
{
	char *p = get(40 * MIB);

	mark(p, 0, 40 * MIB);
	p = large_resize(area_at(p), 100 * MIB);
	cr_assert_not_null(p);
	expect_marks(p, 40 * MIB);
	expect_zeros(p, 40 * MIB, 100 * MIB);
	mark(p, 40 * MIB, 100 * MIB);
	p = large_resize(area_at(p), 33 * MIB);
	cr_assert_not_null(p);
	expect_marks(p, 33 * MIB);
	cr_assert_eq(fake_page(p + 33 * MIB), FAKE_GUARDED);
	cr_assert_eq(snapshot().mapped_bytes, 33 * MIB);
	large_free(area_at(p));
	cr_assert_eq(fake_count(FAKE_GUARDED), 0);
}

static size_t calls(void)
{
	size_t n = 0;

	for (unsigned i = 0; i < NR_FAKE_CALLS; i++)
		n += fake.nr_calls[i];
	return n;
}

/* Appended to by a few bytes at a time, a block asks the kernel for nothing until it needs a page more. */
Test(large, a_resize_within_the_last_page_is_no_system_call)
{
	char *p = get(40 * MIB), *q = get(5 * MIB);
	size_t before = calls();

	for (size_t i = 1; i < BSLAB_PAGE_SIZE; i += 500) {
		cr_assert_eq(large_resize(area_at(p), 40 * MIB - i), p);
		cr_assert_eq(large_resize(area_at(q), 5 * MIB - i), q);
	}
	cr_assert_eq(calls(), before);
	cr_assert_eq(area_at(p)->size, 40 * MIB);
	cr_assert_eq(large_resize(area_at(p), 40 * MIB - BSLAB_PAGE_SIZE), p);
	cr_assert_gt(calls(), before);
}

/* Every call of a resize refused in turn: the block is what it was, or what it should be. */
static void resize_with_failures(size_t old_size, size_t new_size)
{
	for (size_t n = 1; n < 12; n++) {
		char *p = get(old_size), *behind = get(4 * MIB), *q;
		size_t same = old_size < new_size ? old_size : new_size;

		mark(p, 0, old_size);
		fake_fail_at(FAKE_ALL & ~(1u << FAKE_UNMAP | 1u << FAKE_GUARD), n, false);
		q = large_resize(area_at(p), new_size);
		fake_fail_at(0, 0, false);
		if (q) {
			expect_marks(q, same);
			cr_assert_geq(area_at(q)->size, new_size);
			mark(q, 0, new_size);
		} else {
			q = p;
			expect_marks(q, old_size);
			cr_assert_eq(area_at(q)->size, old_size);
		}
		large_free(area_at(q));
		large_free(area_at(behind));
		cr_assert_eq(snapshot().nr_areas, 0);
		cr_assert_eq(snapshot().bytes, 0);
	}
}

Test(large, refused_resizes_of_pageblocks)
{
	resize_with_failures(10 * MIB, 20 * MIB);
	resize_with_failures(20 * MIB, 10 * MIB);
}

Test(large, refused_resizes_of_mappings)
{
	resize_with_failures(40 * MIB, 100 * MIB);
	resize_with_failures(100 * MIB, 40 * MIB);
}

Test(large, refused_allocation_leaves_nothing)
{
	size_t committed;

	large_free(area_at(get(40 * MIB)));
	committed = fake_count(FAKE_COMMITTED);
	for (size_t n = 1; n < 6; n++) {
		char *p;

		fake_fail_at(FAKE_ALL & ~(1u << FAKE_UNMAP | 1u << FAKE_GUARD), n, true);
		p = large_alloc(40 * MIB, 1, &zeroed);
		fake_fail_at(0, 0, false);
		if (p)
			large_free(area_at(p));
		cr_assert_leq(fake_count(FAKE_COMMITTED), committed + 2 * 4096, "leaked a mapping");
	}
}

Test(large, a_refused_unmap_gives_the_pages_back_at_least)
{
	char *p = get(40 * MIB);

	fake_fail_at(1u << FAKE_UNMAP, 1, false);
	large_free(area_at(p));
	cr_assert_geq(fake.nr_calls[FAKE_PURGE], 1);
	cr_assert_eq(map_lookup((uintptr_t)p), 0);
}

static struct zone_info zone(void)
{
	struct zone_info info;

	zone_snapshot(&info);
	return info;
}

Test(large, the_block_freed_last_comes_back)
{
	char *p = get(5 * MIB), *q;
	uint64_t nr_allocs = zone().nr_allocs;

	mark(p, 0, 5 * MIB);
	large_free(area_at(p));
	cr_assert_eq(snapshot().nr_hot_pages, 6 * MIB >> PAGE_SHIFT);
	cr_assert_null(large_of(map_lookup((uintptr_t)p)));
	q = get(5 * MIB + 4096); /* of as many pageblocks */
	cr_assert_eq(q, p);
	cr_assert_not(zeroed);
	cr_assert_eq(area_at(q)->size, 5 * MIB + 4096);
	cr_assert_eq(snapshot().nr_hot_pages, 0);
	cr_assert_eq(zone().nr_allocs, nr_allocs, "the zone was not asked");
	cr_assert_eq(snapshot().bytes, 5 * MIB + 4096);
}

Test(large, the_short_way_takes_only_what_is_kept)
{
	char *p = get(5 * MIB);

	cr_assert_null(large_take_kept(5 * MIB));
	large_free(area_at(p));
	cr_assert_null(large_take_kept(4 * MIB), "of two pageblocks");
	cr_assert_null(large_take_kept(SIZE_MAX));
	cr_assert_eq(snapshot().nr_hot_pages, 6 * MIB >> PAGE_SHIFT);
	cr_assert_eq(large_take_kept(5 * MIB + 1), p);
	cr_assert_eq(area_at(p)->size, 5 * MIB + BSLAB_PAGE_SIZE);
	cr_assert_null(large_take_kept(5 * MIB + 1));
	cr_assert_eq(snapshot().nr_areas, 1);
}

/* Its dirty pages are the zone's again, not lost behind fresh ones. */
Test(large, another_size_gets_the_same_pages)
{
	char *p = get(6 * MIB), *q;

	large_free(area_at(p));
	q = get(4 * MIB);
	cr_assert_eq(q, p);
	cr_assert_eq(snapshot().nr_hot_pages, 0);
}

Test(large, nothing_is_kept_beyond_the_watermark)
{
	char *p = get(20 * MIB), *q = get(4 * MIB), *r = get(4 * MIB), *s = get(4 * MIB);

	large_free(area_at(p));
	cr_assert_eq(snapshot().nr_hot_pages, 0, "20 MiB are more than may be dirty");
	zone_purge(0);
	large_free(area_at(q));
	large_free(area_at(r));
	cr_assert_leq(snapshot().nr_hot_pages + zone().nr_dirty_pages, zone_high_pages());
	large_free(area_at(s));
	cr_assert_leq(snapshot().nr_hot_pages + zone().nr_dirty_pages, zone_high_pages());
}

Test(large, what_rests_goes_to_the_zone)
{
	large_tick();
	cr_assert_eq(fake.nr_coarse_looks, 0, "nothing is kept: the clock is not asked");
	fake.clock_ms = 1000;
	large_free(area_at(get(4 * MIB)));
	large_tick();
	fake.clock_ms += 30;
	large_reap(fake.clock_ms); /* another CPU's, of the same look */
	large_reap(999); /* and of one that read the clock before */
	cr_assert_eq(snapshot().nr_hot_pages, 4 * MIB >> PAGE_SHIFT);
	large_free(area_at(get(4 * MIB))); /* taken between two looks: stays */
	fake.clock_ms += 30;
	large_tick();
	cr_assert_eq(snapshot().nr_hot_pages, 4 * MIB >> PAGE_SHIFT);
	fake.clock_ms += 60;
	large_tick();
	cr_assert_eq(snapshot().nr_hot_pages, 0);
	cr_assert_eq(zone().nr_used, 0);
}

/* Where less is in use than when it was kept, it may be too much by now. */
Test(large, what_has_become_too_much_goes_at_the_next_look)
{
	char *p = get(14 * MIB);

	for (int i = 0; i < 16; i++)
		get(20 * MIB);
	zone_set_dirty_floor(4096);
	large_free(area_at(p)); /* 1/16 of what is in use */
	cr_assert_gt(snapshot().nr_hot_pages, 0);
	zone_note_partial_free(zone().nr_used << PAGEBLOCK_ORDER); /* the users of blocks keep their pages free */
	large_reap(1);
	cr_assert_eq(snapshot().nr_hot_pages, 0);
}

/* The zone's watermark is for both together. */
Test(large, what_is_kept_counts_as_dirty)
{
	char *a = get(4 * MIB), *b = get(4 * MIB), *p;

	large_free(area_at(a));
	p = get(30 * MIB);
	large_free(area_at(b));
	mark(p, 0, 30 * MIB);
	large_free(area_at(p));
	zone_balance();
	cr_assert_leq(zone().nr_dirty_pages + snapshot().nr_hot_pages, zone_high_pages());
}

Test(large, a_mapping_shrinks_without_memory)
{
	char *p = get(40 * MIB);

	mark(p, 0, 40 * MIB);
	fake_fail_at(1u << FAKE_MAP, 1, true);
	cr_assert_eq(large_resize(area_at(p), 34 * MIB), p);
	expect_marks(p, 34 * MIB);
	fake_fail_at(0, 0, false);
	large_free(area_at(p));
}

/* However often it comes back: nothing would give it back in a process that goes on in its fast paths. */
Test(large, a_mapping_is_gone_once_freed)
{
	fake.clock_ms = 1000;
	for (unsigned i = 1; i <= 50; i++) {
		char *p = get(40 * MIB);

		cr_assert(zeroed);
		large_free(area_at(p));
		fake.clock_ms += 1;
		cr_assert_eq(snapshot().nr_unmaps, i);
		cr_assert_eq(snapshot().nr_hot_pages, 0);
		cr_assert_eq(fake_page(p), FAKE_FREE);
	}
}

/* What is mapped may never be touched: it says nothing of how many pageblocks are worth keeping. */
Test(large, mappings_do_not_raise_the_watermark)
{
	char *held = get(64 * MIB);

	fake.clock_ms = 1000;
	for (int i = 0; i < 200; i++) {
		large_free(area_at(get(40 * MIB)));
		fake.clock_ms += 1;
		large_free(area_at(get(4 * MIB)));
	}
	cr_assert_leq(zone_high_pages() << PAGE_SHIFT, bslab_options.dirty_size + 5 * MIB);
	large_free(area_at(held));
}

Test(large, a_drain_leaves_nothing)
{
	char *p = get(3 * MIB), *q = get(3 * MIB);

	large_free(area_at(p));
	large_free(area_at(q));
	cr_assert_gt(snapshot().nr_hot_pages, 0);
	large_drain();
	cr_assert_eq(snapshot().nr_hot_pages, 0);
	cr_assert_eq(zone().nr_used, 0);
}

Test(large, random_sizes)
{
	static struct {
		char *p;
		size_t size;
	} held[24];

	srand(6);
	for (int step = 0; step < 1500; step++) {
		int i = rand() % 24;
		size_t size = align_up(2 * MIB + 1 + (size_t)rand() % (38 * MIB), BSLAB_PAGE_SIZE), first;
		char *q;

		if (!held[i].p) {
			held[i].p = get(size);
			*(size_t *)held[i].p = (size_t)step;
			*(size_t *)(held[i].p + size - 8) = (size_t)step;
			held[i].size = size;
			continue;
		}
		cr_assert_eq(*(size_t *)held[i].p, *(size_t *)(held[i].p + held[i].size - 8));
		if (rand() % 2) {
			large_free(area_at(held[i].p));
			held[i].p = NULL;
			continue;
		}
		first = *(size_t *)held[i].p;
		q = large_resize(area_at(held[i].p), size);
		if (q) {
			cr_assert_eq(*(size_t *)q, first);
			*(size_t *)(q + size - 8) = *(size_t *)q;
			held[i].p = q;
			held[i].size = size;
		}
	}
}

/* --- mappings that are kept ------------------------------------------------------------------------ */

static const struct fake_file charges_what_is_used[] = {{"/proc/sys/vm/overcommit_memory", "0\n"}, {NULL, NULL}};
static const struct fake_file charges_addresses[] = {{"/proc/sys/vm/overcommit_memory", "2\n"}, {NULL, NULL}};

static void setup_mappings(void)
{
	setup();
	fake.files = charges_what_is_used;
	fake.counter = 1000;
}

TestSuite(large_mappings, .init = setup_mappings);

/* Of 40 MiB, freed after so many nanoseconds. */
static char *freed_after(uint64_t ns)
{
	char *p = get(40 * MIB);

	fake.counter += ns;
	large_free(area_at(p));
	return p;
}

static size_t kept(void)
{
	return snapshot().kept_mapped_bytes;
}

Test(large_mappings, one_had_for_a_moment_is_kept)
{
	char *p = freed_after(ARCH_SPAN_BELOW_CALL);

	cr_assert_eq(kept(), 40 * MIB);
	cr_assert_eq(snapshot().mapped_bytes, 0);
	cr_assert_eq(snapshot().nr_mapped, 0);
	cr_assert_eq(snapshot().nr_areas, 0);
	cr_assert_eq(snapshot().nr_hot_pages, 0);
	cr_assert_eq(snapshot().nr_kept_touched, (ARCH_SPAN_BELOW_CALL * 32 + 4095) / 4096);
	cr_assert_null(large_of(map_lookup((uintptr_t)p)));
	cr_assert_null(large_take_kept(40 * MIB + 1));
	cr_assert_null(large_take_kept(20 * MIB));
	cr_assert_eq(large_take_kept(40 * MIB - 1), p);
	cr_assert_eq(area_at(p)->size, 40 * MIB);
	cr_assert_eq(snapshot().mapped_bytes, 40 * MIB);
	cr_assert_eq(kept(), 0);
	cr_assert_eq(snapshot().nr_kept_touched, 0);
	cr_assert_eq(snapshot().nr_unmaps, 0);
	cr_assert_eq(fake_page(p - BSLAB_PAGE_SIZE), FAKE_GUARDED);
	cr_assert_eq(fake_page(p + 40 * MIB), FAKE_GUARDED);
	large_free(area_at(p));
	cr_assert_eq(kept(), 40 * MIB);
}

/* Longer than a call that changes a mapping takes. */
Test(large_mappings, one_that_may_have_been_changed_is_not)
{
	char *p = freed_after(ARCH_SPAN_BELOW_CALL + 1);

	cr_assert_eq(kept(), 0);
	cr_assert_eq(snapshot().nr_unmaps, 1);
	cr_assert_eq(fake_page(p), FAKE_FREE);
}

/* 32768 ns at 32 bytes each are 1 MiB. */
Test(large_mappings, one_that_may_have_been_filled_by_and_by_is_not)
{
	char *p = freed_after(64);
	unsigned n;

	for (n = 1; kept(); n++) {
		fake.counter += 1000000; /* nobody's time */
		cr_assert_eq(large_take_kept(40 * MIB), p);
		fake.counter += 64;
		large_free(area_at(p));
	}
	cr_assert_eq(n, 32768 / 64 + 1);
	cr_assert_eq(snapshot().nr_unmaps, 1);
	cr_assert_eq(snapshot().nr_kept_touched, 0);
}

Test(large_mappings, a_counter_that_goes_back_keeps_nothing)
{
	freed_after((uint64_t)-1);
	cr_assert_eq(kept(), 0);
	cr_assert_eq(snapshot().nr_unmaps, 1);
}

static void populate_meanwhile(void)
{
	fake.counter += 2000000; /* at 32 bytes each more than 40 MiB */
}

/* As under mlockall(MCL_FUTURE). */
Test(large_mappings, not_where_it_took_long_to_make)
{
	fake.mapped = populate_meanwhile;
	freed_after(0);
	cr_assert_eq(kept(), 0);
	fake.mapped = NULL;
	freed_after(0);
	cr_assert_eq(kept(), 40 * MIB);
}

/* Which would be taken for pageblocks, and is not found then. */
Test(large_mappings, not_of_a_size_that_pageblocks_have)
{
	fake_fail_at(1u << FAKE_RESERVE, 1, true);
	large_free(area_at(get(20 * MIB)));
	cr_assert_eq(snapshot().nr_maps, 1);
	cr_assert_eq(kept(), 0);
}

Test(large_mappings, of_larger_pages)
{
	char *p;

	fake.page_size = 64 * KIB;
	p = get(40 * MIB + 4096);
	large_free(area_at(p));
	cr_assert_eq(kept(), 40 * MIB + 64 * KIB);
	cr_assert_eq(large_take_kept(40 * MIB + 4096), p);
}

/* calloc comes this way, and so does what wants an alignment. */
Test(large_mappings, what_must_be_zero_is_mapped_anew)
{
	char *p = freed_after(0), *q;

	*p = 1;
	q = get(40 * MIB);
	cr_assert(zeroed);
	cr_assert_eq(*q, 0);
	cr_assert_eq(kept(), 0, "the other has gone");
	cr_assert_eq(snapshot().nr_unmaps, 1);
}

Test(large_mappings, the_two_freed_last)
{
	char *p[3];

	for (unsigned i = 0; i < 3; i++)
		p[i] = get((40 + i) * MIB);
	for (unsigned i = 0; i < 3; i++)
		large_free(area_at(p[i]));
	cr_assert_eq(kept(), 83 * MIB);
	cr_assert_eq(fake_page(p[0]), FAKE_FREE);
	cr_assert_null(large_take_kept(40 * MIB));
	cr_assert_eq(large_take_kept(41 * MIB), p[1]);
	cr_assert_eq(large_take_kept(42 * MIB), p[2]);
}

Test(large_mappings, one_that_rests_goes)
{
	fake.clock_ms = 1000;
	freed_after(0);
	large_tick();
	cr_assert_eq(kept(), 40 * MIB);
	fake.clock_ms += 100;
	large_tick();
	cr_assert_eq(kept(), 0);
	freed_after(0);
	large_drain();
	cr_assert_eq(kept(), 0);
	cr_assert_eq(snapshot().nr_unmaps, 2);
}

/* What is known of its pages is known of those that the kernel gave it one by one. */
Test(large_mappings, not_where_pages_have_moved)
{
	char *p = large_resize(area_at(get(40 * MIB)), 48 * MIB);

	large_free(area_at(p));
	cr_assert_eq(kept(), 0);
	p = get(4 * MIB);
	get(4 * MIB);
	p = large_resize(area_at(p), 48 * MIB);
	cr_assert_null(area_at(p)->first);
	large_free(area_at(p));
	cr_assert_eq(kept(), 0);
	large_free(area_at(large_map(40 * MIB, BSLAB_PAGE_SIZE, LARGE_GUARD, &zeroed)));
	cr_assert_eq(kept(), 0);
}

Test(large_mappings, not_where_addresses_are_limited)
{
	fake.address_space_limit = 64 * GIB;
	freed_after(0);
	cr_assert_eq(kept(), 0);
}

Test(large_mappings, not_where_private_memory_is_limited)
{
	fake.data_limit = 64 * GIB;
	freed_after(0);
	cr_assert_eq(kept(), 0);
}

Test(large_mappings, not_where_addresses_are_charged_for)
{
	fake.files = charges_addresses;
	freed_after(0);
	cr_assert_eq(kept(), 0);
}

Test(large_mappings, not_where_that_is_not_known)
{
	fake.files = NULL;
	freed_after(0);
	cr_assert_eq(kept(), 0);
}

Test(large_mappings, not_where_blocks_are_mappings_to_trap)
{
	bslab_options.hardened = true;
	freed_after(0);
	cr_assert_eq(kept(), 0);
}

/* Which counts them in full: requests that may not wait would be refused for the sake of addresses. */
Test(large_mappings, not_where_the_heap_has_a_hard_limit)
{
	limit_set(0, GIB);
	freed_after(0);
	cr_assert_eq(kept(), 0);
}

Test(large_mappings, not_near_a_soft_limit)
{
	limit_set(80 * MIB, 0);
	freed_after(0);
	cr_assert_eq(kept(), 40 * MIB);
	large_drain();
	limit_set(40 * MIB, 0);
	freed_after(0);
	cr_assert_eq(kept(), 0);
}

Test(large_mappings, one_that_cannot_be_unmapped)
{
	freed_after(0);
	fake_fail_at(1u << FAKE_UNMAP, 1, false);
	large_drain();
	cr_assert_eq(snapshot().nr_unmap_failures, 1);
	cr_assert_eq(kept(), 0);
}

/* --- explicit huge pages ------------------------------------------------------------------------- */

static char *get_hugetlb(size_t size)
{
	return large_map(size, PAGEBLOCK_SIZE, LARGE_HUGETLB, &zeroed);
}

Test(large, of_explicit_huge_pages)
{
	char *p = get_hugetlb(5 * MIB + 1);

	cr_assert_eq(area_at(p)->size, 6 * MIB);
	cr_assert(zeroed);
	cr_assert_eq(snapshot().mapped_bytes, 6 * MIB);
	cr_assert_eq(large_resize(area_at(p), 3 * MIB), p, "the kernel does not resize it");
	cr_assert_null(large_resize(area_at(p), 7 * MIB));
	cr_assert_null(large_resize(area_at(p), 2 * MIB));
	large_free(area_at(p));
	cr_assert_eq(fake_page(p), FAKE_FREE);
	cr_assert_eq(snapshot().mapped_bytes, 0);
	cr_assert_not_null(get_hugetlb(5 * MIB));
}

Test(large, of_gigantic_pages)
{
	char *p;

	fake.huge_size = GIB;
	p = get_hugetlb(2 * GIB - 64 * MIB);
	cr_assert_eq(area_at(p)->size, 2 * GIB);
	cr_assert_eq((uintptr_t)p % GIB, 0);
	p = get_hugetlb(GIB + 64 * MIB);
	cr_assert_eq(area_at(p)->size, GIB + 64 * MIB, "too much would be wasted");
}

Test(large, no_explicit_huge_pages)
{
	uint64_t before = snapshot().nr_map_failures;

	cr_assert_null(large_map(4 * MIB, 2 * GIB, LARGE_HUGETLB, &zeroed));
	fake_fail_at(1u << FAKE_BACK_HUGE, 1, true);
	cr_assert_null(get_hugetlb(4 * MIB));
	cr_assert_eq(snapshot().nr_map_failures, before + 2);
	fake_fail_at(1u << FAKE_MAP, 1, true); /* no section */
	cr_assert_null(get_hugetlb(4 * MIB));
	cr_assert_eq(fake_count(FAKE_COMMITTED), 0);
}

/* A block of an explicit zone is not kept for malloc. */
Test(large, of_an_explicit_zone)
{
	char *p = large_alloc_explicit(5 * MIB, 1, PAGES_DMA32, &zeroed);

	cr_assert_eq(area_at(p)->first->region->zone, ZONE_DMA32);
	large_free(area_at(p));
	cr_assert_eq(snapshot().nr_hot_pages, 0);
	cr_assert_neq(get(5 * MIB), p);
	cr_assert_null(large_alloc_explicit(GIB + 1, 1, PAGES_DMA32, &zeroed));
	cr_assert_null(large_alloc_explicit(5 * MIB, 4 * MIB, PAGES_DMA32, &zeroed));
	fake_fail_at(1u << FAKE_BACK_HUGE, 1, true);
	cr_assert_null(large_alloc_explicit(5 * MIB, 1, PAGES_HUGE, &zeroed));
}
