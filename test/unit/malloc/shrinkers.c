/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bslab/heap.h"
#include "bslab/kmalloc.h"
#include "bslab/kmem.h"
#include "bslab/page.h"
#include "bslab/shrinker.h"
#include "stay.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

TestSuite(shrinkers, .init = stay);

/* A program's cache: blocks that it can do without. */
enum { NR_TILES = 600, TILE = 100 << 10 };
struct tiles {
	pthread_mutex_t lock;
	void *tile[NR_TILES];
	size_t nr, nr_asked;
};

static void fill(struct tiles *t, size_t nr)
{
	pthread_mutex_init(&t->lock, NULL);
	for (t->nr = 0; t->nr < nr; t->nr++)
		t->tile[t->nr] = bslab_malloc(TILE);
}

static size_t drop_tiles(size_t nr_bytes, void *arg)
{
	struct tiles *t = arg;
	size_t given = 0;

	if (pthread_mutex_trylock(&t->lock) != 0)
		return 0;
	t->nr_asked++;
	for (; given < nr_bytes && t->nr; given += TILE)
		bslab_free(t->tile[--t->nr]);
	pthread_mutex_unlock(&t->lock);
	errno = EDOM;
	return given;
}

static struct bslab_shrinker_info info_of(struct bslab_shrinker *s)
{
	struct bslab_shrinker_info info;

	bslab_shrinker_info(s, &info);
	return info;
}

static struct tiles tiles, more;

static void *call_heap(size_t size)
{
	return bslab_heap_alloc(bslab_heap_create("a", 0, 0), size);
}

static void *call_pages(size_t size)
{
	static void *page[16 * MIB / BSLAB_PAGE_BYTES];

	return bslab_pages_alloc_bulk(size / BSLAB_PAGE_BYTES, page, 0) ? page : NULL;
}

static void *call_cache(size_t size)
{
	static void *obj[16 * MIB / 1000];
	struct bslab_cache *c = bslab_cache_create("objects", 1000, 0, BSLAB_CACHE_NO_MERGE, NULL);

	return bslab_cache_alloc_bulk(c, size / 1000, obj) ? obj : NULL;
}

static void *call_mempool(size_t size)
{
	return bslab_mempool_create(size / (64 * KIB), 64 * KIB);
}

static void *call_nowait(size_t size)
{
	return bslab_nowait_pool(64 * KIB, size / (64 * KIB), 0) ? NULL : &tiles;
}

static void check_makes_room(void *(*call)(size_t size))
{
	struct bslab_shrinker *s;

	fill(&tiles, NR_TILES);
	s = bslab_shrinker_register("tiles", drop_tiles, &tiles);
	cr_assert_eq(bslab_set_limits(0, 64 * MIB), 0);
	errno = 0;
	cr_assert(call(16 * MIB));
	cr_assert_eq(errno, 0);
	cr_assert(tiles.nr_asked >= 1 && tiles.nr_asked < 4, "%zu", tiles.nr_asked); /* bulks have some of it already */
	cr_assert_gt(tiles.nr, NR_TILES / 2);
	cr_assert_eq(info_of(s).nr_bytes, (NR_TILES - tiles.nr) * TILE);
	cr_assert_eq(info_of(s).nr_calls, tiles.nr_asked);
	bslab_shrinker_unregister(s);
}

Test(shrinkers, malloc_gets_what_is_cached)
{
	check_makes_room(bslab_malloc);
}

Test(shrinkers, vmalloc_gets_what_is_cached)
{
	check_makes_room(bslab_vmalloc);
}

Test(shrinkers, heaps_get_what_is_cached)
{
	check_makes_room(call_heap);
}

Test(shrinkers, pages_get_what_is_cached)
{
	check_makes_room(call_pages);
}

Test(shrinkers, objects_get_what_is_cached)
{
	check_makes_room(call_cache);
}

Test(shrinkers, mempools_get_what_is_cached)
{
	check_makes_room(call_mempool);
}

Test(shrinkers, nowait_pools_get_what_is_cached)
{
	check_makes_room(call_nowait);
}

