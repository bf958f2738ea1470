/* SPDX-License-Identifier: MIT */
/* Blocks of more than the machine has: "refused" at once and without a trace, or "given", by vm.overcommit_memory. Nothing is touched. */
#include <errno.h>
#include <sys/sysinfo.h>

#include "life.h"

static size_t memory_size(void)
{
	struct sysinfo s;

	EXPECT(sysinfo(&s) == 0);
	return ((size_t)s.totalram + s.totalswap) * s.mem_unit;
}

static void expect(void *p, int is_given)
{
	EXPECT(!p == !is_given);
	EXPECT(p || errno == ENOMEM);
	errno = 0;
	free(p);
}

int main(int argc, char **argv)
{
	int is_given = argc > 1 && !strcmp(argv[1], "given");
	size_t more = memory_size() + ((size_t)1 << 30);
	char *small = malloc(1000), *run = malloc(1 << 20), *large = malloc(300 << 20);

	EXPECT(small && run && large);
	small[0] = run[0] = large[0] = 7;
	errno = 0;
	expect(malloc(more), is_given);
	expect(calloc(2, more / 2), is_given);
	expect(aligned_alloc(4096, more), is_given);
	if (!is_given) { /* and the block stays */
		expect(realloc(small, more), 0);
		expect(realloc(run, more), 0);
		expect(realloc(large, more + (300 << 20)), 0);
		EXPECT(small[0] == 7 && run[0] == 7 && large[0] == 7);
	}
	expect(malloc((size_t)1 << 29), 1);
	expect(realloc(large, 301 << 20), 1);
	free(small);
	free(run);
	EXPECT(use_malloc());
	return 0;
}
