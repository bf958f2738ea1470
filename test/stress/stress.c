/* SPDX-License-Identifier: MIT */
/*
 * Threads that allocate, resize, hand to each other and free blocks of all sizes, against an oracle.
 *
 *   stress [--seed N] [--threads N] [--seconds N | --ops N] [--no-fork] [--plain]
 *
 * 1. The oracle is a record per live block: address, usable size, and a number of its own. The block is filled with a
 *    pattern made of that number; every byte up to WHOLE, beyond that both ends of each page. Before a block is freed,
 *    and before and after it is resized, its pattern is checked. Were two live blocks to overlap, or were one written
 *    to by the allocator, the pattern of one of them would be wrong.
 * 2. Records stand in memory from mmap, never from the allocator under test.
 * 3. Records in a shared table change hands under a lock each, so most blocks are freed by another thread than made them.
 * 4. A worker thread ends after some thousand steps, with or without freeing what it holds, and another takes its place.
 * 5. Now and then a worker forks; the child checks all records that it can reach, frees them, allocates, and exits.
 *
 * --plain: a block is aligned as was asked for, or to 16 bytes, and not to more where its size would have it.
 *
 * The allocator is whichever stands behind malloc: run it with LD_PRELOAD.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WHOLE ((size_t)64 << 10)
#define PAGE ((size_t)4096)
#define END_BYTES 64
#define NR_OWN 256
#define NR_SHARED 1024
#define STEPS_OF_A_LIFE 20000

struct record {
	pthread_mutex_t lock; /* in the shared table only */
	unsigned char *p;
	size_t size; /* usable */
	uint64_t number;
};

struct worker {
	pthread_t thread;
	uint64_t random;
	unsigned id;
	struct record own[NR_OWN];
};

static struct record *shared;
static uint64_t seed;
static double seconds = 3;
static uint64_t max_ops;
static unsigned nr_threads = 4;
static bool may_fork = true, is_natural = true;
static _Atomic uint64_t next_number = 1, nr_ops, nr_forks, nr_lives, nr_nulls;
static _Atomic bool stop;

