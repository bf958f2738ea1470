/* SPDX-License-Identifier: MIT */
/*
 * Threads that allocate, map, write, resize, hand to each other and free objects by handle, against an oracle, while others
 * compact without a pause.
 *
 *   stress-handles [--seed N] [--threads N] [--seconds N] [--no-fork]
 *
 * 1. The oracle is a record per live handle: its size, and a number of its own. The object is filled with a pattern of that
 *    number. Whoever maps it checks the pattern, holds the map for a while, checks it again and writes another one. Were an
 *    object moved while it is mapped, or a copy used that was torn, the pattern would be wrong.
 * 2. Records stand in a shared table, with a lock each: most handles are freed by another thread than made them. Some objects
 *    are mapped by two threads at once, by readers, which keep no lock of the table while they read.
 * 3. A thread ends after some thousand steps, and another takes its place.
 * 4. One compacts, another trims, all the time. Now and then a worker forks, and the child checks and frees what it can reach.
 * 5. At the end all is freed, and no object with a handle may be left.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bslab/handle.h"
#include "bslab/insight.h"

#define NR_RECORDS 4096
#define STEPS_OF_A_LIFE 20000

struct record {
	pthread_rwlock_t lock;
	bslab_handle_t handle;
	size_t size;
	uint64_t number;
};

static struct record records[NR_RECORDS];
static uint64_t seed = 1;
static double seconds = 3;
static unsigned nr_threads = 4;
static bool may_fork = true;
static _Atomic uint64_t next_number = 1, nr_ops, nr_forks, nr_released;
static _Atomic bool stop;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

/* --- patterns: words made of the number; both ends, and some between ------------------------------------------------- */

static uint64_t word_at(uint64_t number, size_t at)
{
	return (number + at) * 0x9e3779b97f4a7c15u;
}

static size_t step_of(size_t size)
{
	return size <= 8192 ? 1 : 61;
}

static void fill(struct record *r, uint64_t *p)
{
	size_t i, n = r->size / 8;

	r->number = atomic_fetch_add(&next_number, 1);
	for (i = 0; i < n; i += step_of(r->size))
		p[i] = word_at(r->number, i);
}

static void check(const struct record *r, const uint64_t *p, size_t size, const char *what)
{
	size_t i, n = size / 8;

	for (i = 0; i < n; i += step_of(r->size))
		if (p[i] != word_at(r->number, i)) {
			fprintf(stderr, "%s: handle %#llx of %zu bytes, word %zu (seed %llu)\n", what,
				(unsigned long long)r->handle, r->size, i, (unsigned long long)seed);
			abort();
		}
}

static void expect(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "%s (seed %llu)\n", what, (unsigned long long)seed);
		abort();
	}
}

/* --- steps ------------------------------------------------------------------------------------------------------------ */

static size_t random_size(uint64_t *random)
{
	uint64_t x = next_random(random);
	unsigned kind = x % 1000;

	x >>= 10;
	if (kind < 800)
		return x % 600;
	if (kind < 960)
		return x % 5000;
	if (kind < 990)
		return x % (60 << 10);
	if (kind < 999)
		return x % (600 << 10);
	return x % (4 << 20);
}

static void make(struct record *r, uint64_t *random)
{
	void *p;

	r->size = random_size(random);
	r->handle = bslab_handle_alloc(r->size);
	expect(r->handle, "no memory");
	p = bslab_handle_map(r->handle);
	fill(r, p);
	bslab_handle_unmap(r->handle);
}

static void drop(struct record *r)
{
	const void *p = bslab_handle_map(r->handle);

	check(r, p, r->size, "damaged before its free");
	bslab_handle_unmap(r->handle);
	bslab_handle_free(r->handle);
	r->handle = 0;
}

static void rest(uint64_t *random)
{
	unsigned n = (unsigned)(next_random(random) % 64);

	while (n--)
		__asm__ volatile("" ::: "memory");
	if (next_random(random) % 256 == 0)
		sched_yield();
}

static void rewrite(struct record *r, uint64_t *random)
{
	void *p = bslab_handle_map(r->handle);

	check(r, p, r->size, "damaged between two maps");
	rest(random);
	check(r, p, r->size, "damaged while it was mapped");
	fill(r, p);
	expect(bslab_handle_map(r->handle) == p, "moved while it was mapped");
	bslab_handle_unmap(r->handle);
	bslab_handle_unmap(r->handle);
}

static void resize(struct record *r, uint64_t *random)
{
	size_t size = random_size(random), least = size < r->size ? size : r->size;
	void *p;

	expect(bslab_handle_resize(r->handle, size) == 0, "resize");
	p = bslab_handle_map(r->handle);
	check(r, p, least, "damaged by resize");
	r->size = size;
	fill(r, p);
	bslab_handle_unmap(r->handle);
}

static void read_shared(struct record *r, uint64_t *random)
{
	const void *p;

	pthread_rwlock_rdlock(&r->lock);
	if (r->handle) {
		p = bslab_handle_map(r->handle);
		check(r, p, r->size, "damaged for a reader");
		rest(random);
		check(r, p, r->size, "damaged for a reader, while mapped");
		bslab_handle_unmap(r->handle);
	}
	pthread_rwlock_unlock(&r->lock);
}

