/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bslab/insight.h"
#include "bslab/kmem.h"
#include "os/options.h"
#include "slab/sheaf.h"
#include "slab/typed.h"
#include "stay.h"

TestSuite(kmem, .init = stay);

static struct bslab_cache_info info_of(struct bslab_cache *c)
{
	struct bslab_cache_info info;

	bslab_cache_info(c, &info);
	return info;
}

static int compare(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return (x > y) - (x < y);
}

/* Sorts them. */
static void check_apart(uintptr_t *obj, size_t nr, size_t size)
{
	qsort(obj, nr, sizeof *obj, compare);
	for (size_t i = 1; i < nr; i++)
		cr_assert_geq(obj[i], obj[i - 1] + size);
}

/* --- geometry ------------------------------------------------------------------------------------- */

static void check_geometry(size_t size, size_t align, unsigned flags, size_t want_align)
{
	enum { NR = 300 };
	static uintptr_t obj[NR];
	struct bslab_cache *c = bslab_cache_create("geometry", size, align, flags, NULL);

	cr_assert(c, "%zu %zu", size, align);
	for (int i = 0; i < NR; i++) {
		void *p = bslab_cache_alloc(c);

		cr_assert(p);
		memset(p, i, size);
		cr_assert_eq((uintptr_t)p % want_align, 0, "%zu at %p", size, p);
		obj[i] = (uintptr_t)p;
	}
	check_apart(obj, NR, size);
	for (int i = 0; i < NR; i++)
		bslab_cache_free(c, (void *)obj[i]);
	cr_assert_eq(bslab_cache_destroy(c), 0);
}

Test(kmem, objects_are_aligned_and_apart)
{
	static const size_t sizes[] = {1, 7, 8, 9, 24, 40, 56, 64, 72, 100, 200, 777, 1000, 4000, 4096, 5000, 32768};

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		check_geometry(sizes[i], 0, 0, 8);
		check_geometry(sizes[i], 0, BSLAB_CACHE_NO_MERGE, 8);
		check_geometry(sizes[i], 64, 0, 64);
		if (sizes[i] <= 4096)
			check_geometry(sizes[i], 4096, 0, 4096);
		if (sizes[i] <= 32000)
			check_geometry(sizes[i], 0, BSLAB_CACHE_RED_ZONE | BSLAB_CACHE_POISON, 8);
	}
	check_geometry(20, 0, BSLAB_CACHE_HWALIGN, 32);
	check_geometry(40, 0, BSLAB_CACHE_HWALIGN, 64);
}

Test(kmem, objects_take_no_more_than_they_need)
{
	struct bslab_cache *c = bslab_cache_create("exact", 1160, 0, 0, NULL);

	cr_assert_eq(info_of(c).size, 1160); /* malloc's class has 1280 */
	cr_assert_not(info_of(c).merged);
}

Test(kmem, bad_arguments)
{
	static const struct {
		const char *name;
		size_t size, align;
		unsigned flags;
	} bad[] = {
	    {NULL, 8, 0, 0}, {"", 8, 0, 0}, {"a", 0, 0, 0}, {"a", 32769, 0, 0}, {"a", SIZE_MAX, 0, 0}, {"a", 8, 3, 0},
	    {"a", 8, 8192, 0}, {"a", 8, 0, 64}, {"a", 32768, 0, BSLAB_CACHE_RED_ZONE},
	    {"a", 8, 0, BSLAB_CACHE_POISON | BSLAB_CACHE_TYPE_STABLE},
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		errno = 0;
		cr_assert_null(bslab_cache_create(bad[i].name, bad[i].size, bad[i].align, bad[i].flags, NULL), "%zu", i);
		cr_assert_eq(errno, EINVAL);
	}
}

/* --- merging ---------------------------------------------------------------------------------------- */

struct point {
	double x, y, z;
	long colour[3];
};

