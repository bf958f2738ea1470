/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bslab/heap.h"
#include "malloc/internal.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static volatile size_t huge = SIZE_MAX / 2;

static struct bslab_heap_info info_of(struct bslab_heap *h)
{
	struct bslab_heap_info info;

	bslab_heap_info(h, &info);
	return info;
}

static size_t live_bytes(void)
{
	return bslab_mallinfo2().uordblks + bslab_mallinfo2().hblkhd;
}

static size_t random_size(unsigned *seed)
{
	unsigned r = (unsigned)rand_r(seed);

	return r % 100 < 80 ? r % 500 : r % 100 < 98 ? r % (64 * KIB) : r % (6 * MIB);
}

/* Blocks of all sizes come and go; each keeps its bytes. */
static void churn(struct bslab_heap *h, unsigned seed, int nr_steps)
{
	enum { NR = 300 };
	static __thread unsigned char *held[NR];
	static __thread size_t size[NR];

	memset(held, 0, sizeof held);
	for (int i = 0; i < nr_steps; i++) {
		unsigned k = (unsigned)rand_r(&seed) % NR;
		size_t n = random_size(&seed);

		if (held[k]) {
			cr_assert_geq(bslab_heap_usable_size(h, held[k]), size[k]);
			cr_assert(!size[k] || (held[k][0] == (unsigned char)k && held[k][size[k] - 1] == (unsigned char)k));
		}
		if (held[k] && i % 3) {
			bslab_heap_free(h, held[k]);
			held[k] = NULL;
			continue;
		}
		n += !n;
		held[k] = bslab_heap_realloc(h, held[k], n);
		cr_assert(held[k]);
		size[k] = n;
		held[k][0] = held[k][n - 1] = (unsigned char)k;
	}
}

Test(heap, blocks_of_all_sizes)
{
	struct bslab_heap *h = bslab_heap_create("all", 0, 0);
	size_t before = live_bytes();

	for (int i = 0; i < 3; i++) {
		churn(h, 1, 5000);
		cr_assert_gt(info_of(h).nr_blocks, 0);
		cr_assert_leq(info_of(h).block_bytes, info_of(h).size_bytes);
		bslab_heap_destroy(h);
		cr_assert_leq(live_bytes(), before);
		h = bslab_heap_create("again", 0, BSLAB_HEAP_UNLOCKED);
	}
}

Test(heap, freed_blocks_leave_nothing)
{
	struct bslab_heap *h = bslab_heap_create("empty", 0, 0);
	void *p[1000];

	for (int i = 0; i < 1000; i++)
		p[i] = bslab_heap_alloc(h, (size_t)i * i / 10);
	cr_assert_eq(info_of(h).nr_blocks, 1000);
	for (int i = 0; i < 1000; i++)
		bslab_heap_free(h, p[i]);
	bslab_heap_free(h, NULL);
	cr_assert_eq(info_of(h).nr_blocks, 0);
	cr_assert_eq(info_of(h).block_bytes, 0);
	cr_assert_lt(info_of(h).size_bytes, info_of(h).peak_bytes / 2);
	bslab_heap_destroy(h);
}

Test(heap, alignment_and_zeros)
{
	struct bslab_heap *h = bslab_heap_create("aligned", 0, 0);

	for (size_t align = 1; align <= 16 * MIB; align *= 2)
		for (size_t size = 1; size <= 4 * MIB; size = size * 7 + 1) {
			char *p = bslab_heap_aligned_alloc(h, align, size), *q = bslab_heap_calloc(h, 1, size);

			cr_assert(p && (uintptr_t)p % align == 0, "%zu %zu %p", size, align, (void *)p);
			memset(p, 1, size);
			for (size_t i = 0; i < size; i += 64)
				cr_assert_eq(q[i], 0);
			memset(q, 1, size);
			bslab_heap_free(h, p);
			bslab_heap_free(h, q);
		}
	errno = 0;
	cr_assert_null(bslab_heap_aligned_alloc(h, 24, 10));
	cr_assert_eq(errno, EINVAL);
	cr_assert_null(bslab_heap_calloc(h, huge, 3));
	cr_assert_null(bslab_heap_alloc(h, huge));
	cr_assert_eq(errno, ENOMEM);
	bslab_heap_destroy(h);
}

