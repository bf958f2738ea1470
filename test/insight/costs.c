/* SPDX-License-Identifier: MIT */
/* costs N: N blocks of changing sizes allocated and freed, some held meanwhile; an instruction counter looks on. */
#include <stdint.h>
#include <stdlib.h>

#define NR_HELD 1000

static void *held[NR_HELD];

int main(int argc, char **argv)
{
	unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 0, i;
	uint32_t r = 1;

	for (i = 0; i < n; i++) {
		r = r * 1664525 + 1013904223;
		free(held[i % NR_HELD]);
		held[i % NR_HELD] = malloc(1 + (r >> 20) % 1024);
	}
	return 0;
}