Test(kmem, like_malloc_is_malloc)
{
	struct bslab_cache *c = BSLAB_CACHE(struct point, 0), *other = BSLAB_CACHE(struct point, BSLAB_CACHE_NO_MERGE);
	struct point *p = bslab_cache_alloc(c);

	cr_assert(info_of(c).merged);
	cr_assert_str_eq(info_of(c).name, "struct_point");
	cr_assert_eq(bslab_malloc_usable_size(p), 48);
	bslab_free(p);
	p = bslab_malloc(sizeof *p);
	bslab_cache_free(c, p);
	cr_assert_eq(bslab_cache_destroy(c), 0);
	cr_assert_not(info_of(other).merged);
}

Test(kmem, merging_can_be_switched_off)
{
	struct bslab_cache *c = BSLAB_CACHE(struct point, 0);

	cr_assert(info_of(c).merged);
	bslab_options.merge = false;
	c = BSLAB_CACHE(struct point, 0);
	cr_assert_not(info_of(c).merged);
	cr_assert_eq(info_of(c).size, sizeof(struct point));
}

static void nothing(void *obj)
{
	(void)obj;
}

Test(kmem, like_geometry_is_shared)
{
	struct bslab_cache *a = bslab_cache_create("a", 1160, 0, 0, NULL), *b = bslab_cache_create("b", 1153, 8, 0, NULL),
			   *own = bslab_cache_create("own", 1160, 0, 0, nothing);
	void *p = bslab_cache_alloc(a), *q = bslab_cache_alloc(own);

	bslab_cache_free(b, p);
	cr_assert_eq(info_of(b).nr_live, 0);
	cr_assert_eq(info_of(own).nr_live, 1);
	cr_assert(info_of(a).merged && info_of(b).merged && !info_of(own).merged);
	p = bslab_cache_alloc(a);
	cr_assert_eq(bslab_cache_destroy(a), 0);
	cr_assert(info_of(b).merged);
	cr_assert_eq(bslab_cache_destroy(b), 0); /* what is live is not its own */
	bslab_cache_free(own, q);
	/* What a's user still has does not keep the next one from the same slabs. */
	a = bslab_cache_create("a", 1160, 0, 0, NULL);
	cr_assert(info_of(a).merged);
	cr_assert_eq(info_of(a).nr_live, 1);
	bslab_cache_free(a, p);
	cr_assert_eq(info_of(a).nr_live, 0);
	cr_assert_eq(bslab_cache_destroy(a), 0);
}

/* --- constructors ------------------------------------------------------------------------------------- */

struct built {
	unsigned magic, nr_lives;
	char rest[112];
};
static _Atomic size_t nr_built;

static void build(void *obj)
{
	struct built *b = obj;

	*b = (struct built){.magic = 0x1234};
	nr_built++;
}

Test(kmem, objects_are_constructed_once)
{
	enum { NR = 5000 };
	static struct built *held[NR];
	struct bslab_cache *c = bslab_cache_create("built", sizeof(struct built), 0, 0, build);
	unsigned seed = 1;

	for (int i = 0; i < 20 * NR; i++) {
		unsigned k = (unsigned)rand_r(&seed) % NR;

		if (!held[k]) {
			held[k] = bslab_cache_alloc(c);
			cr_assert_eq(held[k]->magic, 0x1234);
			held[k]->nr_lives++;
		} else {
			bslab_cache_free(c, held[k]);
			held[k] = NULL;
		}
	}
	for (int i = 0; i < NR; i++)
		if (held[i])
			bslab_cache_free(c, held[i]);
	cr_assert_geq(nr_built, info_of(c).nr_objects);
	bslab_cache_shrink(c);
	cr_assert_eq(info_of(c).nr_objects, 0);
	cr_assert_eq(bslab_cache_destroy(c), 0);
}

Test(kmem, zalloc_is_zero)
{
	static const unsigned flags[] = {0, BSLAB_CACHE_NO_MERGE, BSLAB_CACHE_POISON};

	for (size_t f = 0; f < 3; f++) {
		struct bslab_cache *c = bslab_cache_create("zero", 200, 0, flags[f], NULL);
		char *p = bslab_cache_alloc(c);

		memset(p, 1, 200);
		bslab_cache_free(c, p);
		p = bslab_cache_zalloc(c);
		for (int i = 0; i < 200; i++)
			cr_assert_eq(p[i], 0);
		bslab_cache_free(c, p);
	}
}

