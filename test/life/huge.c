/* SPDX-License-Identifier: MIT */
/*
 * Huge pages: none in a small process; in one that grows they cost no mapping and no memory, and a fork and a free
 * leave them. Whether the kernel has one to give is its affair.
 */
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include "life.h"

#define SIZE 1000
#define SMALL (40 << 10)  /* objects of about 40 MB */
#define MANY (250 << 10)

static char *object[MANY];

/* A line of smaps_rollup, in KiB. */
static long rollup(const char *name)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	char line[256];
	long n = -1;

	EXPECT(f);
	while (fgets(line, sizeof line, f))
		if (!strncmp(line, name, strlen(name)))
			n = atol(line + strlen(name));
	fclose(f);
	EXPECT(n >= 0);
	return n;
}

static void grow(int from, int to)
{
	for (int i = from; i < to; i++) {
		object[i] = malloc(SIZE);
		EXPECT(object[i]);
		memset(object[i], i, SIZE);
	}
}

/* Each page of a huge one that is written while another process has it too is copied, and no more. */
static void write_beside_a_child(void)
{
	int wait_here[2], ready[2], status, nr_written = 0;
	long before, after;
	pid_t pid;
	char c = 0;

	EXPECT(pipe(wait_here) == 0 && pipe(ready) == 0);
	pid = fork();
	EXPECT(pid >= 0);
	if (pid == 0) {
		close(wait_here[1]);
		EXPECT(write(ready[1], &c, 1) == 1);
		_exit(read(wait_here[0], &c, 1) != 0);
	}
	EXPECT(read(ready[0], &c, 1) == 1);
	before = rollup("Private_Dirty:");
	for (int i = 0; i < MANY; i += 2048, nr_written++)
		object[i][0]++;
	after = rollup("Private_Dirty:");
	printf("%d pages written: %ld KiB are private\n", nr_written, after - before);
	EXPECT(after - before <= nr_written * 4 + 256);
	close(wait_here[0]);
	close(wait_here[1]);
	EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
	close(ready[0]);
	close(ready[1]);
}

int main(void)
{
	int mappings;
	long huge;

	grow(0, SMALL);
	mappings = nr_mappings();
	EXPECT(rollup("AnonHugePages:") == 0);
	grow(SMALL, MANY);
	huge = rollup("AnonHugePages:");
	printf("%ld KiB of huge pages, %ld KiB in all\n", huge, rollup("Rss:"));
	EXPECT(rollup("Rss:") < (long)MANY * 1024 / 1024 * 106 / 100 + 4096);
	EXPECT(nr_mappings() <= mappings + 2);
	write_beside_a_child();
	for (int i = 0; i < MANY; i++) {
		EXPECT(object[i][SIZE - 1] == (char)i);
		if (i % 16)
			free(object[i]);
	}
	malloc_trim(0);
	EXPECT(nr_mappings() <= mappings + 2);
	for (int i = 0; i < MANY; i += 16)
		free(object[i]);
	malloc_trim(0);
	printf("%ld KiB when all is free\n", rollup("Rss:"));
	EXPECT(rollup("Rss:") < 16 * 1024);
	return 0;
}
