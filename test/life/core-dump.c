/* SPDX-License-Identifier: MIT */
/*
 * A core dump has what is live. Free blocks are in it as far as their pages have not been given back: the watermark
 * bounds that, whatever was freed, and the rest of them are holes of the file.
 * core-dump [dirty]: with dirty=1G more is written, so the count of it can be seen to work.
 */
#include <dirent.h>
#include <malloc.h>
#include <signal.h>
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

static volatile pid_t dying;
static volatile sig_atomic_t was_ended;

/* Told to end, or about to be killed for taking too long: the 100 MB go first. */
static void end(int sig)
{
	was_ended = sig;
	if (dying > 0)
		kill(dying, SIGKILL);
}

static void clean_up_whatever_happens(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGALRM};

	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &(struct sigaction){.sa_handler = end, .sa_flags = SA_RESTART}, NULL);
	alarm(200); /* less than the 300 s of the tests */
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/bslab-core-XXXXXX", path[512];
	size_t live, freed;
	int status, found;
	pid_t pid;

	clean_up_whatever_happens();
	EXPECT(mkdtemp(dir));
	pid = fork();
	EXPECT(pid >= 0);
	if (pid == 0)
		die_with_a_core(dir);
	dying = pid;
	if (was_ended)
		kill(pid, SIGKILL);
	EXPECT(waitpid(pid, &status, 0) == pid);
	dying = 0;
	found = find_core(dir, path, sizeof path);
	if (found) {
		count_pages(path, &live, &freed);
		unlink(path);
	}
	rmdir(dir);
	EXPECT(!was_ended);
	if (!found)
		SKIP("the kernel writes no core here, or elsewhere");
	printf("in the core: %zu KiB of what is live, %zu KiB of what was freed\n", live >> 10, freed >> 10);
	EXPECT(WIFSIGNALED(status));
	EXPECT(live >= LIVE - 2 * PAGE && live <= LIVE + PAGE);
	EXPECT(argc > 1 && !strcmp(argv[1], "dirty") ? freed > MAX_FREED : freed <= MAX_FREED);
	return 0;
}
