/* SPDX-License-Identifier: MIT */
/* Explicit zones with real memory: bslab/kmalloc.h and bslab/page.h. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bslab/contig.h"
#include "bslab/heap.h"
#include "bslab/kmem.h"
#include "bslab/kmalloc.h"
#include "bslab/page.h"
#include "bslab/shrinker.h"
#include "has_shadow.h"
#include "malloc/explicit.h"
#include "malloc/internal.h"
#include "map/pageblock.h"
#include "os/nodes.h"
#include "os/options.h"
#include "page/buddy.h"
#include "region/region.h"
#include "slab/slab.h"
#include "stay.h"

#define MIB ((size_t)1 << 20)
#define LOW_END ((uintptr_t)4 << 30)

TestSuite(zones, .init = stay);

/* Before the first call. */
static void add_option(const char *option)
{
	const char *conf = getenv("BSLAB_CONF");
	char text[200];

	snprintf(text, sizeof text, "%s,%s", conf ? conf : "", option);
	setenv("BSLAB_CONF", text, 1);
}

static bool is_low(const void *p, size_t size)
{
	return p && (uintptr_t)p + size <= LOW_END;
}

static bool is_filled(const char *p, size_t size, char byte)
{
	for (size_t i = 0; i < size; i++)
		if (p[i] != byte)
			return false;
	return true;
}

Test(zones, low_blocks)
{
	static const size_t sizes[] = {0, 1, 64, 1000, 32768, 40000, 1 * MIB, 2 * MIB, 5 * MIB, 200 * MIB};
	char *p[sizeof sizes / sizeof *sizes];

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			p[i] = bslab_kmalloc(sizes[i], BSLAB_GFP_DMA32 | BSLAB_GFP_ZERO);
			cr_assert(is_low(p[i], sizes[i]), "%zu at %p", sizes[i], p[i]);
			cr_assert(is_filled(p[i], sizes[i] < 5 * MIB ? sizes[i] : 5 * MIB, 0));
			cr_assert_geq(bslab_malloc_usable_size(p[i]), sizes[i]);
			memset(p[i], (int)i, sizes[i] < 5 * MIB ? sizes[i] : 5 * MIB);
		}
		for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			cr_assert(is_filled(p[i], sizes[i] < 5 * MIB ? sizes[i] : 5 * MIB, (char)i));
			bslab_free(p[i]);
		}
	}
}

Test(zones, malloc_is_not_low)
{
	char *low = bslab_kmalloc(100000, BSLAB_GFP_DMA32), *p;

	bslab_free(low);
	bslab_free(bslab_kmalloc(3 * MIB, BSLAB_GFP_DMA32));
	for (int i = 0; i < 100; i++) {
		p = bslab_malloc(i % 2 ? 100000 : 3 * MIB);
		cr_assert(!is_low(p, 0));
		if (i % 3)
			bslab_free(p);
	}
}

Test(zones, flags)
{
	struct bslab_mempool *pool = bslab_mempool_create(1, 100);

	errno = 0;
	cr_assert_null(bslab_kmalloc(1, BSLAB_GFP_DMA32 | BSLAB_GFP_NOWAIT));
	cr_assert_eq(errno, EINVAL);
	errno = 0;
	cr_assert_null(bslab_mempool_alloc(pool, BSLAB_GFP_DMA32));
	cr_assert_eq(errno, EINVAL);
	bslab_mempool_destroy(pool);
	errno = 0;
	cr_assert_null(bslab_kmalloc((size_t)2 << 30, BSLAB_GFP_DMA32));
	cr_assert_eq(errno, ENOMEM);
	errno = 0;
	cr_assert_null(bslab_kmalloc(SIZE_MAX / 2, BSLAB_GFP_DMA32));
	cr_assert_eq(errno, ENOMEM);
	cr_assert(is_low(bslab_kvmalloc(3 * MIB, BSLAB_GFP_DMA32), 3 * MIB));
	cr_assert(is_low(bslab_kmalloc_array(10, 100, BSLAB_GFP_DMA32 | BSLAB_GFP_NORETRY), 1000));
}

Test(zones, what_can_never_be_is_not_waited_for)
{
	errno = 0;
	cr_assert_null(bslab_kmalloc((size_t)3 << 30, BSLAB_GFP_DMA32 | BSLAB_GFP_NOFAIL));
	cr_assert_eq(errno, ENOMEM);
	cr_assert_null(bslab_kmalloc(SIZE_MAX / 2, BSLAB_GFP_HUGETLB | BSLAB_GFP_NOFAIL));
}

