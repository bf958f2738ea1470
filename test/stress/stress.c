/* SPDX-License-Identifier: MIT */
/*
 * Threads that allocate, resize, hand to each other and free blocks of all sizes, against an oracle.
 *
 *   stress [--seed N] [--threads N] [--seconds N | --ops N] [--no-fork] [--storm] [--turns] [--plain]
 *
 * 1. The oracle is a record per live block: address, usable size, and a number of its own. The block is filled with a
 *    pattern made of that number: every byte up to WHOLE, and of one in WHOLE_OF blocks beyond; of the others both ends
 *    of each page. Before a block is freed, and before and after it is resized, its pattern is checked: nobody else
 *    has written to it. And each eight bytes of addresses have a bit, set while a block covers them (shadow.h): no two
 *    live blocks overlap, at any byte.
 * 2. Records stand in memory from mmap, never from the allocator under test.
 * 3. Records in a shared table change hands under a lock each, so most blocks are freed by another thread than made them.
 * 4. A worker thread ends after some thousand steps, with or without freeing what it holds, and another takes its place.
 * 5. Now and then a worker forks; the child checks all records that it can reach, frees them, allocates, and exits.
 * 6. At the end all is freed. bslab must count as many bytes in use as at the start: none was lost.
 * 7. --storm: a thread beside the workers sends them signals, and moves them from CPU to CPU, thousands of times a second.
 * 8. --turns: one thread runs at a time, some steps, then another; which, and how many, comes from the seed, as all else
 *    does. Two runs with the same seed and --ops make the same calls in the same order; their last lines are the same.
 *    Without it, each worker's choices are the seed's, but what they meet is not.
 *
 * --plain: a block is aligned as was asked for, or to 16 bytes, and not to more where its size would have it.
 *
 * The allocator is whichever stands behind malloc: run it with LD_PRELOAD.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shadow.h"

#define WHOLE ((size_t)64 << 10)
#define WHOLE_OF 16
#define PAGE ((size_t)4096)
#define END_BYTES 64
#define NR_OWN 256
#define NR_SHARED 1024
#define STEPS_OF_A_LIFE 20000
#define STEPS_OF_A_TURN 16
#define MAX_STORM_PAUSE_NS 200000
#define BYTES_OF_A_THREAD 8192 /* that libc keeps for the next one, with its stack: a page where each block is a sample */

struct record {
	pthread_mutex_t lock; /* in the shared table only */
	unsigned char *p;
	size_t size; /* usable */
	uint64_t number;
};

struct worker {
	pthread_t thread;
	uint64_t random;
	_Atomic pid_t tid;
	struct record own[NR_OWN];
	/* Under --turns: */
	sem_t turn;
	unsigned nr_left; /* steps of this turn */
	bool has_turn, ended;
};

static struct record *shared;
static uint64_t seed;
static double seconds = 3;
static uint64_t max_ops;
static unsigned nr_threads = 4;
static bool may_fork = true, is_natural = true, storm, in_turns;
static sem_t turn_is_over;
static uint64_t trace; /* of all steps, under --turns */
static _Atomic uint64_t next_number = 1, nr_ops, nr_forks, nr_lives, nr_nulls, nr_signals, nr_moves;
static _Atomic bool stop;

extern const char *bslab_index_mode(void) __attribute__((weak));

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

static bool is_watched(const struct record *r, size_t at)
{
	return r->size <= WHOLE || r->number % WHOLE_OF == 0 || at % PAGE < END_BYTES || at % PAGE >= PAGE - END_BYTES ||
	       at >= r->size - END_BYTES;
}

/* The next watched byte from `at` on. */
static size_t next_watched(const struct record *r, size_t at)
{
	if (is_watched(r, at))
		return at;
	at = (at / PAGE + 1) * PAGE - END_BYTES;
	return at < r->size - END_BYTES ? at : r->size - END_BYTES;
}

static void fill(struct record *r)
{
	r->number = atomic_fetch_add(&next_number, 1);
	for (size_t at = 0; at < r->size; at++) {
		at = next_watched(r, at);
		r->p[at] = byte_at(r->number, at);
	}
}

