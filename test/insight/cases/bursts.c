/* SPDX-License-Identifier: MIT */
/*
 * bursts [--trim]: memory that does not come back. Jobs that need 66 MiB for a moment, one after the other, and then
 * nothing more to do. --trim: it says so. docs/insight.md looks at it.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NR_JOBS 60
#define NR_BUFFERS 64
#define BUFFER_SIZE 1000000

static void run_job(void)
{
	static char *buffer[NR_BUFFERS];
	int i;

	for (i = 0; i < NR_BUFFERS; i++) {
		size_t size = BUFFER_SIZE + (size_t)i * 2000;

		buffer[i] = malloc(size);
		if (!buffer[i])
			exit(1);
		memset(buffer[i], i, size);
	}
	for (i = 0; i < NR_BUFFERS; i++)
		free(buffer[i]);
}

int main(int argc, char **argv)
{
	int i;

	for (i = 0; i < NR_JOBS; i++)
		run_job();
	if (argc > 1 && strcmp(argv[1], "--trim") == 0)
		malloc_trim(0);
	printf("bursts: %d jobs done, idle\n", NR_JOBS);
	fflush(stdout);
	pause();
}
