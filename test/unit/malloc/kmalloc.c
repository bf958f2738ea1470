/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bslab/kmalloc.h"
#include "bslab/page.h"
#include "bslab/insight.h"
#include "has_shadow.h"
#include "malloc/internal.h"
#include "malloc/reports.h"
#include "map/pageblock.h"
#include "os/options.h"
#include "stay.h"

#define MIB ((size_t)1 << 20)

TestSuite(kmalloc, .init = stay);

static bool is_filled(const char *p, size_t size, char byte)
{
	for (size_t i = 0; i < size; i++)
		if (p[i] != byte)
			return false;
	return true;
}

static volatile size_t huge = SIZE_MAX / 2;

Test(kmalloc, flags)
{
	static const unsigned flags[] = {0, BSLAB_GFP_ZERO, BSLAB_GFP_NOFAIL | BSLAB_GFP_ZERO, BSLAB_GFP_NORETRY,
					 BSLAB_GFP_NORETRY | BSLAB_GFP_ZERO};

	for (size_t f = 0; f < sizeof flags / sizeof *flags; f++)
		for (size_t size = 0; size < 6 * MIB; size = size * 3 + 1) {
			char *p = bslab_kmalloc(size, flags[f]);

			cr_assert(p);
			if (flags[f] & BSLAB_GFP_ZERO)
				cr_assert(is_filled(p, size, 0));
			memset(p, 1, size);
			bslab_free(p);
		}
	errno = 0;
	cr_assert_null(bslab_kmalloc(huge, 0));
	cr_assert_null(bslab_kmalloc(huge, BSLAB_GFP_NORETRY));
	cr_assert_null(bslab_kmalloc(10, BSLAB_GFP_NOWAIT)); /* nothing is reserved */
	cr_assert_eq(errno, ENOMEM);
}

static uint64_t nr_reclaims(void)
{
	return counts.nr_reclaims;
}

Test(kmalloc, noretry_leaves_caches_alone)
{
	uint64_t before;

	cr_assert(bslab_malloc(1));
	before = nr_reclaims();
	bslab_set_limits(0, 12 * MIB);
	cr_assert_null(bslab_kmalloc(20 * MIB, BSLAB_GFP_NORETRY));
	cr_assert_null(bslab_kmalloc(1 * MIB, BSLAB_GFP_NOWAIT));
	cr_assert_eq(nr_reclaims(), before);
	cr_assert_null(bslab_kmalloc(20 * MIB, 0));
	cr_assert_gt(nr_reclaims(), before);
}

Test(kmalloc, nowait_is_from_the_reserve)
{
	enum { NR = 100 };
	char *small[NR], *p;

	cr_assert_eq(bslab_nowait_pool(100, NR, 0), 0);
	cr_assert_eq(bslab_nowait_pool(100000, 1, 0), 0);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < NR; i++) {
			small[i] = bslab_kmalloc(50 + (size_t)i % 50, BSLAB_GFP_NOWAIT | BSLAB_GFP_ZERO);
			cr_assert(small[i] && (uintptr_t)small[i] % 16 == 0);
			cr_assert(is_filled(small[i], 50, 0));
			memset(small[i], i, 50);
		}
		p = bslab_kmalloc(100, BSLAB_GFP_NOWAIT); /* the next size that has one */
		cr_assert_geq(bslab_malloc_usable_size(p), 100000);
		cr_assert_null(bslab_kmalloc(100, BSLAB_GFP_NOWAIT));
		cr_assert_null(bslab_kmalloc(200000, BSLAB_GFP_NOWAIT));
		bslab_free(p);
		for (int i = 0; i < NR; i++) {
			cr_assert(is_filled(small[i], 50, (char)i));
			bslab_free(small[i]);
		}
	}
	cr_assert_eq(bslab_nowait_pool(0, 1, 0), EINVAL);
	cr_assert_eq(bslab_nowait_pool(1, 0, 0), EINVAL);
	for (int i = 2; i < 16; i++)
		cr_assert_eq(bslab_nowait_pool(8, 1, 0), 0);
	cr_assert_eq(bslab_nowait_pool(8, 1, 0), ENOSPC);
}

