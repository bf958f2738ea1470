/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <string.h>

#include "boot/boot.h"
#include "fake_os.h"
#include "os/bug.h"
#include "os/options.h"
#include "slab/hardened.h"
#include "slab/percpu.h"
#include "slab/quarantine.h"
#include "stay.h"

static struct kmem_cache *c;

static void setup(void)
{
	stay();
	bslab_options.hardened = true;
	bslab_options.quarantine_size = 4096;
	hardened_boot();
	percpu_boot();
	c = cache_of(size_class(64));
}

TestSuite(quarantine, .init = setup);

/* A sheaf of objects as a free leaves them. */
static struct sheaf *freed_sheaf(void)
{
	struct sheaf *s = barn_get_empty(c, NULL);

	cr_assert_not_null(s);
	s->nr = (uint16_t)slab_take(c, s->slot, s->capacity, 0);
	for (unsigned i = 0; i < s->nr; i++)
		block_wipe((uintptr_t)s->slot[i], (uintptr_t)s->slot[i] + c->size);
	return s;
}

static size_t nr_waiting(void)
{
	size_t nr[NR_CLASSES] = {0};

	quarantine_count(nr);
	return nr[c->class];
}

Test(quarantine, holds_its_bytes_and_no_more)
{
	for (int i = 0; i < 100; i++) {
		quarantine_put(c, freed_sheaf());
		cr_assert_leq(nr_waiting() * c->size, bslab_options.quarantine_size);
	}
	cr_assert_gt(nr_waiting(), 0);
	quarantine_drain();
	cr_assert_eq(nr_waiting(), 0);
}

Test(quarantine, of_no_bytes_holds_nothing)
{
	bslab_options.quarantine_size = 0;
	quarantine_put(c, freed_sheaf());
	cr_assert_eq(nr_waiting(), 0);
}

/* What is freed on a CPU is not what it is given next, as long as there is anything else. */
Test(quarantine, freed_objects_wait)
{
	void *obj = percpu_alloc_slow(c, 0);

	for (int i = 0; i < 20; i++) {
		void *next;

		block_wipe((uintptr_t)obj, (uintptr_t)obj + c->size);
		percpu_free_delayed(c, obj);
		next = percpu_alloc_slow(c, 0);
		cr_assert_neq(next, obj);
		obj = next;
	}
}

/* All that was freed to a class goes home when others are at work: first to the quarantine, then before them. */
Test(quarantine, what_rests_goes_home)
{
	static struct percpu_info info;
	struct kmem_cache *other = cache_of(size_class(200));
	void *obj[30];

	fake.clock_ms = 1000;
	for (int i = 0; i < 30; i++)
		obj[i] = percpu_alloc_slow(c, 0);
	for (int i = 0; i < 30; i++) {
		block_wipe((uintptr_t)obj[i], (uintptr_t)obj[i] + c->size);
		percpu_free_delayed(c, obj[i]);
	}
	percpu_snapshot(&info);
	cr_assert_geq(info.nr_cached[c->class], 30);
	for (int i = 0; i < 20000; i++) {
		void *p = percpu_alloc_slow(other, 0);

		fake.clock_ms += 10;
		block_wipe((uintptr_t)p, (uintptr_t)p + other->size);
		percpu_free_delayed(other, p);
	}
	percpu_snapshot(&info);
	cr_assert_eq(info.nr_cached[c->class], 0, "%zu", info.nr_cached[c->class]);
}

static struct cache_info snapshot(void)
{
	struct cache_info info;

	cr_assert(cache_snapshot(c->class, &info));
	return info;
}

Test(quarantine, a_drain_brings_all_home)
{
	void *obj[200];

	for (int i = 0; i < 200; i++)
		obj[i] = percpu_alloc_slow(c, 0);
	for (int i = 0; i < 200; i++) {
		block_wipe((uintptr_t)obj[i], (uintptr_t)obj[i] + c->size);
		percpu_free_delayed(c, obj[i]);
	}
	percpu_drain();
	quarantine_drain();
	barn_drain(c);
	cr_assert_eq(snapshot().nr_free, snapshot().nr_objects);
}

/* Its slab's pages lead to the slab, and say class 0; the page behind them traps. */
Test(quarantine, slabs_are_hardened)
{
	char *obj = percpu_alloc_slow(c, 0);
	page_desc_t d = map_lookup((uintptr_t)obj);
	uintptr_t page = align_down((uintptr_t)obj, BSLAB_PAGE_SIZE);

	cr_assert_eq(desc_class(d), 0);
	cr_assert(desc_is_hardened(d));
	cr_assert(slab_starts_object(slab_of(d), (uintptr_t)obj));
	while (desc_is_hardened(map_lookup(page)))
		page += BSLAB_PAGE_SIZE;
	cr_assert_eq(desc_type(map_lookup(page)), PAGE_GUARD);
	cr_assert_eq(fake_page((void *)page), FAKE_GUARDED);
}

Test(quarantine, what_was_written_after_its_free_is_found_when_the_slab_goes)
{
	char *obj = percpu_alloc_slow(c, 0);

	bug_set_fatal(false);
	fake.capture = true;
	block_wipe((uintptr_t)obj, (uintptr_t)obj + c->size);
	obj[9] = 'x';
	percpu_free_delayed(c, obj);
	percpu_drain();
	barn_drain(c);
	cache_shrink(c);
	cr_assert_null(strstr(fake.text, "bslab: write after free of 0x"), "it did not wait");
	quarantine_drain();
	cache_shrink(c);
	cr_assert_not_null(strstr(fake.text, "bslab: write after free of 0x"));
}

/* Without memory nothing waits: where a class has no sheaf yet, and where the CPU has no area. */
static void free_without_memory(bool has_area)
{
	struct kmem_cache *other = cache_of(size_class(512));
	struct cache_info info;
	void *obj[20];

	for (int i = 0; i < 20; i++)
		cr_assert_not_null(obj[i] = percpu_alloc_uncached(other, 0));
	if (has_area)
		percpu_free_delayed(c, percpu_alloc_uncached(c, 0));
	fake_fail_at(FAKE_ALL, 1, true);
	while (boot_alloc(8, 8))
		;
	for (int i = 0; i < 20; i++)
		percpu_free_delayed(other, obj[i]);
	fake_fail_at(0, 0, false);
	cr_assert(cache_snapshot(other->class, &info));
	cr_assert_eq(info.nr_free, info.nr_objects);
	cr_assert_eq(info.nr_uncached_frees, 20);
}

Test(quarantine, without_memory_for_a_sheaf)
{
	free_without_memory(true);
}

Test(quarantine, without_memory_for_an_area)
{
	free_without_memory(false);
}
