/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bslab/kmalloc.h"
#include "bslab/kmem.h"
#include "bslab/page.h"
#include "bslab/handle.h"
#include "bslab/heap.h"
#include "bslab/profile.h"
#include "os/bug.h"
#include "page/folio.h"
#include "slab/percpu.h"
#include "stay.h"

#define PAGE ((size_t)BSLAB_PAGE_BYTES)
#define MIB ((size_t)1 << 20)

TestSuite(pages, .init = stay);

static struct bslab_page_info info_of(const void *p)
{
	struct bslab_page_info info;

	bslab_page_info(bslab_virt_to_page(p), &info);
	return info;
}

static bool is_zero(const char *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (p[i])
			return false;
	return true;
}

Test(pages, orders_are_aligned)
{
	for (int round = 0; round < 3; round++)
		for (unsigned order = 0; order <= BSLAB_MAX_PAGE_ORDER; order++) {
			char *p = bslab_pages_alloc(order, BSLAB_PAGES_ZERO);

			cr_assert(p);
			cr_assert_eq((uintptr_t)p % (PAGE << order), 0);
			cr_assert(is_zero(p, PAGE << order));
			memset(p, 1, PAGE << order);
			cr_assert_eq(bslab_folio_size(p), PAGE << order);
			bslab_pages_free(p);
		}
	errno = 0;
	cr_assert_null(bslab_pages_alloc(10, 0));
	cr_assert_eq(errno, EINVAL);
	cr_assert_null(bslab_pages_alloc(0, 1u << 20));
	cr_assert_null(bslab_pages_alloc_exact(0, 0));
	cr_assert_null(bslab_pages_alloc_exact(2 * MIB + 1, 0));
}

Test(pages, exact_runs_are_exact)
{
	for (size_t size = 1; size <= 2 * MIB; size = size * 5 / 4 + 1000) {
		char *p = bslab_pages_alloc_exact(size, 0);

		cr_assert(p);
		memset(p, 1, size);
		cr_assert_eq(bslab_folio_size(p), (size + PAGE - 1) / PAGE * PAGE);
		for (size_t i = 0; i < size; i += PAGE / 2)
			cr_assert_eq(bslab_folio_head(p + i), p);
		bslab_pages_free(p);
		cr_assert_null(bslab_folio_head(p));
	}
}

Test(pages, bulk)
{
	enum { NR = 3000 };
	static void *page[NR];

	for (int round = 0; round < 3; round++) {
		cr_assert_eq(bslab_pages_alloc_bulk(NR, page, BSLAB_PAGES_ZERO), NR);
		for (int i = 0; i < NR; i++) {
			cr_assert_eq(bslab_folio_size(page[i]), PAGE);
			cr_assert(is_zero(page[i], PAGE));
			memset(page[i], 1, PAGE);
		}
		bslab_pages_free_bulk(NR, page);
	}
	cr_assert_eq(bslab_pages_alloc_bulk(0, page, 0), 0);
	bslab_set_limits(0, 8 * MIB);
	errno = 0;
	cr_assert_eq(bslab_pages_alloc_bulk(NR, page, 0), 0);
	cr_assert_eq(errno, ENOMEM);
	bslab_set_limits(0, 0);
	cr_assert_eq(bslab_pages_alloc_bulk(NR, page, 0), NR);
}

Test(pages, references)
{
	char *p = bslab_pages_alloc_exact(5 * PAGE, 0);

	cr_assert_eq(bslab_folio_ref_count(p), 1);
	bslab_folio_get(p);
	bslab_folio_get(p);
	cr_assert_eq(bslab_folio_ref_count(p), 3);
	cr_assert_eq(bslab_pages_split(p, 1), 0);
	bslab_pages_free(p);
	bslab_folio_put(p);
	cr_assert_eq(bslab_folio_ref_count(p), 1);
	cr_assert_eq(bslab_folio_size(p), 5 * PAGE);
	bslab_folio_put(p);
	cr_assert_null(bslab_folio_head(p));
}