Test(kmalloc, reserved_blocks_grow_out_of_it)
{
	char *p, *q;

	cr_assert_eq(bslab_nowait_pool(64 << 10, 2, 0), 0);
	p = bslab_kmalloc(64 << 10, BSLAB_GFP_NOWAIT);
	memset(p, 7, 64 << 10);
	q = bslab_krealloc(p, 60000, BSLAB_GFP_NOWAIT);
	cr_assert_eq(q, p);
	cr_assert_null(bslab_krealloc(p, 100000, BSLAB_GFP_NOWAIT));
	q = bslab_realloc(p, 300000);
	cr_assert_neq(q, p);
	cr_assert(is_filled(q, 64 << 10, 7));
	p = bslab_kmalloc(64 << 10, BSLAB_GFP_NOWAIT);
	cr_assert(p);
	bslab_kfree_sensitive(p);
	p = bslab_kmalloc(64 << 10, BSLAB_GFP_NOWAIT);
	cr_assert(is_filled(p, 64 << 10, 0));
	bslab_free(q);
}

Test(kmalloc, krealloc_zeroes_what_is_new)
{
	char *p = bslab_krealloc(NULL, 48, BSLAB_GFP_ZERO);

	memset(p, 1, 48);
	p = bslab_krealloc(p, 5000, BSLAB_GFP_ZERO);
	cr_assert(is_filled(p, 48, 1) && is_filled(p + 48, 5000 - 48, 0));
	p = bslab_krealloc(p, 0, 0);
	cr_assert_null(p);
}

Test(kmalloc, kfree_sensitive_zeroes)
{
	static const size_t sizes[] = {16, 100, 5000};

	for (size_t i = 0; i < 3; i++) {
		char *p = bslab_malloc(sizes[i]), *q;

		memset(p, 1, sizes[i]);
		bslab_kfree_sensitive(p);
		q = bslab_malloc(sizes[i]); /* the one freed last */
		cr_assert_eq(q, p);
		cr_assert(is_filled(q, sizes[i], 0));
		bslab_free(q);
	}
	bslab_kfree_sensitive(NULL);
}

Test(kmalloc, vmalloc_is_a_mapping)
{
	for (size_t size = 0; size < 20 * MIB; size = size * 7 + 1) {
		char *p = bslab_vmalloc(size), *q = bslab_kvmalloc(size, BSLAB_GFP_ZERO);

		cr_assert(p && q && (uintptr_t)p % BSLAB_PAGE_BYTES == 0);
		cr_assert(is_filled(p, size, 0) && is_filled(q, size, 0));
		memset(p, 1, size);
		p = bslab_realloc(p, size + 5000);
		cr_assert(is_filled(p, size, 1));
		bslab_free(p);
		bslab_free(q);
	}
	errno = 0;
	cr_assert_null(bslab_vmalloc(huge));
	cr_assert_eq(errno, ENOMEM);
}

/* Where the compiler does not see what it is behind of; the signal is the kernel's, and no sanitizer's. */
static void write_at(volatile char *p)
{
	signal(SIGSEGV, SIG_DFL);
	__asm__ volatile("" : "+r"(p));
	*p = 1;
}

Test(kmalloc, vmalloc_traps_behind, .signal = SIGSEGV)
{
	char *p = bslab_vmalloc(BSLAB_PAGE_BYTES);

	write_at(p + BSLAB_PAGE_BYTES);
}

Test(kmalloc, vmalloc_traps_without_the_option, .signal = SIGSEGV)
{
	char *p;

	cr_assert(bslab_malloc(1));
	bslab_options.guard = false;
	p = bslab_vmalloc(BSLAB_PAGE_BYTES);
	write_at(p + BSLAB_PAGE_BYTES);
}

/* Nor is the page lost when the block grows. */
Test(kmalloc, vmalloc_traps_once_it_was_resized, .signal = SIGSEGV)
{
	char *p;

	cr_assert(bslab_malloc(1));
	bslab_options.guard = false;
	p = bslab_realloc(bslab_vmalloc(8 * MIB), 16 * MIB);
	cr_assert(p);
	p[16 * MIB - 1] = 1;
	write_at(p + 16 * MIB);
}

/* --- NOWAIT ------------------------------------------------------------------------------------ */

