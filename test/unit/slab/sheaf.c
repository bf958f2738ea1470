/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "fake_os.h"
#include "slab/sheaf.h"

static struct kmem_cache *c;
static struct barn_visits visits;

static void setup(void)
{
	c = cache_of(size_class(64));
}

TestSuite(sheaf, .init = setup);

static struct cache_info snapshot(void)
{
	struct cache_info info;

	cr_assert(cache_snapshot(c->class, &info));
	return info;
}

/* What the sequences rely on: both words around the slots are odd, and what is between them is even. */
static void expect_sentinels(struct sheaf *s)
{
	cr_assert(s->low_sentinel & 1, "no sentinel below slot 0");
	cr_assert((uintptr_t)s->slot[s->capacity] & 1, "no sentinel above the last slot");
	for (unsigned i = 0; i < s->capacity; i++)
		cr_assert_eq((uintptr_t)s->slot[i] & 1, 0);
}

/* A sheaf to the brim, as one that a CPU could push no more to. */
static struct sheaf *full_sheaf(void)
{
	struct sheaf *s = barn_exchange_empty(c, NULL, &visits, 0);

	cr_assert_not_null(s);
	while (s->nr < s->capacity)
		s->nr += (uint16_t)slab_take(c, s->slot + s->nr, s->capacity - s->nr, 0);
	return s;
}

/* Objects that are not home: in barns or held by the test. */
static size_t nr_out(void)
{
	struct cache_info i = snapshot();

	return i.nr_objects - i.nr_free;
}

Test(sheaf, comes_with_objects_and_sentinels)
{
	struct sheaf *s = barn_exchange_empty(c, NULL, &visits, 0);

	cr_assert_not_null(s);
	cr_assert(s->nr >= 1 && s->nr <= s->capacity);
	expect_sentinels(s);
}

Test(sheaf, is_found_from_its_top)
{
	struct sheaf *s = full_sheaf();

	for (unsigned nr = 0; nr <= s->capacity; nr++) {
		s->nr = 9999;
		cr_assert_eq(sheaf_of_top(sheaf_top(s, nr)), s);
		cr_assert_eq(s->nr, nr);
	}
}

Test(sheaf, shared_sentinels_belong_to_no_sheaf)
{
	void *none[2] = {(void *)1, (void *)1};

	cr_assert_null(sheaf_of_top(&none[1]));
}

Test(sheaf, exchanging_a_full_one_loses_no_object)
{
	struct sheaf *full = full_sheaf(), *s;
	size_t out = nr_out();

	s = barn_exchange_full(c, full, &visits);
	cr_assert_not_null(s);
	cr_assert_lt(s->nr, s->capacity, "no room for the object that is being freed");
	expect_sentinels(s);
	cr_assert_eq(nr_out(), out);
	cr_assert_eq(snapshot().nr_barn_objects + s->nr, out);
}

Test(sheaf, exchanging_an_empty_one_takes_from_the_barn_first)
{
	struct sheaf *s = barn_exchange_full(c, full_sheaf(), &visits), *t;
	size_t out = nr_out(), in_barn = snapshot().nr_barn_objects;

	cr_assert_gt(in_barn, 0);
	barn_put(c, s);
	t = barn_exchange_empty(c, NULL, &visits, 0);
	cr_assert_not_null(t);
	cr_assert_geq(t->nr, 1);
	cr_assert_eq(nr_out(), out, "the slabs gave objects while the barn had some");
}

/* Who only takes gets up to a page of objects at a time, and at most an eighth of what is out. */
Test(sheaf, one_way_brings_a_page_of_objects)
{
	struct sheaf *s = NULL;
	unsigned most = 0;

	for (int i = 0; i < 100; i++) {
		size_t out = nr_out();

		s = barn_exchange_empty(c, s, &visits, 0);
		cr_assert_not_null(s);
		most = s->nr > most ? s->nr : most; /* less where a slab ends */
		if (i > 5)
			cr_assert(s->nr <= out / 8 || s->nr <= c->line_objects || s->nr <= 2, "%u of %zu", s->nr, out);
		s->nr = 0; /* they are in use */
	}
	cr_assert_gt(nr_out(), 8 * BSLAB_PAGE_SIZE / 64);
	cr_assert_eq(most, s->capacity < BSLAB_PAGE_SIZE / 64 ? s->capacity : BSLAB_PAGE_SIZE / 64);
}

Test(sheaf, the_barn_is_bounded)
{
	static struct sheaf *s[500];

	for (int i = 0; i < 500; i++)
		s[i] = full_sheaf();
	for (int i = 0; i < 500; i++)
		barn_put(c, s[i]);
	cr_assert_leq(snapshot().nr_barn_objects * 64, 512 * KIB);
	barn_drain(c);
	cache_shrink(c);
	cr_assert_eq(snapshot().nr_full_sheaves + snapshot().nr_empty_sheaves, 0);
	cr_assert_eq(snapshot().nr_slabs, 0);
}