Test(pages, split)
{
	char *p = bslab_pages_alloc_exact(10 * PAGE, 0);

	for (size_t i = 0; i < 10; i++)
		p[i * PAGE] = (char)i;
	cr_assert_eq(bslab_pages_split(p, 4), 3);
	cr_assert_eq(bslab_folio_size(p), 4 * PAGE);
	cr_assert_eq(bslab_folio_size(p + 8 * PAGE), 2 * PAGE);
	cr_assert_eq(bslab_folio_head(p + 7 * PAGE + 5), p + 4 * PAGE);
	bslab_pages_free(p + 4 * PAGE);
	cr_assert_eq(bslab_pages_split(p, 1), 4);
	bslab_pages_free(p + PAGE);
	for (size_t i = 0; i < 10; i++)
		if (i != 1 && (i < 4 || i > 7))
			cr_assert_eq(p[i * PAGE], (char)i);
	bslab_pages_free(p);
	bslab_pages_free(p + 2 * PAGE);
	bslab_pages_free(p + 3 * PAGE);
	cr_assert_eq(bslab_pages_split(p + 8 * PAGE, 100), 1);
	bslab_pages_free(p + 8 * PAGE);
}

Test(pages, descriptors)
{
	struct bslab_cache *c = bslab_cache_create("d", 200, 0, BSLAB_CACHE_NO_MERGE, NULL);
	char *run = bslab_malloc(100000), *large = bslab_malloc(5 * MIB), *small = bslab_malloc(100), *obj = bslab_cache_alloc(c),
	     *folio = bslab_pages_alloc(3, 0);
	int on_stack;

	cr_assert_eq(bslab_page_address(bslab_virt_to_page(run + 5)), run);
	cr_assert_eq(info_of(run + 50000).type, BSLAB_PAGE_RUN);
	cr_assert_eq(info_of(run + 50000).head, run);
	cr_assert_eq(info_of(run).nr_pages, 25);
	cr_assert_eq(info_of(large).type, BSLAB_PAGE_LARGE);
	cr_assert_eq(info_of(large).nr_pages, 1280);
	cr_assert_eq(info_of(small).type, BSLAB_PAGE_SLAB);
	cr_assert_eq(info_of(small).object_size, 112);
	cr_assert_eq(info_of(obj).object_size, 200);
	cr_assert_eq(info_of(folio + 3 * PAGE).type, BSLAB_PAGE_FOLIO);
	cr_assert_eq(info_of(folio + 3 * PAGE).head, folio);
	cr_assert_eq(info_of(folio + 3 * PAGE).nr_pages, 8);
	cr_assert_eq(info_of(folio).ref_count, 1);
	cr_assert_eq(info_of(large + 3 * MIB).type, BSLAB_PAGE_LARGE);
	cr_assert_eq(info_of(&on_stack).type, BSLAB_PAGE_OTHER);
	cr_assert_eq(info_of((void *)UINTPTR_MAX).type, BSLAB_PAGE_OTHER);
}

/* A walk over a pageblock finds an owner for each page, and the free ones free. */
Test(pages, bulk_without_flags_of_its_own)
{
	void *p[2];

	errno = 0;
	cr_assert_eq(bslab_pages_alloc_bulk(2, p, BSLAB_PAGES_ZERO | 64), 0);
	cr_assert_eq(errno, EINVAL);
}

Test(pages, descriptors_of_handles)
{
	bslab_handle_t handle = bslab_handle_alloc(1000);
	void *p = bslab_handle_map(handle);

	cr_assert_eq(info_of(p).type, BSLAB_PAGE_HANDLE);
	bslab_handle_unmap(handle);
	bslab_handle_free(handle);
}

Test(pages, descriptors_of_heaps_and_samples)
{
	struct bslab_heap *h = bslab_heap_create("pages", 0, 0);
	char *p = bslab_heap_alloc(h, 100);

	cr_assert_eq(info_of(p).type, BSLAB_PAGE_HEAP);
	bslab_heap_destroy(h);
	cr_assert_eq(bslab_profile_start(1), 0);
	p = bslab_malloc(100);
	cr_assert_eq(info_of(p).type, BSLAB_PAGE_RUN);
	cr_assert_eq((uintptr_t)info_of(p).head, (uintptr_t)p & ~(PAGE - 1));
	bslab_profile_stop();
	bslab_free(p);
}