static void fail(const char *what, const struct record *r, size_t at)
{
	fprintf(stderr, "stress: %s: block %p of %zu bytes, number %llu, byte %zu (seed %llu)\n", what, (void *)r->p, r->size,
		(unsigned long long)r->number, at, (unsigned long long)seed);
	abort();
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

/* --- patterns ------------------------------------------------------------------------------ */

static unsigned char byte_at(uint64_t number, size_t at)
{
	return (unsigned char)(number * 0x9e3779b97f4a7c15u >> 56) ^ (unsigned char)(at * 7 + (at >> 8));
}

static bool is_watched(size_t size, size_t at)
{
	return size <= WHOLE || at % PAGE < END_BYTES || at % PAGE >= PAGE - END_BYTES || at >= size - END_BYTES;
}

/* The next watched byte from `at` on. */
static size_t next_watched(size_t size, size_t at)
{
	if (is_watched(size, at))
		return at;
	at = (at / PAGE + 1) * PAGE - END_BYTES;
	return at < size - END_BYTES ? at : size - END_BYTES;
}

static void fill(struct record *r)
{
	r->number = atomic_fetch_add(&next_number, 1);
	for (size_t at = 0; at < r->size; at++) {
		at = next_watched(r->size, at);
		r->p[at] = byte_at(r->number, at);
	}
}

static void check_part(const struct record *r, const unsigned char *p, size_t size, const char *what)
{
	for (size_t at = 0; at < size; at++) {
		at = next_watched(r->size, at);
		if (at < size && p[at] != byte_at(r->number, at))
			fail(what, r, at);
	}
}

static void check(const struct record *r)
{
	check_part(r, r->p, r->size, "pattern is damaged");
}

/* --- steps ------------------------------------------------------------------------------------ */

static size_t random_size(uint64_t *random)
{
	uint64_t x = next_random(random);
	unsigned kind = x % 1000;

	x >>= 10;
	if (kind < 700)
		return x % 300;
	if (kind < 900)
		return x % 5000;
	if (kind < 985)
		return x % (100 << 10);
	if (kind < 998)
		return x % (3 << 20);
	return x % (12 << 20);
}

static void expect_aligned(const struct record *r, size_t size, size_t align)
{
	size_t natural = is_natural ? size & -size : 1;

	natural = natural > PAGE ? PAGE : natural;
	if (natural > align)
		align = natural;
	if (size >= 16 && align < 16)
		align = 16;
	if ((uintptr_t)r->p % align)
		fail("is not aligned", r, align);
	if (r->size < size)
		fail("usable size is too small", r, size);
}

static void expect_zero(const struct record *r, size_t size)
{
	for (size_t at = 0; at < size; at++)
		if (r->p[at])
			fail("calloc is not zero", r, at);
}

static void take(struct record *r, uint64_t *random)
{
	size_t size = random_size(random), align = 1;
	uint64_t kind = next_random(random) % 8;
	void *p = NULL;

	if (kind < 4) {
		p = malloc(size);
	} else if (kind < 6) {
		p = calloc(1, size);
	} else {
		align = (size_t)8 << next_random(random) % 12;
		if (kind == 6)
			p = aligned_alloc(align, size);
		else if (posix_memalign(&p, align, size))
			p = NULL;
	}
	r->p = p;
	r->size = malloc_usable_size(p);
	if (!p) {
		atomic_fetch_add(&nr_nulls, 1);
		return;
	}
	expect_aligned(r, size, align);
	if (kind == 4 || kind == 5)
		expect_zero(r, size);
	fill(r);
}

static void release(struct record *r)
{
	check(r);
	errno = 42;
	free(r->p);
	if (errno != 42)
		fail("free changed errno", r, 0);
	r->p = NULL;
}

static void change(struct record *r, uint64_t *random)
{
	size_t size = random_size(random) + 1;
	unsigned char *p;

	check(r);
	p = realloc(r->p, size);
	if (!p) {
		atomic_fetch_add(&nr_nulls, 1);
		check(r);
		return;
	}
	check_part(r, p, size < r->size ? size : r->size, "realloc lost contents");
	r->p = p;
	r->size = malloc_usable_size(p);
	expect_aligned(r, 1, 1);
	fill(r);
}

static void swap(struct record *r, uint64_t *random)
{
	struct record *s = &shared[next_random(random) % NR_SHARED], was = *r;

	pthread_mutex_lock(&s->lock);
	r->p = s->p;
	r->size = s->size;
	r->number = s->number;
	s->p = was.p;
	s->size = was.size;
	s->number = was.number;
	pthread_mutex_unlock(&s->lock);
}

static void step(struct worker *w)
{
	struct record *r = &w->own[next_random(&w->random) % NR_OWN];
	uint64_t kind = next_random(&w->random) % 100;

	if (kind < 30)
		swap(r, &w->random);
	else if (!r->p)
		take(r, &w->random);
	else if (kind < 45)
		change(r, &w->random);
	else
		release(r);
}

/* --- fork --------------------------------------------------------------------------------------- */

static void child(struct worker *w)
{
	for (int i = 0; i < NR_OWN; i++)
		if (w->own[i].p)
			release(&w->own[i]);
	for (int i = 0; i < NR_SHARED; i++)
		if (pthread_mutex_trylock(&shared[i].lock) == 0 && shared[i].p)
			release(&shared[i]);
	may_fork = false;
	memset(w->own, 0, sizeof w->own);
	for (int i = 0; i < 500; i++) {
		struct record *r = &w->own[i % NR_OWN];

		if (r->p)
			release(r);
		take(r, &w->random);
	}
	_exit(0);
}

static void fork_once(struct worker *w)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		child(w);
	if (pid < 0)
		return;
	atomic_fetch_add(&nr_forks, 1);
	if (waitpid(pid, &status, 0) != pid || status != 0) {
		fprintf(stderr, "stress: the child of fork ended with status %#x (seed %llu)\n", (unsigned)status,
			(unsigned long long)seed);
		abort();
	}
}

