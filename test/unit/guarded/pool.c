/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "fake_os.h"
#include "guarded/count.h"
#include "guarded/pool.h"
#include "os/options.h"
#include "os/os.h"
#include "slab/sizes.h"

static const struct caller nobody;

static void setup(void)
{
	cr_assert(guarded_pool_start());
}

TestSuite(pool, .init = setup);

static struct guarded_slot *slot_of(const void *p)
{
	return guarded_of(map_lookup((uintptr_t)p));
}

static bool give(void *p, uintptr_t *damage)
{
	return guarded_pool_free(slot_of(p), (uintptr_t)p, &nobody, damage);
}

Test(pool, a_block_stands_at_one_end_of_its_page)
{
	bool first = false, last = false;
	uintptr_t damage;

	for (int i = 0; i < 100; i++) {
		char *p = guarded_pool_alloc(100, 1, &nobody);
		uintptr_t at = (uintptr_t)p % BSLAB_PAGE_SIZE;

		cr_assert_eq((uintptr_t)p % 16, 0);
		for (int j = 0; j < 100; j++)
			cr_assert_eq(p[j], 0);
		cr_assert(at == 0 || at == BSLAB_PAGE_SIZE - 112);
		*(at ? &last : &first) = true;
		cr_assert_eq(fake_page((void *)(align_down((uintptr_t)p, BSLAB_PAGE_SIZE) - BSLAB_PAGE_SIZE)), FAKE_GUARDED);
		cr_assert_eq(fake_page((void *)(align_down((uintptr_t)p, BSLAB_PAGE_SIZE) + BSLAB_PAGE_SIZE)), FAKE_GUARDED);
		memset(p, 'x', 100);
		cr_assert(give(p, &damage));
		cr_assert_eq(damage, 0);
		cr_assert_eq(fake_page(p), FAKE_GUARDED);
	}
	cr_assert(first && last);
}

Test(pool, alignment_is_kept)
{
	for (size_t align = 1; align <= BSLAB_PAGE_SIZE; align *= 2)
		for (size_t size = 1; size <= BSLAB_PAGE_SIZE; size = 3 * size + 1) {
			void *p = guarded_pool_alloc(size, align, &nobody);
			uintptr_t damage;

			cr_assert_eq((uintptr_t)p % align, 0);
			cr_assert_leq((uintptr_t)p % BSLAB_PAGE_SIZE + size, BSLAB_PAGE_SIZE);
			cr_assert(give(p, &damage));
		}
	cr_assert_null(guarded_pool_alloc(BSLAB_PAGE_SIZE + 1, 1, &nobody));
	cr_assert_null(guarded_pool_alloc(1, 2 * BSLAB_PAGE_SIZE, &nobody));
	cr_assert_null(guarded_pool_alloc(0, 1, &nobody));
}

Test(pool, aligns_to_16_in_the_hardened_mode)
{
	bslab_options.hardened = true;
	for (size_t i = 0; i < 100; i++) {
		void *p = guarded_pool_alloc(1 + i % 20, 1, &nobody);
		uintptr_t damage;

		cr_assert_eq((uintptr_t)p % 16, 0);
		cr_assert(give(p, &damage));
	}
}

Test(pool, sees_what_is_written_beside)
{
	for (int i = 0; i < 40; i++) {
		char *p = guarded_pool_alloc(101, 1, &nobody);
		uintptr_t damage;
		bool at_start = (uintptr_t)p % BSLAB_PAGE_SIZE == 0;
		char *beside = i % 2 || at_start ? p + 101 : p - 1;

		*beside = 0;
		cr_assert(give(p, &damage));
		cr_assert_eq(damage, (uintptr_t)beside);
	}
}

Test(pool, one_free_wins_and_slots_wait)
{
	char *p = guarded_pool_alloc(10, 1, &nobody), *q;
	uintptr_t damage;

	cr_assert(slot_is_live(slot_of(p), (uintptr_t)p));
	cr_assert_not(give(p + 1, &damage), "an inner pointer");
	cr_assert(give(p, &damage));
	cr_assert_not(give(p, &damage));
	for (int i = 0; i < NR_SLOTS - 1; i++) {
		q = guarded_pool_alloc(10, 1, &nobody);
		cr_assert_neq(align_down((uintptr_t)q, BSLAB_PAGE_SIZE), align_down((uintptr_t)p, BSLAB_PAGE_SIZE));
		cr_assert(give(q, &damage));
	}
}

Test(pool, ends_when_all_are_live)
{
	void *p[NR_SLOTS];
	uintptr_t damage;

	for (int i = 0; i < NR_SLOTS; i++)
		cr_assert_not_null(p[i] = guarded_pool_alloc(10, 1, &nobody));
	cr_assert_null(guarded_pool_alloc(10, 1, &nobody));
	cr_assert(give(p[7], &damage));
	cr_assert_not_null(guarded_pool_alloc(10, 1, &nobody));
}