/* The last reference that can be counted is the last one that there is. */
Test(pages, references_have_an_end)
{
	char *p = bslab_pages_alloc(0, 0);
	page_desc_t one = map_lookup((uintptr_t)p), step;
	int said = memfd_create("said", 0);
	char want[200], text[200] = "";

	bslab_folio_get(p);
	step = map_lookup((uintptr_t)p) - one;
	bug_set_fatal(false);
	map_set((uintptr_t)p, one + (FOLIO_MAX_COUNT - 2) * step);
	bslab_folio_get(p);
	cr_assert_eq(folio_count((uintptr_t)p), FOLIO_MAX_COUNT);
	cr_assert_eq(dup2(said, 2), 2);
	bslab_folio_get(p);
	cr_assert_eq(folio_count((uintptr_t)p), FOLIO_MAX_COUNT);
	snprintf(want, sizeof want, "bslab: invalid bslab_folio_get of %p: the run has as many references as can be\n", (void *)p);
	cr_assert_eq(pread(said, text, sizeof text - 1, 0), (ssize_t)strlen(want));
	cr_assert_str_eq(text, want);
	map_set((uintptr_t)p, one);
	bslab_pages_free(p);
}

Test(pages, descriptors_of_free_pages)
{
	char *run = bslab_malloc(40 * PAGE), *block = (char *)((uintptr_t)run & ~(2 * MIB - 1));
	struct bslab_mempool *pool = bslab_mempool_create(16, PAGE);
	char *element = bslab_mempool_alloc(pool, BSLAB_GFP_NOWAIT);
	size_t nr_free = 0, nr_other = 0;

	for (size_t i = 0; i < 512; i++) {
		nr_free += info_of(block + i * PAGE).type == BSLAB_PAGE_FREE;
		nr_other += info_of(block + i * PAGE).type == BSLAB_PAGE_OTHER;
	}
	cr_assert_eq(nr_other, 0);
	cr_assert_geq(nr_free, 300);
	cr_assert_eq(info_of(element).type, BSLAB_PAGE_POOL);
	bslab_mempool_free(pool, element);
	bslab_mempool_destroy(pool);
}

/* Pages that come fresh from the kernel are not touched to make them zero. */
Test(pages, bulk_zeroes_what_is_not_zero)
{
	enum { NR = 3000 };
	static char *page[NR];
	struct rusage before, after;

	getrusage(RUSAGE_SELF, &before);
	cr_assert_eq(bslab_pages_alloc_bulk(NR, (void **)page, BSLAB_PAGES_ZERO), NR);
	getrusage(RUSAGE_SELF, &after);
	cr_assert_lt(after.ru_minflt - before.ru_minflt, NR / 4);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < NR; i++) {
			cr_assert(page[i][0] == 0 && page[i][PAGE - 1] == 0);
			memset(page[i], 1, PAGE);
		}
		bslab_pages_free_bulk(NR, (void **)page);
		cr_assert_eq(bslab_pages_alloc_bulk(NR, (void **)page, BSLAB_PAGES_ZERO), NR);
	}
	bslab_pages_free_bulk(NR, (void **)page);
}

/* Between the last put and its free nobody may put again, or get. */
Test(pages, a_count_of_zero_is_nobodys)
{
	char *p = bslab_pages_alloc_exact(3 * PAGE, 0);
	page_desc_t was = map_lookup((uintptr_t)p);

	map_set((uintptr_t)p, desc_of_number(3, PAGE_FOLIO));
	cr_assert_eq(folio_put((uintptr_t)p), FOLIO_FOREIGN);
	cr_assert_eq(folio_get((uintptr_t)p), FOLIO_FOREIGN);
	map_set((uintptr_t)p, was);
	bslab_pages_free(p);
}

enum { NR_THREADS = 4, NR_SHARED = 64 };
static _Atomic(char *) shared[NR_SHARED];

/* Runs pass through a table; who takes one out of it puts a reference, who put it in had taken one more. */
static void *pass(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (int i = 0; i < 20000; i++) {
		char *p = bslab_pages_alloc_exact((1 + (size_t)rand_r(&seed) % 20) * PAGE, 0), *old;

		bslab_folio_get(p);
		old = atomic_exchange(&shared[(unsigned)rand_r(&seed) % NR_SHARED], p);
		bslab_folio_put(p);
		if (old)
			bslab_folio_put(old);
	}
	return NULL;
}