/* Nothing of malloc's is moved: its free would take a lock, and its pages may be out. */
Test(kmalloc, nowait_does_not_move_malloc_blocks)
{
	char *p = bslab_malloc(1000), *q;

	cr_assert_eq(bslab_nowait_pool(8000, 4, 0), 0);
	memset(p, 1, 1000);
	errno = 0;
	cr_assert_null(bslab_krealloc(p, 4000, BSLAB_GFP_NOWAIT));
	cr_assert_eq(errno, ENOMEM);
	cr_assert(is_filled(p, 1000, 1));
	cr_assert_eq(bslab_krealloc(p, 900, BSLAB_GFP_NOWAIT), p);
	q = bslab_kmalloc(100, BSLAB_GFP_NOWAIT);
	cr_assert_eq(bslab_krealloc(q, 8000, BSLAB_GFP_NOWAIT), q);
	bslab_free(q);
	bslab_free(p);
}

/* From one reserve to another: each knows its own. */
Test(kmalloc, nowait_moves_what_was_reserved)
{
	char *p, *q;

	cr_assert_eq(bslab_nowait_pool(100, 1, 0), 0);
	cr_assert_eq(bslab_nowait_pool(8000, 1, 0), 0);
	p = bslab_kmalloc(100, BSLAB_GFP_NOWAIT);
	memset(p, 1, 100);
	q = bslab_krealloc(p, 200, BSLAB_GFP_NOWAIT);
	cr_assert(q && q != p);
	cr_assert(is_filled(q, 100, 1));
	cr_assert_eq(bslab_kmalloc(100, BSLAB_GFP_NOWAIT), p, "the old one is free");
	bslab_free(p);
	bslab_free(q);
}

/* A report that is due stays so: it would be written by the thread that has a deadline. */
Test(kmalloc, nowait_free_writes_no_report)
{
	void *p;

	cr_assert_eq(bslab_nowait_pool(100, 4, 0), 0);
	p = bslab_kmalloc(100, BSLAB_GFP_NOWAIT);
	atomic_store(&report_is_due, true);
	bslab_free(p);
	cr_assert(atomic_load(&report_is_due));
	atomic_store(&report_is_due, false);
}

static long nr_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* fork() write-protects the parent's pages; the pools are its own again when it returns. */
Test(kmalloc, fork_leaves_the_parent_its_pools)
{
	enum { NR = 256 };
	static char *block[NR];
	long before;
	pid_t pid = 0;

	cr_assert_eq(bslab_nowait_pool(BSLAB_PAGE_BYTES, NR, 0), 0);
	for (int round = 0; round < 2; round++) { /* the second after the fork: the first has touched all else */
		before = nr_faults();
		for (int i = 0; i < NR; i++) {
			block[i] = bslab_kmalloc(BSLAB_PAGE_BYTES, BSLAB_GFP_NOWAIT);
			cr_assert(block[i]);
			block[i][100] = 1;
		}
		for (int i = 0; i < NR; i++)
			bslab_free(block[i]);
		cr_assert(HAS_SHADOW || nr_faults() - before < NR / 4, "round %d: %ld", round, nr_faults() - before);
		if (round)
			break;
		pid = fork();
		if (!pid) {
			sleep(2); /* not for good, should the parent fail */
			_exit(0);
		}
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static size_t locked_bytes(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[200];
	size_t kib = 0;

	while (fgets(line, sizeof line, f))
		if (sscanf(line, "VmLck: %zu", &kib) == 1)
			break;
	fclose(f);
	return kib << 10;
}

/* A mempool is not copied at each fork. */
Test(kmalloc, fork_leaves_mempools_shared)
{
	enum { NR = 4096 };
	struct bslab_mempool *m = bslab_mempool_create(NR, BSLAB_PAGE_BYTES);
	long before, after;
	pid_t pid;

	cr_assert(m);
	before = nr_faults();
	pid = fork();
	if (!pid) {
		sleep(2);
		_exit(0);
	}
	after = nr_faults();
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	cr_assert(HAS_SHADOW || after - before < NR / 4, "%ld", after - before);
	cr_assert_eq(bslab_mempool_destroy(m), 0);
}

/* With the blocks, what finds and lists them. */
Test(kmalloc, locked_pools_are_locked_whole)
{
	enum { SIZE = 64 << 10 };
	size_t before = locked_bytes();
	int result = bslab_nowait_pool(BSLAB_PAGE_BYTES, SIZE / BSLAB_PAGE_BYTES, 1);

	if (result == EPERM) /* RLIMIT_MEMLOCK */
		return;
	cr_assert_eq(result, 0);
	cr_assert_geq(locked_bytes() - before, SIZE + 3 * BSLAB_PAGE_BYTES); /* the list, the pool's head, descriptors */
}

/* One that was locked in part is not left so. */
Test(kmalloc, refused_pools_are_not_locked)
{
	enum { SIZE = 64 << 10 };
	struct rlimit just_the_blocks = {SIZE + BSLAB_PAGE_BYTES, SIZE + BSLAB_PAGE_BYTES};

	bslab_free(bslab_malloc(1));
	cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &just_the_blocks), 0);
	cr_assert(getuid() != 0 || setuid(65534) == 0); /* root may lock what it likes */
	cr_assert_eq(locked_bytes(), 0);
	cr_assert_eq(bslab_nowait_pool(BSLAB_PAGE_BYTES, SIZE / BSLAB_PAGE_BYTES, 1), EPERM);
	cr_assert_eq(locked_bytes(), 0);
}

