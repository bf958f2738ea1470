/* SPDX-License-Identifier: MIT */
/*
 * refused-limit MIB: under a hard limit, and a filter that refuses membarrier (seccomp.c). Threads on all CPUs have freed runs,
 * malloc's and pages, and sleep; what they freed serves another thread up to the limit, all but metadata and what its size
 * leaves over.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "life.h"

enum { NR_THREADS = 24, MIB = 1 << 20, BLOCK = 64 << 10, REST = 384 << 10, NR_RUNS = 100, MAX_ORDER = 4 };

static pthread_barrier_t freed;
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static void *(*pages_alloc)(unsigned order, unsigned flags);
static void (*pages_free)(void *addr);

static void use_pages(unsigned order)
{
	void *run[NR_RUNS];

	for (int i = 0; i < NR_RUNS; i++) {
		EXPECT((run[i] = pages_alloc(order, 0)));
		memset(run[i], 1, 4096u << order);
	}
	for (int i = 0; i < NR_RUNS; i++)
		pages_free(run[i]);
}

static void *free_and_sleep(void *arg)
{
	long cpu = (long)arg % sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;
	void *p;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	sched_setaffinity(0, sizeof set, &set);
	pthread_mutex_lock(&one_at_a_time);
	for (int i = 0; i < 3; i++) {
		EXPECT((p = malloc(MIB)));
		memset(p, 1, MIB);
		free(p);
	}
	for (int i = 0; i < 10; i++)
		for (unsigned order = 0; order <= MAX_ORDER; order++)
			use_pages(order);
	pthread_mutex_unlock(&one_at_a_time);
	pthread_barrier_wait(&freed);
	pause();
	return NULL;
}

int main(int argc, char **argv)
{
	size_t limit, got = 0;
	pthread_t thread;

	EXPECT(argc == 2);
	limit = (size_t)atol(argv[1]) * MIB;
	EXPECT((pages_alloc = (void *(*)(unsigned, unsigned))dlsym(RTLD_DEFAULT, "bslab_pages_alloc")));
	EXPECT((pages_free = (void (*)(void *))dlsym(RTLD_DEFAULT, "bslab_pages_free")));
	EXPECT(pthread_barrier_init(&freed, NULL, NR_THREADS + 1) == 0);
	for (long i = 0; i < NR_THREADS; i++)
		EXPECT(pthread_create(&thread, NULL, free_and_sleep, (void *)i) == 0);
	pthread_barrier_wait(&freed);
	while (malloc(BLOCK))
		got += BLOCK;
	printf("%zu KiB of %zu\n", got >> 10, limit >> 10);
	EXPECT(got <= limit && got >= limit - REST);
	fflush(stdout);
	_exit(0);
}