/* --- bulk --------------------------------------------------------------------------------------------- */

static void check_bulk(unsigned flags)
{
	enum { MAX = 3000 };
	static uintptr_t obj[MAX];
	struct bslab_cache *c = bslab_cache_create("bulk", 80, 0, flags, NULL);

	for (size_t nr = 0; nr <= MAX; nr += nr / 8 + 1) {
		cr_assert_eq(bslab_cache_alloc_bulk(c, nr, (void **)obj), nr);
		for (size_t i = 0; i < nr; i++)
			memset((void *)obj[i], 1, 80);
		check_apart(obj, nr, 80);
		if (!(flags & BSLAB_CACHE_POISON) && nr)
			cr_assert_geq(info_of(c).nr_objects, nr);
		bslab_cache_free_bulk(c, nr, (void **)obj);
	}
	/* Singly allocated ones, freed together with holes; together allocated ones, freed singly. */
	for (size_t i = 0; i < MAX; i++)
		obj[i] = i % 7 ? (uintptr_t)bslab_cache_alloc(c) : 0;
	bslab_cache_free_bulk(c, MAX, (void **)obj);
	cr_assert_eq(bslab_cache_alloc_bulk(c, 100, (void **)obj), 100);
	for (size_t i = 0; i < 100; i++)
		bslab_cache_free(c, (void *)obj[i]);
	bslab_cache_shrink(c);
	cr_assert_eq(bslab_cache_destroy(c), 0);
}

Test(kmem, bulk)
{
	check_bulk(0);
	check_bulk(BSLAB_CACHE_NO_MERGE);
	check_bulk(BSLAB_CACHE_RED_ZONE | BSLAB_CACHE_POISON);
	check_bulk(BSLAB_CACHE_TYPE_STABLE);
}

Test(kmem, bulk_is_all_or_nothing)
{
	enum { NR = 1000000 };
	void **obj = malloc(NR * sizeof *obj);
	struct bslab_cache *c = bslab_cache_create("none", 32768, 0, BSLAB_CACHE_NO_MERGE, NULL);

	cr_assert_eq(bslab_set_limits(0, 64 << 20), 0);
	errno = 0;
	cr_assert_eq(bslab_cache_alloc_bulk(c, NR, obj), 0);
	cr_assert_eq(errno, ENOMEM);
	cr_assert_eq(info_of(c).nr_live, 0);
	bslab_set_limits(0, 0);
	cr_assert_eq(bslab_cache_destroy(c), 0);
}

/* --- the end --------------------------------------------------------------------------------------------- */

Test(kmem, destroy_counts_what_is_live)
{
	struct bslab_cache *c = bslab_cache_create("left", 56, 0, BSLAB_CACHE_NO_MERGE, NULL);
	void *obj[1000];

	cr_assert_eq(bslab_cache_alloc_bulk(c, 1000, obj), 1000);
	bslab_cache_free_bulk(c, 990, obj);
	cr_assert_eq(bslab_cache_destroy(c), 10);
	bslab_cache_free_bulk(c, 10, obj + 990);
	cr_assert_eq(bslab_cache_destroy(c), 0);
}

static void *drain_for_a_while(void *unused)
{
	usleep(50000);
	atomic_fetch_sub(&area_drains, 1);
	return unused;
}

