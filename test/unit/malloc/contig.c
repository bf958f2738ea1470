/* SPDX-License-Identifier: MIT */
/* bslab/contig.h with real memory. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bslab/contig.h"
#include "bslab/page.h"
#include "bslab/shrinker.h"
#include "malloc/internal.h"
#include "os/thread.h"
#include "stay.h"

#define MIB ((size_t)1 << 20)

TestSuite(contig, .init = stay);

struct tile {
	pthread_mutex_t lock;
	unsigned char *p;
	size_t size;
	unsigned char byte;
};

static int moved(void *to, void *from, size_t size, void *arg)
{
	struct tile *t = arg;

	if (pthread_mutex_trylock(&t->lock))
		return 1;
	if (t->p == from) {
		memcpy(to, from, size);
		t->p = to;
		from = NULL;
	}
	pthread_mutex_unlock(&t->lock);
	return from != NULL;
}

/* Under the tile's lock. */
static void make(struct tile *t, size_t size, unsigned char byte)
{
	t->p = bslab_movable_alloc(size, moved, t);
	cr_assert(t->p);
	t->size = size;
	t->byte = byte;
	memset(t->p, byte, size);
}

static void drop(struct tile *t)
{
	for (size_t i = 0; i < t->size; i += 100)
		cr_assert_eq(t->p[i], t->byte);
	bslab_movable_free(t->p);
	t->p = NULL;
}

/* Where its run is now, another thread frees it before the function has returned. */
static void *drop_now(void *t)
{
	drop(t);
	return NULL;
}

static pthread_t dropper;

static int moved_and_freed(void *to, void *from, size_t size, void *arg)
{
	struct tile *t = arg;

	memcpy(to, from, size);
	t->p = to;
	pthread_create(&dropper, NULL, drop_now, t);
	usleep(20000);
	return 0;
}

Test(contig, freed_where_it_moves_to)
{
	struct tile t = {.size = 10000, .byte = 7};

	cr_assert_eq(bslab_contig_reserve(4 * MIB, 0), 0);
	t.p = bslab_movable_alloc(t.size, moved_and_freed, &t);
	memset(t.p, t.byte, t.size);
	cr_assert(bslab_contig_alloc(4 * MIB, 1));
	pthread_join(dropper, NULL);
	cr_assert_eq(t.p, NULL);
}

static int moved_with_errno(void *to, void *from, size_t size, void *arg)
{
	errno = EAGAIN;
	memcpy(to, from, size);
	*(void **)arg = to;
	return 0;
}

Test(contig, a_move_keeps_errno)
{
	void *run;

	cr_assert_eq(bslab_contig_reserve(4 * MIB, 0), 0);
	run = bslab_movable_alloc(10000, moved_with_errno, &run);
	errno = 0;
	cr_assert(bslab_contig_alloc(4 * MIB, 1));
	cr_assert_eq(errno, 0);
	bslab_movable_free(run);
}

Test(contig, calls)
{
	struct bslab_page_info page;
	struct bslab_contig_info info;
	struct tile t = {.lock = PTHREAD_MUTEX_INITIALIZER};
	char *p;

	cr_assert_eq(bslab_contig_reserve(0, 0), EINVAL);
	cr_assert_eq(bslab_contig_reserve(1, 8), EINVAL);
	cr_assert_eq(bslab_contig_reserve(1, BSLAB_CONTIG_DMA32 | BSLAB_CONTIG_HUGETLB), EINVAL);
	cr_assert_eq(bslab_contig_reserve((size_t)2 << 30, 0), EINVAL);
	errno = 0;
	cr_assert_null(bslab_contig_alloc(1, 1));
	cr_assert_eq(errno, ENOMEM);
	cr_assert_eq(bslab_contig_reserve(7 * MIB, 0), 0);
	errno = 0;
	cr_assert_null(bslab_contig_alloc(0, 1));
	cr_assert_null(bslab_contig_alloc(1, 3));
	cr_assert_eq(errno, EINVAL);
	cr_assert_null(bslab_contig_alloc((size_t)2 << 30, 1));
	cr_assert_null(bslab_movable_alloc(3 * MIB, moved, &t));
	cr_assert_null(bslab_movable_alloc(0, moved, &t));
	cr_assert_null(bslab_movable_alloc(1, NULL, &t));
	make(&t, 100000, 4);
	bslab_page_info(bslab_virt_to_page(t.p + 5000), &page);
	cr_assert(page.type == BSLAB_PAGE_MOVABLE && page.head == t.p && page.nr_pages == 25);
	p = bslab_contig_alloc(8 * MIB, MIB);
	cr_assert(p);
	memset(p, 1, 8 * MIB);
	bslab_page_info(bslab_virt_to_page(p + 5000), &page);
	cr_assert(page.type == BSLAB_PAGE_CONTIG && page.head == p && page.nr_pages == 2048);
	bslab_contig_info(&info);
	cr_assert(info.size_bytes == 8 * MIB && info.taken_bytes == 8 * MIB && !info.lent_bytes && info.nr_moved == 1);
	drop(&t);
	bslab_contig_free(p);
	bslab_contig_free(NULL);
	bslab_movable_free(NULL);
	bslab_malloc_trim(0);
	p = bslab_contig_alloc(8 * MIB, MIB);
	cr_assert(p && p[0] == 0 && p[8 * MIB - 1] == 0);
	bslab_page_info(bslab_virt_to_page(p), &page);
}