Test(kmalloc, blocks_are_freed_by_the_size_asked_for)
{
	cr_assert_eq(bslab_nowait_pool(1024, 4, 0), 0);
	bslab_free_sized(bslab_kmalloc(10, BSLAB_GFP_NOWAIT), 10);
	bslab_free_aligned_sized(bslab_kmalloc(10, BSLAB_GFP_NOWAIT), 8, 10);
	bslab_free_sized(bslab_vmalloc(100), 100);
	bslab_free_sized(bslab_kvmalloc(100, 0), 100);
}

Test(kmalloc, what_shrank_in_place_is_freed_by_its_last_size)
{
	char *p = bslab_kmalloc(1000, 0);

	cr_assert_eq(bslab_krealloc(p, 100, BSLAB_GFP_NOWAIT), p);
	bslab_free_sized(p, 100);
}

/* --- flags --------------------------------------------------------------------------------------- */

Test(kmalloc, unknown_flags_are_refused)
{
	static const unsigned bad[] = {1u << 20, 1u << 31, BSLAB_GFP_MOVABLE | BSLAB_GFP_RECLAIMABLE, BSLAB_GFP_NOWAIT | 1u << 20};
	struct bslab_mempool *pool = bslab_mempool_create(4, 100);
	struct bslab_scope scope = {0};
	void *p = bslab_malloc(100);

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		errno = 0;
		cr_assert_null(bslab_kmalloc(100, bad[i]));
		cr_assert_eq(errno, EINVAL);
		errno = 0;
		cr_assert_null(bslab_krealloc(p, 10000, bad[i]));
		cr_assert_eq(errno, EINVAL);
		cr_assert_null(bslab_krealloc(NULL, 100, bad[i]));
		errno = 0;
		cr_assert_null(bslab_kvmalloc(100, bad[i]));
		cr_assert_eq(errno, EINVAL);
		cr_assert_null(bslab_kmalloc_array(2, 50, bad[i]));
		errno = 0;
		cr_assert_null(bslab_mempool_alloc(pool, bad[i]));
		cr_assert_eq(errno, EINVAL);
		errno = 0;
		cr_assert_null(bslab_scope_alloc(&scope, 100, bad[i]));
		cr_assert_eq(errno, EINVAL);
	}
	bslab_free(p);
	cr_assert_eq(bslab_mempool_destroy(pool), 0);
}

Test(kmalloc, arrays)
{
	char *p = bslab_kmalloc_array(100, 1000, BSLAB_GFP_ZERO);

	cr_assert(is_filled(p, 100000, 0));
	bslab_free(p);
	errno = 0;
	cr_assert_null(bslab_kmalloc_array(huge, 3, 0));
	cr_assert_eq(errno, ENOMEM);
}

static unsigned nr_of_type(void *const *p, size_t nr, unsigned type)
{
	unsigned n = 0;

	for (size_t i = 0; i < nr; i++)
		n += map_pageblock((uintptr_t)p[i])->migratetype == type;
	return n;
}