/* What is drained at the moment is in no count: who asks waits, and not for ever. */
Test(kmem, destroy_waits_for_drains)
{
	struct bslab_cache *c = bslab_cache_create("drained", 56, 0, BSLAB_CACHE_NO_MERGE, NULL);
	void *obj = bslab_cache_alloc(c);
	struct timespec before, after;
	pthread_t thread;

	atomic_fetch_add(&area_drains, 1);
	cr_assert_eq(pthread_create(&thread, NULL, drain_for_a_while, NULL), 0);
	cr_assert_eq(bslab_cache_destroy(c), 1);
	cr_assert_eq((uint32_t)atomic_load(&area_drains), 0, "it did not wait");
	pthread_join(thread, NULL);
	atomic_fetch_add(&area_drains, 1);
	clock_gettime(CLOCK_MONOTONIC, &before);
	cr_assert_eq(bslab_cache_destroy(c), 1);
	clock_gettime(CLOCK_MONOTONIC, &after);
	cr_assert_gt(after.tv_sec * 1000 + after.tv_nsec / 1000000, before.tv_sec * 1000 + before.tv_nsec / 1000000 + 500);
	atomic_fetch_sub(&area_drains, 1);
	bslab_cache_free(c, obj);
	cr_assert_eq(bslab_cache_destroy(c), 0);
}

Test(kmem, numbers_are_used_again)
{
	static struct bslab_cache *held[NR_CACHES];
	unsigned nr = 0;

	for (int i = 0; i < 1000; i++) {
		size_t size = 8 * (1 + (size_t)i % 500);
		struct bslab_cache *c = bslab_cache_create("again", size, 0, BSLAB_CACHE_NO_MERGE, NULL);
		void *p = bslab_cache_alloc(c);

		cr_assert(p);
		memset(p, 1, size);
		bslab_cache_free(c, p);
		cr_assert_eq(bslab_cache_destroy(c), 0);
	}
	while ((held[nr] = bslab_cache_create("many", 56, 0, BSLAB_CACHE_NO_MERGE, NULL)))
		nr++;
	cr_assert_eq(errno, ENOSPC);
	cr_assert_eq(nr, NR_CACHES - FIRST_TYPED);
	cr_assert_eq(bslab_cache_destroy(held[5]), 0);
	cr_assert(bslab_cache_create("one more", 56, 0, BSLAB_CACHE_NO_MERGE, NULL));
}

/* A number's next cache does not begin with the counts of the one before. */
Test(kmem, counts_begin_anew)
{
	struct bslab_cache *c = bslab_cache_create("first", 56, 0, BSLAB_CACHE_NO_MERGE, NULL);
	static void *obj[1000];
	struct cache_info info;

	cr_assert_eq(bslab_cache_alloc_bulk(c, 1000, obj), 1000);
	bslab_cache_free_bulk(c, 1000, obj);
	cr_assert_eq(bslab_cache_destroy(c), 0);
	c = bslab_cache_create("second", 72, 0, BSLAB_CACHE_NO_MERGE, NULL);
	cr_assert(cache_snapshot(FIRST_TYPED, &info));
	cr_assert_str_eq(info.name, "second");
	cr_assert_eq(info.nr_slab_creates + info.nr_slab_destroys + info.nr_gets + info.nr_refills + info.nr_overs +
			 info.nr_puts + info.nr_drains, 0);
}

/* Plain caches need no number: where there is none, a larger class of malloc's serves them. */
Test(kmem, plain_caches_have_no_end)
{
	struct bslab_cache *c;

	while (bslab_cache_create("many", 56, 0, BSLAB_CACHE_NO_MERGE, NULL))
		;
	for (size_t size = 8; size <= 32768; size = size * 9 / 8 + 8)
		for (size_t align = 8; align <= 4096; align *= 8) {
			char *p;

			c = bslab_cache_create("plain", size, align, 0, NULL);
			cr_assert(c, "%zu %zu", size, align);
			p = bslab_cache_alloc(c);
			cr_assert((uintptr_t)p % align == 0, "%zu %zu", size, align);
			memset(p, 1, size);
			bslab_cache_free(c, p);
			cr_assert_eq(bslab_cache_destroy(c), 0);
		}
	bslab_options.merge = false; /* which is for reports only */
	cr_assert(bslab_cache_create("plain", 1160, 0, 0, NULL));
	cr_assert_null(bslab_cache_create("own", 1160, 0, 0, nothing));
	cr_assert_eq(errno, ENOSPC);
}

/* --- type-stable ------------------------------------------------------------------------------------------- */

static uint64_t epoch = 1, nr_begun;

static uint64_t grace_begin(void)
{
	nr_begun++;
	return epoch;
}

