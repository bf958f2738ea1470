/* SPDX-License-Identifier: MIT */
/*
 * Does, once each, what some probes tell of, and writes what their arguments should be: lines of a probe's name and
 * numbers. It has a probe of its own, which must not be in the way of those of an archive that it is linked with.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#else
#define DTRACE_PROBE(provider, name)
#endif

#define LARGE_SIZE ((size_t)300 << 20) /* above the option `large`: a mapping of its own */
#define IMPOSSIBLE_SIZE ((size_t)1 << 60)
#define OBJECT_SIZE 3072 /* a size class that nothing else here uses */

static void *thread(void *unused)
{
	(void)unused;
	free(malloc(100000)); /* pages, so that the thread has a buddy */
	return NULL;
}

int main(void)
{
	size_t impossible = IMPOSSIBLE_SIZE;
	pthread_t t;
	void *p;

	setvbuf(stdout, NULL, _IOLBF, 0);
	p = malloc(LARGE_SIZE);
	printf("known large_map %#lx %#lx\n", (uintptr_t)p, LARGE_SIZE);
	printf("known large_unmap %#lx %#lx\n", (uintptr_t)p, LARGE_SIZE);
	free(p);
	p = malloc(OBJECT_SIZE);
	printf("known slab_create %#x %#lx\n", OBJECT_SIZE, (uintptr_t)p);
	if (pthread_create(&t, NULL, thread, NULL) != 0)
		return 1;
	pthread_join(t, NULL);
	if (malloc(impossible))
		return 1;
	printf("known alloc_fail %#lx 0x1\n", impossible);
	malloc_trim(3 << 20);
	printf("known reclaim_begin %#x\n", (3 << 20) / 4096);
	free(p);
	DTRACE_PROBE(probed, end);
	return 0;
}
