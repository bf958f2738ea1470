/* SPDX-License-Identifier: MIT */
/* Thousands of live pageblocks, holes between them, purged and not, are few mappings. */
#include <malloc.h>

#include "life.h"

#define NR_BLOCKS 3000
#define MAX_MAPPINGS 40

static void expect_few(int before, const char *when)
{
	int n = nr_mappings() - before;

	printf("%s: %d mappings\n", when, n);
	EXPECT(n <= MAX_MAPPINGS);
}

int main(void)
{
	static char *run[NR_BLOCKS], *large[200];
	int before = nr_mappings();

	for (int i = 0; i < NR_BLOCKS; i++) {
		run[i] = malloc(2 << 20); /* a pageblock each */
		EXPECT(run[i]);
		run[i][0] = 1;
	}
	expect_few(before, "3000 pageblocks");
	for (int i = 0; i < NR_BLOCKS; i += 2)
		free(run[i]);
	malloc_trim(0);
	expect_few(before, "every other one free and given back");
	for (int i = 0; i < NR_BLOCKS; i += 2) {
		run[i] = malloc(300000);
		EXPECT(run[i]);
		run[i][0] = 1;
	}
	for (int i = 0; i < 200; i++) {
		large[i] = malloc(5 << 20);
		EXPECT(large[i]);
		large[i][0] = 1;
	}
	expect_few(before, "page runs and large blocks between them");
	for (int i = 0; i < NR_BLOCKS; i++)
		free(run[i]);
	for (int i = 0; i < 200; i += 2)
		free(large[i]);
	malloc_trim(0);
	expect_few(before, "most of it free");
	return 0;
}
