/* SPDX-License-Identifier: MIT */
/* The program's functions of bslab/kmem.h: constructors and grace periods. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bslab/kmem.h"
#include "slab/sheaf.h"
#include "slab/typed.h"
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

/* --- fork ------------------------------------------------------------------------------------------------- */

static bool forks;
static pid_t pid;

static uint64_t begin_and_fork(void)
{
	if (forks) {
		forks = false;
		pid = fork();
	}
	return 1;
}

static bool passed_at_once(uint64_t which)
{
	return which == 1;
}

static void *wait_long(void *unused)
{
	pause();
	return unused;
}

/* In a process of several threads. It has slabs that wait for a grace period, and the next one is about to begin. */
static struct bslab_cache *make_forking(void *obj[600])
{
	struct bslab_cache *c = bslab_cache_create("forking", 4000, 0, BSLAB_CACHE_TYPE_STABLE, NULL);
	pthread_t thread;

	pthread_create(&thread, NULL, wait_long, NULL);
	bslab_cache_set_grace(c, begin_and_fork, passed_at_once);
	cr_assert_eq(bslab_cache_alloc_bulk(c, 600, obj), 600);
	bslab_cache_free_bulk(c, 599, obj);
	bslab_malloc_trim(0);
	cr_assert_eq(bslab_cache_alloc_bulk(c, 599, obj), 599);
	bslab_cache_free_bulk(c, 599, obj);
	return c;
}

static struct kmem_cache *find_cache(const char *name)
{
	for (unsigned n = FIRST_TYPED; n < caches_end(); n++) {
		struct kmem_cache *c = cache_if_used(n);

		if (c && !strcmp(c->typed->name, name))
			return c;
	}
	return NULL;
}

/* Who forked goes on in the child, where nothing of it is counted. */
static bool is_counted_right(void)
{
	const struct typed *t = find_cache("forking")->typed;

	return (uint32_t)atomic_load(&area_drains) == 0 && (uint32_t)atomic_load(&t->drains) == 0 && !atomic_load(&t->nr_retiring);
}

static bool ends_well(struct bslab_cache *c, void *obj)
{
	bslab_cache_free(c, obj);
	if (bslab_cache_destroy(c))
		return false;
	for (int i = 0; i < 4; i++)
		bslab_malloc_trim(0);
	typed_bury();
	return !find_cache("forking");
}

static void expect_good_child(bool (*is_good)(struct bslab_cache *c, void *obj), struct bslab_cache *c, void *obj)
{
	int status;

	cr_assert(!forks);
	if (!pid)
		_exit(is_counted_right() && is_good(c, obj) ? 0 : 1);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	cr_assert(is_counted_right() && is_good(c, obj));
}

Test(kmem_grace, fork_in_a_trim)
{
	static void *obj[600];
	struct bslab_cache *c = make_forking(obj);

	forks = true;
	bslab_malloc_trim(0);
	expect_good_child(ends_well, c, obj[599]);
}

static bool lives_on(struct bslab_cache *c, void *obj)
{
	bslab_cache_free(c, obj);
	for (int i = 0; i < 4; i++)
		bslab_malloc_trim(0);
	if (!bslab_cache_create("other", 64, 0, BSLAB_CACHE_NO_MERGE, NULL) || !find_cache("forking"))
		return false;
	obj = bslab_cache_alloc(c);
	return obj && ends_well(c, obj);
}

/* Which finds a live object: the cache is as before, in the child, too. */
Test(kmem_grace, fork_in_a_destroy)
{
	static void *obj[600];
	struct bslab_cache *c = make_forking(obj);

	forks = true;
	cr_assert_eq(bslab_cache_destroy(c), 1);
	expect_good_child(lives_on, c, obj[599]);
}