/* In a heap of some size, where types are kept apart. */
Test(kmalloc, hints_choose_the_migratetype)
{
	enum { NR = 1000, SIZE = 100 << 10 };
	static void *stay[NR], *go[NR];

	for (int i = 0; i < NR; i++)
		stay[i] = bslab_kmalloc(SIZE, BSLAB_GFP_MOVABLE);
	for (int i = 0; i < NR; i++)
		go[i] = bslab_kmalloc(SIZE, BSLAB_GFP_RECLAIMABLE | BSLAB_GFP_THISNODE);
	cr_assert_gt(nr_of_type(stay, NR, MIGRATE_MOVABLE), NR * 9 / 10);
	cr_assert_gt(nr_of_type(go, NR, MIGRATE_RECLAIMABLE), NR * 3 / 4, "%u", nr_of_type(go, NR, MIGRATE_RECLAIMABLE));
	for (int i = 0; i < NR; i++) {
		bslab_free(stay[i]);
		bslab_free(go[i]);
	}
}

static size_t huge_bytes(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	char line[200];
	size_t kib = 0;

	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "AnonHugePages: %zu", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib << 10;
}

/* Whether one comes for who asks, which is the kernel's affair: by its settings, and by the memory it has in one piece. */
static bool kernel_has_huge_pages(void)
{
	size_t before = huge_bytes();
	char *p = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool has;

	cr_assert(p != MAP_FAILED);
	madvise(p, 4 * MIB, MADV_HUGEPAGE);
	memset(p, 1, 4 * MIB);
	has = huge_bytes() - before >= 2 * MIB;
	munmap(p, 4 * MIB);
	return has;
}

Test(kmalloc, huge_is_a_hint)
{
	bool has = kernel_has_huge_pages();
	size_t before = huge_bytes(), got;
	char *p = bslab_kmalloc(9 * MIB, BSLAB_GFP_HUGE | BSLAB_GFP_ZERO), *q;

	cr_assert(p && (uintptr_t)p % (2 * MIB) == 0);
	got = huge_bytes() - before;
	cr_assert(got >= 2 * MIB || !has || !kernel_has_huge_pages(), "%zu", got);
	cr_assert(is_filled(p, 9 * MIB, 0));
	memset(p, 1, 9 * MIB);
	q = bslab_realloc(p, 20 * MIB); /* one mapping still */
	cr_assert(is_filled(q, 9 * MIB, 1));
	bslab_free(q);
	p = bslab_kmalloc(100, BSLAB_GFP_HUGE);
	cr_assert_lt(bslab_malloc_usable_size(p), 200);
	bslab_free(p);
}

/* --- waiting -------------------------------------------------------------------------------------- */

Test(kmalloc, nofail_ends_for_sizes_that_cannot_be)
{
	void *p = bslab_malloc(10);
	uint64_t before = nr_reclaims();

	cr_assert_null(bslab_kmalloc((size_t)1 << 50, BSLAB_GFP_NOFAIL));
	cr_assert_null(bslab_krealloc(p, (size_t)1 << 50, BSLAB_GFP_NOFAIL));
	cr_assert_null(bslab_kvmalloc((size_t)1 << 50, BSLAB_GFP_NOFAIL));
	cr_assert_null(bslab_vmalloc((size_t)1 << 50));
	cr_assert_eq(nr_reclaims(), before);
	bslab_free(p);
}

static void *allow_more(void *unused)
{
	(void)unused;
	usleep(300000);
	bslab_set_limits(0, 0);
	return NULL;
}

/* Until there is memory, and without emptying everybody's caches again and again. */
static void check_waits(void *(*call)(size_t size, unsigned gfp))
{
	pthread_t thread;
	uint64_t before;
	void *p;

	bslab_free(bslab_malloc(1));
	bslab_set_limits(0, 12 * MIB);
	cr_assert_null(call(20 * MIB, 0));
	pthread_create(&thread, NULL, allow_more, NULL);
	before = nr_reclaims();
	errno = 0;
	p = call(20 * MIB, BSLAB_GFP_NOFAIL);
	cr_assert(p);
	cr_assert_eq(errno, 0);
	cr_assert_lt(nr_reclaims() - before, 50);
	pthread_join(thread, NULL);
	bslab_free(p);
}