Test(pool, finds_the_nearest_block)
{
	char *p = guarded_pool_alloc(16, 1, &nobody);
	struct guarded_slot *s = slot_of(p);
	int i = 0;

	cr_assert_eq(guarded_pool_find((uintptr_t)p), s);
	cr_assert_eq(guarded_pool_find((uintptr_t)p + 16), s);
	cr_assert_eq(guarded_pool_find((uintptr_t)p - 1), s);
	cr_assert_null(guarded_pool_find((uintptr_t)&i));
	cr_assert_null(guarded_pool_find((uintptr_t)p + 40 * BSLAB_PAGE_SIZE), "a slot never used");
}

Test(pool, a_page_that_cannot_be_opened_is_left)
{
	fake_fail_at(1u << FAKE_UNGUARD, 1, false);
	cr_assert_null(guarded_pool_alloc(10, 1, &nobody));
	cr_assert_not_null(guarded_pool_alloc(10, 1, &nobody));
}

/* All slots serve, and their pages are open while they do. */
static void use_all_slots_twice(void)
{
	uintptr_t damage;

	for (int i = 0; i < 2 * NR_SLOTS; i++) {
		char *p = guarded_pool_alloc(10, 1, &nobody);

		cr_assert_not_null(p);
		cr_assert_eq(fake_page(p), FAKE_COMMITTED, "the %d-th", i);
		cr_assert(give(p, &damage));
		cr_assert_neq(fake_page(p), FAKE_COMMITTED);
	}
}

/* Memory that is locked after the start: its markers are refused, and mprotect closes the page. */
Test(pool, markers_may_be_refused_for_a_while)
{
	uintptr_t damage;
	char *p;

	for (int i = 0; i < NR_SLOTS / 2; i++) {
		p = guarded_pool_alloc(10, 1, &nobody);
		fake_fail_at(1u << FAKE_GUARD, 1, false);
		cr_assert(give(p, &damage));
		cr_assert_eq(fake_page(p), FAKE_CLOSED);
	}
	use_all_slots_twice();
}

Test(pool_locked, markers_may_be_had_later)
{
	fake_fail_at(1u << FAKE_GUARD, 1, false);
	cr_assert(guarded_pool_start());
	use_all_slots_twice();
}

/* Neither way: the page stays open, and serves again. */
Test(pool, a_page_may_stay_open)
{
	char *p = guarded_pool_alloc(10, 1, &nobody);
	uintptr_t damage;

	memset(p, 'x', 10);
	fake_fail_at(1u << FAKE_GUARD, 1, true);
	cr_assert(give(p, &damage));
	fake_fail_at(0, 0, false);
	cr_assert_eq(fake_page(p), FAKE_COMMITTED);
	cr_assert_eq(*p, 0);
	use_all_slots_twice();
}

/* Refused is refused, nothing stays mapped, and the next attempt counts. */
Test(start, refused)
{
	size_t before;
	uintptr_t damage;
	char *p;

	fake.page_size = 4 * BSLAB_PAGE_SIZE;
	cr_assert_not(guarded_pool_start());
	fake.page_size = BSLAB_PAGE_SIZE;
	fake_fail_at(1u << FAKE_GUARD, 1, true);
	cr_assert_not(guarded_pool_start()); /* metadata is there from now on */
	before = fake_count(FAKE_COMMITTED);
	cr_assert_not(guarded_pool_start());
	fake_fail_at(1u << FAKE_MAP, 1, true);
	cr_assert_not(guarded_pool_start());
	cr_assert_eq(fake_count(FAKE_COMMITTED), before);
	cr_assert_eq(fake_count(FAKE_GUARDED) + fake_count(FAKE_CLOSED), 0);
	fake_fail_at(0, 0, false);
	cr_assert(guarded_pool_start());
	p = guarded_pool_alloc(10, 1, &nobody);
	cr_assert(give(p, &damage));
}

/* libgcc may free a block while a sample is taken. */
Test(pool, a_free_within_a_sample_leaves_it_one)
{
	char *p = guarded_pool_alloc(10, 1, &nobody);
	uintptr_t damage;

	thread_state.in_profile = true;
	cr_assert(give(p, &damage));
	cr_assert(thread_state.in_profile);
	thread_state.in_profile = false;
}

Test(pool, counts_to_the_interval)
{
	size_t interval, n;

	for (interval = 1; interval <= 100000; interval *= 10) {
		size_t nr_hits = 0, nr_calls = 400 * interval;

		thread_state.guarded_left = 0;
		guarded_count_start((uint32_t)interval);
		guarded_allow_medium(SMALL_MAX + 1);
		for (n = 0; n < nr_calls; n++)
			nr_hits += !guarded_passes(8) && guarded_hits();
		/* 400 are expected; the deviation of such a count is 20. */
		if (interval == 1)
			cr_assert_eq(nr_hits, 400);
		else
			cr_assert(nr_hits > 300 && nr_hits < 500, "1 in %zu: %zu hits", interval, nr_hits);
	}
}
