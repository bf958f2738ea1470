/* SPDX-License-Identifier: MIT */
/*
 * workloads NAME: one kind of work, at whatever call of which the kernel may refuse (inject.c).
 *
 * 1. Each takes and gives back everything. NULL is an answer, if errno says ENOMEM; contents are checked all the same.
 * 2. Then memory is back: the same work meets no NULL.
 * 3. Then nothing is in use that was not before: no leak.
 *
 * The status is 0, or 1 after a line that says what was not so.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "life/life.h"

void inject_end(void) __attribute__((weak));

static _Atomic size_t nr_refused;

static void *note(void *p)
{
	if (!p) {
		EXPECT(errno == ENOMEM);
		nr_refused++;
	}
	errno = 0;
	return p;
}

/* Looked at, and written, once a page: there are many runs. */
#define STRIDE 4096

static void fill(unsigned char *p, size_t size, unsigned byte)
{
	for (size_t i = 0; p && i < size; i += STRIDE)
		p[i] = (unsigned char)byte;
	if (p)
		p[size - 1] = (unsigned char)byte;
}

static void check_cut(const unsigned char *p, size_t size, unsigned byte)
{
	for (size_t i = 0; p && i < size; i += STRIDE)
		EXPECT(p[i] == (unsigned char)byte);
}

static void check(const unsigned char *p, size_t size, unsigned byte)
{
	check_cut(p, size, byte);
	EXPECT(!p || p[size - 1] == (unsigned char)byte);
}

/* Takes n blocks of a size and frees them in another order. */
static void round_of(size_t size, size_t n)
{
	unsigned char **p = note(calloc(n, sizeof *p));

	if (!p)
		return;
	for (size_t i = 0; i < n; i++) {
		p[i] = i % 2 ? note(malloc(size)) : note(calloc(1, size));
		if (p[i] && i % 2 == 0)
			check(p[i], size, 0);
		fill(p[i], size, (unsigned)i);
	}
	for (size_t i = 0; i < n; i++) {
		size_t k = (i * 7 + 3) % n;

		if (!p[k])
			continue;
		check(p[k], size, (unsigned)k);
		free(p[k]);
		p[k] = NULL;
	}
	for (size_t i = 0; i < n; i++)
		free(p[i]);
	free(p);
}

static void small(void)
{
	for (size_t size = 16; size <= 32768; size = size * 2 + 8)
		round_of(size, 400000 / size + 20);
}

static void runs(void)
{
	for (size_t size = 40000; size < 2000000; size = size * 2 + 4096)
		round_of(size, 12);
}

static void large(void)
{
	round_of(3 << 20, 4);
	round_of(9 << 20, 2);
	round_of(26 << 20, 2); /* mappings of their own */
}

static void resize(size_t from, size_t to, size_t step)
{
	unsigned char *p = note(malloc(from)), *q;
	size_t size = from, next;

	fill(p, size, 1);
	for (next = from + step; p && next <= to; next += step) {
		q = note(realloc(p, next));
		if (q) {
			check(q, size, 1);
			p = q;
			size = next;
			fill(p, size, 1);
		}
		check(p, size, 1);
	}
	for (next = size / 2; p && next > from / 4; next /= 2) {
		q = note(realloc(p, next));
		if (q) {
			p = q;
			check_cut(p, next, 1);
			fill(p, next, 1);
		}
	}
	free(p);
}

static void reallocs(void)
{
	resize(10, 200000, 9999);
	resize(100000, 3000000, 150000);
	resize(3 << 20, 23 << 20, 5 << 20);
	resize(26 << 20, 60 << 20, 9 << 20);
}

static void *live(void *unused)
{
	(void)unused;
	round_of(64, 3000);
	round_of(50000, 20);
	round_of(3 << 20, 2);
	return NULL;
}

static void threads(void)
{
	pthread_t thread[6];
	bool started[6];

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 6; i++) {
			int error = pthread_create(&thread[i], NULL, live, NULL);

			EXPECT(error == 0 || error == EAGAIN || error == ENOMEM);
			started[i] = !error;
		}
		for (int i = 0; i < 6; i++)
			if (started[i])
				pthread_join(thread[i], NULL);
	}
}

static void forks(void)
{
	unsigned char *kept = note(malloc(100000));
	pid_t pid;
	int status;

	fill(kept, 100000, 9);
	for (int i = 0; i < 2; i++) {
		pid = fork();
		if (pid == 0) {
			check(kept, 100000, 9);
			live(NULL);
			free(kept);
			_exit(0);
		}
		live(NULL);
		if (pid > 0) {
			EXPECT(waitpid(pid, &status, 0) == pid);
			EXPECT(status == 0);
		}
	}
	check(kept, 100000, 9);
	free(kept);
}

static void trims(void)
{
	for (int i = 0; i < 3; i++) {
		unsigned char *kept = note(malloc(7000)), *run = note(malloc(70000));

		round_of(200, 5000);
		fill(kept, 7000, 3);
		fill(run, 70000, 4);
		malloc_trim(0);
		check(kept, 7000, 3);
		check(run, 70000, 4);
		round_of(3 << 20, 3);
		malloc_trim((size_t)i << 20);
		free(kept);
		free(run);
	}
}

static void aligned(void)
{
	for (size_t align = 16; align <= 8 << 20; align *= 8) {
		unsigned char *p[4];
		void *q = NULL;

		for (size_t i = 0; i < 4; i++) {
			p[i] = note(aligned_alloc(align, align * (i + 1)));
			EXPECT((uintptr_t)p[i] % align == 0);
			fill(p[i], align * (i + 1), (unsigned)i);
		}
		EXPECT(posix_memalign(&q, align, 5000) == 0 ? q != NULL : q == NULL);
		if (!q)
			nr_refused++;
		free(q);
		for (size_t i = 0; i < 4; i++) {
			check(p[i], align * (i + 1), (unsigned)i);
			free(p[i]);
		}
	}
}

static const struct {
	const char *name;
	void (*run)(void);
	size_t slack; /* bytes that libc keeps: thread control blocks of cached stacks */
} workloads[] = {
    {"small", small, 0},     {"runs", runs, 0},	  {"large", large, 0},	 {"realloc", reallocs, 0},
    {"threads", threads, 8192}, {"fork", forks, 0}, {"trim", trims, 0}, {"aligned", aligned, 0},
};

int main(int argc, char **argv)
{
	struct mallinfo2 before = mallinfo2(), after;

	mallopt(M_MMAP_THRESHOLD, 25 << 20); /* mappings that are soon written to */
	for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++) {
		if (argc != 2 || strcmp(argv[1], workloads[i].name))
			continue;
		workloads[i].run();
		if (inject_end)
			inject_end();
		nr_refused = 0;
		workloads[i].run();
		EXPECT(nr_refused == 0);
		malloc_trim(0);
		after = mallinfo2();
		if (after.uordblks > before.uordblks + workloads[i].slack || after.hblkhd > before.hblkhd) {
			fprintf(stderr, "workloads: %zu bytes in use, and %zu mapped; before %zu and %zu\n", after.uordblks,
				after.hblkhd, before.uordblks, before.hblkhd);
			return 1;
		}
		return 0;
	}
	fprintf(stderr, "usage: workloads small|runs|large|realloc|threads|fork|trim|aligned\n");
	return 2;
}