/* A small block wants a page, and a page comes free only when enough around it does. */
Test(shrinkers, small_blocks)
{
	static void *small[200000];
	size_t nr = 0;

	cr_assert(bslab_shrinker_register("tiles", drop_tiles, &tiles));
	fill(&tiles, 100);
	bslab_set_limits(0, 16 * MIB);
	while (nr < 200000 && (small[nr] = bslab_malloc(200)))
		nr++;
	cr_assert_eq(tiles.nr, 0);
	cr_assert_gt(nr, 12 * MIB / 208);
}

/* In the order of their registration, as long as there is need. */
Test(shrinkers, the_first_is_asked_first)
{
	struct bslab_shrinker *a, *b;

	fill(&tiles, 50);
	fill(&more, 500);
	a = bslab_shrinker_register("a", drop_tiles, &tiles);
	b = bslab_shrinker_register("b", drop_tiles, &more);
	bslab_set_limits(0, 64 * MIB);
	cr_assert(bslab_malloc(20 * MIB));
	cr_assert_eq(tiles.nr, 0);
	cr_assert(more.nr > 100 && more.nr < 500);
	bslab_shrinker_unregister(a);
	bslab_shrinker_unregister(b);
	bslab_shrinker_unregister(NULL);
	more.nr_asked = 0;
	errno = 0;
	cr_assert_null(bslab_malloc(64 * MIB));
	cr_assert_eq(errno, ENOMEM);
	cr_assert_eq(more.nr_asked, 0);
}

/* Those that can do with less, or are at a quota of their own, ask nobody. */
Test(shrinkers, some_do_not_ask)
{
	struct bslab_heap *h = bslab_heap_create("limited", MIB, 0);

	fill(&tiles, NR_TILES);
	cr_assert(bslab_shrinker_register("tiles", drop_tiles, &tiles));
	bslab_set_limits(0, 64 * MIB);
	cr_assert_null(bslab_kmalloc(16 * MIB, BSLAB_GFP_NORETRY));
	cr_assert_null(bslab_kvmalloc(16 * MIB, BSLAB_GFP_NORETRY));
	cr_assert_null(bslab_kmalloc(16 * MIB, BSLAB_GFP_NOWAIT));
	cr_assert_null(bslab_heap_alloc(h, 2 * MIB));
	bslab_malloc_trim(0);
	cr_assert_eq(tiles.nr_asked, 0);
	cr_assert(bslab_kmalloc(16 * MIB, 0));
	cr_assert_eq(tiles.nr_asked, 1);
}

/* Nor near a soft limit: who may be asked is left the work. */
Test(shrinkers, some_do_not_ask_near_a_soft_limit)
{
	struct bslab_heap *h = bslab_heap_create("limited", MIB, 0);

	fill(&tiles, NR_TILES);
	cr_assert(bslab_shrinker_register("tiles", drop_tiles, &tiles));
	bslab_set_limits(64 * MIB, 0);
	for (int i = 0; i < 100; i++) {
		cr_assert(bslab_kmalloc(200 * KIB, BSLAB_GFP_NORETRY));
		cr_assert(bslab_kvmalloc(100 * KIB, BSLAB_GFP_NORETRY));
		cr_assert_null(bslab_heap_alloc(h, 2 * MIB));
	}
	cr_assert_eq(tiles.nr_asked, 0);
	bslab_free(bslab_kvmalloc(200 * KIB, 0));
	cr_assert_gt(tiles.nr_asked, 0);
}

/* Near a soft limit the program's caches shrink, and nothing fails. */
Test(shrinkers, soft_limit)
{
	fill(&tiles, NR_TILES);
	cr_assert(bslab_shrinker_register("tiles", drop_tiles, &tiles));
	bslab_set_limits(64 * MIB, 0);
	for (int i = 0; i < 100; i++)
		cr_assert(bslab_malloc(200 * KIB));
	cr_assert(tiles.nr_asked > 0 && tiles.nr < NR_TILES);
}

