/* SPDX-License-Identifier: MIT */
/*
 * costs N: N blocks of changing sizes allocated and freed, some held meanwhile; an instruction counter looks on. Its clock goes
 * on by a millisecond each time that it is looked at, so that however busy the machine is, as many looks find the same time.
 */
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define NR_HELD 1000

static void *held[NR_HELD];

/* The library's, too: a program's symbols come before libc's. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
	static uint64_t ms = 1000;

	(void)clock;
	ms++;
	now->tv_sec = (time_t)(ms / 1000);
	now->tv_nsec = (long)(ms % 1000 * 1000000);
	return 0;
}

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