Test(heap, limit)
{
	struct bslab_heap *h = bslab_heap_create("limited", 8 * MIB, 0), *other = bslab_heap_create("other", 0, 0);
	void *p, *last = NULL;

	errno = 0;
	cr_assert_null(bslab_heap_alloc(h, 9 * MIB));
	cr_assert_eq(errno, ENOMEM);
	while ((p = bslab_heap_alloc(h, 1000)))
		last = p;
	cr_assert_leq(info_of(h).size_bytes, 8 * MIB);
	cr_assert_gt(info_of(h).block_bytes, 7 * MIB);
	cr_assert(bslab_heap_alloc(other, 20 * MIB));
	bslab_heap_free(h, last);
	cr_assert_eq(bslab_heap_alloc(h, 1000), last);
	bslab_heap_destroy(h);
	bslab_heap_destroy(other);
}

/* What is free in the heap's slabs serves other sizes when the limit is near. */
Test(heap, limit_counts_what_is_used)
{
	struct bslab_heap *h = bslab_heap_create("limited", 64 * KIB, 0);
	void *p;

	bslab_heap_free(h, bslab_heap_alloc(h, 32 * KIB));
	bslab_heap_free(h, bslab_heap_alloc(h, 28 * KIB));
	p = bslab_heap_alloc(h, 20 * KIB);
	cr_assert(p);
	bslab_heap_free(h, p);
	p = bslab_heap_alloc(h, 64 * KIB);
	cr_assert(p);
	cr_assert_eq(info_of(h).size_bytes, 64 * KIB);
	bslab_heap_destroy(h);
}

/* Slabs have grown by then to 64 pages, but a page would do. */
Test(heap, limit_can_be_reached)
{
	static const size_t sizes[] = {16, 100, 1000, 4000};

	for (int i = 0; i < 4; i++) {
		struct bslab_heap *h = bslab_heap_create("limited", 4 * MIB - 4 * KIB, 0);

		while (bslab_heap_alloc(h, sizes[i]))
			;
		cr_assert_gt(info_of(h).size_bytes + 2 * 4 * KIB, 4 * MIB - 4 * KIB, "%zu: %zu", sizes[i], info_of(h).size_bytes);
		cr_assert_gt(info_of(h).block_bytes, 3 * MIB + 3 * MIB / 4);
		bslab_heap_destroy(h);
	}
}

/* A heap at its quota is its own affair: others keep their caches. */
Test(heap, limit_reclaims_nothing)
{
	struct bslab_heap *h = bslab_heap_create("limited", 64 * KIB, 0);
	uint64_t before, after, failures;

	while (bslab_heap_alloc(h, 1000))
		;
	slow_path_counts(&before, &failures);
	for (int i = 0; i < 100; i++) {
		errno = 0;
		cr_assert_null(bslab_heap_alloc(h, 1000));
		cr_assert_eq(errno, ENOMEM);
		cr_assert_null(bslab_heap_alloc(h, 100 * KIB));
	}
	slow_path_counts(&after, &failures);
	cr_assert_eq(after, before);
	bslab_heap_destroy(h);
}

Test(heap, reclaim_takes_empty_slabs)
{
	struct bslab_heap *h = bslab_heap_create("kept", 0, 0);

	for (size_t size = 8; size <= 32 * KIB; size *= 2)
		bslab_heap_free(h, bslab_heap_alloc(h, size));
	cr_assert_gt(info_of(h).size_bytes, 0);
	bslab_malloc_trim(0);
	cr_assert_eq(info_of(h).size_bytes, 0);
	cr_assert(bslab_heap_alloc(h, 100));
	bslab_heap_destroy(h);
}

Test(heap, names_are_one_line)
{
	struct bslab_heap *h = bslab_heap_create("a\nb \"c", 0, 0);

	cr_assert_str_eq(info_of(h).name, "a_b__c");
	bslab_heap_destroy(h);
	bslab_heap_destroy(NULL);
}

static void *churn_thread(void *h)
{
	churn(h, (unsigned)(uintptr_t)&h, 20000);
	return NULL;
}

Test(heap, threads_share_one)
{
	struct bslab_heap *h = bslab_heap_create("shared", 0, 0);
	pthread_t thread[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, churn_thread, h);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	bslab_heap_destroy(h);
}

Test(heap, fork_keeps_heaps)
{
	struct bslab_heap *h = bslab_heap_create("fork", 0, 0);
	void *p = bslab_heap_alloc(h, 100);
	int status;
	pid_t pid = fork();

	if (!pid) {
		bslab_heap_free(h, p);
		churn(h, 1, 1000);
		bslab_heap_destroy(h);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	cr_assert_eq(status, 0);
	bslab_heap_free(h, p);
	bslab_heap_destroy(h);
}

Test(heap, bad_arguments)
{
	errno = 0;
	cr_assert_null(bslab_heap_create(NULL, 0, 0));
	cr_assert_null(bslab_heap_create("", 0, 0));
	cr_assert_null(bslab_heap_create("a", 0, 2));
	cr_assert_eq(errno, EINVAL);
}