static void *call_krealloc(size_t size, unsigned gfp)
{
	char *p = bslab_malloc(100), *q;

	memset(p, 1, 100);
	q = bslab_krealloc(p, size, gfp);
	cr_assert(is_filled(q ? q : p, 100, 1));
	if (!q)
		bslab_free(p);
	return q;
}

Test(kmalloc, nofail_waits)
{
	check_waits(bslab_kmalloc);
	check_waits(bslab_kvmalloc);
	check_waits(call_krealloc);
}

Test(kmalloc, mempools_keep_errno_when_they_waited)
{
	struct bslab_mempool *pool = bslab_mempool_create(1, 2 * MIB);
	void *taken = bslab_mempool_alloc(pool, BSLAB_GFP_NOWAIT);
	pthread_t thread;

	cr_assert(taken);
	bslab_set_limits(0, 1);
	pthread_create(&thread, NULL, allow_more, NULL);
	errno = 0;
	cr_assert(bslab_mempool_alloc(pool, BSLAB_GFP_NOFAIL));
	cr_assert_eq(errno, 0);
	pthread_join(thread, NULL);
}

Test(kmalloc, krealloc_noretry_leaves_caches_alone)
{
	void *p = bslab_malloc(1000);
	uint64_t before;

	bslab_set_limits(0, 12 * MIB);
	before = nr_reclaims();
	cr_assert_null(bslab_krealloc(p, 20 * MIB, BSLAB_GFP_NORETRY));
	cr_assert_eq(nr_reclaims(), before);
	cr_assert_null(bslab_krealloc(p, 20 * MIB, 0));
	cr_assert_gt(nr_reclaims(), before);
	p = bslab_krealloc(p, 5000, BSLAB_GFP_NORETRY);
	cr_assert(p);
	bslab_free(p);
}

/* --- mempools ------------------------------------------------------------------------------------- */

Test(kmalloc, mempool_guarantees)
{
	enum { NR = 64 };
	struct bslab_mempool *pool = bslab_mempool_create(NR, 1000);
	void *element[NR], *more = bslab_mempool_alloc(pool, 0);

	cr_assert_eq(bslab_mempool_nr_taken(pool), 0); /* malloc had one */
	bslab_set_limits(0, 1);
	for (int i = 0; i < NR; i++) {
		element[i] = bslab_mempool_alloc(pool, i % 2 ? BSLAB_GFP_NOWAIT : BSLAB_GFP_ZERO | BSLAB_GFP_NOWAIT);
		cr_assert(element[i]);
		memset(element[i], i, 1000);
	}
	cr_assert_null(bslab_mempool_alloc(pool, BSLAB_GFP_NOWAIT));
	cr_assert_eq(bslab_mempool_destroy(pool), NR);
	for (int i = 0; i < NR; i++) {
		cr_assert(is_filled(element[i], 1000, (char)i));
		bslab_mempool_free(pool, element[i]);
	}
	bslab_mempool_free(pool, more);
	bslab_mempool_free(pool, NULL);
	cr_assert_eq(bslab_mempool_destroy(pool), 0);
	cr_assert_null(bslab_mempool_create(0, 8));
	cr_assert_null(bslab_mempool_create(1, 0));
}

static int find_pools(const char *text, size_t len, void *kib)
{
	const char *line = memmem(text, len, "Pools:", 6);

	if (line)
		*(size_t *)kib = strtoul(line + 6, NULL, 10);
	return 0;
}

/* Whatever the tries before have come to. */
Test(kmalloc, errno_is_kept_where_memory_is_short)
{
	enum { NR = 4, SIZE = 1000000 };
	struct bslab_mempool *pool = bslab_mempool_create(NR, SIZE);
	struct rlimit limit;
	void *p;

	if (HAS_SHADOW)
		return; /* it needs memory too */
	cr_assert_not_null(pool);
	getrlimit(RLIMIT_DATA, &limit);
	limit.rlim_cur = 1;
	cr_assert_eq(setrlimit(RLIMIT_DATA, &limit), 0);
	while (bslab_malloc(SIZE))
		;
	errno = 0;
	p = bslab_mempool_alloc(pool, 0);
	cr_assert_not_null(p);
	cr_assert_eq(errno, 0);
}

