/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bslab/heap.h"
#include "bslab/kmalloc.h"
#include "has_shadow.h"
#include "malloc/internal.h"
#include "stay.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

TestSuite(heap, .init = stay);

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
	uint64_t before;

	while (bslab_heap_alloc(h, 1000))
		;
	before = counts.nr_reclaims;
	for (int i = 0; i < 100; i++) {
		errno = 0;
		cr_assert_null(bslab_heap_alloc(h, 1000));
		cr_assert_eq(errno, ENOMEM);
		cr_assert_null(bslab_heap_alloc(h, 100 * KIB));
	}
	cr_assert_eq(counts.nr_reclaims, before);
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

/* --- in memory that the program brings ------------------------------------------------------------- */

static char *bring(size_t size)
{
	char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(map, MAP_FAILED);
	return map;
}

static bool is_in(const void *p, const char *map, size_t size)
{
	return (const char *)p >= map && (const char *)p < map + size;
}

static void check_device(char *map, size_t size)
{
	struct bslab_heap *h = bslab_heap_create_in("device", map, size, 0);
	void *p;

	cr_assert(h, "%d", errno);
	for (size_t n = 1; n < size / 2; n = n * 5 / 3 + 7) {
		p = bslab_heap_alloc(h, n);
		if (!p)
			break; /* it is full of those that stay */
		cr_assert(is_in(p, map, size) && is_in((char *)p + n - 1, map, size), "%zu", n);
		memset(p, 1, n);
		if (n % 2)
			bslab_heap_free(h, p);
	}
	cr_assert_leq(info_of(h).size_bytes, size);
	cr_assert_eq(info_of(h).limit, size & ~(4 * KIB - 1));
	bslab_heap_destroy(h);
	/* As new: all of it can be had, to the last page. */
	h = bslab_heap_create_in("device", map, size, BSLAB_HEAP_UNLOCKED);
	while ((p = bslab_heap_alloc(h, 4 * KIB))) {
		cr_assert(is_in(p, map, size));
		memset(p, 2, 4 * KIB);
	}
	cr_assert_eq(errno, ENOMEM);
	cr_assert_eq(info_of(h).block_bytes, size & ~(4 * KIB - 1));
	bslab_heap_destroy(h);
}

Test(heap, brought_memory)
{
	static char array[100 << 10] __attribute__((aligned(4096)));
	char *map = bring(40 * MIB);

	check_device(map, 40 * MIB);
	check_device(map + 12 * KIB, 7 * MIB + 20 * KIB);
	check_device(array, sizeof array);
	munmap(map, 40 * MIB);
}

/* What stands beside it in its first and last 2 MiB is not touched, nor is what is in free pages. */
Test(heap, brought_memory_ends_where_it_ends)
{
	char *map = bring(8 * MIB), *from = map + 300 * KIB + 100;
	size_t size = 5 * MIB + 7;
	struct bslab_heap *h;

	memset(map, 7, 8 * MIB);
	h = bslab_heap_create_in("device", from, size, 0);
	for (int i = 0; i < 3000; i++) {
		char *p = bslab_heap_alloc(h, (size_t)i * 37 % 3000 + 1);

		cr_assert(!p || is_in(p, from, size));
		if (p)
			*p = 1;
		if (i % 3)
			bslab_heap_free(h, p);
	}
	bslab_heap_destroy(h);
	for (char *p = map; p < from; p++)
		cr_assert_eq(*p, 7);
	for (char *p = from + size; p < map + 8 * MIB; p++)
		cr_assert_eq(*p, 7);
}