/* --- workers -------------------------------------------------------------------------------------- */

static void *live(void *arg)
{
	struct worker *w = arg;
	unsigned i;

	for (i = 0; i < STEPS_OF_A_LIFE && !atomic_load(&stop); i++) {
		step(w);
		if (may_fork && next_random(&w->random) % 30000 == 0)
			fork_once(w);
		if (next_random(&w->random) % 50000 == 0)
			malloc_trim(0);
	}
	atomic_fetch_add(&nr_ops, i);
	/* Every other life leaves its blocks to the next one. */
	for (i = 0; w->random % 2 && i < NR_OWN; i++)
		if (w->own[i].p)
			release(&w->own[i]);
	return NULL;
}

static void start(struct worker *w)
{
	if (pthread_create(&w->thread, NULL, live, w)) {
		perror("stress: pthread_create");
		exit(1);
	}
	atomic_fetch_add(&nr_lives, 1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void run(struct worker *workers)
{
	double end = now() + seconds;
	unsigned i;

	for (i = 0; i < nr_threads; i++)
		start(&workers[i]);
	for (i = 0; max_ops ? atomic_load(&nr_ops) < max_ops : now() < end; i = (i + 1) % nr_threads) {
		pthread_join(workers[i].thread, NULL);
		start(&workers[i]);
	}
	atomic_store(&stop, true);
	for (i = 0; i < nr_threads; i++)
		pthread_join(workers[i].thread, NULL);
}

static void release_all(struct worker *workers)
{
	for (unsigned i = 0; i < nr_threads; i++)
		for (int k = 0; k < NR_OWN; k++)
			if (workers[i].own[k].p)
				release(&workers[i].own[k]);
	for (int k = 0; k < NR_SHARED; k++)
		if (shared[k].p)
			release(&shared[k]);
}

static void *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("stress: mmap");
		exit(1);
	}
	return p;
}

static void parse(int argc, char **argv)
{
	seed = (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (!strcmp(argv[i], "--no-fork")) {
			may_fork = false;
			continue;
		}
		if (!strcmp(argv[i], "--plain")) {
			is_natural = false;
			continue;
		}
		if (!strcmp(argv[i], "--seed"))
			seed = strtoull(value, NULL, 0);
		else if (!strcmp(argv[i], "--threads"))
			nr_threads = (unsigned)atoi(value);
		else if (!strcmp(argv[i], "--seconds"))
			seconds = atof(value);
		else if (!strcmp(argv[i], "--ops"))
			max_ops = strtoull(value, NULL, 0);
		else {
			fprintf(stderr, "usage: stress [--seed N] [--threads N] [--seconds N | --ops N] [--no-fork] [--plain]\n");
			exit(2);
		}
		i++;
	}
}

int main(int argc, char **argv)
{
	struct worker *workers;

	parse(argc, argv);
	workers = map(nr_threads * sizeof *workers);
	shared = map(NR_SHARED * sizeof *shared);
	printf("stress: seed %llu, %u threads\n", (unsigned long long)seed, nr_threads);
	fflush(stdout);
	for (int i = 0; i < NR_SHARED; i++)
		pthread_mutex_init(&shared[i].lock, NULL);
	for (unsigned i = 0; i < nr_threads; i++) {
		workers[i].id = i;
		workers[i].random = (seed + i + 1) * 0x9e3779b97f4a7c15u | 1;
	}
	run(workers);
	release_all(workers);
	if (nr_nulls) {
		fprintf(stderr, "stress: %llu allocations failed\n", (unsigned long long)nr_nulls);
		return 1;
	}
	printf("stress: %llu steps, %llu threads, %llu forks\n", (unsigned long long)nr_ops, (unsigned long long)nr_lives,
	       (unsigned long long)nr_forks);
	return 0;
}
