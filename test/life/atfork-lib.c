/* SPDX-License-Identifier: MIT */
/* A library whose constructor, before anybody allocates, asks to be called at forks, and which allocates then (atfork.c). */
#include <pthread.h>
#include <stdlib.h>

int atfork_nr_calls(void);

static int nr_calls;

static void allocate(void)
{
	static const size_t sizes[] = {10, 100, 1000, 10000, 100000, 3000000};
	enum { N = sizeof sizes / sizeof *sizes };
	char *p[N];

	for (int i = 0; i < N; i++) {
		p[i] = malloc(sizes[i]);
		if (!p[i])
			abort();
		p[i][0] = 1;
	}
	for (int i = 0; i < N; i++)
		free(p[i]);
	nr_calls++;
}

static void __attribute__((constructor)) start(void)
{
	pthread_atfork(allocate, allocate, allocate);
}

int atfork_nr_calls(void)
{
	return nr_calls;
}