Test(pages, threads)
{
	pthread_t thread[NR_THREADS];

	bslab_pages_free(bslab_pages_alloc(0, 0)); /* boots: what is zero until then is read without a lock */
	roam();
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		pthread_create(&thread[i], NULL, pass, (void *)i);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(thread[i], NULL);
	for (int i = 0; i < NR_SHARED; i++)
		if (shared[i])
			bslab_folio_put(shared[i]);
}

static size_t nr_kept(void)
{
	static struct percpu_info info;

	percpu_snapshot(&info);
	return info.nr_kept_pages;
}

/* Two: the first finds no area on this CPU. */
static void leave_a_kept_run(void)
{
	void *p[2] = {bslab_malloc(400000), bslab_malloc(400000)};

	for (int i = 0; i < 2; i++)
		bslab_free(p[i]);
	if (percpu_mode() == INDEX_THREAD || bslab_options.check)
		cr_skip("CPUs keep no runs");
	cr_assert_gt(nr_kept(), 0);
}

Test(pages, the_run_that_a_cpu_keeps_is_for_them_too)
{
	void *p;

	leave_a_kept_run();
	p = bslab_pages_alloc_exact(9 * PAGE, 0);
	cr_assert(p);
	cr_assert_eq(nr_kept(), 0);
	bslab_pages_free(p);
}

/* A few pages do not drive it out, whatever their number. */
Test(pages, a_few_pages_leave_the_run_that_a_cpu_keeps)
{
	void *p[] = {bslab_pages_alloc_exact(3 * PAGE, 0), bslab_pages_alloc_exact(7 * PAGE, 0)};
	size_t before;

	leave_a_kept_run();
	before = nr_kept();
	bslab_pages_free(p[0]);
	bslab_pages_free(p[1]);
	cr_assert_eq(nr_kept(), before);
}

/* Runs of up to 8 pages wait in sheaves, to everybody they are free. */
Test(pages, what_waits_is_free)
{
	for (unsigned order = 0; order <= BSLAB_MAX_PAGE_ORDER; order++)
		for (int round = 0; round < 3; round++) {
			char *p = bslab_pages_alloc(order, 0);

			cr_assert_eq(info_of(p).type, BSLAB_PAGE_FOLIO);
			cr_assert_eq(info_of(p).nr_pages, 1u << order);
			memset(p, 255, PAGE << order);
			bslab_pages_free(p);
			cr_assert_eq(info_of(p).type, BSLAB_PAGE_FREE, "order %u", order);
			cr_assert_eq(info_of(p + (PAGE << order) - 1).type, BSLAB_PAGE_FREE);
			cr_assert_null(bslab_folio_head(p));
			cr_assert_null(bslab_folio_head(p + (PAGE << order) - 1));
			p = bslab_pages_alloc(order, BSLAB_PAGES_ZERO);
			cr_assert(is_zero(p, PAGE << order));
			bslab_pages_free(p);
		}
}

Test(pages, explicit_ones_wait_for_nobody)
{
	void *p = bslab_pages_alloc(0, BSLAB_PAGES_DMA32), *single[3];
	size_t before = nr_kept();

	cr_assert_lt((uintptr_t)p, 1ull << 32);
	bslab_folio_get(p);
	bslab_folio_put(p);
	bslab_pages_free(p);
	p = bslab_pages_alloc_exact(3 * PAGE, BSLAB_PAGES_DMA32);
	cr_assert_eq(bslab_pages_split(p, 1), 3);
	for (size_t i = 0; i < 3; i++)
		bslab_pages_free((char *)p + i * PAGE);
	cr_assert_eq(bslab_pages_alloc_bulk(3, single, BSLAB_PAGES_DMA32), 3);
	cr_assert_lt((uintptr_t)single[2], 1ull << 32);
	bslab_pages_free_bulk(3, single);
	cr_assert_eq(nr_kept(), before);
	p = bslab_pages_alloc(0, BSLAB_PAGES_THISNODE);
	cr_assert(p);
	bslab_pages_free(p);
}