/* Blocks of more than 2 MiB, side by side and again and again. */
Test(heap, brought_memory_large_blocks)
{
	char *map = bring(64 * MIB), *p[8];
	struct bslab_heap *h = bslab_heap_create_in("device", map, 64 * MIB, 0);

	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 8; i++) {
			p[i] = bslab_heap_aligned_alloc(h, 4 * KIB, 5 * MIB - 100 * KIB);
			cr_assert(p[i]);
			memset(p[i], i, 5 * MIB - 100 * KIB);
		}
		for (int i = 0; i < 8; i++)
			cr_assert(p[i][0] == i && p[i][5 * MIB - 100 * KIB - 1] == i);
		for (int i = 0; i < 8; i++)
			bslab_heap_free(h, p[(i * 3 + round) % 8]);
		cr_assert_eq(info_of(h).size_bytes, 0);
	}
	cr_assert(bslab_heap_alloc(h, 60 * MIB));
	cr_assert_null(bslab_heap_aligned_alloc(h, 4 * MIB, 100));
	bslab_heap_destroy(h);
}

#define SECTION (2048 * MIB) /* the page map's: map/map.h */

/* Rows and whole heaps that are in two sections, beside a heap whose pageblocks stand behind the first one's descriptors. */
Test(heap, brought_memory_across_sections)
{
	char *map = mmap(NULL, 3 * SECTION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *section = (char *)(((uintptr_t)map + SECTION - 1) & ~(SECTION - 1)), *from = section + SECTION - 16 * MIB, *row, *p;
	struct bslab_heap *neighbour, *h;

	cr_assert_neq(map, MAP_FAILED);
	neighbour = bslab_heap_create_in("neighbour", section, 32 * MIB, 0);
	h = bslab_heap_create_in("device", from, 32 * MIB, 0);
	cr_assert(neighbour && h);
	p = bslab_heap_alloc(neighbour, 100);
	row = bslab_heap_alloc(h, 30 * MIB);
	cr_assert(p && is_in(row, from, 32 * MIB));
	cr_assert_eq(bslab_heap_usable_size(h, row), 30 * MIB);
	cr_assert(bslab_heap_alloc(neighbour, 12 * MIB));
	bslab_heap_free(neighbour, p);
	bslab_heap_free(h, row);
	cr_assert(bslab_heap_alloc(h, 32 * MIB));
	bslab_heap_destroy(h);
	cr_assert(bslab_heap_alloc(neighbour, 12 * MIB));
	bslab_heap_destroy(neighbour);
	check_device(from, 32 * MIB);
	h = bslab_heap_create_in("both", section, SECTION + 32 * MIB, 0);
	cr_assert(h);
	cr_assert(bslab_heap_alloc(h, SECTION));
	bslab_heap_destroy(h);
	munmap(map, 3 * SECTION);
}

static size_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	size_t total = 0, resident = 0;

	cr_assert_eq(fscanf(f, "%zu %zu", &total, &resident), 2);
	fclose(f);
	return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* What describes its pages goes when it goes. */
Test(heap, brought_memory_leaves_nothing)
{
	char *map = mmap(NULL, SECTION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t before;

	cr_assert_neq(map, MAP_FAILED);
	check_device(map, 4 * MIB);
	before = resident_bytes();
	for (size_t at = 0; at < SECTION; at += SECTION / 2)
		bslab_heap_destroy(bslab_heap_create_in("device", map + at, SECTION / 2, 0));
	cr_assert(HAS_SHADOW || resident_bytes() < before + MIB);
	munmap(map, SECTION);
}

Test(heap, brought_memory_has_one_owner)
{
	char *map = bring(16 * MIB), *mine = bslab_malloc(100000), *mapped = bslab_vmalloc(2 * MIB);
	struct bslab_heap *h = bslab_heap_create_in("device", map + 4 * MIB, 4 * MIB, 0);

	cr_assert(h);
	errno = 0;
	cr_assert_null(bslab_heap_create_in("again", map, 16 * MIB, 0));
	cr_assert_eq(errno, EBUSY);
	cr_assert_null(bslab_heap_create_in("malloc's", mine, 100000, 0));
	cr_assert_eq(errno, EBUSY);
	cr_assert_null(bslab_heap_create_in("a mapping of malloc's", mapped, 2 * MIB, 0));
	cr_assert_eq(errno, EBUSY);
	cr_assert_null(bslab_heap_create_in("inside it", mapped + 64, 100000, 0));
	cr_assert_eq(errno, EBUSY);
	cr_assert_null(bslab_heap_create_in("nowhere", NULL, MIB, 0));
	cr_assert_eq(errno, EINVAL);
	cr_assert_null(bslab_heap_create_in("small", map, 5000 - 910, 0));
	cr_assert_null(bslab_heap_create_in("none", map + 1, 4 * KIB, 0));
	cr_assert_eq(errno, EINVAL);
	cr_assert_null(bslab_heap_create_in("wraps", map, SIZE_MAX, 0));
	cr_assert_eq(errno, EBUSY);
	cr_assert(bslab_heap_alloc(h, 100));
	bslab_heap_destroy(h);
	h = bslab_heap_create_in("now", map, 16 * MIB, 0); /* what was refused has left nothing behind */
	cr_assert(h);
	cr_assert(bslab_heap_alloc(h, 12 * MIB));
	bslab_heap_destroy(h);
	bslab_free(mine);
	bslab_free(mapped);
}

/* Neither malloc's limits nor its reclaim know of it. */
Test(heap, brought_memory_is_outside_limits)
{
	char *map = bring(32 * MIB);
	struct bslab_heap *h = bslab_heap_create_in("device", map, 32 * MIB, 0);
	uint64_t before;

	bslab_free(bslab_malloc(1));
	bslab_set_limits(0, 4 * MIB);
	before = counts.nr_reclaims;
	cr_assert(bslab_heap_alloc(h, 20 * MIB));
	for (int i = 0; i < 100; i++)
		cr_assert_null(bslab_heap_alloc(h, 20 * MIB));
	cr_assert_eq(counts.nr_reclaims, before);
	bslab_heap_destroy(h);
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

	roam();
	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, churn_thread, h);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	bslab_heap_destroy(h);
}

/* Of one size, so that they meet where nothing but the lock keeps them apart; and wake each other. */
static void *pairs_thread(void *h)
{
	for (int i = 0; i < 300000; i++) {
		char *p = bslab_heap_alloc(h, 64);

		*(void *volatile *)p = &i;
		cr_assert_eq(*(void *volatile *)p, &i);
		bslab_heap_free(h, p);
	}
	return NULL;
}

Test(heap, threads_meet)
{
	struct bslab_heap *h = bslab_heap_create("shared", 0, 0);
	pthread_t thread[4];

	pairs_thread(h);
	roam();
	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, pairs_thread, h);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	cr_assert_eq(info_of(h).nr_blocks, 0);
	bslab_heap_destroy(h);
}

