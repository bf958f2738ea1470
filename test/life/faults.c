/* SPDX-License-Identifier: MIT */
/*
 * faults LIMIT PROGRAM: how many page faults the program takes with what is preloaded here, the median of 20 runs.
 *
 * The number repeats: all that the loader and the library do before main() is the same each time, one thread does it, and each page that
 * it touches is one fault, since the files' pages are in the page cache after a first run and nothing is swapped out
 * within a millisecond. What varies is where the kernel puts mappings: one fault maps some pages around it, as far as
 * an aligned 64 KiB reaches. That is some faults up or down, and the median of 20 has it by one or two.
 */
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "life.h"

#define NR_RUNS 20

static long faults_of(char **argv)
{
	struct rusage usage;
	int status;
	pid_t pid;

	pid = vfork(); /* nothing is copied: what the child writes to is there, and so its faults are those of the program */
	if (pid == 0) {
		execv(argv[0], argv);
		_exit(127);
	}
	EXPECT(pid > 0 && wait4(pid, &status, 0, &usage) == pid);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return usage.ru_minflt;
}

static int compare(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	long faults[NR_RUNS], limit, median;

	EXPECT(argc == 3);
	limit = atol(argv[1]);
	faults_of(argv + 2);
	for (int i = 0; i < NR_RUNS; i++)
		faults[i] = faults_of(argv + 2);
	qsort(faults, NR_RUNS, sizeof *faults, compare);
	median = (faults[NR_RUNS / 2 - 1] + faults[NR_RUNS / 2] + 1) / 2;
	printf("%s: %ld page faults, %ld to %ld, at most %ld\n", argv[2], median, faults[0], faults[NR_RUNS - 1], limit);
	fflush(stdout);
	EXPECT(median <= limit);
	return 0;
}