Test(kmalloc, pools_are_counted)
{
	size_t kib = 0;
	struct bslab_mempool *pool;

	bslab_free(bslab_malloc(1));
	bslab_set_limits(0, 16 * MIB);
	errno = 0;
	cr_assert_null(bslab_mempool_create(1000, 64 << 10));
	cr_assert_eq(errno, ENOMEM);
	cr_assert_eq(bslab_nowait_pool(64 << 10, 1000, 0), ENOMEM);
	pool = bslab_mempool_create(150, 64 << 10);
	cr_assert(pool);
	cr_assert_null(bslab_mempool_create(150, 64 << 10)); /* no room for both */
	cr_assert_eq(bslab_report_to("meminfo", "text", find_pools, &kib), 0);
	cr_assert_geq(kib, 9600);
	cr_assert_eq(bslab_mempool_destroy(pool), 0);
	cr_assert_eq(bslab_report_to("meminfo", "text", find_pools, &kib), 0);
	cr_assert_eq(kib, 0);
	cr_assert(bslab_mempool_create(150, 64 << 10));
	cr_assert_eq(bslab_mempool_destroy(NULL), 0);
}

enum { NR_THREADS = 4, NR_ELEMENTS = 8 };
static struct bslab_mempool *shared_pool;

/* Fewer elements than all want; each is one thread's at a time. */
static void *contend(void *arg)
{
	uintptr_t me = (uintptr_t)arg, nr_got = 0;

	for (int i = 0; i < 100000 || !nr_got; i++) { /* all of one turn may meet threads that do not run and hold all */
		uintptr_t *e[3];
		int n = 0;

		while (n < 3 && (e[n] = bslab_mempool_alloc(shared_pool, BSLAB_GFP_NOWAIT)))
			*e[n++] = me;
		nr_got += (uintptr_t)n;
		while (n--) {
			cr_assert_eq(*e[n], me);
			bslab_mempool_free(shared_pool, e[n]);
		}
	}
	return (void *)nr_got;
}

Test(kmalloc, mempool_threads)
{
	pthread_t thread[NR_THREADS];
	void *nr_got;

	roam();
	shared_pool = bslab_mempool_create(NR_ELEMENTS, sizeof(uintptr_t));
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		pthread_create(&thread[i], NULL, contend, (void *)(i + 1));
	for (int i = 0; i < NR_THREADS; i++) {
		pthread_join(thread[i], &nr_got);
		cr_assert_gt((uintptr_t)nr_got, 0);
	}
	cr_assert_eq(bslab_mempool_nr_taken(shared_pool), 0);
	for (int i = 0; i < NR_ELEMENTS; i++)
		cr_assert(bslab_mempool_alloc(shared_pool, BSLAB_GFP_NOWAIT));
	cr_assert_null(bslab_mempool_alloc(shared_pool, BSLAB_GFP_NOWAIT));
}

/* --- scopes ---------------------------------------------------------------------------------------- */

static char order[8];

static void note(void *arg)
{
	strncat(order, arg, 1);
}

static int in_scope(bool early)
{
	BSLAB_SCOPE(scope);
	char *p = bslab_scope_alloc(&scope, 100, BSLAB_GFP_ZERO);

	cr_assert(p && (uintptr_t)p % 16 == 0 && is_filled(p, 100, 0));
	cr_assert_eq(bslab_scope_add(&scope, note, "a"), 0);
	if (early)
		return 1;
	cr_assert_eq(bslab_scope_add(&scope, note, "b"), 0);
	return 2;
}

Test(kmalloc, scopes_end_in_reverse)
{
	struct bslab_scope scope = {0};

	cr_assert_eq(in_scope(false), 2);
	cr_assert_str_eq(order, "ba");
	cr_assert_eq(in_scope(true), 1);
	cr_assert_str_eq(order, "baa");
	cr_assert_null(bslab_scope_alloc(&scope, huge * 2, 0));
	cr_assert(bslab_scope_alloc(&scope, 0, 0));
	bslab_scope_end(&scope);
	bslab_scope_end(&scope);
}