Test(zones, what_can_never_be_for_a_block, .timeout = 20)
{
	char *p = bslab_kmalloc(100, BSLAB_GFP_DMA32);

	memset(p, 1, 100);
	errno = 0;
	cr_assert_null(bslab_krealloc(p, (size_t)2 << 30, BSLAB_GFP_NOFAIL));
	cr_assert_eq(errno, ENOMEM);
	cr_assert(is_filled(p, 100, 1));
	bslab_free(p);
}

Test(zones, what_can_never_be_hardened, .timeout = 20)
{
	add_option("hardened=yes");
	cr_assert_null(bslab_kmalloc((size_t)1 << 30, BSLAB_GFP_HUGETLB | BSLAB_GFP_NOFAIL));
}

Test(zones, what_can_never_be_of_a_node, .timeout = 20)
{
	char *p;

	add_option("numa=fake:2");
	cr_assert_null(bslab_kmalloc((size_t)1 << 30, BSLAB_GFP_HUGETLB | BSLAB_GFP_THISNODE | BSLAB_GFP_NOFAIL));
	p = bslab_kmalloc(100, 0);
	cr_assert_null(bslab_krealloc(p, (size_t)1 << 30, BSLAB_GFP_HUGETLB | BSLAB_GFP_THISNODE | BSLAB_GFP_NOFAIL));
	cr_assert_null(bslab_kmalloc(((size_t)1 << 30) + 1, BSLAB_GFP_THISNODE | BSLAB_GFP_NOFAIL));
	bslab_free(p);
}