/* The child of fork has what waited in the parent's stacks, and its count; what was freed stays freed. */
Test(heap, fork_keeps_what_waits)
{
	enum { NR = 100 };
	struct bslab_heap *h = bslab_heap_create("fork", 0, 0);
	pthread_t thread;
	void *p[NR];
	int status;
	pid_t pid;

	roam();
	pthread_create(&thread, NULL, pairs_thread, h);
	for (int i = 0; i < NR; i++)
		p[i] = bslab_heap_alloc(h, 64);
	for (int i = 0; i < NR / 2; i++)
		bslab_heap_free(h, p[i]);
	pid = fork();
	if (!pid) {
		void *q[NR];
		bool good = info_of(h).nr_blocks - NR / 2 <= 1; /* the thread may have had one */

		for (int i = 0; i < NR; i++)
			q[i] = bslab_heap_alloc(h, 64);
		for (int i = NR / 2; i < NR; i++)
			for (int j = 0; j < NR; j++)
				good = good && q[j] != p[i];
		for (int i = 0; i < NR; i++)
			bslab_heap_free(h, q[i]);
		_exit(!good);
	}
	waitpid(pid, &status, 0);
	cr_assert_eq(status, 0);
	pthread_join(thread, NULL);
	cr_assert_eq(info_of(h).nr_blocks, NR / 2);
	bslab_heap_destroy(h);
}

