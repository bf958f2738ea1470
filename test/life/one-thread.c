/* SPDX-License-Identifier: MIT */
/*
 * A process that starts no thread has one: at the start, after heavy use of all sizes, after memory was given back, in a child of
 * fork, some time later, and at exit, whatever the options.
 */
#include <dirent.h>
#include <malloc.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "life.h"

#define NR_BLOCKS 20000

static int nr_tasks(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;
	int n = 0;

	EXPECT(tasks);
	while ((task = readdir(tasks)))
		n += atoi(task->d_name) != 0;
	closedir(tasks);
	return n;
}

static void at_exit(void)
{
	EXPECT(nr_tasks() == 1);
}

/* Up to 90 MiB, freed in another order. */
static void use_heavily(void)
{
	static char *p[NR_BLOCKS];

	for (int i = 0; i < NR_BLOCKS; i++) {
		size_t size = (size_t)(i % 100 ? 16 + i * 7 % 4000 : 300000);

		p[i] = malloc(size);
		EXPECT(p[i]);
		memset(p[i], 1, size);
	}
	for (int i = 0; i < NR_BLOCKS; i++)
		free(p[i * 7 % NR_BLOCKS]);
	EXPECT(use_malloc());
}

int main(void)
{
	struct timespec while_idle = {.tv_nsec = 300000000};
	pid_t pid;
	int status;

	EXPECT(atexit(at_exit) == 0);
	EXPECT(nr_tasks() == 1);
	use_heavily();
	EXPECT(nr_tasks() == 1);
	malloc_trim(0);
	use_heavily();
	EXPECT(nr_tasks() == 1);
	pid = fork();
	if (pid == 0) {
		use_heavily();
		EXPECT(nr_tasks() == 1);
		_exit(0);
	}
	EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	nanosleep(&while_idle, NULL);
	EXPECT(nr_tasks() == 1);
	return 0;
}