static size_t vm_size_kb(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[200];
	size_t kb = 0;

	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "VmSize: %zu", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

static bool there_are_huge_pages(void)
{
	void *p = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	if (p == MAP_FAILED)
		return false;
	munmap(p, 2 * MIB);
	return true;
}

/* Nor are addresses set aside for it, nor is the heap emptied. */
Test(zones, without_a_pool)
{
	size_t before, nr_reclaims;

	if (there_are_huge_pages())
		cr_skip("the machine has huge pages");
	bslab_free(bslab_kmalloc(100, 0));
	before = vm_size_kb();
	nr_reclaims = atomic_load(&counts.nr_reclaims);
	for (int i = 0; i < 600; i++)
		bslab_free(bslab_kmalloc(100, BSLAB_GFP_HUGE));
	cr_assert_null(bslab_kmalloc(100, BSLAB_GFP_HUGETLB));
	cr_assert_leq(vm_size_kb(), before + 100 * 1024);
	cr_assert_eq(atomic_load(&counts.nr_reclaims), nr_reclaims);
}

/* Nor for pages, nor for a reserve. */
Test(zones, without_a_pool_no_pages)
{
	size_t before, nr_reclaims;
	void *pages[20];

	if (there_are_huge_pages())
		cr_skip("the machine has huge pages");
	bslab_free(bslab_kmalloc(100, 0));
	before = vm_size_kb();
	nr_reclaims = atomic_load(&counts.nr_reclaims);
	errno = 0;
	cr_assert_null(bslab_pages_alloc(0, BSLAB_PAGES_HUGETLB));
	cr_assert_eq(errno, ENOMEM);
	cr_assert_eq(bslab_pages_alloc_bulk(20, pages, BSLAB_PAGES_HUGETLB), 0);
	cr_assert_eq(bslab_contig_reserve(2 * MIB, BSLAB_CONTIG_HUGETLB), ENOMEM);
	cr_assert_leq(vm_size_kb(), before + 100 * 1024);
	cr_assert_eq(atomic_load(&counts.nr_reclaims), nr_reclaims);
}

static size_t nr_shrinks;

static size_t count_shrink(size_t nr_bytes, void *arg)
{
	(void)nr_bytes, (void)arg;
	nr_shrinks++;
	return 4096;
}

/* A zone without addresses gets none by what the rest of the heap gives back. */
#define NR_LOW ((512 * MIB) / 4096)

Test(zones, a_full_zone_does_not_empty_the_heap)
{
	static void *pages[NR_LOW];
	size_t nr_reclaims;

	cr_assert_not_null(bslab_shrinker_register("count", count_shrink, NULL));
	while (bslab_kmalloc(512 * MIB, BSLAB_GFP_DMA32 | BSLAB_GFP_NORETRY))
		;
	while (bslab_pages_alloc_bulk(NR_LOW, pages, BSLAB_PAGES_DMA32)) /* of what is left in pieces */
		;
	nr_reclaims = atomic_load(&counts.nr_reclaims);
	cr_assert_null(bslab_kmalloc(512 * MIB, BSLAB_GFP_DMA32));
	cr_assert_eq(bslab_contig_reserve(512 * MIB, BSLAB_CONTIG_DMA32), ENOMEM);
	cr_assert_eq(bslab_pages_alloc_bulk(NR_LOW, pages, BSLAB_PAGES_DMA32), 0);
	cr_assert_eq(atomic_load(&counts.nr_reclaims), nr_reclaims);
	cr_assert_eq(nr_shrinks, 0);
	bslab_set_limits(0, 64 * MIB);
	cr_assert_null(bslab_kmalloc(512 * MIB, BSLAB_GFP_DMA32));
	cr_assert_gt(atomic_load(&counts.nr_reclaims), nr_reclaims, "a limit is another matter");
}

Test(zones, realloc_stays)
{
	char *p = bslab_kmalloc(100, BSLAB_GFP_DMA32), *q;

	memset(p, 5, 100);
	for (size_t size = 100; size < 6 * MIB; size *= 3) {
		p = size % 2 ? bslab_realloc(p, size) : bslab_krealloc(p, size, 0);
		cr_assert(is_low(p, size) && is_filled(p, 100, 5));
	}
	p = bslab_realloc(p, 100);
	cr_assert(is_low(p, 100) && is_filled(p, 100, 5));
	cr_assert_eq(bslab_realloc(p, 90), p);
	errno = 0;
	cr_assert_null(bslab_realloc(p, (size_t)3 << 30));
	cr_assert_eq(errno, ENOMEM);
	cr_assert(is_filled(p, 90, 5));
	q = bslab_malloc(100000);
	memset(q, 6, 100000);
	cr_assert_null(bslab_krealloc(q, (size_t)3 << 30, BSLAB_GFP_DMA32));
	q = bslab_krealloc(q, 100000, BSLAB_GFP_DMA32);
	cr_assert(is_low(q, 100000) && is_filled(q, 100000, 6));
	q = bslab_krealloc(q, 50, BSLAB_GFP_DMA32 | BSLAB_GFP_ZERO);
	cr_assert(is_low(q, 50) && is_filled(q, 50, 6));
	bslab_kfree_sensitive(q);
	bslab_free_sized(p, 90);
}

/* It needs no memory to stay. */
Test(zones, realloc_that_shrinks_at_a_limit)
{
	char *p = bslab_kmalloc(1 * MIB, BSLAB_GFP_DMA32);

	memset(p, 5, 1 * MIB);
	cr_assert_not_null(bslab_shrinker_register("count", count_shrink, NULL));
	bslab_set_limits(0, 1 * MIB);
	cr_assert_eq(bslab_realloc(p, 300000), p);
	cr_assert_eq(bslab_krealloc(p, 10, BSLAB_GFP_DMA32), p);
	cr_assert_eq(nr_shrinks, 0);
	cr_assert_null(bslab_realloc(p, 2 * MIB));
	cr_assert(is_filled(p, 1 * MIB, 5));
	bslab_free(p);
}

Test(zones, pages)
{
	void *pages[600];
	char *p = bslab_pages_alloc(4, BSLAB_PAGES_DMA32 | BSLAB_PAGES_ZERO), *q;

	cr_assert(is_low(p, 65536) && is_filled(p, 65536, 0) && (uintptr_t)p % 65536 == 0);
	memset(p, 1, 65536);
	cr_assert_eq(bslab_pages_split(p, 4), 4);
	for (int i = 0; i < 4; i++)
		bslab_pages_free(p + i * 16384);
	q = bslab_pages_alloc(4, 0);
	cr_assert(!is_low(q, 0));
	bslab_pages_free(q);
	q = bslab_pages_alloc_exact(2 * MIB, BSLAB_PAGES_DMA32);
	cr_assert(is_low(q, 2 * MIB));
	bslab_pages_free(q);
	cr_assert_eq(bslab_pages_alloc_bulk(600, pages, BSLAB_PAGES_DMA32), 600);
	for (int i = 0; i < 600; i++)
		cr_assert(is_low(pages[i], 4096));
	bslab_pages_free_bulk(600, pages);
}

/* All that is below 4 GiB, and then again. */
Test(zones, the_end_of_low_memory)
{
	struct block {
		struct block *next;
	} *all = NULL, *b;
	size_t n = 0, m = 0;

	while ((b = bslab_kmalloc(64 * MIB, BSLAB_GFP_DMA32 | BSLAB_GFP_NORETRY)))
		b->next = all, all = b, n++;
	cr_assert_eq(errno, ENOMEM);
	cr_assert_gt(n, 8, "%zu", n);
	while ((b = all))
		all = b->next, bslab_free(b);
	while ((b = bslab_kmalloc(64 * MIB, BSLAB_GFP_DMA32 | BSLAB_GFP_NORETRY)))
		m++;
	cr_assert_eq(m, n);
	cr_assert(is_low(bslab_kmalloc(64, BSLAB_GFP_DMA32), 64));
}

Test(zones, under_an_address_space_limit)
{
	struct rlimit limit = {.rlim_cur = 0, .rlim_max = 0};
	size_t n = 0;

	if (HAS_SHADOW)
		cr_skip("a sanitizer has terabytes of addresses");
	getrlimit(RLIMIT_AS, &limit);
	limit.rlim_cur = (size_t)6 << 30; /* of which the page map has some */
	cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
	for (; n < 1000; n++) {
		char *p = bslab_kmalloc(1 * MIB, BSLAB_GFP_DMA32);

		cr_assert(is_low(p, 1 * MIB));
		p[0] = p[MIB - 1] = 1;
		if (n % 2)
			bslab_free(p);
	}
}

static void *worker(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	char *held[64] = {0};

	for (int i = 0; i < 20000; i++) {
		unsigned at = (unsigned)rand_r(&seed) % 64;
		size_t size = (size_t)rand_r(&seed) % (i % 16 ? 500 : 100000) + 1;

		if (held[at] && *held[at] != (char)at)
			return (void *)1;
		bslab_free(held[at]);
		held[at] = bslab_kmalloc(size, BSLAB_GFP_DMA32);
		if (!is_low(held[at], size))
			return (void *)1;
		*held[at] = (char)at;
	}
	for (int i = 0; i < 64; i++)
		bslab_free(held[i]);
	return NULL;
}

Test(zones, threads_and_forks)
{
	pthread_t threads[4];
	void *result;

	roam();
	bslab_free(bslab_malloc(1)); /* booted: no child finds that half done */
	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, worker, (void *)(i + 1));
	for (int i = 0; i < 20; i++) {
		pid_t child = fork();
		int status;

		if (!child)
			_exit(worker((void *)77) != NULL);
		waitpid(child, &status, 0);
		cr_assert_eq(status, 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], &result);
		cr_assert_null(result);
	}
}

