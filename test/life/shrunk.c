/* SPDX-License-Identifier: MIT */
/*
 * 64 threads have worked, each with some hundred KiB, and end. At once, without another call, the process has what it had when one
 * had worked, and some MiB.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "life.h"

#define NR_THREADS 64
#define NR_SLOTS 1000
#define NR_STEPS 100000
#define BOUND_KIB (8 << 10) /* 0 to 1 MiB are usual, with a cache per thread 6; were nothing done about it, 30 and 18 */

static pthread_barrier_t barrier;

static uint64_t draw(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Sizes of up to 8 KiB, of each power of two as many. */
static void work(uint64_t seed, bool wait)
{
	void **object = calloc(NR_SLOTS, sizeof *object);

	EXPECT(object);
	for (int i = 0; i < NR_STEPS; i++) {
		size_t slot = draw(&seed) % NR_SLOTS, size = draw(&seed) % (16u << draw(&seed) % 10) + 1;

		free(object[slot]);
		object[slot] = malloc(size);
		EXPECT(object[slot]);
		memset(object[slot], 1, size);
	}
	if (wait) /* so that all have theirs at once */
		pthread_barrier_wait(&barrier);
	for (int i = 0; i < NR_SLOTS; i++)
		free(object[i]);
	free(object);
}

static void *run(void *seed)
{
	work((uintptr_t)seed, true);
	return NULL;
}

int main(void)
{
	pthread_t thread[NR_THREADS];
	long one, most, left;

	work(7, false);
	one = status_kib("VmRSS");
	EXPECT(pthread_barrier_init(&barrier, NULL, NR_THREADS) == 0);
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		EXPECT(pthread_create(&thread[i], NULL, run, (void *)(i + 1)) == 0);
	for (int i = 0; i < NR_THREADS; i++)
		EXPECT(pthread_join(thread[i], NULL) == 0);
	left = status_kib("VmRSS");
	most = status_kib("VmHWM");
	printf("one: %ld KiB, 64: %ld, then %ld\n", one, most, left);
	fflush(stdout);
	EXPECT(most - one > (20 << 10));
	EXPECT(left - one < BOUND_KIB);
	return 0;
}