/* 19 pages and 16, which begin at page 19: kept as they are, and of use to who asks for no alignment. */
Test(pages, kept_ones_serve_where_they_are_aligned)
{
	char *p = bslab_pages_alloc_exact(35 * PAGE, 0), *q = p + 19 * PAGE, *r;

	cr_assert_eq(bslab_pages_split(p, 19), 2);
	bslab_pages_free(bslab_pages_alloc_exact(20 * PAGE, 0));
	bslab_pages_free(bslab_pages_alloc_exact(20 * PAGE, 0));
	bslab_pages_free(q);
	r = bslab_pages_alloc(4, 0);
	cr_assert_neq(r, q);
	cr_assert_eq((uintptr_t)r % (16 * PAGE), 0);
	bslab_pages_free(r);
	r = bslab_pages_alloc(4, BSLAB_PAGES_ZERO);
	cr_assert(is_zero(r, 16 * PAGE));
	bslab_folio_put(r);
	bslab_pages_free(p);
}

/* malloc's runs and these are kept by the same word. */
Test(pages, kept_ones_are_malloc_s_too)
{
	char *p;

	leave_a_kept_run();
	p = bslab_pages_alloc_exact(20 * PAGE, 0);
	bslab_pages_free(p);
	p = bslab_pages_alloc_exact(20 * PAGE, 0);
	bslab_pages_free(p);
	cr_assert_eq(nr_kept(), 20);
	cr_assert_eq(bslab_malloc(20 * PAGE), p);
	cr_assert_eq(info_of(p).type, BSLAB_PAGE_RUN);
	bslab_free(p);
	cr_assert_eq(bslab_pages_alloc_exact(20 * PAGE, 0), p);
	cr_assert_eq(info_of(p).type, BSLAB_PAGE_FOLIO);
	bslab_pages_free(p);
}

Test(pages, bulk_of_any_length_and_kind)
{
	enum { MOST = 300 };
	static void *page[MOST], *seen[MOST];

	for (size_t nr = 1; nr <= MOST; nr += nr / 4 + 1)
		for (int round = 0; round < 4; round++) {
			unsigned flags = round % 2 ? BSLAB_PAGES_ZERO : 0;

			cr_assert_eq(bslab_pages_alloc_bulk(nr, page, flags), nr);
			memcpy(seen, page, sizeof seen);
			for (size_t i = 0; i < nr; i++) {
				cr_assert(!flags || is_zero(page[i], PAGE));
				memset(page[i], 1, PAGE);
				*(size_t *)page[i] = i;
			}
			for (size_t i = 0; i < nr; i++)
				cr_assert_eq(*(size_t *)page[i], i, "two have one page");
			if (nr > 5) {
				bslab_pages_free(page[1]);
				page[1] = NULL;
				bslab_pages_free(page[2]);
				page[2] = bslab_pages_alloc_exact(3 * PAGE, 0);
				bslab_pages_free(page[3]);
				page[3] = bslab_pages_alloc(2, 0);
				bslab_folio_get(page[4]);
			}
			bslab_pages_free_bulk(nr, page);
			if (nr > 5) {
				cr_assert_eq(bslab_folio_ref_count(page[4]), 1);
				bslab_pages_free(page[4]);
			}
			for (size_t i = 0; i < nr; i++)
				cr_assert_null(bslab_folio_head(seen[i]));
		}
}

/* What waits is had when it is needed: the limit allows no more than there is. */
Test(pages, what_waits_is_had_under_a_limit)
{
	static void *page[4096];
	size_t n = 0;
	void *p;

	p = bslab_malloc(100000);
	bslab_free(p);
	bslab_set_limits(0, 16 * MIB);
	while (n < 4096 && (page[n] = bslab_pages_alloc(n % 4, 0)))
		n++;
	cr_assert_lt(n, 4096);
	cr_assert_gt(n, 500);
	while (n)
		bslab_pages_free(page[--n]);
	for (size_t i = 0; i < 5; i++)
		cr_assert(bslab_malloc(2 * MIB), "%zu", i);
	bslab_set_limits(0, 0);
}

Test(pages, the_run_that_a_cpu_keeps_is_for_samples_too)
{
	void *p;

	leave_a_kept_run();
	cr_assert_eq(bslab_profile_start(1), 0);
	p = bslab_malloc(100000);
	cr_assert(p);
	cr_assert_eq(nr_kept(), 0);
	bslab_free(p);
}