/* One by one, where each free is looked at; else as malloc's. */
static void misuse(const char *options)
{
	struct bslab_heap *heap;
	char *p;

	add_option(options);
	p = bslab_kmalloc(200, BSLAB_GFP_DMA32);
	heap = bslab_heap_create("h", 0, 0);
	bslab_free(p + 8);
	bslab_free(p);
	bslab_free(p);
	cr_assert_eq(bslab_malloc_usable_size(p), 0);
	errno = 0;
	cr_assert_null(bslab_realloc(p, 10));
	cr_assert_eq(errno, EINVAL);
	p = bslab_kmalloc(200, BSLAB_GFP_DMA32);
	bslab_heap_free(heap, p);
	cr_assert_geq(bslab_malloc_usable_size(p), 200);
	bslab_free(p);
}

Test(zones, misuse_is_told)
{
	misuse("on_error=warn,check=yes");
}

Test(zones, misuse_is_told_hardened)
{
	misuse("on_error=warn,hardened=yes");
}

Test(zones, double_free_is_told, .signal = SIGABRT)
{
	char *p = bslab_kmalloc(200, BSLAB_GFP_DMA32);

	bslab_free(p);
	bslab_free(p);
}

Test(zones, size_that_cannot_be_is_told, .signal = SIGABRT)
{
	bslab_free_sized(bslab_kmalloc(200, BSLAB_GFP_DMA32), 300);
}

/* --- caches of zones -------------------------------------------------------------------------- */

/* The number of the cache that an object is of; 0: none of a zone. */
static unsigned cache_at(const void *p)
{
	page_desc_t d = map_lookup((uintptr_t)p);

	return desc_class(d) >= NR_CLASSES ? desc_class(d) : 0;
}

static bool is_of_a_heap(const void *p)
{
	return desc_type(map_lookup((uintptr_t)p)) == PAGE_HEAP;
}

