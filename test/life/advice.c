/* SPDX-License-Identifier: MIT */
/* The program asks for huge pages in large blocks, as numpy does, or in whole pageblocks, and frees them: what comes there next has small ones. */
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>

#include "life.h"

enum { MIB = 1 << 20, NR = 20, LARGE = 6 * MIB, RUN = 1900000, NR_RUNS = 40, MAX_LEFT_KIB = 16 << 10 };

static char *large[NR], *run[NR_RUNS];

static void advise(char *p, size_t size)
{
	if (madvise((void *)(((uintptr_t)p + 4095) & ~(uintptr_t)4095), size - 4096, MADV_HUGEPAGE))
		SKIP("the kernel has no huge pages");
	memset(p, 1, size);
}

static void use_large(void)
{
	for (int i = 0; i < NR; i++) {
		EXPECT((large[i] = malloc(LARGE)));
		advise(large[i], LARGE);
	}
}

/* A pageblock each, as arenas take them. */
static void use_pageblocks(void)
{
	for (int i = 0; i < NR; i++) {
		EXPECT((large[i] = aligned_alloc(2 * MIB, 2 * MIB)));
		advise(large[i], 2 * MIB);
	}
}

static void use_grown_pageblocks(void)
{
	use_pageblocks();
	for (int i = 0; i < NR; i++)
		EXPECT((large[i] = realloc(large[i], 3 * LARGE)));
}

/* They stand side by side, so that they have to move. */
static void use_grown(void)
{
	use_large();
	for (int i = 0; i < NR; i++)
		EXPECT((large[i] = realloc(large[i], 3 * LARGE)));
}

static void check(void (*use)(void))
{
	long before = status_kib("VmRSS");

	for (int round = 0; round < 2; round++) {
		use();
		for (int i = 0; i < NR; i++)
			free(large[i]);
		malloc_trim(0);
		for (int i = 0; i < NR_RUNS; i++) {
			EXPECT((run[i] = malloc(RUN)));
			run[i][0] = 1;
		}
		EXPECT(status_kib("VmRSS") < before + MAX_LEFT_KIB);
		for (int i = 0; i < NR_RUNS; i++)
			free(run[i]);
	}
}

int main(void)
{
	check(use_large);
	check(use_pageblocks);
	check(use_grown);
	check(use_grown_pageblocks);
	return 0;
}
