/* SPDX-License-Identifier: MIT */
/* The program asks for huge pages in large blocks, as numpy does, and frees them: what comes there next has small ones. */
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>

#include "life.h"

enum { MIB = 1 << 20, NR = 20, LARGE = 6 * MIB, RUN = 1900000, NR_RUNS = 40, MAX_LEFT_KIB = 16 << 10 };

static char *large[NR], *run[NR_RUNS];

static void use_large(void)
{
	for (int i = 0; i < NR; i++) {
		EXPECT((large[i] = malloc(LARGE)));
		if (madvise((void *)(((uintptr_t)large[i] + 4095) & ~(uintptr_t)4095), LARGE - 4096, MADV_HUGEPAGE))
			SKIP("the kernel has no huge pages");
		memset(large[i], 1, LARGE);
	}
	for (int i = 0; i < NR; i++)
		free(large[i]);
	malloc_trim(0);
}

int main(void)
{
	long before = status_kib("VmRSS");

	for (int round = 0; round < 2; round++) {
		use_large();
		for (int i = 0; i < NR_RUNS; i++) {
			EXPECT((run[i] = malloc(RUN)));
			run[i][0] = 1;
		}
		EXPECT(status_kib("VmRSS") < before + MAX_LEFT_KIB);
		for (int i = 0; i < NR_RUNS; i++)
			free(run[i]);
	}
	return 0;
}