static bool grace_passed(uint64_t which)
{
	return epoch > which;
}

static void fill_and_free(struct bslab_cache *c)
{
	static void *obj[4000];

	cr_assert_eq(bslab_cache_alloc_bulk(c, 4000, obj), 4000);
	bslab_cache_free_bulk(c, 4000, obj);
}

Test(kmem, type_stable_waits_for_the_grace_period)
{
	struct bslab_cache *c = bslab_cache_create("stable", 200, 0, BSLAB_CACHE_TYPE_STABLE, NULL);
	size_t nr_pages;

	bslab_cache_set_grace(c, grace_begin, grace_passed);
	fill_and_free(c);
	nr_pages = info_of(c).nr_pages;
	bslab_malloc_trim(0);
	cr_assert_eq(info_of(c).nr_pages, nr_pages);
	cr_assert_eq(nr_begun, 1);
	epoch++;
	bslab_malloc_trim(0);
	cr_assert_lt(info_of(c).nr_pages, nr_pages);
	/* What waits serves again. */
	fill_and_free(c);
	bslab_malloc_trim(0);
	nr_pages = info_of(c).nr_pages;
	fill_and_free(c);
	cr_assert_eq(info_of(c).nr_pages, nr_pages);
	for (int i = 0; i < 3; i++) {
		epoch++;
		bslab_malloc_trim(0);
	}
	cr_assert_eq(info_of(c).nr_pages, 0);
	cr_assert_eq(bslab_cache_destroy(c), 0);
}

Test(kmem, type_stable_by_hand)
{
	struct bslab_cache *c = bslab_cache_create("by hand", 200, 0, BSLAB_CACHE_TYPE_STABLE, NULL);
	size_t nr_pages;

	fill_and_free(c);
	nr_pages = info_of(c).nr_pages;
	bslab_malloc_trim(0);
	cr_assert_eq(info_of(c).nr_pages, nr_pages);
	bslab_cache_shrink(c);
	cr_assert_eq(info_of(c).nr_pages, 0);
	cr_assert_eq(bslab_cache_destroy(c), 0);
}

static bool is_gone(const char *name)
{
	struct cache_info info;

	for (unsigned n = FIRST_TYPED; n < caches_end(); n++)
		if (cache_snapshot(n, &info) && !strcmp(info.name, name))
			return false;
	return true;
}

/* malloc goes on for half a second, on its slow paths. */
static void use_malloc(void)
{
	static void *p[3000];

	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 3000; i++)
			p[i] = bslab_malloc(200);
		for (int i = 0; i < 3000; i++)
			bslab_free(p[i]);
		usleep(50000);
		epoch++;
	}
}

/* Nobody comes to the cache any more: other caches' slow paths ask for it. */
Test(kmem, type_stable_goes_back_when_quiet)
{
	struct bslab_cache *c = bslab_cache_create("quiet", 200, 0, BSLAB_CACHE_TYPE_STABLE, NULL);

	bslab_cache_set_grace(c, grace_begin, grace_passed);
	fill_and_free(c);
	cr_assert_gt(info_of(c).nr_pages, 0);
	for (int i = 0; i < 10 && info_of(c).nr_pages; i++)
		use_malloc();
	cr_assert_eq(info_of(c).nr_pages, 0);
	fill_and_free(c);
	cr_assert_eq(bslab_cache_destroy(c), 0);
	for (int i = 0; i < 10 && !is_gone("quiet"); i++)
		use_malloc();
	cr_assert(is_gone("quiet"));
}

/* --- reports, threads, fork ----------------------------------------------------------------------------------- */

static int find_line(const char *text, size_t len, void *found)
{
	*(bool *)found |= memmem(text, len, "a_b             ", 16) || memmem(text, len, "\"name\":\"a_b\"", 12) ||
			  memmem(text, len, "cache=\"a_b\"", 11);
	return 0;
}

