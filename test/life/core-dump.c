/* SPDX-License-Identifier: MIT */
/*
 * A core dump has what is live. Free blocks are in it as far as their pages have not been given back: the watermark
 * bounds that, whatever was freed, and the rest of them are holes of the file.
 * core-dump [dirty]: with dirty=1G more is written, so the count of it can be seen to work.
 */
#include <dirent.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "life.h"

enum { PAGE = 4096, NR_SMALL = 32 << 10, NR_RUNS = 320, MIB = 1 << 20, LIVE = 4 * MIB, LARGE = 40 * MIB };
#define RUN 100000
#define FREED_BYTE 0x5a
#define LIVE_BYTE 0x6b
/* Of the 104 MiB that were freed: the watermark's floor and what is in use beside it, kept blocks and objects in sheaves. */
#define MAX_FREED (4 * MIB)

static void *filled(size_t size, int byte)
{
	void *p = malloc(size);

	EXPECT(p);
	return memset(p, byte, malloc_usable_size(p));
}

static void die_with_a_core(const char *dir)
{
	static void *small[NR_SMALL], *run[NR_RUNS];
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
	void *large, *live;

	if (chdir(dir) != 0 || setrlimit(RLIMIT_CORE, &all) != 0)
		_exit(77);
	live = filled(LIVE, LIVE_BYTE);
	for (int i = 0; i < NR_SMALL; i++)
		small[i] = filled(1000, FREED_BYTE);
	for (int i = 0; i < NR_RUNS; i++)
		run[i] = filled(RUN, FREED_BYTE);
	large = filled(LARGE, FREED_BYTE);
	for (int i = 0; i < NR_SMALL; i++)
		free(small[i]);
	for (int i = 0; i < NR_RUNS; i++)
		free(run[i]);
	free(large);
	__asm__ volatile("" ::"r"(live) : "memory");
	abort();
}

static int is_all(const unsigned char *page, unsigned char byte)
{
	for (int i = 0; i < PAGE; i++)
		if (page[i] != byte)
			return 0;
	return 1;
}

/* Bytes in whole pages of the file: segments of a core begin at pages. */
static void count_pages(const char *path, size_t *live, size_t *freed)
{
	static unsigned char page[PAGE];
	FILE *f = fopen(path, "r");

	EXPECT(f);
	*live = *freed = 0;
	while (fread(page, PAGE, 1, f) == 1) {
		*live += is_all(page, LIVE_BYTE) ? PAGE : 0;
		*freed += is_all(page, FREED_BYTE) ? PAGE : 0;
	}
	fclose(f);
}

/* The only file in a directory of ours: "core", or "core." and the process. */
static int find_core(const char *dir, char *path, size_t size)
{
	struct dirent *e;
	int found = 0;
	DIR *d = opendir(dir);

	EXPECT(d);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			found = snprintf(path, size, "%s/%s", dir, e->d_name) < (int)size;
	closedir(d);
	return found;
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/bslab-core-XXXXXX", path[512];
	size_t live, freed;
	int status, found;
	pid_t pid;

	EXPECT(mkdtemp(dir));
	pid = fork();
	EXPECT(pid >= 0);
	if (pid == 0)
		die_with_a_core(dir);
	EXPECT(waitpid(pid, &status, 0) == pid);
	found = find_core(dir, path, sizeof path);
	if (found) {
		count_pages(path, &live, &freed);
		unlink(path);
	}
	rmdir(dir);
	if (!found)
		SKIP("the kernel writes no core here, or elsewhere");
	printf("in the core: %zu KiB of what is live, %zu KiB of what was freed\n", live >> 10, freed >> 10);
	EXPECT(WIFSIGNALED(status));
	EXPECT(live >= LIVE - 2 * PAGE && live <= LIVE + PAGE);
	EXPECT(argc > 1 && !strcmp(argv[1], "dirty") ? freed > MAX_FREED : freed <= MAX_FREED);
	return 0;
}