Test(zones, objects_of_a_size_have_a_cache)
{
	char *p = bslab_kmalloc(100, BSLAB_GFP_DMA32), *q = bslab_kmalloc(110, BSLAB_GFP_DMA32), *r = bslab_kmalloc(200, BSLAB_GFP_DMA32);
	struct cache_info info;

	cr_assert(cache_at(p) && cache_at(p) == cache_at(q) && cache_at(r) != cache_at(p));
	cr_assert(cache_snapshot(cache_at(p), &info) && info.size == 112);
	cr_assert_str_eq(info.name, "DMA32-112");
	cr_assert_eq(explicit_zone_of(map_lookup((uintptr_t)p)), PAGES_DMA32);
	cr_assert_eq(explicit_zone_of(map_lookup((uintptr_t)bslab_malloc(100))), 0);
	cr_assert_eq(bslab_malloc_usable_size(p), 112);
	bslab_free_sized(p, 100);
	bslab_free_aligned_sized(q, 8, 110);
	cr_assert_eq(bslab_kmalloc(105, BSLAB_GFP_DMA32 | BSLAB_GFP_NORETRY), q);
	cr_assert_eq(bslab_kmalloc(105, BSLAB_GFP_DMA32 | BSLAB_GFP_NOFAIL), p);
	bslab_free(r);
}

/* A program's cache of the same size is another, and does not take its objects. */
Test(zones, typed_caches_are_apart)
{
	struct bslab_cache *cache;
	char *p, *q;

	add_option("on_error=warn");
	p = bslab_kmalloc(112, BSLAB_GFP_DMA32);
	cache = bslab_cache_create("DMA32-112", 104, 8, 0, NULL);
	q = bslab_cache_alloc(cache);
	cr_assert(!is_low(q, 0));
	bslab_cache_free(cache, p);
	bslab_free(q);
	cr_assert_eq(bslab_malloc_usable_size(p), 112);
	bslab_cache_free(cache, q);
	cr_assert_eq(bslab_cache_destroy(cache), 0);
	bslab_free(p);
}

#define NR_BATCH 1000

static void *free_batch(void *arg)
{
	void **p = arg;

	for (int i = 0; i < NR_BATCH; i++)
		bslab_free(p[i]);
	return NULL;
}

/* One thread's, freed by another; more than sheaves hold. */
static void pass_on(unsigned gfp)
{
	static void *p[NR_BATCH];
	pthread_t thread;

	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < NR_BATCH; i++) {
			p[i] = bslab_kmalloc(64, gfp);
			cr_assert(gfp & BSLAB_GFP_DMA32 ? is_low(p[i], 64) : p[i] != NULL);
			memset(p[i], i, 64);
		}
		for (int i = 0; i < NR_BATCH; i++)
			cr_assert(is_filled(p[i], 64, (char)i));
		pthread_create(&thread, NULL, free_batch, p);
		pthread_join(thread, NULL);
	}
}

Test(zones, freed_by_another)
{
	add_option("numa=fake:2");
	pass_on(BSLAB_GFP_DMA32);
	pass_on(BSLAB_GFP_THISNODE);
	pass_on(BSLAB_GFP_THISNODE | BSLAB_GFP_DMA32);
}

/* Sizes beyond that are the heap's, and are freed and moved as the others are. */
Test(zones, more_sizes_than_caches)
{
	char *low, *here, *moved;
	unsigned nr_low = 0;

	add_option("numa=fake:2");
	for (unsigned class = 1; class < NR_CLASSES; class++) {
		low = bslab_kmalloc(class_size(class), BSLAB_GFP_DMA32);
		nr_low += cache_at(low) != 0;
		bslab_free(low);
	}
	cr_assert_eq(nr_low, MAX_EXPLICIT_CACHES);
	here = bslab_kmalloc(64, BSLAB_GFP_THISNODE);
	cr_assert(is_of_a_heap(here) && !cache_at(here));
	memset(here, 3, 64);
	moved = bslab_realloc(here, 640);
	cr_assert(is_of_a_heap(moved) && is_filled(moved, 64, 3));
	bslab_free(moved);
}

/* Larger than a zone can have it: nothing is emptied for it. */
Test(zones, what_can_never_be)
{
	size_t size = GIB + BSLAB_PAGE_SIZE, nr_reclaims;
	void *p;

	add_option("numa=fake:2");
	p = bslab_kmalloc(100000, BSLAB_GFP_THISNODE);
	cr_assert_not_null(p);
	cr_assert_not_null(bslab_shrinker_register("count", count_shrink, NULL));
	nr_reclaims = atomic_load(&counts.nr_reclaims);
	errno = 0;
	cr_assert_null(bslab_kmalloc(size, BSLAB_GFP_THISNODE));
	cr_assert_null(bslab_kmalloc(size, BSLAB_GFP_DMA32));
	cr_assert_null(bslab_krealloc(p, size, BSLAB_GFP_THISNODE));
	cr_assert_null(bslab_realloc(p, size));
	cr_assert_eq(errno, ENOMEM);
	cr_assert_eq(atomic_load(&counts.nr_reclaims), nr_reclaims);
	cr_assert_eq(nr_shrinks, 0);
	bslab_free(p);
}