static void check_part(const struct record *r, const unsigned char *p, size_t size, const char *what)
{
	for (size_t at = 0; at < size; at++) {
		at = next_watched(r, at);
		if (at < size && p[at] != byte_at(r->number, at))
			fail(what, r, at);
	}
}

static void check(const struct record *r)
{
	check_part(r, r->p, r->size, "pattern is damaged");
}

static void claim(const struct record *r)
{
	if (!shadow_mark(r->p, r->size, true))
		fail("overlaps another one", r, 0);
}

static void disclaim(const struct record *r)
{
	if (!shadow_mark(r->p, r->size, false))
		fail("is not whole in the shadow", r, 0);
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
	claim(r);
	if (kind == 4 || kind == 5)
		expect_zero(r, size);
	fill(r);
}

static void release(struct record *r)
{
	check(r);
	disclaim(r);
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
	disclaim(r);
	p = realloc(r->p, size);
	if (!p) {
		atomic_fetch_add(&nr_nulls, 1);
		claim(r);
		check(r);
		return;
	}
	check_part(r, p, size < r->size ? size : r->size, "realloc lost contents");
	r->p = p;
	r->size = malloc_usable_size(p);
	expect_aligned(r, 1, 1);
	claim(r);
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

/* Under --turns: a step begins when it is this worker's turn. */
static void await_turn(struct worker *w)
{
	if (!in_turns)
		return;
	if (!w->has_turn || !w->nr_left) {
		if (w->has_turn)
			sem_post(&turn_is_over);
		sem_wait(&w->turn);
		w->has_turn = true;
	}
	w->nr_left--;
	trace = (trace ^ w->random) * 0x9e3779b97f4a7c15u;
}

static void *live(void *arg)
{
	struct worker *w = arg;
	unsigned i;

	atomic_store(&w->tid, (pid_t)syscall(SYS_gettid));
	for (i = 0; i < STEPS_OF_A_LIFE && !atomic_load(&stop); i++) {
		await_turn(w);
		if (atomic_load(&stop))
			break;
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
	w->ended = true;
	atomic_store(&w->tid, 0); /* the storm leaves whoever gets the number next alone */
	if (in_turns)
		sem_post(&turn_is_over);
	return NULL;
}

static void start(struct worker *w)
{
	w->nr_left = 0;
	w->has_turn = w->ended = false;
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

	for (i = 0; max_ops ? atomic_load(&nr_ops) < max_ops : now() < end; i = (i + 1) % nr_threads) {
		pthread_join(workers[i].thread, NULL);
		start(&workers[i]);
	}
}

static void run_in_turns(struct worker *workers)
{
	uint64_t order = seed | 1;

	for (uint64_t nr = 0; nr < max_ops; ) {
		struct worker *w = &workers[next_random(&order) % nr_threads];

		w->nr_left = 1 + (unsigned)(next_random(&order) % STEPS_OF_A_TURN);
		nr += w->nr_left;
		sem_post(&w->turn);
		sem_wait(&turn_is_over);
		if (w->ended) {
			pthread_join(w->thread, NULL);
			start(w);
		}
	}
}

static void run_all(struct worker *workers)
{
	unsigned i;

	for (i = 0; i < nr_threads; i++)
		start(&workers[i]);
	if (in_turns)
		run_in_turns(workers);
	else
		run(workers);
	atomic_store(&stop, true);
	for (i = 0; i < nr_threads; i++) {
		sem_post(&workers[i].turn);
		pthread_join(workers[i].thread, NULL);
	}
}

/* --- storm ------------------------------------------------------------------------------------------ */

static void on_signal(int sig)
{
	(void)sig;
	atomic_fetch_add(&nr_signals, 1);
}

/* To one CPU, or back to all. A thread that has ended meanwhile is nobody, or another one. */
static void move(pid_t tid, const cpu_set_t *all, unsigned which)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, all) && which-- == 0)
			CPU_SET(cpu, &one);
	if (sched_setaffinity(tid, sizeof one, CPU_COUNT(&one) ? &one : all) == 0)
		atomic_fetch_add(&nr_moves, 1);
}