/* In waves, so that the heap becomes sparse again and again. */
static bool want_more(void)
{
	return atomic_load(&nr_ops) / 200000 % 2 == 0;
}

static void step(uint64_t *random)
{
	uint64_t x = next_random(random);
	struct record *r = &records[x % NR_RECORDS];
	unsigned what = (unsigned)(x >> 32) % 8;

	if (what == 0) {
		read_shared(r, random);
		return;
	}
	if (pthread_rwlock_trywrlock(&r->lock))
		return;
	if (!r->handle) {
		if (want_more() || what == 1)
			make(r, random);
	} else if (what < 4) {
		rewrite(r, random);
	} else if (what == 4) {
		resize(r, random);
	} else if (!want_more() || what == 5) {
		drop(r);
	}
	pthread_rwlock_unlock(&r->lock);
}

static void child(void)
{
	uint64_t random = seed + 77;
	unsigned i;

	alarm(60);
	for (i = 0; i < NR_RECORDS; i++) {
		struct record *r = &records[i];

		if (pthread_rwlock_trywrlock(&r->lock)) /* another thread's, which is not here */
			continue;
		if (r->handle)
			drop(r);
		make(r, &random);
	}
	bslab_compact();
	for (i = 0; i < NR_RECORDS; i++)
		if (!pthread_rwlock_trywrlock(&records[i].lock))
			abort();
	_exit(0);
}

static void fork_once(void)
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		child();
	if (pid < 0)
		return;
	expect(waitpid(pid, &status, 0) == pid && status == 0, "the child of a fork failed");
	atomic_fetch_add(&nr_forks, 1);
}

static void *worker(void *arg)
{
	uint64_t random = (uintptr_t)arg * 0x9e3779b97f4a7c15u + seed;
	unsigned i;

	for (i = 0; i < STEPS_OF_A_LIFE && !atomic_load(&stop); i++) {
		step(&random);
		atomic_fetch_add(&nr_ops, 1);
		if (may_fork && next_random(&random) % 60000 == 0)
			fork_once();
	}
	return NULL;
}

static void *compactor(void *unused)
{
	while (!atomic_load(&stop))
		atomic_fetch_add(&nr_released, bslab_compact());
	return unused;
}

static void *trimmer(void *unused)
{
	while (!atomic_load(&stop)) {
		bslab_malloc_trim(0);
		usleep(1000);
	}
	return unused;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void run(void)
{
	pthread_t thread[64], other[2];
	double end = now() + seconds;
	uintptr_t id = 1;
	unsigned i;

	for (i = 0; i < nr_threads; i++)
		expect(!pthread_create(&thread[i], NULL, worker, (void *)id++), "no thread");
	expect(!pthread_create(&other[0], NULL, compactor, NULL), "no thread");
	expect(!pthread_create(&other[1], NULL, trimmer, NULL), "no thread");
	for (i = 0; now() < end; i = (i + 1) % nr_threads) {
		pthread_join(thread[i], NULL);
		expect(!pthread_create(&thread[i], NULL, worker, (void *)id++), "no thread");
	}
	atomic_store(&stop, true);
	for (i = 0; i < nr_threads; i++)
		pthread_join(thread[i], NULL);
	pthread_join(other[0], NULL);
	pthread_join(other[1], NULL);
}

static int find_live(const char *text, size_t len, void *live)
{
	const char *at = memmem(text, len, "\"handles\":", 10);

	if (at)
		*(long long *)live = atoll(at + 10);
	return 0;
}

static void expect_empty(void)
{
	long long live = -1;
	unsigned i;

	for (i = 0; i < NR_RECORDS; i++)
		if (records[i].handle)
			drop(&records[i]);
	bslab_malloc_trim(0);
	expect(bslab_report_to("meminfo", "json", find_live, &live) == 0, "no report");
	if (live != 0) {
		fprintf(stderr, "%lld bytes of objects are left (seed %llu)\n", live, (unsigned long long)seed);
		abort();
	}
}

int main(int argc, char **argv)
{
	unsigned i;
	int a;

	for (a = 1; a < argc; a++) {
		if (!strcmp(argv[a], "--no-fork"))
			may_fork = false;
		else if (a + 1 < argc && !strcmp(argv[a], "--seed"))
			seed = strtoull(argv[++a], NULL, 0);
		else if (a + 1 < argc && !strcmp(argv[a], "--threads"))
			nr_threads = (unsigned)atoi(argv[++a]);
		else if (a + 1 < argc && !strcmp(argv[a], "--seconds"))
			seconds = atof(argv[++a]);
		else
			return 2;
	}
	if (nr_threads < 1 || nr_threads > 64)
		return 2;
	for (i = 0; i < NR_RECORDS; i++)
		pthread_rwlock_init(&records[i].lock, NULL);
	run();
	expect_empty();
	printf("%llu steps, %llu forks, %llu pageblocks released by calls\n", (unsigned long long)nr_ops,
	       (unsigned long long)nr_forks, (unsigned long long)nr_released);
	return 0;
}