#define MAX_TYPED (NR_CACHES - FIRST_TYPED)

Test(zones, programs_have_all_the_numbers)
{
	struct bslab_cache *cache[MAX_TYPED];
	char *p, *q = NULL;

	for (unsigned i = 0; i < MAX_TYPED; i++)
		cr_assert_not_null(cache[i] = bslab_cache_create("mine", 64, 0, BSLAB_CACHE_NO_MERGE, NULL));
	p = bslab_kmalloc(64, BSLAB_GFP_DMA32);
	cr_assert(is_low(p, 64) && is_of_a_heap(p));
	cr_assert_eq(bslab_cache_destroy(cache[7]), 0);
	for (int i = 0; i < 200; i++) /* more than the heap has at hand */
		cr_assert(is_low(q = bslab_kmalloc(64, BSLAB_GFP_DMA32), 64));
	cr_assert(cache_at(q));
	bslab_free(p);
	bslab_free(q);
}

static pthread_barrier_t barrier;

static void *first_of_all_sizes(void *unused)
{
	for (unsigned class = 1; class < NR_CLASSES; class++) {
		pthread_barrier_wait(&barrier);
		bslab_free(bslab_kmalloc(class_size(class), BSLAB_GFP_DMA32));
	}
	return unused;
}

/* There is one cache for each size, whoever was first. */
Test(zones, threads_make_them)
{
	pthread_t thread[4];
	struct cache_info info;
	unsigned nr = 0;

	bslab_free(bslab_malloc(1));
	pthread_barrier_init(&barrier, NULL, 4);
	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, first_of_all_sizes, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	for (unsigned class = NR_CLASSES; class < NR_CACHES; class++)
		nr += cache_snapshot(class, &info);
	cr_assert_leq(nr, MAX_EXPLICIT_CACHES);
	cr_assert_geq(nr, MAX_EXPLICIT_CACHES - 4, "%u", nr);
}

#define NR_SLAB ((int)(2 * MIB / 32768))

/* Objects that are free, in sheaves and barns too, make room in their zone. */
Test(zones, free_objects_make_room)
{
	char *p[NR_SLAB];

	for (int i = 0; i < NR_SLAB; i++)
		cr_assert(is_low(p[i] = bslab_kmalloc(32768, BSLAB_GFP_DMA32), 32768));
	while (bslab_kmalloc(2 * MIB, BSLAB_GFP_DMA32))
		;
	for (int i = 0; i < NR_SLAB; i++)
		bslab_free(p[i]);
	cr_assert_null(bslab_kmalloc(2 * MIB, BSLAB_GFP_DMA32 | BSLAB_GFP_NORETRY), "some are at hand");
	cr_assert(is_low(bslab_kmalloc(2 * MIB, BSLAB_GFP_DMA32), 2 * MIB));
}

Test(zones, a_limit_is_kept)
{
	size_t n = 0;

	bslab_free(bslab_kmalloc(1000, BSLAB_GFP_DMA32));
	bslab_set_limits(0, 4 * MIB);
	while (n < 10000 && bslab_kmalloc(1000, BSLAB_GFP_DMA32))
		n++;
	cr_assert(n > 1000 && n < 5000, "%zu", n);
	cr_assert_eq(errno, ENOMEM);
}

/* --- nodes ------------------------------------------------------------------------------------ */

static unsigned node_at(const void *p)
{
	return zone_node_of(map_pageblock((uintptr_t)p)->region->zone);
}

static const unsigned this_node = BSLAB_GFP_THISNODE, low_here = BSLAB_GFP_THISNODE | BSLAB_GFP_DMA32;

Test(zones, this_node)
{
	static const size_t sizes[] = {1, 100, 32768, 40000, 2 * MIB, 7 * MIB};
	char *p, *q;

	add_option("numa=fake:2");
	for (int cpu = 0; cpu < 2 && stay_on(cpu); cpu++)
		for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			p = bslab_kmalloc(sizes[i], this_node | BSLAB_GFP_ZERO);
			q = bslab_kvmalloc(sizes[i], low_here);
			cr_assert_eq(node_at(p), (unsigned)cpu);
			cr_assert_eq(node_at(q), (unsigned)cpu);
			cr_assert(is_low(q, sizes[i]) && !is_low(p, 0));
			cr_assert(is_filled(p, sizes[i], 0));
			memset(p, 1, sizes[i]);
			p = bslab_krealloc(p, 2 * sizes[i], 0);
			cr_assert(is_filled(p, sizes[i], 1) && node_at(p) == (unsigned)cpu);
			p = bslab_krealloc(p, sizes[i], low_here);
			cr_assert(is_low(p, sizes[i]) && is_filled(p, sizes[i], 1));
			bslab_free(p);
			bslab_free(q);
			p = bslab_pages_alloc(3, BSLAB_PAGES_THISNODE);
			cr_assert_eq(node_at(p), (unsigned)cpu);
			bslab_pages_free(p);
		}
}

