/* SPDX-License-Identifier: MIT */
/* As failures.c, of the kernel's interfaces: each system call refused once, and then all after it. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "bslab/contig.h"
#include "bslab/heap.h"
#include "bslab/kmalloc.h"
#include "bslab/kmem.h"
#include "bslab/page.h"
#include "bslab/profile.h"
#include "bslab/shrinker.h"
#include "fake_os.h"
#include "os/options.h"
#include "stay.h"

TestSuite(kernel_failures, .init = stay);

static size_t nr_refused;

/* Whether there is one; if not, errno must say why. */
static bool note(const void *p)
{
	if (p)
		return true;
	cr_assert_eq(errno, ENOMEM);
	errno = 0;
	nr_refused++;
	return false;
}

static void use_cache(unsigned flags)
{
	enum { NR = 3000 };
	static void *obj[NR];
	struct bslab_cache *c = bslab_cache_create("failures", 1000, 0, flags, NULL);

	if (!note(c))
		return;
	if (note((void *)bslab_cache_alloc_bulk(c, NR, obj))) {
		for (int i = 0; i < NR; i++)
			*(int *)obj[i] = i;
		for (int i = 0; i < NR; i++)
			cr_assert_eq(*(int *)obj[i], i);
		bslab_cache_free_bulk(c, NR, obj);
	}
	obj[0] = bslab_cache_alloc(c);
	if (note(obj[0]))
		bslab_cache_free(c, obj[0]);
	cr_assert_eq(bslab_cache_destroy(c), 0);
}

static void use_heap(void)
{
	static const size_t sizes[] = {10, 1000, 30000, 300000, 5 << 20};
	struct bslab_heap *h = bslab_heap_create("failures", 0, 0);
	struct bslab_heap_info info;
	void *p;

	if (!note(h))
		return;
	for (int i = 0; i < 100; i++) {
		p = bslab_heap_alloc(h, sizes[i % 5]);
		if (note(p) && i % 3 == 0)
			bslab_heap_free(h, p);
	}
	bslab_heap_info(h, &info);
	cr_assert_leq(info.block_bytes, info.size_bytes);
	bslab_heap_destroy(h);
}

static void use_pages(void)
{
	static void *page[1000];
	void *run;

	if (note((void *)bslab_pages_alloc_bulk(1000, page, 0)))
		bslab_pages_free_bulk(1000, page);
	run = bslab_pages_alloc(9, BSLAB_PAGES_ZERO);
	if (note(run)) {
		cr_assert_eq(bslab_pages_split(run, 256), 2);
		bslab_pages_free((char *)run + (1 << 20));
		bslab_pages_free(run);
	}
}

static int refuse(void *to, void *from, size_t size, void *arg)
{
	(void)to;
	(void)from;
	(void)size;
	(void)arg;
	return 1;
}

static void use_movable(void)
{
	void *run = bslab_movable_alloc(300000, refuse, NULL);

	if (note(run))
		bslab_movable_free(run);
}

static void use_kmalloc(void)
{
	struct bslab_mempool *pool;
	void *p;

	p = bslab_vmalloc(5 << 20);
	if (note(p))
		bslab_free(p);
	p = bslab_kvmalloc(40 << 20, BSLAB_GFP_ZERO);
	if (note(p))
		bslab_free(p);
	pool = bslab_mempool_create(100, 1000);
	if (!note(pool))
		return;
	for (int i = 0; i < 100; i++)
		cr_assert(bslab_mempool_alloc(pool, i % 2 ? BSLAB_GFP_NOWAIT : BSLAB_GFP_KERNEL), "it is guaranteed");
}

static void workload(void)
{
	use_cache(BSLAB_CACHE_NO_MERGE);
	use_cache(BSLAB_CACHE_TYPE_STABLE);
	use_cache(BSLAB_CACHE_POISON);
	use_heap();
	use_pages();
	use_movable();
	bslab_malloc_trim(0);
}

/* Nothing is refused any more. */
static void expect_empty(void)
{
	fake_fail_at(0, 0, false);
	if (bslab_options.hardened) /* what the kernel refused to open while the workload ended */
		bslab_malloc_trim(0);
	cr_assert_eq(bslab_mallinfo2().uordblks, 0, "%zu bytes still in use", bslab_mallinfo2().uordblks);
}

static size_t nr_calls(void)
{
	size_t n = 0;

	for (int i = 0; i < NR_FAKE_CALLS; i++)
		n += fake.nr_calls[i];
	return n;
}