static void *short_thread(void *h)
{
	churn(h, 3, 1000);
	return NULL;
}

/* A fork stops whoever is within the heap: the child has it whole. */
Test(heap, fork_while_another_thread_uses_it, .timeout = 60)
{
	struct bslab_heap *h = bslab_heap_create("fork", 0, 0);
	pthread_t thread;
	int status;

	pthread_create(&thread, NULL, pairs_thread, h);
	for (int i = 0; i < 50; i++) {
		pid_t pid = fork();

		if (!pid) {
			bool good = info_of(h).nr_blocks <= 1;

			churn(h, 1, 1000);
			_exit(!good);
		}
		waitpid(pid, &status, 0);
		cr_assert_eq(status, 0);
	}
	pthread_join(thread, NULL);
	cr_assert_eq(info_of(h).nr_blocks, 0);
	bslab_heap_destroy(h);
}

static void *destroy_thread(void *h)
{
	bslab_heap_destroy(h);
	return NULL;
}

/* One thread makes it, one uses it, one ends it. */
Test(heap, from_hand_to_hand)
{
	for (int i = 0; i < 50; i++) {
		struct bslab_heap *h = bslab_heap_create("handed on", 0, 0);
		pthread_t thread;

		for (int j = 0; j < i; j++)
			cr_assert_not_null(bslab_heap_alloc(h, 64));
		pthread_create(&thread, NULL, short_thread, h);
		pthread_join(thread, NULL);
		cr_assert_geq(info_of(h).nr_blocks, (size_t)i);
		pthread_create(&thread, NULL, destroy_thread, h);
		pthread_join(thread, NULL);
	}
}

static void *sleep_on(void *unused)
{
	pause();
	return unused;
}

/* Of a heap without a lock nobody else looks at anything: neither fork() nor reclaim. */
Test(heap, unlocked_heaps_are_left_alone)
{
	struct bslab_heap *h = bslab_heap_create("unlocked", 0, BSLAB_HEAP_UNLOCKED), *other = bslab_heap_create("locked", 0, 0);
	pthread_t thread;
	size_t size;
	int status;
	pid_t pid;

	bslab_heap_free(h, bslab_heap_alloc(h, 3 * MIB));
	bslab_heap_free(other, bslab_heap_alloc(other, 3 * MIB));
	size = info_of(h).size_bytes;
	bslab_malloc_trim(0);
	cr_assert_eq(info_of(h).size_bytes, size);
	pthread_create(&thread, NULL, sleep_on, NULL);
	pid = fork();
	if (!pid) {
		churn(h, 1, 1000);
		churn(other, 1, 1000);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	cr_assert_eq(status, 0);
	churn(h, 2, 1000);
	churn(other, 2, 1000);
}

/* Within a chunk, so that the others' pages come empty. */
Test(heap, lowest_first)
{
	enum { NR = 200 };
	struct bslab_heap *h = bslab_heap_create("lowest", 0, 0);
	char *p[NR];

	for (int i = 0; i < NR; i++)
		p[i] = bslab_heap_alloc(h, 16);
	bslab_heap_free(h, p[150]);
	bslab_heap_free(h, p[3]);
	cr_assert_eq(bslab_heap_alloc(h, 16), p[3]);
	cr_assert_eq(bslab_heap_alloc(h, 16), p[150]);
	bslab_heap_destroy(h);
}

Test(heap, realloc_to_nothing_frees)
{
	struct bslab_heap *h = bslab_heap_create("nothing", 0, 0);

	cr_assert_null(bslab_heap_realloc(h, bslab_heap_alloc(h, 100), 0));
	cr_assert_eq(info_of(h).nr_blocks, 0);
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