/* A thread that moves is served of where it is, by caches of their own, and each object goes back to its own. */
Test(zones, threads_move)
{
	char *p[2][100];

	add_option("numa=fake:2");
	if (!stay_on(1))
		cr_skip("one CPU");
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 100; i++)
			for (int cpu = 0; cpu < 2 && stay_on(cpu); cpu++) {
				p[cpu][i] = bslab_kmalloc(64, i % 2 ? this_node : low_here);
				cr_assert_eq(node_at(p[cpu][i]), (unsigned)cpu);
				cr_assert_eq(is_low(p[cpu][i], 64), i % 2 == 0);
			}
		for (int i = 0; i < 100; i++) {
			cr_assert(i < 2 || cache_at(p[0][i]) == cache_at(p[0][i - 2]));
			cr_assert_neq(cache_at(p[0][i]), cache_at(p[1][i]));
			bslab_free(p[0][i]);
			bslab_free(p[1][i]);
		}
	}
}

/* What is at hand of any node is not taken before it is known which there are. */
Test(zones, this_node_is_asked_for_first)
{
	char *p;

	add_option("numa=fake:2");
	if (!stay_on(1))
		return;
	cr_assert_not_null(bslab_kmalloc(64, BSLAB_GFP_DMA32));
	bslab_free(bslab_kmalloc(64, BSLAB_GFP_DMA32));
	p = bslab_kmalloc(64, low_here);
	cr_assert_eq(node_at(p), 1);
	bslab_free(p);
}

/* A block that is elsewhere moves there. */
Test(zones, krealloc_to_this_node)
{
	char *p, *q;

	add_option("numa=fake:2");
	for (int cpu = 0; cpu < 2 && stay_on(cpu); cpu++) {
		p = bslab_kmalloc(100, 0);
		memset(p, 7, 100);
		p = bslab_krealloc(p, 5000, this_node);
		cr_assert(is_filled(p, 100, 7) && node_at(p) == (unsigned)cpu);
		cr_assert_eq(explicit_zone_of(map_lookup((uintptr_t)p)), pages_node((unsigned)cpu), "of the node for good");
		cr_assert_eq(bslab_krealloc(p, 4500, this_node), p);
		if (!stay_on(!cpu))
			return;
		q = bslab_krealloc(p, 4500, this_node);
		cr_assert(is_filled(q, 100, 7) && node_at(q) == !cpu);
		bslab_free(q);
	}
}

Test(zones, a_node_without_memory_gets_none_by_a_reclaim)
{
	size_t nr_reclaims = atomic_load(&counts.nr_reclaims);

	bslab_free(bslab_kmalloc(100, 0));
	cr_assert_not(explicit_make_room(PAGES_NODE_MASK, 0, 4096));
	cr_assert_eq(atomic_load(&counts.nr_reclaims), nr_reclaims);
	cr_assert(explicit_make_room(0, 0, 4096), "malloc's");
	cr_assert_gt(atomic_load(&counts.nr_reclaims), nr_reclaims);
}

Test(zones, with_one_node_all_is_this_one)
{
	char *p = bslab_kmalloc(100, this_node), *low;

	if (nodes_nr() == 1) {
		cr_assert(p && node_at(p) == 0);
		cr_assert_eq(explicit_zone_of(map_lookup((uintptr_t)p)), 0);
		bslab_free(p);
		cr_assert_eq(bslab_kmalloc(100, 0), p, "malloc's own");
		low = bslab_kmalloc(100, BSLAB_GFP_DMA32 | this_node);
		cr_assert(is_low(low, 100));
		bslab_free(low);
		cr_assert_eq(bslab_kmalloc(100, BSLAB_GFP_DMA32), low);
		bslab_free(low);
		cr_assert_eq(bslab_kmalloc(100, BSLAB_GFP_DMA32 | this_node), low);
	}
	bslab_free(p);
	bslab_pages_free(bslab_pages_alloc(0, BSLAB_PAGES_THISNODE));
}

