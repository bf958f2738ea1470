/* SPDX-License-Identifier: MIT */
/* The program's functions of bslab/kmem.h: constructors and grace periods. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bslab/kmem.h"
#include "stay.h"

TestSuite(kmem_grace, .init = stay);

static void fill_and_free(struct bslab_cache *c)
{
	static void *obj[4000];

	cr_assert_eq(bslab_cache_alloc_bulk(c, 4000, obj), 4000);
	bslab_cache_free_bulk(c, 4000, obj);
}

/* --- errno --------------------------------------------------------------------------------------------- */

static unsigned nr_calls;

static uint64_t begin_with_errno(void)
{
	errno = EAGAIN;
	nr_calls++;
	return 1;
}

static bool passed_with_errno(uint64_t which)
{
	errno = EAGAIN;
	nr_calls++;
	return which != 1;
}

/* Slow paths of malloc's frees come by. */
Test(kmem_grace, frees_keep_errno)
{
	enum { NR = 200000 };
	struct bslab_cache *c = bslab_cache_create("stable", 4000, 0, BSLAB_CACHE_TYPE_STABLE, NULL);
	static void *p[NR];

	bslab_cache_set_grace(c, begin_with_errno, passed_with_errno);
	fill_and_free(c);
	bslab_cache_shrink(c);
	do {
		for (int i = 0; i < NR; i++)
			p[i] = bslab_malloc(64);
		usleep(50000);
		nr_calls = 0;
		errno = 0;
		for (int i = 0; i < NR; i++)
			bslab_free(p[i]);
		cr_assert_eq(errno, 0);
	} while (!nr_calls);
}

static void construct_with_errno(void *obj)
{
	errno = EAGAIN;
	memset(obj, 1, 200);
}

Test(kmem_grace, constructors_keep_errno)
{
	struct bslab_cache *c = bslab_cache_create("built", 200, 0, 0, construct_with_errno);

	errno = 0;
	cr_assert(bslab_cache_alloc(c));
	cr_assert_eq(errno, 0);
}