Test(kmem, reports_have_the_name)
{
	static const char *const formats[] = {"text", "json", "prometheus"};
	struct bslab_cache *c = bslab_cache_create("a\"b", 56, 0, BSLAB_CACHE_NO_MERGE, NULL);

	cr_assert(bslab_cache_alloc(c));
	for (int i = 0; i < 3; i++) {
		bool found = false;

		cr_assert_eq(bslab_report_to("slabinfo", formats[i], find_line, &found), 0);
		cr_assert(found, "%s", formats[i]);
	}
}

static int count_names(const char *text, size_t len, void *nr)
{
	for (const char *p = text; (p = memmem(p, len - (size_t)(p - text), "cache=\"twin", 11)); p++)
		*(unsigned *)nr += !strncmp(p, "cache=\"twin\"", 12) || !strncmp(p, "cache=\"twin-2\"", 14) ||
				   !strncmp(p, "cache=\"twin-3\"", 14);
	return 0;
}

Test(kmem, malloc_info_has_typed_caches)
{
	struct bslab_cache *c = bslab_cache_create("info", 1160, 0, 0, nothing);
	size_t len;
	char *text;
	FILE *f = open_memstream(&text, &len);

	cr_assert(bslab_cache_alloc(c));
	cr_assert_eq(bslab_malloc_info(0, f), 0);
	fclose(f);
	cr_assert(strstr(text, "<size from=\"1160\" to=\"1160\" used=\"1\""));
}

/* Two series of one name would make a scrape void. */
Test(kmem, reports_tell_namesakes_apart)
{
	static const char long_name[] = "a_name_of_more_than_thirty_one_bytes";
	unsigned nr_first = 0, nr_all = 0;
	struct cache_info info;

	cr_assert(bslab_cache_create("twin", 56, 0, BSLAB_CACHE_NO_MERGE, NULL));
	cr_assert_eq(bslab_report_to("slabinfo", "prometheus", count_names, &nr_first), 0);
	cr_assert(bslab_cache_create("twin", 56, 0, BSLAB_CACHE_NO_MERGE, NULL));
	cr_assert(bslab_cache_create("twin", 64, 0, BSLAB_CACHE_NO_MERGE, NULL));
	cr_assert_eq(bslab_report_to("slabinfo", "prometheus", count_names, &nr_all), 0);
	cr_assert(nr_first && nr_all == 3 * nr_first, "%u %u", nr_first, nr_all);
	cr_assert(!is_gone("twin") && !is_gone("twin-2") && !is_gone("twin-3"));
	cr_assert(bslab_cache_create("bslab-64", 64, 0, BSLAB_CACHE_NO_MERGE, NULL));
	cr_assert(!is_gone("bslab-64-2") && is_gone("bslab-64"));
	cr_assert(bslab_cache_create("handle-64", 64, 0, BSLAB_CACHE_NO_MERGE, NULL));
	cr_assert(bslab_cache_create("handle-run", 64, 0, BSLAB_CACHE_NO_MERGE, NULL));
	cr_assert(bslab_cache_create("handle-runs", 64, 0, BSLAB_CACHE_NO_MERGE, NULL));
	cr_assert(!is_gone("handle-64-2") && is_gone("handle-64") && !is_gone("handle-run-2") && is_gone("handle-run"));
	cr_assert(!is_gone("handle-runs"));
	cr_assert(bslab_cache_create(long_name, 64, 0, BSLAB_CACHE_NO_MERGE, NULL));
	cr_assert(bslab_cache_create(long_name, 64, 0, BSLAB_CACHE_NO_MERGE, NULL));
	cr_assert(cache_snapshot(caches_end() - 1, &info));
	cr_assert_str_eq(info.name, "a_name_of_more_than_thirty_on-2");
}

enum { NR_THREADS = 4, NR_SHARED = 256 };
static _Atomic(struct built *) shared[NR_SHARED];
static struct bslab_cache *stress_cache;

