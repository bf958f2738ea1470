/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bslab/kmalloc.h"
#include "bslab/page.h"
#include "malloc/internal.h"

#define MIB ((size_t)1 << 20)

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
	uint64_t reclaims, failures;

	slow_path_counts(&reclaims, &failures);
	return reclaims;
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

	cr_assert_eq(bslab_reserve(100, NR, 0), 0);
	cr_assert_eq(bslab_reserve(100000, 1, 0), 0);
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
	cr_assert_eq(bslab_reserve(0, 1, 0), EINVAL);
	cr_assert_eq(bslab_reserve(1, 0, 0), EINVAL);
	for (int i = 2; i < 16; i++)
		cr_assert_eq(bslab_reserve(8, 1, 0), 0);
	cr_assert_eq(bslab_reserve(8, 1, 0), ENOSPC);
}

Test(kmalloc, reserved_blocks_grow_out_of_it)
{
	char *p, *q;

	cr_assert_eq(bslab_reserve(64 << 10, 2, 0), 0);
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

Test(kmalloc, vmalloc_traps_behind, .signal = SIGSEGV)
{
	volatile char *p = bslab_vmalloc(BSLAB_PAGE_BYTES);

	p[huge / huge * BSLAB_PAGE_BYTES] = 1; /* the compiler would see it */
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

enum { NR_THREADS = 4, NR_ELEMENTS = 8 };
static struct bslab_mempool *shared_pool;

/* Fewer elements than all want; each is one thread's at a time. */
static void *contend(void *arg)
{
	uintptr_t me = (uintptr_t)arg, nr_got = 0;

	for (int i = 0; i < 100000; i++) {
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