#define KINDS (FAKE_ALL & ~(1u << FAKE_UNMAP | 1u << FAKE_GUARD))

Test(kernel_failures, each_call_once)
{
	size_t before = nr_calls(), total;

	workload();
	total = nr_calls() - before;
	for (size_t n = 1; n <= total; n += bslab_options.hardened ? 29 : 1) { /* where there are ten times as many */
		fake_fail_at(KINDS, n, false);
		workload();
		expect_empty();
	}
	nr_refused = 0;
	workload();
	cr_assert_eq(nr_refused, 0);
}

Test(kernel_failures, each_call_and_all_after_it)
{
	for (size_t n = 1; n <= 60; n++) {
		fake_fail_at(KINDS, n, true);
		workload();
		expect_empty();
	}
	nr_refused = 0;
	workload();
	cr_assert_eq(nr_refused, 0);
}

Test(kernel_failures, from_the_first_call_of_the_process)
{
	fake_fail_at(FAKE_ALL, 1, true);
	workload();
	cr_assert_gt(nr_refused, 0);
	expect_empty();
	nr_refused = 0;
	workload();
	cr_assert_eq(nr_refused, 0);
}

Test(kernel_failures, mappings)
{
	for (size_t n = 1; n <= 20; n++) {
		fake_fail_at(KINDS, n, n % 2);
		use_kmalloc();
		fake_fail_at(0, 0, false);
	}
	nr_refused = 0;
	use_kmalloc();
	cr_assert_eq(nr_refused, 0);
}

/* --- headers, of which many come with a page ------------------------------------------------------------- */

static void *make_heap(void)
{
	return bslab_heap_create("failures", 0, 0);
}

static void drop_heap(void *h)
{
	bslab_heap_destroy(h);
}

static size_t give_nothing(size_t nr_bytes, void *unused)
{
	(void)nr_bytes;
	(void)unused;
	return 0;
}

static void *make_shrinker(void)
{
	return bslab_shrinker_register("failures", give_nothing, NULL);
}

static void drop_shrinker(void *s)
{
	bslab_shrinker_unregister(s);
}

static void *make_cache(void)
{
	return bslab_cache_create("failures", 64, 0, 0, NULL);
}

static void drop_cache(void *c)
{
	cr_assert_eq(bslab_cache_destroy(c), 0);
}

/* The kernel gives nothing more: some can be had, then none, and again when it does. */
static void use_up(void *(*make)(void), void (*drop)(void *))
{
	static void *held[100000];
	size_t nr = 0;

	held[nr] = make();
	cr_assert(held[nr++]);
	fake_fail_at(KINDS, 1, true);
	while (nr < sizeof held / sizeof *held && (held[nr] = make()))
		nr++;
	cr_assert_eq(errno, ENOMEM);
	cr_assert_lt(nr, sizeof held / sizeof *held);
	fake_fail_at(0, 0, false);
	held[nr] = make();
	cr_assert(held[nr++]);
	while (nr)
		drop(held[--nr]);
}

Test(kernel_failures, headers)
{
	use_up(make_heap, drop_heap);
	use_up(make_shrinker, drop_shrinker);
	if (!bslab_options.hardened) /* where each has a number, of which there are few */
		use_up(make_cache, drop_cache);
}

static void count_end(void *nr)
{
	++*(int *)nr;
}

/* What cannot be noted for the end of a scope is ended at once. */
Test(kernel_failures, scope)
{
	static struct bslab_scope scope;
	int nr_ended = 0, nr_noted = 0;

	fake_fail_at(KINDS, 1, true);
	while (bslab_scope_add(&scope, count_end, &nr_ended) == 0)
		nr_noted++;
	cr_assert_eq(nr_ended, 1);
	fake_fail_at(0, 0, false);
	bslab_scope_end(&scope);
	cr_assert_eq(nr_ended, nr_noted + 1);
}

Test(kernel_failures, profile)
{
	bslab_free(bslab_malloc(1));
	if (bslab_options.hardened)
		cr_skip("there is no profile");
	fake_fail_at(KINDS, 1, true);
	errno = 0;
	cr_assert_eq(bslab_profile_start(0), -1);
	cr_assert_eq(errno, ENOMEM);
	fake_fail_at(0, 0, false);
	cr_assert_eq(bslab_profile_start(0), 0);
	bslab_profile_stop();
}