/* Objects go from thread to thread by a table; each thread makes caches of its own as well. */
static void *stress(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	void *obj[64];

	for (int i = 0; i < 200000; i++) {
		struct built *b = bslab_cache_alloc(stress_cache), *old;
		unsigned n = (unsigned)rand_r(&seed) % 64;

		cr_assert_eq(b->magic, 0x1234);
		old = atomic_exchange(&shared[(unsigned)rand_r(&seed) % NR_SHARED], b);
		if (old)
			bslab_cache_free(stress_cache, old);
		if (i % 16 == 0) {
			cr_assert_eq(bslab_cache_alloc_bulk(stress_cache, n, obj), n);
			bslab_cache_free_bulk(stress_cache, n, obj);
		}
		if (i % 1000 == 0) {
			struct bslab_cache *own = bslab_cache_create("own", 8 + n * 8, 0, BSLAB_CACHE_NO_MERGE, NULL);

			bslab_cache_free(own, bslab_cache_alloc(own));
			cr_assert_eq(bslab_cache_destroy(own), 0);
			bslab_malloc_trim(0);
		}
	}
	return NULL;
}

Test(kmem, threads)
{
	pthread_t thread[NR_THREADS];

	roam();
	stress_cache = bslab_cache_create("stress", sizeof(struct built), 0, BSLAB_CACHE_TYPE_STABLE, build);
	bslab_cache_set_grace(stress_cache, grace_begin, grace_passed);
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		pthread_create(&thread[i], NULL, stress, (void *)i);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(thread[i], NULL);
	for (int i = 0; i < NR_SHARED; i++)
		if (shared[i])
			bslab_cache_free(stress_cache, shared[i]);
	cr_assert_eq(bslab_cache_destroy(stress_cache), 0);
}

/*
 * Each thread's own caches begin and end beside those of others, which take over their numbers: whatever one
 * does, another's object stays as large as it was asked for, and is counted for nobody else.
 */
static void *come_and_go(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (int i = 0; i < 1500; i++) {
		size_t size = 8 + 8 * ((size_t)rand_r(&seed) % 256);
		unsigned flags = rand_r(&seed) % 2 ? BSLAB_CACHE_TYPE_STABLE : BSLAB_CACHE_NO_MERGE;
		struct bslab_cache *c = bslab_cache_create("own", size, 0, flags, NULL);
		unsigned char *obj[3];

		cr_assert(c);
		for (int k = 0; k < 3 && i % 4; k++) { /* one in four is never used, and so home at once */
			obj[k] = bslab_cache_alloc(c);
			memset(obj[k], (int)(seed + (unsigned)k), size);
			sched_yield();
		}
		cr_assert_eq(info_of(c).size, size);
		for (int k = 0; k < 3 && i % 4; k++) {
			cr_assert(obj[k][0] == (unsigned char)(seed + (unsigned)k) && obj[k][size - 1] == obj[k][0]);
			bslab_cache_free(c, obj[k]);
		}
		cr_assert_eq(bslab_cache_destroy(c), 0);
	}
	return NULL;
}

Test(kmem, destroy_against_create)
{
	pthread_t thread[NR_THREADS];

	roam();
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		pthread_create(&thread[i], NULL, come_and_go, (void *)i);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(thread[i], NULL);
}

static struct bslab_cache *left_cache;
static pthread_barrier_t left_barrier;

static void *leave_cached(void *unused)
{
	static void *obj[20];

	(void)unused;
	cr_assert_eq(bslab_cache_alloc_bulk(left_cache, 20, obj), 20);
	bslab_cache_free_bulk(left_cache, 20, obj);
	pthread_barrier_wait(&left_barrier);
	pthread_barrier_wait(&left_barrier);
	return NULL;
}

/* What other CPUs and threads had in their sheaves is free in the child, and not live. */
Test(kmem, fork_leaves_no_live_objects)
{
	pthread_t thread;
	int status;
	pid_t pid;

	left_cache = bslab_cache_create("left", 56, 0, BSLAB_CACHE_NO_MERGE, NULL);
	pthread_barrier_init(&left_barrier, NULL, 2);
	pthread_create(&thread, NULL, leave_cached, NULL);
	pthread_barrier_wait(&left_barrier);
	pid = fork();
	if (!pid)
		_exit(info_of(left_cache).nr_live != 0 || bslab_cache_destroy(left_cache) != 0);
	waitpid(pid, &status, 0);
	cr_assert_eq(status, 0);
	pthread_barrier_wait(&left_barrier);
	pthread_join(thread, NULL);
	cr_assert_eq(bslab_cache_destroy(left_cache), 0);
}