static void *make_storm(void *arg)
{
	struct worker *workers = arg;
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	uint64_t random = seed | 1;
	cpu_set_t all;

	sigaction(SIGUSR1, &action, NULL);
	sched_getaffinity(0, sizeof all, &all);
	while (!atomic_load(&stop)) {
		pid_t tid = atomic_load(&workers[next_random(&random) % nr_threads].tid);
		struct timespec pause = {0, (long)(next_random(&random) % MAX_STORM_PAUSE_NS)};

		if (tid && next_random(&random) % 4)
			syscall(SYS_tgkill, getpid(), tid, SIGUSR1);
		else if (tid)
			move(tid, &all, (unsigned)(next_random(&random) % ((unsigned)CPU_COUNT(&all) + 1)));
		nanosleep(&pause, NULL);
	}
	return NULL;
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

		may_fork = may_fork && strcmp(argv[i], "--no-fork");
		storm = storm || !strcmp(argv[i], "--storm");
		in_turns = in_turns || !strcmp(argv[i], "--turns");
		is_natural = is_natural && strcmp(argv[i], "--plain");
		if (!strcmp(argv[i], "--no-fork") || !strcmp(argv[i], "--storm") || !strcmp(argv[i], "--turns") || !strcmp(argv[i], "--plain"))
			continue;
		if (!strcmp(argv[i], "--seed"))
			seed = strtoull(value, NULL, 0);
		else if (!strcmp(argv[i], "--threads"))
			nr_threads = (unsigned)atoi(value);
		else if (!strcmp(argv[i], "--seconds"))
			seconds = atof(value);
		else if (!strcmp(argv[i], "--ops"))
			max_ops = strtoull(value, NULL, 0);
		else {
			fprintf(stderr, "usage: stress [--seed N] [--threads N] [--seconds N | --ops N] [--no-fork] [--storm] [--turns] [--plain]\n");
			exit(2);
		}
		i++;
	}
	if (in_turns && !max_ops)
		max_ops = 200000;
	storm = storm && !in_turns;
}

static size_t in_use(void)
{
	struct mallinfo2 m = mallinfo2();

	return bslab_index_mode ? m.uordblks + m.hblkhd : 0;
}

static void expect_all_is_back(size_t before)
{
	size_t now_in_use;

	malloc_trim(0); /* in the hardened mode, what waits in the quarantine counts as in use */
	now_in_use = in_use();
	if (now_in_use > before + (nr_threads + 1) * BYTES_OF_A_THREAD) {
		fprintf(stderr, "stress: %zu bytes were in use, and after all was freed %zu (seed %llu)\n", before, now_in_use,
			(unsigned long long)seed);
		abort();
	}
}

int main(int argc, char **argv)
{
	struct worker *workers;
	pthread_t weather;
	size_t before;

	parse(argc, argv);
	workers = map(nr_threads * sizeof *workers);
	shared = map(NR_SHARED * sizeof *shared);
	printf("stress: seed %llu, %u threads\n", (unsigned long long)seed, nr_threads);
	fflush(stdout);
	for (int i = 0; i < NR_SHARED; i++)
		pthread_mutex_init(&shared[i].lock, NULL);
	sem_init(&turn_is_over, 0, 0);
	for (unsigned i = 0; i < nr_threads; i++) {
		workers[i].random = (seed + i + 1) * 0x9e3779b97f4a7c15u | 1;
		sem_init(&workers[i].turn, 0, 0);
	}
	before = in_use();
	if (storm && pthread_create(&weather, NULL, make_storm, workers)) {
		perror("stress: pthread_create");
		return 1;
	}
	run_all(workers);
	if (storm)
		pthread_join(weather, NULL);
	release_all(workers);
	expect_all_is_back(before);
	if (nr_nulls) {
		fprintf(stderr, "stress: %llu allocations failed\n", (unsigned long long)nr_nulls);
		return 1;
	}
	printf("stress: %llu steps, %llu threads, %llu forks", (unsigned long long)nr_ops, (unsigned long long)nr_lives,
	       (unsigned long long)nr_forks);
	if (storm)
		printf(", %llu signals, %llu moves", (unsigned long long)nr_signals, (unsigned long long)nr_moves);
	if (in_turns)
		printf(", trace %016llx", (unsigned long long)trace);
	printf("\n");
	return 0;
}