static size_t allocate_meanwhile(size_t nr_bytes, void *nr)
{
	++*(int *)nr;
	bslab_free(bslab_malloc(1000));
	cr_assert_null(bslab_malloc(nr_bytes * 16));
	return 0;
}

Test(shrinkers, one_that_allocates_asks_no_other)
{
	int nr = 0;

	cr_assert(bslab_shrinker_register("allocates", allocate_meanwhile, &nr));
	bslab_set_limits(0, 16 * MIB);
	cr_assert_null(bslab_malloc(32 * MIB));
	cr_assert_eq(nr, 1);
}

static atomic_bool is_registered[4];

static size_t look(size_t nr_bytes, void *arg)
{
	(void)nr_bytes;
	cr_assert(atomic_load((atomic_bool *)arg));
	return 0;
}

/* After its end a function is not running, and is not called. */
static void *come_and_go(void *flag)
{
	for (int i = 0; i < 2000; i++) {
		struct bslab_shrinker *s;

		atomic_store((atomic_bool *)flag, true);
		s = bslab_shrinker_register("comes", look, flag);
		cr_assert_null(bslab_malloc(64 * MIB));
		bslab_shrinker_unregister(s);
		atomic_store((atomic_bool *)flag, false);
	}
	return NULL;
}

Test(shrinkers, threads)
{
	pthread_t thread[4];

	roam();
	bslab_free(bslab_malloc(1));
	bslab_set_limits(0, 16 * MIB);
	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, come_and_go, &is_registered[i]);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
}

Test(shrinkers, fork_keeps_them)
{
	struct bslab_shrinker *s;
	int status;
	pid_t pid;

	fill(&tiles, NR_TILES);
	s = bslab_shrinker_register("tiles", drop_tiles, &tiles);
	pid = fork();
	if (!pid) {
		bslab_set_limits(0, 64 * MIB);
		if (!bslab_malloc(16 * MIB) || tiles.nr_asked != 1)
			_exit(1);
		bslab_shrinker_unregister(s);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	cr_assert_eq(status, 0);
	cr_assert_eq(tiles.nr_asked, 0);
}

Test(shrinkers, bad_arguments)
{
	errno = 0;
	cr_assert_null(bslab_shrinker_register(NULL, look, NULL));
	cr_assert_null(bslab_shrinker_register("", look, NULL));
	cr_assert_null(bslab_shrinker_register("a", NULL, NULL));
	cr_assert_eq(errno, EINVAL);
}

static atomic_bool waits, may_end;

static size_t wait_for_main(size_t nr_bytes, void *unused)
{
	(void)nr_bytes;
	(void)unused;
	atomic_store(&waits, true);
	while (!atomic_load(&may_end))
		usleep(1000);
	return 0;
}

static void *short_of_memory(void *unused)
{
	(void)unused;
	cr_assert_null(bslab_malloc(64 * MIB));
	return NULL;
}

/* What another thread ran is not run in the child, and ends there at once. */
Test(shrinkers, fork_while_another_thread_runs_one, .timeout = 20)
{
	struct bslab_shrinker *s;
	pthread_t thread;
	int status;
	pid_t pid;

	bslab_free(bslab_malloc(1));
	s = bslab_shrinker_register("waits", wait_for_main, NULL);
	bslab_set_limits(0, 16 * MIB);
	pthread_create(&thread, NULL, short_of_memory, NULL);
	while (!atomic_load(&waits))
		usleep(1000);
	pid = fork();
	if (!pid) {
		alarm(10);
		bslab_shrinker_unregister(s);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	atomic_store(&may_end, true);
	pthread_join(thread, NULL);
	cr_assert_eq(status, 0);
}

static struct bslab_shrinker *own;

static size_t end_itself(size_t nr_bytes, void *unused)
{
	(void)nr_bytes;
	(void)unused;
	bslab_shrinker_unregister(own);
	return 0;
}

Test(shrinkers, one_does_not_end_itself, .signal = SIGABRT, .timeout = 20)
{
	own = bslab_shrinker_register("own", end_itself, NULL);
	bslab_set_limits(0, 16 * MIB);
	bslab_free(bslab_malloc(64 * MIB));
}
