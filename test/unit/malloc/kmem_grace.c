/* SPDX-License-Identifier: MIT */
/* The program's functions of bslab/kmem.h: constructors and grace periods. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
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

static size_t nr_pages_of(struct bslab_cache *c)
{
	struct bslab_cache_info info;

	bslab_cache_info(c, &info);
	return info.nr_pages;
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

/* --- other functions ------------------------------------------------------------------------------------ */

static bool other_is_over;

static uint64_t begin_one(void)
{
	return 1;
}

static bool passed_one(uint64_t which)
{
	cr_assert_eq(which, 1);
	return false;
}

static uint64_t begin_other(void)
{
	return 2;
}

static bool passed_other(uint64_t which)
{
	cr_assert_eq(which, 2);
	return other_is_over;
}

/* What waited begins anew. */
Test(kmem_grace, other_functions_get_their_own_numbers)
{
	struct bslab_cache *c = bslab_cache_create("stable", 200, 0, BSLAB_CACHE_TYPE_STABLE, NULL);
	size_t nr_pages;

	bslab_cache_set_grace(c, begin_one, passed_one);
	fill_and_free(c);
	bslab_malloc_trim(0);
	nr_pages = nr_pages_of(c);
	bslab_cache_set_grace(c, begin_other, passed_other);
	for (int i = 0; i < 3; i++)
		bslab_malloc_trim(0);
	cr_assert_eq(nr_pages_of(c), nr_pages);
	other_is_over = true;
	for (int i = 0; i < 3; i++)
		bslab_malloc_trim(0);
	cr_assert_eq(nr_pages_of(c), 0);
}

static struct bslab_cache *changed_cache;

static uint64_t begin_and_change(void)
{
	bslab_cache_set_grace(changed_cache, begin_other, passed_other);
	return 1;
}

/* Even if they change while one of them runs. */
Test(kmem_grace, a_number_that_comes_too_late_is_nobodys)
{
	changed_cache = bslab_cache_create("stable", 200, 0, BSLAB_CACHE_TYPE_STABLE, NULL);
	bslab_cache_set_grace(changed_cache, begin_and_change, passed_one);
	fill_and_free(changed_cache);
	other_is_over = true;
	for (int i = 0; i < 4; i++)
		bslab_malloc_trim(0);
	cr_assert_eq(nr_pages_of(changed_cache), 0);
}

static _Atomic bool is_over;

static void *use_cache(void *unused)
{
	void *obj[500];

	while (!is_over) {
		cr_assert_eq(bslab_cache_alloc_bulk(changed_cache, 500, obj), 500);
		bslab_cache_free_bulk(changed_cache, 500, obj);
		bslab_cache_shrink(changed_cache);
	}
	return unused;
}

Test(kmem_grace, functions_may_go_while_they_are_used)
{
	pthread_t thread[4];

	roam();
	changed_cache = bslab_cache_create("stable", 4000, 0, BSLAB_CACHE_TYPE_STABLE, NULL);
	other_is_over = true;
	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, use_cache, NULL);
	for (int i = 0; i < 1000000; i++) {
		bslab_cache_set_grace(changed_cache, begin_other, passed_other);
		bslab_cache_set_grace(changed_cache, NULL, NULL);
	}
	is_over = true;
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
}
