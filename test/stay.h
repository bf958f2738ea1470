/* SPDX-License-Identifier: MIT */
/*
 * What a CPU has cached is asserted on one CPU: there, what was freed last comes back first, and counts are those of one area.
 * The suites of what has caches by CPU begin with stay(); a test whose threads are to meet on several CPUs, or on any, roams.
 * Threads and children begin with the mask of who starts them.
 *
 * All threads of the process stay, Criterion's too: while one of them moves, the kernel gives another one a new mm_cid now and
 * then, also where that one stays.
 */
#ifndef BSLAB_TEST_STAY_H
#define BSLAB_TEST_STAY_H

#include <dirent.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* By its name test/storm.c knows a thread that stays. */
#define STAY_NAME "stays on %d"

static inline void stay_mask(cpu_set_t *mask, int cpu)
{
	CPU_ZERO(mask);
	CPU_SET(cpu, mask);
}

/* False where it may not run there. */
static inline bool stay_thread(pid_t tid, int cpu)
{
	cpu_set_t mask;
	char path[64];
	FILE *name;

	snprintf(path, sizeof path, "/proc/self/task/%d/comm", (int)tid);
	name = fopen(path, "w"); /* first: the storm repairs what it did meanwhile */
	if (name) {
		fprintf(name, STAY_NAME, cpu);
		fclose(name);
	}
	stay_mask(&mask, cpu);
	return sched_setaffinity(tid, sizeof mask, &mask) == 0;
}

/* This thread alone. */
static inline bool stay_on(int cpu)
{
	return stay_thread(gettid(), cpu);
}

/* On the CPU that it is on. */
static inline void stay(void)
{
	DIR *tasks = opendir("/proc/self/task");
	int cpu = sched_getcpu();
	struct dirent *task;

	stay_on(cpu);
	while (tasks && (task = readdir(tasks)))
		if (atoi(task->d_name))
			stay_thread(atoi(task->d_name), cpu);
	if (tasks)
		closedir(tasks);
}

/* Wherever the process may run. */
static inline void roam(void)
{
	cpu_set_t mask;

	memset(&mask, 0xff, sizeof mask);
	prctl(PR_SET_NAME, "roams");
	sched_setaffinity(0, sizeof mask, &mask);
}

#endif