Test(contig, low)
{
	char *p;

	cr_assert_eq(bslab_contig_reserve(4 * MIB, BSLAB_CONTIG_DMA32), 0);
	p = bslab_contig_alloc(4 * MIB, 1);
	cr_assert(p && (uintptr_t)p < (uintptr_t)4 << 30);
}

Test(contig, under_a_limit)
{
	bslab_free(bslab_malloc(1));
	bslab_set_limits(0, 20 * MIB);
	cr_assert_eq(bslab_contig_reserve(64 * MIB, 0), ENOMEM);
	cr_assert_eq(bslab_contig_reserve(4 * MIB, 0), 0);
}

static char *cached;

static size_t drop_cached(size_t nr_bytes, void *arg)
{
	size_t size = cached ? 14 * MIB : 0;

	(void)nr_bytes, (void)arg;
	bslab_free(cached);
	cached = NULL;
	return size;
}

/* They make room for the reserve itself, too. */
Test(contig, caches_make_room_for_a_reserve)
{
	cached = bslab_malloc(14 * MIB);
	memset(cached, 1, 14 * MIB);
	cr_assert_not_null(bslab_shrinker_register("cached", drop_cached, NULL));
	bslab_set_limits(0, 16 * MIB);
	cr_assert_eq(bslab_contig_reserve(8 * MIB, 0), 0);
	cr_assert_null(cached);
	cr_assert_eq(bslab_contig_reserve(8 * MIB, 0), ENOMEM);
}

/* A run in the way moves to what the program's caches give. */
Test(contig, caches_make_room_for_what_is_moved)
{
	struct tile t = {.lock = PTHREAD_MUTEX_INITIALIZER};
	char *p;

	cr_assert_eq(bslab_contig_reserve(4 * MIB, 0), 0);
	make(&t, 1 * MIB, 7);
	cached = bslab_malloc(14 * MIB);
	memset(cached, 1, 14 * MIB);
	cr_assert_not_null(bslab_shrinker_register("cached", drop_cached, NULL));
	bslab_set_limits(0, 18 * MIB + MIB / 2);
	p = bslab_contig_alloc(4 * MIB, 1);
	cr_assert_not_null(p);
	cr_assert_null(cached);
	cr_assert(t.p < (unsigned char *)p || t.p >= (unsigned char *)p + 4 * MIB);
	drop(&t);
	bslab_contig_free(p);
}

Test(contig, reclaim_counts_it)
{
	char *p;

	cr_assert_eq(bslab_contig_reserve(4 * MIB, 0), 0);
	p = bslab_contig_alloc(4 * MIB, 1);
	memset(p, 1, 4 * MIB);
	reclaim(0);
	bslab_contig_free(p);
	cr_assert_geq(reclaim(0), 4 * MIB / 4096);
}

static unsigned nr_asked;

static int refuse(void *to, void *from, size_t size, void *arg)
{
	(void)to, (void)from, (void)size, (void)arg;
	nr_asked++;
	return 1;
}

static size_t give_little(size_t nr_bytes, void *arg)
{
	(void)nr_bytes, (void)arg;
	return 4096;
}

/* However often caches are asked on its behalf, a request is one, and asks a run once. */
Test(contig, short_of_memory_it_is_one_request)
{
	struct tile t[3] = {{.lock = PTHREAD_MUTEX_INITIALIZER}, {.lock = PTHREAD_MUTEX_INITIALIZER}, {.lock = PTHREAD_MUTEX_INITIALIZER}};
	struct bslab_contig_info info;
	unsigned nr_failures = 0;

	cr_assert_eq(bslab_contig_reserve(8 * MIB, 0), 0);
	for (int i = 0; i < 3; i++)
		make(&t[i], 2 * MIB, 7);
	cr_assert_not_null(bslab_movable_alloc(4096, refuse, NULL));
	cr_assert_not_null(bslab_shrinker_register("little", give_little, NULL));
	for (size_t limit = 4 * MIB; limit < 16 * MIB && !nr_asked; limit += MIB / 4) {
		bslab_set_limits(0, limit);
		nr_failures += !bslab_contig_alloc(2 * MIB, 1);
	}
	bslab_contig_info(&info);
	cr_assert_eq(nr_asked, 1);
	cr_assert_eq(info.nr_refused, 1);
	cr_assert_eq(info.nr_failures, nr_failures);
	cr_assert_gt(nr_failures, 0);
	bslab_set_limits(0, 0);
	for (int i = 0; i < 3; i++)
		drop(&t[i]);
}