/* What was freed last is at hand, and zeros, other zones' blocks, and what is none are not taken for it. */
Test(zones, blocks_at_hand)
{
	char *p = bslab_kmalloc(100, BSLAB_GFP_DMA32), *q;

	memset(p, 1, 100);
	bslab_free(p);
	q = bslab_kmalloc(100, BSLAB_GFP_DMA32 | BSLAB_GFP_ZERO);
	cr_assert(q == p && is_filled(q, 100, 0));
	bslab_free(q);
	cr_assert(!is_low(q = bslab_kmalloc(100, 0), 100));
	bslab_free(q);
	cr_assert_eq(bslab_kmalloc(100, BSLAB_GFP_DMA32), p);
	errno = 0;
	cr_assert_null(bslab_kmalloc(100, BSLAB_GFP_DMA32 | BSLAB_GFP_HUGETLB));
	cr_assert_eq(errno, EINVAL);
	cr_assert_null(bslab_kmalloc((size_t)1 << 62, BSLAB_GFP_DMA32));
	cr_assert(is_low(q = bslab_kmalloc(32769, BSLAB_GFP_DMA32), 32769));
	bslab_free(q);
	bslab_free(p);
}

static void *use_low_blocks(void *unused)
{
	static __thread char *held[200];
	unsigned seed = (unsigned)(uintptr_t)&seed;

	for (int i = 0; i < 100000; i++) {
		unsigned k = (unsigned)rand_r(&seed) % 200;

		if (held[k])
			cr_assert_eq(*held[k], (char)k);
		bslab_free(held[k]);
		held[k] = i < 99000 ? bslab_kmalloc(k + 1, BSLAB_GFP_DMA32) : NULL;
		if (held[k])
			*held[k] = (char)k;
	}
	return unused;
}

/* First as the only thread, then several at one lock. */
Test(zones, threads_share_one)
{
	pthread_t thread[4];

	bslab_free(bslab_malloc(1)); /* boots: options are read by then */
	use_low_blocks(NULL);
	roam();
	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, use_low_blocks, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
}

/* The same of the zone's heap, which the hardened mode has instead of caches. */
Test(zones, threads_share_a_heap)
{
	pthread_t thread[4];

	add_option("hardened=yes");
	bslab_free(bslab_malloc(1));
	use_low_blocks(NULL);
	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, use_low_blocks, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
}

/* malloc itself: a large block is of the node that asks. */
Test(zones, malloc_is_local)
{
	char *p[2];

	add_option("numa=fake:2");
	bslab_free(bslab_malloc(20 * MIB)); /* enough for the nodes to be read */
	bslab_free(bslab_malloc(30 * MIB));
	if (!stay_on(1))
		return;
	bslab_free(bslab_kmalloc(1, this_node));
	p[1] = bslab_malloc(40 * MIB);
	stay_on(0);
	p[0] = bslab_malloc(40 * MIB);
	cr_assert_eq(node_at(p[0]), 0);
	cr_assert_eq(node_at(p[1]), 1);
	bslab_free(p[0]);
	bslab_free(p[1]);
}

/* --- explicit huge pages: life/hugetlb.c has a pool that is not empty ------------------------------- */

Test(zones, huge_pages_where_there_may_be_none)
{
	static const size_t sizes[] = {1, 5000, 100000, 2 * MIB, 5 * MIB, (size_t)1 << 30};
	static const unsigned flags[] = {BSLAB_GFP_HUGE, BSLAB_GFP_HUGE | BSLAB_GFP_DMA32, BSLAB_GFP_HUGE | BSLAB_GFP_THISNODE};

	for (size_t f = 0; f < sizeof flags / sizeof *flags; f++)
		for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			char *p = bslab_kmalloc(sizes[i], flags[f] | BSLAB_GFP_NORETRY);

			if (sizes[i] >> 30)
				continue;
			cr_assert(p);
			p[0] = p[sizes[i] - 1] = 1;
			cr_assert(!(flags[f] & BSLAB_GFP_DMA32) || is_low(p, sizes[i]));
			bslab_free(p);
		}
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		bslab_free(bslab_kmalloc(sizes[i], BSLAB_GFP_HUGETLB | BSLAB_GFP_NORETRY));
}

Test(zones, strict_flags_exclude_each_other)
{
	errno = 0;
	cr_assert_null(bslab_kmalloc(1, BSLAB_GFP_HUGETLB | BSLAB_GFP_DMA32));
	cr_assert_eq(errno, EINVAL);
	errno = 0;
	cr_assert_null(bslab_kmalloc(1, BSLAB_GFP_HUGETLB | BSLAB_GFP_NOWAIT));
	cr_assert_eq(errno, EINVAL);
	errno = 0;
	cr_assert_null(bslab_pages_alloc(0, BSLAB_PAGES_HUGETLB | BSLAB_PAGES_DMA32));
	cr_assert_eq(errno, EINVAL);
}