static bool begin_waits;

static uint64_t begin_while_forking(void)
{
	if (begin_waits) {
		begin_waits = false;
		pthread_barrier_wait(&left_barrier);
		pthread_barrier_wait(&left_barrier);
	}
	return epoch;
}

static void *begin_another(void *c)
{
	fill_and_free(c);
	bslab_malloc_trim(0);
	return NULL;
}

/* A grace period that the parent was about to begin is not one that has passed in the child. */
Test(kmem, fork_in_the_midst_of_a_grace_period)
{
	struct bslab_cache *c = bslab_cache_create("stable", 200, 0, BSLAB_CACHE_TYPE_STABLE, NULL);
	pthread_t thread;
	size_t nr_pages;
	int status;
	pid_t pid;

	bslab_cache_set_grace(c, begin_while_forking, grace_passed);
	fill_and_free(c);
	for (int i = 0; i < 4; i++, epoch++)
		bslab_malloc_trim(0);
	cr_assert_eq(info_of(c).nr_pages, 0); /* the next one begins now */
	begin_waits = true;
	pthread_barrier_init(&left_barrier, NULL, 2);
	pthread_create(&thread, NULL, begin_another, c);
	pthread_barrier_wait(&left_barrier);
	pid = fork();
	if (!pid) {
		nr_pages = info_of(c).nr_pages;
		bslab_malloc_trim(0);
		if (!nr_pages || info_of(c).nr_pages != nr_pages)
			_exit(1);
		epoch++;
		bslab_malloc_trim(0);
		_exit(info_of(c).nr_pages >= nr_pages);
	}
	waitpid(pid, &status, 0);
	cr_assert_eq(status, 0);
	pthread_barrier_wait(&left_barrier);
	pthread_join(thread, NULL);
}

/* Its destroyer, who had no user left to ask about, is not in the child: whoever looks there ends it. */
Test(kmem, fork_in_the_midst_of_a_destroy)
{
	struct kmem_cache *c;
	pthread_t thread;
	bool is_full;
	int status;
	pid_t pid;

	left_cache = bslab_cache_create("left", 56, 0, BSLAB_CACHE_NO_MERGE, NULL);
	pthread_barrier_init(&left_barrier, NULL, 2);
	pthread_create(&thread, NULL, leave_cached, NULL);
	pthread_barrier_wait(&left_barrier);
	c = typed_create(&(struct typed_args){"half", 200, 200, TYPED_NO_MERGE, NULL, 0}, &is_full);
	c->typed->nr_users = 0;
	c->typed->is_dying = true;
	pid = fork();
	if (!pid) {
		typed_bury();
		_exit(!is_gone("half"));
	}
	waitpid(pid, &status, 0);
	cr_assert_eq(status, 0);
	pthread_barrier_wait(&left_barrier);
	pthread_join(thread, NULL);
	typed_bury();
	cr_assert(!is_gone("half"));
}

Test(kmem, fork_keeps_caches)
{
	struct bslab_cache *c = bslab_cache_create("fork", 56, 0, BSLAB_CACHE_NO_MERGE, NULL);
	void *obj[100];
	int status;
	pid_t pid;

	cr_assert_eq(bslab_cache_alloc_bulk(c, 100, obj), 100);
	bslab_cache_free_bulk(c, 50, obj);
	pid = fork();
	if (!pid) {
		for (int i = 0; i < 50; i++)
			obj[i] = bslab_cache_alloc(c);
		bslab_cache_free_bulk(c, 100, obj);
		_exit(bslab_cache_destroy(c) != 0);
	}
	waitpid(pid, &status, 0);
	cr_assert_eq(status, 0);
	bslab_cache_free_bulk(c, 50, obj + 50);
	cr_assert_eq(bslab_cache_destroy(c), 0);
}