static void *only_moves(void *arg)
{
	char *p = bslab_contig_alloc(2 * MIB, 1);

	(void)arg;
	cr_assert_not_null(p);
	cr_assert_eq(thread_state.exit_hooked, THREAD_HOOKED);
	bslab_contig_free(p);
	return NULL;
}

/* What a thread has for that is given up when it ends. */
Test(contig, threads_that_only_move)
{
	struct tile t = {.lock = PTHREAD_MUTEX_INITIALIZER};
	pthread_t thread;

	cr_assert_eq(bslab_contig_reserve(2 * MIB, 0), 0);
	make(&t, 10000, 1);
	pthread_create(&thread, NULL, only_moves, NULL);
	pthread_join(thread, NULL);
	drop(&t);
}

Test(contig, misuse_is_told)
{
	struct tile t = {.lock = PTHREAD_MUTEX_INITIALIZER};
	char *p, *m;

	m = getenv("BSLAB_CONF");
	p = malloc(200);
	snprintf(p, 200, "%s,on_error=warn", m ? m : "");
	setenv("BSLAB_CONF", p, 1);
	cr_assert_eq(bslab_contig_reserve(4 * MIB, 0), 0);
	make(&t, 10000, 1);
	p = bslab_contig_alloc(10000, 1);
	bslab_free(t.p);
	bslab_free(p);
	bslab_free(p + 4096);
	bslab_pages_free(t.p);
	bslab_contig_free(t.p);
	bslab_contig_free(p + 1);
	bslab_movable_free(p);
	drop(&t);
	bslab_contig_free(p);
}

/* --- threads ------------------------------------------------------------------------------------- */

#define NR_TILES 40
static struct tile tiles[4][NR_TILES];
static _Atomic int done;

static void *painter(void *arg)
{
	struct tile *mine = arg;
	unsigned seed = (unsigned)(mine - tiles[0]) + 1;

	for (int i = 0; i < 20000; i++) {
		struct tile *t = &mine[rand_r(&seed) % NR_TILES];

		pthread_mutex_lock(&t->lock);
		if (t->p && i % 3)
			drop(t);
		else if (!t->p)
			make(t, (size_t)rand_r(&seed) % 60000 + 1, (unsigned char)i);
		pthread_mutex_unlock(&t->lock);
	}
	done++;
	return NULL;
}

Test(contig, threads_and_forks)
{
	struct bslab_contig_info info;
	pthread_t threads[4];
	size_t n = 0, nr_forks = 0;

	roam();
	cr_assert_eq(bslab_contig_reserve(8 * MIB, 0), 0);
	for (int i = 0; i < 4; i++) {
		for (int k = 0; k < NR_TILES; k++)
			pthread_mutex_init(&tiles[i][k].lock, NULL);
		pthread_create(&threads[i], NULL, painter, tiles[i]);
	}
	while (done < 4) {
		char *p = bslab_contig_alloc((n % 8 + 1) * MIB, 1);

		if (p) {
			memset(p, 0xee, MIB);
			n++;
			if (n % 16 == 0 && nr_forks++ < 20) {
				pid_t child = fork();
				int status;

				if (!child) {
					bslab_contig_free(p);
					_exit(!bslab_contig_alloc(4096, 1));
				}
				waitpid(child, &status, 0);
				cr_assert_eq(status, 0);
			}
			bslab_contig_free(p);
		}
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	if (tiles[0][0].p)
		drop(&tiles[0][0]);
	make(&tiles[0][0], 1, 1); /* is lent now, as maybe none was */
	bslab_contig_free(bslab_contig_alloc(8 * MIB, 1));
	bslab_contig_info(&info);
	cr_assert_gt(info.nr_moved, 0);
	for (int i = 0; i < 4; i++)
		for (int k = 0; k < NR_TILES; k++)
			if (tiles[i][k].p)
				drop(&tiles[i][k]);
	bslab_contig_info(&info);
	cr_assert_eq(info.lent_bytes, 0);
	cr_assert(bslab_contig_alloc(8 * MIB, 1));
}