Test(sheaf, grows_with_visits_up_to_a_bound)
{
	size_t first = snapshot().sheaf_capacity, last = first;
	struct sheaf *s;

	for (int i = 0; i < 1000; i++) {
		s = full_sheaf();
		expect_sentinels(s);
		cr_assert_geq(snapshot().sheaf_capacity, last);
		last = snapshot().sheaf_capacity;
		barn_put(c, barn_exchange_full(c, s, &visits));
	}
	cr_assert_gt(last, first);
	cr_assert_leq(last * 64, 128 * KIB);
	barn_drain(c);
	cr_assert_eq(snapshot().sheaf_capacity, first);
}

/* The capacity after many visits in both directions, some microseconds apart, by so many CPUs in turn. */
static size_t capacity_after_visits(unsigned class, uint64_t step_us, unsigned nr_cpus)
{
	struct barn_visits of_cpu[8] = {0};
	struct sheaf *s = NULL;

	fake.clock_us += 1000000; /* long after whatever came before */
	c = cache_of(class);
	barn_drain(c);
	for (int i = 0; i < 400; i++) {
		fake.clock_us += step_us;
		s = barn_exchange_empty(c, NULL, &of_cpu[(unsigned)i % nr_cpus], 0);
		fake.clock_us += step_us;
		while (s->nr < s->capacity)
			s->nr += (uint16_t)slab_take(c, s->slot + s->nr, s->capacity - s->nr, 0);
		barn_put(c, barn_exchange_full(c, s, &of_cpu[(unsigned)i % nr_cpus]));
	}
	return snapshot().sheaf_capacity;
}

/* What is visited seldom saves no time by being large. */
Test(sheaf, grows_large_only_where_visits_are_frequent)
{
	unsigned small = size_class(16), large = size_class(2048);
	size_t first = 16 * KIB / 2048;

	cr_assert_eq(capacity_after_visits(large, 200, 1), first);
	cr_assert_eq(capacity_after_visits(large, 20, 1), 128 * KIB / 2048);
	cr_assert_leq(capacity_after_visits(small, 200, 1) * 16, 16 * KIB);
	cr_assert_geq(capacity_after_visits(small, 200, 1) * 16, 8 * KIB - KIB, "a small one is cheap");
}

/* Large sheaves cost memory on each CPU: that all together visit often makes none of them wait. */
Test(sheaf, the_visits_of_each_cpu_count)
{
	unsigned large = size_class(2048);

	cr_assert_eq(capacity_after_visits(large, 20, 8), 16 * KIB / 2048);
	cr_assert_eq(capacity_after_visits(large, 5, 8), 128 * KIB / 2048);
}

/* malloc_trim() makes new sheaves small again while a CPU still works on a large one. */
Test(sheaf, exchanging_a_large_one_after_a_drain)
{
	struct sheaf *full = NULL, *s;
	size_t out;

	for (int i = 0; i < 200; i++) {
		full = full_sheaf();
		if (i < 199)
			barn_put(c, barn_exchange_full(c, full, &visits));
	}
	barn_drain(c);
	out = nr_out();
	cr_assert_gt(full->capacity, 2 * snapshot().sheaf_capacity);
	s = barn_exchange_full(c, full, &visits);
	cr_assert_not_null(s);
	cr_assert_lt(s->nr, s->capacity, "%u objects in a sheaf for %u", s->nr, s->capacity);
	expect_sentinels(s);
	cr_assert_leq(nr_out(), out);
	barn_put(c, s);
	barn_drain(c);
	cache_shrink(c);
	cr_assert_eq(snapshot().nr_slabs, 0);
}

Test(sheaf, no_class_holds_more_than_the_bound)
{
	for (unsigned class = 1; class < NR_CLASSES; class++) {
		c = cache_of(class);
		for (int i = 0; i < 200; i++)
			barn_put(c, barn_exchange_full(c, full_sheaf(), &visits));
		cr_assert(snapshot().sheaf_capacity * class_size(class) <= 128 * KIB || snapshot().sheaf_capacity <= 6,
			  "class %u: %zu", class, snapshot().sheaf_capacity);
		barn_drain(c);
		cache_shrink(c);
		cr_assert_eq(snapshot().nr_slabs, 0, "class %u keeps %zu slabs", class, snapshot().nr_slabs);
	}
}

Test(sheaf, no_pages_is_null)
{
	fake_fail_at(FAKE_ALL, 1, true);
	cr_assert_null(barn_exchange_empty(c, NULL, &visits, 0));
	cr_assert_leq(snapshot().nr_empty_sheaves, 1);
	fake_fail_at(0, 0, false);
	cr_assert_not_null(barn_exchange_empty(c, NULL, &visits, 0));
}
